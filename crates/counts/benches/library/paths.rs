//! The ways through the library.

use std::net::{SocketAddr, TcpListener};

use gungraun::{library_benchmark, library_benchmark_group};
use sockeye::{Args, Data, IoUring, Server, Socket};
use sockeye_counts::{Peer, wire};

/// A server with one worker on a thread of its own; it goes with the process.
fn start() -> SocketAddr {
    let server = Server::builder()
        .workers(1)
        // Where it is allowed it would be counted, and elsewhere not.
        .io_uring(IoUring::Off)
        .build();
    let chat = server.of("/");
    chat.on("say", async |args: Args| args);
    chat.on_connection(async |socket: Socket| socket.join("room").await);
    chat.on("news", async |socket: Socket, Data(text): Data<String>| {
        socket.within("room").emit("news", text)
    });
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().expect("a runtime");
        runtime.block_on(server.serve(listener))
    });
    address
}

fn peers(address: SocketAddr, count: usize) -> Vec<Peer> {
    let connect = |_| Peer::connect(address, "secret").expect("a connection");
    (0..count).map(connect).collect()
}

// One event after the other, each answered by an acknowledgement.
#[library_benchmark]
#[bench::base(200)]
#[bench::more(1_200)]
fn echo(count: usize) {
    let answer = wire::SMALL_EVENT.len() - r#""say","#.len();
    let mut peers = peers(start(), 1);
    let event = wire::text(wire::SMALL_EVENT);
    let mut room = [0; 256];
    let room = &mut room[..2 + answer];
    for _ in 0..count {
        peers[0].send_raw(&event).expect("it is open");
        peers[0].read_raw(room).expect("an answer");
    }
    assert!(room[2..].starts_with(b"4317[{"));
}

// An event of one to a room of a hundred.
#[library_benchmark]
#[bench::base(20)]
#[bench::more(120)]
fn fan_out(count: usize) {
    let mut peers = peers(start(), 100);
    let news = r#"42["news","hello, everybody, this is the news"]"#;
    let event = wire::text(news);
    let mut room = [0; 256];
    let room = &mut room[..2 + news.len()];
    for _ in 0..count {
        peers[0].send_raw(&event).expect("it is open");
        for peer in &mut peers {
            peer.read_raw(room).expect("the news");
        }
    }
    assert_eq!(&room[2..], news.as_bytes());
}

// TCP, the upgrade, the session, the namespace, the room.
#[library_benchmark]
#[bench::base(20)]
#[bench::more(120)]
fn connect(count: usize) {
    peers(start(), count);
}

library_benchmark_group!(name = library; benchmarks = echo, fan_out, connect);
