//! What holds for every sequence of messages, however it is fragmented, cut and compressed.

mod support;

use proptest::prelude::*;
use sockeye_websocket::deflate::{DeflateOptions, Deflater};
use sockeye_websocket::{Limits, OpCode, Reader, Role, encode_into, header};
use support::{Got, feed, negotiated, peer, raw};

#[derive(Clone, Debug)]
enum Message {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

impl Message {
    fn parts(&self) -> (OpCode, &[u8]) {
        match self {
            Message::Text(text) => (OpCode::Text, text.as_bytes()),
            Message::Binary(bytes) => (OpCode::Binary, bytes),
            Message::Ping(bytes) => (OpCode::Ping, bytes),
            Message::Pong(bytes) => (OpCode::Pong, bytes),
        }
    }

    fn got(&self) -> Got {
        match self.clone() {
            Message::Text(text) => Got::Text(text),
            Message::Binary(bytes) => Got::Binary(bytes),
            Message::Ping(bytes) => Got::Ping(bytes),
            Message::Pong(bytes) => Got::Pong(bytes),
        }
    }
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let bytes = |max| prop::collection::vec(any::<u8>(), 0..max);
    let message = prop_oneof![
        4 => "\\PC{0,60}".prop_map(Message::Text),
        2 => bytes(300).prop_map(Message::Binary),
        1 => (0usize..9000, any::<u8>()).prop_map(|(len, byte)| Message::Binary(vec![byte; len])),
        1 => bytes(126).prop_map(Message::Ping),
        1 => bytes(126).prop_map(Message::Pong),
    ];
    prop::collection::vec(message, 0..8)
}

fn roles() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Server), Just(Role::Client)]
}

/// Splits a message's payload into fragments at random places, with pings in between.
fn fragment(from: Role, opcode: OpCode, payload: &[u8], rsv1: bool, rng: &mut Draws) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut rest = payload;
    let mut first = true;
    loop {
        let last = opcode as u8 >= 8 || rng.below(3) == 0;
        let take = if last {
            rest.len()
        } else {
            rng.below(rest.len() + 1)
        };
        let (piece, after) = rest.split_at(take);
        rest = after;
        let op = if first { opcode as u8 } else { 0 };
        let bits = if last { 0x80 } else { 0 } | if rsv1 && first { 0x40 } else { 0 };
        wire.extend(raw(from, op | bits, piece));
        if last {
            return wire;
        }
        if rng.below(3) == 0 {
            wire.extend(raw(from, 0x89, b"between"));
        }
        first = false;
    }
}

/// Random numbers that proptest chose.
struct Draws {
    state: u64,
}

impl Draws {
    fn below(&mut self, bound: usize) -> usize {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((self.state >> 33) as usize) % bound
    }
}

/// Reads `wire` in pieces of random sizes, mostly small.
fn read_cut(reader: &mut Reader, limits: &Limits, wire: &[u8], rng: &mut Draws) -> Vec<Got> {
    let mut events = Vec::new();
    let mut rest = wire;
    while !rest.is_empty() {
        let most = [1, 3, 20, 200, 5000][rng.below(5)];
        let (piece, after) = rest.split_at((1 + rng.below(most)).min(rest.len()));
        feed(reader, limits, piece, &mut events).unwrap();
        rest = after;
    }
    events
}

fn without_between(events: Vec<Got>) -> Vec<Got> {
    events
        .into_iter()
        .filter(|got| *got != Got::Ping(b"between".to_vec()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Fragmenting and cutting change nothing, on either side.
    #[test]
    fn fragments_and_cuts_change_nothing(messages in messages(), role in roles(), state: u64) {
        let mut rng = Draws { state };
        let mut wire = Vec::new();
        for message in &messages {
            let (opcode, payload) = message.parts();
            wire.extend(fragment(peer(role), opcode, payload, false, &mut rng));
        }
        let mut reader = Reader::new(role, None);
        let events = read_cut(&mut reader, &Limits::default(), &wire, &mut rng);
        let expected: Vec<Got> = messages.iter().map(Message::got).collect();
        prop_assert_eq!(without_between(events), expected);
        prop_assert!(!reader.has_partial() && reader.memory() == 0);
    }

    /// What our encoder writes, our reader reads, whole and cut.
    #[test]
    fn encoder_and_reader_agree(messages in messages(), role in roles(), mask: [u8; 4], state: u64) {
        let mut rng = Draws { state };
        let mask = (peer(role) == Role::Client).then_some(mask);
        let mut wire = Vec::new();
        for message in &messages {
            let (opcode, payload) = message.parts();
            let start = wire.len();
            encode_into(&mut wire, opcode, true, false, mask, payload);
            let header = header(opcode, true, false, mask, payload.len());
            prop_assert_eq!(&wire[start..start + header.len()], &*header);
            prop_assert_eq!(wire.len() - start, header.len() + payload.len());
        }
        let expected: Vec<Got> = messages.iter().map(Message::got).collect();
        let mut reader = Reader::new(role, None);
        let mut whole = Vec::new();
        feed(&mut reader, &Limits::default(), &wire, &mut whole).unwrap();
        prop_assert_eq!(&whole, &expected);
        let mut reader = Reader::new(role, None);
        let cut = read_cut(&mut reader, &Limits::default(), &wire, &mut rng);
        prop_assert_eq!(cut, expected);
    }

    /// Compressed by one side as negotiated, cut anywhere, read by the other.
    #[test]
    fn deflate_round_trips(
        messages in messages(),
        role in roles(),
        server_forgets: bool,
        client_forgets: bool,
        server_bits in 9u8..=15,
        client_bits in 9u8..=15,
        level in 0u8..=9,
        threshold in prop_oneof![Just(0usize), 0usize..400],
        state: u64,
    ) {
        let options = DeflateOptions {
            server_no_context_takeover: server_forgets,
            client_no_context_takeover: client_forgets,
            server_max_window_bits: server_bits,
            client_max_window_bits: client_bits,
            threshold,
            level,
        };
        let agreed = negotiated(options);
        let sender = peer(role);
        let mut deflater = Deflater::new(agreed, sender, &options);
        let mask = (sender == Role::Client).then_some([1, 2, 3, 4]);
        let mut wire = Vec::new();
        for message in &messages {
            let (opcode, payload) = message.parts();
            let compressed = deflater.encode_into(&mut wire, opcode, mask, payload);
            prop_assert!(!compressed || payload.len() >= threshold);
        }
        let mut rng = Draws { state };
        let mut reader = Reader::new(role, Some(agreed));
        let events = read_cut(&mut reader, &Limits::default(), &wire, &mut rng);
        let expected: Vec<Got> = messages.iter().map(Message::got).collect();
        prop_assert_eq!(events, expected);
        prop_assert!(!reader.has_partial());
    }

    /// Compressed messages may be fragmented anywhere, too.
    #[test]
    fn compressed_fragments_round_trip(messages in messages(), state: u64) {
        let agreed = negotiated(DeflateOptions::default());
        let mut rng = Draws { state };
        let mut wire = Vec::new();
        for message in &messages {
            let (opcode, payload) = message.parts();
            if opcode as u8 >= 8 {
                wire.extend(raw(Role::Client, 0x80 | opcode as u8, payload));
                continue;
            }
            let data = sockeye_websocket::deflate::deflate_shared(payload, 15, 6).unwrap();
            wire.extend(fragment(Role::Client, opcode, &data, true, &mut rng));
        }
        let mut reader = Reader::new(Role::Server, Some(agreed));
        let events = read_cut(&mut reader, &Limits::default(), &wire, &mut rng);
        let expected: Vec<Got> = messages.iter().map(Message::got).collect();
        prop_assert_eq!(without_between(events), expected);
        prop_assert!(!reader.has_partial() && reader.memory() == 0);
    }
}
