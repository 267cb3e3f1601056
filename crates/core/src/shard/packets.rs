//! Socket.IO packets on their way in.

use sockeye_protocol::DecodeError;
use sockeye_protocol::engine::CloseReason;
use sockeye_protocol::socketio::{Packet, PacketType, Parser, encode_connect_error};

use crate::arena::Key;
use crate::host::{AckWaiter, Effect, Host};
use crate::inbound::Admission;
use crate::message::{Class, Message, MessageBuilder};
use crate::shard::Shard;

/// Bytes that most packets of the protocol itself fit in.
const SMALL: usize = 118;

impl<H: Host> Shard<H> {
    /// Encodes a packet of the protocol itself with the parser in use.
    pub fn encode(&self, write: impl FnOnce(Parser, &mut Vec<u8>)) -> Message {
        let parser = self.config.parser;
        let mut builder = match parser {
            Parser::Json => MessageBuilder::text(SMALL),
            Parser::Msgpack => MessageBuilder::binary(SMALL),
        };
        if parser == Parser::Json {
            builder.buffer().push(b'4');
        }
        write(parser, builder.buffer());
        builder.build(Class::Normal, false, &[])
    }

    /// The handler of `socket` has finished: the next event to handle, if one waits.
    pub fn next_event(&mut self, socket: Key) -> Option<Box<Packet>> {
        let state = self.sockets.get_mut(socket)?;
        if state.leaving {
            return None;
        }
        let next = state.inbound.take_next();
        let session = state.session;
        if next.is_some() {
            self.stats.events += 1;
        }
        self.resume_if_relaxed(session);
        next
    }

    /// Takes in the text of an engine message on a Socket.IO session.
    pub(crate) fn socketio_text(&mut self, key: Key, text: &str) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        match session.decoder.decode_text(&self.config.packets, text) {
            Ok(Some(packet)) => self.packet(key, packet),
            Ok(None) => {}
            Err(error) => self.parse_error(key, what_was_wrong(&error)),
        }
    }

    /// Takes in a binary engine message on a Socket.IO session.
    pub(crate) fn socketio_binary(&mut self, key: Key, data: &[u8]) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        match session.decoder.decode_binary(&self.config.packets, data) {
            Ok(Some(packet)) => self.packet(key, packet),
            Ok(None) => {}
            Err(error) => self.parse_error(key, what_was_wrong(&error)),
        }
    }

    pub(crate) fn parse_error(&mut self, key: Key, why: &'static str) {
        self.stats.parse_errors += 1;
        self.close_now(key, CloseReason::ParseError, why);
    }

    fn packet(&mut self, key: Key, packet: Packet) {
        if packet.kind == PacketType::Connect {
            return self.connect(key, packet);
        }
        let session = self.sessions.get(key);
        let member = match session.and_then(|session| session.sockets.first()) {
            // Most clients are in one namespace: no need to look for its number by name.
            Some((number, _)) if self.is_space(*number, &packet.nsp) => Some(*number),
            _ => self.space_number(&packet.nsp),
        };
        let socket = member.and_then(|number| session?.socket_in(number));
        let Some(socket) = socket else {
            // A packet may cross with our own DISCONNECT of the same namespace; anything else
            // that names a namespace which was not joined ends the connection, as in Node.
            if member.is_some_and(|number| session.is_some_and(|s| s.has_left(number))) {
                return;
            }
            return self.close_now(
                key,
                CloseReason::ForcedClose,
                "packet for a namespace not joined",
            );
        };
        match packet.kind {
            PacketType::Event | PacketType::BinaryEvent => self.event(key, socket, packet),
            PacketType::Ack | PacketType::BinaryAck => {
                let state = self.sockets.get_mut(socket);
                let pending = packet.id.and_then(|id| state?.acks.remove(id));
                if let Some((timer, waiter)) = pending {
                    self.wheel.cancel(timer);
                    waiter.resolve(Ok(packet.args));
                }
            }
            PacketType::Disconnect => {
                self.begin_disconnect(socket, CloseReason::ClientNamespaceDisconnect, "");
            }
            PacketType::Connect | PacketType::ConnectError => {
                self.close_now(key, CloseReason::ForcedClose, "unexpected packet type");
            }
        }
    }

    fn connect(&mut self, key: Key, packet: Packet) {
        let number = self.space_number(&packet.nsp);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let name: &str = &packet.nsp;
        let joined = number.is_some_and(|number| session.socket_in(number).is_some());
        if joined || session.pending().iter().any(|pending| **pending == *name) {
            return self.close_now(key, CloseReason::ForcedClose, "namespace joined twice");
        }
        if session.sockets.len() + session.pending().len() >= self.config.max_namespaces {
            self.stats.limit_refusals += 1;
            let refusal = self.encode(|parser, out| {
                let message = "too many namespaces on one connection";
                let packet = encode_connect_error(parser, name, message, None);
                out.extend_from_slice(&packet.first);
            });
            return self.tell(key, refusal);
        }
        let namespace: Box<str> = name.into();
        session.transition(|rare| rare.pending.push(namespace.clone()));
        self.effects.push_back(Effect::Connect {
            session: key,
            namespace,
            auth: (!packet.args.is_empty()).then(|| Box::new(packet.args)),
        });
    }

    fn event(&mut self, session: Key, key: Key, packet: Packet) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let bytes = packet.args.byte_len() + packet.event.len();
        match socket.inbound.admit(Box::new(packet), bytes) {
            Admission::Run(packet) => {
                self.stats.events += 1;
                let host = socket.host.clone();
                self.effects.push_back(Effect::Event {
                    socket: key,
                    host,
                    packet,
                });
            }
            Admission::Waiting => {
                let (events, bytes) = (
                    self.config.max_waiting_events,
                    self.config.max_waiting_bytes,
                );
                if !socket.inbound.is_over(events, bytes) {
                    return;
                }
                if let Some(state) = self.sessions.get_mut(session)
                    && !std::mem::replace(&mut state.paused, true)
                {
                    self.stats.pauses += 1;
                }
            }
        }
    }

    /// Lets a paused connection be read again when every socket on it has caught up.
    pub(crate) fn resume_if_relaxed(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if !session.paused || session.kind == crate::session::Kind::Raw {
            return;
        }
        let (events, bytes) = (
            self.config.max_waiting_events,
            self.config.max_waiting_bytes,
        );
        let relaxed = session.sockets.iter().all(|(_, socket)| {
            let socket = self.sockets.get(*socket);
            socket.is_none_or(|socket| socket.inbound.is_relaxed(events, bytes))
        });
        if relaxed {
            self.resume(key);
        }
    }

    /// Lets a paused connection be read again. Its heartbeat starts anew: the peer could not
    /// have been heard in the meantime.
    pub fn resume(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if !std::mem::replace(&mut session.paused, false) {
            return;
        }
        if session.awaits_pong() {
            self.arm_heartbeat(key, self.config.ping_timeout);
        }
        self.effects.push_back(Effect::Resume { session: key });
    }

    /// Stops reading a connection: the application has fallen behind.
    pub fn pause(&mut self, key: Key) {
        if let Some(session) = self.sessions.get_mut(key)
            && !std::mem::replace(&mut session.paused, true)
        {
            self.stats.pauses += 1;
        }
    }
}

/// What to say in the log about a packet that could not be read.
fn what_was_wrong(error: &DecodeError) -> &'static str {
    if error.is_limit() {
        "a packet exceeds a limit"
    } else if error.is_syntax() {
        "a packet with a malformed payload"
    } else {
        "a packet that breaks the Socket.IO protocol"
    }
}
