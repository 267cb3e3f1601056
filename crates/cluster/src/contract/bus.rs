//! The test suite that every [`Bus`] must pass.
//!
//! An implementation writes a [`Cluster`] and calls [`all`], or the functions one by one. Each
//! function panics when the bus breaks the promise it is named for.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use sockeye_protocol::socketio::{Args, Binary, Parser, ToArgs};

use crate::{
    Answer, Answers, Broadcast, Bus, Event, Flags, Listener, NodeEvent, NodeId, Operation, Request,
    Responder, RoomSize, Selection, SocketDetails,
};

/// How the suite gets at nodes of one cluster, and how it waits.
pub trait Cluster {
    /// A node of this name that has not started. Nodes of different values of the harness must not
    /// hear each other.
    fn join(&mut self, name: &str) -> impl Future<Output = Arc<dyn Bus>>;

    /// Lets a little time pass, about ten milliseconds. What does not happen within 500 of them is
    /// taken not to happen.
    fn pause(&mut self) -> impl Future<Output = ()>;

    /// What the engine can do.
    fn manners(&self) -> Manners;
}

/// What an engine can do beyond what all must. Formats made for others have less.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    /// A node hears only of the rooms it has subscribed to.
    pub routes: bool,
    /// Nodes know each other by name.
    pub names: bool,
    /// [`Request::Count`] and [`Request::Apply`] exist.
    pub counts: bool,
    /// [`Request::Rooms`] exists.
    pub rooms: bool,
    /// Everything of a node comes in one order, not only what is for sockets.
    pub one_way: bool,
}

impl Manners {
    /// Everything.
    pub const fn native() -> Self {
        Self {
            routes: true,
            names: true,
            counts: true,
            rooms: true,
            one_way: true,
        }
    }
}

/// Runs the whole suite, with a new cluster for each part.
pub async fn all<C: Cluster>(mut new: impl FnMut() -> C) {
    operations_arrive_whole_and_not_at_home(&mut new()).await;
    order_is_that_of_the_publisher(&mut new()).await;
    what_is_published_after_a_subscription_arrives(&mut new()).await;
    several_rooms_are_one_delivery(&mut new()).await;
    only_those_concerned_hear(&mut new()).await;
    interest_is_counted(&mut new()).await;
    names_may_be_anything(&mut new()).await;
    questions_are_answered(&mut new()).await;
    acknowledgements_are_gathered(&mut new()).await;
    a_silent_node_stops_nobody(&mut new()).await;
    nodes_come_and_go(&mut new()).await;
    nobody_is_asked_when_nobody_is_there(&mut new()).await;
}

/// Every operation, with binary and all flags, reaches the other node and not the one that tells.
pub async fn operations_arrive_whole_and_not_at_home<C: Cluster>(cluster: &mut C) {
    let (a, b) = pair(cluster).await;
    open(&[&a, &b], "/chat").await;
    for room in ["r1", "r2", "id"] {
        subscribe(&b, "/chat", room).await;
    }
    let operations = operations();
    for operation in &operations {
        publish(&a, "/chat", operation.clone()).await;
    }
    b.wait(cluster, |heard| heard.len() >= operations.len())
        .await;
    let mut heard = b.heard();
    if !cluster.manners().one_way {
        // As it is the last one in the list.
        heard.sort_by_key(|(_, _, operation)| matches!(operation, Operation::ServerSide(_)));
    }
    for (expected, (namespace, from, operation)) in operations.iter().zip(&heard) {
        assert_eq!(plain(operation), plain(expected));
        assert_eq!(namespace, "/chat");
        if cluster.manners().names {
            assert_eq!(from, a.bus.node());
        }
    }
    assert_eq!(heard.len(), operations.len());
    // Whatever b says now comes after anything of a's own that might have come back.
    publish(&b, "/chat", tell(Selection::all(), 7)).await;
    a.wait(cluster, |heard| !heard.is_empty()).await;
    assert_eq!(numbers(&a.heard()), [7]);
}

/// Whatever it is addressed to, in each namespace.
pub async fn order_is_that_of_the_publisher<C: Cluster>(cluster: &mut C) {
    const MESSAGES: u64 = 500;
    let (a, b) = pair(cluster).await;
    for namespace in ["/", "/other"] {
        open(&[&a, &b], namespace).await;
        subscribe(&b, namespace, "even").await;
        subscribe(&b, namespace, "odd").await;
    }
    for number in 0..MESSAGES {
        let selection = match number % 4 {
            0 => Selection::rooms(["even"]),
            1 => Selection::rooms(["odd"]),
            2 => Selection::all(),
            _ => Selection::rooms(["even", "odd"]),
        };
        for namespace in ["/", "/other"] {
            // Order is that of the calls: nobody has to wait for the answers.
            drop(a.bus.publish(namespace, tell(selection.clone(), number)));
        }
    }
    b.wait(cluster, |heard| heard.len() as u64 >= 2 * MESSAGES)
        .await;
    for namespace in ["/", "/other"] {
        let mut heard = b.heard();
        heard.retain(|(of, ..)| of == namespace);
        assert!(numbers(&heard).into_iter().eq(0..MESSAGES), "{namespace}");
    }
}

/// As soon as a subscription is in force, nothing is missed.
pub async fn what_is_published_after_a_subscription_arrives<C: Cluster>(cluster: &mut C) {
    let (a, b) = pair(cluster).await;
    open(&[&a, &b], "/").await;
    for number in 0..50 {
        let room = format!("room-{number}");
        subscribe(&b, "/", &room).await;
        drop(a.bus.publish("/", tell(Selection::rooms([room]), number)));
    }
    b.wait(cluster, |heard| heard.len() >= 50).await;
    assert!(numbers(&b.heard()).into_iter().eq(0..50));
    // And as soon as a namespace is open.
    b.bus.open("/late").await.expect("available");
    drop(a.bus.publish("/late", tell(Selection::all(), 50)));
    b.wait(cluster, |heard| heard.len() >= 51).await;
}

/// A node that is in several of the rooms hears once.
pub async fn several_rooms_are_one_delivery<C: Cluster>(cluster: &mut C) {
    let (a, b) = pair(cluster).await;
    open(&[&a, &b], "/").await;
    for room in ["a", "b", "c"] {
        subscribe(&b, "/", room).await;
    }
    for number in 0..20 {
        let selection = Selection::rooms(["a", "x", "b", "a", "c"]);
        publish(&a, "/", tell(selection, number)).await;
    }
    publish(&a, "/", tell(Selection::all(), 20)).await;
    b.wait(cluster, |heard| heard.len() >= 21).await;
    assert!(numbers(&b.heard()).into_iter().eq(0..21));
}

/// Namespaces are apart; where the engine routes, rooms are too.
pub async fn only_those_concerned_hear<C: Cluster>(cluster: &mut C) {
    let (a, b) = pair(cluster).await;
    open(&[&a], "/").await;
    open(&[&a, &b], "/mine").await;
    subscribe(&b, "/mine", "here").await;
    publish(&a, "/", tell(Selection::all(), 1)).await;
    publish(&a, "/", tell(Selection::rooms(["here"]), 2)).await;
    if cluster.manners().routes {
        publish(&a, "/mine", tell(Selection::rooms(["there"]), 3)).await;
        let selection = Selection::rooms(["there"]).except(["here"]);
        publish(&a, "/mine", tell(selection, 4)).await;
    }
    publish(&a, "/mine", tell(Selection::rooms(["here"]), 5)).await;
    b.wait(cluster, |heard| !heard.is_empty()).await;
    assert_eq!(numbers(&b.heard()), [5]);
}

/// Each shard speaks for itself: the last one that goes ends the subscription.
pub async fn interest_is_counted<C: Cluster>(cluster: &mut C) {
    let (a, b) = pair(cluster).await;
    open(&[&a, &b], "/").await;
    subscribe(&b, "/", "room").await;
    subscribe(&b, "/", "room").await;
    b.bus.unsubscribe("/", "room");
    publish(&a, "/", tell(Selection::rooms(["room"]), 1)).await;
    b.wait(cluster, |heard| !heard.is_empty()).await;
    b.bus.unsubscribe("/", "room");
    b.bus.unsubscribe("/", "room");
    // A subscription of another room is in force after what was asked for before it.
    subscribe(&b, "/", "next").await;
    if cluster.manners().routes {
        publish(&a, "/", tell(Selection::rooms(["room"]), 2)).await;
    }
    publish(&a, "/", tell(Selection::rooms(["next"]), 3)).await;
    b.wait(cluster, |heard| heard.len() >= 2).await;
    assert_eq!(numbers(&b.heard()), [1, 3]);
    // And it can be taken up again, however soon.
    for number in 4..24 {
        subscribe(&b, "/", "room").await;
        drop(a.bus.publish("/", tell(Selection::rooms(["room"]), number)));
        b.wait(cluster, |heard| numbers(heard).contains(&number))
            .await;
        b.bus.unsubscribe("/", "room");
    }
}

/// What looks like a separator or a pattern to somebody is a name like any other.
pub async fn names_may_be_anything<C: Cluster>(cluster: &mut C) {
    let (a, b) = pair(cluster).await;
    let namespaces = ["/#", "/a#b", "/*", "/[a-z]?\\", "/é\u{1f980}", "/a"];
    let rooms = [
        "",
        "#",
        "a#b",
        "*",
        "[^x]",
        "\\",
        " ",
        "\n",
        "é\u{1f980}",
        "0",
        "\u{0}",
    ];
    let mut expected = Vec::new();
    for namespace in namespaces {
        open(&[&a, &b], namespace).await;
        for room in rooms {
            subscribe(&b, namespace, room).await;
        }
        for room in rooms {
            let number = expected.len() as u64;
            publish(&a, namespace, tell(Selection::rooms([room]), number)).await;
            expected.push((namespace.to_owned(), number));
        }
    }
    b.wait(cluster, |heard| heard.len() >= expected.len()).await;
    let heard = b.heard();
    let found: Vec<_> = heard
        .iter()
        .map(|one| (one.0.clone(), numbers(std::slice::from_ref(one))[0]))
        .collect();
    assert_eq!(found, expected);
}

/// Every kind of question, to two nodes that answer differently.
pub async fn questions_are_answered<C: Cluster>(cluster: &mut C) {
    let manners = cluster.manners();
    let (a, b) = pair(cluster).await;
    let c = Peer::start(cluster, "c").await;
    open(&[&a, &b, &c], "/").await;
    let event = Event::new("ask", args(("x", 1)));
    let mut requests = vec![
        Request::FetchSockets(Selection::rooms(["r"]).except(["s"])),
        Request::ServerSide(event),
    ];
    if manners.rooms {
        requests.push(Request::Rooms);
    }
    if manners.counts {
        requests.push(Request::Count(Selection::user("ada")));
        requests.push(Request::Apply(tell(Selection::all(), 1)));
    }
    for request in requests {
        for peer in [&b, &c] {
            peer.answers_with(answer_to);
        }
        let mut answers = a
            .bus
            .request("/", request.clone())
            .await
            .expect("available");
        let (mut found, is_complete) = gather(cluster, &mut answers).await;
        assert!(is_complete, "{request:?}: {:?}", answers.silent());
        found.sort_by_key(|(from, answer)| (from.clone(), format!("{answer:?}")));
        let mut expected: Vec<_> = [&b, &c].iter().map(|p| answer_to(p, &request)).collect();
        expected.sort_by_key(|answer| format!("{answer:?}"));
        let plain: Vec<_> = found
            .iter()
            .map(|(_, answer)| plain_answer(answer))
            .collect();
        let mut sorted = plain.clone();
        sorted.sort_by_key(|answer| format!("{answer:?}"));
        let mut expected: Vec<_> = expected.iter().map(plain_answer).collect();
        expected.sort_by_key(|answer| format!("{answer:?}"));
        assert_eq!(sorted, expected);
        for peer in [&b, &c] {
            let asked = peer.asked();
            assert_eq!(asked.len(), 1, "{asked:?}");
            assert_eq!(plain_request(&asked[0]), plain_request(&request));
        }
        if manners.names {
            let names: Vec<_> = found.into_iter().filter_map(|(from, _)| from).collect();
            assert_eq!(names, [b.bus.node().clone(), c.bus.node().clone()]);
        }
    }
    assert!(a.asked().is_empty(), "nobody asks itself");
}

/// First the number of clients, then as many acknowledgements.
pub async fn acknowledgements_are_gathered<C: Cluster>(cluster: &mut C) {
    let (a, b) = pair(cluster).await;
    let c = Peer::start(cluster, "c").await;
    open(&[&a, &b, &c], "/").await;
    subscribe(&b, "/", "r").await;
    for (peer, clients) in [(&b, 3u64), (&c, 0)] {
        peer.on_request(Box::new(move |_, mut responder| {
            responder.answer(Answer::Clients(clients));
            for client in 0..clients {
                responder.answer(Answer::Ack {
                    socket: None,
                    args: args((Binary(Bytes::from(vec![client as u8; 3])),)),
                });
            }
        }));
    }
    let mut broadcast = Broadcast::new(Selection::rooms(["r"]), Event::new("e", args((1, "x"))));
    broadcast.flags.timeout_ms = Some(5_000);
    let request = Request::Broadcast(broadcast);
    let mut answers = a
        .bus
        .request("/", request.clone())
        .await
        .expect("available");
    let (found, is_complete) = gather(cluster, &mut answers).await;
    assert!(is_complete, "{:?} after {found:?}", answers.silent());
    let mut acks: Vec<Bytes> = Vec::new();
    let mut clients = Vec::new();
    for (_, answer) in found {
        match answer {
            Answer::Clients(number) => clients.push(number),
            Answer::Ack { args, .. } => {
                acks.push(args.get(0).and_then(|arg| arg.binary()).expect("binary"));
            }
            other => panic!("{other:?}"),
        }
    }
    clients.sort_unstable();
    assert_eq!(clients, [0, 3]);
    acks.sort();
    assert_eq!(
        acks,
        [[0u8; 3], [1; 3], [2; 3]].map(|bytes| Bytes::from(bytes.to_vec()))
    );
    for peer in [&b, &c] {
        let asked = peer.asked();
        assert_eq!(plain_request(&asked[0]), plain_request(&request));
    }
}

/// Its answer is missing, and it is named; the others are heard meanwhile.
pub async fn a_silent_node_stops_nobody<C: Cluster>(cluster: &mut C) {
    let (a, b) = pair(cluster).await;
    let c = Peer::start(cluster, "c").await;
    open(&[&a, &b, &c], "/").await;
    b.answers_with(answer_to);
    c.on_request(Box::new(|_, responder| drop(responder)));
    let request = Request::FetchSockets(Selection::all());
    let mut answers = a
        .bus
        .request("/", request.clone())
        .await
        .expect("available");
    let mut first = None;
    for _ in 0..PATIENCE {
        if let Poll::Ready(answer) = poll(&mut answers) {
            first = answer;
            break;
        }
        cluster.pause().await;
    }
    assert!(first.is_some(), "b has answered");
    assert!(!answers.is_complete());
    let silent = answers.silent();
    if cluster.manners().names {
        assert_eq!(silent.nodes, [c.bus.node().clone()]);
    } else {
        assert_eq!((silent.nodes.len(), silent.unnamed), (0, 1));
    }
    // It leaves: nobody waits for it any more, where nodes know each other.
    c.bus.leave().await.expect("available");
    if cluster.manners().names {
        let (_, is_complete) = gather(cluster, &mut answers).await;
        assert!(is_complete);
    }
    let mut answers = a.bus.request("/", request).await.expect("available");
    let (found, is_complete) = gather(cluster, &mut answers).await;
    assert!(is_complete && found.len() == 1, "{found:?}");
}

/// Those who are there are known, those who left are not, and a name may come again.
pub async fn nodes_come_and_go<C: Cluster>(cluster: &mut C) {
    let (a, b) = pair(cluster).await;
    if !cluster.manners().names {
        return;
    }
    let (a_name, b_name) = (a.bus.node().clone(), b.bus.node().clone());
    for _ in 0..PATIENCE {
        if !a.bus.nodes().is_empty() {
            break;
        }
        cluster.pause().await;
    }
    assert_eq!(a.bus.nodes(), std::slice::from_ref(&b_name));
    assert_eq!(b.bus.nodes(), [a_name]);
    b.bus.leave().await.expect("available");
    assert!(b.bus.publish("/", tell(Selection::all(), 1)).await.is_err());
    for _ in 0..PATIENCE {
        if a.bus.nodes().is_empty() {
            break;
        }
        cluster.pause().await;
    }
    assert!(a.bus.nodes().is_empty());
    let again = Peer::start(cluster, "b").await;
    for _ in 0..PATIENCE {
        if !a.bus.nodes().is_empty() {
            break;
        }
        cluster.pause().await;
    }
    assert_eq!(a.bus.nodes(), [again.bus.node().clone()]);
    open(&[&a, &again], "/").await;
    publish(&again, "/", tell(Selection::all(), 2)).await;
    a.wait(cluster, |heard| !heard.is_empty()).await;
    let seen = a.log().events.clone();
    let expected = [
        NodeEvent::Joined(b_name.clone()),
        NodeEvent::Left(b_name.clone()),
        NodeEvent::Joined(b_name),
    ];
    assert_eq!(seen, expected);
}

/// A node on its own gets complete answers: none.
pub async fn nobody_is_asked_when_nobody_is_there<C: Cluster>(cluster: &mut C) {
    let a = Peer::start(cluster, "a").await;
    open(&[&a], "/").await;
    let request = Request::FetchSockets(Selection::all());
    let mut answers = a.bus.request("/", request).await.expect("available");
    let (found, is_complete) = gather(cluster, &mut answers).await;
    assert!(is_complete && found.is_empty());
    publish(&a, "/", tell(Selection::all(), 1)).await;
    assert_eq!(a.bus.health().published, 1);
    assert_eq!(a.bus.health().link.as_str(), "connected");
}

/// One operation of each kind, with everything that can be in them, for sockets in the rooms `r1`,
/// `r2` and `id`.
pub fn operations() -> Vec<Operation> {
    let selection = || Selection::rooms(["r1", "r2"]).except(["x", "y"]);
    let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
    let event = |name: &str, args: Args| Event::new(name, args);
    let flags = |volatile, compress| Flags {
        volatile,
        compress,
        timeout_ms: None,
    };
    let binary = Binary(Bytes::from_static(b"\x00\x01\xff"));
    let nested = serde_less_nested();
    let broadcast = |selection, flags, event| Broadcast {
        flags,
        ..Broadcast::new(selection, event)
    };
    vec![
        Operation::Broadcast(broadcast(
            Selection::all(),
            Flags::default(),
            event("none", Args::new()),
        )),
        Operation::Broadcast(broadcast(
            selection(),
            flags(true, true),
            event(
                "text",
                args((1, -2.5, "é\u{1f980}\n\"", true, Option::<u8>::None)),
            ),
        )),
        Operation::Broadcast(broadcast(
            Selection::rooms(["id"]),
            flags(false, false),
            event("binary", args(("x", binary.clone(), binary))),
        )),
        Operation::Broadcast(broadcast(
            Selection::all().except(["x"]),
            Flags::default(),
            event("nested", nested),
        )),
        Operation::Join {
            selection: selection(),
            rooms: names(&["r1", "r3"]),
        },
        Operation::Leave {
            selection: Selection::rooms(["id"]),
            rooms: names(&["r3"]),
        },
        Operation::Disconnect {
            selection: selection(),
            close: false,
        },
        Operation::Disconnect {
            selection: Selection::all(),
            close: true,
        },
        Operation::ServerSide(event("server", args(("hello", 1, vec![1, 2])))),
    ]
}

fn serde_less_nested() -> Args {
    let json = r#"{"a":[1,{"b":{"_placeholder":true,"num":0}}],"":null},[[]],{}"#;
    let attachments = vec![Bytes::from_static(b"deep")];
    Args::from_json(json, attachments, &Default::default()).expect("valid")
}

const PATIENCE: usize = 500;

type OnRequest = Box<dyn Fn(Request, Responder) + Send + Sync>;
type Heard = (String, NodeId, Operation);

struct Peer {
    bus: Arc<dyn Bus>,
    log: Arc<Recorder>,
}

#[derive(Default)]
struct Recorder(Mutex<Log>);

#[derive(Default)]
struct Log {
    heard: Vec<Heard>,
    asked: Vec<Request>,
    events: Vec<NodeEvent>,
    on_request: Option<Arc<OnRequest>>,
}

impl Listener for Recorder {
    fn on_operation(&self, namespace: &str, from: &NodeId, operation: Operation) {
        let heard = (namespace.to_owned(), from.clone(), operation);
        self.log().heard.push(heard);
    }

    fn on_request(&self, _: &str, _: &NodeId, request: Request, responder: Responder) {
        let mut log = self.log();
        log.asked.push(request.clone());
        let on_request = log.on_request.clone();
        drop(log);
        if let Some(on_request) = on_request {
            on_request(request, responder);
        }
    }

    fn on_node(&self, event: NodeEvent) {
        self.log().events.push(event);
    }
}

impl Recorder {
    fn log(&self) -> std::sync::MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer {
    async fn start<C: Cluster>(cluster: &mut C, name: &str) -> Self {
        let bus = cluster.join(name).await;
        let log = Arc::new(Recorder::default());
        bus.start(log.clone()).await.expect("the engine is there");
        Self { bus, log }
    }

    fn log(&self) -> std::sync::MutexGuard<'_, Log> {
        self.log.log()
    }

    fn heard(&self) -> Vec<Heard> {
        self.log().heard.clone()
    }

    /// What was asked since this was last called.
    fn asked(&self) -> Vec<Request> {
        std::mem::take(&mut self.log().asked)
    }

    fn on_request(&self, handler: OnRequest) {
        self.log().on_request = Some(Arc::new(handler));
    }

    fn answers_with(&self, answer: fn(&Peer, &Request) -> Answer) {
        let name = Peer {
            bus: self.bus.clone(),
            log: Arc::default(),
        };
        self.on_request(Box::new(move |request, mut responder| {
            responder.answer(answer(&name, &request));
        }));
    }

    async fn wait<C: Cluster>(&self, cluster: &mut C, until: impl Fn(&[Heard]) -> bool) {
        for _ in 0..PATIENCE {
            if until(&self.log().heard) {
                return;
            }
            cluster.pause().await;
        }
        panic!("{} has heard only {:?}", self.bus.node(), self.heard());
    }
}

async fn pair<C: Cluster>(cluster: &mut C) -> (Peer, Peer) {
    let a = Peer::start(cluster, "a").await;
    let b = Peer::start(cluster, "b").await;
    (a, b)
}

async fn open(peers: &[&Peer], namespace: &str) {
    for peer in peers {
        peer.bus.open(namespace).await.expect("available");
    }
}

async fn subscribe(peer: &Peer, namespace: &str, room: &str) {
    peer.bus
        .subscribe(namespace, room)
        .await
        .expect("available");
}

async fn publish(peer: &Peer, namespace: &str, operation: Operation) {
    peer.bus
        .publish(namespace, operation)
        .await
        .expect("available");
}

fn poll(answers: &mut Answers) -> Poll<Option<(Option<NodeId>, Answer)>> {
    answers.poll_next(&mut Context::from_waker(Waker::noop()))
}

/// All answers, and whether there was an end to them.
async fn gather<C: Cluster>(
    cluster: &mut C,
    answers: &mut Answers,
) -> (Vec<(Option<NodeId>, Answer)>, bool) {
    let mut found = Vec::new();
    for _ in 0..PATIENCE {
        loop {
            match poll(answers) {
                Poll::Ready(Some(answer)) => found.push(answer),
                Poll::Ready(None) => return (found, true),
                Poll::Pending => break,
            }
        }
        cluster.pause().await;
    }
    (found, false)
}

/// What a peer says to a request: something that tells it from the others.
fn answer_to(peer: &Peer, request: &Request) -> Answer {
    let name = peer.bus.node().as_str();
    match request {
        Request::FetchSockets(_) => Answer::Sockets(vec![SocketDetails {
            id: format!("socket-of-{name}").into(),
            rooms: vec![format!("socket-of-{name}").into(), "r".into()],
            handshake: Args::from_json(
                r#"{"address":"::1","query":{}}"#,
                Vec::new(),
                &Default::default(),
            )
            .expect("valid"),
            data: args((name,)),
        }]),
        Request::Count(_) => Answer::Count(name.len() as u64),
        Request::Rooms => Answer::Rooms(vec![RoomSize {
            name: format!("room-of-{name}").into(),
            sockets: Some(2),
        }]),
        Request::ServerSide(_) => Answer::ServerSide(args((name,))),
        _ => Answer::Done,
    }
}

fn tell(selection: Selection, number: u64) -> Operation {
    let event = Event::new("number", args((number,)));
    Operation::Broadcast(Broadcast::new(selection, event))
}

fn numbers(heard: &[Heard]) -> Vec<u64> {
    let number = |(_, _, operation): &Heard| match operation {
        Operation::Broadcast(broadcast) => broadcast.event.args.deserialize().ok(),
        _ => None,
    };
    heard.iter().filter_map(number).collect()
}

fn args(args: impl ToArgs) -> Args {
    args.to_args(Parser::Json).expect("serialisable")
}

/// The same with arguments in one form, whatever form an engine has for them, and without the offset that
/// it may have given.
fn plain(operation: &Operation) -> Operation {
    let mut operation = operation.clone();
    if let Operation::Broadcast(broadcast) = &mut operation {
        broadcast.offset = None;
    }
    match &mut operation {
        Operation::Broadcast(Broadcast { event, .. }) | Operation::ServerSide(event) => {
            event.args = event
                .args
                .to_parser(Parser::Msgpack)
                .to_parser(Parser::Json);
        }
        _ => {}
    }
    operation
}

fn plain_request(request: &Request) -> Request {
    let mut request = request.clone();
    match &mut request {
        Request::Broadcast(Broadcast { event, .. }) | Request::ServerSide(event) => {
            event.args = event
                .args
                .to_parser(Parser::Msgpack)
                .to_parser(Parser::Json);
        }
        Request::Apply(operation) => *operation = plain(operation),
        _ => {}
    }
    request
}

fn plain_answer(answer: &Answer) -> Answer {
    let json = |args: &Args| args.to_parser(Parser::Msgpack).to_parser(Parser::Json);
    match answer {
        Answer::ServerSide(args) => Answer::ServerSide(json(args)),
        Answer::Sockets(sockets) => {
            let plain = |socket: &SocketDetails| SocketDetails {
                handshake: json(&socket.handshake),
                data: json(&socket.data),
                ..socket.clone()
            };
            Answer::Sockets(sockets.iter().map(plain).collect())
        }
        Answer::Rooms(rooms) => Answer::Rooms(
            rooms
                .iter()
                .map(|room| RoomSize {
                    sockets: None,
                    ..room.clone()
                })
                .collect(),
        ),
        other => other.clone(),
    }
}
