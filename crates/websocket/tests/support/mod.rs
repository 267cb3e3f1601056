//! A peer's frames, written without the crate's own encoder, and a way to read them in pieces.
#![allow(dead_code, reason = "each test file uses a part")]

use sockeye_websocket::deflate::Agreed;
use sockeye_websocket::handshake::{self, AcceptOptions, ClientHandshake, ClientOptions};
use sockeye_websocket::{CloseFrame, Error, Event, Input, Limits, Reader, Role};

pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;
pub(crate) const MASKED: u8 = 0x80;
pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame as `from` sends it: `first` is the first byte.
pub(crate) fn raw(from: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = if from == Role::Client { MASKED } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(mask | len as u8),
        len @ 126..=0xFFFF => {
            bytes.push(mask | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(mask | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    if from == Role::Client {
        bytes.extend(KEY);
        bytes.extend(
            payload
                .iter()
                .enumerate()
                .map(|(i, byte)| byte ^ KEY[i % 4]),
        );
    } else {
        bytes.extend(payload);
    }
    bytes
}

/// A client's frame.
pub(crate) fn client(first: u8, payload: &[u8]) -> Vec<u8> {
    raw(Role::Client, first, payload)
}

pub(crate) fn peer(role: Role) -> Role {
    if role == Role::Server {
        Role::Client
    } else {
        Role::Server
    }
}

/// An event that owns what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<CloseFrame>),
}

pub(crate) fn own(event: Event<'_>) -> Got {
    match event {
        Event::Text(text) => Got::Text(text.into_string()),
        Event::Binary(bytes) => Got::Binary(bytes.into_vec()),
        Event::Ping(bytes) => Got::Ping(bytes.into_vec()),
        Event::Pong(bytes) => Got::Pong(bytes.into_vec()),
        Event::Close(frame) => Got::Close(frame),
    }
}

pub(crate) fn text(text: &str) -> Got {
    Got::Text(text.to_owned())
}

/// Feeds one piece, from a buffer that is overwritten afterwards as a shared one would be.
pub(crate) fn feed(
    reader: &mut Reader,
    limits: &Limits,
    piece: &[u8],
    events: &mut Vec<Got>,
) -> Result<(), Error> {
    let mut buffer = piece.to_vec();
    let mut input = Input::new(&mut buffer);
    let result = loop {
        match reader.next(limits, &mut input) {
            Ok(Some(event)) => events.push(own(event)),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    if result.is_ok() {
        assert!(input.is_empty(), "input left over");
    }
    buffer.fill(0xEE);
    result
}

/// Everything a fresh reader makes of `bytes` that come in pieces of `size`.
pub(crate) fn read_with(
    role: Role,
    deflate: Option<Agreed>,
    limits: &Limits,
    bytes: &[u8],
    size: usize,
) -> (Vec<Got>, Option<Error>) {
    let (mut reader, mut events) = (Reader::new(role, deflate), Vec::new());
    for piece in bytes.chunks(size) {
        if let Err(error) = feed(&mut reader, limits, piece, &mut events) {
            return (events, Some(error));
        }
    }
    (events, None)
}

/// What a server makes of a client's bytes, whole and byte by byte.
pub(crate) fn serve(bytes: &[u8]) -> (Vec<Got>, Option<u16>) {
    let limits = Limits::default();
    let code = |error: Option<Error>| error.map(Error::close_code);
    let (whole, error) = read_with(Role::Server, None, &limits, bytes, bytes.len().max(1));
    let (cut, cut_error) = read_with(Role::Server, None, &limits, bytes, 1);
    assert_eq!(
        (&whole, error),
        (&cut, cut_error),
        "cutting changed what was read"
    );
    (whole, code(error))
}

/// Lets both sides negotiate with these options.
pub(crate) fn negotiated(options: sockeye_websocket::deflate::DeflateOptions) -> Agreed {
    let client_options = ClientOptions {
        deflate: Some(options),
        ..ClientOptions::default()
    };
    let mut client = ClientHandshake::new("h", "/", &client_options).unwrap();
    let (request, _) = handshake::read_request(client.request()).unwrap().unwrap();
    let accepted = handshake::accept(
        request.method(),
        request.version(),
        request.headers(),
        &AcceptOptions {
            deflate: Some(options),
            ..AcceptOptions::default()
        },
    )
    .unwrap();
    let mut answer = Vec::new();
    accepted.write_response(&mut answer);
    let response = client.response(&answer).unwrap().unwrap();
    assert_eq!(
        response.deflate,
        accepted.deflate(),
        "both sides understood the same"
    );
    response.deflate.unwrap()
}
