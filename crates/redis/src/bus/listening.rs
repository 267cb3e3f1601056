//! What this node listens to, and the tasks that hear it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use sockeye_cluster::{BusError, BusErrorKind};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::Shared;
use super::connect::{self, Backoff};
use super::ears::{Incoming, Source, Subscriber};
use super::format::{Channel, Route};

/// Channels in one command.
const BATCH: usize = 512;
/// Messages that were read and not yet handled; beyond it they are dropped and counted.
const MAX_UNHANDLED: usize = 65_536;

/// A change of what is listened to.
pub(super) enum Change {
    Subscribe(
        Vec<(Channel, Route)>,
        Option<oneshot::Sender<Result<(), BusError>>>,
    ),
    Unsubscribe(Vec<Channel>),
    /// Ends everything.
    End(oneshot::Sender<()>),
}

/// A message as it was read.
pub(super) struct Heard {
    pub(super) route: Route,
    pub(super) channel: String,
    pub(super) payload: Bytes,
}

/// Why a connection is no longer used.
enum Stop {
    Broken,
    End(oneshot::Sender<()>),
}

/// Listens until told to end. Whatever was subscribed to is so again after a new connection was made.
pub(super) async fn run(
    shared: Arc<Shared>,
    connection: (Subscriber, Source),
    mut changes: mpsc::UnboundedReceiver<Change>,
    streams: Option<super::stream::Reader>,
) {
    let mut wanted: HashMap<Channel, Route> = HashMap::new();
    let mut connection = Some(connection);
    let mut backoff = Backoff::new();
    let (heard, unhandled) = mpsc::channel(MAX_UNHANDLED);
    // Across connections, so that nothing overtakes what came on the one before.
    tokio::spawn(super::incoming::handle(shared.clone(), unhandled));
    let _streams = streams.map(|reader| {
        let reading = reader.run(shared.clone(), heard.clone());
        Task(tokio::spawn(reading))
    });
    loop {
        let Some(open) = connection.take() else {
            // What is asked for meanwhile is remembered, and said not to be in force.
            let again = tokio::time::sleep(backoff.next());
            tokio::pin!(again);
            loop {
                let change = tokio::select! {
                    () = &mut again => break,
                    change = changes.recv() => change,
                };
                match change.and_then(|change| remember(change, &mut wanted)) {
                    Some(Stop::End(done)) => {
                        let _ = done.send(());
                        return;
                    }
                    Some(Stop::Broken) | None => {}
                }
            }
            connection = connect::listener(&shared.config).await.ok();
            if connection.is_some() {
                shared.reconnects.fetch_add(1, Ordering::Relaxed);
            }
            continue;
        };
        let stop = serve(
            &shared,
            open,
            &heard,
            &mut changes,
            &mut wanted,
            &mut backoff,
        )
        .await;
        if let Stop::End(done) = stop {
            shared.listening.store(false, Ordering::Release);
            let _ = done.send(());
            return;
        }
        // Before anybody can see that the link is down.
        shared.suspect.store(true, Ordering::Release);
        shared.listening.store(false, Ordering::Release);
        shared.outbox.wake.notify_one();
        tracing::warn!(node = %shared.config.node, "lost the connection on which Redis is listened to");
    }
}

fn remember(change: Change, wanted: &mut HashMap<Channel, Route>) -> Option<Stop> {
    match change {
        Change::Subscribe(channels, done) => {
            wanted.extend(channels);
            if let Some(done) = done {
                let _ = done.send(Err(BusErrorKind::Unavailable.into()));
            }
        }
        Change::Unsubscribe(channels) => {
            for channel in channels {
                wanted.remove(&channel);
            }
        }
        Change::End(done) => return Some(Stop::End(done)),
    }
    None
}

/// Uses one connection until it breaks.
async fn serve(
    shared: &Arc<Shared>,
    (mut sink, source): (Subscriber, Source),
    heard: &mpsc::Sender<Heard>,
    changes: &mut mpsc::UnboundedReceiver<Change>,
    wanted: &mut HashMap<Channel, Route>,
    backoff: &mut Backoff,
) -> Stop {
    // The reader only drains the socket; decoding and handling happen elsewhere, in the same order.
    let mut reader = Task(tokio::spawn(drain(shared.clone(), source, heard.clone())));
    let all: Vec<_> = wanted.iter().map(|(c, r)| (c.clone(), r.clone())).collect();
    for batch in all.chunks(BATCH) {
        if subscribe(shared, &mut sink, batch).await.is_err() {
            return Stop::Broken;
        }
    }
    shared.listening.store(true, Ordering::Release);
    shared.caught_up();
    backoff.reset();
    let mut ticks = tokio::time::interval(shared.config.heartbeat_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let change = tokio::select! {
            biased;
            _ = &mut reader.0 => return Stop::Broken,
            change = changes.recv() => change,
            _ = ticks.tick() => {
                shared.tick();
                if shared.silence() > shared.config.response_timeout {
                    return Stop::Broken;
                }
                continue;
            }
        };
        let Some(change) = change else {
            return Stop::Broken;
        };
        match change {
            Change::Subscribe(channels, done) => {
                if let Err(stop) =
                    subscribe_several(shared, &mut sink, (channels, done), changes, wanted).await
                {
                    return stop;
                }
            }
            Change::Unsubscribe(channels) => {
                if unsubscribe(shared, &mut sink, channels, wanted)
                    .await
                    .is_err()
                {
                    return Stop::Broken;
                }
            }
            Change::End(done) => {
                let all = wanted.keys().cloned().collect();
                let _ = unsubscribe(shared, &mut sink, all, wanted).await;
                return Stop::End(done);
            }
        }
    }
}

type Subscription = (
    Vec<(Channel, Route)>,
    Option<oneshot::Sender<Result<(), BusError>>>,
);

/// What is subscribed to at about the same time goes out in one command.
async fn subscribe_several(
    shared: &Arc<Shared>,
    sink: &mut Subscriber,
    first: Subscription,
    changes: &mut mpsc::UnboundedReceiver<Change>,
    wanted: &mut HashMap<Channel, Route>,
) -> Result<(), Stop> {
    let (mut channels, mut waiting) = (first.0, vec![first.1]);
    let mut next = None;
    while channels.len() < BATCH {
        match changes.try_recv() {
            Ok(Change::Subscribe(more, done)) => {
                channels.extend(more);
                waiting.push(done);
            }
            Ok(other) => {
                next = Some(other);
                break;
            }
            Err(_) => break,
        }
    }
    channels.retain(|(channel, route)| wanted.insert(channel.clone(), route.clone()).is_none());
    let result = subscribe(shared, sink, &channels).await;
    for done in waiting.into_iter().flatten() {
        let _ = done.send(result.clone());
    }
    match &result {
        Err(error) if error.is_unavailable() => {
            return Err(next
                .and_then(|change| remember(change, wanted))
                .unwrap_or(Stop::Broken));
        }
        // Redis refuses: what is not in force must be asked for again.
        Err(_) => {
            let mut routes = shared.routes.lock();
            for (channel, _) in &channels {
                wanted.remove(channel);
                routes.remove(channel.name());
            }
        }
        Ok(()) => {}
    }
    match next {
        Some(Change::Unsubscribe(channels)) => {
            let done = unsubscribe(shared, sink, channels, wanted).await;
            done.map_err(|_| Stop::Broken)
        }
        Some(Change::End(done)) => {
            let all = wanted.keys().cloned().collect();
            let _ = unsubscribe(shared, sink, all, wanted).await;
            Err(Stop::End(done))
        }
        _ => Ok(()),
    }
}

async fn subscribe(
    shared: &Shared,
    sink: &mut Subscriber,
    channels: &[(Channel, Route)],
) -> Result<(), BusError> {
    let routes = channels
        .iter()
        .map(|(channel, route)| (channel.name().to_owned(), route.clone()));
    shared.routes.lock().extend(routes);
    let (exact, patterns) = split(channels.iter().map(|(channel, _)| channel));
    let limit = shared.config.response_timeout;
    if !exact.is_empty() {
        in_time(limit, sink.subscribe(&exact)).await?;
    }
    if !patterns.is_empty() {
        in_time(limit, sink.subscribe_patterns(&patterns)).await?;
    }
    Ok(())
}

async fn unsubscribe(
    shared: &Shared,
    sink: &mut Subscriber,
    mut channels: Vec<Channel>,
    wanted: &mut HashMap<Channel, Route>,
) -> Result<(), BusError> {
    channels.retain(|channel| wanted.remove(channel).is_some());
    let limit = shared.config.response_timeout;
    let (exact, patterns) = split(channels.iter());
    for batch in exact.chunks(BATCH) {
        in_time(limit, sink.unsubscribe(batch)).await?;
    }
    for batch in patterns.chunks(BATCH) {
        in_time(limit, sink.unsubscribe_patterns(batch)).await?;
    }
    let mut routes = shared.routes.lock();
    for channel in &channels {
        routes.remove(channel.name());
    }
    Ok(())
}

fn split<'a>(channels: impl Iterator<Item = &'a Channel>) -> (Vec<&'a str>, Vec<&'a str>) {
    let (mut exact, mut patterns) = (Vec::new(), Vec::new());
    for channel in channels {
        match channel {
            Channel::Exact(name) => exact.push(&**name),
            Channel::Pattern(name) => patterns.push(&**name),
        }
    }
    (exact, patterns)
}

async fn in_time(
    limit: Duration,
    answer: impl Future<Output = redis::RedisResult<()>>,
) -> Result<(), BusError> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer.map_err(|error| connect::error(&error)),
        Err(_) => Err(BusErrorKind::Unavailable.into()),
    }
}

/// Reads until the connection ends.
async fn drain(shared: Arc<Shared>, mut source: Source, heard: mpsc::Sender<Heard>) {
    while let Some(incoming) = source.next().await {
        let Incoming {
            pattern,
            channel,
            payload,
        } = incoming;
        let name = pattern.as_deref().unwrap_or(&channel);
        let route = shared.routes.lock().get(name).cloned();
        // Unsubscribed from while it was on its way.
        let Some(route) = route else {
            continue;
        };
        let heard_now = Heard {
            route,
            channel,
            payload,
        };
        match heard.try_send(heard_now) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                shared.overrun.fetch_add(1, Ordering::Relaxed);
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return,
        }
    }
}

/// Ends with whoever has started it.
struct Task(tokio::task::JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
