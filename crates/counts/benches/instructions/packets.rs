//! Engine.IO and Socket.IO packets: decoding, the scan of arguments, encoding.

use std::hint::black_box;

use bytes::Bytes;
use gungraun::{library_benchmark, library_benchmark_group};
use sockeye_counts::wire;
use sockeye_protocol::engine::{Packet as EnginePacket, Payload, PayloadWriter};
use sockeye_protocol::socketio::{
    Args, Decoder, Limits, Packet, Parser, ToArgs, encode_ack_into, encode_event_into,
};

const LIMITS: fn() -> Limits = Limits::default;

/// A decoder that has decoded before, and the text frames to decode.
fn decoding(text: String) -> (Decoder, Limits, String) {
    let mut decoder = Decoder::new(Parser::Json);
    decode_one(&mut decoder, &LIMITS(), &text);
    (decoder, LIMITS(), text)
}

fn decode_one(decoder: &mut Decoder, limits: &Limits, text: &str) -> Option<Packet> {
    let Ok(EnginePacket::Message(text)) = EnginePacket::from_text(text) else {
        panic!("a message was expected");
    };
    decoder.decode_text(limits, text).expect("it is valid")
}

fn event_with_ack(_: ()) -> (Decoder, Limits, String) {
    decoding(wire::SMALL_EVENT.to_owned())
}

fn event_in_namespace(_: ()) -> (Decoder, Limits, String) {
    decoding(r#"42/admin,["say",{"room":"lobby"},"escaped \"text\" \u00e4",-12.5e3]"#.to_owned())
}

fn large_event(_: ()) -> (Decoder, Limits, String) {
    decoding(format!(r#"42["table",{}]"#, wire::json(16_384)))
}

fn acknowledgement(_: ()) -> (Decoder, Limits, String) {
    decoding(r#"4317[{"status":"ok","value":42}]"#.to_owned())
}

#[library_benchmark]
#[bench::event_with_ack(args = (()), setup = event_with_ack)]
#[bench::event_in_namespace(args = (()), setup = event_in_namespace)]
#[bench::acknowledgement(args = (()), setup = acknowledgement)]
fn decode((mut decoder, limits, text): (Decoder, Limits, String)) -> String {
    for _ in 0..100 {
        black_box(decode_one(&mut decoder, &limits, black_box(&text)));
    }
    text
}

// The scan of 16 KiB of JSON arguments.
#[library_benchmark]
#[bench::json_16k(args = (()), setup = large_event)]
fn scan((mut decoder, limits, text): (Decoder, Limits, String)) -> String {
    for _ in 0..4 {
        black_box(decode_one(&mut decoder, &limits, black_box(&text)));
    }
    text
}

fn binary_event(_: ()) -> (Decoder, Limits, Vec<u8>) {
    (Decoder::new(Parser::Json), LIMITS(), vec![7; 1024])
}

// An event with an attachment of 1 KiB.
#[library_benchmark]
#[bench::attachment_1k(args = (()), setup = binary_event)]
fn decode_binary((mut decoder, limits, data): (Decoder, Limits, Vec<u8>)) -> Decoder {
    let text = r#"451-5["upload",{"name":"a.png","data":{"_placeholder":true,"num":0}}]"#;
    for _ in 0..100 {
        assert!(decode_one(&mut decoder, &limits, black_box(text)).is_none());
        let packet = decoder.decode_binary(&limits, black_box(&data));
        black_box(packet.expect("it is valid").expect("it is complete"));
    }
    decoder
}

fn decoded(_: ()) -> Args {
    let (mut decoder, limits, text) = event_with_ack(());
    let packet = decode_one(&mut decoder, &limits, &text);
    packet.expect("it is complete").args
}

// Arguments to the types a handler asks for.
#[library_benchmark]
#[bench::typed(args = (()), setup = decoded)]
fn arguments(args: Args) -> Args {
    #[derive(serde::Deserialize)]
    struct Said {
        room: String,
        text: String,
    }
    for _ in 0..100 {
        let (said,): (Said,) = black_box(&args).deserialize().expect("the types fit");
        black_box((said.room.len(), said.text.len()));
    }
    args
}

fn answer(_: ()) -> Args {
    let answer = ("hello", 42, [1.5, 2.5], true);
    answer.to_args(Parser::Json).expect("it has a JSON form")
}

#[library_benchmark]
#[bench::event(args = (()), setup = answer)]
fn encode(args: Args) -> Args {
    let mut out = Vec::with_capacity(1024);
    for _ in 0..100 {
        out.clear();
        encode_event_into(&mut out, Parser::Json, "/", None, "news", black_box(&args));
        black_box(&out);
    }
    args
}

#[library_benchmark]
#[bench::acknowledgement(args = (()), setup = answer)]
fn encode_ack(args: Args) -> Args {
    let mut out = Vec::with_capacity(1024);
    for _ in 0..100 {
        out.clear();
        encode_ack_into(&mut out, Parser::Json, "/", black_box(17), black_box(&args));
        black_box(&out);
    }
    args
}

// Values to arguments, as an emit does.
#[library_benchmark]
#[bench::values(args = (()), setup = small_text)]
fn to_args(text: String) -> String {
    for _ in 0..100 {
        let value = (black_box(text.as_str()), black_box(42), [1.5, 2.5], true);
        black_box(value.to_args(Parser::Json).expect("it has a JSON form"));
    }
    text
}

fn small_text(_: ()) -> String {
    "hello, everybody".to_owned()
}

fn msgpack_event(_: ()) -> (Decoder, Limits, Vec<u8>) {
    let args = ("hello", 42, Bytes::from_static(&[7; 64]).to_vec());
    let args = args.to_args(Parser::Msgpack).expect("it has a form");
    let mut data = Vec::new();
    encode_event_into(&mut data, Parser::Msgpack, "/", Some(17), "say", &args);
    (Decoder::new(Parser::Msgpack), LIMITS(), data)
}

#[library_benchmark]
#[bench::event_with_ack(args = (()), setup = msgpack_event)]
fn decode_msgpack((mut decoder, limits, data): (Decoder, Limits, Vec<u8>)) -> Decoder {
    for _ in 0..100 {
        let packet = decoder.decode_binary(&limits, black_box(&data));
        black_box(packet.expect("it is valid").expect("it is complete"));
    }
    decoder
}

fn body(_: ()) -> Vec<u8> {
    let mut payload = PayloadWriter::new();
    for _ in 0..32 {
        payload.text(wire::SMALL_EVENT.as_bytes());
    }
    payload.finish()
}

// The body of a POST with 32 packets.
#[library_benchmark]
#[bench::polling_body(args = (()), setup = body)]
fn decode_payload(body: Vec<u8>) -> Vec<u8> {
    for _ in 0..4 {
        let payload = Payload::from_bytes(black_box(&body), 1_000).expect("it is valid");
        assert_eq!(payload.map(black_box).filter(Result::is_ok).count(), 32);
    }
    body
}

library_benchmark_group!(
    name = protocol;
    benchmarks = decode, scan, decode_binary, decode_msgpack, decode_payload, arguments, to_args,
        encode, encode_ack
);
