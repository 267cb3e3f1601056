//! Raw Engine.IO: messages over polling or WebSocket, with nothing on top.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::HeaderMap;
use sockeye_core::{Class, EngineData, Message, Queued};
use sockeye_protocol::engine::{CloseReason, Transport};
use tokio::sync::mpsc;

use crate::engine_handle::EngineHandle;
use crate::error::EmitError;
use crate::handshake::Handshake;
use crate::net::Connection;
use crate::worker::Worker;

/// A message of a raw engine connection.
#[derive(Clone, Debug)]
pub struct EngineMessage {
    pub(crate) data: EngineData,
    pub(crate) request: Option<Arc<HeaderMap>>,
}

impl EngineMessage {
    /// What one waiting message counts for, so that many empty ones count too.
    const OVERHEAD: usize = 1 << 12;

    /// What may wait before the connection stops being read.
    pub(crate) fn bound(config: &sockeye_core::Config) -> usize {
        config.max_waiting_bytes + config.max_waiting_events * Self::OVERHEAD
    }

    pub(crate) fn weight(&self) -> usize {
        Self::OVERHEAD + self.as_bytes().len()
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.data {
            EngineData::Text(text) => Some(text),
            EngineData::Binary(_) => None,
        }
    }

    /// The content.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.data {
            EngineData::Text(text) => text.as_bytes(),
            EngineData::Binary(data) => data,
        }
    }

    /// The content, if it is binary.
    pub fn binary(&self) -> Option<Bytes> {
        match &self.data {
            EngineData::Text(_) => None,
            EngineData::Binary(data) => Some(data.clone()),
        }
    }

    /// The headers of the POST that carried it, if one did.
    pub fn request_headers(&self) -> Option<&HeaderMap> {
        self.request.as_deref()
    }
}

/// A raw engine connection, in the hands of the application.
///
/// Messages wait here in order until they are received; beyond the bounds of the server's
/// inbound queue the connection stops being read.
pub struct EngineSocket {
    connection: Arc<Connection>,
    receiver: mpsc::UnboundedReceiver<EngineMessage>,
    waiting: Arc<AtomicUsize>,
    relaxed: usize,
    /// Bytes that may be on their way to its worker.
    limit: usize,
}

impl Debug for EngineSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EngineSocket({:?})", self.connection.id)
    }
}

impl EngineSocket {
    pub(crate) fn new(
        connection: Arc<Connection>,
        receiver: mpsc::UnboundedReceiver<EngineMessage>,
        waiting: Arc<AtomicUsize>,
        relaxed: usize,
        limit: usize,
    ) -> Self {
        EngineSocket {
            connection,
            receiver,
            waiting,
            relaxed,
            limit,
        }
    }

    /// The next message; `None` when the connection is over.
    pub async fn recv(&mut self) -> Option<EngineMessage> {
        let message = self.receiver.recv().await?;
        let before = self.waiting.fetch_sub(message.weight(), Ordering::AcqRel);
        let after = before - message.weight();
        if before >= self.relaxed && after < self.relaxed {
            let connection = self.connection.clone();
            self.connection
                .worker
                .submit(move |shard| shard.resume(connection.key()));
        }
        Some(message)
    }

    /// Sends a text.
    ///
    /// # Errors
    /// When the connection is gone or its queue is full; a full queue ends it.
    pub fn send_text(&self, text: &str) -> Result<(), EmitError> {
        self.send(Message::text(&format!("4{text}"), Class::Normal))
    }

    /// Sends binary data.
    ///
    /// # Errors
    /// As [`EngineSocket::send_text`].
    pub fn send_binary(&self, data: &[u8]) -> Result<(), EmitError> {
        self.send(Message::binary(data, Class::Normal))
    }

    /// The handle of the connection, to watch it and to close it from elsewhere.
    pub fn handle(&self) -> EngineHandle {
        EngineHandle::new(self.connection.clone())
    }

    /// The first request.
    pub fn handshake(&self) -> &Handshake {
        &self.connection.handshake
    }

    /// The transport at this moment.
    pub fn transport(&self) -> Transport {
        self.connection.transport()
    }

    /// Closes the connection once what was sent has left.
    pub fn close(self) {}

    fn send(&self, message: Message) -> Result<(), EmitError> {
        let message = Arc::new(message);
        let (connection, worker) = (self.connection.clone(), &self.connection.worker);
        if worker.is_here() {
            let queued = worker.call(|shard| shard.enqueue(connection.key(), &message));
            let queued = match queued {
                Queued::Refused => worker.retry(connection.key(), &message),
                queued => queued,
            };
            return EmitError::check(queued).map(|_| ());
        }
        let Some(transit) = connection.depart(message.cost(), self.limit) else {
            connection.overflow();
            return Err(EmitError::Refused);
        };
        worker.submit(move |shard| {
            transit.arrive(shard);
            let key = connection.key();
            if shard.enqueue(key, &message) == Queued::Refused {
                Worker::retry_within(shard, key, &message);
            }
        });
        Ok(())
    }
}

impl Drop for EngineSocket {
    fn drop(&mut self) {
        let connection = self.connection.clone();
        self.connection.worker.submit(move |shard| {
            shard.close(
                connection.key(),
                CloseReason::ForcedClose,
                "the application let go of it",
            );
        });
    }
}
