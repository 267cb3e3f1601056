//! CONNECT and DISCONNECT, their limits, and packets that cross them.

use sockeye_core::{Class, Effect, Kind};
use sockeye_protocol::engine::{CloseReason, SessionId, Transport};

use crate::support::{Rig, sized};

#[test]
fn a_connect_is_handed_over_with_its_auth_and_answered_once() {
    let mut rig = Rig::new();
    let session = rig.websocket();
    rig.receive(session, "40/chat,{\"token\":1}");
    let effects = rig.take_effects();
    let [
        Effect::Connect {
            namespace, auth, ..
        },
    ] = &effects[..]
    else {
        panic!("{effects:?}")
    };
    assert_eq!(&**namespace, "/chat");
    assert!(auth.is_some());
    assert!(rig.shard.is_pending(session, "/chat"));
    let socket = rig.accept(session, "/chat").unwrap();
    assert!(!rig.shard.is_pending(session, "/chat"));
    assert!(rig.accept(session, "/chat").is_none(), "it asked once");
    assert_eq!(rig.shard.sockets_in("/chat"), 1);
    assert_eq!(rig.shard.socket(socket).unwrap().session(), session);
    assert!(rig.accept(session, "/other").is_none(), "it did not ask");
    assert!(!rig.shard.namespaces().any(|name| &**name == "/other"));
}

#[test]
fn a_refused_connect_may_be_repeated() {
    let mut rig = Rig::new();
    let session = rig.websocket();
    rig.receive(session, "40");
    rig.shard.reject(session, "/", &sized(20, Class::Normal));
    assert_eq!(rig.read(session).len(), 1);
    rig.join(session, "/");
    assert!(rig.lives(session));
}

#[test]
fn a_second_connect_ends_the_connection_joined_or_pending() {
    for joined in [true, false] {
        let mut rig = Rig::new();
        let session = rig.websocket();
        rig.receive(session, "40");
        if joined {
            rig.accept(session, "/");
        }
        rig.receive(session, "40");
        assert_eq!(rig.closed(), [(session, CloseReason::ForcedClose)]);
    }
}

#[test]
fn a_packet_for_a_namespace_not_joined_ends_the_connection() {
    for packet in [
        "42/never,[\"a\"]",
        "43/never,1[]",
        "41/never,",
        "42/known,[\"a\"]",
    ] {
        let mut rig = Rig::new();
        let other = rig.websocket();
        rig.join(other, "/known");
        let (session, _) = rig.client();
        rig.receive(session, packet);
        assert_eq!(
            rig.closed(),
            [(session, CloseReason::ForcedClose)],
            "{packet}"
        );
        assert!(rig.lives(other));
    }
}

#[test]
fn a_packet_that_crosses_our_disconnect_is_ignored() {
    let mut rig = Rig::new();
    let (session, socket) = rig.client();
    let chat = rig.join(session, "/chat");
    rig.shard.disconnect(chat);
    assert_eq!(rig.read(session), ["41/chat,"]);
    for packet in ["42/chat,[\"late\"]", "43/chat,1[]", "41/chat,"] {
        rig.receive(session, packet);
    }
    assert!(rig.events().is_empty());
    assert!(rig.lives(session));
    // It may come back, and is looked at again.
    let again = rig.join(session, "/chat");
    rig.receive(session, "42/chat,[\"now\"]");
    assert_eq!(rig.events()[0].0, again);
    // Having left by itself, it has no such excuse.
    rig.receive(session, "41/chat,");
    rig.receive(session, "42/chat,[\"late\"]");
    assert_eq!(rig.closed(), [(session, CloseReason::ForcedClose)]);
    assert!(
        rig.shard.socket(socket).is_some(),
        "until its handlers have run"
    );
}

#[test]
fn more_namespaces_than_allowed_are_refused_and_the_connection_lives() {
    let mut rig = Rig::with(|config| config.max_namespaces = 2);
    let session = rig.websocket();
    rig.join(session, "/a");
    rig.receive(session, "40/b,");
    rig.receive(session, "40/c,");
    let refusal = rig.read(session);
    assert_eq!(refusal.len(), 1);
    assert!(refusal[0].starts_with("44/c,{\"message\":"), "{refusal:?}");
    assert_eq!(rig.shard.stats().limit_refusals, 1);
    assert!(rig.lives(session));
    // One that has left makes room.
    rig.accept(session, "/b");
    rig.receive(session, "41/b,");
    rig.read(session);
    rig.join(session, "/c");
}

#[test]
fn a_flood_of_refused_connects_that_is_not_read_ends_as_a_slow_consumer() {
    let mut rig = Rig::with(|config| {
        config.max_namespaces = 1;
        config.max_queued_bytes = 1_000;
    });
    let (session, _) = rig.client();
    for n in 0..1_000 {
        rig.receive(session, &format!("40/{n},"));
        assert!(rig.shard.queued_bytes() <= 1_000);
    }
    assert_eq!(rig.closed(), [(session, CloseReason::TransportError)]);
    assert_eq!(rig.shard.stats().slow_consumers, 1);
}

#[test]
fn a_disconnect_that_finds_no_room_ends_the_connection() {
    let mut rig = Rig::with(|config| config.max_queued_bytes = 100);
    let (session, socket) = rig.client();
    assert!(
        rig.shard
            .send(socket, &sized(100, Class::Normal))
            .is_queued()
    );
    rig.shard.disconnect(socket);
    assert!(
        !rig.lives(session),
        "it would have taken itself for connected"
    );
    let left = rig.finish();
    assert_eq!(left, [(socket, CloseReason::ServerNamespaceDisconnect)]);
    rig.assert_empty();
}

#[test]
fn disconnecting_all_tells_every_namespace_and_then_closes() {
    let mut rig = Rig::new();
    let (session, _) = rig.client();
    rig.join(session, "/chat");
    rig.shard.disconnect_all(session);
    assert_eq!(rig.read(session), ["41", "41/chat,"]);
    let reasons: Vec<_> = rig.finish().into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons, [CloseReason::ServerNamespaceDisconnect; 2]);
    assert!(!rig.lives(session));
    rig.assert_empty();
}

#[test]
fn nobody_is_let_in_while_the_session_closes() {
    let mut rig = Rig::new();
    let session = rig.open(Transport::Polling);
    rig.receive(session, "40/chat,");
    rig.shard
        .close(session, CloseReason::ServerShuttingDown, "");
    assert!(rig.accept(session, "/chat").is_none());
    assert_eq!(
        rig.shard.namespaces().count(),
        0,
        "no namespace was made for it"
    );
    rig.shard.transport_closed(session, true);
    rig.assert_empty();
}

#[test]
fn a_namespace_is_forgotten_when_the_last_socket_has_left_its_rooms() {
    let mut rig = Rig::new();
    let session = rig.websocket();
    let (a, b) = (rig.join(session, "/a"), rig.join(session, "/b"));
    rig.shard.join(a, "room").unwrap();
    rig.shard.forget_namespace("/a");
    assert_eq!(rig.shard.sockets_in("/a"), 1, "somebody is there");
    rig.shard.disconnect(a);
    rig.shard.forget_namespace("/a");
    assert_eq!(
        rig.shard.rooms_of(a).len(),
        2,
        "its handlers still see its rooms"
    );
    rig.finish();
    rig.shard.forget_namespace("/a");
    let names: Vec<_> = rig
        .shard
        .namespaces()
        .map(|name| name.to_string())
        .collect();
    assert_eq!(names, ["/b"]);
    // Its number is given to another, which does not inherit anything.
    let c = rig.join(session, "/c");
    assert_eq!(
        (rig.shard.sockets_in("/c"), rig.shard.room_count("/c")),
        (1, 1)
    );
    assert!(rig.shard.socket(b).is_some() && rig.shard.socket(c).is_some());
}

#[test]
fn packets_of_one_namespace_do_not_reach_another() {
    let mut rig = Rig::new();
    let session = rig.websocket();
    let (main, chat) = (rig.join(session, "/"), rig.join(session, "/chat"));
    rig.receive(session, "42/chat,[\"a\"]");
    rig.receive(session, "42[\"b\"]");
    let events = rig.events();
    let got: Vec<_> = events.iter().map(|(s, p)| (*s, p.event.as_str())).collect();
    assert_eq!(got, [(chat, "a"), (main, "b")]);
}

#[test]
fn raw_sessions_hand_messages_over_and_need_no_namespace() {
    let mut rig = Rig::with(|config| config.connect_timeout = 100);
    let id = SessionId::new([0; 3], 0);
    let session = rig
        .shard
        .open(id, Transport::WebSocket, Kind::Raw, [0; 2], &[]);
    rig.pass(1_000);
    rig.shard.websocket_text(session, "4hello");
    rig.shard.websocket_binary(session, &[1, 2]);
    let effects = rig.take_effects();
    let shown: Vec<_> = effects.iter().map(|effect| format!("{effect:?}")).collect();
    assert!(shown[0].contains("Text(\"hello\")"), "{shown:?}");
    assert!(shown[1].contains("Binary("), "{shown:?}");
    rig.shard.close_now(session, CloseReason::ForcedClose, "");
    rig.assert_empty();
}
