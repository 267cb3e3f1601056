//! What waits to be published, and the task that publishes it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use sockeye_cluster::{BusError, BusErrorKind};
use tokio::sync::{Notify, oneshot};

use super::Shared;
use super::connect::{self, Backoff};
use super::format::Outgoing;

/// Messages that go to Redis in one write.
const BATCH: usize = 512;
/// Bytes after which a batch takes no more.
const BATCH_BYTES: usize = 1024 * 1024;
/// What a message costs beside its bytes.
const OVERHEAD: usize = 64;

/// What waits, in order.
#[derive(Default)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    pub(super) wake: Notify,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    is_closed: bool,
}

pub(super) struct Item {
    command: Command,
    cost: usize,
    done: Option<Done>,
}

enum Command {
    Publish(Outgoing),
    /// How many listen to a channel.
    Listeners(String),
}

type Done = oneshot::Sender<Result<i64, BusError>>;

impl Outbox {
    /// Queues what `make` makes, under the lock, so that it is made in the order in which it is sent.
    pub(super) fn publish(
        &self,
        limit: usize,
        done: Option<Done>,
        make: impl FnOnce() -> Option<Outgoing>,
    ) -> Result<(), BusError> {
        let mut queue = self.queue.lock();
        // Judged before it is made: its size is not known yet, so the limit is exceeded by one.
        queue.check(limit)?;
        let Some(outgoing) = make() else {
            return Err(BusErrorKind::Unsupported.into());
        };
        let cost = outgoing.len() + outgoing.commands() * OVERHEAD;
        queue.push(Item {
            command: Command::Publish(outgoing),
            cost,
            done,
        });
        drop(queue);
        self.wake.notify_one();
        Ok(())
    }

    /// Asks how many listen to a channel.
    pub(super) fn listeners(
        &self,
        limit: usize,
        channel: String,
    ) -> Result<oneshot::Receiver<Result<i64, BusError>>, BusError> {
        let (done, answer) = oneshot::channel();
        let mut queue = self.queue.lock();
        queue.check(limit)?;
        queue.push(Item {
            cost: channel.len() + OVERHEAD,
            command: Command::Listeners(channel),
            done: Some(done),
        });
        drop(queue);
        self.wake.notify_one();
        Ok(answer)
    }

    pub(super) fn bytes(&self) -> usize {
        self.queue.lock().bytes
    }

    /// Takes no more, and lets the task end when all has been sent.
    pub(super) fn close(&self) {
        self.queue.lock().is_closed = true;
        self.wake.notify_one();
    }

    /// The next batch; `None` when nothing waits. Says whether the end has come.
    fn next(&self) -> (Vec<Item>, bool) {
        let mut queue = self.queue.lock();
        let (mut items, mut bytes) = (Vec::new(), 0);
        while items.len() < BATCH && bytes < BATCH_BYTES {
            let Some(item) = queue.items.pop_front() else {
                break;
            };
            bytes += item.cost;
            items.push(item);
        }
        (items, queue.is_closed)
    }

    fn paid(&self, items: &[Item]) {
        let cost: usize = items.iter().map(|item| item.cost).sum();
        self.queue.lock().bytes -= cost;
    }
}

impl Queue {
    fn check(&self, limit: usize) -> Result<(), BusError> {
        if self.is_closed {
            return Err(BusErrorKind::Down.into());
        }
        match self.bytes < limit {
            true => Ok(()),
            false => Err(BusErrorKind::Full.into()),
        }
    }

    fn push(&mut self, item: Item) {
        self.bytes += item.cost;
        self.items.push_back(item);
    }
}

/// Publishes until the outbox is closed and empty. What is on its way when a connection breaks is not
/// sent again: it may have arrived.
pub(super) async fn run(shared: Arc<Shared>, connection: MultiplexedConnection) {
    let mut connection = Some(connection);
    let mut backoff = Backoff::new();
    loop {
        let Some(open) = &mut connection else {
            shared.publishing.store(false, Ordering::Release);
            if shared.is_over() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next()) => {}
                () = shared.over.notified() => return,
            }
            connection = connect::publisher(&shared.config).await.ok();
            if connection.is_some() {
                shared.reconnects.fetch_add(1, Ordering::Relaxed);
                shared.publishing.store(true, Ordering::Release);
                backoff.reset();
            }
            continue;
        };
        if shared.suspect.swap(false, Ordering::AcqRel) && !lives(&shared, open).await {
            connection = None;
            continue;
        }
        let woken = shared.outbox.wake.notified();
        let (items, is_closed) = shared.outbox.next();
        if items.is_empty() {
            if is_closed {
                return;
            }
            woken.await;
            continue;
        }
        let is_connected = send(&shared, open, items).await;
        if !is_connected {
            connection = None;
        }
    }
}

/// Whether a connection still is one. It is asked when the other connection broke, so that nothing is
/// written to one that has gone with it.
async fn lives(shared: &Shared, connection: &mut MultiplexedConnection) -> bool {
    let ping = redis::cmd("PING");
    let pong = ping.query_async::<String>(connection);
    within(shared.config.response_timeout, pong).await.is_ok()
}

/// Sends a batch; whether the connection can be used further.
async fn send(shared: &Shared, connection: &mut MultiplexedConnection, items: Vec<Item>) -> bool {
    let mut pipeline = redis::Pipeline::with_capacity(items.len());
    let (publish, numsub) = match shared.config.mode.is_sharded() {
        true => ("SPUBLISH", "SHARDNUMSUB"),
        false => ("PUBLISH", "NUMSUB"),
    };
    for item in &items {
        match &item.command {
            Command::Publish(Outgoing::Publish {
                channels, payload, ..
            }) => {
                for channel in channels {
                    pipeline.cmd(publish).arg(channel).arg(&payload[..]);
                }
            }
            Command::Publish(Outgoing::Add(entry)) => {
                let command = pipeline.cmd("XADD").arg(&entry.stream).arg("MAXLEN");
                let command = command.arg("~").arg(entry.max_len).arg("*");
                command.arg(&entry.fields);
            }
            Command::Listeners(channel) => {
                pipeline.cmd("PUBSUB").arg(numsub).arg(channel);
            }
        }
    }
    // What Redis refuses concerns one message, not those that were sent with it.
    pipeline.ignore_errors();
    let limit = shared.config.response_timeout;
    let sent = within(limit, pipeline.query_async(connection)).await;
    let sent: Result<Vec<redis::RedisResult<redis::Value>>, BusError> = sent;
    shared.outbox.paid(&items);
    let is_connected = sent.is_ok();
    let mut answers = sent.map(Vec::into_iter);
    for item in items {
        let result = match &mut answers {
            Ok(answers) => outcome(&item.command, answers),
            Err(error) => Err(error.clone()),
        };
        if matches!(&item.command, Command::Publish(outgoing) if outgoing.is_counted()) {
            let counter = match result {
                Ok(_) => &shared.published,
                Err(_) => &shared.dropped,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(done) = item.done {
            let _ = done.send(result);
        }
    }
    is_connected
}

/// What became of one command: as many answers as it had channels.
fn outcome(
    command: &Command,
    answers: &mut impl Iterator<Item = redis::RedisResult<redis::Value>>,
) -> Result<i64, BusError> {
    let (expected, is_count) = match command {
        Command::Publish(outgoing) => (outgoing.commands(), false),
        Command::Listeners(_) => (1, true),
    };
    let mut result = Ok(0);
    for answer in answers.take(expected) {
        match answer {
            Ok(answer) if is_count => result = Ok(count(&answer)),
            Ok(_) => {}
            Err(failed) => result = Err(connect::error(&failed)),
        }
    }
    result
}

/// The number in `[channel, number]`, or in the map that it is in RESP3.
pub(super) fn count(answer: &redis::Value) -> i64 {
    let number = match answer {
        redis::Value::Array(pair) => pair.get(1),
        redis::Value::Map(map) => map.first().map(|(_, number)| number),
        _ => None,
    };
    number.map_or(0, |number| redis::from_redis_value_ref(number).unwrap_or(0))
}

async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = redis::RedisResult<T>>,
) -> Result<T, BusError> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer.map_err(|error| connect::error(&error)),
        Err(_) => Err(BusError::with(
            BusErrorKind::Unavailable,
            "Redis does not answer in time",
        )),
    }
}
