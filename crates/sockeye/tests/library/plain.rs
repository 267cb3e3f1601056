//! Plain WebSockets and raw Engine.IO, beside Socket.IO on the same port.

use std::time::{Duration, Instant};

use sockeye::websocket::{Message, WebSocketOptions};
use sockeye::{DeflateOptions, EngineSocket, Server, WebSocket};
use sockeye_websocket::handshake::ClientOptions;
use sockeye_websocket::{OpCode, close_code};
use tokio::io::AsyncWriteExt;

use crate::support::{Frame, Running, Wire, eventually, request, soon};

async fn echo(mut socket: WebSocket) {
    while let Some(message) = socket.recv().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

fn echo_server(options: WebSocketOptions) -> Running {
    Running::with(Server::builder().workers(1), |server| {
        server.websocket("/ws", options, echo)
    })
}

#[tokio::test]
async fn messages_of_every_size_are_echoed_in_order() {
    let options = WebSocketOptions {
        max_message_size: 20 << 20,
        ..Default::default()
    };
    let running = echo_server(options);
    let mut wire = Wire::open(running.address, "/ws").await;
    for size in [0, 1, 125, 126, 65_535, 65_536, 1_000_000, 20 << 20] {
        let data: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        wire.send_binary(&data).await;
        assert!(
            wire.recv().await == Some(Frame::Binary(data)),
            "{size} bytes"
        );
    }
    for n in 0..100 {
        wire.send(&format!("text {n}")).await;
    }
    for n in 0..100 {
        assert_eq!(wire.text().await, format!("text {n}"));
    }
    wire.write(OpCode::Ping, b"p").await.expect("written");
    assert_eq!(wire.recv().await, Some(Frame::Pong(b"p".to_vec())));
    wire.close(4000).await;
    assert_eq!(wire.recv().await, Some(Frame::Close(Some(4000))));
    assert_eq!(wire.recv().await, None);
}

#[tokio::test]
async fn a_silent_peer_is_asked_and_given_up_when_it_says_nothing() {
    let ended = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let options = WebSocketOptions {
        ping_interval: Some(Duration::from_millis(40)),
        ping_timeout: Duration::from_millis(400),
        ..Default::default()
    };
    let counted = ended.clone();
    let running = Running::with(Server::builder().workers(1), |server| {
        server.websocket("/ws", options, move |socket| {
            let counted = counted.clone();
            async move {
                echo(socket).await;
                counted.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
            }
        });
    });
    let mut lives = Wire::open(running.address, "/ws").await;
    let dead = Wire::open(running.address, "/ws").await;
    // One goes on talking, the other says nothing at all, not even a pong.
    let gone = || ended.load(std::sync::atomic::Ordering::Acquire);
    eventually("one is given up", async || {
        lives.send("here").await;
        assert_eq!(lives.text().await, "here");
        gone() == 1
    })
    .await;
    lives.send("still here").await;
    assert_eq!(lives.text().await, "still here");
    assert_eq!(gone(), 1);
    drop(dead);
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_1009() {
    let options = WebSocketOptions {
        max_message_size: 1000,
        ..Default::default()
    };
    let running = echo_server(options);
    let mut wire = Wire::open(running.address, "/ws").await;
    wire.send(&"x".repeat(1000)).await;
    assert_eq!(wire.text().await.len(), 1000);
    wire.send(&"x".repeat(1001)).await;
    assert_eq!(wire.recv().await, Some(Frame::Close(Some(1009))));
    assert_eq!(wire.recv().await, None);
    // Announced is enough: nothing is awaited, let alone allocated.
    let mut wire = Wire::open(running.address, "/ws").await;
    wire.write_raw(&[0x82, 0xff, 0, 0, 0, 0, 4, 0, 0, 0, 1, 2, 3, 4])
        .await;
    assert_eq!(wire.recv().await, Some(Frame::Close(Some(1009))));
}

#[tokio::test]
async fn the_first_sub_protocol_of_the_client_that_is_spoken_is_chosen() {
    let protocols = vec!["v2".to_owned(), "v1".to_owned()];
    let running = Running::start(|server| {
        let options = WebSocketOptions {
            protocols,
            ..Default::default()
        };
        server.websocket("/ws", options, async |mut socket: WebSocket| {
            let chosen = format!("{:?} {}", socket.protocol(), socket.handshake().uri.path());
            let _ = socket.send(Message::Text(chosen)).await;
            let _ = socket.close(close_code::NORMAL, "done").await;
            assert_eq!(socket.recv().await, None);
        });
    });
    for (offered, chosen) in [
        (vec!["x", "v1", "v2"], Some("v1")),
        (vec!["v1"], Some("v1")),
        (vec!["x"], None),
    ] {
        let protocols = offered.iter().map(|name| (*name).to_owned()).collect();
        let options = ClientOptions {
            protocols,
            ..Default::default()
        };
        let mut wire = Wire::open_with(running.address, "/ws", options)
            .await
            .expect("accepted");
        assert_eq!(wire.response.protocol.as_deref(), chosen);
        assert_eq!(wire.text().await, format!("{chosen:?} /ws"));
        assert_eq!(wire.recv().await, Some(Frame::Close(Some(1000))));
        wire.close(1000).await;
        assert_eq!(wire.recv().await, None);
    }
}

#[tokio::test]
async fn compressed_messages_go_both_ways() {
    let deflate = DeflateOptions::default();
    let options = WebSocketOptions {
        deflate: Some(deflate),
        ..Default::default()
    };
    let running = echo_server(options);
    let options = ClientOptions {
        deflate: Some(deflate),
        ..Default::default()
    };
    let mut wire = Wire::open_with(running.address, "/ws", options)
        .await
        .expect("accepted");
    assert!(wire.response.deflate.is_some());
    let text = "again and again ".repeat(50_000);
    for _ in 0..3 {
        let before = wire.bytes_read;
        wire.send(&text).await;
        assert!(wire.text().await == text);
        assert!(
            wire.bytes_read - before < text.len() / 20,
            "it was compressed"
        );
    }
}

#[tokio::test]
async fn a_message_that_does_not_arrive_in_time_ends_the_connection() {
    // One byte after the other does not help: the time is for the message as a whole.
    let options = WebSocketOptions {
        message_timeout: Duration::from_millis(300),
        ..Default::default()
    };
    let running = echo_server(options);
    let mut wire = Wire::open(running.address, "/ws").await;
    let begun = Instant::now();
    // A frame of 125 bytes, masked with zeros.
    let frame = [&[0x82, 0x80 | 125, 0, 0, 0, 0][..], &[7; 125][..]].concat();
    let mut bytes = frame.iter();
    let ended = loop {
        let byte = bytes.next().expect("131 bytes were awaited");
        let _ = wire.stream.write_all(&[*byte]).await;
        let pause = Duration::from_millis(20);
        if let Ok(end) = tokio::time::timeout(pause, wire.recv_whenever()).await {
            break end;
        }
    };
    assert!(matches!(ended, None | Some(Frame::Close(_))), "{ended:?}");
    assert!(begun.elapsed() >= Duration::from_millis(290));
    // An idle connection is not concerned.
    let mut idle = Wire::open(running.address, "/ws").await;
    let silence = tokio::time::timeout(Duration::from_millis(400), idle.recv_whenever()).await;
    assert!(silence.is_err(), "{silence:?}");
    idle.send("still here").await;
    assert_eq!(idle.text().await, "still here");
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_given_up() {
    let options = WebSocketOptions {
        write_timeout: Duration::from_millis(300),
        ..Default::default()
    };
    let (sender, mut given_up) = tokio::sync::mpsc::unbounded_channel();
    let running = Running::start(|server| {
        server.websocket("/ws", options, move |mut socket: WebSocket| {
            let sender = sender.clone();
            async move {
                let data = Message::Binary(vec![0; 1 << 20].into());
                while socket.send(data.clone()).await.is_ok() {}
                let _ = sender.send(());
            }
        });
    });
    let wire = Wire::open(running.address, "/ws").await;
    soon("an error", given_up.recv())
        .await
        .expect("the handler goes on");
    drop(wire);
}

#[tokio::test]
async fn a_slow_application_slows_its_peer_down() {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let shut = gate.clone();
    let running = Running::start(|server| {
        server.websocket(
            "/ws",
            WebSocketOptions::default(),
            move |mut socket: WebSocket| {
                let gate = shut.clone();
                async move {
                    drop(gate.acquire().await);
                    let mut received = 0;
                    while let Some(Message::Binary(data)) = socket.recv().await {
                        received += data.len();
                        if data.is_empty() {
                            let _ = socket.send(Message::Text(received.to_string())).await;
                        }
                    }
                }
            },
        );
    });
    let mut wire = Wire::open(running.address, "/ws").await;
    let writer = tokio::spawn(async move {
        for _ in 0..60 {
            wire.send_binary(&vec![1; 500_000]).await;
        }
        wire.send_binary(&[]).await;
        wire
    });
    let stalled = tokio::time::timeout(Duration::from_millis(500), async {
        eventually("never", async || writer.is_finished()).await;
    });
    assert!(stalled.await.is_err(), "30 MB fit nowhere on the way");
    gate.add_permits(1);
    let mut wire = soon("the rest", writer).await.expect("the writer");
    assert_eq!(wire.text().await, "30000000");
}

#[tokio::test]
async fn what_is_no_upgrade_is_refused() {
    let running = echo_server(WebSocketOptions::default());
    let answer = request(running.address, "GET", "/ws", "", "").await;
    assert_eq!(answer.status, 426);
    assert!(answer.header("sec-websocket-version").is_none() || answer.status == 426);
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let headers = format!("{upgrade}Sec-WebSocket-Version: 12\r\n");
    let answer = request(running.address, "GET", "/ws", &headers, "").await;
    assert_eq!(
        (answer.status, answer.header("sec-websocket-version")),
        (426, Some("13"))
    );
    assert_eq!(
        request(running.address, "GET", "/ws/below", &headers, "")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn a_panicking_handler_gives_its_place_back() {
    let builder = Server::builder().workers(1).max_connections(1);
    let running = Running::with(builder, |server| {
        server.websocket(
            "/ws",
            WebSocketOptions::default(),
            async |mut socket: WebSocket| {
                let message = socket.recv().await;
                assert!(message.is_none(), "a mistake");
            },
        );
    });
    for _ in 0..3 {
        let mut wire = Wire::open(running.address, "/ws").await;
        wire.send("boom").await;
        assert_eq!(wire.recv().await, None);
        eventually("a place is free", async || {
            running.server.gauges().await.tasks <= 1
        })
        .await;
    }
}

#[tokio::test]
async fn raw_engine_connections_belong_to_the_application() {
    let running = Running::start(|server| {
        server.engine("/engine.io", async |mut socket: EngineSocket| {
            while let Some(message) = socket.recv().await {
                let sent = match message.as_text() {
                    Some("bye") => break,
                    Some(text) => socket.send_text(text),
                    None => socket.send_binary(message.as_bytes()),
                };
                if sent.is_err() {
                    break;
                }
            }
        });
    });
    let mut wire = Wire::open(running.address, "/engine.io/?EIO=4&transport=websocket").await;
    assert!(wire.text().await.starts_with("0{"));
    wire.send("4hello").await;
    assert_eq!(wire.text().await, "4hello");
    wire.send_binary(&[1, 2, 3]).await;
    assert_eq!(wire.recv().await, Some(Frame::Binary(vec![1, 2, 3])));
    wire.send("4bye").await;
    while wire.recv().await.is_some() {}
    running.until_empty().await;
}

/// What was given up goes on leaving while the peer is heard: two that write to each other at once
/// do not wait for each other.
#[tokio::test]
async fn a_peer_that_only_writes_is_read_while_something_leaves() {
    let options = WebSocketOptions {
        write_timeout: Duration::from_secs(60),
        ..Default::default()
    };
    let running = Running::start(|server| {
        server.websocket("/ws", options, async |mut socket: WebSocket| {
            let large = Message::Binary(vec![7; 32 << 20].into());
            let sending = tokio::time::timeout(Duration::from_millis(50), socket.send(large)).await;
            assert!(sending.is_err(), "32 MB fit nowhere on the way");
            let mut received = 0;
            while let Some(Message::Binary(data)) = socket.recv().await {
                received += data.len();
                if data.is_empty() {
                    let _ = socket.send(Message::Text(received.to_string())).await;
                }
            }
        });
    });
    let mut wire = Wire::open(running.address, "/ws").await;
    let part = vec![1; 500_000];
    for _ in 0..60 {
        soon("what is written is taken", wire.send_binary(&part)).await;
    }
    wire.send_binary(&[]).await;
    assert!(wire.recv().await == Some(Frame::Binary(vec![7; 32 << 20])));
    assert_eq!(wire.text().await, "30000000");
}

/// An application that waits for several things at once gives `recv` up again and again, also while
/// a pong is being written to a peer that does not read: no frame may be cut by that, none lost.
#[tokio::test]
async fn receiving_and_sending_may_be_given_up_at_any_moment() {
    const PINGS: usize = 20_000;
    let (sender, mut given_up) = tokio::sync::mpsc::unbounded_channel();
    let running = Running::with(Server::builder().workers(1), move |server| {
        let options = WebSocketOptions::default();
        server.websocket("/ws", options, move |mut socket: WebSocket| {
            let sender = sender.clone();
            async move {
                let mut messages = 0;
                loop {
                    let patience = Duration::from_micros(300);
                    match tokio::time::timeout(patience, socket.recv()).await {
                        Err(_) => {
                            let _ = sender.send(None);
                        }
                        Ok(Some(message)) => {
                            messages += 1;
                            // Given up or not, it leaves once.
                            let sending = socket.send(message);
                            let _ = tokio::time::timeout(patience, sending).await;
                        }
                        Ok(None) => {
                            let _ = sender.send(Some(messages));
                            return;
                        }
                    }
                }
            }
        });
    });
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    // Small, or all would fit; not so small that a busy machine takes long to empty them.
    socket.set_recv_buffer_size(64 << 10).expect("an option");
    socket.set_send_buffer_size(64 << 10).expect("an option");
    let stream = socket.connect(running.address).await.expect("a connection");
    let options = ClientOptions::default();
    let mut wire = Wire::over(Box::new(stream), "/ws", options)
        .await
        .expect("open");
    let mask = [0x5a; 4];
    let mut frames = Vec::new();
    let frame = |opcode: u8, payload: &[u8]| {
        let masked = payload.iter().map(|byte| byte ^ mask[0]);
        let head = [0x80 | opcode, 0x80 | payload.len() as u8];
        head.into_iter()
            .chain(mask)
            .chain(masked)
            .collect::<Vec<u8>>()
    };
    let payload = |n: usize| format!("{n:0>120}").into_bytes();
    for n in 0..PINGS {
        frames.extend(frame(9, &payload(n)));
        if n == PINGS / 2 {
            frames.extend(frame(1, b"in the middle"));
        }
    }
    frames.extend(frame(1, b"at the end"));
    // Nothing is read before the server has filled every buffer and given up many times.
    let mut written = 0;
    while written < frames.len() {
        let writing = wire.stream.write(&frames[written..]);
        match tokio::time::timeout(Duration::from_millis(300), writing).await {
            Ok(more) => written += more.expect("written"),
            Err(_) => break,
        }
    }
    assert!(written < frames.len(), "the pongs fit into the buffers");
    for _ in 0..50 {
        soon("a wait that is given up", given_up.recv()).await;
    }
    let Wire { stream, .. } = &mut wire;
    let (mut read, mut write) = tokio::io::split(stream);
    let rest = frames.split_off(written);
    let writing = async {
        write.write_all(&rest).await.expect("written");
        std::future::pending::<()>().await;
    };
    let reading = async {
        let (mut bytes, mut pongs, mut texts) = (Vec::new(), 0, Vec::new());
        let mut at = 0;
        while texts.len() < 2 || pongs < PINGS {
            let more = tokio::io::AsyncReadExt::read_buf(&mut read, &mut bytes).await;
            assert!(more.expect("open") > 0, "the end after {pongs} pongs");
            while bytes.len() >= at + 2 && bytes.len() >= at + 2 + usize::from(bytes[at + 1]) {
                let end = at + 2 + usize::from(bytes[at + 1]);
                let content = &bytes[at + 2..end];
                match bytes[at] {
                    0x8a => {
                        assert_eq!(content, payload(pongs), "pong {pongs}");
                        pongs += 1;
                    }
                    0x81 => texts.push(String::from_utf8_lossy(content).into_owned()),
                    other => panic!("{other:#x} after {pongs} pongs"),
                }
                at = end;
            }
        }
        texts
    };
    let texts = tokio::select! {
        texts = soon("every frame", reading) => texts,
        () = writing => Vec::new(),
    };
    assert_eq!(texts, ["in the middle", "at the end"]);
    wire.close(1000).await;
    // The wait for the peer's end is given up as often, and ends all the same.
    let messages = loop {
        if let Some(messages) = soon("the end", given_up.recv()).await.expect("a sender") {
            break messages;
        }
    };
    assert_eq!(messages, 2);
    assert_eq!(running.metric("handler_panics").await, 0);
}
