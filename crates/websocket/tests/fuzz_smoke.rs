//! The fuzz targets under a property runner: nasty seeds, mutations of them, and noise. A fixed,
//! short count; `PROPTEST_CASES` asks for more.

use proptest::prelude::*;
use sockeye_websocket::fuzzing;

/// Each with one way to hurt: cut headers, announced giants, nested fragments, bombs, bad lists.
fn seeds() -> Vec<Vec<u8>> {
    let bomb = sockeye_websocket::deflate::deflate_shared(&[b'a'; 300_000], 15, 9).unwrap();
    let frame = |first: u8, payload: &[u8]| {
        let mut bytes = Vec::new();
        let mask = Some([1, 2, 3, 4]);
        let opcode = sockeye_websocket::OpCode::Text;
        sockeye_websocket::encode_into(&mut bytes, opcode, true, false, mask, payload);
        bytes[0] = first;
        bytes
    };
    let mut seeds = vec![
        vec![],
        vec![0],
        b"\x81\x05Hello".to_vec(),
        b"\x82\xff\x00\x00\x00\x00\x04\x00\x00\x00\x01\x02\x03\x04".to_vec(),
        b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        b"\x82\xfe\x00\x01".to_vec(),
        [
            frame(1, b"\xe2"),
            frame(0x89, b"p"),
            frame(0, b"\x82"),
            frame(0x80, b"\xac"),
        ]
        .concat(),
        [frame(1, b"\xf4"), frame(0x80, b"\x90")].concat(),
        [
            frame(2, b""),
            frame(0, b""),
            frame(0, b""),
            frame(0x88, b"\x03\xe8"),
        ]
        .concat(),
        [frame(0x88, b"\x03"), frame(0x81, b"")].concat(),
        frame(0xc1, &bomb),
        [frame(0xc2, &[0xf2, 0x48, 0xcd]), frame(0xc1, &[0xff; 9])].concat(),
        [
            frame(0xc1, &[]),
            frame(0xc1, &[0]),
            frame(0x41, &[0xf3, 0x48]),
        ]
        .concat(),
        bomb.to_vec(),
        vec![
            0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00,
        ],
        vec![0x00, 0x05, 0x00, 0xfa, 0xff],
        b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x80"
            .to_vec(),
        b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n"
            .to_vec(),
        b"permessage-deflate; server_max_window_bits=8, permessage-deflate; a=\"\\\"".to_vec(),
        b"permessage-deflate; client_max_window_bits=\"15\";server_no_context_takeover".to_vec(),
        b";,=\"\\".to_vec(),
    ];
    let with_choice: Vec<_> = (0..=255u8)
        .step_by(5)
        .flat_map(|choice| seeds.iter().map(move |s| (choice, s)))
        .collect();
    let chosen = with_choice
        .into_iter()
        .map(|(c, s)| [&[c][..], s].concat())
        .collect::<Vec<_>>();
    seeds.extend(chosen);
    seeds
}

fn run_all(data: &[u8]) {
    fuzzing::decoder(data);
    fuzzing::handshake(data);
    fuzzing::inflater(data);
}

#[test]
fn seeds_break_no_promise() {
    for seed in seeds() {
        run_all(&seed);
    }
}

#[derive(Clone, Debug)]
enum Edit {
    Set(prop::sample::Index, u8),
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Cut(prop::sample::Index),
    Repeat(u8),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let at = any::<prop::sample::Index>;
    let edit = prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        (at(), 0u8..8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        (at(), prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(at, b)| Edit::Insert(at, b)),
        at().prop_map(Edit::Cut),
        (1u8..4).prop_map(Edit::Repeat),
    ];
    prop::collection::vec(edit, 0..6)
}

fn apply(mut data: Vec<u8>, edits: Vec<Edit>) -> Vec<u8> {
    for edit in edits {
        let len = data.len();
        match edit {
            Edit::Set(at, byte) if len > 0 => data[at.index(len)] = byte,
            Edit::Flip(at, bit) if len > 0 => data[at.index(len)] ^= 1 << bit,
            Edit::Insert(at, bytes) => {
                let at = at.index(len + 1);
                data.splice(at..at, bytes);
            }
            Edit::Cut(at) => data.truncate(at.index(len + 1)),
            Edit::Repeat(times) => data = data.repeat(times.into()),
            _ => {}
        }
    }
    data
}

fn cases() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(asked.unwrap_or(1500))
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn mutated_seeds_break_no_promise(
        seed in prop::sample::select(seeds()),
        edits in edits(),
    ) {
        run_all(&apply(seed, edits));
    }

    #[test]
    fn noise_breaks_no_promise(data in prop::collection::vec(any::<u8>(), 0..400)) {
        run_all(&data);
    }
}
