//! The plain WebSocket relay: a message goes to the others of the same room, as it came.
//!
//! It is a room apart from those of Socket.IO, for clients that want no protocol above RFC 6455.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use sockeye::websocket::{Message, WebSocketOptions};
use sockeye::{Server, WebSocket};
use tokio::sync::{mpsc, watch};

use super::RELAY_PATH;
use super::names::RoomName;
use super::origin::AllowedOrigins;
use crate::config::Config;

/// What a message counts beside its content, so that many empty ones count too.
const OVERHEAD: usize = 64;

/// Close codes of RFC 6455 section 7.4.1 and of the IANA registry.
const GOING_AWAY: u16 = 1001;
const POLICY_VIOLATION: u16 = 1008;
const TRY_AGAIN_LATER: u16 = 1013;

/// All rooms that have a client. A room is forgotten with its last one.
pub(crate) struct Relay {
    rooms: Mutex<HashMap<String, Weak<Room>>>,
    origins: Arc<AllowedOrigins>,
    /// Most bytes that wait for one client.
    limit: usize,
    next: AtomicU64,
    closing: watch::Sender<bool>,
}

#[derive(Default)]
struct Room {
    peers: Mutex<HashMap<u64, Peer>>,
}

/// The way to a client: what it has not been sent yet, in order and in bytes.
struct Peer {
    queue: mpsc::UnboundedSender<Arc<Message>>,
    waiting: Arc<AtomicUsize>,
}

/// A client's place in its room, given up when it is dropped.
struct Seat {
    relay: Arc<Relay>,
    name: String,
    room: Arc<Room>,
    id: u64,
    queue: mpsc::UnboundedReceiver<Arc<Message>>,
    waiting: Arc<AtomicUsize>,
}

impl Relay {
    /// A relay without clients.
    pub(crate) fn new(limit: usize, origins: Arc<AllowedOrigins>) -> Self {
        Self {
            rooms: Mutex::default(),
            origins,
            limit,
            next: AtomicU64::new(0),
            closing: watch::Sender::new(false),
        }
    }

    /// Tells every client to go, now and from now on.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    fn enter(self: &Arc<Self>, name: &RoomName) -> Seat {
        let name = name.as_str().to_owned();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, queue) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let peer = Peer {
            queue: sender,
            waiting: waiting.clone(),
        };
        let mut rooms = lock(&self.rooms);
        let room = rooms.get(&name).and_then(Weak::upgrade).unwrap_or_else(|| {
            let room = Arc::new(Room::default());
            rooms.insert(name.clone(), Arc::downgrade(&room));
            room
        });
        lock(&room.peers).insert(id, peer);
        drop(rooms);
        Seat {
            relay: self.clone(),
            name,
            room,
            id,
            queue,
            waiting,
        }
    }
}

impl Seat {
    /// Hands a message to all others. Whoever has too much waiting is taken out of the room: its
    /// task notices that nobody speaks to it any more.
    fn say(&self, message: Message) {
        let size = weight(&message);
        let message = Arc::new(message);
        lock(&self.room.peers).retain(|id, peer| {
            if *id == self.id {
                return true;
            }
            if peer.waiting.fetch_add(size, Ordering::Relaxed) + size > self.relay.limit {
                return false;
            }
            peer.queue.send(message.clone()).is_ok()
        });
    }

    /// The next message of the others; `None` once it has been taken out of the room.
    async fn hear(&mut self) -> Option<Message> {
        let message = self.queue.recv().await?;
        self.waiting.fetch_sub(weight(&message), Ordering::Relaxed);
        Some(Arc::unwrap_or_clone(message))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut rooms = lock(&self.relay.rooms);
        let mut peers = lock(&self.room.peers);
        peers.remove(&self.id);
        let is_mine = |room: &Weak<Room>| room.as_ptr() == Arc::as_ptr(&self.room);
        if peers.is_empty() && rooms.get(&self.name).is_some_and(is_mine) {
            rooms.remove(&self.name);
        }
    }
}

/// Serves the relay at [`RELAY_PATH`].
pub(crate) fn register(relay: &Arc<Relay>, server: &Server, config: &Config) {
    let options = WebSocketOptions {
        max_message_size: config.max_http_buffer_size,
        deflate: super::deflate(config),
        write_timeout: config.write_timeout,
        ..WebSocketOptions::default()
    };
    let relay = relay.clone();
    server.websocket(RELAY_PATH, options, move |socket| {
        serve(relay.clone(), socket)
    });
}

async fn serve(relay: Arc<Relay>, mut socket: WebSocket) {
    let (code, reason) = match admit(&relay, &socket) {
        Ok(room) => talk(&relay, &mut socket, &room).await,
        Err(reason) => (POLICY_VIOLATION, reason),
    };
    // The peer may be gone: then there is nobody to tell.
    if socket.close(code, reason).await.is_ok() {
        while socket.recv().await.is_some() {}
    }
}

/// The room that the request asks for.
fn admit(relay: &Relay, socket: &WebSocket) -> Result<RoomName, &'static str> {
    let request = socket.handshake();
    if !relay.origins.allow(&request.headers) {
        return Err("origin not allowed");
    }
    let room = request.query_value("room").ok_or("name a room: ?room=")?;
    // What was no UTF-8 has been replaced; two such names would be taken for the same.
    if room.contains(char::REPLACEMENT_CHARACTER) {
        return Err("the room's name is no UTF-8");
    }
    RoomName::parse(&room).map_err(|_| "a room's name has 1 to 128 bytes, no control characters")
}

/// Passes messages on until somebody ends it: the close code and reason.
async fn talk(relay: &Arc<Relay>, socket: &mut WebSocket, room: &RoomName) -> (u16, &'static str) {
    let mut closing = relay.closing.subscribe();
    let mut seat = relay.enter(room);
    loop {
        tokio::select! {
            message = socket.recv() => match message {
                Some(message) => seat.say(message),
                None => return (GOING_AWAY, ""),
            },
            message = seat.hear() => match message {
                Some(message) => {
                    if socket.send(message).await.is_err() {
                        return (GOING_AWAY, "");
                    }
                }
                None => return (TRY_AGAIN_LATER, "too slow"),
            },
            () = closed(&mut closing) => return (GOING_AWAY, "server closing"),
        }
    }
}

/// Completes when the relay closes; also when it is gone, which does not happen before its clients.
async fn closed(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

fn weight(message: &Message) -> usize {
    let content = match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) => bytes.len(),
    };
    content + OVERHEAD
}

/// Locks; what a panicking holder left behind is a map without half-done changes.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(limit: usize) -> Arc<Relay> {
        let settings = crate::config::Settings::defaults();
        let config = Config::new(&settings).expect("defaults");
        Arc::new(Relay::new(
            limit,
            Arc::new(AllowedOrigins::new(&config.cors)),
        ))
    }

    fn text(text: &str) -> Message {
        Message::Text(text.to_owned())
    }

    #[tokio::test]
    async fn others_hear_and_empty_rooms_are_forgotten() {
        let relay = relay(1000);
        let room = RoomName::parse("a").expect("a name");
        let (ada, mut ben) = (relay.enter(&room), relay.enter(&room));
        ada.say(text("hello"));
        assert_eq!(ben.hear().await, Some(text("hello")));
        assert_eq!(ben.waiting.load(Ordering::Relaxed), 0);
        drop(ada);
        assert_eq!(lock(&relay.rooms).len(), 1);
        drop(ben);
        assert_eq!(lock(&relay.rooms).len(), 0);
    }

    #[tokio::test]
    async fn whoever_does_not_listen_is_taken_out_with_what_it_had() {
        let relay = relay(2 * (OVERHEAD + 1));
        let room = RoomName::parse("a").expect("a name");
        let (ada, mut ben) = (relay.enter(&room), relay.enter(&room));
        for word in ["1", "2", "3", "4"] {
            ada.say(text(word));
        }
        assert_eq!(ben.hear().await, Some(text("1")));
        assert_eq!(ben.hear().await, Some(text("2")));
        assert_eq!(ben.hear().await, None);
        drop(ben);
        assert_eq!(lock(&ada.room.peers).len(), 1);
    }
}
