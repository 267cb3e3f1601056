//! A connection that is listened on: plain publish/subscribe, or sharded.

use bytes::Bytes;
use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSub, PubSubSink, PubSubStream};
use redis::{PushInfo, PushKind, RedisResult, Value};
use tokio::sync::mpsc::UnboundedReceiver;

/// Where subscriptions are asked for.
pub(super) enum Subscriber {
    Plain(PubSubSink),
    /// RESP3; there only the exact names of channels exist.
    Sharded(MultiplexedConnection),
}

/// Where messages come from.
pub(super) enum Source {
    Plain(PubSubStream),
    Sharded(UnboundedReceiver<PushInfo>),
}

/// A message, and by which subscription it came.
pub(super) struct Incoming {
    /// The pattern, if it came by one.
    pub(super) pattern: Option<String>,
    pub(super) channel: String,
    pub(super) payload: Bytes,
}

pub(super) fn plain(connection: PubSub) -> (Subscriber, Source) {
    let (sink, stream) = connection.split();
    (Subscriber::Plain(sink), Source::Plain(stream))
}

pub(super) fn sharded(
    connection: MultiplexedConnection,
    pushes: UnboundedReceiver<PushInfo>,
) -> (Subscriber, Source) {
    (Subscriber::Sharded(connection), Source::Sharded(pushes))
}

impl Subscriber {
    /// In force when it has answered.
    pub(super) async fn subscribe(&mut self, channels: &[&str]) -> RedisResult<()> {
        match self {
            Self::Plain(sink) => sink.subscribe(channels).await,
            Self::Sharded(connection) => each(connection, "SSUBSCRIBE", channels).await,
        }
    }

    pub(super) async fn unsubscribe(&mut self, channels: &[&str]) -> RedisResult<()> {
        match self {
            Self::Plain(sink) => sink.unsubscribe(channels).await,
            Self::Sharded(connection) => each(connection, "SUNSUBSCRIBE", channels).await,
        }
    }

    /// Not for sharded ones, which have no patterns.
    pub(super) async fn subscribe_patterns(&mut self, patterns: &[&str]) -> RedisResult<()> {
        match self {
            Self::Plain(sink) => sink.psubscribe(patterns).await,
            Self::Sharded(_) => Ok(()),
        }
    }

    pub(super) async fn unsubscribe_patterns(&mut self, patterns: &[&str]) -> RedisResult<()> {
        match self {
            Self::Plain(sink) => sink.punsubscribe(patterns).await,
            Self::Sharded(_) => Ok(()),
        }
    }
}

/// One command for each channel, as one answer comes for each; all in one write.
async fn each(
    connection: &mut MultiplexedConnection,
    command: &str,
    channels: &[&str],
) -> RedisResult<()> {
    let mut pipeline = redis::Pipeline::with_capacity(channels.len());
    for channel in channels {
        pipeline.cmd(command).arg(channel);
    }
    let _: Vec<Value> = pipeline.query_async(connection).await?;
    Ok(())
}

impl Source {
    /// `None` when the connection has ended.
    pub(super) async fn next(&mut self) -> Option<Incoming> {
        match self {
            Self::Plain(stream) => {
                let message = stream.next().await?;
                let pattern = match message.from_pattern() {
                    true => message.get_pattern().ok(),
                    false => None,
                };
                Some(Incoming {
                    pattern,
                    channel: message.get_channel_name().to_owned(),
                    payload: Bytes::copy_from_slice(message.get_payload_bytes()),
                })
            }
            Self::Sharded(pushes) => loop {
                let PushInfo { kind, data } = pushes.recv().await?;
                match kind {
                    PushKind::Disconnection => return None,
                    PushKind::SMessage => {}
                    // Confirmations, which the subscriber has seen.
                    _ => continue,
                }
                let mut data = data.into_iter();
                let (Some(Value::BulkString(channel)), Some(Value::BulkString(payload))) =
                    (data.next(), data.next())
                else {
                    continue;
                };
                let Ok(channel) = String::from_utf8(channel) else {
                    continue;
                };
                return Some(Incoming {
                    pattern: None,
                    channel,
                    payload: payload.into(),
                });
            },
        }
    }
}
