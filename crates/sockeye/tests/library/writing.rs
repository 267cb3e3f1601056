//! Both ways to write: through io_uring, where the system has it, and one connection at a time.

use bytes::Bytes;
use serde_json::json;
use sockeye::{Binary, Data, EventError, IoUring, Namespace, Server};

use crate::support::{Client, Running};

const CLIENTS: usize = 120;
const LARGE: usize = 200_000;

/// Two workers, whose clients hear what any of them says, large and small.
async fn start(io_uring: IoUring) -> (Running, Vec<Client>) {
    async fn say(ns: Namespace, Data(rounds): Data<u32>) -> Result<(), EventError> {
        let text = "x".repeat(LARGE);
        for n in 0..rounds {
            ns.emit("small", n)?;
            ns.emit("bytes", (n, Binary(Bytes::from_static(b"\x00\xff"))))?;
            if n % 5 == 0 {
                ns.emit("large", (n, &text))?;
            }
        }
        ns.emit("end", ())?;
        Ok(())
    }
    let builder = Server::builder().workers(2).io_uring(io_uring);
    let running = Running::with(builder, |server| {
        server.of("/").on("say", say);
    });
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(running.connect().await);
    }
    (running, clients)
}

#[tokio::test]
async fn everybody_hears_everything_in_order_whichever_way_it_is_written() {
    const ROUNDS: u32 = 20;
    for io_uring in [IoUring::Auto, IoUring::Off] {
        let (running, mut clients) = start(io_uring).await;
        let rings = running.metric("io_uring_workers").await;
        match io_uring {
            IoUring::Off => assert_eq!(rings, 0),
            _ => assert!(
                rings == 2 || rings == 0,
                "all or, where forbidden, none: {rings}"
            ),
        }
        clients[0].emit("say", json!([ROUNDS])).await;
        let (mut quick, slow): (Vec<_>, Vec<_>) = clients
            .into_iter()
            .enumerate()
            .partition(|(n, _)| n % 10 != 0);
        // The slow ones do not read before the others have heard all: theirs has to wait.
        let listen = async |client: &mut Client| {
            for n in 0..ROUNDS {
                assert_eq!(client.expect("small").await, [json!(n)]);
                assert_eq!(
                    client.expect("bytes").await,
                    [json!(n), json!("binary of 2")]
                );
                if n % 5 == 0 {
                    let args = client.expect("large").await;
                    assert_eq!(args[0], n);
                    assert_eq!(args[1].as_str().map(str::len), Some(LARGE));
                }
            }
            client.expect("end").await;
        };
        for (_, client) in &mut quick {
            listen(client).await;
        }
        for (_, mut client) in slow {
            listen(&mut client).await;
        }
        assert_eq!(running.metric("slow_consumers").await, 0);
        drop(quick);
        running.until_empty().await;
    }
}
