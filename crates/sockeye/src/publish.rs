//! Recoverable events on their way out.
//!
//! Every event that is neither volatile nor acknowledged gets an offset from the store before it
//! is sent. Events of a namespace leave in the order of their offsets: while the store is asked,
//! what comes behind waits in the [`Outbox`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use sockeye_cluster::{Form, Offset, Reply, StoreError, StoredPacket};
use sockeye_core::{Class, Message, Queued, Target};
use sockeye_protocol::engine::SocketId;
use sockeye_protocol::socketio::{Args, ToArgs};
use tokio::sync::oneshot;

use crate::error::EmitError;
use crate::namespace::NamespaceInner;
use crate::recovery::now_ms;
use crate::room::Room;
use crate::socket::Socket;
use crate::worker::Worker;

/// Events of a namespace that wait for the store, in order.
///
/// Its lock is held from the moment an event gets its offset until every worker has it: two
/// threads that publish at once must reach all sockets in the same order, or a client's last
/// offset would not tell what it has seen.
#[derive(Default)]
pub(crate) struct Outbox {
    waiting: VecDeque<Waiting>,
    draining: bool,
}

enum Waiting {
    Event {
        offset: Reply<Result<Offset, StoreError>>,
        delivery: Delivery,
    },
    /// To be told when everything before has left.
    Mark(oneshot::Sender<()>),
    /// Something else that must not overtake the events before it.
    Then(Box<dyn FnOnce() + Send>),
}

struct Delivery {
    to: To,
    event: Box<str>,
    args: Args,
    compress: bool,
}

enum To {
    Socket(Socket),
    Rooms(Vec<Room>, Vec<Room>),
}

/// Emits a recoverable event to one socket.
pub(crate) fn emit(
    socket: &Socket,
    event: &str,
    args: Args,
    compress: bool,
) -> Result<Queued, EmitError> {
    let delivery = Delivery {
        to: To::Socket(socket.clone()),
        event: event.into(),
        args,
        compress,
    };
    let rooms = vec![socket.id().into()];
    EmitError::check(publish(
        socket.namespace_inner(),
        rooms,
        Vec::new(),
        delivery,
    ))
}

/// Emits a recoverable event to rooms.
pub(crate) fn broadcast(
    namespace: &Arc<NamespaceInner>,
    (rooms, except): (Vec<Room>, Vec<Room>),
    event: &str,
    args: Args,
    compress: bool,
) -> Result<(), EmitError> {
    let names = |rooms: &[Room]| rooms.iter().map(|room| (**room).into()).collect();
    let (stored_rooms, stored_except) = (names(&rooms), names(&except));
    let delivery = Delivery {
        to: To::Rooms(rooms, except),
        event: event.into(),
        args,
        compress,
    };
    let _ = publish(namespace, stored_rooms, stored_except, delivery);
    Ok(())
}

fn publish(
    namespace: &Arc<NamespaceInner>,
    rooms: Vec<Box<str>>,
    except: Vec<Box<str>>,
    delivery: Delivery,
) -> Queued {
    let stored = Arc::new(store_form(namespace, rooms, except, &delivery));
    let server = namespace.server();
    let mut outbox = namespace.outbox.lock();
    let offset = server.store.append(&namespace.name, stored, now_ms());
    if !outbox.waiting.is_empty() || outbox.draining {
        outbox
            .waiting
            .push_back(Waiting::Event { offset, delivery });
        return Queued::Queued;
    }
    match offset.into_ready() {
        Ok(offset) => deliver(namespace, delivery, offset),
        Err(offset) => {
            outbox
                .waiting
                .push_back(Waiting::Event { offset, delivery });
            outbox.draining = true;
            server.spawn(drain(namespace.clone()));
            Queued::Queued
        }
    }
}

async fn drain(namespace: Arc<NamespaceInner>) {
    loop {
        let next = {
            let mut outbox = namespace.outbox.lock();
            let next = outbox.waiting.pop_front();
            outbox.draining = next.is_some();
            next
        };
        match next {
            Some(Waiting::Event { offset, delivery }) => {
                let offset = offset.await;
                let _ = deliver(&namespace, delivery, offset);
            }
            Some(Waiting::Mark(sender)) => {
                let _ = sender.send(());
            }
            Some(Waiting::Then(act)) => act(),
            None => return,
        }
    }
}

/// Does something at once, or behind the events of the namespace that wait for the store: answers,
/// volatile events and goodbyes do not overtake what was said before. What became of it, or `None`
/// while it waits.
pub(crate) fn in_order<R>(
    namespace: &NamespaceInner,
    act: impl FnOnce() -> R + Send + 'static,
) -> Option<R> {
    if namespace.is_recoverable() {
        let mut outbox = namespace.outbox.lock();
        if !outbox.waiting.is_empty() || outbox.draining {
            let act = move || drop(act());
            outbox.waiting.push_back(Waiting::Then(Box::new(act)));
            return None;
        }
    }
    Some(act())
}

/// Completes when every event that has an offset by now is with the workers: in their inboxes at
/// least.
pub(crate) async fn settled(namespace: &NamespaceInner) {
    if !namespace.is_recoverable() {
        return;
    }
    let mark = {
        let mut outbox = namespace.outbox.lock();
        if outbox.waiting.is_empty() && !outbox.draining {
            return;
        }
        let (sender, mark) = oneshot::channel();
        outbox.waiting.push_back(Waiting::Mark(sender));
        mark
    };
    let _ = mark.await;
}

fn deliver(
    namespace: &Arc<NamespaceInner>,
    delivery: Delivery,
    offset: Result<Offset, StoreError>,
) -> Queued {
    let Delivery {
        to,
        event,
        args,
        compress,
    } = delivery;
    let args = match &offset {
        Ok(offset) => args.with_str(offset.as_str()),
        Err(error) => {
            namespace.forbid_recovery();
            // Without an offset it is delivered like any event, and cannot be recovered.
            tracing::warn!(%error, namespace = &*namespace.name, "an event was not stored");
            args
        }
    };
    let message = namespace.encode(None, &event, &args, Class::Normal, compress);
    let (message, offset) = (Arc::new(message), offset.ok());
    match to {
        To::Socket(socket) => {
            let queued = socket.send_message(message.clone());
            if queued == Queued::Refused {
                // It may be on its way back under the same id, or back already: it finds the
                // event in the store only if it was there before the store was asked.
                let rooms = vec![Room::from(socket.id())];
                deliver_to(namespace, rooms, Vec::new(), &message, offset);
            }
            queued
        }
        To::Rooms(rooms, except) => {
            deliver_to(namespace, rooms, except, &message, offset);
            Queued::Queued
        }
    }
}

/// Hands one message to every worker that has members of the rooms, or sockets that are about to
/// be members again.
fn deliver_to(
    namespace: &Arc<NamespaceInner>,
    rooms: Vec<Room>,
    except: Vec<Room>,
    message: &Arc<Message>,
    offset: Option<Offset>,
) {
    let event = Arc::new(Held {
        offset,
        rooms,
        except,
        message: message.clone(),
    });
    // In this order: a socket that is held no more by then has joined its rooms.
    let returning = namespace.holds.workers();
    let reach = namespace.reach(&event.rooms);
    for worker in namespace.server().workers() {
        let concerned = reach.includes(worker.index) || returning.contains(&worker.index);
        if !concerned || !namespace.has_sockets(worker.index) {
            continue;
        }
        if worker.is_here() {
            worker.call(|shard| {
                namespace.holds.note(worker.index, &event);
                shard.broadcast(&namespace.name, event.target(), message)
            });
            let _ = worker.retry_full(Some(message));
            continue;
        }
        let (namespace, event, index) = (namespace.clone(), event.clone(), worker.index);
        let server = namespace.server().clone();
        server.metrics.broadcast_handovers.add(1);
        let limit = server.config.max_inbox_bytes;
        let overrun = worker.submit_broadcast(message, limit, move |shard| {
            namespace.holds.note(index, &event);
            shard.broadcast(&namespace.name, event.target(), &event.message);
            let _ = Worker::retry_full_within(shard, &event.message, |_| {});
        });
        if overrun {
            server.worker_overrun(index);
        }
    }
}

/// An event that was delivered while a socket was being recovered.
struct Held {
    /// None when the store failed: then it cannot be told from what was missed, and is not held.
    offset: Option<Offset>,
    rooms: Vec<Room>,
    except: Vec<Room>,
    message: Arc<Message>,
}

impl Held {
    fn target(&self) -> Target<'_> {
        Target {
            rooms: &self.rooms,
            except: &self.except,
        }
    }

    /// Whether it is for a socket of these rooms.
    fn concerns(&self, id: &str, rooms: &[Box<str>]) -> bool {
        let is_in = |name: &Room| **name == *id || rooms.iter().any(|room| **room == **name);
        (self.rooms.is_empty() || self.rooms.iter().any(is_in)) && !self.except.iter().any(is_in)
    }
}

/// The sockets of a namespace that are being recovered.
#[derive(Default)]
pub(crate) struct Holds {
    /// How many there are: most of the time none, and no lock is taken.
    count: AtomicUsize,
    list: Mutex<Vec<Arc<Holding>>>,
}

struct Holding {
    worker: u8,
    /// `None` when there was too much.
    events: Mutex<Option<(Vec<Arc<Held>>, usize)>>,
    limit: usize,
}

impl Holds {
    /// The workers on which a socket is being recovered.
    fn workers(&self) -> Vec<u8> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        self.list.lock().iter().map(|held| held.worker).collect()
    }

    /// Keeps an event that is being delivered on a worker for the sockets that return there.
    fn note(&self, worker: u8, event: &Arc<Held>) {
        if self.count.load(Ordering::Acquire) == 0 || event.offset.is_none() {
            return;
        }
        for holding in self.list.lock().iter().filter(|h| h.worker == worker) {
            let mut events = holding.events.lock();
            let Some((held, bytes)) = &mut *events else {
                continue;
            };
            *bytes += event.message.cost();
            if *bytes > holding.limit {
                *events = None;
                continue;
            }
            held.push(event.clone());
        }
    }
}

/// A socket's claim on what is delivered on its worker from now on, while it lives.
pub(crate) struct Hold {
    namespace: Arc<NamespaceInner>,
    holding: Arc<Holding>,
}

impl Hold {
    /// Only inside `worker`: what was delivered there before is older than what the store tells
    /// when it is asked next.
    pub(crate) fn new(namespace: &Arc<NamespaceInner>, worker: &Worker) -> Self {
        let holding = Arc::new(Holding {
            worker: worker.index,
            events: Mutex::new(Some(Default::default())),
            limit: namespace.server().config.core.max_queued_bytes,
        });
        let holds = &namespace.holds;
        holds.list.lock().push(holding.clone());
        holds.count.fetch_add(1, Ordering::AcqRel);
        Hold {
            namespace: namespace.clone(),
            holding,
        }
    }

    /// What was delivered to these rooms and is newer than `head`; `None` when there was more
    /// than a connection may be owed.
    pub(crate) fn since(
        &self,
        head: Offset,
        id: &SocketId,
        rooms: &[Box<str>],
    ) -> Option<Vec<Arc<Message>>> {
        let events = self.holding.events.lock();
        let (held, _) = events.as_ref()?;
        let newer = held.iter().filter(|held| held.offset > Some(head));
        let his = newer.filter(|held| held.concerns(id.as_str(), rooms));
        Some(his.map(|held| held.message.clone()).collect())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let holds = &self.namespace.holds;
        let mut list = holds.list.lock();
        list.retain(|holding| !Arc::ptr_eq(holding, &self.holding));
        holds.count.store(list.len(), Ordering::Release);
    }
}

fn store_form(
    namespace: &NamespaceInner,
    rooms: Vec<Box<str>>,
    except: Vec<Box<str>>,
    delivery: &Delivery,
) -> StoredPacket {
    let name = (&*delivery.event,)
        .to_args(namespace.parser)
        .unwrap_or_default();
    let all = name.with(&delivery.args);
    let (form, data, attachments) = match (all.as_json(), all.as_msgpack()) {
        (Some((text, attachments)), _) => (
            Form::Json,
            Bytes::copy_from_slice(text.as_bytes()),
            attachments.to_vec(),
        ),
        (None, Some(bytes)) => (Form::MsgPack, bytes.clone(), Vec::new()),
        (None, None) => (Form::Json, Bytes::new(), Vec::new()),
    };
    StoredPacket {
        rooms,
        except,
        form,
        data,
        attachments,
    }
}
