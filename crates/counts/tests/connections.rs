//! What an idle connection owns in a whole server: accepted over TCP by a middleware that checks
//! `auth.token`, connected to a namespace, in one room. And that nothing is left when it has gone.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use serde::Deserialize;
use sockeye::{Auth, ConnectError, IoUring, Server, Socket};
use sockeye_counts::{Budget, Counting, Peer, live, raise_descriptor_limit};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CLIENTS: usize = 1_000;
/// Longest wait for anything; reached only when the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Credentials {
    token: String,
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

/// A server on threads of its own; they end with the process.
fn start() -> (Server, SocketAddr) {
    let server = Server::builder()
        .workers(1)
        // Where it is allowed it would be counted, and elsewhere not.
        .io_uring(IoUring::Off)
        .build();
    let chat = server.of("/");
    chat.middleware(async |Auth(given): Auth<Credentials>| {
        if given.token == "secret" {
            Ok(())
        } else {
            Err(ConnectError::new("unknown token"))
        }
    });
    chat.on_connection(async |socket: Socket| socket.join("room").await);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let serving = server.clone();
    std::thread::spawn(move || runtime().block_on(serving.serve(listener)));
    (server, address)
}

/// Waits until so many clients are connected and in the room, and nothing is on its way; what is
/// owned then, in bytes and blocks.
fn settled(runtime: &Runtime, server: &Server, clients: usize) -> (isize, isize) {
    let deadline = Instant::now() + PATIENCE;
    // The sockets' own rooms count, and the one they share. The one more task accepts.
    let rooms = clients + usize::from(clients > 0);
    loop {
        let gauges = runtime.block_on(server.gauges());
        let there = gauges.sessions == clients && gauges.sockets == clients;
        if there && gauges.rooms == rooms && gauges.tasks <= clients + 1 && gauges.queued_bytes == 0
        {
            break;
        }
        assert!(Instant::now() < deadline, "not settled: {gauges:?}");
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(5)).await });
    }
    // What a task gives back at its end is given back soon after: the same figure five times.
    let (mut last, mut same) = (live(), 0);
    while same < 5 {
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(20)).await });
        let now = live();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        assert!(Instant::now() < deadline, "never at rest");
    }
    last
}

fn connect(address: SocketAddr, into: &mut Vec<Peer>, count: usize) {
    for _ in 0..count {
        into.push(Peer::connect(address, "secret").expect("a connection"));
    }
}

// One test alone: what other threads own would be counted too.
#[test]
fn an_idle_connection_of_a_server() {
    let descriptors = raise_descriptor_limit();
    let needed = 2 * CLIENTS as u64 + 100;
    assert!(
        descriptors >= needed,
        "{needed} open files are needed, {descriptors} are allowed"
    );
    let runtime = runtime();
    let (server, address) = start();
    let mut peers = Vec::with_capacity(CLIENTS);
    assert!(
        Peer::connect(address, "wrong").is_err(),
        "the middleware decides"
    );

    // What is made once, for the first.
    connect(address, &mut peers, 10);
    settled(&runtime, &server, 10);
    peers.clear();
    let (empty, empty_blocks) = settled(&runtime, &server, 0);

    connect(address, &mut peers, CLIENTS);
    let (full, full_blocks) = settled(&runtime, &server, CLIENTS);
    peers.clear();
    let (first_left, _) = settled(&runtime, &server, 0);
    // Again: what is kept is kept once.
    connect(address, &mut peers, CLIENTS);
    let (full_again, _) = settled(&runtime, &server, CLIENTS);
    peers.clear();
    let (left, left_blocks) = settled(&runtime, &server, 0);

    let each = |bytes: isize| (bytes - empty) as f64 / CLIENTS as f64;
    println!("empty {empty} bytes, {empty_blocks} blocks; left {left} bytes, {left_blocks} blocks");
    Budget {
        what: "bytes of an idle connection",
        expected: 1_617.1,
    }
    .check(each(full));
    Budget {
        what: "blocks of a hundred idle connections",
        expected: 804.3,
    }
    .check((full_blocks - empty_blocks) as f64 / CLIENTS as f64 * 100.0);

    let growth = each(full_again) / each(full);
    assert!(
        growth < 1.02,
        "the second thousand costs {growth:.3} of the first"
    );
    for left in [first_left, left] {
        let left = (left - empty) as f64 / (full - empty) as f64;
        assert!(
            left < 0.05,
            "{left:.3} of what was owned is left when all have gone"
        );
    }
    let leaked = left_blocks - empty_blocks;
    assert!(leaked < 20, "{leaked} blocks are left when all have gone");
}
