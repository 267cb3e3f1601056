//! To many sockets at once: the operators and what they end in.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use sockeye_core::{Class, Key, Message, Queued, Shard, Target};
use sockeye_protocol::socketio::{Args, ArgsError, ToArgs, is_reserved_event};

use crate::error::{AckError, EmitError};
use crate::handshake::Handshake;
use crate::namespace::NamespaceInner;
use crate::net::{Net, Part, Waiter};
use crate::publish::{in_order, settled};
use crate::room::{IntoRooms, Room};
use crate::socket::{Socket, user_room};
use crate::worker::{Busy, Worker};

/// A set of sockets, and how to speak to them.
///
/// On what [`Server::of_pattern`](crate::Server::of_pattern) returns it is the sockets of all
/// namespaces made of it that there are when something happens. (Node.js emits to them too, but
/// refuses or ignores everything else that is asked there.)
///
/// Rooms are a union: a socket in several of them is reached once. Every method returns a new
/// value; nothing happens before `emit`, `emit_with_ack`, `fetch_sockets` and so on.
///
/// ```
/// # use sockeye::Server;
/// let server = Server::new();
/// let ns = server.of("/");
/// ns.to(["red", "blue"]).except("muted").emit("news", "hello").unwrap();
/// ns.volatile().emit("tick", 1).unwrap();
/// ```
#[derive(Clone)]
#[must_use = "nothing happens before `emit` or another action"]
pub struct Broadcast {
    namespace: Arc<NamespaceInner>,
    rooms: Vec<Room>,
    except: Vec<Room>,
    volatile: bool,
    compress: bool,
    local: bool,
    timeout: Option<Duration>,
}

impl std::fmt::Debug for Broadcast {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Broadcast({}, to {:?}, ",
            self.namespace.name, self.rooms
        )?;
        write!(f, "except {:?}, volatile {})", self.except, self.volatile)
    }
}

/// The answers to a broadcast with acknowledgements.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Answers {
    /// Who answered, by socket id, and what, in the order of arrival.
    pub answers: Vec<(String, Args)>,
    /// The ids of the sockets that were asked and did not answer in time.
    pub missing: Vec<String>,
    /// The names of the nodes that did not answer in time, or were too busy to be asked.
    pub silent_nodes: Vec<String>,
}

impl Answers {
    /// Whether everyone who was asked answered.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.silent_nodes.is_empty()
    }
}

/// What a question to all nodes found, and who was silent.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Found<T> {
    /// What was found.
    pub found: T,
    /// The names of the nodes that did not answer in time, or were too busy to be asked.
    pub silent_nodes: Vec<String>,
}

/// A socket somewhere in the cluster. What is told of it, rooms, data and user, is as it was when it
/// was asked for; what is asked of it is done now.
#[derive(Clone, Debug)]
pub struct RemoteSocket {
    socket: Socket,
    rooms: Vec<String>,
    data: Option<String>,
    user: Option<Arc<str>>,
}

impl RemoteSocket {
    fn new(socket: Socket, rooms: Vec<String>) -> Self {
        let (data, user) = (socket.raw_data(), socket.user());
        RemoteSocket {
            socket,
            rooms,
            data,
            user,
        }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        self.socket.id()
    }

    /// The name of its namespace.
    pub fn namespace(&self) -> &str {
        self.socket.namespace_name()
    }

    /// Its rooms, its own included, when it was asked for.
    pub fn rooms(&self) -> &[String] {
        &self.rooms
    }

    /// The first request of its session.
    pub fn handshake(&self) -> &Handshake {
        self.socket.handshake()
    }

    /// What the client gave as `auth`, raw.
    pub fn raw_auth(&self) -> &Args {
        self.socket.raw_auth()
    }

    /// Its data as a `T`, when it was asked for: `None` when there was none or it is not a `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.data.as_deref()?).ok()
    }

    /// Its data as JSON text, when it was asked for.
    pub fn raw_data(&self) -> Option<String> {
        self.data.clone()
    }

    /// The user it belonged to when it was asked for.
    pub fn user(&self) -> Option<Arc<str>> {
        self.user.clone()
    }

    /// Emits an event to it.
    ///
    /// # Errors
    /// As [`Socket::emit`].
    pub fn emit(&self, event: &str, args: impl ToArgs) -> Result<(), EmitError> {
        self.socket.emit(event, args).map(|_| ())
    }

    /// Emits an event to it at once and awaits its acknowledgement, as [`Socket::emit_with_ack`].
    pub fn emit_with_ack(&self, event: &str, args: impl ToArgs) -> crate::AckFuture {
        self.socket.emit_with_ack(event, args)
    }

    /// Emits whose acknowledgement is awaited for `timeout`.
    pub fn timeout(&self, timeout: Duration) -> crate::Emitter {
        self.socket.timeout(timeout)
    }

    /// Lets it join rooms.
    pub fn join(&self, rooms: impl IntoRooms) -> crate::RoomFuture {
        self.socket.join(rooms)
    }

    /// Lets it leave a room.
    pub fn leave(&self, room: &str) -> crate::RoomFuture {
        self.socket.leave(room)
    }

    /// Disconnects it from its namespace, or with its whole connection.
    pub fn disconnect(&self, close: bool) {
        if close {
            self.socket.disconnect_fully()
        } else {
            self.socket.disconnect()
        }
    }
}

impl Broadcast {
    pub(crate) fn new(namespace: Arc<NamespaceInner>) -> Self {
        Broadcast {
            namespace,
            rooms: Vec::new(),
            except: Vec::new(),
            volatile: false,
            compress: true,
            local: false,
            timeout: None,
        }
    }

    /// Adds rooms to reach. Without any, everyone in the namespace is reached.
    pub fn to(mut self, rooms: impl IntoRooms) -> Self {
        self.rooms.extend(rooms.into_rooms());
        self
    }

    /// Adds all sockets of a user.
    pub fn to_user(mut self, user: &str) -> Self {
        self.rooms.push(user_room(user));
        self
    }

    /// Leaves the members of these rooms out.
    pub fn except(mut self, rooms: impl IntoRooms) -> Self {
        self.except.extend(rooms.into_rooms());
        self
    }

    /// Drops the event for connections that cannot take it at once.
    pub fn volatile(self) -> Self {
        Broadcast {
            volatile: true,
            ..self
        }
    }

    /// Lets the event be compressed (the default), or not.
    pub fn compress(self, compress: bool) -> Self {
        Broadcast { compress, ..self }
    }

    /// Reaches sockets of this node only.
    pub fn local(self) -> Self {
        Broadcast {
            local: true,
            ..self
        }
    }

    /// Whether it reaches sockets of this node only. With the embedded engine there is no other
    /// node, and the two are the same.
    pub fn is_local(&self) -> bool {
        self.local
    }

    /// How long acknowledgements are awaited. Default: the server's `ack_timeout`.
    pub fn timeout(self, timeout: Duration) -> Self {
        Broadcast {
            timeout: Some(timeout),
            ..self
        }
    }

    /// Emits an event to them.
    ///
    /// # Errors
    /// When the arguments cannot be written or the name is reserved.
    pub fn emit(&self, event: &str, args: impl ToArgs) -> Result<(), EmitError> {
        let args = self.prepare(event, args)?;
        if self.namespace.is_template() {
            for namespace in self.namespace.concerned() {
                let child = Broadcast {
                    namespace,
                    ..self.clone()
                };
                child.emit(event, &args)?;
            }
            return Ok(());
        }
        if !self.volatile && self.namespace.is_recoverable() {
            let to = (self.rooms.clone(), self.except.clone());
            return crate::publish::broadcast(&self.namespace, to, event, args, self.compress);
        }
        let class = if self.volatile {
            Class::Volatile
        } else {
            Class::Normal
        };
        let message = self
            .namespace
            .encode(None, event, &args, class, self.compress);
        let message = Arc::new(message);
        if !self.namespace.is_recoverable() {
            self.namespace.deliver(&self.rooms, &self.except, &message);
            return Ok(());
        }
        let namespace = self.namespace.clone();
        let (rooms, except) = (self.rooms.clone(), self.except.clone());
        let deliver = move || namespace.deliver(&rooms, &except, &message);
        let _ = in_order(&self.namespace, deliver);
        Ok(())
    }

    /// Emits an event and says how many sockets were there to get it when it was asked for; some
    /// may be gone or full by the time it is handed to them.
    ///
    /// # Errors
    /// As [`Broadcast::emit`].
    pub async fn emit_counted(&self, event: &str, args: impl ToArgs) -> Result<usize, EmitError> {
        let args = args.to_args(self.namespace.parser)?;
        let count = self.count().await.found;
        self.emit(event, args)?;
        Ok(count)
    }

    /// Emits an event and gathers the acknowledgements: complete when everyone has answered or
    /// the time is over.
    ///
    /// # Errors
    /// When the arguments cannot be written or the name is reserved. Silence is no error:
    /// see [`Answers::missing`].
    pub async fn emit_with_ack(&self, event: &str, args: impl ToArgs) -> Result<Answers, AckError> {
        let args = self.prepare(event, args)?;
        let timeout = self
            .timeout
            .unwrap_or(self.namespace.server().config.ack_timeout)
            .as_millis() as u64;
        let class = if self.volatile {
            Class::Volatile
        } else {
            Class::Normal
        };
        let (part, done) = Part::begin();
        let gathered = part.0.clone();
        let mut busy = false;
        for namespace in self.namespace.concerned() {
            settled(&namespace).await;
            let id = namespace.next_ack_id();
            let message = namespace.encode(Some(id), event, &args, class, self.compress);
            let (message, part) = (Arc::new(message), part.clone());
            busy |= self.each_shard(&namespace, move |shard, selected| {
                for key in selected {
                    let Some(socket) = shard.socket(*key) else {
                        continue;
                    };
                    part.0.expect();
                    let waiter = Waiter::Many(part.0.clone(), *socket.id());
                    if !shard.expect_ack(*key, id, timeout, waiter) {
                        continue;
                    }
                    let mut queued = shard.send(*key, &message);
                    if queued == Queued::Refused {
                        let refuse = |shard: &mut Shard<Net>| shard.refuse_ack(*key, id);
                        queued = Worker::retry_full_within(shard, &message, refuse);
                    }
                    if !queued.is_queued() {
                        shard.refuse_ack(*key, id);
                    }
                }
            });
        }
        drop(part);
        let _ = done.await;
        let (answers, missing) = gathered.take();
        let text = |id: sockeye_protocol::engine::SocketId| id.as_str().to_owned();
        Ok(Answers {
            answers: answers
                .into_iter()
                .map(|(id, args)| (text(id), args))
                .collect(),
            missing: missing.into_iter().map(text).collect(),
            silent_nodes: self.silent(busy),
        })
    }

    /// The sockets themselves, as they are now.
    pub async fn fetch_sockets(&self) -> Found<Vec<RemoteSocket>> {
        let found = self
            .gather(|shard, target| {
                let selected = target.resolve(shard);
                let remote = |key: &Key| {
                    let socket = shard.socket(*key)?.host().clone();
                    let rooms = visible(shard.rooms_of(*key));
                    Some(RemoteSocket::new(socket, rooms))
                };
                selected.iter().filter_map(remote).collect::<Vec<_>>()
            })
            .await;
        found.map(|parts| parts.into_iter().flatten().collect())
    }

    /// Those of them that live on this node, with handles of their own.
    pub async fn local_sockets(&self) -> Found<Vec<Socket>> {
        let found = self.gather(|shard, target| {
            let selected = target.resolve(shard);
            let handle = |key: &Key| Some(shard.socket(*key)?.host().clone());
            selected.iter().filter_map(handle).collect::<Vec<_>>()
        });
        let found = found.await;
        found.map(|parts| parts.into_iter().flatten().collect())
    }

    /// How many sockets they are. For one room, or everyone, it costs the same however many.
    pub async fn count(&self) -> Found<usize> {
        let counts = self.gather(|shard, target| target.count(shard)).await;
        counts.map(|counts| counts.into_iter().sum())
    }

    /// Lets them join rooms; in force everywhere when the future completes, except on the nodes
    /// named as silent.
    pub async fn sockets_join(&self, rooms: impl IntoRooms) -> Found<()> {
        let rooms: Vec<Room> = rooms.into_rooms().collect();
        let done = self.gather(move |shard, target| {
            for key in target.resolve(shard) {
                for room in &rooms {
                    let _ = shard.join(key, room);
                }
            }
        });
        done.await.map(|_| ())
    }

    /// Lets them leave rooms; in force everywhere when the future completes, except on the nodes
    /// named as silent.
    pub async fn sockets_leave(&self, rooms: impl IntoRooms) -> Found<()> {
        let rooms: Vec<Room> = rooms.into_rooms().collect();
        let done = self.gather(move |shard, target| {
            for key in target.resolve(shard) {
                if let Some(socket) = shard.socket(key) {
                    socket.host().note_leaving();
                }
                for room in &rooms {
                    shard.leave(key, room);
                }
            }
        });
        done.await.map(|_| ())
    }

    /// Disconnects them from the namespace, or with their whole connections; in force everywhere
    /// when the future completes, except on the nodes named as silent.
    pub async fn disconnect_sockets(&self, close: bool) -> Found<()> {
        for namespace in self.namespace.concerned() {
            settled(&namespace).await;
        }
        let done = self.gather(move |shard, target| {
            for key in target.resolve(shard) {
                let session = shard.socket(key).map(|socket| socket.session());
                match session {
                    Some(session) if close => shard.disconnect_all(session),
                    Some(_) => shard.disconnect(key),
                    None => {}
                }
            }
        });
        done.await.map(|_| ())
    }

    fn prepare(&self, event: &str, args: impl ToArgs) -> Result<Args, EmitError> {
        if is_reserved_event(event) {
            return Err(EmitError::Reserved(event.into()));
        }
        args.to_args(self.namespace.parser).map_err(EmitError::Args)
    }

    /// This node's name when it could not be asked everything.
    fn silent(&self, busy: bool) -> Vec<String> {
        let name = || self.namespace.server().node_name();
        busy.then(name).into_iter().collect()
    }

    fn selection(&self, namespace: &Arc<NamespaceInner>) -> Selection {
        Selection {
            namespace: namespace.clone(),
            rooms: self.rooms.clone(),
            except: self.except.clone(),
        }
    }

    /// Runs `f` on every shard with the sockets selected there. Whether one was too busy.
    fn each_shard(
        &self,
        namespace: &Arc<NamespaceInner>,
        f: impl FnMut(&mut Shard<Net>, &[Key]) + Send + Clone + 'static,
    ) -> bool {
        let mut busy = false;
        for worker in namespace.server().workers() {
            let (selection, mut f) = (self.selection(namespace), f.clone());
            let asked = namespace.try_ask(worker, move |shard| {
                let selected = selection.resolve(shard);
                f(shard, &selected);
            });
            busy |= asked.is_err();
        }
        busy
    }

    /// Asks every shard about the sockets selected there.
    async fn gather<R: Send + Unpin + 'static>(
        &self,
        f: impl Fn(&mut Shard<Net>, &Selection) -> R + Send + Sync + 'static,
    ) -> Found<Vec<R>> {
        let f = Arc::new(f);
        let (mut answers, mut busy) = (Vec::new(), false);
        for namespace in self.namespace.concerned() {
            for worker in namespace.server().workers() {
                let (selection, f) = (self.selection(&namespace), f.clone());
                match namespace.try_ask(worker, move |shard| f(shard, &selection)) {
                    Ok(answer) => answers.push(answer),
                    Err(Busy) => busy = true,
                }
            }
        }
        let mut found = Vec::with_capacity(answers.len());
        for answer in answers {
            found.extend(answer.await);
        }
        Found {
            found,
            silent_nodes: self.silent(busy),
        }
    }
}

/// Sockets of one namespace, wherever they are.
struct Selection {
    namespace: Arc<NamespaceInner>,
    rooms: Vec<Room>,
    except: Vec<Room>,
}

impl Selection {
    fn target(&self) -> Target<'_> {
        Target {
            rooms: &self.rooms,
            except: &self.except,
        }
    }

    /// Those of them on one shard.
    fn resolve(&self, shard: &mut Shard<Net>) -> Vec<Key> {
        let mut selected = Vec::new();
        shard.resolve(&self.namespace.name, self.target(), &mut selected);
        selected
    }

    fn count(&self, shard: &mut Shard<Net>) -> usize {
        shard.count(&self.namespace.name, self.target())
    }
}

impl<T> Found<T> {
    fn map<U>(self, f: impl FnOnce(T) -> U) -> Found<U> {
        Found {
            found: f(self.found),
            silent_nodes: self.silent_nodes,
        }
    }
}

/// Rooms that applications named: those of users are our own business.
pub(crate) fn visible(mut rooms: Vec<String>) -> Vec<String> {
    rooms.retain(|room| !room.starts_with('\u{1}'));
    rooms
}

impl NamespaceInner {
    /// Hands one message to every socket selected, on every shard that has members of the rooms: on
    /// the caller's own at once, elsewhere through the inbox.
    pub(crate) fn deliver(
        self: &Arc<Self>,
        rooms: &[Room],
        except: &[Room],
        message: &Arc<Message>,
    ) {
        let reach = self.reach(rooms);
        for worker in self.server().workers() {
            if !self.has_sockets(worker.index) || !reach.includes(worker.index) {
                continue;
            }
            if worker.is_here() {
                worker.call(|shard| shard.broadcast(&self.name, Target { rooms, except }, message));
                let _ = worker.retry_full(Some(message));
                continue;
            }
            self.server().metrics.broadcast_handovers.add(1);
            let (namespace, rooms, except) = (self.clone(), rooms.to_vec(), except.to_vec());
            let (limit, shared) = (self.server().config.max_inbox_bytes, message.clone());
            let overrun = worker.submit_broadcast(message, limit, move |shard| {
                let target = Target {
                    rooms: &rooms,
                    except: &except,
                };
                shard.broadcast(&namespace.name, target, &shared);
                let _ = Worker::retry_full_within(shard, &shared, |_| {});
            });
            if overrun {
                self.server().worker_overrun(worker.index);
            }
        }
    }
}

impl Answers {
    /// The first argument of each answer, as a `T`.
    ///
    /// # Errors
    /// When an answer has none or another type.
    pub fn first<T: DeserializeOwned>(&self) -> Result<Vec<T>, ArgsError> {
        let first = |(_, args): &(String, Args)| crate::extract::argument(args, 0);
        self.answers.iter().map(first).collect()
    }
}
