//! One byte now and then, in head and body: the deadline counts from the beginning.

use std::time::Duration;

use sockeye::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Polling, Running, soon};

const POLL: &str = "/socket.io/?EIO=4&transport=polling";

fn impatient() -> Running {
    let builder = Server::builder()
        .workers(1)
        .header_timeout(Duration::from_millis(300))
        .body_timeout(Duration::from_millis(300));
    Running::with(builder, |_| {})
}

/// Sends a byte every 20 ms until the server has had enough; what it said.
async fn drip(mut stream: TcpStream) -> String {
    let (mut read, mut write) = stream.split();
    let mut said = Vec::new();
    let dripping = async {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::future::pending::<()>().await
    };
    tokio::select! {
        _ = soon("the end", read.read_to_end(&mut said)) => {}
        () = dripping => {}
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn a_head_that_drips_in_is_cut_off() {
    let running = impatient();
    let mut stream = TcpStream::connect(running.address).await.expect("open");
    stream
        .write_all(b"GET /socket.io/ HTTP/1.1\r\nX-Drip: ")
        .await
        .expect("written");
    let said = drip(stream).await;
    assert!(
        said.is_empty() || said.starts_with("HTTP/1.1 408"),
        "{said}"
    );
    let polling = Polling::connect(running.address).await;
    drop(polling);
}

#[tokio::test]
async fn a_body_that_drips_in_is_answered_408_and_ends_its_session() {
    let running = impatient();
    let polling = Polling::connect(running.address).await;
    running.until_metric("sessions", 1).await;
    let mut stream = TcpStream::connect(running.address).await.expect("open");
    let head = format!(
        "POST {POLL}&sid={} HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n4",
        polling.sid
    );
    stream.write_all(head.as_bytes()).await.expect("written");
    let said = drip(stream).await;
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    running.until_metric("sessions", 0).await;
}
