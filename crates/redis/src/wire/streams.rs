//! The streams adapter: `@socket.io/redis-streams-adapter` 0.3, and its emitter.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sockeye_cluster::{Answer, Offset, Operation, Request};
use sockeye_protocol::socketio::Value;

use super::{EMITTER, Frame, Message, ReplyTo, Unreadable, cluster, codec};

/// The streams format.
///
/// What is told goes into a stream and survives a node that is away for a moment; questions and answers
/// go over publish/subscribe, as since 0.3.0 of the package. Nodes of 0.2 do not understand that.
///
/// With more than one stream, the one of a namespace is chosen by a hash that may be negative, and so
/// about half of all namespaces are written to streams such as `socket.io--2`, which Node.js servers
/// never read. [`streams`](Streams::streams) names those too: a node of ours hears what Node.js nodes
/// publish there, although they do not hear each other. One stream avoids it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Streams {
    name: Box<str>,
    count: u32,
    prefix: Box<str>,
    max_len: u64,
    only_plaintext: bool,
}

/// An entry for a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The stream.
    pub stream: String,
    /// The number of entries to which it is cut about (`MAXLEN ~`).
    pub max_len: u64,
    /// Names and values, in order.
    pub fields: Vec<(&'static str, String)>,
}

impl Streams {
    /// The format with the defaults of Node.js: one stream `socket.io` of 10,000 entries, channels under
    /// `socket.io`.
    pub fn new() -> Self {
        Self {
            name: "socket.io".into(),
            count: 1,
            prefix: "socket.io".into(),
            max_len: 10_000,
            only_plaintext: false,
        }
    }

    /// The option `streamName`.
    #[must_use]
    pub fn name(mut self, name: impl Into<Box<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// The option `streamCount`; at least 1.
    #[must_use]
    pub fn count(mut self, count: u32) -> Self {
        self.count = count.max(1);
        self
    }

    /// The option `channelPrefix`.
    #[must_use]
    pub fn channel_prefix(mut self, prefix: impl Into<Box<str>>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The option `maxLen`.
    #[must_use]
    pub fn max_len(mut self, max_len: u64) -> Self {
        self.max_len = max_len;
        self
    }

    /// The option `onlyPlaintext`: the data of entries is always JSON.
    #[must_use]
    pub fn only_plaintext(mut self, only: bool) -> Self {
        self.only_plaintext = only;
        self
    }

    /// What the names of channels begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The stream into which entries of a namespace are written.
    pub fn stream(&self, nsp: &str) -> String {
        if self.count == 1 {
            return self.name.to_string();
        }
        // The remainder has the sign of the hash, in JavaScript as here.
        let place = i64::from(hash(nsp)) % i64::from(self.count);
        format!("{}-{place}", self.name)
    }

    /// Every stream that somebody may write to.
    pub fn streams(&self) -> Vec<String> {
        if self.count == 1 {
            return vec![self.name.to_string()];
        }
        let count = i64::from(self.count);
        (1 - count..count)
            .map(|place| format!("{}-{place}", self.name))
            .collect()
    }

    /// The channel for questions in a namespace. Its number of subscribers is the number of servers.
    pub fn channel(&self, nsp: &str) -> String {
        format!("{}#{nsp}#", self.prefix)
    }

    /// The channel for answers to one node.
    pub fn node_channel(&self, nsp: &str, uid: &str) -> String {
        format!("{}#{nsp}#{uid}#", self.prefix)
    }

    /// Something told. A [`Operation::ServerSide`] goes over a channel: see
    /// [`server_side`](Streams::server_side); as an entry it is what emitters write.
    pub fn operation(&self, uid: &str, nsp: &str, operation: &Operation) -> Entry {
        self.entry(uid, nsp, cluster::operation(nsp, operation))
    }

    /// An event for servers, as nodes tell it; `None` for other operations. Emitters write an
    /// [`operation`](Streams::operation) instead.
    pub fn server_side(&self, uid: &str, nsp: &str, operation: &Operation) -> Option<Message> {
        if uid == EMITTER || !matches!(operation, Operation::ServerSide(_)) {
            return None;
        }
        let value = cluster::map(uid, nsp, cluster::operation(nsp, operation));
        Some(Message {
            channel: self.channel(nsp),
            payload: codec::to_msgpack(&value),
        })
    }

    /// Something asked. `None` for what this format has no request for: [`Request::Count`],
    /// [`Request::Rooms`] and [`Request::Apply`].
    pub fn request(&self, uid: &str, nsp: &str, id: &str, request: &Request) -> Option<Message> {
        let value = cluster::map(uid, nsp, cluster::request(nsp, id, request)?);
        Some(Message {
            channel: self.channel(nsp),
            payload: codec::to_msgpack(&value),
        })
    }

    /// Something answered. `None` for what this format has no response for.
    pub fn answer(&self, uid: &str, nsp: &str, to: &ReplyTo, answer: &Answer) -> Option<Message> {
        let value = cluster::map(uid, nsp, cluster::answer(&to.id, answer)?);
        Some(Message {
            channel: self.node_channel(nsp, to.node.as_str()),
            payload: codec::to_msgpack(&value),
        })
    }

    /// A sign of life, as versions with heartbeats have it.
    pub fn heartbeat(&self, uid: &str, nsp: &str, is_first: bool) -> Entry {
        self.entry(uid, nsp, cluster::heartbeat(is_first))
    }

    /// A goodbye.
    pub fn close(&self, uid: &str, nsp: &str) -> Entry {
        self.entry(uid, nsp, cluster::close())
    }

    /// What came on a channel of a namespace.
    ///
    /// # Errors
    ///
    /// When it is no message of this format and namespace.
    pub fn read(&self, nsp: &str, payload: &Bytes) -> Result<Frame, Unreadable> {
        let value = codec::read_msgpack(payload)?;
        match cluster::read_map(&value)? {
            (found, frame) if found == nsp => Ok(frame),
            _ => Err(Unreadable("another namespace")),
        }
    }

    /// What is in an entry: its namespace, and what it says. The id of the entry becomes the offset of
    /// a broadcast.
    ///
    /// # Errors
    ///
    /// When it is no entry of this format.
    pub fn read_entry<'a>(
        &self,
        id: &str,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<(String, Frame), Unreadable> {
        let (mut uid, mut nsp, mut kind, mut data) = (None, None, None, Value::Null);
        for (name, value) in fields {
            match name {
                "uid" => uid = Some(value),
                "nsp" => nsp = Some(value),
                "type" => kind = value.parse().ok(),
                "data" if value.starts_with('{') => data = codec::read_json(value)?,
                "data" if value.is_empty() => {}
                "data" => {
                    let bytes = STANDARD.decode(value);
                    let bytes = bytes.map_err(|_| Unreadable("neither JSON nor base64"))?;
                    data = codec::read_msgpack(&bytes.into())?;
                }
                _ => {}
            }
        }
        let uid = Value::from(uid.ok_or(Unreadable("no uid"))?);
        let nsp = nsp.ok_or(Unreadable("no namespace"))?;
        let kind = kind.ok_or(Unreadable("no type"))?;
        let offset: Option<Offset> = id.parse().ok();
        Ok((nsp.to_owned(), cluster::read(&uid, kind, &data, offset)?))
    }

    fn entry(&self, uid: &str, nsp: &str, cluster::Typed(kind, data): cluster::Typed) -> Entry {
        let mut fields = vec![
            ("uid", uid.to_owned()),
            ("nsp", nsp.to_owned()),
            ("type", kind.to_string()),
        ];
        if !data.is_null() {
            let data = match data.has_binary() && !self.only_plaintext {
                true => STANDARD.encode(codec::to_msgpack(&data)),
                false => codec::to_json(&data),
            };
            fields.push(("data", data));
        }
        Entry {
            stream: self.stream(nsp),
            max_len: self.max_len,
            fields,
        }
    }
}

impl Default for Streams {
    fn default() -> Self {
        Self::new()
    }
}

/// The sum over UTF-16 code units that Java made popular, in 32 bits.
fn hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}
