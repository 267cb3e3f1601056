//! Frames: decoding, encoding, deflate.

use std::hint::black_box;

use bytes::Bytes;
use gungraun::{library_benchmark, library_benchmark_group};
use sockeye_counts::wire;
use sockeye_websocket::deflate::{DeflateOptions, deflate_shared};
use sockeye_websocket::handshake::{
    AcceptOptions, ClientHandshake, ClientOptions, accept, read_request,
};
use sockeye_websocket::{Event, Input, Limits, OpCode, Reader, Role, frame, text_frame};

/// A server's reader that has read before, and what comes next.
struct Incoming {
    reader: Reader,
    limits: Limits,
    bytes: Vec<u8>,
}

fn incoming(mut reader: Reader, one: &[u8], count: usize) -> Incoming {
    let limits = Limits::default();
    let mut first = one.to_vec();
    let mut input = Input::new(&mut first);
    while let Some(event) = reader.next(&limits, &mut input).expect("it is valid") {
        drop(event);
    }
    Incoming {
        reader,
        limits,
        bytes: one.repeat(count),
    }
}

fn frames(one: Vec<u8>, count: usize) -> Incoming {
    incoming(Reader::new(Role::Server, None), &one, count)
}

fn small(count: usize) -> Incoming {
    frames(wire::text(wire::SMALL_EVENT), count)
}

fn kilobyte(count: usize) -> Incoming {
    frames(wire::text(&wire::json(1024)), count)
}

fn kilobyte_of_binary(count: usize) -> Incoming {
    frames(wire::binary(&[7; 1024]), count)
}

fn fragmented(count: usize) -> Incoming {
    frames(wire::fragmented(&wire::json(1024)), count)
}

fn compressed(count: usize) -> Incoming {
    let options = DeflateOptions::default();
    let asked = ClientOptions {
        deflate: Some(options),
        ..ClientOptions::default()
    };
    let client = ClientHandshake::new("localhost", "/", &asked).expect("it is valid");
    let (request, _) = read_request(client.request())
        .expect("it is valid")
        .expect("it is complete");
    let accepted = accept(
        request.method(),
        request.version(),
        request.headers(),
        &AcceptOptions {
            deflate: Some(options),
            ..AcceptOptions::default()
        },
    );
    let agreed = accepted.expect("it is valid").deflate();
    let payload = deflate_shared(wire::json(1024).as_bytes(), 15, 6).expect("a window zlib knows");
    let one = wire::compressed(&payload);
    incoming(Reader::new(Role::Server, agreed), &one, count)
}

#[library_benchmark]
#[bench::small_text(args = (100), setup = small)]
#[bench::text_1k(args = (100), setup = kilobyte)]
#[bench::binary_1k(args = (100), setup = kilobyte_of_binary)]
#[bench::two_fragments_1k(args = (100), setup = fragmented)]
#[bench::deflated_1k(args = (10), setup = compressed)]
fn decode(mut incoming: Incoming) -> Incoming {
    let mut input = Input::new(&mut incoming.bytes);
    while let Ok(Some(event)) = incoming.reader.next(&incoming.limits, &mut input) {
        match black_box(event) {
            Event::Text(_) | Event::Binary(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(input.is_empty());
    incoming
}

// Every frame comes in two reads, cut behind its first half.
#[library_benchmark]
#[bench::small_text(args = (100), setup = small)]
fn decode_cut(mut incoming: Incoming) -> Incoming {
    let len = wire::text(wire::SMALL_EVENT).len();
    let mut messages = 0;
    for frame in incoming.bytes.chunks_exact_mut(len) {
        let (first, second) = frame.split_at_mut(len / 2);
        for piece in [first, second] {
            let mut input = Input::new(piece);
            while let Ok(Some(event)) = incoming.reader.next(&incoming.limits, &mut input) {
                messages += 1;
                black_box(&event);
            }
        }
    }
    assert_eq!(messages, 100);
    incoming
}

fn json_1k(_: ()) -> String {
    wire::json(1024)
}

fn small_event(_: ()) -> String {
    wire::SMALL_EVENT.to_owned()
}

#[library_benchmark]
#[bench::small_text(args = (()), setup = small_event)]
#[bench::text_1k(args = (()), setup = json_1k)]
fn encode(text: String) -> String {
    for _ in 0..100 {
        black_box(text_frame(black_box(&text)));
    }
    text
}

#[library_benchmark]
#[bench::pong(args = (()), setup = small_event)]
fn encode_control(text: String) -> Bytes {
    let mut last = Bytes::new();
    for _ in 0..100 {
        last = black_box(frame(OpCode::Pong, black_box(text.as_bytes())));
    }
    last
}

fn deflated_before(_: ()) -> String {
    let text = wire::json(1024);
    drop(deflate_shared(text.as_bytes(), 15, 6));
    text
}

// Deflation of a broadcast: once for all recipients.
#[library_benchmark]
#[bench::shared_1k(args = (()), setup = deflated_before)]
fn deflate(text: String) -> Option<Bytes> {
    let mut last = None;
    for _ in 0..10 {
        last = black_box(deflate_shared(black_box(text.as_bytes()), 15, 6));
    }
    last
}

library_benchmark_group!(
    name = websocket;
    benchmarks = decode, decode_cut, encode, encode_control, deflate
);
