//! The shard: dispatch, broadcasts, rooms, heartbeats, coming and going.

use std::hint::black_box;
use std::sync::Arc;

use gungraun::{library_benchmark, library_benchmark_group};
use sockeye_core::{Config, Message};
use sockeye_counts::{Ignored, Rig, event, wire};

/// A rig that has echoed and broadcast before.
fn clients(count: usize) -> Rig {
    let mut rig = Rig::with_clients(count);
    let session = rig.sessions[0];
    rig.echo(session, wire::SMALL_EVENT);
    rig.broadcast(&Arc::new(news()));
    rig.broadcast(&Arc::new(news()));
    rig.write();
    rig
}

fn news() -> Message {
    event("news", ("hello, everybody", 42))
}

// An event of each client: decoded, dispatched, acknowledged, queued, taken to be written.
#[library_benchmark]
#[bench::one_in_flight(args = (100), setup = clients)]
fn echo(mut rig: Rig) -> Rig {
    for at in 0..rig.sessions.len() {
        let session = rig.sessions[at];
        rig.echo(session, black_box(wire::SMALL_EVENT));
        black_box(rig.write());
    }
    rig
}

// The same with eight events of each client before anything is written.
#[library_benchmark]
#[bench::eight_in_flight(args = (100), setup = clients)]
fn echo_merged(mut rig: Rig) -> Rig {
    for at in 0..rig.sessions.len() {
        let session = rig.sessions[at];
        for _ in 0..8 {
            rig.echo(session, black_box(wire::SMALL_EVENT));
        }
        black_box(rig.write());
    }
    rig
}

// Encoded once, queued for each, taken to be written.
#[library_benchmark]
#[bench::room_of_1000(args = (1_000), setup = clients)]
fn broadcast(mut rig: Rig) -> Rig {
    let message = Arc::new(black_box(news()));
    assert_eq!(rig.broadcast(&message).queued, 1_000);
    black_box(rig.write());
    rig
}

// What a delivery costs before it is written.
#[library_benchmark]
#[bench::room_of_1000(args = (1_000), setup = clients)]
fn append(mut rig: Rig) -> Rig {
    let message = Arc::new(black_box(news()));
    assert_eq!(rig.broadcast(&message).queued, 1_000);
    rig
}

#[library_benchmark]
#[bench::eight_in_flight(args = (1_000), setup = clients)]
fn broadcast_merged(mut rig: Rig) -> Rig {
    for _ in 0..8 {
        rig.broadcast(&Arc::new(black_box(news())));
    }
    black_box(rig.write());
    rig
}

// Everybody leaves the room and joins it again. There is no other: names are hashed with a random
// key, and two of them might share a place in the table.
#[library_benchmark]
#[bench::room_of_1000(args = (1_000), setup = clients)]
fn leave_and_join(mut rig: Rig) -> Rig {
    for socket in &rig.sockets {
        assert!(rig.shard.leave(*socket, black_box("room")));
    }
    for socket in &rig.sockets {
        let joined = rig.shard.join(*socket, black_box("room"));
        assert_eq!(joined, Ok(true));
    }
    rig
}

// A round of pings that are all due at once.
#[library_benchmark]
#[bench::of_10000(args = (10_000), setup = clients)]
fn heartbeats(mut rig: Rig) -> Rig {
    let before = rig.shard.stats().packets_out;
    rig.pass(Config::default().ping_interval * 2 - 1);
    assert_eq!(rig.shard.stats().packets_out - before, 10_000);
    rig
}

fn asked(count: usize) -> Rig {
    let mut rig = clients(count);
    let round = Config::default().ping_interval * 2 - 1;
    rig.pass(round);
    rig.write();
    rig
}

// The pongs to a round of pings.
#[library_benchmark]
#[bench::of_1000(args = (1_000), setup = asked)]
fn pongs(mut rig: Rig) -> Rig {
    for session in &rig.sessions {
        rig.shard.websocket_text(*session, black_box("3"));
    }
    rig
}

// An event to each client that asks for an acknowledgement, and the answers.
#[library_benchmark]
#[bench::of_100(args = (100), setup = clients)]
fn acknowledgements(mut rig: Rig) -> Rig {
    for socket in &rig.sockets {
        assert!(rig.shard.expect_ack(*socket, 7, 30_000, Ignored));
    }
    for session in &rig.sessions {
        rig.shard
            .websocket_text(*session, black_box(r#"437["yes"]"#));
    }
    rig
}

// A hundred clients come to a thousand.
#[library_benchmark]
#[bench::of_100(args = (1_000), setup = clients)]
fn connect(mut rig: Rig) -> Rig {
    for _ in 0..100 {
        rig.connect();
    }
    rig
}

// They go.
#[library_benchmark]
#[bench::of_1000(args = (1_000), setup = clients)]
fn disconnect(mut rig: Rig) -> Rig {
    rig.disconnect_all();
    assert_eq!(rig.shard.session_count(), 0);
    rig
}

library_benchmark_group!(
    name = core;
    benchmarks = echo, echo_merged, broadcast, append, broadcast_merged, leave_and_join,
        heartbeats, pongs, acknowledgements, connect, disconnect
);
