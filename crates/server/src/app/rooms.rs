//! Rooms of clients: who joins, talks and leaves.
//!
//! Who is in a room is the library's knowledge alone. What is kept beside it is what each member
//! calls itself, in the socket's data: it is gone with the socket, and travels where the socket's
//! data travels.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sockeye::{
    Args, CloseReason, Data, DisconnectReason, EventError, Limits, NoAck, RoomError, Server,
    Socket, State,
};

use super::crowds::Crowds;
use super::names::{self, RoomName};
use super::refusal::Refusal;

/// What the handlers know of their server.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) crowds: Arc<Crowds>,
}

/// What a socket keeps about itself.
#[derive(Default, Serialize, Deserialize)]
struct Profile {
    /// What it calls itself, by room as clients know it. Empty names are left out.
    names: BTreeMap<String, String>,
}

impl Profile {
    fn of(socket: &Socket) -> Self {
        socket.data().unwrap_or_default()
    }

    fn name_in(&self, room: &RoomName) -> &str {
        self.names.get(room.as_str()).map_or("", String::as_str)
    }

    /// Sets the name; whether it was another before.
    fn rename(&mut self, room: &RoomName, name: &str) -> bool {
        if self.name_in(room) == name {
            return false;
        }
        if name.is_empty() {
            self.names.remove(room.as_str());
        } else {
            self.names.insert(room.as_str().to_owned(), name.to_owned());
        }
        true
    }

    fn save(&self, socket: &Socket) -> Result<(), EventError> {
        socket.set_data(self).map_err(EventError::internal)
    }
}

/// The optional second argument of `join`.
#[derive(Default, Deserialize)]
struct JoinOptions {
    name: Option<String>,
}

#[derive(Serialize)]
struct Member {
    id: String,
    name: String,
}

#[derive(Serialize)]
struct Members {
    room: String,
    members: Vec<Member>,
    /// How many there are, where they are not listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
}

#[derive(Serialize)]
struct Joined<'a> {
    room: &'a str,
    id: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
struct Left<'a> {
    room: &'a str,
    id: &'a str,
    name: &'a str,
    reason: &'a str,
}

/// Registers all events of the contract in the namespace `/`.
pub(crate) fn register(server: &Server) {
    let namespace = server.of("/");
    namespace.on_connection(welcome);
    namespace.on_disconnecting(say_goodbye);
    namespace.on("join", join);
    namespace.on("leave", leave);
    namespace.on("publish", publish);
    namespace.on("rooms", rooms);
    namespace.on("members", members);
    namespace.on("ping", ping);
    namespace.on("echo", echo);
    namespace.on_fallback(refuse_unknown);
}

async fn welcome(socket: Socket, node: State<Node>) {
    let hello = serde_json::json!({
        "id": socket.id(),
        "node": node.name,
        "version": env!("CARGO_PKG_VERSION"),
    });
    // A connection that is gone already needs no welcome.
    let _ = socket.emit("welcome", hello);
    if socket.is_recovered() {
        let profile = Profile::of(&socket);
        for room in client_rooms(&socket).await {
            announce(&node, &socket, &room, profile.name_in(&room)).await;
        }
    }
}

async fn join(
    socket: Socket,
    node: State<Node>,
    Data(room): Data<String>,
    Data(options): Data<Option<JoinOptions>>,
) -> Result<Data<Members>, EventError> {
    let room = RoomName::parse(&room)?;
    let name = options.unwrap_or_default().name;
    if let Some(name) = &name {
        names::member_name(name)?;
    }
    let mut profile = Profile::of(&socket);
    let is_new = !socket.is_in(room.inside()).await;
    let renamed = name.is_some_and(|name| profile.rename(&room, &name));
    // The name first: whoever sees the member sees its name.
    if renamed {
        profile.save(&socket)?;
    }
    if is_new && let Err(error) = socket.join(room.inside()).await {
        if renamed && profile.rename(&room, "") {
            profile.save(&socket)?;
        }
        return Err(refused(error));
    }
    if is_new || renamed {
        announce(&node, &socket, &room, profile.name_in(&room)).await;
    }
    Ok(list(&node, &socket, &room).await)
}

async fn leave(
    socket: Socket,
    node: State<Node>,
    Data(room): Data<String>,
) -> Result<Data<serde_json::Value>, EventError> {
    let room = RoomName::parse(&room)?;
    if socket.is_in(room.inside()).await {
        let mut profile = Profile::of(&socket);
        socket.leave(room.inside()).await.map_err(refused)?;
        gone(&node, &socket, &room, profile.name_in(&room), "leave");
        if profile.rename(&room, "") {
            profile.save(&socket)?;
        }
    }
    Ok(Data(serde_json::json!({ "room": room.as_str() })))
}

async fn publish(
    socket: Socket,
    Data(room): Data<String>,
    Data(event): Data<String>,
    data: Args,
) -> Result<Data<serde_json::Value>, EventError> {
    let room = RoomName::parse(&room)?;
    names::event_name(&event)?;
    if !socket.is_in(room.inside()).await {
        return Err(Refusal::NotAMember(room.as_str().to_owned()).into());
    }
    let profile = Profile::of(&socket);
    let message = message(
        &room,
        &event,
        socket.id(),
        profile.name_in(&room),
        &data.take(1),
    )?;
    let delivered = socket
        .to(room.inside())
        .emit_counted("message", message)
        .await?;
    Ok(Data(serde_json::json!({ "delivered": delivered })))
}

async fn rooms(socket: Socket) -> Data<serde_json::Value> {
    let rooms = client_rooms(&socket).await;
    let names: Vec<&str> = rooms.iter().map(RoomName::as_str).collect();
    Data(serde_json::json!({ "rooms": names }))
}

async fn members(
    socket: Socket,
    node: State<Node>,
    Data(room): Data<String>,
) -> Result<Data<Members>, EventError> {
    Ok(list(&node, &socket, &RoomName::parse(&room)?).await)
}

async fn ping() -> Data<serde_json::Value> {
    Data(serde_json::json!({ "now": now() }))
}

async fn echo(arguments: Args) -> Args {
    arguments
}

/// Answers events that the contract does not have.
async fn refuse_unknown() -> Result<NoAck, EventError> {
    Err(Refusal::BadArgument("there is no such event".to_owned()).into())
}

/// Tells the others of every room that the socket goes. Its rooms still stand.
///
/// When the server shuts down everybody goes: telling everybody of everybody would hold it up.
async fn say_goodbye(socket: Socket, node: State<Node>, reason: DisconnectReason) {
    if reason.reason() == CloseReason::ServerShuttingDown {
        return;
    }
    let profile = Profile::of(&socket);
    for room in client_rooms(&socket).await {
        let name = profile.name_in(&room);
        gone(&node, &socket, &room, name, reason.as_str());
    }
}

/// The rooms of clients it is in: all but its own.
async fn client_rooms(socket: &Socket) -> Vec<RoomName> {
    socket
        .rooms()
        .await
        .iter()
        .filter_map(|room| RoomName::from_inside(room))
        .collect()
}

async fn announce(node: &Node, socket: &Socket, room: &RoomName, name: &str) {
    let count = socket.within(room.inside()).count().await.found;
    if !node.crowds.came(&socket.namespace(), room, count) {
        return;
    }
    let joined = Joined {
        room: room.as_str(),
        id: socket.id(),
        name,
    };
    tell(socket, room, "member:joined", joined);
}

fn gone(node: &Node, socket: &Socket, room: &RoomName, name: &str, reason: &str) {
    if !node.crowds.went(room) {
        return;
    }
    let left = Left {
        room: room.as_str(),
        id: socket.id(),
        name,
        reason,
    };
    tell(socket, room, "member:left", left);
}

fn tell(socket: &Socket, room: &RoomName, event: &str, data: impl Serialize) {
    if let Err(error) = socket.to(room.inside()).emit(event, (data,)) {
        tracing::warn!(event, %error, "members were not told");
    }
}

async fn list(node: &Node, socket: &Socket, room: &RoomName) -> Data<Members> {
    let all = socket.within(room.inside());
    let count = all.count().await.found;
    if !node.crowds.lists(room, count) {
        return Data(Members {
            room: room.as_str().to_owned(),
            members: Vec::new(),
            count: Some(count),
        });
    }
    let found = all.fetch_sockets().await;
    let members = found
        .found
        .into_iter()
        .map(|member| {
            let profile: Profile = member.data().unwrap_or_default();
            Member {
                id: member.id().to_owned(),
                name: profile.name_in(room).to_owned(),
            }
        })
        .collect();
    Data(Members {
        room: room.as_str().to_owned(),
        members,
        count: None,
    })
}

/// The only argument of `message`. `data` is one argument or none; it stays as it came, byte for
/// byte: the object is written around it.
fn message(
    room: &RoomName,
    event: &str,
    id: &str,
    name: &str,
    data: &Args,
) -> Result<Args, EventError> {
    let (text, attachments) = data.as_json().unwrap_or_default();
    let (room, event) = (json(room.as_str()), json(event));
    let (id, name) = (json(id), json(name));
    let data = if text.is_empty() { "null" } else { text };
    let at = now();
    let text = format!(
        r#"{{"room":{room},"event":{event},"from":{{"id":{id},"name":{name}}},"data":{data},"at":{at}}}"#
    );
    let limits = Limits {
        max_attachments: usize::MAX,
        ..Limits::default()
    };
    // It was valid where it stood; here it is one level deeper.
    Args::from_json(&text, attachments.to_vec(), &limits)
        .map_err(|_| Refusal::BadArgument("the data is nested too deeply".to_owned()).into())
}

/// A text as JSON.
fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

fn refused(error: RoomError) -> EventError {
    match error {
        RoomError::TooMany(limit) => Refusal::TooManyRooms(limit).into(),
        // Nobody is there to read the answer.
        error => EventError::internal(error),
    }
}

impl From<Refusal> for EventError {
    fn from(refusal: Refusal) -> Self {
        let error = EventError::new(refusal.code(), refusal.to_string());
        match refusal {
            Refusal::NotAMember(room) => error.with_data(serde_json::json!({ "room": room })),
            Refusal::TooManyRooms(limit) => error.with_data(serde_json::json!({ "limit": limit })),
            _ => error,
        }
    }
}
