//! A real-time server that speaks Socket.IO.
//!
//! Every Socket.IO 3 and 4 client connects to it unchanged; plain WebSocket clients do too.
//!
//! ```no_run
//! use sockeye::{Data, Server, Socket};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> std::io::Result<()> {
//!     let server = Server::new();
//!     let chat = server.of("/");
//!     chat.on("join", async |socket: Socket, Data(room): Data<String>| socket.join(room).await);
//!     chat.on("say", async |socket: Socket, Data(room): Data<String>, Data(text): Data<String>| {
//!         socket.to(room).emit("said", (socket.id(), text))?;
//!         Ok::<_, sockeye::EmitError>(())
//!     });
//!     let listener = std::net::TcpListener::bind("127.0.0.1:3000")?;
//!     server.serve(listener).await
//! }
//! ```
//!
//! - [`Server`] is configured by [`ServerBuilder`] and runs by itself ([`Server::serve`]) or inside
//!   axum or hyper ([`Server::service`], [`Server::layer`]).
//! - [`Namespace`] holds handlers and middleware; [`Socket`] is a client in a namespace;
//!   [`Broadcast`] speaks to many.
//! - A handler is an async closure of extractors ([`FromEvent`]); what it returns is the
//!   acknowledgement ([`IntoReply`]).
//! - [`EngineSocket`] is raw Engine.IO, [`WebSocket`] a plain WebSocket.
//!
//! Events of one socket are handled in order and one at a time; what lasts is spawned. Handlers
//! run on worker threads that serve many connections each: one that blocks holds all of them up,
//! and is named in the log.

mod ack;
mod broadcast;
mod config;
mod connect;
mod data;
mod deflate;
mod dispatch;
mod emitter;
mod engine;
mod engine_handle;
mod error;
mod extract;
mod handler;
mod handshake;
mod http;
mod listeners;
mod listening;
mod metrics;
mod namespace;
mod net;
mod publish;
mod recovery;
mod room;
mod room_events;
mod room_index;
mod server;
mod socket;
mod worker;

/// Plain WebSockets: no protocol above RFC 6455.
pub mod websocket;

pub use self::http::{
    Cookie, Cors, EngineRequest, HandshakeRequest, HandshakeResponse, Origins, PeerAddress,
    Refusal, RefusedRequest, SameSite, SockeyeLayer, SockeyeService,
};
pub use ack::{IntoReply, NoAck, Reply};
pub use broadcast::{Answers, Broadcast, Found, RemoteSocket};
pub use config::{IoUring, Recovery, ServerBuilder};
pub use data::Data;
pub use emitter::{AckFuture, Emitter};
pub use engine::{EngineMessage, EngineSocket};
pub use engine_handle::{EngineEvent, EngineHandle, EnginePacket, EnginePacketKind};
pub use error::{AckError, ConnectError, EmitError, EventError};
pub use extract::{Ack, Auth, Context, DisconnectReason, EventName, FromEvent, State};
pub use handler::Handler;
pub use handshake::{Handshake, KeepHeaders};
pub use listeners::ListenerId;
pub use metrics::Gauges;
pub use namespace::Namespace;
pub use room::{IntoRooms, Room, RoomFuture};
pub use room_events::RoomEvent;
pub use server::Server;
pub use socket::{Socket, SocketState};
pub use sockeye_cluster::{EmbeddedConfig, Store};
pub use sockeye_core::{Queued, RoomError, Stats};
pub use sockeye_protocol::engine::{CloseReason, Transport};
pub use sockeye_protocol::socketio::{
    Args, ArgsError, Binary, Limits, Parser, RawArg, ToArgs, Value,
};
pub use sockeye_websocket::deflate::DeflateOptions;
pub use websocket::WebSocket;

/// The examples of the project's front page compile.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
