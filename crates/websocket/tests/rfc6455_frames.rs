//! The reader against RFC 6455, by section. Every table is read whole and byte by byte.

mod support;

use sockeye_websocket::{
    Closing, Error, Event, Input, Limits, OpCode, Reader, Role, close_code, frame, masked_frame,
};
use support::{FIN, Got, KEY, MASKED, RSV1, client, feed, raw, read_with, serve, text};

const TEXT: u8 = FIN | 1;
const BINARY: u8 = FIN | 2;
const CLOSE: u8 = FIN | 8;
const PING: u8 = FIN | 9;
const PONG: u8 = FIN | 10;

fn bytes(frames: &[Vec<u8>]) -> Vec<u8> {
    frames.concat()
}

/// §5.1: a server must close upon an unmasked frame, a client upon a masked one.
#[test]
fn s5_1_masking_is_required_of_clients_and_forbidden_to_servers() {
    assert_eq!(serve(&raw(Role::Server, TEXT, b"x")), (vec![], Some(1002)));
    let (limits, frame) = (Limits::default(), client(TEXT, b"x"));
    let (events, error) = read_with(Role::Client, None, &limits, &frame, 1);
    assert_eq!(events, []);
    assert!(error.unwrap().is_protocol());
    // Seen at the second byte, before any payload.
    assert_eq!(serve(&[TEXT, 5]).1, Some(1002));
}

/// §5.2: RSV bits without an extension that defines them.
#[test]
fn s5_2_reserved_bits_fail_the_connection() {
    for bits in 1..8 {
        for opcode in [TEXT, BINARY, PING, PONG, CLOSE] {
            assert_eq!(
                serve(&client(opcode | bits << 4, b"")),
                (vec![], Some(1002))
            );
        }
    }
    // Also on a continuation.
    let fragments = bytes(&[client(1, b"a"), client(FIN | RSV1, b"b")]);
    assert_eq!(serve(&fragments), (vec![], Some(1002)));
}

/// §5.2: opcodes 3–7 and 11–15 are reserved.
#[test]
fn s5_2_reserved_opcodes_fail_the_connection() {
    for opcode in (3..8).chain(11..16) {
        assert_eq!(serve(&[FIN | opcode]), (vec![], Some(1002)), "{opcode}");
    }
}

/// §5.2: the minimal number of bytes must be used for the length, its highest bit is 0.
#[test]
fn s5_2_lengths_must_be_minimal() {
    let bad: &[&[u8]] = &[
        &[BINARY, MASKED | 126, 0, 0],
        &[BINARY, MASKED | 126, 0, 125],
        &[BINARY, MASKED | 127, 0, 0, 0, 0, 0, 0, 0, 125],
        &[BINARY, MASKED | 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF],
        &[BINARY, MASKED | 127, 0x80, 0, 0, 0, 0, 1, 0, 0],
        &[
            BINARY,
            MASKED | 127,
            0xFF,
            0xFF,
            0xFF,
            0xFF,
            0xFF,
            0xFF,
            0xFF,
            0xFF,
        ],
    ];
    for head in bad {
        assert_eq!(serve(head), (vec![], Some(1002)), "{head:x?}");
    }
    for len in [0, 1, 125, 126, 127, 128, 65535, 65536, 65537] {
        let payload = vec![b'*'; len];
        assert_eq!(
            serve(&client(BINARY, &payload)),
            (vec![Got::Binary(payload)], None)
        );
    }
}

/// §5.3: the mask is undone with the key of each frame, the zero key included.
#[test]
fn s5_3_each_frame_has_its_own_key() {
    for key in [[0; 4], [1, 2, 3, 4], [0xFF; 4], KEY] {
        let frames = [
            masked_frame(OpCode::Text, b"Hello, World", key),
            masked_frame(OpCode::Binary, &[7; 300], [9, 8, 7, 6]),
        ];
        let expected = vec![text("Hello, World"), Got::Binary(vec![7; 300])];
        assert_eq!(serve(&frames.concat()), (expected, None));
    }
}

/// §5.4: fragments are put together in order, control frames may come between them.
#[test]
fn s5_4_fragmented_messages() {
    let fragments = bytes(&[
        client(1, b"Hel"),
        client(PING, b"are you there"),
        client(0, b"lo, "),
        client(0, b""),
        client(PONG, b""),
        client(FIN, b"World"),
        client(2, &[0; 200]),
        client(FIN, &[1; 200]),
    ]);
    let expected = vec![
        Got::Ping(b"are you there".to_vec()),
        Got::Pong(vec![]),
        text("Hello, World"),
        Got::Binary([[0; 200], [1; 200]].concat()),
    ];
    assert_eq!(serve(&fragments), (expected, None));
    // All fragments empty is an empty message.
    let empty = bytes(&[client(1, b""), client(0, b""), client(FIN, b"")]);
    assert_eq!(serve(&empty), (vec![text("")], None));
}

/// §5.4: fragments of different messages must not be interleaved; a continuation needs a message.
#[test]
fn s5_4_fragments_out_of_order_fail_the_connection() {
    let bad = [
        bytes(&[client(FIN, b"nothing to continue")]),
        bytes(&[client(0, b"nothing to continue")]),
        bytes(&[client(1, b"a"), client(TEXT, b"b")]),
        bytes(&[client(1, b"a"), client(1, b"b")]),
        bytes(&[client(2, b"a"), client(BINARY, b"b")]),
    ];
    for frames in bad {
        assert_eq!(serve(&frames), (vec![], Some(1002)));
    }
    let after_the_end = bytes(&[client(1, b"a"), client(FIN, b"b"), client(FIN, b"c")]);
    assert_eq!(serve(&after_the_end), (vec![text("ab")], Some(1002)));
}

/// §5.5: control frames have at most 125 bytes and are not fragmented.
#[test]
fn s5_5_control_frames() {
    for opcode in [8, 9, 10] {
        assert_eq!(serve(&[opcode]), (vec![], Some(1002)), "fragmented");
        let long = [FIN | opcode, MASKED | 126, 0, 126];
        assert_eq!(
            serve(&long),
            (vec![], Some(1002)),
            "too long, seen before its payload"
        );
        assert_eq!(serve(&[FIN | opcode, MASKED | 127]), (vec![], Some(1002)));
    }
    let full = vec![0xFE; 125];
    assert_eq!(
        serve(&client(PING, &full)),
        (vec![Got::Ping(full.clone())], None)
    );
    assert_eq!(serve(&client(PONG, &full)), (vec![Got::Pong(full)], None));
}

/// §5.5.1 and §7.1.6: a close frame has no payload, or a code and a reason in UTF-8.
#[test]
fn s5_5_1_close_payloads() {
    let close = |payload: &[u8]| serve(&client(CLOSE, payload));
    assert_eq!(close(b""), (vec![Got::Close(None)], None));
    assert_eq!(close(b"\x03"), (vec![], Some(1002)), "half a code");
    let (events, error) = close(b"\x03\xe8bye");
    let Some(Got::Close(Some(frame))) = events.first() else {
        panic!("{events:?}")
    };
    assert_eq!(
        (frame.code, frame.reason.as_str(), error),
        (1000, "bye", None)
    );
    assert_eq!(
        close(b"\x03\xe8\xff"),
        (vec![], Some(1007)),
        "the reason is not UTF-8"
    );
    assert_eq!(
        close(b"\x03\xe8\xe2\x82"),
        (vec![], Some(1007)),
        "the reason is cut"
    );
    let longest = [&b"\x0f\xa0"[..], &[b'r'; 123]].concat();
    assert!(matches!(&close(&longest).0[..], [Got::Close(Some(f))] if f.reason.len() == 123));
}

/// §7.4: codes that may come in a close frame, and those that must not.
#[test]
fn s7_4_close_codes() {
    for code in 0..=u16::MAX {
        let valid = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let mut input = client(CLOSE, &code.to_be_bytes());
        let mut reader = Reader::new(Role::Server, None);
        let result = reader.next(&Limits::default(), &mut Input::new(&mut input));
        match result {
            Ok(Some(Event::Close(Some(frame)))) => assert!(valid && frame.code == code),
            Err(error) => assert!(!valid && error.close_code() == 1002, "{code}"),
            other => panic!("{code}: {other:?}"),
        }
    }
}

/// §1.4 and §5.5.1: what follows a close frame is ignored, even nonsense.
#[test]
fn s5_5_1_nothing_is_read_after_a_close() {
    let frames = bytes(&[client(TEXT, b"a"), client(CLOSE, b""), vec![0xFF; 40]]);
    assert_eq!(serve(&frames), (vec![text("a"), Got::Close(None)], None));
    let mut reader = Reader::new(Role::Server, None);
    feed(
        &mut reader,
        &Limits::default(),
        &client(CLOSE, b""),
        &mut vec![],
    )
    .unwrap();
    assert!(reader.is_closed() && !reader.has_partial());
    // A close in the middle of a message gives the message up.
    let cut = bytes(&[client(1, b"a"), client(CLOSE, b"")]);
    assert_eq!(serve(&cut), (vec![Got::Close(None)], None));
}

/// §7.1.5: the answer to a close carries the code received.
#[test]
fn s7_1_close_handshake_between_both_ends() {
    let (mut server, mut client) = (Closing::new(Role::Server), Closing::new(Role::Client));
    let request = client.start(close_code::GOING_AWAY, "tab closed").unwrap();
    let (events, error) = serve(&request);
    assert_eq!(error, None);
    let Some(Got::Close(Some(frame))) = events.first() else {
        panic!("{events:?}")
    };
    assert_eq!((frame.code, frame.reason.as_str()), (1001, "tab closed"));
    let answer = server.received(Some(frame)).unwrap();
    assert!(server.is_complete() && !client.is_complete());
    let (events, _) = read_with(Role::Client, None, &Limits::default(), &answer, 1);
    let [Got::Close(Some(frame))] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(frame.code, 1001);
    assert!(client.received(Some(frame)).is_none());
    assert!(client.is_complete());
}

/// §5.6 and §8.1: text must be UTF-8 …
#[test]
fn s8_1_text_is_utf8() {
    let good = [
        "",
        "κόσμε",
        "\u{0}",
        "\u{10FFFF}",
        "\u{FFFE}",
        "\u{D7FF}\u{E000}",
    ];
    for good in good {
        assert_eq!(
            serve(&client(TEXT, good.as_bytes())),
            (vec![text(good)], None)
        );
    }
    let bad: &[&[u8]] = &[
        b"\x80",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\xe2\x82", // cut at the end
        b"\xf0",
    ];
    for bad in bad {
        assert_eq!(serve(&client(TEXT, bad)), (vec![], Some(1007)), "{bad:x?}");
        // Fragments may cut a character, but not the message.
        let (a, b) = bad.split_at(1);
        assert_eq!(
            serve(&bytes(&[client(1, a), client(FIN, b)])),
            (vec![], Some(1007))
        );
        assert_eq!(
            serve(&client(BINARY, bad)),
            (vec![Got::Binary(bad.to_vec())], None)
        );
    }
}

/// … and fails at the first byte that rules it out: over fragments and within a cut frame.
#[test]
fn s8_1_invalid_text_fails_fast() {
    let (limits, bad) = (Limits::default(), b"\xf4\x90");
    // A fragment: the message goes on, yet it has failed.
    let fragment = client(1, bad);
    assert_eq!(serve(&fragment), (vec![], Some(1007)));
    // A frame that announces more than came.
    let mut frame = client(TEXT, b"\xce\xba\xe1\xbd\xb9\xf4\x90 and the rest");
    frame.truncate(2 + 4 + 6);
    let (events, error) = read_with(Role::Server, None, &limits, &frame, 1);
    assert_eq!(
        (events, error),
        (vec![], None),
        "the lead byte alone may still be right"
    );
    let frame = client(TEXT, b"\xce\xba\xe1\xbd\xb9\xf4\x90 and the rest");
    let (_, error) = read_with(Role::Server, None, &limits, &frame[..2 + 4 + 7], 1);
    assert!(error.unwrap().is_invalid_utf8());
}

/// §10.4: limits, judged from the header (close code 1009).
#[test]
fn s10_4_limits_are_judged_before_the_payload_comes() {
    let limits = Limits {
        max_frame_size: 100,
        max_message_size: 150,
        max_inflated_size: 150,
    };
    let read = |bytes: &[u8]| read_with(Role::Server, None, &limits, bytes, 7);
    assert_eq!(
        read(&client(BINARY, &[1; 100])),
        (vec![Got::Binary(vec![1; 100])], None)
    );
    let error = read(&client(BINARY, &[1; 101])[..6]).1.unwrap();
    assert!(error.is_too_big() && error.close_code() == 1009);
    let exact = bytes(&[client(2, &[1; 100]), client(FIN, &[1; 50])]);
    assert_eq!(read(&exact), (vec![Got::Binary(vec![1; 150])], None));
    let more = bytes(&[client(2, &[1; 100]), client(FIN, &[1; 51])]);
    assert!(read(&more[..106 + 6]).1.unwrap().is_too_big());
    // Control frames are not counted.
    let with_ping = bytes(&[
        client(2, &[1; 100]),
        client(PING, &[2; 125]),
        client(FIN, &[1; 50]),
    ]);
    assert_eq!(read(&with_ping).0.len(), 2);
}

/// §10.4: a header that announces 64 MiB costs what it is, and what came of the payload.
#[test]
fn s10_4_memory_grows_with_what_came() {
    let limits = Limits::new(64 << 20);
    let (mut reader, mut events) = (Reader::new(Role::Server, None), vec![]);
    let mut head = vec![BINARY, MASKED | 127];
    head.extend((64u64 << 20).to_be_bytes());
    head.extend(KEY);
    feed(&mut reader, &limits, &head, &mut events).unwrap();
    assert!(reader.has_partial());
    assert!(reader.memory() < 512, "{}", reader.memory());
    let mut came = 0;
    for size in [1, 10, 100, 1000, 10_000, 100_000] {
        feed(&mut reader, &limits, &vec![0; size], &mut events).unwrap();
        came += size;
        assert!(
            reader.memory() <= 2 * came + 512,
            "{} for {came}",
            reader.memory()
        );
    }
    // The header alone, byte by byte, and a ping that never ends.
    let mut reader = Reader::new(Role::Server, None);
    for byte in &head[..13] {
        feed(&mut reader, &limits, &[*byte], &mut events).unwrap();
        assert!(reader.has_partial() && reader.memory() < 512);
    }
    let mut reader = Reader::new(Role::Server, None);
    feed(
        &mut reader,
        &limits,
        &client(PING, &[0; 125])[..100],
        &mut events,
    )
    .unwrap();
    assert!(reader.has_partial() && reader.memory() < 512);
    assert_eq!(events, []);
}

/// A message assembled from one cut frame has no spare room; the reader owns nothing afterwards.
#[test]
fn nothing_is_kept_after_the_last_piece() {
    let limits = Limits::default();
    let frame = client(TEXT, &[b'a'; 70_000]);
    let (mut reader, mut events) = (Reader::new(Role::Server, None), vec![]);
    for piece in frame.chunks(999) {
        feed(&mut reader, &limits, piece, &mut events).unwrap();
    }
    let [Got::Text(text)] = &events[..] else {
        panic!("{} events", events.len())
    };
    assert_eq!(text.capacity(), 70_000);
    assert!(!reader.has_partial());
    assert_eq!(reader.memory(), 0);
    assert!(size_of::<Reader>() <= 32, "{}", size_of::<Reader>());
}

/// Whole frames are borrowed from the caller's buffer, cut or fragmented ones are owned.
#[test]
fn whole_frames_lie_in_the_input() {
    let mut input = bytes(&[
        client(TEXT, b"one"),
        client(BINARY, b"two"),
        client(PING, b"3"),
    ]);
    let mut input = Input::new(&mut input);
    let mut reader = Reader::new(Role::Server, None);
    let limits = Limits::default();
    let mut borrowed = Vec::new();
    // All three are alive at once: they borrow from the buffer, not from the input.
    let mut events = Vec::new();
    while let Some(event) = reader.next(&limits, &mut input).unwrap() {
        borrowed.push(match &event {
            Event::Text(text) => text.is_borrowed(),
            Event::Binary(bytes) | Event::Ping(bytes) => bytes.is_borrowed(),
            _ => false,
        });
        events.push(event);
    }
    assert_eq!(borrowed, [true; 3]);
    assert_eq!(events[0], Event::Text("one".into()));
    let mut fragments = bytes(&[client(1, b"o"), client(FIN, b"ne")]);
    let event = reader
        .next(&limits, &mut Input::new(&mut fragments))
        .unwrap()
        .unwrap();
    assert!(matches!(event, Event::Text(text) if !text.is_borrowed()));
}

/// A reader that failed stays failed: the caller cannot read on by mistake.
#[test]
fn an_error_is_final() {
    let mut reader = Reader::new(Role::Server, None);
    let limits = Limits::default();
    let first: Error = feed(&mut reader, &limits, &[0xFF], &mut vec![]).unwrap_err();
    let again = feed(&mut reader, &limits, &client(TEXT, b"ok"), &mut vec![]).unwrap_err();
    assert_eq!(first, again);
    assert!(!reader.has_partial());
}

/// The client's side of the same rules.
#[test]
fn a_client_reads_what_a_server_writes() {
    let limits = Limits::default();
    let server = |first, payload: &[u8]| raw(Role::Server, first, payload);
    let frames = bytes(&[
        frame(OpCode::Text, "grüße".as_bytes()).to_vec(),
        server(1, b"a"),
        server(PING, b"p"),
        server(FIN, b"b"),
        frame(OpCode::Binary, &[3; 70_000]).to_vec(),
    ]);
    for size in [1, 5, frames.len()] {
        let (events, error) = read_with(Role::Client, None, &limits, &frames, size);
        let ping = Got::Ping(b"p".to_vec());
        let expected = [
            text("grüße"),
            ping,
            text("ab"),
            Got::Binary(vec![3; 70_000]),
        ];
        assert_eq!((&events[..], error), (&expected[..], None));
    }
    for bad in [
        server(FIN, b"x"),
        server(FIN | 3, b""),
        server(TEXT | RSV1, b""),
    ] {
        let (_, error) = read_with(Role::Client, None, &limits, &bad, 1);
        assert_eq!(error.unwrap().close_code(), 1002);
    }
}
