//! From the text of a scenario file to a [`Mix`].

mod steps;

use super::plan::{
    Behaviour, Contract, EventId, Limits, Load, Mix, Phase, PublishArgument, Thresholds, Tokens,
    WhenLost,
};
use super::table::{Entry, MixError, Source, Table};
use super::template::{JsonTemplate, PLACEHOLDERS, Template, TemplateError};
use crate::nearest::did_you_mean;
use crate::plan::Transport;
use std::time::Duration;
use steps::Program;
use toml::de::DeTable;

/// Most behaviours in a scenario.
pub const MAX_BEHAVIOURS: usize = 64;
/// Most phases in a scenario.
pub const MAX_PHASES: usize = 256;
/// Most steps in a behaviour, those inside loops included.
pub const MAX_STEPS: usize = 10_000;
/// Most loops inside each other.
pub const MAX_DEPTH: usize = 8;
/// Most clients at a time that a scenario may ask for.
pub const MAX_CLIENTS: u32 = 1 << 20;
/// Most clients that may come in a second.
pub const MAX_ARRIVALS: f64 = 100_000.0;

const ROOT: &[&str] = &[
    "name",
    "verify",
    "seed",
    "max_clients",
    "ack_timeout",
    "connect_timeout",
    "server",
    "tokens",
    "phase",
    "behaviour",
    "thresholds",
];
const SERVER: &[&str] = &[
    "join",
    "leave",
    "publish",
    "publish_arguments",
    "message",
    "includes_sender",
    "stamp_field",
];
const PHASE: &[&str] = &[
    "name",
    "duration",
    "clients",
    "ramp",
    "arrivals",
    "arrivals_to",
    "measure",
];
const BEHAVIOUR: &[&str] = &[
    "name",
    "share",
    "transport",
    "namespace",
    "auth",
    "bearer",
    "variables",
    "when_lost",
    "steps",
];
const LIMITS: &[&str] = &["p50", "p90", "p99", "p999", "max"];
/// Names that Socket.IO keeps for itself.
const RESERVED: &[&str] = &[
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
];

/// Reads the text of a scenario file. `file` is its name, for errors; `read` reads a file that it
/// names, such as that of the tokens.
pub(crate) fn parse(
    file: &str,
    text: &str,
    read: &dyn Fn(&str) -> std::io::Result<String>,
) -> Result<Mix, MixError> {
    let source = Source { file, text };
    let document = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        source.error(span, error.message().to_owned())
    })?;
    let span = document.span();
    let root = Table::new(source, document.get_ref(), span.start..span.start, ROOT, "")?;
    let mut parser = Parser {
        read,
        ack_timeout: match root.get("ack_timeout") {
            Some(entry) => entry.time_above_zero()?,
            None => Duration::from_secs(5),
        },
        verify: root.get("verify").map_or(Ok(true), |e| e.switch())?,
        contract: Contract::default(),
        tokens: Tokens::None,
        events: Vec::new(),
        acknowledged: Vec::new(),
    };
    parser.mix(&root)
}

struct Parser<'r> {
    read: &'r dyn Fn(&str) -> std::io::Result<String>,
    ack_timeout: Duration,
    verify: bool,
    contract: Contract,
    tokens: Tokens,
    events: Vec<String>,
    /// Events for which some step expects an acknowledgement.
    acknowledged: Vec<EventId>,
}

impl Parser<'_> {
    fn mix(&mut self, root: &Table<'_>) -> Result<Mix, MixError> {
        if let Some(entry) = root.get("server") {
            self.contract = contract(&entry.table(SERVER)?)?;
        }
        if let Some(entry) = root.get("tokens") {
            self.tokens = self.tokens(&entry)?;
        }
        let phases = root.require("phase", "at least one [[phase]] says who comes when")?;
        let behaviours = root.require(
            "behaviour",
            "at least one [[behaviour]] says what clients do",
        )?;
        let (phases, behaviours) = (self.phases(&phases)?, self.behaviours(&behaviours)?);
        let thresholds = match root.get("thresholds") {
            Some(entry) => self.thresholds(&entry)?,
            None => Thresholds::default(),
        };
        let max_clients = match root.get("max_clients") {
            Some(entry) => entry.whole(1..=MAX_CLIENTS.into())? as u32,
            None => 10_000,
        };
        let wanted = phases.iter().map(|phase| match phase.load {
            Load::Clients { count, .. } => count,
            Load::Arrivals { .. } => 0,
        });
        let wanted = wanted.max().unwrap_or(0);
        if let Some(entry) = root.get("max_clients").filter(|_| wanted > max_clients) {
            return Err(entry.error(format!(
                "max_clients = {max_clients}, but a phase asks for {wanted} clients"
            )));
        }
        Ok(Mix {
            name: match root.get("name") {
                Some(entry) => name(&entry)?,
                None => "mixed".into(),
            },
            verify: self.verify,
            seed: root
                .get("seed")
                .map_or(Ok(1), |entry| entry.whole(0..=u64::MAX))?,
            max_clients: max_clients.max(wanted),
            connect_timeout: match root.get("connect_timeout") {
                Some(entry) => entry.time_above_zero()?,
                None => Duration::from_secs(10),
            },
            contract: self.contract.clone(),
            tokens: self.tokens.clone(),
            phases,
            behaviours,
            events: std::mem::take(&mut self.events),
            thresholds,
        })
    }

    fn tokens(&self, entry: &Entry<'_>) -> Result<Tokens, MixError> {
        let table = entry.table(&["list", "file", "template"])?;
        let entries = table.entries();
        let [source] = entries.as_slice() else {
            return Err(table.error("tokens: one of list, file and template expected"));
        };
        let list = match source.key {
            "template" => {
                let template = template(source, &[])?;
                if template.uses_token() {
                    return Err(source.expected("a template without {{token}}"));
                }
                return Ok(Tokens::Template(template));
            }
            "file" => {
                let name = source.text()?;
                let text = (self.read)(name).map_err(|error| {
                    source.error(format!("file = \"{name}\" cannot be read: {error}"))
                })?;
                let lines = text.lines().map(str::trim);
                let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
                lines.map(str::to_owned).collect::<Vec<_>>()
            }
            _ => {
                let items = source.list()?;
                let texts = items.iter().map(|item| item.text().map(str::to_owned));
                texts.collect::<Result<_, _>>()?
            }
        };
        if list.is_empty() {
            return Err(source.expected("at least one token"));
        }
        let visible =
            |token: &String| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        // The token itself is a secret and stays out of the error.
        match list.iter().position(|token| !visible(token)) {
            Some(index) => Err(source.error(format!(
                "token {} of {}: visible ASCII characters without spaces expected",
                index + 1,
                source.key
            ))),
            None => Ok(Tokens::List(list)),
        }
    }

    fn phases(&self, entry: &Entry<'_>) -> Result<Vec<Phase>, MixError> {
        let tables = entry.tables()?;
        if !(1..=MAX_PHASES).contains(&tables.len()) {
            return Err(entry.error(format!("1 to {MAX_PHASES} phases expected")));
        }
        let phases = tables.iter().enumerate();
        phases.map(|(index, entry)| phase(index, entry)).collect()
    }

    fn behaviours(&mut self, entry: &Entry<'_>) -> Result<Vec<Behaviour>, MixError> {
        let tables = entry.tables()?;
        if !(1..=MAX_BEHAVIOURS).contains(&tables.len()) {
            return Err(entry.error(format!("1 to {MAX_BEHAVIOURS} behaviours expected")));
        }
        let mut behaviours: Vec<Behaviour> = Vec::with_capacity(tables.len());
        for (index, entry) in tables.iter().enumerate() {
            let behaviour = self.behaviour(index, entry)?;
            if behaviours.iter().any(|other| other.name == behaviour.name) {
                return Err(entry.error(format!("two behaviours are called {}", behaviour.name)));
            }
            behaviours.push(behaviour);
        }
        Ok(behaviours)
    }

    fn behaviour(&mut self, index: usize, entry: &Entry<'_>) -> Result<Behaviour, MixError> {
        let table = entry.table(BEHAVIOUR)?;
        let mut names = Vec::new();
        let mut variables = Vec::new();
        if let Some(entry) = table.get("variables") {
            let table = entry.open_table()?;
            for entry in table.entries() {
                if !is_variable(entry.key) || PLACEHOLDERS.contains(&entry.key) {
                    return Err(table.at_key(
                        entry.key,
                        format!(
                            "{}: a variable's name has small letters, digits and _, and is no \
                             placeholder's",
                            entry.key
                        ),
                    ));
                }
                variables.push(self.template(&entry, &[])?);
                names.push(entry.key.to_owned());
            }
        }
        let auth = match table.get("auth") {
            Some(entry) => {
                entry.open_table()?;
                Some(self.json(&entry, &names)?)
            }
            None if self.tokens != Tokens::None => {
                let object = serde_json::json!({ "token": "{{token}}" });
                // Proof: the template is a constant, which a test fills in.
                Some(JsonTemplate::parse(&object, &[]).expect("a valid template"))
            }
            None => None,
        };
        let bearer = match table.get("bearer") {
            Some(entry) => Some(self.template(&entry, &names)?),
            None => None,
        };
        let namespace = match table.get("namespace") {
            Some(entry) => Some(namespace(&entry)?),
            None => None,
        };
        let steps = table.require("steps", "what clients of this behaviour do")?;
        let mut program = Program::new(&names);
        self.steps(&steps, &mut program)?;
        Ok(Behaviour {
            name: match table.get("name") {
                Some(entry) => name(&entry)?,
                None => format!("behaviour {}", index + 1),
            },
            share: table
                .get("share")
                .map_or(Ok(1.0), |entry| entry.positive(1e9))?,
            transport: match table.get("transport") {
                Some(entry) => Some(choose(
                    &entry,
                    &[Transport::WebSocket, Transport::Polling, Transport::Upgrade]
                        .map(|transport| (transport.name(), transport)),
                )?),
                None => None,
            },
            namespace,
            auth,
            bearer,
            when_lost: match table.get("when_lost") {
                Some(entry) => choose(
                    &entry,
                    &[
                        ("leave", WhenLost::Leave),
                        ("reconnect", WhenLost::Reconnect),
                    ],
                )?,
                None => WhenLost::Leave,
            },
            depth: program.deepest,
            steps: program.steps,
            variables,
        })
    }

    fn event(&mut self, name: &str) -> EventId {
        let known = self.events.iter().position(|known| known == name);
        EventId(known.unwrap_or_else(|| {
            self.events.push(name.to_owned());
            self.events.len() - 1
        }))
    }

    fn thresholds(&self, entry: &Entry<'_>) -> Result<Thresholds, MixError> {
        let table = entry.table(&["error_share", "connect", "delivery", "ack"])?;
        let mut thresholds = Thresholds::default();
        if let Some(entry) = table.get("error_share") {
            thresholds.error_share = Some(entry.share()?);
        }
        if let Some(entry) = table.get("connect") {
            thresholds.connect = limits(&entry)?;
        }
        if let Some(entry) = table.get("delivery") {
            if !self.verify {
                return Err(entry.error("delivery is measured by stamps, but verify = false"));
            }
            thresholds.delivery = limits(&entry)?;
        }
        if let Some(entry) = table.get("ack") {
            let table = entry.open_table()?;
            for entry in table.entries() {
                let event = self.events.iter().position(|event| event == entry.key);
                let event = event.map(EventId);
                let event = event.filter(|event| self.acknowledged.contains(event));
                let Some(event) = event else {
                    let known = self.acknowledged.iter().map(|event| &*self.events[event.0]);
                    let hint = did_you_mean(entry.key, known);
                    return Err(table.at_key(
                        entry.key,
                        format!("no step has an event {} with ack = true{hint}", entry.key),
                    ));
                };
                thresholds.ack.push((event, limits(&entry)?));
            }
        }
        Ok(thresholds)
    }

    fn template(&self, entry: &Entry<'_>, variables: &[String]) -> Result<Template, MixError> {
        let template = template(entry, variables)?;
        match template.uses_token() && self.tokens == Tokens::None {
            true => Err(no_tokens(entry)),
            false => Ok(template),
        }
    }

    fn json(&self, entry: &Entry<'_>, variables: &[String]) -> Result<JsonTemplate, MixError> {
        let value = entry.json()?;
        let template = JsonTemplate::parse(&value, variables).map_err(|e| wrong(entry, &e))?;
        match template.uses_token() && self.tokens == Tokens::None {
            true => Err(no_tokens(entry)),
            false => Ok(template),
        }
    }
}

fn contract(table: &Table<'_>) -> Result<Contract, MixError> {
    let mut contract = Contract::default();
    let names = [
        ("join", &mut contract.join),
        ("leave", &mut contract.leave),
        ("publish", &mut contract.publish),
        ("message", &mut contract.message),
    ];
    for (key, field) in names {
        if let Some(entry) = table.get(key) {
            *field = event_name(&entry)?;
        }
    }
    if let Some(entry) = table.get("stamp_field") {
        let field = entry.text()?;
        if !is_variable(field) {
            return Err(entry.expected("a name of small letters, digits and _"));
        }
        contract.stamp_field = field.to_owned();
    }
    if let Some(entry) = table.get("includes_sender") {
        contract.includes_sender = entry.switch()?;
    }
    if let Some(entry) = table.get("publish_arguments") {
        let items = entry.list()?;
        let arguments = items.iter().map(|item| choose(item, &PublishArgument::ALL));
        contract.publish_arguments = arguments.collect::<Result<_, _>>()?;
        if !contract.publish_arguments.contains(&PublishArgument::Data) {
            return Err(entry.expected("\"data\" among the arguments"));
        }
    }
    Ok(contract)
}

fn phase(index: usize, entry: &Entry<'_>) -> Result<Phase, MixError> {
    let table = entry.table(PHASE)?;
    let duration = table.require("duration", "how long the phase takes")?;
    let duration = duration.time_above_zero()?;
    let only_with = |key, other| match table.get(key) {
        Some(entry) => Err(entry.error(format!("{key} goes with {other}"))),
        None => Ok(()),
    };
    let load = match (table.get("clients"), table.get("arrivals")) {
        (Some(_), Some(both)) => {
            return Err(both.error("either clients or arrivals expected, not both"));
        }
        (Some(clients), None) => {
            only_with("arrivals_to", "arrivals")?;
            let ramp = match table.get("ramp") {
                Some(entry) => entry.time().and_then(|ramp| {
                    let fits = (ramp <= duration).then_some(ramp);
                    fits.ok_or_else(|| entry.expected("no more than the phase's duration"))
                })?,
                None => duration,
            };
            Load::Clients {
                count: clients.whole(0..=MAX_CLIENTS.into())? as u32,
                ramp,
            }
        }
        (None, Some(arrivals)) => {
            only_with("ramp", "clients")?;
            let from = arrivals.positive(MAX_ARRIVALS)?;
            let to = table.get("arrivals_to");
            Load::Arrivals {
                from,
                to: to.map_or(Ok(from), |entry| entry.positive(MAX_ARRIVALS))?,
            }
        }
        (None, None) => {
            return Err(table.error(
                "a phase needs clients = N (at a time) or arrivals = N (new ones a second)",
            ));
        }
    };
    Ok(Phase {
        name: match table.get("name") {
            Some(entry) => name(&entry)?,
            None => format!("phase {}", index + 1),
        },
        duration,
        load,
        measured: table.get("measure").map_or(Ok(true), |e| e.switch())?,
    })
}

fn limits(entry: &Entry<'_>) -> Result<Limits, MixError> {
    let table = entry.table(LIMITS)?;
    let time = |key| table.get(key).map(|entry| entry.time_above_zero());
    Ok(Limits {
        p50: time("p50").transpose()?,
        p90: time("p90").transpose()?,
        p99: time("p99").transpose()?,
        p999: time("p999").transpose()?,
        max: time("max").transpose()?,
    })
}

/// One of a few words.
fn choose<T: Copy>(entry: &Entry<'_>, choices: &[(&str, T)]) -> Result<T, MixError> {
    let text = entry.text().unwrap_or_default();
    match choices.iter().find(|(word, _)| *word == text) {
        Some((_, choice)) => Ok(*choice),
        None => {
            let words: Vec<_> = choices
                .iter()
                .map(|(word, _)| format!("\"{word}\""))
                .collect();
            Err(entry.expected(&words.join(" or ")))
        }
    }
}

fn event_name(entry: &Entry<'_>) -> Result<String, MixError> {
    let name = entry.text()?;
    if name.is_empty() || name.bytes().any(|b| b < b' ' || b == b'"' || b == b'\\') {
        return Err(entry.expected("the name of an event, without quotes in it,"));
    }
    if RESERVED.contains(&name) {
        return Err(entry.expected("a name that Socket.IO does not keep for itself"));
    }
    Ok(name.to_owned())
}

fn namespace(entry: &Entry<'_>) -> Result<String, MixError> {
    let name = entry.text()?;
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b',' && byte != b'?';
    match name.starts_with('/') && name.bytes().all(plain) {
        true => Ok(name.to_owned()),
        false => Err(entry.expected("a name that starts with /, without commas,")),
    }
}

/// A name for reports.
fn name(entry: &Entry<'_>) -> Result<String, MixError> {
    let name = entry.text()?;
    let short = (1..=64).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    match short {
        true => Ok(name.to_owned()),
        false => Err(entry.expected("a name of 1 to 64 characters")),
    }
}

fn is_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
    first && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn template(entry: &Entry<'_>, variables: &[String]) -> Result<Template, MixError> {
    Template::parse(entry.text()?, variables).map_err(|error| wrong(entry, &error))
}

fn wrong(entry: &Entry<'_>, error: &TemplateError) -> MixError {
    entry.error(format!("{} = …: {error}", entry.key))
}

fn no_tokens(entry: &Entry<'_>) -> MixError {
    entry.error(format!(
        "{} = …: {{{{token}}}} needs [tokens] with list, file or template",
        entry.key
    ))
}
