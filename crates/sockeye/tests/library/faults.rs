//! Panics and blocking: an error for the one concerned, nothing for all others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sockeye::{Data, EventName, Handler, Reply, Server, Socket};

use crate::support::{Client, Running, eventually};

fn internal() -> Value {
    json!({"error": {"code": "internal", "message": "the handler failed"}})
}

/// Panics before it has a future.
fn early(_: Socket) -> std::future::Ready<()> {
    panic!("before the future")
}

#[tokio::test]
async fn a_panic_in_a_handler_is_an_error_answer_and_the_socket_goes_on() {
    let running = Running::start(|server| {
        let ns = server.of("/");
        ns.on("early", early);
        ns.on("inside", async |socket: Socket| {
            assert!(socket.id().is_empty(), "a handler's own mistake");
        });
        ns.on("after", async |socket: Socket| {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(socket.id().is_empty(), "a mistake after waiting");
        });
        ns.on("unwrap", async |Data(n): Data<Option<u8>>| n.unwrap());
        ns.on("second", async || ());
        ns.on("second", async || early_in_list());
        ns.on("fine", async || "fine");
    });
    let mut witness = running.connect().await;
    let mut client = running.connect().await;
    for event in ["early", "inside", "after", "unwrap", "second"] {
        assert_eq!(client.call(event, json!([])).await, [internal()], "{event}");
        assert_eq!(client.call("fine", json!([])).await, [json!("fine")]);
        assert_eq!(witness.call("fine", json!([])).await, [json!("fine")]);
    }
    // Without anybody who asks it is caught as well, and what waits behind is handled.
    client.emit("early", json!([])).await;
    client.emit("after", json!([])).await;
    assert_eq!(client.call("fine", json!([])).await, [json!("fine")]);
    assert_eq!(running.metric("handler_panics").await, 7);
}

fn early_in_list() {
    panic!("the second of two listeners")
}

#[tokio::test]
async fn a_panic_in_middleware_refuses() {
    let running = Running::start(|server| {
        server.of("/").on("fine", async || "fine");
        server.of("/early").middleware(early);
        server.of("/late").middleware(async |socket: Socket| {
            tokio::task::yield_now().await;
            socket.join("a room").await.expect("noted");
            assert!(socket.id().is_empty(), "middleware's mistake");
        });
        server
            .of("/events")
            .event_middleware(async |name: EventName| {
                assert!(&*name != "bad", "a mistake");
            });
        server.of("/events").on("good", async || "good");
        server.of("/events").on("bad", async || "never");
    });
    let mut client = running.connect().await;
    for namespace in ["/early", "/late"] {
        let refused = client.join(namespace, None).await;
        assert_eq!(
            refused,
            Err(json!({"message": "the handler failed"})),
            "{namespace}"
        );
    }
    client.join("/events", None).await.expect("let in");
    for (id, event, answer) in [(100, "bad", internal()), (101, "good", json!("good"))] {
        client
            .wire
            .send(&format!(r#"42/events,{id}["{event}"]"#))
            .await;
        assert_eq!(client.answer(id).await, [answer]);
    }
    assert_eq!(client.call("fine", json!([])).await, [json!("fine")]);
    assert_eq!(running.metric("handler_panics").await, 3);
    drop(client);
    running.until_empty().await;
}

#[tokio::test]
async fn a_panic_in_a_predicate_refuses() {
    let running = Running::start(|server| {
        server.of_matching(|name, _| async move {
            assert!(name != "/bad", "a mistake");
            name == "/good"
        });
        server.of_matching(|name, _| async move {
            tokio::task::yield_now().await;
            assert!(name != "/late", "a mistake after waiting");
            false
        });
    });
    let mut client = Client::open(running.address).await;
    for namespace in ["/bad", "/late", "/unknown"] {
        let refused = client.join(namespace, None).await;
        assert_eq!(
            refused,
            Err(json!({"message": "Invalid namespace"})),
            "{namespace}"
        );
    }
    client.join("/good", None).await.expect("let in");
    assert_eq!(running.metric("handler_panics").await, 2);
}

#[tokio::test]
async fn panics_around_a_connection_leave_nothing_behind() {
    let left = Arc::new(AtomicUsize::new(0));
    let count = left.clone();
    let running = Running::start(|server| {
        let ns = server.of("/");
        ns.on_connection(async |socket: Socket| {
            socket.join(["a", "b"]).await.expect("joined");
            assert!(socket.id().is_empty(), "a mistake on connection");
        });
        ns.on("fine", async || "fine");
        ns.on("ask", async |socket: Socket| {
            socket.emit_with_ack("q", ()).await.is_err()
        });
        ns.on_disconnecting(async |socket: Socket| {
            tokio::task::yield_now().await;
            assert!(socket.rooms().await.is_empty(), "a mistake while leaving");
        });
        ns.on_disconnect(early);
        let also = server.of("/also");
        also.on_disconnect(move |_: Socket| {
            count.fetch_add(1, Ordering::SeqCst);
            std::future::ready(())
        });
    });
    for _ in 0..3 {
        let mut client = running.connect().await;
        client.join("/also", None).await.expect("let in");
        assert_eq!(client.call("fine", json!([])).await, [json!("fine")]);
        client.ask("ask", json!([])).await;
        client.question().await;
        drop(client);
    }
    running.until_empty().await;
    eventually("every goodbye is heard", async || {
        left.load(Ordering::SeqCst) == 3
    })
    .await;
    assert_eq!(running.metric("handler_panics").await, 9);
    assert_eq!(running.server.of("/").rooms().await.found, []);
}

#[tokio::test]
async fn a_panicking_answer_or_extractor_is_caught_too() {
    struct Bomb;
    impl sockeye::IntoReply for Bomb {
        fn into_reply(self, _: sockeye::Parser) -> Reply {
            panic!("while the answer is made")
        }
    }
    struct Trap;
    impl sockeye::FromEvent for Trap {
        fn from_event(_: &mut sockeye::Context) -> Result<Self, sockeye::EventError> {
            panic!("while an argument is taken")
        }
    }
    fn is_handler<M>(_: &impl Handler<M>) {}
    let bomb = async || Bomb;
    is_handler(&bomb);
    let running = Running::start(|server| {
        server.of("/").on("bomb", bomb);
        server.of("/").on("trap", async |_: Trap| ());
        server.of("/").on("fine", async || ());
    });
    let mut client = running.connect().await;
    for event in ["bomb", "trap"] {
        assert_eq!(client.call(event, json!([])).await, [internal()]);
    }
    client.call("fine", json!([])).await;
    assert_eq!(running.metric("handler_panics").await, 2);
}

#[tokio::test]
async fn a_handler_that_blocks_is_counted() {
    let builder = Server::builder()
        .workers(1)
        .blocking_limit(Duration::from_millis(20));
    let running = Running::with(builder, |server| {
        server.of("/").on("block", async || {
            std::thread::sleep(Duration::from_millis(30))
        });
        server.of("/").on("wait", async || {
            tokio::time::sleep(Duration::from_millis(30)).await
        });
    });
    let mut client = running.connect().await;
    client.call("wait", json!([])).await;
    assert_eq!(running.metric("blocking_handlers").await, 0);
    client.call("block", json!([])).await;
    assert_eq!(running.metric("blocking_handlers").await, 1);
}
