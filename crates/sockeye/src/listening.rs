//! What can be listened to, on a namespace and on one socket, and what listens.
//!
//! Where Node.js takes or gives the listener itself, its [`ListenerId`] stands for it here.

use std::future::Future;
use std::sync::Arc;

use sockeye_protocol::socketio::Args;

use crate::handler::Handler;
use crate::listeners::{ListenerId, Listeners, Moment};
use crate::namespace::{Namespace, ServerSide};
use crate::room_events::RoomEvent;
use crate::socket::Socket;

/// # Listening
impl Namespace {
    /// Handles an event of every socket.
    pub fn on<M: 'static>(&self, event: &str, handler: impl Handler<M>) -> ListenerId {
        self.0
            .change(|listeners| listeners.on(event, handler, false))
    }

    /// Handles the next event of this name, whichever socket it comes on.
    pub fn once<M: 'static>(&self, event: &str, handler: impl Handler<M>) -> ListenerId {
        self.0
            .change(|listeners| listeners.on(event, handler, true))
    }

    /// Runs when a socket has connected, before its first event is handled. Spawn what lasts.
    pub fn on_connection<M: 'static>(&self, handler: impl Handler<M>) -> ListenerId {
        self.0
            .change(|listeners| listeners.at(Moment::Connection, handler))
    }

    /// Runs when a socket is leaving and its rooms still stand.
    pub fn on_disconnecting<M: 'static>(&self, handler: impl Handler<M>) -> ListenerId {
        self.0
            .change(|listeners| listeners.at(Moment::Disconnecting, handler))
    }

    /// Runs when a socket has left.
    pub fn on_disconnect<M: 'static>(&self, handler: impl Handler<M>) -> ListenerId {
        self.0
            .change(|listeners| listeners.at(Moment::Disconnect, handler))
    }

    /// Handles every event, before its own listeners. What it returns counts as an answer like any
    /// other: return [`crate::NoAck`] to only look on.
    pub fn on_any<M: 'static>(&self, handler: impl Handler<M>) -> ListenerId {
        self.0
            .change(|listeners| listeners.at(Moment::Any, handler))
    }

    /// Handles every event, before its own listeners and before all that handle any.
    pub fn prepend_any<M: 'static>(&self, handler: impl Handler<M>) -> ListenerId {
        self.0
            .change(|listeners| listeners.first_at(Moment::Any, handler))
    }

    /// Handles every event that has no listener of its own name, neither here nor on the socket.
    /// Listeners that handle any event do not count. Without it such events are ignored, as in
    /// Node.js; with it the others take the short way, as they would not if `on_any` did this.
    ///
    /// ```
    /// # use sockeye::{EventError, EventName, Server};
    /// # let server = Server::new();
    /// server.of("/").on_fallback(async |event: EventName| {
    ///     Err::<(), _>(EventError::bad_argument(format!("there is no event {}", &*event)))
    /// });
    /// ```
    pub fn on_fallback<M: 'static>(&self, handler: impl Handler<M>) -> ListenerId {
        self.0
            .change(|listeners| listeners.at(Moment::Fallback, handler))
    }

    /// Sees every event emitted to a single socket, before it is written.
    pub fn on_any_outgoing(
        &self,
        listener: impl Fn(&Socket, &str, &Args) + Send + Sync + 'static,
    ) -> ListenerId {
        self.0
            .change(|listeners| listeners.on_outgoing(Arc::new(listener)))
    }

    /// Sees every event emitted to a single socket, before all that do so already.
    pub fn prepend_any_outgoing(
        &self,
        listener: impl Fn(&Socket, &str, &Args) + Send + Sync + 'static,
    ) -> ListenerId {
        self.0
            .change(|listeners| listeners.first_on_outgoing(Arc::new(listener)))
    }

    /// Decides on every connection: an error refuses it, with its message and data.
    pub fn middleware<M: 'static>(&self, handler: impl Handler<M>) -> ListenerId {
        let mut one = Listeners::default();
        let id = one.at(Moment::Connection, handler);
        for middleware in one.of_moment(Moment::Connection) {
            self.0.add_middleware(middleware.clone());
        }
        id
    }

    /// Decides on every event before it is handled: an error refuses it.
    pub fn event_middleware<M: 'static>(&self, handler: impl Handler<M>) -> ListenerId {
        self.0
            .change(|listeners| listeners.at(Moment::Packet, handler))
    }

    /// Is told what becomes of the namespace's rooms on this node: of each change once and in
    /// order, soon after it. While nobody listens it costs nothing.
    ///
    /// A room that stands already is not told of; a room with members on several workers is created
    /// with the first member of all and deleted with the last. Whoever asks on a namespace of a
    /// pattern is told of those that are made of it from then on. The listener runs on a worker: it
    /// must not block.
    ///
    /// ```
    /// # use sockeye::{RoomEvent, Server};
    /// # let server = Server::new();
    /// server.of("/").on_room_event(|event| match event {
    ///     RoomEvent::Created { room } => println!("{room} is open"),
    ///     RoomEvent::Deleted { room } => println!("{room} is empty"),
    ///     _ => {}
    /// });
    /// ```
    pub fn on_room_event(
        &self,
        listener: impl Fn(RoomEvent) + Send + Sync + 'static,
    ) -> ListenerId {
        let (id, first) = self.0.room_watch.add(Arc::new(listener));
        if first {
            self.0.watch_rooms_everywhere(true);
        }
        id
    }

    /// Takes one registration back, whatever it was for; whether it was there.
    pub fn off(&self, id: ListenerId) -> bool {
        if self.0.off(id) {
            return true;
        }
        let (there, last) = self.0.room_watch.remove(id);
        if last {
            self.0.watch_rooms_everywhere(false);
        }
        there
    }

    /// Takes all registrations of this namespace for an event back; whether there was one.
    pub fn off_event(&self, event: &str) -> bool {
        self.0.change(|listeners| listeners.remove_event(event))
    }

    /// Takes all registrations of [`Namespace::on_any`] back: how many there were.
    pub fn off_any(&self) -> usize {
        self.0
            .change(|listeners| listeners.remove_moment(Moment::Any))
    }

    /// Takes all registrations of [`Namespace::on_any_outgoing`] back: how many there were.
    pub fn off_any_outgoing(&self) -> usize {
        self.0.change(Listeners::remove_outgoing)
    }

    /// The registrations of this namespace for an event, in the order in which they run. Those of
    /// single sockets are listed by [`Socket::listeners`].
    pub fn listeners(&self, event: &str) -> Vec<ListenerId> {
        self.0.listeners().ids_of_event(event)
    }

    /// Whether this namespace has a listener for an event.
    pub fn has_listeners(&self, event: &str) -> bool {
        !self.0.listeners().of_event(event).is_empty()
    }

    /// The events that this namespace has a listener for, sorted.
    pub fn event_names(&self) -> Vec<Arc<str>> {
        self.0.listeners().event_names()
    }

    /// The registrations of [`Namespace::on_any`], in the order in which they run.
    pub fn listeners_any(&self) -> Vec<ListenerId> {
        self.0.listeners().ids_of_moment(Moment::Any)
    }

    /// The registrations of [`Namespace::on_any_outgoing`], in the order in which they see events.
    pub fn listeners_any_outgoing(&self) -> Vec<ListenerId> {
        self.0.listeners().ids_of_outgoing()
    }

    /// Handles events that *other* nodes emit with [`Namespace::server_side_emit`]. As in Node.js,
    /// what a node emits itself never reaches its own handlers: with one node, as with the embedded
    /// engine always, none is ever called.
    pub fn on_server_side<F, Fut>(&self, event: &str, handler: F)
    where
        F: Fn(Args) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Option<Args>> + Send + 'static,
    {
        let handler: ServerSide = Arc::new(move |args| Box::pin(handler(args)));
        self.0
            .server_side
            .lock()
            .entry(event.into())
            .or_default()
            .push(handler);
    }
}

/// # Listening
impl Socket {
    /// Handles an event of this socket, beside what the namespace does.
    pub fn on<M: 'static>(&self, event: &str, handler: impl Handler<M>) -> ListenerId {
        self.with_listeners(|listeners| listeners.on(event, handler, false))
    }

    /// Handles the next event of this name.
    pub fn once<M: 'static>(&self, event: &str, handler: impl Handler<M>) -> ListenerId {
        self.with_listeners(|listeners| listeners.on(event, handler, true))
    }

    /// Handles every event, before its own listeners. What it returns counts as an answer like any
    /// other: return [`crate::NoAck`] to only look on.
    pub fn on_any<M: 'static>(&self, handler: impl Handler<M>) -> ListenerId {
        self.with_listeners(|listeners| listeners.at(Moment::Any, handler))
    }

    /// Handles every event, before its own listeners and before all that handle any.
    pub fn prepend_any<M: 'static>(&self, handler: impl Handler<M>) -> ListenerId {
        self.with_listeners(|listeners| listeners.first_at(Moment::Any, handler))
    }

    /// Handles every event that has no listener of its own name, neither here nor on the namespace:
    /// after what [`Namespace::on_fallback`] has registered.
    pub fn on_fallback<M: 'static>(&self, handler: impl Handler<M>) -> ListenerId {
        self.with_listeners(|listeners| listeners.at(Moment::Fallback, handler))
    }

    /// Sees every event emitted to this socket by itself, before it is written.
    pub fn on_any_outgoing(
        &self,
        listener: impl Fn(&Socket, &str, &Args) + Send + Sync + 'static,
    ) -> ListenerId {
        self.with_listeners(|listeners| listeners.on_outgoing(Arc::new(listener)))
    }

    /// Sees every event emitted to this socket by itself, before all that do so already.
    pub fn prepend_any_outgoing(
        &self,
        listener: impl Fn(&Socket, &str, &Args) + Send + Sync + 'static,
    ) -> ListenerId {
        self.with_listeners(|listeners| listeners.first_on_outgoing(Arc::new(listener)))
    }

    /// Lets `handler` decide on every event before it is handled: an error refuses it.
    pub fn middleware<M: 'static>(&self, handler: impl Handler<M>) -> ListenerId {
        self.with_listeners(|listeners| listeners.at(Moment::Packet, handler))
    }

    /// Runs when the socket is leaving and its rooms still stand.
    pub fn on_disconnecting<M: 'static>(&self, handler: impl Handler<M>) -> ListenerId {
        self.with_listeners(|listeners| listeners.at(Moment::Disconnecting, handler))
    }

    /// Runs when the socket has left.
    pub fn on_disconnect<M: 'static>(&self, handler: impl Handler<M>) -> ListenerId {
        self.with_listeners(|listeners| listeners.at(Moment::Disconnect, handler))
    }

    /// Takes one registration back; whether it was there.
    pub fn off(&self, id: ListenerId) -> bool {
        self.with_listeners(|listeners| listeners.remove(id))
    }

    /// Takes all registrations of this socket for an event back.
    pub fn off_event(&self, event: &str) -> bool {
        self.with_listeners(|listeners| listeners.remove_event(event))
    }

    /// Takes all registrations of [`Socket::on_any`] back: how many there were.
    pub fn off_any(&self) -> usize {
        self.with_listeners(|listeners| listeners.remove_moment(Moment::Any))
    }

    /// Takes all registrations of [`Socket::on_any_outgoing`] back: how many there were.
    pub fn off_any_outgoing(&self) -> usize {
        self.with_listeners(Listeners::remove_outgoing)
    }

    /// The registrations of this socket's own for an event, in the order in which they run: after
    /// those of [`Namespace::listeners`].
    pub fn listeners(&self, event: &str) -> Vec<ListenerId> {
        self.read_listeners(|listeners| listeners.ids_of_event(event))
    }

    /// Whether this socket has a listener of its own for an event.
    pub fn has_listeners(&self, event: &str) -> bool {
        self.read_listeners(|listeners| !listeners.of_event(event).is_empty())
    }

    /// The events that this socket has a listener of its own for, sorted.
    pub fn event_names(&self) -> Vec<Arc<str>> {
        self.read_listeners(Listeners::event_names)
    }

    /// The registrations of [`Socket::on_any`], in the order in which they run.
    pub fn listeners_any(&self) -> Vec<ListenerId> {
        self.read_listeners(|listeners| listeners.ids_of_moment(Moment::Any))
    }

    /// The registrations of [`Socket::on_any_outgoing`], in the order in which they see events.
    pub fn listeners_any_outgoing(&self) -> Vec<ListenerId> {
        self.read_listeners(Listeners::ids_of_outgoing)
    }
}
