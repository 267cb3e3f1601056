//! What was heard, and what is done about it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use sockeye_cluster::{Answer, Body, Envelope, NodeId, Operation, Refused, Request, Responder};
use tokio::sync::mpsc;

use super::format::{Asker, Format, Route};
use super::listening::Heard;
use super::{RequestKey, Shared};
use crate::emitter::now_ms;
use crate::wire::{Frame, Unreadable};

/// Handles what the reader has read, in order.
pub(super) async fn handle(shared: Arc<Shared>, mut heard: mpsc::Receiver<Heard>) {
    while let Some(one) = heard.recv().await {
        if shared.is_over() {
            return;
        }
        // A listener that panics loses this message, not all that come after it.
        if catch_unwind(AssertUnwindSafe(|| shared.handle(one))).is_err() {
            shared.overrun.fetch_add(1, Ordering::Relaxed);
            tracing::error!(node = %shared.config.node, "a listener of the bus panicked");
        }
    }
}

impl Shared {
    fn handle(self: &Arc<Self>, heard: Heard) {
        let Heard {
            route,
            channel,
            payload,
        } = heard;
        match (&self.format, route) {
            (_, Route::Probe) => self.probe_heard(&payload),
            (Format::Native(..), Route::Native) => self.native(&channel, &payload),
            (Format::Classic(classic, own), Route::Broadcasts(nsp)) => {
                let Some(room) = classic.room_of(&nsp, &channel) else {
                    return;
                };
                let is_here = |room| self.listener().is_some_and(|l| l.hosts(&nsp, room));
                if room.is_empty() || is_here(room) {
                    let frame = classic.read_broadcast(&nsp, &payload);
                    self.frame(own, &nsp, &channel, frame);
                }
            }
            (Format::Classic(classic, own), Route::Requests(nsp)) => {
                self.frame(own, &nsp, &channel, classic.read_request(&payload));
            }
            (Format::Classic(classic, own), Route::Responses(nsp)) => {
                self.frame(own, &nsp, &channel, classic.read_response(&payload));
            }
            (Format::Streams(streams, own), Route::Ephemeral(nsp)) => {
                self.frame(own, &nsp, &channel, streams.read(&nsp, &payload));
            }
            (Format::Streams(streams, own), Route::Entry(id, fields)) => {
                let fields = fields.iter().map(|(name, value)| (&**name, &**value));
                match streams.read_entry(&id, fields) {
                    Ok((nsp, frame)) => self.frame(own, &nsp, &channel, Ok(frame)),
                    Err(unreadable) => self.frame(own, "", &channel, Err(unreadable)),
                }
            }
            (Format::Sharded(sharded, own), Route::Sharded(nsp)) => {
                self.frame(own, &nsp, &channel, sharded.read(&nsp, &payload));
            }
            _ => {}
        }
    }

    fn native(self: &Arc<Self>, channel: &str, payload: &Bytes) {
        let opened = self.opener.lock().open(now_ms(), payload);
        match opened {
            Ok(envelope) => self.envelope(envelope),
            // One of several rooms that this node has members of, or what comes back.
            Err(Refused::Own | Refused::Replayed) => {}
            Err(refused) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                self.complain(channel, &refused);
            }
        }
    }

    fn envelope(self: &Arc<Self>, envelope: Envelope) {
        let Envelope {
            node,
            incarnation,
            namespace,
            body,
            ..
        } = envelope;
        match body {
            Body::Operation(operation) => self.deliver(&namespace, &node, operation),
            Body::Request { id, request } => {
                let asker = Asker::Native {
                    node: node.clone(),
                    id,
                };
                self.ask(&namespace, &node, asker, request);
            }
            Body::Answer { id, to, answer } if to == self.config.node => {
                let key = RequestKey::Number(id);
                self.requests.lock().answer(&key, Some(&node), answer);
            }
            Body::Hello | Body::Heartbeat if node == self.config.node => {
                self.has_double.store(true, Ordering::Release);
                tracing::error!(%node, "another node of the cluster has the same name");
                self.verified.notify_waiters();
                // The newcomer is told, so that it does not start.
                if body == Body::Hello {
                    self.tell(&node, &Body::Heartbeat);
                }
            }
            Body::Hello | Body::Heartbeat => {
                let event = self.members.lock().heard(&node, incarnation, self.clock());
                if let Some(event) = event {
                    self.node_event(event);
                }
                if body == Body::Hello {
                    self.tell(&node, &Body::Heartbeat);
                }
            }
            Body::Goodbye => {
                let event = self.members.lock().left(&node, incarnation);
                if let Some(event) = event {
                    self.requests.lock().gone(&node);
                    self.node_event(event);
                }
            }
            _ => {}
        }
    }

    /// What a node of Node.js, or one that speaks like it, has sent.
    fn frame(
        self: &Arc<Self>,
        own: &NodeId,
        nsp: &str,
        channel: &str,
        frame: Result<Frame, Unreadable>,
    ) {
        match frame {
            // Also joins, leaves and disconnects: they were applied when they were published.
            Ok(Frame::Operation {
                from: Some(from), ..
            }) if from == *own => {}
            Ok(Frame::Operation { from, operation }) => {
                let from = from.unwrap_or_else(|| NodeId::from(crate::wire::EMITTER));
                self.deliver(nsp, &from, operation);
            }
            Ok(Frame::Request { reply_to, .. }) if reply_to.node == *own => {}
            Ok(Frame::Request { reply_to, request }) => {
                let from = reply_to.node.clone();
                self.ask(nsp, &from, Asker::Node(reply_to), request);
            }
            Ok(Frame::Answer { from, id, answer }) => {
                let key = RequestKey::Text(id);
                let mut requests = self.requests.lock();
                let answer = match (requests.get(&key), answer) {
                    // Node.js has no question for a number.
                    (Some(Request::Count(_)), Answer::Sockets(sockets)) => {
                        Answer::Count(sockets.len() as u64)
                    }
                    (_, answer) => answer,
                };
                requests.answer(&key, from.as_ref(), answer);
            }
            Ok(_) => {}
            Err(unreadable) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                self.complain(channel, &unreadable);
            }
        }
    }

    fn deliver(&self, nsp: &str, from: &NodeId, operation: Operation) {
        if !self.interest.lock().contains_key(nsp) {
            return;
        }
        self.received.fetch_add(1, Ordering::Relaxed);
        if let Some(listener) = self.listener() {
            listener.on_operation(nsp, from, operation);
        }
    }

    fn ask(self: &Arc<Self>, nsp: &str, from: &NodeId, asker: Asker, request: Request) {
        let is_open = self.interest.lock().contains_key(nsp);
        let shared = Arc::downgrade(self);
        let nsp_of_answer: Arc<str> = nsp.into();
        let mut responder = Responder::new(move |answer| {
            let Some(shared) = shared.upgrade() else {
                return;
            };
            let limit = shared.config.max_queued_bytes;
            let make = || shared.format.answer(&asker, &nsp_of_answer, answer);
            if shared
                .outbox
                .publish(limit, None, make)
                .is_err_and(|error| error.is_full())
            {
                shared.dropped.fetch_add(1, Ordering::Relaxed);
            }
        });
        match self.listener().filter(|_| is_open) {
            Some(listener) => {
                self.received.fetch_add(1, Ordering::Relaxed);
                listener.on_request(nsp, from, request, responder);
            }
            None => responder.answer(Answer::Absent),
        }
    }

    /// Once for each reason in a while: whoever sends one message that cannot be read sends many.
    fn complain(&self, channel: &str, reason: &dyn std::fmt::Display) {
        let refused = self.refused.load(Ordering::Relaxed);
        if refused.is_power_of_two() {
            tracing::warn!(channel, %reason, refused, "ignored a message that is not of this cluster");
        }
    }
}
