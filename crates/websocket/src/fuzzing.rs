//! The functions that a fuzzer feeds with bytes. Each panics when a promise is broken.
//!
//! They run under any fuzzer; `tests/fuzz_smoke.rs` runs them under a property runner with a
//! corpus of nasty seeds. Behind the feature `fuzzing`.

use crate::deflate::{Agreed, DeflateOptions, Deflater};
use crate::handshake::{self, AcceptOptions, ClientHandshake, ClientOptions};
use crate::{Event, Input, Limits, OpCode, Reader, Role};

const LIMITS: Limits = Limits::new(64 * 1024);

/// The decoder: the first byte chooses role, compression and how the rest is cut. Whatever comes,
/// it does not panic, memory stays within what came, and cutting does not change what is read.
pub fn decoder(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else {
        return;
    };
    let role = if choice & 1 == 0 {
        Role::Server
    } else {
        Role::Client
    };
    let deflate = (choice & 2 != 0).then_some(Agreed {
        server_takeover: choice & 4 != 0,
        client_takeover: choice & 4 != 0,
        server_bits: 15,
        client_bits: 15,
    });
    let whole = read(Reader::new(role, deflate), bytes, bytes.len().max(1));
    let cut = read(
        Reader::new(role, deflate),
        bytes,
        1 + usize::from(choice >> 3),
    );
    // Where an error is found early, a cut input may have yielded no fewer events.
    assert_eq!(whole, cut, "cutting the input changed what was read");
}

/// The handshake: as a request to a server and as an answer to a client.
pub fn handshake(data: &[u8]) {
    let options = AcceptOptions {
        protocols: vec!["a".into()],
        deflate: Some(DeflateOptions::default()),
    };
    if let Ok(Some((request, len))) = handshake::read_request(data) {
        assert!(len <= data.len());
        let answer = handshake::accept(
            request.method(),
            request.version(),
            request.headers(),
            &options,
        );
        let mut bytes = Vec::new();
        match answer {
            Ok(accepted) => accepted.write_response(&mut bytes),
            Err(refusal) => refusal.write_response(&mut bytes),
        }
        assert!(bytes.starts_with(b"HTTP/1.1 "));
    }
    // The same bytes as values of the headers that have a grammar of their own.
    if let Ok(value) = http::HeaderValue::from_bytes(data) {
        let mut request = client(&options.protocols).request().to_vec();
        request.truncate(request.len() - 2);
        for name in ["sec-websocket-extensions", "sec-websocket-protocol"] {
            request.extend_from_slice(format!("{name}: ").as_bytes());
            request.extend_from_slice(value.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        if let Ok(Some((request, _))) = handshake::read_request(&request) {
            let _ = handshake::accept(
                request.method(),
                request.version(),
                request.headers(),
                &options,
            );
        }
    }
    if let Ok(Some(response)) = client(&options.protocols).response(data) {
        assert!(response.head_len <= data.len());
    }
}

/// The inflater: the bytes as a compressed message, and as a message to be compressed and read
/// back.
pub fn inflater(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else {
        return;
    };
    let agreed = Agreed {
        server_takeover: choice & 1 != 0,
        client_takeover: choice & 1 != 0,
        server_bits: 9 + (choice >> 1) % 7,
        client_bits: 15,
    };
    let mut hostile = Vec::new();
    for _ in 0..2 {
        crate::encode_into(&mut hostile, OpCode::Binary, true, true, None, bytes);
    }
    read(
        Reader::new(Role::Client, Some(agreed)),
        &hostile,
        hostile.len(),
    );

    let options = DeflateOptions {
        threshold: 0,
        level: choice % 10,
        ..DeflateOptions::default()
    };
    let mut deflater = Deflater::new(agreed, Role::Server, &options);
    let mut reader = Reader::new(Role::Client, Some(agreed));
    for _ in 0..2 {
        let mut frame = deflater.frame(OpCode::Binary, bytes).to_vec();
        let mut input = Input::new(&mut frame);
        let limits = Limits::new(bytes.len());
        match reader.next(&limits, &mut input) {
            Ok(Some(Event::Binary(payload))) => assert_eq!(&*payload, bytes),
            other => panic!("our own frame was read as {other:?}"),
        }
    }
}

/// Reads everything in pieces of `size`; events in a form that can be compared.
fn read(mut reader: Reader, bytes: &[u8], size: usize) -> (Vec<String>, Option<u16>) {
    let mut events = Vec::new();
    let mut came = 0;
    for piece in bytes.chunks(size) {
        let mut piece = piece.to_vec();
        came += piece.len();
        let mut input = Input::new(&mut piece);
        loop {
            match reader.next(&LIMITS, &mut input) {
                Ok(Some(event)) => events.push(describe(&event)),
                Ok(None) => break,
                Err(error) => return (events, Some(error.close_code())),
            }
        }
        assert!(input.is_empty(), "input left");
        // Twice what came, what can come out of it, an inflater, and the box around it.
        let bound = 2 * came + 2 * LIMITS.max_inflated_size + 49_152 + 1024;
        assert!(
            reader.memory() <= bound,
            "{} bytes held after {came}",
            reader.memory()
        );
    }
    (events, None)
}

fn describe(event: &Event<'_>) -> String {
    match event {
        Event::Text(text) => format!("text {}", &**text),
        Event::Binary(bytes) => format!("binary {:?}", &**bytes),
        Event::Ping(bytes) => format!("ping {:?}", &**bytes),
        Event::Pong(bytes) => format!("pong {:?}", &**bytes),
        Event::Close(frame) => format!("close {frame:?}"),
    }
}

fn client(protocols: &[String]) -> ClientHandshake {
    let options = ClientOptions {
        protocols: protocols.to_vec(),
        deflate: Some(DeflateOptions::default()),
        ..ClientOptions::default()
    };
    match ClientHandshake::with_key("h", "/", &options, [0; 16]) {
        Ok(client) => client,
        Err(error) => panic!("{error}"),
    }
}
