//! permessage-deflate of Socket.IO connections: who gets what compressed.

use serde_json::json;
use sockeye::{Data, DeflateOptions, EventError, Server, Socket};
use sockeye_websocket::handshake::ClientOptions;

use crate::support::client::PATH;
use crate::support::{Client, Polling, Running, Wire, request, sockets};

async fn connect(running: &Running, deflate: bool) -> Client {
    let deflate = deflate.then(DeflateOptions::default);
    let options = ClientOptions {
        deflate,
        ..Default::default()
    };
    let wire = Wire::open_with(running.address, PATH, options).await;
    let mut client = Client::over(wire.expect("accepted")).await;
    client.join("/", None).await.expect("let in");
    client
}

#[tokio::test]
async fn what_may_be_compressed_is_and_everybody_reads_the_same() {
    let builder = Server::builder()
        .workers(2)
        .per_message_deflate(DeflateOptions::default());
    let running = Running::mounted(builder, |server| {
        server
            .of("/")
            .on("say", async |socket: Socket, Data(how): Data<String>| {
                let (ns, text) = (socket.namespace(), "again and again ".repeat(2000));
                match &*how {
                    "broadcast" => ns.emit("said", &text)?,
                    "broadcast plain" => ns.compress(false).emit("said", &text)?,
                    "single" => drop(socket.emit("said", &text)?),
                    "single plain" => drop(socket.compress(false).emit("said", &text)?),
                    _ => ns.emit("said", "short")?,
                }
                Ok::<_, EventError>(())
            });
    })
    .await;
    let mut clients = Vec::new();
    for deflate in [true, false, true] {
        clients.push(connect(&running, deflate).await);
    }
    let agreed: Vec<_> = clients
        .iter()
        .map(|c| c.wire.response.deflate.is_some())
        .collect();
    assert_eq!(agreed, [true, false, true]);
    let table = [
        ("broadcast", 3, true),
        ("broadcast plain", 3, false),
        ("single", 1, true),
        ("single plain", 1, false),
        ("short", 3, false),
    ];
    for (how, hearers, compressed) in table {
        clients[0].emit("say", json!([how])).await;
        for (at, client) in clients[..hearers].iter_mut().enumerate() {
            let before = client.wire.bytes_read;
            let said = client.expect("said").await;
            let text = said[0].as_str().expect("text");
            assert_eq!(text.len(), if how == "short" { 5 } else { 32_000 }, "{how}");
            let read = client.wire.bytes_read - before;
            let small = read < text.len() / 20;
            assert_eq!(small, compressed && at != 1, "{how} to {at}: {read} bytes");
        }
    }
    // What a client sends compressed is read as well.
    let long = "x".repeat(100_000);
    let answer = clients[2].call("say", json!(["short", long])).await;
    assert!(answer.is_empty(), "{answer:?}");
}

#[tokio::test]
async fn a_polling_answer_is_compressed_unless_all_in_it_is_not_to_be() {
    let mut connected = None;
    let running = Running::start(|server| connected = Some(sockets(&server.of("/"))));
    let polling = Polling::connect(running.address).await;
    let socket = connected.expect("set up").recv().await.expect("a socket");
    let text = "again and again ".repeat(2000);
    for (plain, other, compressed) in [
        (true, false, false),
        (false, false, true),
        (true, true, true),
    ] {
        let sent = socket.compress(!plain).emit("said", &text);
        assert!(sent.is_ok_and(|queued| queued.is_queued()));
        if other {
            socket.emit("more", ()).expect("queued");
        }
        // An answer from its worker: what was sent before waits for the poll now.
        socket.rooms().await;
        let accept = "Accept-Encoding: gzip\r\n";
        let answer = request(running.address, "GET", &polling.path(), accept, "").await;
        let coding = answer.header("content-encoding");
        assert_eq!(coding, compressed.then_some("gzip"), "{plain} {other}");
        assert_eq!(answer.body.len() < text.len() / 10, compressed);
    }
}
