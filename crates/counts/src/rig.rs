use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use sockeye_core::{
    AckFailure, AckWaiter, Config, Effect, Host, Key, Kind, Message, MessageBuilder, Shard,
};
use sockeye_core::{Class, Delivery, Target};
use sockeye_protocol::engine::{SessionId, SocketId, Transport};
use sockeye_protocol::socketio::{Args, Packet, Parser, ToArgs, encode_ack_into, encode_connect};

/// What is attached to the shard: as many pointers as the library attaches.
#[derive(Debug)]
pub struct Fake;

impl Host for Fake {
    type Io = [usize; 2];
    type Socket = Arc<()>;
    type Waiter = Ignored;
}

/// Awaits an acknowledgement and does nothing with it.
#[derive(Debug)]
pub struct Ignored;

impl AckWaiter for Ignored {
    fn resolve(self, answer: Result<Args, AckFailure>) {
        std::hint::black_box(answer).ok();
    }
}

/// A shard, its clients, and a clock that stands still until [`Rig::pass`]. Ids come from a seed:
/// two rigs that are told the same do the same.
pub struct Rig {
    /// The shard.
    pub shard: Shard<Fake>,
    /// The sockets of [`Rig::with_clients`], all in the namespace `/`.
    pub sockets: Vec<Key>,
    /// Their sessions, in the same order.
    pub sessions: Vec<Key>,
    now: u64,
    ids: StdRng,
    namespace: Arc<str>,
    dirty: Vec<Key>,
}

impl std::fmt::Debug for Rig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rig({} clients)", self.sockets.len())
    }
}

impl Rig {
    /// A shard without clients.
    pub fn new() -> Self {
        Rig {
            shard: Shard::new(Arc::new(Config::default()), 0),
            sockets: Vec::new(),
            sessions: Vec::new(),
            now: 0,
            ids: StdRng::seed_from_u64(1),
            namespace: "/".into(),
            dirty: Vec::new(),
        }
    }

    /// A shard with `count` WebSocket clients in the main namespace, each in the room `room`, with
    /// nothing left to write or to do.
    pub fn with_clients(count: usize) -> Self {
        let mut rig = Rig::new();
        rig.reserve(count);
        for _ in 0..count {
            rig.connect();
        }
        rig
    }

    /// Room for the keys of `count` clients: what the shard asks for is all that is counted then.
    pub fn reserve(&mut self, count: usize) {
        self.sessions.reserve_exact(count);
        self.sockets.reserve_exact(count);
        self.dirty.reserve_exact(count.max(1_024));
    }

    /// A client comes: it opens its session, joins the namespace, is let into `room`, and reads
    /// what it was told.
    pub fn connect(&mut self) {
        let id = SessionId::from_rng([0; 3], 0, &mut self.ids);
        let (transport, kind) = (Transport::WebSocket, Kind::SocketIo);
        let session = self.shard.open(id, transport, kind, [0; 2], &["websocket"]);
        self.shard.websocket_text(session, "40");
        let asked = self.shard.next_effect();
        assert!(matches!(asked, Some(Effect::Connect { .. })));
        let id = SocketId::from_rng(&mut self.ids);
        let greeting = self.shard.encode(|parser, out| {
            out.extend_from_slice(&encode_connect(parser, "/", id.as_str(), None).first);
        });
        let host = Arc::new(());
        let greeting = [Arc::new(greeting)];
        let accept = |_| host;
        let socket = self
            .shard
            .accept(session, &self.namespace, id, &greeting, accept);
        let socket = socket.expect("it has asked");
        self.shard.join(socket, "room").expect("its first room");
        assert!(self.shard.next_event(socket).is_none(), "it has just come");
        self.sessions.push(session);
        self.sockets.push(socket);
        self.write();
    }

    /// All clients go.
    pub fn disconnect_all(&mut self) {
        for session in std::mem::take(&mut self.sessions) {
            self.shard.transport_closed(session, true);
            while let Some(effect) = self.shard.next_effect() {
                if let Effect::Disconnecting { socket, .. } = effect {
                    self.shard.finish_disconnect(socket);
                }
            }
        }
        self.sockets = Vec::new();
        self.dirty = Vec::new();
        self.write();
        self.pass(60_000);
    }

    /// A text frame of a client has been read: its event is handled by acknowledging it with its
    /// own arguments. Nothing is written yet.
    pub fn echo(&mut self, session: Key, text: &str) {
        self.shard.websocket_text(session, text);
        while let Some(effect) = self.shard.next_effect() {
            let Effect::Event { socket, packet, .. } = effect else {
                continue;
            };
            let mut next = Some(packet);
            while let Some(packet) = next {
                let answer = Arc::new(ack(&packet));
                assert!(self.shard.send(socket, &answer).is_queued());
                next = self.shard.next_event(socket);
            }
        }
    }

    /// Queues `message` for all members of `room`.
    pub fn broadcast(&mut self, message: &Arc<Message>) -> Delivery {
        let rooms = [Arc::from("room")];
        let target = Target {
            rooms: &rooms,
            except: &[],
        };
        self.shard.broadcast("/", target, message)
    }

    /// Takes everything that waits out of the queues, as if it were written; bytes in all.
    pub fn write(&mut self) -> usize {
        let mut dirty = std::mem::take(&mut self.dirty);
        self.shard.take_dirty(&mut dirty);
        let mut bytes = 0;
        for key in dirty.drain(..) {
            let Some(session) = self.shard.begin_write(key) else {
                continue;
            };
            while let Some(message) = session.out.pop() {
                bytes += message.frames().map(<[u8]>::len).sum::<usize>();
            }
        }
        self.dirty = dirty;
        bytes
    }

    /// Time passes, in milliseconds, in one step.
    pub fn pass(&mut self, ms: u64) {
        self.now += ms;
        self.shard.tick(self.now);
        self.shard.judge();
    }
}

impl Default for Rig {
    fn default() -> Self {
        Rig::new()
    }
}

/// An event for clients, as the library encodes it.
pub fn event(name: &str, args: impl ToArgs) -> Message {
    let args = args.to_args(Parser::Json).expect("it has a JSON form");
    let mut builder = MessageBuilder::text(args.byte_len() + name.len() + 32);
    builder.buffer().push(b'4');
    sockeye_protocol::socketio::encode_event_into(
        builder.buffer(),
        Parser::Json,
        "/",
        None,
        name,
        &args,
    );
    builder.build(Class::Normal, false, &[])
}

/// The acknowledgement of an event, with the arguments it had.
fn ack(packet: &Packet) -> Message {
    let id = packet.id.expect("an acknowledgement is asked for");
    let mut builder = MessageBuilder::text(packet.args.byte_len() + 32);
    builder.buffer().push(b'4');
    encode_ack_into(
        builder.buffer(),
        Parser::Json,
        &packet.nsp,
        id,
        &packet.args,
    );
    builder.build(Class::Normal, false, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_rig_does_is_what_a_server_does() {
        let mut rig = Rig::with_clients(3);
        assert_eq!(rig.shard.socket_count(), 3);
        let session = rig.sessions[0];
        rig.echo(session, crate::wire::SMALL_EVENT);
        let out = &rig.shard.session(session).expect("it is open").out;
        let answer: Vec<_> = out.iter().map(|message| message.payload()).collect();
        let expected = br#"4317[{"room":"lobby","text":"hello, everybody"}]"#;
        assert_eq!(answer, [expected]);
        assert_eq!(rig.write(), 2 + expected.len());

        let news = Arc::new(event("news", ("hello",)));
        assert_eq!(rig.broadcast(&news).queued, 3);
        assert_eq!(rig.write(), 3 * (2 + r#"42["news","hello"]"#.len()));

        rig.disconnect_all();
        assert_eq!((rig.shard.session_count(), rig.shard.timer_count()), (0, 0));
    }
}
