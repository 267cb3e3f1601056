//! The listeners of a namespace or of one socket.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;
use sockeye_protocol::socketio::Args;

use crate::handler::{Erased, ErasedHandler, Handler};
use crate::socket::Socket;

/// Names one registration, so that it can be taken back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ListenerId(u64);

impl ListenerId {
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        ListenerId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

#[derive(Clone)]
pub(crate) struct Listener {
    pub(crate) id: ListenerId,
    pub(crate) once: bool,
    pub(crate) handler: Arc<dyn ErasedHandler>,
}

/// Sees every event on its way out.
pub(crate) type Outgoing = Arc<dyn Fn(&Socket, &str, &Args) + Send + Sync>;

/// What happens when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Moment {
    /// Before an event is handled; may refuse it.
    Packet,
    /// Any event, before its own listeners.
    Any,
    /// An event without a listener of its own.
    Fallback,
    Connection,
    Disconnecting,
    Disconnect,
}

/// All listeners of a namespace or of one socket.
#[derive(Clone, Default)]
pub(crate) struct Listeners {
    /// Only we register names; what clients send is looked up, so no hash is attacked here.
    events: HashMap<Arc<str>, SmallVec<[Listener; 1]>, foldhash::fast::FixedState>,
    moments: Vec<(Moment, Listener)>,
    outgoing: Vec<(ListenerId, Outgoing)>,
}

impl Listeners {
    pub(crate) fn on<M: 'static>(
        &mut self,
        event: &str,
        handler: impl Handler<M>,
        once: bool,
    ) -> ListenerId {
        let listener = Listener::new(handler, once);
        let id = listener.id;
        self.events.entry(event.into()).or_default().push(listener);
        id
    }

    pub(crate) fn at<M: 'static>(
        &mut self,
        moment: Moment,
        handler: impl Handler<M>,
    ) -> ListenerId {
        let listener = Listener::new(handler, false);
        let id = listener.id;
        self.moments.push((moment, listener));
        id
    }

    /// As [`Listeners::at`], before those that are there.
    pub(crate) fn first_at<M: 'static>(
        &mut self,
        moment: Moment,
        handler: impl Handler<M>,
    ) -> ListenerId {
        let listener = Listener::new(handler, false);
        let id = listener.id;
        self.moments.insert(0, (moment, listener));
        id
    }

    pub(crate) fn on_outgoing(&mut self, listener: Outgoing) -> ListenerId {
        let id = ListenerId::next();
        self.outgoing.push((id, listener));
        id
    }

    /// As [`Listeners::on_outgoing`], before those that are there.
    pub(crate) fn first_on_outgoing(&mut self, listener: Outgoing) -> ListenerId {
        let id = ListenerId::next();
        self.outgoing.insert(0, (id, listener));
        id
    }

    /// Takes one registration back; whether it was there.
    pub(crate) fn remove(&mut self, id: ListenerId) -> bool {
        let before = self.len();
        self.events.retain(|_, listeners| {
            listeners.retain(|listener| listener.id != id);
            !listeners.is_empty()
        });
        self.moments.retain(|(_, listener)| listener.id != id);
        self.outgoing.retain(|(known, _)| *known != id);
        self.len() < before
    }

    /// Takes all registrations for an event back.
    pub(crate) fn remove_event(&mut self, event: &str) -> bool {
        self.events.remove(event).is_some()
    }

    /// Takes all registrations for a moment back: how many there were.
    pub(crate) fn remove_moment(&mut self, moment: Moment) -> usize {
        let before = self.moments.len();
        self.moments.retain(|(known, _)| *known != moment);
        before - self.moments.len()
    }

    /// Takes all registrations for events on their way out back: how many there were.
    pub(crate) fn remove_outgoing(&mut self) -> usize {
        std::mem::take(&mut self.outgoing).len()
    }

    /// The names of the events that have a listener, sorted.
    pub(crate) fn event_names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self.events.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// The registrations for an event, in the order in which they run.
    pub(crate) fn ids_of_event(&self, event: &str) -> Vec<ListenerId> {
        let listeners = self.of_event(event).iter();
        listeners.map(|listener| listener.id).collect()
    }

    /// The registrations for a moment, in the order in which they run.
    pub(crate) fn ids_of_moment(&self, moment: Moment) -> Vec<ListenerId> {
        self.of_moment(moment).map(|listener| listener.id).collect()
    }

    /// The registrations for events on their way out, in the order in which they see them.
    pub(crate) fn ids_of_outgoing(&self) -> Vec<ListenerId> {
        self.outgoing.iter().map(|(id, _)| *id).collect()
    }

    pub(crate) fn of_event(&self, event: &str) -> &[Listener] {
        self.events.get(event).map_or(&[], |listeners| listeners)
    }

    /// As [`Listeners::of_event`], with the name as it was registered.
    pub(crate) fn named(&self, event: &str) -> (&str, &[Listener]) {
        match self.events.get_key_value(event) {
            Some((name, listeners)) => (name, listeners),
            None => ("", &[]),
        }
    }

    pub(crate) fn of_moment(&self, moment: Moment) -> impl Iterator<Item = &Listener> {
        self.moments
            .iter()
            .filter(move |(known, _)| *known == moment)
            .map(|(_, l)| l)
    }

    pub(crate) fn outgoing(&self) -> impl Iterator<Item = &Outgoing> {
        self.outgoing.iter().map(|(_, listener)| listener)
    }

    /// Whether events without a listener are handled.
    pub(crate) fn has_fallback(&self) -> bool {
        self.of_moment(Moment::Fallback).next().is_some()
    }

    /// Whether nothing but event listeners is registered: the common, short way.
    pub(crate) fn is_plain(&self) -> bool {
        !self
            .moments
            .iter()
            .any(|(moment, _)| matches!(moment, Moment::Packet | Moment::Any))
    }

    fn len(&self) -> usize {
        self.events.values().map(SmallVec::len).sum::<usize>()
            + self.moments.len()
            + self.outgoing.len()
    }
}

impl Listener {
    fn new<M: 'static>(handler: impl Handler<M>, once: bool) -> Self {
        let handler = Arc::new(Erased(handler, PhantomData));
        Listener {
            id: ListenerId::next(),
            once,
            handler,
        }
    }
}
