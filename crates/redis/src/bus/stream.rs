//! Reading streams.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::Value;
use redis::aio::MultiplexedConnection;
use sockeye_cluster::{BusError, Offset};
use tokio::sync::mpsc;

use super::Shared;
use super::connect::{self, Backoff};
use super::format::Route;
use super::listening::Heard;
use crate::wire::Streams;

/// How long Redis waits for an entry before it answers that there is none.
const BLOCK: Duration = Duration::from_secs(2);
/// Entries in one answer.
const BATCH: usize = 100;

/// The place up to which each stream has been read.
pub(super) struct Reader {
    connection: MultiplexedConnection,
    places: HashMap<String, String>,
}

/// An entry: its id, names and values.
type Read = (String, Vec<(String, String)>);

impl Reader {
    /// A reader that begins behind what is in the streams now.
    pub(super) async fn new(shared: &Shared, streams: &Streams) -> Result<Self, BusError> {
        let mut connection = connect::publisher(&shared.config).await?;
        let mut places = HashMap::new();
        for stream in streams.streams() {
            let last = last_id(&mut connection, &stream).await?;
            places.insert(stream, last);
        }
        Ok(Self { connection, places })
    }

    /// Reads until the bus ends. After a new connection was made it goes on where it was.
    pub(super) async fn run(mut self, shared: Arc<Shared>, heard: mpsc::Sender<Heard>) {
        let mut backoff = Backoff::new();
        while !shared.is_over() {
            match self.read(shared.config.response_timeout).await {
                Ok(entries) => {
                    backoff.reset();
                    for (stream, (id, fields)) in entries {
                        let entry = Heard {
                            route: Route::Entry(id.clone(), fields),
                            channel: stream.clone(),
                            payload: bytes::Bytes::new(),
                        };
                        // When too much waits to be handled it waits in Redis.
                        if heard.send(entry).await.is_err() {
                            return;
                        }
                        self.places.insert(stream, id);
                    }
                }
                Err(error) => {
                    shared.reading.store(false, Ordering::Release);
                    tracing::warn!(node = %shared.config.node, %error, "cannot read streams");
                    tokio::time::sleep(backoff.next()).await;
                    if self.connect(&shared).await.is_ok() {
                        shared.reading.store(true, Ordering::Release);
                        shared.reconnects.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
    }

    async fn connect(&mut self, shared: &Shared) -> Result<(), BusError> {
        self.connection = connect::publisher(&shared.config).await?;
        for (stream, place) in &mut self.places {
            let last = last_id(&mut self.connection, stream).await?;
            let (newest, read) = (last.parse::<Offset>(), place.parse::<Offset>());
            // A server that has lost its data and whose clock is behind counts from lower numbers.
            if matches!((newest, read), (Ok(newest), Ok(read)) if newest < read) {
                *place = NONE.to_owned();
            }
        }
        Ok(())
    }

    async fn read(&mut self, limit: Duration) -> Result<Vec<(String, Read)>, BusError> {
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(BATCH);
        read.arg("BLOCK").arg(BLOCK.as_millis() as u64);
        read.arg("STREAMS");
        let places: Vec<_> = self.places.iter().collect();
        for (stream, _) in &places {
            read.arg(stream);
        }
        for (_, place) in &places {
            read.arg(place);
        }
        let answer = read.query_async::<Value>(&mut self.connection);
        match tokio::time::timeout(BLOCK + limit, answer).await {
            Ok(answer) => answer
                .map(entries)
                .map_err(|failed| connect::error(&failed)),
            Err(_) => Err(sockeye_cluster::BusErrorKind::Unavailable.into()),
        }
    }
}

/// Before the first entry.
const NONE: &str = "0-0";

async fn last_id(connection: &mut MultiplexedConnection, stream: &str) -> Result<String, BusError> {
    let mut range = redis::cmd("XREVRANGE");
    let range = range.arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
    let answer = range.query_async::<Value>(connection).await;
    let answer = answer.map_err(|failed| connect::error(&failed))?;
    let newest = list(answer).into_iter().next().and_then(entry);
    Ok(newest.map_or_else(|| NONE.to_owned(), |(id, _)| id))
}

/// `[[stream, [entry, …]], …]`, or nothing. What is of another shape is left out.
fn entries(answer: Value) -> Vec<(String, Read)> {
    let mut found = Vec::new();
    for stream in list(answer) {
        let mut stream = list(stream).into_iter();
        let (Some(name), Some(entries)) = (stream.next().and_then(text), stream.next()) else {
            continue;
        };
        let entries = list(entries).into_iter().filter_map(entry);
        found.extend(entries.map(|entry| (name.clone(), entry)));
    }
    found
}

/// `[id, [name, value, …]]`. Values that are no text are none of the adapter's, and left out.
fn entry(value: Value) -> Option<Read> {
    let mut parts = list(value).into_iter();
    let id = text(parts.next()?)?;
    let mut fields = Vec::new();
    let mut rest = list(parts.next()?).into_iter();
    while let (Some(name), Some(value)) = (rest.next(), rest.next()) {
        if let (Some(name), Some(value)) = (text(name), text(value)) {
            fields.push((name, value));
        }
    }
    Some((id, fields))
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}
