//! The bus between nodes over Redis.

mod connect;
mod ears;
mod format;
mod incoming;
mod listening;
mod outbox;
mod stream;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use format::{Channel, Format, Outgoing, Route};
use listening::Change;
use outbox::Outbox;
use parking_lot::Mutex;
use sockeye_cluster::{
    Answers, Body, Bus, BusError, BusErrorKind, Expected, Health, Link, Listener, Members,
    NodeEvent, NodeId, Opener, Operation, Reply, Request, Requests, Sealer,
};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::wire::{Classic, Sharded};
use crate::{Native, RedisConfig, RedisMode};

/// How long a node that starts waits for the others to introduce themselves.
const INTRODUCTIONS: Duration = Duration::from_secs(1);
/// Probes that may be on their way.
const MAX_PROBES: usize = 64;

/// The bus between nodes over a Redis (or Valkey) server.
///
/// It has two connections, one to publish on and one to listen on, which are made again after they broke,
/// with growing pauses. While Redis is away, what is published waits up to
/// [`max_queued_bytes`](RedisConfig::max_queued_bytes), and what others publish is missed: publish/subscribe
/// keeps nothing. A subscription asked for in that time answers that it is not in force; it is made up for
/// as soon as Redis is back.
///
/// Tasks run on the tokio runtime in which [`start`](Bus::start) is awaited, until the bus is left or
/// dropped.
///
/// Among Node.js servers, nodes are counted and not known by name, [`Request::Apply`] is told without
/// being confirmed, and a node that has died counts until Redis notices. In [`RedisMode::Classic`] every
/// node hears everything of its namespaces; [`Listener::hosts`] is asked before a message to one room is
/// decoded. In [`RedisMode::Sharded`] and [`RedisMode::Streams`] there is no [`Request::Rooms`].
///
/// In [`RedisMode::Streams`] what is told goes through a stream: a node that has lost its connection reads on
/// where it was, so that it misses nothing as long as the stream is long enough. Questions, answers and
/// events for servers do not, and may overtake it.
///
/// ```no_run
/// # async fn example(listener: std::sync::Arc<dyn sockeye_cluster::Listener>) -> Result<(), sockeye_cluster::BusError> {
/// use sockeye_cluster::Bus;
/// use sockeye_redis::{RedisBus, RedisConfig};
///
/// let bus = RedisBus::new(RedisConfig::new("redis://localhost/", "eu-1")?)?;
/// bus.start(listener).await?;
/// bus.open("/").await?;
/// # Ok(())
/// # }
/// ```
pub struct RedisBus {
    shared: Arc<Shared>,
    /// Until the bus is started.
    pending: Mutex<Option<mpsc::UnboundedReceiver<Change>>>,
}

/// What the tasks and the handle have in common.
struct Shared {
    config: RedisConfig,
    format: Format,
    listener: OnceLock<Arc<dyn Listener>>,
    interest: Mutex<HashMap<Arc<str>, Interest>>,
    changes: mpsc::UnboundedSender<Change>,
    /// What comes on a channel or pattern.
    routes: Mutex<HashMap<String, Route>>,
    outbox: Outbox,
    requests: Mutex<Requests<RequestKey>>,
    next_request: AtomicU64,
    members: Mutex<Members>,
    opener: Mutex<Opener>,
    probes: Mutex<Probes>,
    /// A probe came back, or there is a reason why the node cannot start.
    verified: Notify,
    /// Another node has this one's name.
    has_double: AtomicBool,
    is_started: AtomicBool,
    /// A goodbye was said: no sign of life may follow it. Changed under the lock of the outbox.
    is_leaving: AtomicBool,
    is_over: AtomicBool,
    over: Notify,
    publishing: AtomicBool,
    listening: AtomicBool,
    /// Streams are read, or there are none.
    reading: AtomicBool,
    /// The connection to publish on may have gone, as the other one has.
    suspect: AtomicBool,
    began: Instant,
    /// By which this bus knows its own probes.
    nonce: u64,
    published: AtomicU64,
    received: AtomicU64,
    dropped: AtomicU64,
    overrun: AtomicU64,
    refused: AtomicU64,
    reconnects: AtomicU64,
}

/// What this node wants to hear of a namespace, each counted.
#[derive(Default)]
struct Interest {
    opened: usize,
    rooms: HashMap<Box<str>, usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum RequestKey {
    Number(u64),
    Text(Box<str>),
}

/// Messages of this node to itself, which tell whether the way there and back is open.
#[derive(Default)]
struct Probes {
    next: u64,
    sent: VecDeque<(u64, Instant)>,
    lag: Option<Duration>,
}

impl RedisBus {
    /// A bus that has not been started.
    ///
    /// # Errors
    ///
    /// When the configuration cannot work.
    pub fn new(config: RedisConfig) -> Result<Self, BusError> {
        let key = config.key()?;
        let incarnation = rand::random();
        let (prefix, node) = (config.prefix(), config.node.clone());
        let format = match config.mode {
            RedisMode::Native => {
                let sealer = Sealer::new(node, incarnation, key.clone());
                let native = Native::new(prefix).socket_channels(config.socket_channels);
                Format::Native(native, sealer)
            }
            RedisMode::Classic => Format::Classic(Classic::new(prefix), node),
            RedisMode::Sharded(mode) => Format::Sharded(Sharded::new(prefix, mode), node),
            RedisMode::Streams => Format::Streams(config.streams.clone(), node),
        };
        let (changes, pending) = mpsc::unbounded_channel();
        let shared = Shared {
            format,
            listener: OnceLock::new(),
            interest: Mutex::default(),
            changes,
            routes: Mutex::default(),
            outbox: Outbox::default(),
            requests: Mutex::default(),
            next_request: AtomicU64::new(rand::random::<u32>().into()),
            members: Mutex::new(Members::new(config.heartbeat_timeout.as_millis() as u64)),
            opener: Mutex::new(Opener::new(incarnation, key)),
            probes: Mutex::default(),
            verified: Notify::new(),
            has_double: AtomicBool::new(false),
            is_started: AtomicBool::new(false),
            is_leaving: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            over: Notify::new(),
            publishing: AtomicBool::new(false),
            listening: AtomicBool::new(false),
            reading: AtomicBool::new(true),
            suspect: AtomicBool::new(false),
            began: Instant::now(),
            nonce: rand::random(),
            published: AtomicU64::new(0),
            received: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            overrun: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
            config,
        };
        Ok(Self {
            shared: Arc::new(shared),
            pending: Mutex::new(Some(pending)),
        })
    }
}

impl Bus for RedisBus {
    fn node(&self) -> &NodeId {
        &self.shared.config.node
    }

    fn start(&self, listener: Arc<dyn Listener>) -> Reply<Result<(), BusError>> {
        let Some(changes) = self.pending.lock().take() else {
            let detail = "a bus is started once";
            return Reply::ready(Err(BusError::with(BusErrorKind::Misconfigured, detail)));
        };
        let shared = self.shared.clone();
        Reply::pending(async move {
            let _ = shared.listener.set(listener);
            let result = start(&shared, changes).await;
            match &result {
                Ok(()) => shared.is_started.store(true, Ordering::Release),
                Err(_) => shared.end(),
            }
            result
        })
    }

    fn open(&self, namespace: &str) -> Reply<Result<(), BusError>> {
        let shared = &self.shared;
        let mut interest = shared.interest.lock();
        let namespace: Arc<str> = namespace.into();
        interest.entry(namespace.clone()).or_default().opened += 1;
        // Under the lock, so that what is asked for later comes later. Also when it is open already:
        // the answer comes when it is in force.
        shared.subscribe(shared.format.of_namespace(&namespace))
    }

    fn close(&self, namespace: &str) {
        let shared = &self.shared;
        let mut interest = shared.interest.lock();
        let Some(known) = interest.get_mut(namespace) else {
            return;
        };
        known.opened -= 1;
        if known.opened > 0 {
            return;
        }
        let rooms = interest.remove(namespace).unwrap_or_default().rooms;
        let namespace: Arc<str> = namespace.into();
        let rooms = rooms.keys();
        let rooms = rooms.filter_map(|room| shared.format.of_room(&namespace, room));
        let channels = shared.format.of_namespace(&namespace).into_iter();
        let channels = channels.chain(rooms).map(|(channel, _)| channel).collect();
        let _ = shared.changes.send(Change::Unsubscribe(channels));
    }

    fn subscribe(&self, namespace: &str, room: &str) -> Reply<Result<(), BusError>> {
        let shared = &self.shared;
        let mut interest = shared.interest.lock();
        let Some(known) = interest.get_mut(namespace) else {
            let detail = "the namespace is not open";
            return Reply::ready(Err(BusError::with(BusErrorKind::Misconfigured, detail)));
        };
        *known.rooms.entry(room.into()).or_default() += 1;
        match shared.format.of_room(namespace, room) {
            Some(channel) => shared.subscribe(vec![channel]),
            None => Reply::ready(shared.check()),
        }
    }

    fn unsubscribe(&self, namespace: &str, room: &str) {
        let shared = &self.shared;
        let mut interest = shared.interest.lock();
        let Some(known) = interest.get_mut(namespace) else {
            return;
        };
        let Some(count) = known.rooms.get_mut(room) else {
            return;
        };
        *count -= 1;
        if *count > 0 {
            return;
        }
        known.rooms.remove(room);
        if let Some((channel, _)) = shared.format.of_room(namespace, room) {
            let _ = shared.changes.send(Change::Unsubscribe(vec![channel]));
        }
    }

    fn publish(&self, namespace: &str, operation: Operation) -> Reply<Result<(), BusError>> {
        let shared = &self.shared;
        if let Err(error) = shared.check() {
            return Reply::ready(Err(error));
        }
        shared.publish(|| Some(shared.format.operation(namespace, &operation)))
    }

    fn request(&self, namespace: &str, request: Request) -> Reply<Result<Answers, BusError>> {
        let shared = self.shared.clone();
        if let Err(error) = shared.check() {
            return Reply::ready(Err(error));
        }
        let Some(census) = shared.format.census(namespace) else {
            return Reply::ready(shared.ask_natively(namespace, request));
        };
        if let Request::Apply(operation) = request {
            let told = self.publish(namespace, operation);
            return Reply::pending(async move { told.await.map(|()| Answers::none()) });
        }
        let limit = shared.config.max_queued_bytes;
        let listeners = match shared.outbox.listeners(limit, census) {
            Ok(listeners) => listeners,
            Err(error) => return Reply::ready(Err(error)),
        };
        let namespace: Arc<str> = namespace.into();
        Reply::pending(async move {
            let listeners = listeners.await.unwrap_or(Err(BusErrorKind::Down.into()))?;
            // This node is one of them.
            let others = usize::try_from(listeners - 1).unwrap_or(0);
            shared.ask_as_node(&namespace, request, others)
        })
    }

    fn nodes(&self) -> Vec<NodeId> {
        self.shared.members.lock().nodes()
    }

    fn health(&self) -> Health {
        self.shared.health()
    }

    fn leave(&self) -> Reply<Result<(), BusError>> {
        let shared = self.shared.clone();
        if !shared.is_started.load(Ordering::Acquire) || shared.is_over() {
            shared.end();
            return Reply::ready(Ok(()));
        }
        let goodbye = shared.publish(|| shared.goodbye());
        Reply::pending(async move {
            let said = match goodbye.await {
                // Node.js has no goodbye here: who does not listen is not counted.
                Err(error) if error.kind() == BusErrorKind::Unsupported => Ok(()),
                other => other,
            };
            let (done, ended) = oneshot::channel();
            if shared.changes.send(Change::End(done)).is_ok() {
                let _ = ended.await;
            }
            shared.end();
            said
        })
    }
}

impl Drop for RedisBus {
    fn drop(&mut self) {
        let shared = &self.shared;
        if shared.is_started.load(Ordering::Acquire) && !shared.is_over() {
            drop(shared.publish(|| shared.goodbye()));
        }
        shared.end();
    }
}

impl std::fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RedisBus")
            .field(&self.shared.config)
            .finish()
    }
}

async fn start(
    shared: &Arc<Shared>,
    changes: mpsc::UnboundedReceiver<Change>,
) -> Result<(), BusError> {
    let mut publisher = connect::publisher(&shared.config).await?;
    let listener = connect::listener(&shared.config).await?;
    look_around(shared, &mut publisher).await?;
    shared.publishing.store(true, Ordering::Release);
    tokio::spawn(outbox::run(shared.clone(), publisher));
    let reader = match &shared.format {
        // Its place is taken before anything can be published that it must not miss.
        Format::Streams(streams, _) => Some(stream::Reader::new(shared, streams).await?),
        _ => None,
    };
    tokio::spawn(listening::run(shared.clone(), listener, changes, reader));
    let mut base = shared.format.base();
    base.push((Channel::Exact(shared.probe_channel()), Route::Probe));
    shared.subscribe(base).await?;
    // There and back once, before anybody relies on it.
    let returned = async {
        loop {
            let verified = shared.verified.notified();
            if shared.probes.lock().lag.is_some() {
                return;
            }
            shared.tick();
            let again = tokio::time::sleep(shared.config.heartbeat_interval);
            tokio::select! {
                () = verified => {}
                () = again => {}
            }
        }
    };
    if tokio::time::timeout(shared.config.response_timeout, returned)
        .await
        .is_err()
    {
        let detail = "what is published does not come back";
        return Err(BusError::with(BusErrorKind::Unavailable, detail));
    }
    introduce(shared).await
}

/// Who else is on this Redis, as far as it may be asked.
async fn look_around(
    shared: &Shared,
    connection: &mut redis::aio::MultiplexedConnection,
) -> Result<(), BusError> {
    let prefix = shared.config.prefix();
    match shared.config.mode {
        RedisMode::Native => {
            let mut channels = redis::cmd("PUBSUB");
            let channels = channels.arg("CHANNELS").arg("*-request#*#");
            let found: Vec<String> = channels.query_async(connection).await.unwrap_or_default();
            if let Some(channel) = found.first() {
                tracing::warn!(
                    channel,
                    "Node.js servers with the classic adapter use this Redis; to be in one cluster with them, \
                     set the mode to classic, and the prefix to theirs"
                );
            }
        }
        RedisMode::Classic | RedisMode::Sharded(_) | RedisMode::Streams => {
            let mut numsub = redis::cmd("PUBSUB");
            let numsub = numsub.arg("NUMSUB").arg(Native::new(&*prefix).all());
            let found = numsub.query_async::<redis::Value>(connection).await;
            if found.is_ok_and(|found| outbox::count(&found) > 0) {
                let detail =
                    format!("nodes in native mode use the prefix {prefix}: choose another");
                return Err(BusError::with(BusErrorKind::Misconfigured, detail));
            }
        }
    }
    Ok(())
}

/// Says hello and waits for the others to answer, as many as listen.
async fn introduce(shared: &Arc<Shared>) -> Result<(), BusError> {
    let Format::Native(native, _) = &shared.format else {
        return Ok(());
    };
    shared
        .publish(|| shared.format.to_all("", &Body::Hello))
        .await?;
    let limit = shared.config.max_queued_bytes;
    let listeners = shared.outbox.listeners(limit, native.all())?;
    let listeners = listeners.await.unwrap_or(Err(BusErrorKind::Down.into()))?;
    let until = tokio::time::Instant::now() + INTRODUCTIONS;
    // Answers come on another connection than this: there is nothing to be told by but themselves.
    while tokio::time::Instant::now() < until {
        if shared.has_double.load(Ordering::Acquire) {
            let detail = format!("another node is named {}", shared.config.node);
            return Err(BusError::with(BusErrorKind::Misconfigured, detail));
        }
        if shared.members.lock().len() as i64 >= listeners - 1 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

impl Shared {
    fn listener(&self) -> Option<&Arc<dyn Listener>> {
        self.listener.get()
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Milliseconds on a clock that does not run backwards.
    fn clock(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn check(&self) -> Result<(), BusError> {
        match self.is_started.load(Ordering::Acquire) && !self.is_over() {
            true => Ok(()),
            false => Err(BusErrorKind::Down.into()),
        }
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        self.outbox.close();
        self.over.notify_waiters();
        let _ = self.changes.send(Change::End(oneshot::channel().0));
    }

    fn subscribe(&self, channels: Vec<(Channel, Route)>) -> Reply<Result<(), BusError>> {
        if self.is_over() {
            return Reply::ready(Err(BusErrorKind::Down.into()));
        }
        let (done, answer) = oneshot::channel();
        let _ = self.changes.send(Change::Subscribe(channels, Some(done)));
        Reply::pending(async move { answer.await.unwrap_or(Err(BusErrorKind::Down.into())) })
    }

    fn publish(&self, make: impl FnOnce() -> Option<Outgoing>) -> Reply<Result<(), BusError>> {
        let (done, answer) = oneshot::channel();
        let limit = self.config.max_queued_bytes;
        if let Err(error) = self.outbox.publish(limit, Some(done), make) {
            if error.is_full() {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
            return Reply::ready(Err(error));
        }
        Reply::pending(async move {
            let result = answer
                .await
                .unwrap_or(Err(BusErrorKind::Unavailable.into()));
            result.map(|_| ())
        })
    }

    /// Publishes without asking what became of it.
    fn tell(&self, node: &NodeId, body: &Body) {
        let limit = self.config.max_queued_bytes;
        let make = || match self.is_leaving.load(Ordering::Acquire) {
            true => None,
            false => self.format.to_node(node, body),
        };
        let _ = self.outbox.publish(limit, None, make);
    }

    /// To all nodes of ours, unless goodbye was said already.
    fn sign_of_life(&self, body: &Body) -> Option<Outgoing> {
        match self.is_leaving.load(Ordering::Acquire) {
            true => None,
            false => self.format.to_all("", body),
        }
    }

    fn goodbye(&self) -> Option<Outgoing> {
        self.is_leaving.store(true, Ordering::Release);
        self.format.to_all("", &Body::Goodbye)
    }

    fn ask_natively(&self, namespace: &str, request: Request) -> Result<Answers, BusError> {
        let id = self.next_request.fetch_add(1, Ordering::Relaxed);
        let nodes = self.members.lock().nodes();
        if nodes.is_empty() {
            return Ok(Answers::none());
        }
        let (sink, answers) = Answers::new(&request, Expected::Nodes(nodes));
        let key = RequestKey::Number(id);
        self.requests.lock().insert(key, request.clone(), sink);
        let limit = self.config.max_queued_bytes;
        let make = || self.format.native_request(namespace, id, &request);
        self.outbox.publish(limit, None, make)?;
        Ok(answers)
    }

    fn ask_as_node(
        &self,
        namespace: &str,
        request: Request,
        others: usize,
    ) -> Result<Answers, BusError> {
        let asked = match &request {
            Request::Count(selection) => Request::FetchSockets(selection.clone()),
            _ => request.clone(),
        };
        if others == 0 {
            return Ok(Answers::none());
        }
        let (sink, answers) = Answers::new(&request, Expected::Number(others));
        let id: Box<str> = format!("{:016x}", rand::random::<u64>()).into();
        let key = RequestKey::Text(id.clone());
        self.requests.lock().insert(key, request, sink);
        let limit = self.config.max_queued_bytes;
        let make = || self.format.node_request(namespace, &id, &asked);
        self.outbox.publish(limit, None, make)?;
        Ok(answers)
    }

    fn node_event(&self, event: NodeEvent) {
        if let Some(listener) = self.listener() {
            listener.on_node(event);
        }
    }

    fn probe_channel(&self) -> String {
        format!("{}-probe:{}", self.config.prefix(), self.config.node)
    }

    /// Every now and then while it is listened.
    fn tick(&self) {
        if self.publishing.load(Ordering::Acquire) {
            let mut probes = self.probes.lock();
            let number = probes.next;
            probes.next += 1;
            if probes.sent.len() < MAX_PROBES {
                probes.sent.push_back((number, Instant::now()));
            }
            drop(probes);
            let outgoing = || Outgoing::Publish {
                channels: vec![self.probe_channel()],
                payload: Bytes::from(format!("{:016x} {number}", self.nonce)),
                is_counted: false,
            };
            let _ = self.outbox.publish(usize::MAX, None, || Some(outgoing()));
            let heartbeat = || self.sign_of_life(&Body::Heartbeat);
            let _ = self.outbox.publish(usize::MAX, None, heartbeat);
        }
        let mut members = self.members.lock();
        // Who hears nothing, not even itself, cannot say that others are silent.
        if self.silence() > self.config.heartbeat_interval * 2 {
            members.forgive(self.clock());
        }
        let lost = members.expire(self.clock());
        drop(members);
        for event in lost {
            if let NodeEvent::Lost(node) = &event {
                self.requests.lock().gone(node);
            }
            self.node_event(event);
        }
    }

    fn probe_heard(&self, payload: &[u8]) {
        let text = std::str::from_utf8(payload).unwrap_or_default();
        let own = format!("{:016x} ", self.nonce);
        let number = text
            .strip_prefix(&*own)
            .and_then(|number| number.parse::<u64>().ok());
        let Some(number) = number else {
            return;
        };
        let mut probes = self.probes.lock();
        while let Some((sent, at)) = probes.sent.front().copied() {
            if sent > number {
                break;
            }
            probes.sent.pop_front();
            if sent == number {
                probes.lag = Some(at.elapsed());
            }
        }
        drop(probes);
        self.verified.notify_waiters();
    }

    /// For how long this node has been publishing without hearing itself: the connections look alive,
    /// and Redis is slow or is not there.
    fn silence(&self) -> Duration {
        let probes = self.probes.lock();
        match probes.sent.front() {
            Some((_, at)) if self.publishing.load(Ordering::Acquire) => at.elapsed(),
            _ => Duration::ZERO,
        }
    }

    /// Everything that is wanted is listened to, after a connection was made.
    fn caught_up(&self) {
        self.probes.lock().sent.clear();
        if !self.is_started.load(Ordering::Acquire) {
            return;
        }
        self.members.lock().forgive(self.clock());
        let _ = self
            .outbox
            .publish(usize::MAX, None, || self.sign_of_life(&Body::Hello));
        tracing::info!(node = %self.config.node, "listens to Redis again");
    }

    fn health(&self) -> Health {
        let is_connected = self.publishing.load(Ordering::Acquire)
            && self.listening.load(Ordering::Acquire)
            && self.reading.load(Ordering::Acquire)
            && self.silence() < self.config.heartbeat_timeout;
        let mut health = Health::default();
        health.link = match self.check() {
            Err(_) => Link::Down,
            Ok(()) if is_connected => Link::Connected,
            Ok(()) => Link::Degraded,
        };
        let lag = self.probes.lock().lag;
        health.lag_ms = lag.map(|lag| lag.as_millis() as u64);
        health.queued_bytes = self.outbox.bytes();
        health.published = self.published.load(Ordering::Relaxed);
        health.received = self.received.load(Ordering::Relaxed);
        let (dropped, overrun) = (&self.dropped, &self.overrun);
        health.dropped = dropped.load(Ordering::Relaxed) + overrun.load(Ordering::Relaxed);
        health.refused = self.refused.load(Ordering::Relaxed);
        health.reconnects = self.reconnects.load(Ordering::Relaxed);
        health
    }
}
