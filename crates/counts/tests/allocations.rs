//! How often the allocator is asked, for each thing that happens all day.
//!
//! The figures are exact: one more is a loss that this test is there to notice, one less is a gain
//! to be written down here.

use std::sync::Arc;

use sockeye_core::MessageBuilder;
use sockeye_counts::{Counting, Rig, allocations, event, wire};
use sockeye_protocol::engine::Packet as EnginePacket;
use sockeye_protocol::socketio::{
    Args, Decoder, Limits, Parser, ToArgs, encode_ack_into, encode_event_into,
};
use sockeye_websocket::deflate::deflate_shared;
use sockeye_websocket::{Input, Reader, Role, text_frame};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Repetitions over which a count is taken, after one that does not count.
const TIMES: u64 = 100;

/// Allocations of one call in the steady state. It must be the same for every call.
#[track_caller]
fn each<R>(mut call: impl FnMut() -> R) -> u64 {
    drop(call());
    let (usage, ()) = allocations(|| (0..TIMES).for_each(|_| drop(call())));
    assert_eq!(usage.allocations % TIMES, 0, "not the same for every call");
    usage.allocations / TIMES
}

/// Reads `frame` again and again, as a server does: unmasking changes it, hence the copy.
fn decode(frame: &[u8]) -> u64 {
    let mut reader = Reader::new(Role::Server, None);
    let limits = sockeye_websocket::Limits::default();
    let mut buffer = frame.to_vec();
    each(|| {
        buffer.copy_from_slice(frame);
        let mut input = Input::new(&mut buffer);
        let mut events = 0;
        while let Some(event) = reader.next(&limits, &mut input).expect("it is valid") {
            drop(event);
            events += 1;
        }
        assert_eq!(events, 1);
    })
}

#[test]
fn frames_are_decoded_without_any() {
    assert_eq!(decode(&wire::text(wire::SMALL_EVENT)), 0);
    assert_eq!(decode(&wire::text(&wire::json(1024))), 0);
    assert_eq!(decode(&wire::binary(&[7; 1024])), 0);
    // What is half received, and its bytes.
    assert_eq!(decode(&wire::fragmented(&wire::json(1024))), 3);
}

#[test]
fn a_frame_is_one() {
    assert_eq!(each(|| text_frame(wire::SMALL_EVENT)), 1);
    let text = wire::json(1024);
    assert_eq!(each(|| deflate_shared(text.as_bytes(), 15, 6)), 1);
}

fn decode_packet(decoder: &mut Decoder, limits: &Limits, text: &str) -> Option<Args> {
    let Ok(EnginePacket::Message(text)) = EnginePacket::from_text(text) else {
        panic!("a message was expected");
    };
    let packet = decoder.decode_text(limits, text).expect("it is valid");
    packet.map(|packet| packet.args)
}

#[test]
fn a_packet_is_one() {
    let (mut decoder, limits) = (Decoder::new(Parser::Json), Limits::default());
    let large = format!(r#"42["table",{}]"#, wire::json(16_384));
    for text in [wire::SMALL_EVENT, r#"4317[{"status":"ok"}]"#, &large] {
        assert_eq!(each(|| decode_packet(&mut decoder, &limits, text)), 1);
    }
}

#[test]
fn a_packet_with_an_attachment() {
    let (mut decoder, limits) = (Decoder::new(Parser::Json), Limits::default());
    let text = r#"451-["upload",{"_placeholder":true,"num":0}]"#;
    let count = each(|| {
        assert!(decode_packet(&mut decoder, &limits, text).is_none());
        decoder.decode_binary(&limits, &[7; 1024])
    });
    assert_eq!(count, 7);
}

#[test]
fn encoding_into_a_buffer_needs_none() {
    let args = ("hello", 42).to_args(Parser::Json);
    let args = args.expect("it has a JSON form");
    let mut out = Vec::with_capacity(1024);
    let event = each(|| {
        out.clear();
        encode_event_into(&mut out, Parser::Json, "/", None, "news", &args);
    });
    let ack = each(|| {
        out.clear();
        encode_ack_into(&mut out, Parser::Json, "/", 17, &args);
    });
    assert_eq!((event, ack), (0, 0));
}

#[test]
fn a_message_is_its_buffer() {
    let args = ("hello", 42).to_args(Parser::Json);
    let args = args.expect("it has a JSON form");
    let count = each(|| {
        let mut builder = MessageBuilder::text(64);
        encode_event_into(builder.buffer(), Parser::Json, "/", None, "news", &args);
        builder.build(sockeye_core::Class::Normal, false, &[])
    });
    assert_eq!(count, 1, "its buffer");
}

#[test]
fn an_event_that_is_acknowledged() {
    let mut rig = Rig::with_clients(1);
    let session = rig.sessions[0];
    let count = each(|| {
        rig.echo(session, wire::SMALL_EVENT);
        assert!(rig.write() > 0);
    });
    // The text of the event and the packet; the acknowledgement and what shares it.
    assert_eq!(count, 4);
}

#[test]
fn a_delivery_needs_none() {
    let (mut few, mut many) = (Rig::with_clients(10), Rig::with_clients(1_000));
    let message = Arc::new(event("news", ("hello",)));
    let broadcast = |rig: &mut Rig| {
        each(|| {
            assert_eq!(rig.broadcast(&message).queued, rig.sessions.len());
            assert!(rig.write() > 0);
        })
    };
    // The one is made by the rig: the name of the room.
    assert_eq!((broadcast(&mut few), broadcast(&mut many)), (1, 1));
}

#[test]
fn a_queue_of_several_is_two() {
    let mut rig = Rig::with_clients(100);
    let message = Arc::new(event("news", ("hello",)));
    let one = each(|| {
        rig.broadcast(&message);
        rig.write();
    });
    let eight = each(|| {
        for _ in 0..8 {
            rig.broadcast(&message);
        }
        rig.write();
    });
    // For each connection: the queue and where it is kept.
    assert_eq!(eight - 8 * one, 2 * 100);
}

#[test]
fn heartbeats_need_next_to_none() {
    let mut rig = Rig::with_clients(1_000);
    // Rounds in which the lists of timers find their size.
    for _ in 0..8 {
        round(&mut rig);
    }
    let (usage, ()) = allocations(|| round(&mut rig));
    // The lists of the wheel that these timers move on to.
    assert_eq!(
        usage.allocations, 9,
        "for the pings and pongs of a thousand"
    );
}

/// All are asked and all answer.
fn round(rig: &mut Rig) {
    let before = rig.shard.stats().packets_out;
    rig.pass(30_000);
    assert_eq!(rig.shard.stats().packets_out - before, 1_000);
    rig.write();
    for at in 0..rig.sessions.len() {
        rig.shard.websocket_text(rig.sessions[at], "3");
    }
}

#[test]
fn leaving_and_joining_a_room_that_stays_needs_none() {
    let mut rig = Rig::with_clients(10);
    let socket = rig.sockets[0];
    let count = each(|| {
        assert!(rig.shard.leave(socket, "room"));
        rig.shard.join(socket, "room").expect("its only room")
    });
    assert_eq!(count, 0);
}
