//! The rules of the Socket.IO protocol, revision 5, as tables: what is read, what is refused, and
//! what is written, with both parsers.

use bytes::Bytes;
use sockeye_protocol::DecodeErrorKind as Kind;
use sockeye_protocol::socketio::{
    Args, Binary, Decoder, Limits, MAX_ACK_ID, Packet, PacketType, Parser, RESERVED_EVENTS, ToArgs,
    encode_ack, encode_connect, encode_connect_error, encode_connect_request, encode_disconnect,
    encode_event,
};

fn text(text: &str) -> Result<Option<Packet>, Kind> {
    let mut decoder = Decoder::new(Parser::Json);
    decoder
        .decode_text(&Limits::default(), text)
        .map_err(|error| error.kind())
}

fn msgpack(bytes: &[u8]) -> Result<Packet, Kind> {
    let mut decoder = Decoder::new(Parser::Msgpack);
    let packet = decoder.decode_binary(&Limits::default(), bytes);
    packet.map(Option::unwrap).map_err(|error| error.kind())
}

/// Kind, namespace, id, event and raw arguments.
type Row<'a> = (PacketType, &'a str, Option<u64>, &'a str, &'a str);

fn row(packet: &Packet) -> Row<'_> {
    let args = packet.args.as_json().unwrap().0;
    (packet.kind, &packet.nsp, packet.id, &packet.event, args)
}

#[test]
fn text_packets_that_are_read() {
    use PacketType::{Ack, Connect, ConnectError, Disconnect, Event};
    let table: &[(&str, Row<'_>)] = &[
        ("0", (Connect, "/", None, "", "")),
        (
            r#"0{"token":"x"}"#,
            (Connect, "/", None, "", r#"{"token":"x"}"#),
        ),
        ("0/admin,", (Connect, "/admin", None, "", "")),
        ("0/admin", (Connect, "/admin", None, "", "")),
        (
            r#"0/admin, {"a":1} "#,
            (Connect, "/admin", None, "", r#"{"a":1}"#),
        ),
        ("0/", (Connect, "/", None, "", "")),
        ("0/,{}", (Connect, "/", None, "", "{}")),
        ("1", (Disconnect, "/", None, "", "")),
        ("1/admin,", (Disconnect, "/admin", None, "", "")),
        (r#"2["hello"]"#, (Event, "/", None, "hello", "")),
        (
            r#"2["hello",1,{"a":[]}]"#,
            (Event, "/", None, "hello", r#"1,{"a":[]}"#),
        ),
        (
            r#"2[ "a" , 1 , "b" ] "#,
            (Event, "/", None, "a", r#"1 , "b""#),
        ),
        (r#"212["hello"]"#, (Event, "/", Some(12), "hello", "")),
        (
            r#"2/admin,456["project:delete",123]"#,
            (Event, "/admin", Some(456), "project:delete", "123"),
        ),
        (r#"2/ü,["é","ü"]"#, (Event, "/ü", None, "é", r#""ü""#)),
        // Escaped and numeric names; the empty name.
        (
            r#"2["a\n\u00e9\ud83d\ude00",1]"#,
            (Event, "/", None, "a\né😀", "1"),
        ),
        ("2[7,true]", (Event, "/", None, "7", "true")),
        ("2[-1.5e3]", (Event, "/", None, "-1.5e3", "")),
        (r#"2["",0]"#, (Event, "/", None, "", "0")),
        // Without a payload: accepted as an empty event.
        ("2", (Event, "/", None, "", "")),
        ("2/a,5", (Event, "/a", Some(5), "", "")),
        ("3[]", (Ack, "/", None, "", "")),
        ("31[]", (Ack, "/", Some(1), "", "")),
        (
            r#"3/admin,456["ok", null]"#,
            (Ack, "/admin", Some(456), "", r#""ok", null"#),
        ),
        (
            "39007199254740991[1]",
            (Ack, "/", Some(MAX_ACK_ID), "", "1"),
        ),
        ("3", (Ack, "/", None, "", "")),
        (r#"4"no""#, (ConnectError, "/", None, "", r#""no""#)),
        (
            r#"4/a,{"message":"no"}"#,
            (ConnectError, "/a", None, "", r#"{"message":"no"}"#),
        ),
        ("4", (ConnectError, "/", None, "", "")),
        ("41", (ConnectError, "/", Some(1), "", "")),
        // Labelled binary, but nothing follows: complete at once.
        (r#"50-["hello",1]"#, (Event, "/", None, "hello", "1")),
        ("60-/a,7[1]", (Ack, "/a", Some(7), "", "1")),
        // Raw JSON passes byte for byte: big numbers, lone surrogates, spelling, white space.
        (
            r#"2["a",123456789012345678901234567890,"\ud800\u0041",1.0E+2,{ "b" : 1 }]"#,
            (
                Event,
                "/",
                None,
                "a",
                r#"123456789012345678901234567890,"\ud800\u0041",1.0E+2,{ "b" : 1 }"#,
            ),
        ),
        // An object that looks like a placeholder is data when no attachment was announced.
        (
            r#"2["a",{"_placeholder":true,"num":0}]"#,
            (Event, "/", None, "a", r#"{"_placeholder":true,"num":0}"#),
        ),
    ];
    for (input, expected) in table {
        let packet = text(input)
            .unwrap_or_else(|kind| panic!("{input}: {kind}"))
            .unwrap();
        assert_eq!(row(&packet), *expected, "{input}");
    }
}

#[test]
fn text_packets_that_are_refused() {
    let too_long = "x".repeat(4_097);
    let long_name = format!(r#"2["{too_long}"]"#);
    let long_nsp = format!("0/{too_long},");
    let deep = format!("2[\"a\",{}{}]", "[".repeat(45_000), "]".repeat(45_000));
    let barely_deep = format!("2[\"a\",{}{}]", "[".repeat(1_000), "]".repeat(1_000));
    let deep_auth = format!("0{{\"a\":{}{}}}", "[".repeat(1_000), "]".repeat(1_000));
    let many = format!("2[\"a\"{}]", ",1".repeat(40_000));
    let many_answers = format!("31[0{}]", ",1".repeat(4_096));
    let table: &[(&str, Kind)] = &[
        ("", Kind::UnknownPacketType),
        ("7", Kind::UnknownPacketType),
        ("x", Kind::UnknownPacketType),
        ("/", Kind::UnknownPacketType),
        ("é", Kind::UnknownPacketType),
        ("0[]", Kind::InvalidPayload),
        ("0null", Kind::InvalidPayload),
        ("0\"x\"", Kind::InvalidPayload),
        ("0/a,true", Kind::InvalidPayload),
        ("0{\"a\":}", Kind::InvalidJson { offset: 6 }),
        ("0{} {}", Kind::InvalidJson { offset: 3 }),
        ("1{}", Kind::InvalidPayload),
        ("1/admin,[]", Kind::InvalidPayload),
        ("2{}", Kind::InvalidPayload),
        ("2\"a\"", Kind::InvalidPayload),
        ("2 ", Kind::InvalidPayload),
        ("2[]", Kind::InvalidEventName),
        ("2[true]", Kind::InvalidEventName),
        ("2[null,1]", Kind::InvalidEventName),
        ("2[{},1]", Kind::InvalidEventName),
        ("2[[\"a\"]]", Kind::InvalidEventName),
        ("2[\"a\"", Kind::InvalidJson { offset: 5 }),
        ("2[\"a\",]", Kind::InvalidJson { offset: 6 }),
        ("2[\"a\",1]]", Kind::InvalidJson { offset: 8 }),
        ("2[\"a\",01]", Kind::InvalidJson { offset: 7 }),
        ("2[\"a\",\"\u{1}\"]", Kind::InvalidJson { offset: 7 }),
        ("2[1x]", Kind::InvalidJson { offset: 3 }),
        ("29007199254740992[\"a\"]", Kind::InvalidAckId),
        ("299999999999999999999999[\"a\"]", Kind::InvalidAckId),
        ("3{}", Kind::InvalidPayload),
        ("31\"x\"", Kind::InvalidPayload),
        ("4[]", Kind::InvalidPayload),
        ("5[\"a\"]", Kind::InvalidAttachmentCount),
        ("5-[\"a\"]", Kind::InvalidAttachmentCount),
        ("51[\"a\"]", Kind::InvalidAttachmentCount),
        ("5x-[\"a\"]", Kind::InvalidAttachmentCount),
        ("51.0-[\"a\"]", Kind::InvalidAttachmentCount),
        ("5-1-[\"a\"]", Kind::InvalidAttachmentCount),
        ("511-[\"a\"]", Kind::TooManyAttachments { limit: 10 }),
        (
            "599999999999999999999999-[\"a\"]",
            Kind::TooManyAttachments { limit: 10 },
        ),
        (
            r#"51-["a",{"_placeholder":true,"num":1}]"#,
            Kind::InvalidPlaceholder,
        ),
        (
            r#"51-["a",{"_placeholder":true,"num":-1}]"#,
            Kind::InvalidPlaceholder,
        ),
        (
            r#"51-["a",[{"_placeholder":true,"num":"0"}]]"#,
            Kind::InvalidPlaceholder,
        ),
        (r#"61-1[{"_placeholder":true}]"#, Kind::InvalidPlaceholder),
        (
            r#"51-["a",{"\u005fplaceholder":true,"num":9}]"#,
            Kind::InvalidPlaceholder,
        ),
        (&long_name, Kind::EventNameTooLong { limit: 4_096 }),
        (&long_nsp, Kind::InvalidNamespace),
        (&deep, Kind::TooDeep { limit: 1_000 }),
        (&barely_deep, Kind::TooDeep { limit: 1_000 }),
        (&deep_auth, Kind::TooDeep { limit: 1_000 }),
        (&many, Kind::TooManyArgs { limit: 4_096 }),
        (&many_answers, Kind::TooManyArgs { limit: 4_096 }),
    ];
    for (input, kind) in table {
        assert_eq!(text(input), Err(*kind), "{}", &input[..input.len().min(60)]);
    }
    for name in RESERVED_EVENTS {
        assert_eq!(
            text(&format!(r#"2["{name}"]"#)),
            Err(Kind::ReservedEventName)
        );
        assert!(text(&format!(r#"2["{name}s"]"#)).is_ok());
    }
    assert_eq!(text(r#"2["connec\u0074"]"#), Err(Kind::ReservedEventName));
}

#[test]
fn attachments_are_awaited_and_bounded() {
    let limits = Limits {
        max_attachments: 2,
        max_attachment_bytes: 6,
        ..Limits::default()
    };
    let header = r#"52-/a,3["up",{"_placeholder":true,"num":1},[{"_placeholder":true,"num":0}]]"#;
    let mut decoder = Decoder::new(Parser::Json);
    assert_eq!(decoder.pending_bytes(), 0);
    assert_eq!(decoder.decode_text(&limits, header).unwrap(), None);
    assert!(decoder.is_pending());
    assert_eq!(decoder.decode_binary(&limits, b"one").unwrap(), None);
    assert!(decoder.pending_bytes() > 3);
    let packet = decoder
        .decode_bytes(&limits, Bytes::from_static(b"two"))
        .unwrap()
        .unwrap();
    assert!(!decoder.is_pending());
    assert_eq!(
        (packet.kind, &*packet.event, packet.id),
        (PacketType::Event, "up", Some(3))
    );
    let (first, second): (Binary, Vec<Binary>) = packet.args.deserialize().unwrap();
    assert_eq!((&*first, &*second[0]), (&b"two"[..], &b"one"[..]));
    // Out of order on the wire: renumbered when it is sent on.
    let again = encode_event(Parser::Json, "/a", None, "up", &packet.args);
    assert_eq!(
        again.text().unwrap(),
        r#"52-/a,["up",{"_placeholder":true,"num":0},[{"_placeholder":true,"num":1}]]"#
    );
    assert_eq!(*again.attachments, [&b"two"[..], b"one"]);

    // Text while attachments are due; a binary message that nothing announced.
    decoder.decode_text(&limits, header).unwrap();
    let error = decoder.decode_text(&limits, "2[\"a\"]").unwrap_err();
    assert_eq!(error.kind(), Kind::AttachmentExpected);
    assert!(!decoder.is_pending());
    let error = decoder.decode_binary(&limits, b"x").unwrap_err();
    assert_eq!(error.kind(), Kind::UnexpectedAttachment);

    // Too many bytes in all.
    decoder.decode_text(&limits, header).unwrap();
    decoder.decode_binary(&limits, b"1234").unwrap();
    let error = decoder.decode_binary(&limits, b"567").unwrap_err();
    assert_eq!(error.kind(), Kind::AttachmentsTooLarge { limit: 6 });
    assert_eq!((decoder.is_pending(), error.is_limit()), (false, true));
    decoder.decode_text(&limits, header).unwrap();
    decoder.reset();
    assert!(decoder.decode_text(&limits, "2[\"a\"]").unwrap().is_some());
}

/// Some decoders wait for ever when zero attachments are announced, so that the next packet kills
/// the connection.
#[test]
fn zero_attachments_do_not_stick() {
    let mut decoder = Decoder::new(Parser::Json);
    for _ in 0..2 {
        let packet = decoder
            .decode_text(&Limits::default(), r#"50-["a",1]"#)
            .unwrap();
        assert_eq!(packet.unwrap().args.len(), 1);
    }
}

#[test]
fn limits_are_those_given() {
    let limits = Limits {
        max_depth: 0,
        max_args: 0,
        ..Limits::default()
    };
    let mut decoder = Decoder::new(Parser::Json);
    assert!(decoder.decode_text(&limits, "2[\"a\"]").is_ok());
    assert!(
        decoder
            .decode_text(&limits, "2[\"a\",1]")
            .unwrap_err()
            .is_limit()
    );
    assert!(decoder.decode_text(&limits, "0{}").unwrap_err().is_limit());
    let limits = Limits {
        max_depth: 50_000,
        ..Limits::default()
    };
    let deep = format!("2[\"a\",{}{}]", "[".repeat(1_001), "]".repeat(1_001));
    let error = decoder.decode_text(&limits, &deep).unwrap_err();
    assert_eq!(error.kind(), Kind::TooDeep { limit: 1_000 });
    let depth = format!("2[\"a\",{}{}]", "[".repeat(999), "]".repeat(999));
    assert!(decoder.decode_text(&limits, &depth).is_ok());
}

#[test]
fn text_packets_that_are_written() {
    let none = Args::new();
    let args = (1, "a").to_args(Parser::Json).unwrap();
    let binary = (Binary::from(&b"x"[..]), 2).to_args(Parser::Json).unwrap();
    let data = args.get(1).unwrap();
    let json = Parser::Json;
    let table = [
        (encode_event(json, "/", None, "hi", &none), r#"2["hi"]"#),
        (
            encode_event(json, "/", Some(0), "a\"b", &args),
            r#"20["a\"b",1,"a"]"#,
        ),
        (
            encode_event(json, "/x", Some(12), "hi", &args),
            r#"2/x,12["hi",1,"a"]"#,
        ),
        (
            encode_event(json, "/x", Some(12), "hi", &binary),
            r#"51-/x,12["hi",{"_placeholder":true,"num":0},2]"#,
        ),
        (encode_ack(json, "/", 7, &none), "37[]"),
        (
            encode_ack(json, "/x", MAX_ACK_ID, &args),
            r#"3/x,9007199254740991[1,"a"]"#,
        ),
        (
            encode_ack(json, "/", 7, &binary),
            r#"61-7[{"_placeholder":true,"num":0},2]"#,
        ),
        (encode_connect(json, "/", "SID", None), r#"0{"sid":"SID"}"#),
        (
            encode_connect(json, "/x", "SID", Some("PID")),
            r#"0/x,{"sid":"SID","pid":"PID"}"#,
        ),
        (
            encode_connect_error(json, "/", "no \"way\"", None),
            r#"4{"message":"no \"way\""}"#,
        ),
        (
            encode_connect_error(json, "/x", "no", Some(data)),
            r#"4/x,{"message":"no","data":"a"}"#,
        ),
        (
            encode_connect_error(json, "/", "no", binary.get(0)),
            r#"4{"message":"no","data":"eA=="}"#,
        ),
        (encode_disconnect(json, "/"), "1"),
        (encode_disconnect(json, "/x"), "1/x,"),
        (encode_connect_request(json, "/", None), "0"),
        (encode_connect_request(json, "/x", None), "0/x,"),
    ];
    for (encoded, expected) in table {
        assert_eq!(encoded.text(), Some(expected));
        assert!(!encoded.binary);
        assert_eq!(
            encoded.byte_len(),
            expected.len() + encoded.attachments.len()
        );
    }
    let auth = Args::from_json(r#"{"t": 1}"#, Vec::new(), &Limits::default()).unwrap();
    let encoded = encode_connect_request(json, "/x", auth.get(0));
    assert_eq!(encoded.text(), Some(r#"0/x,{"t": 1}"#));
}

/// What Node's MessagePack parser sends and takes, byte for byte.
#[test]
fn msgpack_packets_that_are_read() {
    // CONNECT without auth: `data` is `undefined`, an extension, and stays in the map.
    let connect = b"\x83\xa4type\x00\xa4data\xd4\x00\x00\xa3nsp\xa1/";
    let packet = msgpack(connect).unwrap();
    assert_eq!(
        (packet.kind, &*packet.nsp, packet.data()),
        (PacketType::Connect, "/", None)
    );

    let auth = b"\x83\xa4type\x00\xa4data\x81\xa1t\x01\xa3nsp\xa2/x";
    let packet = msgpack(auth).unwrap();
    assert_eq!(packet.data().unwrap().to_value().to_json(), r#"{"t":1}"#);
    assert_eq!(packet.nsp, "/x");

    // A client's event: with options, and the id before the namespace.
    let event = b"\x85\xa4type\x02\xa4data\x92\xa1e\xc7\x01\x00\x09\xa7options\x81\xa8compress\xc3\xa2id\x05\xa3nsp\xa1/";
    let packet = msgpack(event).unwrap();
    assert_eq!(
        (packet.kind, &*packet.event, packet.id),
        (PacketType::Event, "e", Some(5))
    );
    assert_eq!(packet.args.get(0).unwrap().binary().unwrap(), &[9][..]);
    assert_eq!(packet.args.as_msgpack().unwrap(), &b"\xc7\x01\x00\x09"[..]);

    // A server's acknowledgement: the id first.
    let ack = b"\x84\xa2id\xcd\x01\x00\xa4type\x03\xa4data\x91\xa1a\xa3nsp\xa1/";
    let packet = msgpack(ack).unwrap();
    assert_eq!(
        (packet.kind, packet.id, packet.args.len()),
        (PacketType::Ack, Some(256), 1)
    );

    let numeric = b"\x83\xa4type\x02\xa4data\x91\x2a\xa3nsp\xa1/";
    assert_eq!(msgpack(numeric).unwrap().event, "42");
    let disconnect = b"\x82\xa4type\x01\xa3nsp\xa2/x";
    assert_eq!(msgpack(disconnect).unwrap().kind, PacketType::Disconnect);
    let error = b"\x83\xa4type\x04\xa4data\xa2no\xa3nsp\xa2/x";
    assert_eq!(
        msgpack(error).unwrap().data().unwrap().string().unwrap(),
        "no"
    );
}

#[test]
fn msgpack_packets_that_are_refused() {
    let table: &[(&[u8], Kind)] = &[
        (b"", Kind::InvalidMsgpack { offset: 0 }),
        (b"\xc1", Kind::InvalidMsgpack { offset: 0 }),
        (b"\x90", Kind::UnknownPacketType),
        (b"\x80", Kind::UnknownPacketType),
        (b"\x82\xa4type\x05\xa3nsp\xa1/", Kind::UnknownPacketType),
        (b"\x82\xa4type\xff\xa3nsp\xa1/", Kind::UnknownPacketType),
        (b"\x81\xa4type\x01", Kind::InvalidNamespace),
        (b"\x82\xa4type\x01\xa3nsp\x01", Kind::InvalidNamespace),
        (b"\x82\xa4type\x01\xa3nsp\xa1\xff", Kind::InvalidNamespace),
        (b"\x82\xa4type\x01\xa3nsp\xa0", Kind::InvalidNamespace),
        (b"\x82\xa4type\x01\xa3nsp\xa1x", Kind::InvalidNamespace),
        (b"\x82\xa4type\x01\xa3nsp\xa2/,", Kind::InvalidNamespace),
        (
            b"\x83\xa4type\x01\xa4data\x80\xa3nsp\xa1/",
            Kind::InvalidPayload,
        ),
        (
            b"\x83\xa4type\x00\xa4data\x90\xa3nsp\xa1/",
            Kind::InvalidPayload,
        ),
        (
            b"\x83\xa4type\x00\xa4data\xa1x\xa3nsp\xa1/",
            Kind::InvalidPayload,
        ),
        (
            b"\x83\xa4type\x02\xa4data\x80\xa3nsp\xa1/",
            Kind::InvalidPayload,
        ),
        (b"\x82\xa4type\x02\xa3nsp\xa1/", Kind::InvalidPayload),
        (
            b"\x83\xa4type\x04\xa4data\x01\xa3nsp\xa1/",
            Kind::InvalidPayload,
        ),
        (
            b"\x83\xa4type\x02\xa4data\x90\xa3nsp\xa1/",
            Kind::InvalidEventName,
        ),
        (
            b"\x83\xa4type\x02\xa4data\x91\xc3\xa3nsp\xa1/",
            Kind::InvalidEventName,
        ),
        (
            b"\x83\xa4type\x02\xa4data\x91\xa1\xff\xa3nsp\xa1/",
            Kind::InvalidEventName,
        ),
        (
            b"\x83\xa4type\x02\xa4data\x91\xa7connect\xa3nsp\xa1/",
            Kind::ReservedEventName,
        ),
        (
            b"\x84\xa4type\x03\xa4data\x90\xa3nsp\xa1/\xa2id\xff",
            Kind::InvalidAckId,
        ),
        (
            b"\x84\xa4type\x03\xa4data\x90\xa3nsp\xa1/\xa2id\xa11",
            Kind::InvalidAckId,
        ),
        (
            b"\x84\xa4type\x03\xa4data\x90\xa3nsp\xa1/\xa2id\xcf\x00\x20\0\0\0\0\0\0",
            Kind::InvalidAckId,
        ),
        (
            b"\x82\xa4type\x01\xa3nsp\xa1/\x00",
            Kind::InvalidMsgpack { offset: 13 },
        ),
        (
            b"\x82\xa4type\x01\xa3nsp",
            Kind::InvalidMsgpack { offset: 11 },
        ),
        (b"\xdf\xff\xff\xff\xff", Kind::InvalidMsgpack { offset: 5 }),
    ];
    for (bytes, kind) in table {
        assert_eq!(msgpack(bytes), Err(*kind), "{}", bytes.escape_ascii());
    }
    let event = |data: &[u8]| [b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data", data].concat();
    let mut deep = vec![0x92, 0xa1, b'e'];
    deep.extend_from_slice(&vec![0x91; 45_000]);
    deep.push(0);
    assert_eq!(msgpack(&event(&deep)), Err(Kind::TooDeep { limit: 1_000 }));
    let mut many = vec![0xdc, 0x9c, 0x41, 0xa1, b'e'];
    many.extend_from_slice(&vec![0; 40_000]);
    assert_eq!(
        msgpack(&event(&many)),
        Err(Kind::TooManyArgs { limit: 4_096 })
    );
    let mut long = vec![0x91, 0xda, 0x10, 0x01];
    long.extend_from_slice(&vec![b'x'; 4_097]);
    assert_eq!(
        msgpack(&event(&long)),
        Err(Kind::EventNameTooLong { limit: 4_096 })
    );

    let mut decoder = Decoder::new(Parser::Msgpack);
    let error = decoder
        .decode_text(&Limits::default(), "2[\"a\"]")
        .unwrap_err();
    assert_eq!(error.kind(), Kind::UnexpectedText);
}

#[test]
fn msgpack_packets_that_are_written() {
    let none = Args::new();
    let args = (1, Binary::from(&b"x"[..]))
        .to_args(Parser::Msgpack)
        .unwrap();
    let pack = Parser::Msgpack;
    let table: [(_, &[u8]); 8] = [
        (
            encode_event(pack, "/", None, "hi", &none),
            b"\x83\xa4type\x02\xa4data\x91\xa2hi\xa3nsp\xa1/",
        ),
        (
            encode_event(pack, "/x", Some(5), "hi", &args),
            b"\x84\xa4type\x02\xa4data\x93\xa2hi\x01\xc4\x01x\xa3nsp\xa2/x\xa2id\x05",
        ),
        (
            encode_ack(pack, "/", 300, &none),
            b"\x84\xa4type\x03\xa4data\x90\xa3nsp\xa1/\xa2id\xcd\x01\x2c",
        ),
        (
            encode_connect(pack, "/", "S", None),
            b"\x83\xa4type\x00\xa4data\x81\xa3sid\xa1S\xa3nsp\xa1/",
        ),
        (
            encode_connect(pack, "/", "S", Some("P")),
            b"\x83\xa4type\x00\xa4data\x82\xa3sid\xa1S\xa3pid\xa1P\xa3nsp\xa1/",
        ),
        (
            encode_connect_error(pack, "/", "no", args.get(1)),
            b"\x83\xa4type\x04\xa4data\x82\xa7message\xa2no\xa4data\xc4\x01x\xa3nsp\xa1/",
        ),
        (
            encode_disconnect(pack, "/x"),
            b"\x82\xa4type\x01\xa3nsp\xa2/x",
        ),
        (
            encode_connect_request(pack, "/", None),
            b"\x82\xa4type\x00\xa3nsp\xa1/",
        ),
    ];
    for (encoded, expected) in table {
        assert_eq!(
            &encoded.first[..],
            expected,
            "{}",
            encoded.first.escape_ascii()
        );
        assert!(encoded.binary && encoded.text().is_none() && encoded.attachments.is_empty());
        msgpack(&encoded.first).unwrap();
    }
}

/// Arguments kept in one form are sent in the other where two connections differ.
#[test]
fn arguments_cross_between_the_parsers() {
    let args = ("a", Binary::from(&b"x"[..]))
        .to_args(Parser::Json)
        .unwrap();
    let packed = encode_event(Parser::Msgpack, "/", None, "e", &args);
    let packet = msgpack(&packed.first).unwrap();
    assert_eq!(packet.args.values(), args.values());
    let text = encode_event(Parser::Json, "/", None, "e", &packet.args);
    assert_eq!(
        text.text(),
        Some(r#"51-["e","a",{"_placeholder":true,"num":0}]"#)
    );
    assert_eq!(*text.attachments, [&b"x"[..]]);
}

#[test]
fn errors_answer_questions_and_say_what_was_wrong() {
    let mut decoder = Decoder::new(Parser::Json);
    let error = decoder
        .decode_text(&Limits::default(), "2[\"a\",nope]")
        .unwrap_err();
    assert!(error.is_syntax() && !error.is_limit());
    assert_eq!(error.to_string(), "invalid JSON at byte 6");
}
