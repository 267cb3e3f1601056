//! permessage-deflate against RFC 7692, both sides.

mod support;

use http::{HeaderMap, HeaderValue, Method, Version};
use sockeye_websocket::deflate::{
    Agreed, DeflateOptions, Deflater, deflate_shared, deflated_frame,
};
use sockeye_websocket::handshake::{
    AcceptOptions, ClientHandshake, ClientOptions, accept, read_request,
};
use sockeye_websocket::{Limits, OpCode, Reader, Role, encode_into};
use support::{FIN, Got, RSV1, client, feed, negotiated, raw, read_with, text};

const DEFLATED: u8 = FIN | RSV1 | 1;

fn takeover() -> DeflateOptions {
    DeflateOptions {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        threshold: 0,
        ..DeflateOptions::default()
    }
}

/// What a server answers to an offer, and what it means.
fn answer(offer: &str, options: DeflateOptions) -> Option<(String, Agreed)> {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "h"),
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for value in offer.split('\n') {
        headers.append(
            "sec-websocket-extensions",
            HeaderValue::from_str(value).unwrap(),
        );
    }
    let options = AcceptOptions {
        deflate: Some(options),
        ..AcceptOptions::default()
    };
    let accepted = accept(&Method::GET, Version::HTTP_11, &headers, &options).unwrap();
    let value = accepted.headers().get("sec-websocket-extensions").cloned();
    assert_eq!(value.is_some(), accepted.deflate().is_some());
    Some((value?.to_str().unwrap().to_owned(), accepted.deflate()?))
}

fn answer_value(offer: &str, options: DeflateOptions) -> Option<String> {
    answer(offer, options).map(|(value, _)| value)
}

/// §7.1.1: the server forgets its context whether or not it was asked to, unless configured
/// otherwise; asked, it always does.
#[test]
fn s7_1_1_context_takeover() {
    let both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert_eq!(
        answer_value("permessage-deflate", DeflateOptions::default()).unwrap(),
        both
    );
    let (value, agreed) = answer("permessage-deflate", takeover()).unwrap();
    assert_eq!(value, "permessage-deflate");
    assert!(agreed.takeover(Role::Server) && agreed.takeover(Role::Client));
    let (value, agreed) =
        answer("permessage-deflate; server_no_context_takeover", takeover()).unwrap();
    assert_eq!(value, "permessage-deflate; server_no_context_takeover");
    assert!(!agreed.takeover(Role::Server) && agreed.takeover(Role::Client));
    let (value, agreed) =
        answer("permessage-deflate; client_no_context_takeover", takeover()).unwrap();
    assert_eq!(value, "permessage-deflate; client_no_context_takeover");
    assert!(agreed.takeover(Role::Server) && !agreed.takeover(Role::Client));
}

/// §7.1.2.1: the server's window is at most what the client can take.
#[test]
fn s7_1_2_1_server_max_window_bits() {
    for bits in 9..=15 {
        let offer = format!("permessage-deflate; server_max_window_bits={bits}");
        let (value, agreed) = answer(&offer, takeover()).unwrap();
        assert_eq!((value, agreed.window_bits(Role::Server)), (offer, bits));
    }
    let small = DeflateOptions {
        server_max_window_bits: 10,
        ..takeover()
    };
    for offered in ["", "; server_max_window_bits=12"] {
        let (value, agreed) = answer(&format!("permessage-deflate{offered}"), small).unwrap();
        assert_eq!(value, "permessage-deflate; server_max_window_bits=10");
        assert_eq!(agreed.window_bits(Role::Server), 10);
    }
    let (value, _) = answer("permessage-deflate; server_max_window_bits=9", small).unwrap();
    assert_eq!(value, "permessage-deflate; server_max_window_bits=9");
}

/// §7.1.2.2: the client's window is limited only when the client offered to.
#[test]
fn s7_1_2_2_client_max_window_bits() {
    let small = DeflateOptions {
        client_max_window_bits: 11,
        ..takeover()
    };
    let bits = |offer, options| answer(offer, options).unwrap().1.window_bits(Role::Client);
    assert_eq!(
        answer_value("permessage-deflate", small).unwrap(),
        "permessage-deflate"
    );
    assert_eq!(bits("permessage-deflate", small), 15);
    for (offer, expected) in [("", 11), ("=9", 9), ("=11", 11), ("=15", 11)] {
        let offer = format!("permessage-deflate; client_max_window_bits{offer}");
        let (value, agreed) = answer(&offer, small).unwrap();
        assert_eq!(
            value,
            format!("permessage-deflate; client_max_window_bits={expected}")
        );
        assert_eq!(agreed.window_bits(Role::Client), expected);
    }
    let offer = "permessage-deflate; client_max_window_bits";
    assert_eq!(
        answer_value(offer, takeover()).unwrap(),
        "permessage-deflate"
    );
    // 8 is a hint and may be ignored: we inflate whatever the window.
    assert_eq!(
        bits("permessage-deflate; client_max_window_bits=8", takeover()),
        15
    );
}

/// §7.1: unknown, repeated and bad parameters decline the offer; §5.1: the next one is tried.
#[test]
fn s7_1_offers_that_cannot_be_served_are_declined_and_the_next_is_tried() {
    for bad in [
        "server_max_window_bits=8", // zlib has no such window
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=09",
        "server_max_window_bits=+9",
        "server_max_window_bits=1",
        "server_max_window_bits=10; server_max_window_bits=10",
        "client_max_window_bits=7",
        "client_max_window_bits=99999999999",
        "client_max_window_bits; client_max_window_bits",
        "server_no_context_takeover=1",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover=true",
        "client_no_context_takeover; client_no_context_takeover",
        "unknown",
        "Server_no_context_takeover",
    ] {
        let offer = format!("permessage-deflate; {bad}");
        assert_eq!(answer(&offer, takeover()), None, "{offer}");
        for separator in [", ", "\n"] {
            let two = format!("{offer}{separator}permessage-deflate; server_max_window_bits=12");
            let value = answer_value(&two, takeover()).unwrap();
            assert_eq!(
                value, "permessage-deflate; server_max_window_bits=12",
                "{two}"
            );
        }
    }
    assert_eq!(
        answer("x-webkit-deflate-frame, permessage-foo", takeover()),
        None
    );
    // The first that can be served wins, and quoting makes no difference.
    let two = "foo, permessage-deflate; server_max_window_bits=\"9\", permessage-deflate";
    let value = answer_value(two, takeover()).unwrap();
    assert_eq!(value, "permessage-deflate; server_max_window_bits=9");
}

/// §7.1: what a client accepts as an answer to its offer.
#[test]
fn s7_1_the_client_checks_the_answer() {
    let judge = |answer: &str, options: DeflateOptions| {
        let options = ClientOptions {
            deflate: Some(options),
            ..ClientOptions::default()
        };
        let mut client =
            ClientHandshake::with_key("h", "/", &options, *b"the sample nonce").unwrap();
        let head = format!(
            "HTTP/1.1 101 S\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{answer}\r\n"
        );
        client
            .response(head.as_bytes())
            .map(|response| response.unwrap().deflate)
    };
    let with = |params: &str, options| {
        judge(
            &format!("sec-websocket-extensions: permessage-deflate{params}\r\n"),
            options,
        )
    };
    assert_eq!(judge("", takeover()).unwrap(), None, "declined");
    let agreed = with("", takeover()).unwrap().unwrap();
    assert!(agreed.takeover(Role::Server) && agreed.takeover(Role::Client));
    assert_eq!(
        (
            agreed.window_bits(Role::Server),
            agreed.window_bits(Role::Client)
        ),
        (15, 15)
    );
    let all = "; server_no_context_takeover; client_no_context_takeover; \
               server_max_window_bits=10; client_max_window_bits=9";
    let agreed = with(all, takeover()).unwrap().unwrap();
    assert!(!agreed.takeover(Role::Server) && !agreed.takeover(Role::Client));
    assert_eq!(
        (
            agreed.window_bits(Role::Server),
            agreed.window_bits(Role::Client)
        ),
        (10, 9)
    );
    // 8 is legal in an answer; such a client sends uncompressed.
    let agreed = with("; client_max_window_bits=8", takeover())
        .unwrap()
        .unwrap();
    let mut deflater = Deflater::new(agreed, Role::Client, &takeover());
    assert!(!deflater.encode_into(&mut Vec::new(), OpCode::Text, Some([1; 4]), &[b'a'; 99]));

    let small = DeflateOptions {
        server_max_window_bits: 10,
        client_max_window_bits: 10,
        ..takeover()
    };
    for (bad, options) in [
        ("; client_max_window_bits", takeover()),
        ("; server_max_window_bits=16", takeover()),
        ("; server_max_window_bits=7", takeover()),
        ("; unknown", takeover()),
        (
            "; server_no_context_takeover; server_no_context_takeover",
            takeover(),
        ),
        (", permessage-deflate", takeover()),
        (
            "",
            DeflateOptions {
                server_no_context_takeover: true,
                ..takeover()
            },
        ),
        ("", small), // 15 where 10 was the most
        ("; server_max_window_bits=11", small),
        (
            "; server_max_window_bits=10; client_max_window_bits=11",
            small,
        ),
    ] {
        assert!(with(bad, options).unwrap_err().is_negotiation(), "{bad}");
    }
    let agreed = with("; server_max_window_bits=10", small).unwrap().unwrap();
    assert_eq!(
        agreed.window_bits(Role::Client),
        10,
        "what was promised holds unrepeated"
    );
}

/// §7.1: the client's offer says what it was told to say.
#[test]
fn s7_1_the_clients_offer() {
    let offer = |options: DeflateOptions| {
        let options = ClientOptions {
            deflate: Some(options),
            ..ClientOptions::default()
        };
        let client = ClientHandshake::new("h", "/", &options).unwrap();
        let (request, _) = read_request(client.request()).unwrap().unwrap();
        request.headers()["sec-websocket-extensions"]
            .to_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        offer(takeover()),
        "permessage-deflate; client_max_window_bits"
    );
    assert_eq!(
        offer(DeflateOptions {
            server_max_window_bits: 9,
            client_max_window_bits: 12,
            ..DeflateOptions::default()
        }),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
         server_max_window_bits=9; client_max_window_bits=12"
    );
}

/// §6.1: RSV1 only on the first frame of a message, never on control frames, and only when
/// negotiated.
#[test]
fn s6_1_rsv1() {
    let agreed = Some(negotiated(takeover()));
    let limits = Limits::default();
    for bad in [
        client(FIN | RSV1 | 9, b""),
        client(FIN | RSV1 | 8, b""),
        client(FIN | 0x20 | 1, b""),
        [client(1, b"a"), client(FIN | RSV1, b"b")].concat(),
        [client(RSV1 | 1, b"\xf2"), client(FIN | RSV1, b"\x00")].concat(),
    ] {
        let (events, error) = read_with(Role::Server, agreed, &limits, &bad, 3);
        assert_eq!(
            (events, error.unwrap().close_code()),
            (vec![], 1002),
            "{bad:x?}"
        );
    }
}

/// §7.2.3: the examples of the RFC, read by a server from a client.
#[test]
fn s7_2_3_examples() {
    let agreed = Some(negotiated(takeover()));
    let limits = Limits::default();
    let one = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let hello = || text("Hello");
    let read = |bytes: &[u8], size| {
        let (events, error) = read_with(Role::Server, agreed, &limits, bytes, size);
        assert_eq!(error, None);
        events
    };
    for size in [1, 4, 100] {
        // §7.2.3.1, in one frame and in two.
        assert_eq!(read(&client(DEFLATED, &one), size), [hello()]);
        let two = [client(RSV1 | 1, &one[..3]), client(FIN, &one[3..])].concat();
        assert_eq!(read(&two, size), [hello()]);
        // §7.2.3.2: the second message refers to the first.
        let shared = [
            client(DEFLATED, &one),
            client(DEFLATED, &[0xf2, 0x00, 0x11, 0x00, 0x00]),
        ];
        assert_eq!(read(&shared.concat(), size), [hello(), hello()]);
        // §7.2.3.3: a block without compression.
        let stored = [
            0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
        ];
        assert_eq!(read(&client(DEFLATED, &stored), size), [hello()]);
        // §7.2.3.4: a final block; also without the byte that should follow it.
        let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        let twice = [
            client(DEFLATED, &last),
            client(DEFLATED, &last[..7]),
            client(DEFLATED, &last),
        ];
        assert_eq!(read(&twice.concat(), size), [hello(), hello(), hello()]);
        // §7.2.3.5: two blocks in one message.
        let blocks = [
            0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
        ];
        assert_eq!(read(&client(DEFLATED, &blocks), size), [hello()]);
        // §7.2.3.6: an empty message, and one a sloppy peer makes.
        let empty = [
            client(DEFLATED, &[0]),
            client(DEFLATED, &[]),
            client(DEFLATED, &one),
        ];
        assert_eq!(read(&empty.concat(), size), [text(""), text(""), hello()]);
        // §6: compressed and plain messages mix, control frames come between fragments.
        let mixed = [
            client(FIN | 1, b"plain"),
            client(RSV1 | 1, &one[..2]),
            client(FIN | 9, b"p"),
            client(FIN, &one[2..]),
        ];
        let ping = Got::Ping(b"p".to_vec());
        assert_eq!(read(&mixed.concat(), size), [text("plain"), ping, hello()]);
    }
}

/// §7.2.1 and §7.2.3.1: what we write is what the RFC writes.
#[test]
fn s7_2_1_the_tail_is_stripped() {
    let hello = deflate_shared(b"Hello", 15, 6).unwrap();
    assert_eq!(hello[..], [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    assert_eq!(deflate_shared(b"", 15, 6).unwrap()[..], [0]);
    assert_eq!(deflate_shared(b"x", 8, 6), None);
    assert_eq!(deflate_shared(b"x", 16, 6), None);
    let long = [b'a'; 5000];
    let frame = deflated_frame(OpCode::Text, &long, 15, 6);
    assert_eq!(frame[0], DEFLATED);
    assert!(frame.len() < 100);
    // What does not shrink is sent plain, as are control frames and windows zlib has not.
    assert_eq!(
        deflated_frame(OpCode::Text, b"Hello", 15, 6)[..],
        *b"\x81\x05Hello"
    );
    assert_eq!(deflated_frame(OpCode::Text, &long, 8, 6)[0], FIN | 1);
    assert_eq!(
        deflated_frame(OpCode::Ping, &[b'a'; 125], 15, 6)[0],
        FIN | 9
    );
}

/// §7.2.3.2 the other way: with takeover the second message is shorter, without it is not, and
/// after a shared frame the two windows still agree.
#[test]
fn s7_2_takeover_and_shared_frames() {
    let message = "A message of some words, none of them very much like another one.";
    let bytes = message.as_bytes();
    for keeps in [true, false] {
        let options = DeflateOptions {
            server_no_context_takeover: !keeps,
            ..takeover()
        };
        let agreed = negotiated(options);
        let mut deflater = Deflater::new(agreed, Role::Server, &options);
        let mut reader = Reader::new(Role::Client, Some(agreed));
        let (limits, mut events) = (Limits::default(), Vec::new());
        let mut sizes = Vec::new();
        for shared in [false, false, true, false, false] {
            let frame = if shared {
                deflater.forget();
                deflated_frame(OpCode::Text, message.repeat(9).as_bytes(), 9, 6)
            } else {
                deflater.frame(OpCode::Text, bytes)
            };
            sizes.push(frame.len());
            feed(&mut reader, &limits, &frame, &mut events).unwrap();
        }
        let mut expected = vec![text(message); 5];
        expected[2] = text(&message.repeat(9));
        assert_eq!(events, expected);
        assert_eq!(sizes[0] == sizes[1], !keeps, "{sizes:?}");
        assert_eq!(
            (sizes[0], sizes[1]),
            (sizes[3], sizes[4]),
            "forgotten, then remembered"
        );
        assert_eq!(reader.memory() > 0, keeps);
    }
}

/// The threshold decides what is worth compressing.
#[test]
fn messages_below_the_threshold_are_sent_plain() {
    let options = DeflateOptions::default();
    let mut deflater = Deflater::new(negotiated(options), Role::Server, &options);
    assert_eq!(deflater.frame(OpCode::Text, &[b'a'; 1023])[0], FIN | 1);
    assert_eq!(deflater.frame(OpCode::Text, &[b'a'; 1024])[0], DEFLATED);
    assert_eq!(deflater.frame(OpCode::Close, b"")[0], FIN | 8);
    let noise: Vec<u8> = (0..2000).map(|_| rand::random()).collect();
    assert_eq!(
        deflater.frame(OpCode::Binary, &noise)[0],
        FIN | 2,
        "noise does not shrink"
    );
}

/// A compression bomb is stopped at the limit, however it comes.
#[test]
fn bombs_stop_at_the_limit() {
    let bomb = deflate_shared(&vec![b'a'; 5_000_000], 15, 9).unwrap();
    assert!(bomb.len() < 6_000);
    let limits = Limits::default();
    for (agreed, size) in [
        (negotiated(takeover()), 100),
        (negotiated(Default::default()), 100_000),
    ] {
        for opcode in [1, 2] {
            let frame = client(FIN | RSV1 | opcode, &bomb);
            let mut reader = Reader::new(Role::Server, Some(agreed));
            let mut events = vec![];
            let error = frame
                .chunks(size)
                .find_map(|piece| feed(&mut reader, &limits, piece, &mut events).err())
                .unwrap();
            assert!(error.is_too_big() && events.is_empty());
            assert_eq!(reader.memory(), 0);
        }
    }
    // One byte makes the difference.
    let fits = client(FIN | RSV1 | 2, &deflate_shared(&[7; 5000], 15, 6).unwrap());
    let agreed = Some(negotiated(Default::default()));
    let read = |max| read_with(Role::Server, agreed, &Limits::new(max), &fits, 10);
    assert_eq!(read(5000), (vec![Got::Binary(vec![7; 5000])], None));
    assert!(read(4999).1.unwrap().is_too_big());
}

/// An incompressible message of the largest size may be sent compressed.
#[test]
fn limits_allow_for_what_deflate_adds() {
    let noise: Vec<u8> = (0..100_000).map(|_| rand::random()).collect();
    let deflated = deflate_shared(&noise, 9, 1).unwrap();
    assert!(deflated.len() > noise.len());
    let agreed = Some(negotiated(Default::default()));
    let frame = client(FIN | RSV1 | 2, &deflated);
    let (events, error) = read_with(Role::Server, agreed, &Limits::new(100_000), &frame, 60_000);
    assert_eq!((events.len(), error), (1, None));
    // Yet what is announced far beyond it is refused at once.
    let head = &client(FIN | RSV1 | 2, &vec![0; 120_000])[..14];
    let (_, error) = read_with(Role::Server, agreed, &Limits::new(100_000), head, 14);
    assert!(error.unwrap().is_too_big());
}

/// Data that cannot be inflated, and messages that end inside a block.
#[test]
fn what_cannot_be_inflated_is_refused() {
    let limits = Limits::default();
    let cut = deflate_shared("words and more words and others".as_bytes(), 15, 6).unwrap();
    for bad in [
        &b"\xff\xff\xff\xff"[..],
        b"\x07",
        &[0xf2, 0x00, 0x11, 0x00, 0x00],
        &cut[..9],
    ] {
        let agreed = Some(negotiated(Default::default()));
        let frame = client(FIN | RSV1 | 2, bad);
        let (events, error) = read_with(Role::Server, agreed, &limits, &frame, 2);
        assert_eq!(
            (events, error.unwrap().close_code()),
            (vec![], 1007),
            "{bad:x?}"
        );
    }
    // Text is checked after inflating.
    let text = client(DEFLATED, &deflate_shared(b"abc\xff", 15, 6).unwrap());
    let (_, error) = read_with(
        Role::Server,
        Some(negotiated(takeover())),
        &limits,
        &text,
        100,
    );
    assert!(error.unwrap().is_invalid_utf8());
}

/// A pooled inflater carries nothing from one connection to the next.
#[test]
fn contexts_do_not_leak_between_connections() {
    let limits = Limits::default();
    let agreed = Some(negotiated(Default::default()));
    let secret = client(DEFLATED, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    let probe = client(DEFLATED, &[0xf2, 0x00, 0x11, 0x00, 0x00]); // five bytes back, five bytes
    assert_eq!(
        read_with(Role::Server, agreed, &limits, &secret, 99).0,
        [text("Hello")]
    );
    let (events, error) = read_with(Role::Server, agreed, &limits, &probe, 99);
    assert_eq!((events, error.unwrap().close_code()), (vec![], 1007));
    // Nor from one message to the next of the same connection.
    let both = [secret, probe].concat();
    let (events, error) = read_with(Role::Server, agreed, &limits, &both, 99);
    assert_eq!(
        (events, error.unwrap().close_code()),
        (vec![text("Hello")], 1007)
    );
}

/// A peer that stops inside a small compressed message holds about what it sent, no inflater.
#[test]
fn half_received_compressed_messages_are_cheap() {
    let noise: Vec<u8> = (0..200_000).map(|_| rand::random()).collect();
    let frame = client(FIN | RSV1 | 2, &deflate_shared(&noise, 15, 6).unwrap());
    let (limits, agreed) = (Limits::default(), Some(negotiated(Default::default())));
    let (mut reader, mut events) = (Reader::new(Role::Server, agreed), vec![]);
    let mut came = 0;
    for piece in frame.chunks(500).take(390) {
        feed(&mut reader, &limits, piece, &mut events).unwrap();
        came += piece.len();
        let inflater = if came > 32 * 1024 { 48 * 1024 } else { 0 };
        assert!(
            reader.memory() <= 2 * came + inflater + 1024,
            "{} {came}",
            reader.memory()
        );
    }
    assert_eq!(events, []);
}

/// A client compresses too, masked; a server reads it with every window and takeover choice.
#[test]
fn both_roles_with_every_window_and_takeover() {
    let messages = ["first message", "second message", "", "a third, long: "];
    for role in [Role::Server, Role::Client] {
        for bits in 9..=15 {
            for no_takeover in [false, true] {
                let options = DeflateOptions {
                    server_no_context_takeover: no_takeover,
                    client_no_context_takeover: no_takeover,
                    server_max_window_bits: bits,
                    client_max_window_bits: bits,
                    threshold: 0,
                    level: bits - 6,
                };
                let agreed = negotiated(options);
                assert_eq!(agreed.window_bits(role), bits);
                let mut deflater = Deflater::new(agreed, role, &options);
                let mask = (role == Role::Client).then_some([5, 6, 7, 8]);
                let (mut wire, mut expected) = (Vec::new(), Vec::new());
                for (i, message) in messages.iter().enumerate() {
                    let message = message.repeat(1 + i * i * 300);
                    deflater.encode_into(&mut wire, OpCode::Text, mask, message.as_bytes());
                    expected.push(text(&message));
                }
                let limits = Limits::default();
                let reads = support::peer(role);
                for size in [13, wire.len()] {
                    let read = read_with(reads, Some(agreed), &limits, &wire, size);
                    assert_eq!(read, (expected.clone(), None), "{role:?} {bits}");
                }
            }
        }
    }
}

/// One deflation serves every peer whose window is at least the one used.
#[test]
fn shared_frames_fit_every_larger_window() {
    let message: String = (0..3000).map(|i| format!("{{\"n\":{i}}},")).collect();
    let limits = Limits::default();
    for used in 9..=15 {
        let frame = deflated_frame(OpCode::Text, message.as_bytes(), used, 6);
        for bits in used..=15 {
            let options = DeflateOptions {
                server_max_window_bits: bits,
                ..takeover()
            };
            let agreed = Some(negotiated(options));
            let (events, error) = read_with(Role::Client, agreed, &limits, &frame, 4096);
            assert_eq!((events, error), (vec![text(&message)], None));
        }
    }
    // And no match in it reaches further back than the window (checked by a strict decoder).
    let data = deflate_shared(&[noise(3000), noise(3000)].concat(), 9, 9).unwrap();
    assert!(
        data.len() > 5900,
        "a repetition 3,000 bytes back is out of reach of 512"
    );
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Fragments of a compressed message, as our encoder would send them.
#[test]
fn compressed_fragments_from_a_server() {
    let data = deflate_shared(b"one two three one two three", 12, 6).unwrap();
    let (a, b) = data.split_at(data.len() / 2);
    let mut wire = Vec::new();
    encode_into(&mut wire, OpCode::Text, false, true, None, a);
    encode_into(&mut wire, OpCode::Continuation, true, false, None, b);
    assert_eq!(
        wire,
        [raw(Role::Server, RSV1 | 1, a), raw(Role::Server, FIN, b)].concat()
    );
    let agreed = Some(negotiated(takeover()));
    let (events, error) = read_with(Role::Client, agreed, &Limits::default(), &wire, 2);
    assert_eq!(
        (events, error),
        (vec![text("one two three one two three")], None)
    );
}
