//! Both formats behind one face: what to subscribe to and what to send.

use std::sync::Arc;

use bytes::Bytes;
use sockeye_cluster::{Answer, Body, NodeId, Operation, Request, Sealer};

use crate::Native;
use crate::emitter::now_ms;
use crate::wire::{Classic, Entry, Message, ReplyTo, Sharded, Streams};

/// What this node speaks.
#[derive(Debug)]
pub(super) enum Format {
    Native(Native, Sealer),
    Classic(Classic, NodeId),
    Sharded(Sharded, NodeId),
    Streams(Streams, NodeId),
}

/// What to subscribe to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Channel {
    Exact(String),
    Pattern(String),
}

/// What comes on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// This node's own probes.
    Probe,
    /// Envelopes.
    Native,
    /// Broadcasts of a namespace in the classic format.
    Broadcasts(Arc<str>),
    /// Requests.
    Requests(Arc<str>),
    /// Responses.
    Responses(Arc<str>),
    /// Anything of a namespace in the sharded format.
    Sharded(Arc<str>),
    /// Questions, answers and events for servers in the streams format.
    Ephemeral(Arc<str>),
    /// An entry of a stream: its id, names and values.
    Entry(String, Vec<(String, String)>),
}

/// Something to be sent.
#[derive(Debug)]
pub(super) enum Outgoing {
    Publish {
        channels: Vec<String>,
        payload: Bytes,
        /// Whether it is a message of somebody, and not the bus's own affair.
        is_counted: bool,
    },
    Add(Entry),
}

/// Who has asked, and how to answer.
#[derive(Debug, Clone)]
pub(super) enum Asker {
    Native { node: NodeId, id: u64 },
    Node(ReplyTo),
}

impl Channel {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Exact(name) | Self::Pattern(name) => name,
        }
    }
}

impl Format {
    /// What every node of the cluster listens to.
    pub(super) fn base(&self) -> Vec<(Channel, Route)> {
        match self {
            Self::Native(native, sealer) => [native.all(), native.node(sealer.node())]
                .into_iter()
                .map(|channel| (Channel::Exact(channel), Route::Native))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// What a node of a namespace listens to.
    pub(super) fn of_namespace(&self, nsp: &Arc<str>) -> Vec<(Channel, Route)> {
        match self {
            Self::Native(native, _) => {
                vec![(Channel::Exact(native.namespace(nsp)), Route::Native)]
            }
            // The channels for answers first: whoever hears a question must be able to ask one.
            Self::Classic(classic, node) => vec![
                (
                    Channel::Exact(classic.response_channel(nsp)),
                    Route::Responses(nsp.clone()),
                ),
                (
                    Channel::Exact(classic.own_response_channel(nsp, node.as_str())),
                    Route::Responses(nsp.clone()),
                ),
                (
                    Channel::Pattern(classic.pattern(nsp)),
                    Route::Broadcasts(nsp.clone()),
                ),
                (
                    Channel::Exact(classic.request_channel(nsp)),
                    Route::Requests(nsp.clone()),
                ),
            ],
            Self::Sharded(sharded, node) => {
                let own = sharded.node_channel(nsp, node.as_str());
                let channels = [own, sharded.channel(nsp)].into_iter();
                let route = Route::Sharded(nsp.clone());
                channels
                    .map(|channel| (Channel::Exact(channel), route.clone()))
                    .collect()
            }
            Self::Streams(streams, node) => {
                let own = streams.node_channel(nsp, node.as_str());
                let channels = [own, streams.channel(nsp)].into_iter();
                let route = Route::Ephemeral(nsp.clone());
                channels
                    .map(|channel| (Channel::Exact(channel), route.clone()))
                    .collect()
            }
        }
    }

    /// What a node with members of a room listens to, if that is more than the namespace's channels.
    pub(super) fn of_room(&self, nsp: &str, room: &str) -> Option<(Channel, Route)> {
        match self {
            Self::Native(native, _) if native.has_channel(room) => {
                Some((Channel::Exact(native.room(nsp, room)), Route::Native))
            }
            // A room may have the name of this node, and then its channel, which is never left.
            Self::Sharded(sharded, own) if room != own.as_str() => {
                let channel = sharded.room_channel(nsp, room)?;
                Some((Channel::Exact(channel), Route::Sharded(nsp.into())))
            }
            _ => None,
        }
    }

    pub(super) fn operation(&self, nsp: &str, operation: &Operation) -> Outgoing {
        match self {
            Self::Native(native, sealer) => {
                let channels = native.channels(nsp, operation);
                let body = Body::Operation(operation.clone());
                Outgoing::Publish {
                    channels,
                    payload: sealer.seal(now_ms(), nsp, &body),
                    is_counted: true,
                }
            }
            Self::Classic(classic, node) => classic.operation(node.as_str(), nsp, operation).into(),
            Self::Sharded(sharded, node) => sharded.operation(node.as_str(), nsp, operation).into(),
            Self::Streams(streams, node) => {
                match streams.server_side(node.as_str(), nsp, operation) {
                    Some(message) => message.into(),
                    None => Outgoing::Add(streams.operation(node.as_str(), nsp, operation)),
                }
            }
        }
    }

    pub(super) fn answer(&self, asker: &Asker, nsp: &str, answer: Answer) -> Option<Outgoing> {
        match (self, asker) {
            (Self::Native(native, sealer), Asker::Native { node, id }) => {
                let body = Body::Answer {
                    id: *id,
                    to: node.clone(),
                    answer,
                };
                Some(Outgoing::Publish {
                    channels: vec![native.node(node)],
                    payload: sealer.seal(now_ms(), nsp, &body),
                    is_counted: true,
                })
            }
            (Self::Classic(classic, _), Asker::Node(to)) => {
                classic.answer(nsp, to, &answer).map(Outgoing::from)
            }
            (Self::Sharded(sharded, own), Asker::Node(to)) => {
                let message = sharded.answer(own.as_str(), nsp, to, &answer);
                message.map(Outgoing::from)
            }
            (Self::Streams(streams, own), Asker::Node(to)) => {
                let message = streams.answer(own.as_str(), nsp, to, &answer);
                message.map(Outgoing::from)
            }
            _ => None,
        }
    }

    /// A question of the native format, for all nodes.
    pub(super) fn native_request(&self, nsp: &str, id: u64, request: &Request) -> Option<Outgoing> {
        let request = request.clone();
        self.to_all(nsp, &Body::Request { id, request })
    }

    /// A question in a format of Node.js, if it has one for this.
    pub(super) fn node_request(&self, nsp: &str, id: &str, request: &Request) -> Option<Outgoing> {
        let message = match self {
            Self::Native(..) => None,
            Self::Classic(classic, own) => classic.request(own.as_str(), nsp, id, request),
            Self::Sharded(sharded, own) => sharded.request(own.as_str(), nsp, id, request),
            Self::Streams(streams, own) => streams.request(own.as_str(), nsp, id, request),
        };
        message.map(Outgoing::from)
    }

    /// The channel whose listeners are the nodes of a namespace, in the formats of Node.js.
    pub(super) fn census(&self, nsp: &str) -> Option<String> {
        match self {
            Self::Native(..) => None,
            Self::Classic(classic, _) => Some(classic.request_channel(nsp)),
            Self::Sharded(sharded, _) => Some(sharded.channel(nsp)),
            Self::Streams(streams, _) => Some(streams.channel(nsp)),
        }
    }

    /// For all nodes of ours; nothing in the formats of Node.js.
    pub(super) fn to_all(&self, nsp: &str, body: &Body) -> Option<Outgoing> {
        match self {
            Self::Native(native, sealer) => Some(Outgoing::Publish {
                channels: vec![native.all()],
                payload: sealer.seal(now_ms(), nsp, body),
                is_counted: matches!(body, Body::Request { .. }),
            }),
            _ => None,
        }
    }

    /// For one node of ours.
    pub(super) fn to_node(&self, node: &NodeId, body: &Body) -> Option<Outgoing> {
        match self {
            Self::Native(native, sealer) => Some(Outgoing::Publish {
                channels: vec![native.node(node)],
                payload: sealer.seal(now_ms(), "", body),
                is_counted: false,
            }),
            _ => None,
        }
    }
}

impl Outgoing {
    /// How many commands it takes.
    pub(super) fn commands(&self) -> usize {
        match self {
            Self::Publish { channels, .. } => channels.len(),
            Self::Add(_) => 1,
        }
    }

    /// Bytes of names and contents.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Publish {
                channels, payload, ..
            } => payload.len() + channels.iter().map(String::len).sum::<usize>(),
            Self::Add(entry) => {
                let fields = entry.fields.iter();
                fields.map(|(name, value)| name.len() + value.len()).sum()
            }
        }
    }

    pub(super) fn is_counted(&self) -> bool {
        match self {
            Self::Publish { is_counted, .. } => *is_counted,
            Self::Add(_) => true,
        }
    }
}

impl From<Message> for Outgoing {
    fn from(message: Message) -> Self {
        Self::Publish {
            channels: vec![message.channel],
            payload: message.payload,
            is_counted: true,
        }
    }
}
