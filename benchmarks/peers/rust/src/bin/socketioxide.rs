//! socketioxide in axum, as its documentation sets it up. `current-thread` as an argument runs it on that runtime of
//! tokio instead of the default one.

use axum::serve::ListenerExt;
use serde::Deserialize;
use socketioxide::extract::{AckSender, Data, SocketRef};
use socketioxide::handler::ConnectHandler;
use socketioxide::SocketIo;
use std::fmt;

#[derive(Deserialize)]
struct Credentials {
    token: String,
}

#[derive(Debug)]
struct Unauthorized;

impl fmt::Display for Unauthorized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unauthorized")
    }
}

async fn authorize(Data(auth): Data<Credentials>) -> Result<(), Unauthorized> {
    if auth.token == peers::TOKEN {
        Ok(())
    } else {
        Err(Unauthorized)
    }
}

async fn connected(socket: SocketRef) {
    socket.on("echo", async |Data::<String>(text), ack: AckSender| {
        let _ = ack.send(&text);
    });
    socket.on("join", async |socket: SocketRef, Data::<String>(room), ack: AckSender| {
        socket.join(room);
        let _ = ack.send(&socket.rooms());
    });
    socket.on("broadcast", async |io: SocketIo, Data::<String>(text)| {
        let _ = io.emit("broadcast", &text).await;
    });
    socket.on("publish", async |io: SocketIo, Data::<String>(text)| {
        let _ = io.to(peers::ROOM).emit("publish", &text).await;
    });
}

async fn serve() -> std::io::Result<()> {
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", connected.with(authorize));
    let listener = peers::listen()?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, axum::Router::new().layer(layer)).await
}

fn main() -> std::io::Result<()> {
    peers::run(serve())
}
