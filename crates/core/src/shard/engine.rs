//! Engine sessions: opening, packets in, polling, upgrade, closing.

use std::sync::Arc;

use bytes::Bytes;
use sockeye_protocol::engine::{
    CloseReason, Deadline, OpenPacket, Packet, PacketAction, Payload, PayloadWriter, PollOutcome,
    PostOutcome, ProbeAction, ProbeOutcome, ServerSession, SessionId, Transport,
    UPGRADE_NOOP_INTERVAL_MS,
};
use sockeye_protocol::socketio::Decoder;

use crate::arena::Key;
use crate::host::{Effect, EngineData, EngineEvent, Host};
use crate::message::{Class, Message};
use crate::outbound::Outbound;
use crate::session::{Kind, Session, Upgrading};
use crate::shard::{Shard, Timer};

/// Packets that one polling body may hold.
const MAX_PACKETS_PER_BODY: usize = 32_768;

/// Why a POST body was not taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PostError {
    /// The session is gone.
    Gone,
    /// The session has moved to WebSocket, or another POST overlaps: answer 400.
    Refused,
}

/// What to do with the WebSocket that probes a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProbeReply {
    /// Send `3probe` on it.
    Pong,
    /// The session lives on it now: give the session its connection, write what waits.
    Switch,
    /// Close it.
    Close,
}

impl<H: Host> Shard<H> {
    /// Opens a session and queues its open packet.
    pub fn open(
        &mut self,
        id: SessionId,
        transport: Transport,
        kind: Kind,
        io: H::Io,
        upgrades: &[&str],
    ) -> Key {
        let key = self.sessions.insert_with(|_| Session {
            id,
            kind,
            engine: ServerSession::new(transport),
            decoder: Decoder::new(self.config.parser),
            sockets: Default::default(),
            transition: None,
            heartbeat: None,
            patience: None,
            upgrading: None,
            writing: None,
            dirty: false,
            paused: false,
            watched: false,
            unsent: false,
            blocked: false,
            out: Outbound::counted_in(&self.backlog),
            io,
        });
        self.stats.sessions_opened += 1;
        self.raw_sessions += usize::from(kind == Kind::Raw);
        self.index_session(key, &id);
        self.arm_heartbeat(key, self.config.ping_interval);
        if kind == Kind::SocketIo {
            let timer = self.arm(self.config.connect_timeout, Timer::Join(key));
            if let Some(session) = self.sessions.get_mut(key) {
                session.patience = Some(timer);
            }
        }
        let open = OpenPacket {
            sid: id.to_string(),
            upgrades: upgrades.iter().map(|name| (*name).to_owned()).collect(),
            ping_interval: self.config.ping_interval,
            ping_timeout: self.config.ping_timeout,
            max_payload: self.config.max_payload as u64,
        };
        let open = Message::text(&format!("0{}", open.to_json()), Class::Control);
        let _ = self.enqueue(key, &Arc::new(open));
        key
    }

    /// Takes in a text frame of the WebSocket that carries the session.
    pub fn websocket_text(&mut self, key: Key, text: &str) {
        match Packet::from_text(text) {
            Ok(packet) => {
                self.engine_packet(key, &packet);
            }
            Err(_) => self.parse_error(key, "not an Engine.IO packet"),
        }
    }

    /// Takes in a binary frame of the WebSocket that carries the session.
    pub fn websocket_binary(&mut self, key: Key, data: &[u8]) {
        self.engine_packet(key, &Packet::Binary(data.into()));
    }

    /// A GET of the session has arrived.
    pub fn poll_opened(&mut self, key: Key) -> PollOutcome {
        let Some(session) = self.sessions.get_mut(key) else {
            return PollOutcome::Closed;
        };
        let outcome = session.engine.poll_opened();
        match outcome {
            PollOutcome::Accepted if !session.out.is_empty() => self.mark_dirty(key),
            PollOutcome::Accepted => self.drained(key),
            PollOutcome::Overlap(reason) => self.close_now(key, reason, "overlapping GET requests"),
            _ => {}
        }
        outcome
    }

    /// The held GET is gone before it was answered.
    pub fn poll_aborted(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if let PacketAction::Close(reason) = session.engine.poll_aborted() {
            self.close_now(key, reason, "poll connection closed");
        }
    }

    /// What waits, as the body of a polling answer of about `max` bytes; a message with its
    /// attachments is never split. The held GET counts as answered.
    pub fn take_payload(&mut self, key: Key, max: usize) -> Option<Vec<u8>> {
        self.take_payload_to_compress(key, max)
            .map(|(payload, _)| payload)
    }

    /// As [`Shard::take_payload`]; and whether a sender of what is in it lets it be compressed.
    pub fn take_payload_to_compress(&mut self, key: Key, max: usize) -> Option<(Vec<u8>, bool)> {
        let session = self.sessions.get_mut(key)?;
        if !session.engine.poll_pending() || session.out.is_empty() {
            return None;
        }
        let (mut payload, waiting) = (PayloadWriter::new(), session.out.len());
        let mut compress = false;
        while let Some(message) = session.out.front().cloned() {
            if !payload.is_empty() && payload.len() + message.cost() * 4 / 3 > max {
                break;
            }
            if message.is_binary() {
                payload.binary(message.payload());
            } else if !message.is_frame_control() {
                payload.text(message.payload());
            }
            for attachment in message.attachments() {
                payload.binary(attachment);
            }
            compress |= message.compress();
            session.out.pop();
        }
        session.engine.poll_answered();
        if session.watched {
            let taken = waiting - session.out.len();
            self.noted(key, EngineEvent::Flushing(taken));
        }
        self.write_progressed(key);
        Some((payload.finish(), compress))
    }

    /// The head of a POST has arrived.
    pub fn post_started(&mut self, key: Key) -> PostOutcome {
        let Some(session) = self.sessions.get_mut(key) else {
            return PostOutcome::Closed;
        };
        let outcome = session.engine.post_started();
        if let PostOutcome::Overlap(reason) = outcome {
            self.close_now(key, reason, "overlapping POST requests");
        }
        outcome
    }

    /// The body of a POST was too large: the session lives on.
    pub fn post_refused(&mut self, key: Key) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.engine.post_refused();
        }
    }

    /// A POST was given up before its body was complete.
    pub fn post_aborted(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if let PacketAction::Close(reason) = session.engine.post_aborted() {
            self.close_now(key, reason, "POST given up by the client");
        }
    }

    /// Takes in the body of a POST. A body that is no payload closes the session but is
    /// answered like any other, as in Node.
    ///
    /// # Errors
    /// When the session is gone or may not be posted to any more.
    pub fn post(&mut self, key: Key, body: &[u8]) -> Result<(), PostError> {
        let session = self.sessions.get_mut(key).ok_or(PostError::Gone)?;
        match session.engine.post_finished() {
            PostOutcome::Accepted => {}
            PostOutcome::Closed => return Err(PostError::Gone),
            PostOutcome::Refused(_) | PostOutcome::Overlap(_) => return Err(PostError::Refused),
        }
        let Ok(payload) = Payload::from_bytes(body, MAX_PACKETS_PER_BODY) else {
            self.parse_error(key, "not an Engine.IO payload");
            return Ok(());
        };
        for packet in payload {
            let Ok(packet) = packet else {
                self.parse_error(key, "not an Engine.IO packet");
                break;
            };
            if !self.engine_packet(key, &packet) {
                break;
            }
        }
        Ok(())
    }

    /// A WebSocket names this session: whether it may probe.
    pub fn probe_opened(&mut self, key: Key) -> bool {
        let Some(session) = self.sessions.get_mut(key) else {
            return false;
        };
        if session.engine.probe_opened() == ProbeOutcome::Refused {
            return false;
        }
        let timeout = self.arm(self.config.upgrade_timeout, Timer::Upgrade(key));
        if let Some(session) = self.sessions.get_mut(key) {
            let noop = None;
            session.upgrading = Some(Box::new(Upgrading { timeout, noop }));
        }
        true
    }

    /// Takes in a text frame of the probing WebSocket.
    pub fn probe_text(&mut self, key: Key, text: &str) -> ProbeReply {
        let Some(session) = self.sessions.get_mut(key) else {
            return ProbeReply::Close;
        };
        let Ok(packet) = Packet::from_text(text) else {
            self.probe_closed(key);
            return ProbeReply::Close;
        };
        let probing = session.engine.is_upgrading();
        match session.engine.probe_packet(&packet) {
            ProbeAction::SendProbePong => {
                self.note(key, EngineEvent::Upgrading);
                self.free_poll(key);
                ProbeReply::Pong
            }
            ProbeAction::Switch(deadline) => {
                self.switched(key, deadline);
                ProbeReply::Switch
            }
            ProbeAction::SwitchAndClose(_) => {
                self.switched(key, Deadline::Ping);
                ProbeReply::Switch
            }
            ProbeAction::CloseProbe => {
                if probing {
                    self.upgrade_failed(key);
                }
                ProbeReply::Close
            }
        }
    }

    /// The probing WebSocket is gone, or has to go; the session stays on polling.
    pub fn probe_closed(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.engine.probe_closed() {
            self.upgrade_failed(key);
        }
    }

    /// The connection that carries the session is gone.
    pub fn transport_closed(&mut self, key: Key, clean: bool) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if let PacketAction::Close(reason) = session.engine.transport_closed(clean) {
            self.close_now(key, reason, "");
        }
    }

    /// Closes a session from our side once what is queued has left, or after `close_timeout`. A
    /// peer that the heartbeat would have found dead by then is not waited for longer.
    pub fn close(&mut self, key: Key, reason: CloseReason, detail: &'static str) {
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        if !session.is_closing() {
            self.close_after(key, reason, detail, self.config.close_timeout);
        }
    }

    /// As [`Shard::close`], when everybody is closed: a polling client that does not come for what
    /// is left is waited for no longer than `polling_close_timeout`, also if its session was being
    /// closed already.
    pub fn shut_down(&mut self, key: Key) {
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        let shutdown = (CloseReason::ServerShuttingDown, "");
        let (reason, detail) = session.closing().unwrap_or(shutdown);
        if session.engine.transport() == Transport::Polling {
            let wait = self.config.polling_close_timeout;
            self.close_after(key, reason, detail, wait.min(self.config.close_timeout));
        } else {
            self.close(key, reason, detail);
        }
    }

    fn close_after(&mut self, key: Key, reason: CloseReason, detail: &'static str, wait: u64) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        session.engine.start_closing();
        session.transition(|rare| rare.closing = Some((reason, detail)));
        let patience = session.patience.take();
        let sockets: Vec<_> = session.sockets.iter().map(|(_, socket)| *socket).collect();
        for socket in sockets {
            self.begin_disconnect(socket, reason, detail);
        }
        if let Some(timer) = patience {
            self.wheel.cancel(timer);
        }
        let heartbeat = self.config.ping_interval + self.config.ping_timeout;
        let timer = self.arm(wait.min(heartbeat), Timer::Close(key));
        if let Some(session) = self.sessions.get_mut(key) {
            session.patience = Some(timer);
        }
        self.mark_dirty(key);
    }

    /// Everything that was queued has left: a session that only waited for that is over.
    ///
    /// Over polling the end is told by a poll of its own: a stock client that found it behind
    /// packets in one answer would close before it has looked at them.
    pub fn drained(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.unsent && session.out.is_empty() {
            session.unsent = false;
            self.noted(key, EngineEvent::Drained);
        }
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        let Some((reason, detail)) = session.closing() else {
            return;
        };
        if session.out.is_empty() && session.engine.is_writable() {
            self.close_now(key, reason, detail);
        }
    }

    /// Ends a session at once.
    pub fn close_now(&mut self, key: Key, reason: CloseReason, detail: &'static str) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        session.engine.close(reason);
        let sockets: Vec<_> = session.sockets.iter().map(|(_, socket)| *socket).collect();
        for socket in sockets {
            self.begin_disconnect(socket, reason, detail);
        }
        self.end_upgrade(key);
        let Some(session) = self.sessions.remove(key) else {
            return;
        };
        let timers = [session.heartbeat, session.patience, session.writing];
        for timer in timers.into_iter().flatten() {
            self.wheel.cancel(timer);
        }
        self.forget_session_id(key, &session.id);
        self.stats.sessions_closed += 1;
        self.raw_sessions -= usize::from(session.kind == Kind::Raw);
        if session.watched {
            self.noted(key, EngineEvent::Closed(reason, detail));
        }
        self.effects.push_back(Effect::Closed {
            session: key,
            io: session.io,
            reason,
            detail,
        });
    }

    /// Ends a pending poll so that a client which upgrades can pause, and again every 100 ms.
    pub(crate) fn free_poll(&mut self, key: Key) {
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        let Some(upgrading) = session.upgrading.as_deref() else {
            return;
        };
        // A client may repeat its probe: one timer is enough.
        let armed = upgrading.noop.is_some();
        if session.engine.noop_due() && session.out.is_empty() {
            let noop = self.noop.clone();
            let _ = self.enqueue(key, &noop);
        }
        if armed {
            return;
        }
        let timer = self.arm(UPGRADE_NOOP_INTERVAL_MS, Timer::Noop(key));
        if let Some(session) = self.sessions.get_mut(key)
            && let Some(upgrading) = &mut session.upgrading
        {
            upgrading.noop = Some(timer);
        }
    }

    pub(crate) fn noop_timer_fired(&mut self, key: Key) {
        if let Some(session) = self.sessions.get_mut(key)
            && let Some(upgrading) = &mut session.upgrading
        {
            upgrading.noop = None;
        }
        self.free_poll(key);
    }

    pub(crate) fn upgrade_timed_out(&mut self, key: Key) {
        self.probe_closed(key);
        self.effects.push_back(Effect::EndProbe { session: key });
    }

    fn upgrade_failed(&mut self, key: Key) {
        self.stats.upgrades_failed += 1;
        self.end_upgrade(key);
    }

    /// Cancels what waits for the end of an upgrade.
    fn end_upgrade(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(upgrading) = session.upgrading.take() else {
            return;
        };
        self.wheel.cancel(upgrading.timeout);
        if let Some(timer) = upgrading.noop {
            self.wheel.cancel(timer);
        }
    }

    /// Tells of everything that happens on a session from now on: see [`Effect::Engine`]. False
    /// when it is over.
    pub fn watch(&mut self, key: Key) -> bool {
        let Some(session) = self.sessions.get_mut(key) else {
            return false;
        };
        session.watched = true;
        session.unsent = !session.out.is_empty();
        true
    }

    /// Tells of a session no more.
    pub fn unwatch(&mut self, key: Key) {
        if let Some(session) = self.sessions.get_mut(key) {
            (session.watched, session.unsent) = (false, false);
        }
    }

    /// Tells of an event of a session, if it is watched.
    fn note(&mut self, key: Key, event: EngineEvent) {
        if self
            .sessions
            .get(key)
            .is_some_and(|session| session.watched)
        {
            self.noted(key, event);
        }
    }

    /// Tells of an event of a session that is watched.
    pub(crate) fn noted(&mut self, session: Key, event: EngineEvent) {
        self.effects.push_back(Effect::Engine { session, event });
    }

    /// Takes in one engine packet; false when the session is over.
    fn engine_packet(&mut self, key: Key, packet: &Packet<'_>) -> bool {
        let Some(session) = self.sessions.get_mut(key) else {
            return false;
        };
        self.stats.packets_in += 1;
        if session.watched {
            let (kind, data) = seen(packet);
            let event = EngineEvent::Packet(kind, data);
            self.effects.push_back(Effect::Engine {
                session: key,
                event,
            });
        }
        match session.engine.packet(packet) {
            PacketAction::Deliver => match (session.kind, packet) {
                (Kind::SocketIo, Packet::Message(text)) => self.socketio_text(key, text),
                (Kind::SocketIo, Packet::Binary(data)) => self.socketio_binary(key, data),
                (Kind::Raw, Packet::Message(text)) => {
                    let data = EngineData::Text((*text).into());
                    self.effects
                        .push_back(Effect::Message { session: key, data });
                }
                (Kind::Raw, Packet::Binary(data)) => {
                    let data = EngineData::Binary(Bytes::copy_from_slice(data));
                    self.effects
                        .push_back(Effect::Message { session: key, data });
                }
                _ => {}
            },
            PacketAction::PongAccepted => {
                self.note(key, EngineEvent::Heartbeat);
                self.rearm_after_pong(key);
            }
            PacketAction::Close(reason) => {
                if reason == CloseReason::ParseError {
                    self.stats.parse_errors += 1;
                }
                self.close_now(key, reason, "closed by a packet of the client");
            }
            PacketAction::Ignore => {}
        }
        self.sessions.get(key).is_some()
    }

    fn switched(&mut self, key: Key, deadline: Deadline) {
        self.stats.upgrades += 1;
        self.note(key, EngineEvent::Upgraded);
        self.write_progressed(key);
        self.end_upgrade(key);
        match deadline {
            Deadline::Ping => self.arm_heartbeat(key, self.config.ping_interval),
            Deadline::Pong => self.arm_heartbeat(key, self.config.ping_timeout),
        }
        self.mark_dirty(key);
    }
}

/// A packet that came, as it is told of.
fn seen(packet: &Packet<'_>) -> (u8, EngineData) {
    let text = |kind: u8, data: &str| (kind, EngineData::Text(data.into()));
    match packet {
        Packet::Open(data) => text(b'0', data),
        Packet::Close => text(b'1', ""),
        Packet::Ping(data) => text(b'2', data),
        Packet::Pong(data) => text(b'3', data),
        Packet::Message(data) => text(b'4', data),
        Packet::Binary(data) => (b'4', EngineData::Binary(Bytes::copy_from_slice(data))),
        Packet::Upgrade => text(b'5', ""),
        Packet::Noop => text(b'6', ""),
    }
}
