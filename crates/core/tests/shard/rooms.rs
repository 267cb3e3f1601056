//! Who is where, and whom a broadcast reaches.

use std::sync::Arc;

use sockeye_core::{Effect, Key, Queued, RoomChange, RoomError};
use sockeye_protocol::engine::CloseReason;

use crate::support::{Rig, event};

/// Four clients: 0 and 1 in `a`, 1 and 2 in `b`, 3 in no room.
fn four() -> (Rig, Vec<Key>, Vec<Key>) {
    let mut rig = Rig::new();
    let (sessions, sockets): (Vec<_>, Vec<_>) = (0..4).map(|_| rig.client()).unzip();
    for (socket, room) in [(0, "a"), (1, "a"), (1, "b"), (2, "b")] {
        assert_eq!(rig.shard.join(sockets[socket], room), Ok(true));
    }
    (rig, sessions, sockets)
}

fn reached(rig: &mut Rig, sessions: &[Key], rooms: &[&str], except: &[&str]) -> Vec<usize> {
    let queued = rig.broadcast(rooms, except, "x");
    let got: Vec<_> = (0..sessions.len())
        .filter(|n| match &rig.read(sessions[*n])[..] {
            [] => false,
            [one] => one == "42[\"x\"]",
            more => panic!("{n} got it more than once: {more:?}"),
        })
        .collect();
    assert_eq!(queued, got.len());
    got
}

#[test]
fn a_broadcast_reaches_the_union_of_rooms_without_the_excepted_once_each() {
    let (mut rig, sessions, sockets) = four();
    let ids: Vec<String> = sockets.iter().map(|socket| rig.id(*socket)).collect();
    let id = |n: usize| ids[n].as_str();
    let nowhere = "no such room";
    for (rooms, except, expected) in [
        (vec![], vec![], vec![0, 1, 2, 3]),
        (vec!["a"], vec![], vec![0, 1]),
        (vec!["a", "b"], vec![], vec![0, 1, 2]),
        (vec!["a", "b"], vec!["b"], vec![0]),
        (vec![], vec!["a"], vec![2, 3]),
        (vec![nowhere], vec![], vec![]),
        (vec![nowhere, "b"], vec![], vec![1, 2]),
        (vec!["a"], vec![nowhere], vec![0, 1]),
        (vec![id(3)], vec![], vec![3]),
        (vec![id(1), "a"], vec![], vec![0, 1]),
        (vec![id(3), id(0)], vec![], vec![0, 3]),
        (vec!["a"], vec![id(0)], vec![1]),
        (vec![], vec![id(0), id(3), "b"], vec![]),
        (vec![id(2)], vec!["b"], vec![]),
    ] {
        let got = reached(&mut rig, &sessions, &rooms, &except);
        assert_eq!(got, expected, "{rooms:?} without {except:?}");
        let count = counted(&mut rig, &rooms, &except);
        assert_eq!(count, expected.len(), "{rooms:?} without {except:?}");
    }
    // One that leaves still stands in its rooms, and is not counted.
    rig.shard.disconnect(sockets[1]);
    for (rooms, all, without) in [
        (vec![], 3, 2),
        (vec!["a"], 1, 1),
        (vec!["b"], 1, 0),
        (vec!["a", "b"], 2, 1),
    ] {
        assert_eq!(counted(&mut rig, &rooms, &[]), all, "{rooms:?}");
        assert_eq!(counted(&mut rig, &rooms, &["b"]), without, "{rooms:?}");
    }
    rig.finish();
    assert_eq!(counted(&mut rig, &["a"], &[]), 1);
    assert_eq!(rig.shard.count("/nowhere", Default::default()), 0);
}

fn counted(rig: &mut Rig, rooms: &[&str], except: &[&str]) -> usize {
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|name| Arc::from(*name))
            .collect::<Vec<_>>()
    };
    let (rooms, except) = (names(rooms), names(except));
    let target = sockeye_core::Target {
        rooms: &rooms,
        except: &except,
    };
    rig.shard.count("/", target)
}

#[test]
fn a_socket_of_another_namespace_is_not_reached_by_its_id() {
    let (mut rig, sessions, _) = four();
    let chat = rig.join(sessions[0], "/chat");
    let id = rig.id(chat);
    assert!(reached(&mut rig, &sessions, &[&id], &[]).is_empty());
    assert_eq!(reached(&mut rig, &sessions, &["a"], &[&id]), [0, 1]);
}

#[test]
fn a_socket_that_is_leaving_stands_in_its_rooms_and_is_reached_by_nothing() {
    let (mut rig, sessions, sockets) = four();
    let id = rig.id(sockets[1]);
    rig.shard.disconnect(sockets[1]);
    assert_eq!(rig.read(sessions[1]), ["41"]);

    assert_eq!(rig.shard.rooms_of(sockets[1]), [id.as_str(), "a", "b"]);
    assert!(rig.shard.is_in(sockets[1], "b"));
    for rooms in [vec![], vec!["a", "b"], vec![id.as_str()]] {
        let got = reached(&mut rig, &sessions, &rooms, &[]);
        assert!(!got.contains(&1), "{rooms:?}");
    }
    assert_eq!(rig.shard.send(sockets[1], &event("x")), Queued::Refused);
    assert!(rig.shard.take_full().is_empty() || rig.lives(sessions[1]));

    let left = rig.finish();
    assert_eq!(left, [(sockets[1], CloseReason::ServerNamespaceDisconnect)]);
    assert!(rig.shard.socket(sockets[1]).is_none());
    assert_eq!(rig.shard.rooms_of(sockets[1]), Vec::<String>::new());
    let mut sizes = rig.shard.room_sizes("/");
    sizes.sort();
    assert_eq!(sizes, [("a".to_owned(), 1), ("b".to_owned(), 1)]);
    assert!(rig.lives(sessions[1]), "the connection stays");
}

#[test]
fn finishing_is_only_for_sockets_that_are_leaving_and_happens_once() {
    let (mut rig, _, sockets) = four();
    rig.shard.finish_disconnect(sockets[0]);
    assert!(rig.shard.socket(sockets[0]).is_some());
    assert!(rig.shard.is_in(sockets[0], "a"));
    rig.shard.disconnect(sockets[0]);
    rig.shard.disconnect(sockets[0]);
    assert_eq!(rig.finish().len(), 1, "the handlers run once");
    rig.shard.finish_disconnect(sockets[0]);
    assert_eq!(rig.shard.socket_count(), 3);
}

#[test]
fn rooms_come_with_their_first_member_and_go_with_the_last() {
    let (mut rig, _, sockets) = four();
    assert_eq!(rig.shard.room_count("/"), 2 + 4);
    assert_eq!(rig.shard.join(sockets[0], "a"), Ok(false), "already there");
    assert!(rig.shard.leave(sockets[0], "a"));
    assert!(!rig.shard.leave(sockets[0], "a"));
    assert!(rig.shard.leave(sockets[1], "a"));
    assert_eq!(rig.shard.room_count("/"), 1 + 4);
    // A socket's own room is always there and is not joined or left.
    let id = rig.id(sockets[3]);
    assert_eq!(rig.shard.join(sockets[3], &id), Ok(false));
    assert!(!rig.shard.leave(sockets[3], &id));
    assert!(rig.shard.is_in(sockets[3], &id));
    assert_eq!(rig.shard.join(Key::NONE, "a"), Err(RoomError::Gone));
}

#[test]
fn a_socket_may_be_in_so_many_rooms_and_no_more() {
    let mut rig = Rig::with(|config| config.max_rooms = 2);
    let (_, socket) = rig.client();
    for room in ["a", "b", "a"] {
        assert!(rig.shard.join(socket, room).is_ok());
    }
    assert_eq!(rig.shard.join(socket, "c"), Err(RoomError::TooMany(2)));
    assert_eq!(rig.shard.stats().limit_refusals, 1);
    rig.shard.leave(socket, "a");
    assert_eq!(rig.shard.join(socket, "c"), Ok(true));
}

#[test]
fn resolve_names_the_sockets_that_a_broadcast_would_reach() {
    let (mut rig, _, sockets) = four();
    rig.shard.disconnect(sockets[2]);
    let mut found = vec![Key::NONE];
    rig.shard.resolve("/", Default::default(), &mut found);
    assert_eq!(found, [Key::NONE, sockets[0], sockets[1], sockets[3]]);
    found.clear();
    rig.shard
        .resolve("/nowhere", Default::default(), &mut found);
    assert!(found.is_empty());
}

/// What the shard tells of rooms: the socket's id, the room and what changed.
fn told(rig: &mut Rig) -> Vec<(String, String, RoomChange)> {
    let mut told = Vec::new();
    for effect in rig.take_effects() {
        match effect {
            Effect::Room { host, room, change } => {
                told.push((host.as_str().to_owned(), room.to_string(), change));
            }
            other => rig.effects.push(other),
        }
    }
    told
}

#[test]
fn changes_of_rooms_are_told_while_somebody_watches_and_not_otherwise() {
    const CREATED: RoomChange = RoomChange::Joined { created: true };
    const JOINED: RoomChange = RoomChange::Joined { created: false };
    const LEFT: RoomChange = RoomChange::Left { deleted: false };
    const DELETED: RoomChange = RoomChange::Left { deleted: true };
    let (mut rig, sessions, sockets) = four();
    assert!(told(&mut rig).is_empty(), "nobody watches");

    let mut standing = rig.shard.watch_rooms(&"/".into());
    standing.sort_unstable();
    assert_eq!(standing, [Arc::from("a"), Arc::from("b")]);
    assert!(rig.shard.watch_rooms(&"/".into()).is_empty(), "once");
    let ids: Vec<String> = sockets.iter().map(|socket| rig.id(*socket)).collect();
    let change = |n: usize, room: &str, change| (ids[n].clone(), room.to_owned(), change);

    assert_eq!(rig.shard.join(sockets[3], "c"), Ok(true));
    assert_eq!(rig.shard.join(sockets[3], "c"), Ok(false));
    assert_eq!(rig.shard.join(sockets[3], "a"), Ok(true));
    assert!(rig.shard.leave(sockets[0], "a"));
    assert!(!rig.shard.leave(sockets[0], "a"));
    assert_eq!(
        told(&mut rig),
        [
            change(3, "c", CREATED),
            change(3, "a", JOINED),
            change(0, "a", LEFT),
        ]
    );

    // Nothing is told before the disconnecting handlers have run, then all in order.
    rig.shard.disconnect(sockets[3]);
    assert!(told(&mut rig).is_empty());
    rig.finish();
    assert_eq!(
        told(&mut rig),
        [
            change(3, &ids[3], DELETED),
            change(3, "c", DELETED),
            change(3, "a", LEFT),
        ]
    );

    // A new socket is told of with its own room; other namespaces are not watched.
    let other = rig.join(sessions[3], "/other");
    rig.shard.join(other, "c").expect("room for it");
    let again = rig.join(sessions[3], "/");
    let id = rig.id(again);
    assert_eq!(told(&mut rig), [(id.clone(), id, CREATED)]);

    let mut standing = rig.shard.unwatch_rooms("/");
    standing.sort_unstable();
    assert_eq!(standing, [Arc::from("a"), Arc::from("b")]);
    assert!(rig.shard.unwatch_rooms("/").is_empty());
    assert!(rig.shard.unwatch_rooms("/nowhere").is_empty());
    rig.shard.join(again, "c").expect("room for it");
    assert!(told(&mut rig).is_empty());
}
