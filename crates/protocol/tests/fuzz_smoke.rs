//! Fuzz targets, run for a fixed short count over random bytes and mutated seeds. A panic, or
//! output that is not what was read, is the failure.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore, SeedableRng};
use sockeye_protocol::engine::{Packet as EnginePacket, Payload, PayloadWriter};
use sockeye_protocol::socketio::{
    Args, Decoder, Limits, Packet, PacketType, Parser, Value, encode_ack, encode_event,
};

const ROUNDS: usize = 20_000;

/// Runs `target` over random input, half of it mutations of `seeds`, and says which input broke it.
fn fuzz(seed: u64, seeds: &[&[u8]], target: fn(&[u8])) {
    let mut rng = StdRng::seed_from_u64(seed);
    for round in 0..ROUNDS {
        let mut input = match seeds.choose(&mut rng) {
            Some(seed) if round % 2 == 0 => seed.to_vec(),
            _ => {
                let mut input = vec![0; rng.random_range(0..64)];
                rng.fill_bytes(&mut input);
                input
            }
        };
        for _ in 0..rng.random_range(0..4) {
            mutate(&mut input, seeds, &mut rng);
        }
        let outcome = std::panic::catch_unwind(|| target(&input));
        assert!(outcome.is_ok(), "round {round}: {}", input.escape_ascii());
    }
}

fn mutate(input: &mut Vec<u8>, seeds: &[&[u8]], rng: &mut StdRng) {
    let at = rng.random_range(0..=input.len());
    match rng.random_range(0..6) {
        0 => input.insert(at, rng.random()),
        1 if at < input.len() => input[at] ^= 1 << rng.random_range(0..8),
        2 if at < input.len() => {
            input[at] = *b"{}[]\",:0123456789\\-b\x1e\xdd\xc4".choose(rng).unwrap()
        }
        3 => input.truncate(at),
        4 => {
            let part = input[at..].to_vec();
            input.extend_from_slice(&part);
        }
        _ => {
            let other = seeds.choose(rng).unwrap();
            input.extend_from_slice(&other[rng.random_range(0..other.len())..]);
        }
    }
}

/// Whatever packet was read, everything that can be asked of it works, and it can be sent on.
fn exercise(packet: &Packet, parser: Parser) {
    let args = &packet.args;
    assert_eq!(args.iter().count(), args.len());
    let values = args.values();
    assert_eq!(values.len(), args.len());
    assert!(args.get(args.len()).is_none());
    let _ = (format!("{packet:?}"), args.has_binary(), args.byte_len());
    let _ = args.deserialize::<(Value, Option<String>)>();
    for arg in args {
        let _ = (arg.is_null(), arg.is_object(), arg.string(), arg.binary());
        if let Some(list) = Args::from_array(arg) {
            assert_eq!(list.values().as_slice(), arg.to_value().as_array().unwrap());
        }
    }
    assert_eq!(args.skip(1).values(), values.get(1..).unwrap_or_default());
    let other = match parser {
        Parser::Json => Parser::Msgpack,
        Parser::Msgpack => Parser::Json,
    };
    for wire in [parser, other] {
        let encoded = match packet.kind {
            PacketType::Ack => encode_ack(wire, &packet.nsp, packet.id.unwrap_or(0), args),
            _ => encode_event(wire, &packet.nsp, packet.id, &packet.event, args),
        };
        let limits = Limits {
            max_attachments: usize::MAX,
            ..Limits::default()
        };
        let mut decoder = Decoder::new(wire);
        let mut again = match encoded.text() {
            Some(text) => decoder.decode_text(&limits, text),
            None => decoder.decode_binary(&limits, &encoded.first),
        };
        for attachment in encoded.attachments.iter() {
            assert_eq!(again, Ok(None));
            again = decoder.decode_binary(&limits, attachment);
        }
        let again = again.unwrap().unwrap();
        assert_eq!(again.nsp, packet.nsp);
        if wire == parser && packet.kind != PacketType::ConnectError {
            assert_eq!(again.args.values(), values);
        }
    }
}

const JSON_SEEDS: &[&[u8]] = &[
    b"0{\"token\":\"x\"}",
    b"0/admin,{}",
    b"1/admin,",
    b"2[\"event\",1,\"a\\ud83d\\ude00\",{\"b\":[null,true,1.5e3]}]",
    b"2/nsp,12[\"event\",[[[[]]]]]",
    b"31[\"ok\",{\"a\":\"\\u0041\"}]",
    b"4{\"message\":\"no\"}",
    b"52-[\"up\",{\"_placeholder\":true,\"num\":0},{\"num\":1,\"_placeholder\":true}]",
    b"51-/a,7[\"up\",[{\"_placeholder\":true,\"num\":0,\"x\":{\"_placeholder\":true,\"num\":0}}]]",
    b"61-3[{\"_placeholder\":true,\"num\":0}]",
];

#[test]
fn socketio_text() {
    fuzz(1, JSON_SEEDS, |input| {
        let limits = Limits::default();
        let mut decoder = Decoder::new(Parser::Json);
        let text = String::from_utf8_lossy(input);
        let mut read = decoder.decode_text(&limits, &text);
        let mut due = 0;
        while read == Ok(None) {
            // What waits is bounded by what came, not by what was announced.
            assert!(decoder.pending_bytes() <= text.len() + 3 * due);
            due += 1;
            read = decoder.decode_binary(&limits, b"bin");
        }
        assert!(due <= limits.max_attachments && !decoder.is_pending());
        if let Ok(Some(packet)) = read {
            exercise(&packet, Parser::Json);
        }
    });
}

const MSGPACK_SEEDS: &[&[u8]] = &[
    b"\x83\xa4type\x00\xa4data\xd4\x00\x00\xa3nsp\xa1/",
    b"\x84\xa4type\x02\xa4data\x94\xa1e\x01\xc4\x02ab\x82\xa1a\xc0\xa1b\x91\xcb\x3f\xf0\0\0\0\0\0\0\xa3nsp\xa2/x\xa2id\x05",
    b"\x85\xa4type\x02\xa4data\x92\xa1e\xc7\x01\x00\x09\xa7options\x81\xa8compress\xc3\xa2id\x05\xa3nsp\xa1/",
    b"\x84\xa2id\xcd\x01\x00\xa4type\x03\xa4data\x92\xd7\x00\0\0\0\0\0\0\0\x01\xd5\x07ab\xa3nsp\xa1/",
    b"\x83\xa4type\x04\xa4data\x81\xa7message\xa2no\xa3nsp\xa1/",
    b"\x83\xa4type\x02\xa4data\xdc\x00\x02\xa1e\xde\x00\x01\x91\x01\x02\xa3nsp\xa1/",
];

#[test]
fn socketio_msgpack() {
    fuzz(2, MSGPACK_SEEDS, |input| {
        let mut decoder = Decoder::new(Parser::Msgpack);
        if let Ok(packet) = decoder.decode_binary(&Limits::default(), input) {
            exercise(&packet.unwrap(), Parser::Msgpack);
        }
    });
}

const PAYLOAD_SEEDS: &[&[u8]] = &[
    b"4hello\x1e2\x1ebAQIDBA==\x1e4w\xc3\xb6rld",
    b"0{\"sid\":\"x\"}\x1e3probe\x1e5\x1e6",
    b"1\x1eb\x1ebAQ\x1e4",
];

#[test]
fn engine_payload() {
    fuzz(3, PAYLOAD_SEEDS, |input| {
        let Ok(payload) = Payload::from_bytes(input, 100) else {
            return;
        };
        let read: Vec<_> = payload.collect();
        // One packet or one error for each part, and nothing behind an error.
        assert!(!read.is_empty() && read.len() <= 101);
        assert!(read.iter().rev().skip(1).all(Result::is_ok));
        let packets: Vec<EnginePacket<'_>> = read.into_iter().flatten().collect();
        let mut writer = PayloadWriter::new();
        packets.iter().for_each(|packet| writer.packet(packet));
        let body = writer.finish();
        if !packets.is_empty() {
            let again: Result<Vec<_>, _> = Payload::from_bytes(&body, 100).unwrap().collect();
            assert_eq!(again.unwrap(), packets);
        }
    });
}

#[test]
fn values_and_lists() {
    fuzz(4, JSON_SEEDS, |input| {
        let text = String::from_utf8_lossy(input);
        if let Ok(value) = Value::from_json(&text, &[]) {
            assert_eq!(Value::from_json(&value.to_json(), &[]).unwrap(), value);
        }
        let attachments = vec![bytes::Bytes::from_static(b"x")];
        if let Ok(args) = Args::from_json(&text, attachments, &Limits::default()) {
            let doubled = args.with(&args);
            assert_eq!(doubled.len(), 2 * args.len());
            assert_eq!(doubled.skip(args.len()).values(), args.values());
        }
    });
}
