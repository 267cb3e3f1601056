//! Whole scenarios in virtual time, against a server in memory that can misbehave.

use super::*;
use crate::history::Faults;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;
const START: u64 = 5 * SECOND;

/// What a server does with a packet that it is about to send to a slot: how many copies of it
/// leave, and how long they take.
type Tamper = Box<dyn FnMut(u32, &str) -> (usize, u64)>;

enum Event {
    Ready(u32, u64),
    Failed(u32),
    Gone(u32),
    Text(u32, u64, String),
}

/// The rooms of `sockeye serve` in memory: 1 ms from client to server, 1 ms back.
struct Stage<'m> {
    driver: Play<'m>,
    now: u64,
    events: BTreeMap<(u64, u64), Event>,
    count: u64,
    /// The connection of each slot, by a number of its own.
    connections: BTreeMap<u32, u64>,
    rooms: BTreeMap<String, BTreeSet<u32>>,
    tamper: Tamper,
    refuses: bool,
    /// Whether somebody who is not in a room may publish to it.
    open_rooms: bool,
    credentials: Vec<Credential>,
    seen: Vec<Value>,
}

impl<'m> Stage<'m> {
    fn new(mix: &'m Mix) -> Self {
        let defaults = Defaults {
            namespace: "/".into(),
            handshakes: 1000,
            run: 77,
            epoch_ms: 1_700_000_000_000,
            ..Defaults::default()
        };
        Self {
            driver: Play::new(mix, defaults, START),
            now: START,
            events: BTreeMap::new(),
            count: 0,
            connections: BTreeMap::new(),
            rooms: BTreeMap::new(),
            tamper: Box::new(|_, _| (1, 0)),
            refuses: false,
            open_rooms: false,
            credentials: Vec::new(),
            seen: Vec::new(),
        }
    }

    fn tampering(mut self, tamper: impl FnMut(u32, &str) -> (usize, u64) + 'static) -> Self {
        self.tamper = Box::new(tamper);
        self
    }

    /// Plays until a time since the start.
    fn play(&mut self, until: u64) {
        let until = START + until;
        self.driver.turn(self.now);
        self.act();
        loop {
            let event = self.events.keys().next().map_or(u64::MAX, |(at, _)| *at);
            let next = event.min(self.driver.next_due().max(self.now));
            if next > until {
                break;
            }
            self.now = next;
            if event <= next
                && let Some((_, event)) = self.events.pop_first()
            {
                self.deliver(event);
            }
            self.driver.turn(self.now);
            self.act();
        }
        self.now = until;
    }

    /// Plays all of it, and what comes after.
    fn play_all(&mut self) {
        let end = self.driver.mix.duration().as_nanos() as u64;
        self.play(end + 10 * SECOND);
        self.driver.end();
    }

    fn deliver(&mut self, event: Event) {
        let current = |slot: u32| self.connections.get(&slot).copied();
        match event {
            Event::Ready(slot, id) if current(slot) == Some(id) => {
                self.driver.ready(slot, self.now);
            }
            Event::Failed(slot) => self.driver.failed(slot, self.now),
            Event::Gone(slot) => self.driver.gone(slot, self.now),
            Event::Text(slot, id, text) if current(slot) == Some(id) => {
                self.driver
                    .packet(slot, Packet::read(text.as_bytes()), self.now);
            }
            _ => {}
        }
        self.act();
    }

    fn act(&mut self) {
        let acts = self.driver.take_acts();
        for act in &acts {
            match act {
                Act::Open { slot, credential } => {
                    self.count += 1;
                    let id = self.count;
                    self.credentials.push(credential.clone());
                    if self.refuses {
                        self.after(2 * MS, Event::Failed(*slot));
                    } else {
                        assert!(self.connections.insert(*slot, id).is_none(), "open twice");
                        self.after(4 * MS, Event::Ready(*slot, id));
                    }
                }
                Act::Close { slot, parting } => {
                    self.connections.remove(slot).expect("closed what was open");
                    self.rooms.values_mut().for_each(|members| {
                        members.remove(slot);
                    });
                    let time = match parting {
                        Parting::Clean => 2 * MS,
                        Parting::Cut => 0,
                    };
                    self.after(time, Event::Gone(*slot));
                }
                Act::Send { slot, text } => {
                    let text = self.driver.text(text.clone()).to_owned();
                    self.serve(*slot, &text);
                }
            }
        }
        self.driver.done(acts);
    }

    /// Ends a connection as a server or a network does.
    fn lose(&mut self, slot: u32) {
        self.connections.remove(&slot).unwrap();
        self.rooms.values_mut().for_each(|members| {
            members.remove(&slot);
        });
        self.after(0, Event::Gone(slot));
    }

    fn after(&mut self, time: u64, event: Event) {
        self.count += 1;
        self.events.insert((self.now + time, self.count), event);
    }

    fn serve(&mut self, slot: u32, text: &str) {
        let rest = text.strip_prefix("42").expect("an event");
        let digits = rest.find('[').unwrap();
        let (id, json) = rest.split_at(digits);
        let arguments: Value = serde_json::from_str(json).expect(json);
        self.seen.push(arguments.clone());
        let room = arguments[1].as_str().unwrap_or_default().to_owned();
        let mut answer = "null".to_owned();
        match arguments[0].as_str() {
            Some("join") => {
                self.rooms.entry(room).or_default().insert(slot);
            }
            Some("leave") => {
                self.rooms.entry(room).or_default().remove(&slot);
            }
            Some("publish") => match self.rooms.get(&room) {
                Some(members) if self.open_rooms || members.contains(&slot) => {
                    let data = &arguments[3];
                    let text = format!("42[\"message\",{{\"room\":\"{room}\",\"data\":{data}}}]");
                    for member in members.clone().into_iter().filter(|&member| member != slot) {
                        self.send(member, text.clone());
                    }
                }
                _ => answer = r#"{"error":{"code":"not_a_member"}}"#.into(),
            },
            _ => {}
        }
        if !id.is_empty() {
            self.send(slot, format!("43{id}[{answer}]"));
        }
    }

    fn send(&mut self, slot: u32, text: String) {
        let Some(&id) = self.connections.get(&slot) else {
            return;
        };
        let (copies, delay) = (self.tamper)(slot, &text);
        for _ in 0..copies {
            self.after(2 * MS + delay, Event::Text(slot, id, text.clone()));
        }
    }

    fn event(&self, name: &str) -> &super::super::figures::EventFigures {
        let events = self.driver.mix.events.iter();
        let index = events.clone().position(|event| event == name).unwrap();
        &self.driver.figures.events[index]
    }
}

fn mix(phases: &str, behaviours: &str) -> Mix {
    let text = format!("{phases}\n{behaviours}");
    Mix::parse("test.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn clients(count: u32, seconds: u64) -> String {
    format!("[[phase]]\nduration = \"{seconds}s\"\nclients = {count}\nramp = \"0s\"\n")
}

fn behaviour(steps: &str) -> String {
    format!("[[behaviour]]\nsteps = [ {steps} ]\n")
}

const CHAT: &str = r#"{ join = "r{{random_int 1 2}}" },
    { repeat = "forever", every = "100ms", steps = [
        { publish = "r1", ack = true, data = { n = "{{sequence}}" } },
    ] }"#;

#[test]
fn the_examples_run_clean_against_a_server_that_does_as_it_should() {
    for text in [
        include_str!("../../../scenarios/chat.toml"),
        include_str!("../../../scenarios/dashboard.toml"),
    ] {
        let mix = Mix::parse("example.toml", text).unwrap();
        let mut stage = Stage::new(&mix);
        stage.play_all();
        let figures = &stage.driver.figures;
        assert!(stage.driver.rooms.faults().is_clean(), "{}", mix.name);
        assert_eq!(figures.wrong(0).0, 0, "{}", mix.name);
        assert_eq!(
            (figures.double_acks, figures.unasked_acks, figures.late_acks),
            (0, 0, 0)
        );
        assert!(
            figures.delivered > 500,
            "{}: {}",
            mix.name,
            figures.delivered
        );
        assert!(figures.connected >= 110 && figures.delivery.percentiles().p50_ms >= 2.0);
        assert_eq!(figures.delivery.percentiles().max_ms.round(), 2.0);
        for (event, figures) in mix.events.iter().zip(&figures.events) {
            assert!(figures.sent > 0, "{}: {event}", mix.name);
            assert_eq!(figures.asked, figures.acked, "{}: {event}", mix.name);
        }
    }
}

#[test]
fn counts_of_clients_are_followed_up_and_down_and_shares_are_kept() {
    let phases = "[[phase]]\nduration = \"10s\"\nclients = 100\n\
        [[phase]]\nduration = \"5s\"\nclients = 20\nramp = \"0s\"\n";
    let behaviours = "[[behaviour]]\nshare = 3\nsteps = [ { repeat = \"forever\", steps = [ { wait = \"1s\" } ] } ]\n\
        [[behaviour]]\nshare = 1\nname = \"b\"\nsteps = [ { wait = \"7s\" }, { emit = \"x\" } ]\n";
    let mix = mix(phases, behaviours);
    let mut stage = Stage::new(&mix);
    for second in 1..10 {
        stage.play(second * SECOND);
        let population = stage.driver.population();
        assert!(
            population.abs_diff(10 * second as u32) <= 1,
            "{second}: {population}"
        );
    }
    let of = |stage: &Stage<'_>, behaviour| {
        let clients = stage.driver.clients.iter().flatten();
        clients
            .filter(|client| client.behaviour == behaviour)
            .count()
    };
    assert!((65..=80).contains(&of(&stage, 0)), "{}", of(&stage, 0));
    stage.play(14 * SECOND);
    assert_eq!(
        (stage.driver.population(), stage.connections.len()),
        (20, 20)
    );
    // Whoever finished was replaced.
    let figures = &stage.driver.figures;
    assert!(figures.came > 100 && stage.event("x").sent > 0);
    assert_eq!(figures.came - figures.finished, 20);
}

#[test]
fn an_open_loop_comes_at_its_rate_whatever_the_server_does() {
    let phases =
        "max_clients = 30\n[[phase]]\nduration = \"10s\"\narrivals = 5\narrivals_to = 15\n";
    let mix = mix(phases, &behaviour("{ wait = \"1h\" }"));
    let mut stage = Stage::new(&mix);
    stage.refuses = true;
    stage.play(10 * SECOND);
    let figures = &stage.driver.figures;
    assert_eq!(figures.came + figures.not_started, 100);
    assert_eq!(
        figures.not_started, 0,
        "those who fail hold their place for a second only"
    );
    let mut stage = Stage::new(&mix);
    stage.play(10 * SECOND);
    let figures = &stage.driver.figures;
    assert_eq!(
        (figures.came, figures.not_started, figures.most),
        (30, 70, 30)
    );
    assert_eq!(figures.wrong(0), (70, 100));
}

#[test]
fn faults_in_rooms_are_counted_exactly() {
    let mix = mix(&clients(12, 5), &behaviour(CHAT));
    // A client of another room is refused, as it is no member: an error, and nobody's loss.
    let table = [(0, [4, 0, 0]), (2, [0, 4, 0])];
    for (copies, expected) in table {
        let mut seen = 0;
        let mut stage = Stage::new(&mix).tampering(move |_, text| {
            let message = text.starts_with("42[\"message\"");
            seen += u64::from(message);
            match message && [100, 200, 300, 301].contains(&seen) {
                true => (copies, 0),
                false => (1, 0),
            }
        });
        stage.play_all();
        let Faults {
            lost,
            duplicated,
            reordered,
            ..
        } = stage.driver.rooms.faults();
        assert_eq!([lost, duplicated, reordered], expected);
        assert!(stage.event("publish").refused > 0 && stage.event("publish").acked > 0);
    }
    let mut seen = 0;
    let mut stage = Stage::new(&mix).tampering(move |_, text| {
        let message = text.starts_with("42[\"message\"");
        seen += u64::from(message);
        // A message that takes longer than the publisher's pause is overtaken.
        (1, if message && seen == 200 { 150 * MS } else { 0 })
    });
    stage.play_all();
    let faults = stage.driver.rooms.faults();
    assert_eq!(
        faults,
        Faults {
            reordered: 1,
            ..Faults::default()
        }
    );
}

#[test]
fn whoever_leaves_or_never_came_gets_nothing() {
    let steps = r#"{ join = "r" },
        { repeat = 5, every = "100ms", steps = [ { publish = "r" } ] },
        { wait = "50ms" }, { leave = "r" }, { wait = "1h" }"#;
    let mix = mix(&clients(3, 2), &behaviour(steps));
    let mut stage = Stage::new(&mix);
    stage.play(1500 * MS);
    assert_eq!(stage.driver.figures.delivered, 30);
    let stamp = RoomStampText::of(&stage);
    for data in [
        stamp.clone(),
        stamp.replace("\"stamp\":\"0000004d", "\"stamp\":\"0000004e"),
    ] {
        // The same message, now to one who has left; then one of another run.
        let text = format!("42[\"message\",{{\"data\":{data}}}]");
        let id = stage.connections[&1];
        stage.after(0, Event::Text(1, id, text));
    }
    let id = stage.connections[&1];
    stage.after(
        0,
        Event::Text(1, id, "42[\"message\",{\"data\":{\"stamp\":\"?\"}}]".into()),
    );
    stage.play_all();
    let faults = stage.driver.rooms.faults();
    assert_eq!(
        faults,
        Faults {
            misdelivered: 1,
            corrupt: 1,
            ..Faults::default()
        }
    );
    assert_eq!(stage.driver.figures.fresh.unrelated, 1);
}

/// Data with a stamp that was published.
struct RoomStampText;

impl RoomStampText {
    fn of(stage: &Stage<'_>) -> String {
        let published = stage.seen.iter().find(|event| event[0] == "publish");
        published.unwrap()[3].to_string()
    }
}

#[test]
fn acknowledgements_that_never_come_come_late_or_twice_are_counted() {
    let steps = r#"{ repeat = "forever", every = "1s", steps = [
        { emit = "x", ack = true, timeout = "500ms" } ] }"#;
    let mix = mix(&clients(1, 100), &behaviour(steps));
    let mut seen = 0;
    let mut stage = Stage::new(&mix).tampering(move |_, _| {
        seen += 1;
        match seen {
            10 | 20 => (0, 0),
            30 => (1, 600 * MS),
            40 | 50 | 60 => (2, 0),
            _ => (1, 0),
        }
    });
    stage.play(50 * SECOND);
    let (id, text) = (stage.connections[&0], "4399[]".to_owned());
    stage.after(0, Event::Text(0, id, text));
    stage.play_all();
    let figures = &stage.driver.figures;
    assert_eq!(
        (figures.double_acks, figures.late_acks, figures.unasked_acks),
        (3, 1, 1)
    );
    let x = stage.event("x");
    assert_eq!((x.sent, x.missing, x.acked), (100, 3, 97));
    assert_eq!(figures.wrong(0), (3, 101));
}

#[test]
fn a_last_step_that_waits_is_waited_for() {
    let steps = r#"{ emit = "x", ack = true, timeout = "50ms" },
        { emit = "y", ack = true, await = false, timeout = "50ms" }, { wait = "500ms" }"#;
    let mix = mix(&clients(1, 3), &behaviour(steps));
    let mut stage = Stage::new(&mix);
    stage.play(400 * MS);
    assert_eq!((stage.driver.figures.came, stage.event("y").acked), (1, 1));
    stage.play(700 * MS);
    assert_eq!(
        stage.driver.figures.came, 2,
        "it was through and was replaced"
    );
}

#[test]
fn a_stall_is_charged_to_every_message_it_held_up() {
    // Ten messages a second for 100 s, each awaited; the server stands still for one second.
    let steps =
        r#"{ repeat = "forever", every = "100ms", steps = [ { emit = "x", ack = true } ] }"#;
    let mix = mix(&clients(1, 100), &behaviour(steps));
    let mut seen = 0;
    let mut stage = Stage::new(&mix).tampering(move |_, _| {
        seen += 1;
        (1, if seen == 500 { 998 * MS } else { 0 })
    });
    stage.play_all();
    let x = stage.event("x");
    assert_eq!((x.sent, x.missing), (1000, 0), "as many as were due");
    // One waited for a second, the nine after it for what was left of it.
    assert!(
        x.latency.above(150 * MS) >= 9,
        "{}",
        x.latency.above(150 * MS)
    );
    assert!(x.latency.percentiles().p999_ms > 800.0);
    assert!(x.latency.percentiles().p50_ms < 3.0);
}

#[test]
fn lost_clients_come_back_if_they_should_and_are_replaced_if_not() {
    for (when_lost, came) in [("reconnect", 4), ("leave", 6)] {
        let behaviours =
            format!("[[behaviour]]\nwhen_lost = \"{when_lost}\"\nsteps = [ {CHAT} ]\n");
        let mix = mix(&clients(4, 30), &behaviours);
        let mut stage = Stage::new(&mix);
        stage.play(5050 * MS);
        stage.lose(1);
        stage.lose(2);
        stage.play(10 * SECOND);
        assert_eq!(stage.connections.len(), 4);
        stage.play_all();
        let figures = &stage.driver.figures;
        assert_eq!((figures.came, figures.connected), (came, 6), "{when_lost}");
        assert!(stage.driver.rooms.faults().is_clean());
    }
}

#[test]
fn a_scripted_goodbye_is_no_error_and_nothing_is_expected_after_it() {
    let steps = r#"{ join = "r" }, { publish = "r" }, { wait = "100ms" },
        { reconnect = "cut", after = "200ms" },
        { join = "r" }, { emit = "x", ack = true, await = false },
        { disconnect = "clean" }, { wait = "50ms" }, { emit = "y", ack = true }"#;
    let mix = mix(&clients(5, 20), &behaviour(steps));
    let mut stage = Stage::new(&mix);
    stage.play_all();
    let figures = &stage.driver.figures;
    assert!(stage.driver.rooms.faults().is_clean());
    assert_eq!(figures.wrong(0).0, 0);
    assert!(figures.connected > 3 * 5 && stage.event("y").acked > 5);
}

#[test]
fn each_client_has_its_own_credentials_and_choices() {
    let text = format!(
        "[tokens]\nlist = [\"a\", \"b\", \"c\"]\n{}[[behaviour]]\nnamespace = \"/chat\"\n\
         bearer = \"B-{{{{token}}}}\"\nvariables = {{ me = \"m{{{{client}}}}\" }}\n\
         auth = {{ token = \"{{{{token}}}}\", me = \"{{{{me}}}}\" }}\nsteps = [ {{ wait = \"1h\" }} ]",
        clients(4, 1)
    );
    let mix = Mix::parse("test.toml", &text).unwrap();
    let mut stage = Stage::new(&mix);
    stage.play(SECOND / 2);
    let shown: Vec<_> = stage
        .credentials
        .iter()
        .map(|shown| (shown.auth.as_deref(), shown.bearer.as_deref()))
        .collect();
    let expected = [
        (Some(r#"{"me":"m0","token":"a"}"#), Some("B-a")),
        (Some(r#"{"me":"m1","token":"b"}"#), Some("B-b")),
        (Some(r#"{"me":"m2","token":"c"}"#), Some("B-c")),
        (Some(r#"{"me":"m3","token":"a"}"#), Some("B-a")),
    ];
    assert_eq!(shown, expected);
    assert_eq!(stage.credentials[0].namespace.as_deref(), Some("/chat"));
}

#[test]
fn a_client_with_much_to_say_lets_others_have_their_turn() {
    let steps = "{ repeat = 5000, steps = [ { emit = \"x\" } ] }, { wait = \"1h\" }";
    let mix = mix(&clients(2, 1), &behaviour(steps));
    let mut stage = Stage::new(&mix);
    stage.play(4 * MS + 1);
    assert!(stage.event("x").sent < 5000, "{}", stage.event("x").sent);
    stage.play_all();
    assert_eq!(stage.event("x").sent, 10_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any order of steps against any interruptions by the network: a server that does as it
    /// should is never accused of a fault.
    #[test]
    fn no_fault_is_found_where_there_is_none(
        steps in proptest::collection::vec(0usize..9, 1..8),
        lost in proptest::collection::vec((0u64..5000, 0u32..6), 0..12),
        when_lost in prop_oneof![Just("leave"), Just("reconnect")],
        seed in 0u64..1000,
    ) {
        const STEPS: [&str; 9] = [
            r#"{ join = "r{{random_int 1 2}}" }"#,
            r#"{ join = "r1", ack = false }"#,
            r#"{ leave = "r{{random_int 1 2}}" }"#,
            r#"{ publish = "r{{random_int 1 2}}" }"#,
            r#"{ publish = "r1", ack = true, await = false }"#,
            r#"{ wait = { exponential = "30ms" } }"#,
            r#"{ reconnect = "cut", after = "20ms" }"#,
            r#"{ disconnect = "clean" }"#,
            r#"{ repeat = 3, every = "10ms", steps = [ { publish = "r1" } ] }"#,
        ];
        let steps: Vec<&str> = steps.into_iter().map(|step| STEPS[step]).collect();
        let steps = format!(
            "{{ join = \"r1\" }}, {{ repeat = \"forever\", every = \"50ms\", steps = [ {} ] }}",
            steps.join(", ")
        );
        let behaviours = format!("[[behaviour]]\nwhen_lost = \"{when_lost}\"\nsteps = [ {steps} ]");
        let mix = mix(&format!("seed = {seed}\n{}", clients(6, 5)), &behaviours);
        let mut stage = Stage::new(&mix);
        stage.open_rooms = true;
        let mut lost = lost;
        lost.sort_unstable();
        for (at, slot) in lost {
            stage.play(at * MS);
            if stage.connections.contains_key(&slot) && !stage.driver.is_closing(slot) {
                stage.lose(slot);
            }
        }
        stage.play_all();
        let faults = stage.driver.rooms.faults();
        prop_assert!(faults.is_clean(), "{faults:?}");
        prop_assert_eq!(stage.driver.figures.double_acks + stage.driver.figures.unasked_acks, 0);
    }
}
