//! What is encoded is decoded again, for random packets and both parsers.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use sockeye_protocol::socketio::{
    Args, Decoder, Encoded, Limits, MAX_ACK_ID, Map, Packet, PacketType, Parser, Value, encode_ack,
    encode_event, is_reserved_event,
};

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("JSON has no NaN", |n| n.is_finite())
            .prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        vec(any::<u8>(), 0..20).prop_map(|bytes| Value::from(Bytes::from(bytes))),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        let object = vec((any::<String>(), inner.clone()), 0..5);
        prop_oneof![
            vec(inner, 0..5).prop_map(Value::Array),
            object.prop_map(|entries| Value::from(Map::from_iter(entries))),
        ]
    })
}

fn parser() -> impl Strategy<Value = Parser> {
    prop_oneof![Just(Parser::Json), Just(Parser::Msgpack)]
}

fn nsp() -> impl Strategy<Value = String> {
    prop_oneof![Just("/".to_owned()), "/[^,]{1,12}"]
}

fn decode(parser: Parser, encoded: &Encoded) -> Packet {
    let limits = Limits {
        max_attachments: 1_000,
        ..Limits::default()
    };
    let mut decoder = Decoder::new(parser);
    let mut packet = match encoded.text() {
        Some(text) => decoder.decode_text(&limits, text).unwrap(),
        None => decoder.decode_binary(&limits, &encoded.first).unwrap(),
    };
    for attachment in encoded.attachments.iter() {
        assert!(packet.is_none(), "complete before the last attachment");
        packet = decoder.decode_bytes(&limits, attachment.clone()).unwrap();
    }
    assert!(!decoder.is_pending());
    packet.expect("incomplete after the last attachment")
}

proptest! {
    #[test]
    fn events(
        parser in parser(),
        nsp in nsp(),
        id in proptest::option::of(0..=MAX_ACK_ID),
        event in any::<String>(),
        values in vec(value(), 0..5),
    ) {
        prop_assume!(!is_reserved_event(&event));
        let args = Args::from_values(&values, parser);
        let packet = decode(parser, &encode_event(parser, &nsp, id, &event, &args));
        prop_assert_eq!(packet.kind, PacketType::Event);
        prop_assert_eq!((&*packet.nsp, packet.id, &*packet.event), (&*nsp, id, &*event));
        prop_assert_eq!(packet.args.values(), values);
        prop_assert_eq!(packet.args, args);
    }

    #[test]
    fn acks(
        parser in parser(),
        nsp in nsp(),
        id in 0..=MAX_ACK_ID,
        values in vec(value(), 0..5),
    ) {
        let args = Args::from_values(&values, parser);
        let packet = decode(parser, &encode_ack(parser, &nsp, id, &args));
        prop_assert_eq!(packet.kind, PacketType::Ack);
        prop_assert_eq!((&*packet.nsp, packet.id), (&*nsp, Some(id)));
        prop_assert_eq!(packet.args, args);
    }

    /// Cutting, joining and changing the form never loses or swaps a value.
    #[test]
    fn lists_are_cut_and_joined(
        values in vec(value(), 0..6),
        more in vec(value(), 0..4),
        skip in 0_usize..7,
        take in 0_usize..7,
        form in parser(),
        other in parser(),
        wire in parser(),
    ) {
        let args = Args::from_values(&values, form);
        let more_args = Args::from_values(&more, other);
        let changed = args.skip(skip).with(&more_args).take(take);
        let expected: Vec<_> = values.into_iter().skip(skip).chain(more).take(take).collect();
        prop_assert_eq!(changed.len(), expected.len());
        prop_assert_eq!(changed.has_binary(), expected.iter().any(Value::has_binary));
        prop_assert_eq!(changed.values(), expected.clone());
        let packet = decode(wire, &encode_event(wire, "/", None, "e", &changed));
        prop_assert_eq!(packet.args.values(), expected);
    }

    /// An argument that is an array becomes the list of its items.
    #[test]
    fn arrays_become_lists(items in vec(value(), 0..6), form in parser()) {
        let args = Args::from_values(&[Value::Null, Value::Array(items.clone())], form);
        let list = Args::from_array(args.get(1).unwrap()).unwrap();
        prop_assert_eq!(list.len(), items.len());
        prop_assert_eq!(list.values(), items.clone());
        let packet = decode(form, &encode_ack(form, "/", 0, &list));
        prop_assert_eq!(packet.args.values(), items);
    }

    /// Through serde, as handlers use it, values are the same too.
    #[test]
    fn values_pass_through_serde(values in vec(value(), 1..4), form in parser()) {
        use sockeye_protocol::socketio::ToArgs;
        let args = (&values, values.first()).to_args(form).unwrap();
        let (list, first): (Vec<Value>, Value) = args.deserialize().unwrap();
        prop_assert_eq!(&list, &values);
        prop_assert_eq!(&first, &values[0]);
    }
}
