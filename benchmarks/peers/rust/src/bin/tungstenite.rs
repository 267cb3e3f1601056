//! tokio-tungstenite with one task and one channel per connection: what a WebSocket server costs without Socket.IO. A
//! message that starts with `e` goes back to its sender, any other to everyone.

use futures_util::{SinkExt, StreamExt};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

type Everyone = Arc<Mutex<HashMap<u64, UnboundedSender<Message>>>>;

async fn serve() -> std::io::Result<()> {
    let listener = peers::listen()?;
    let everyone = Everyone::default();
    for id in 0.. {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let everyone = everyone.clone();
        tokio::spawn(async move {
            let _ = connection(stream, id, &everyone).await;
            everyone.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        });
    }
    Ok(())
}

async fn connection(stream: TcpStream, id: u64, everyone: &Everyone) -> Result<(), Error> {
    // The default of 128 KiB is kept per connection and zeroed before each read.
    let config = WebSocketConfig::default().read_buffer_size(4096);
    let socket = accept_async_with_config(stream, Some(config)).await?;
    let (mut sink, mut source) = socket.split();
    let (sender, mut queue) = unbounded_channel();
    everyone.lock().unwrap_or_else(PoisonError::into_inner).insert(id, sender);
    loop {
        tokio::select! {
            message = source.next() => {
                let Some(message) = message else { return Ok(()) };
                let message = message?;
                match &message {
                    Message::Text(text) if text.starts_with('e') => sink.send(message).await?,
                    Message::Text(_) => {
                        for sender in everyone.lock().unwrap_or_else(PoisonError::into_inner).values() {
                            let _ = sender.send(message.clone());
                        }
                    }
                    _ => {}
                }
            }
            Some(message) = queue.recv() => {
                sink.feed(message).await?;
                while let Ok(message) = queue.try_recv() {
                    sink.feed(message).await?;
                }
                sink.flush().await?;
            }
        }
    }
}

fn main() -> std::io::Result<()> {
    peers::run(serve())
}
