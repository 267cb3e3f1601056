//! The steps of a behaviour.

use super::super::plan::{Answer, Parting, Step, Think};
use super::super::table::{Entry, MixError, Table};
use super::super::template::{JsonTemplate, Template};
use super::{MAX_DEPTH, MAX_STEPS, Parser, choose, event_name};
use crate::nearest::did_you_mean;
use std::time::Duration;

const VERBS: &[&str] = &[
    "connect",
    "join",
    "leave",
    "emit",
    "publish",
    "wait",
    "disconnect",
    "reconnect",
    "repeat",
];

impl Parser<'_> {
    /// Depth is bounded by [`MAX_DEPTH`].
    pub(super) fn steps(
        &mut self,
        entry: &Entry<'_>,
        program: &mut Program<'_>,
    ) -> Result<(), MixError> {
        let tables = entry.tables()?;
        if tables.is_empty() {
            return Err(entry.expected("at least one step"));
        }
        for entry in &tables {
            self.step(entry, program)?;
            if program.steps.len() > MAX_STEPS {
                return Err(entry.error(format!("more than {MAX_STEPS} steps")));
            }
        }
        Ok(())
    }

    fn step(&mut self, entry: &Entry<'_>, program: &mut Program<'_>) -> Result<(), MixError> {
        let open = entry.open_table()?;
        let entries = open.entries();
        let mut verbs = entries.iter().filter(|entry| VERBS.contains(&entry.key));
        let verb = match (verbs.next(), verbs.next()) {
            (Some(verb), None) => verb,
            (Some(first), Some(second)) => {
                return Err(open.at_key(
                    second.key,
                    format!(
                        "{} and {} are two steps: each needs its own braces",
                        first.key, second.key
                    ),
                ));
            }
            _ => {
                return Err(match entries.first() {
                    Some(first) => {
                        let hint = did_you_mean(first.key, VERBS.iter().copied());
                        open.at_key(first.key, format!("unknown step {}{hint}", first.key))
                    }
                    None => open.error("a step like { emit = \"news\" } expected"),
                });
            }
        };
        let table = entry.table_of(verb.key, keys_of(verb.key))?;
        let step = match verb.key {
            "connect" => match verb.switch()? {
                true => Step::Connect,
                false => return Err(verb.expected("true")),
            },
            "join" => {
                let event = self.contract.join.clone();
                Step::Join(
                    self.template(verb, program.variables)?,
                    self.answer(&table, true, &event)?,
                )
            }
            "leave" => {
                let event = self.contract.leave.clone();
                Step::Leave(
                    self.template(verb, program.variables)?,
                    self.answer(&table, true, &event)?,
                )
            }
            "emit" => self.emit(verb, &table, program.variables)?,
            "publish" => self.publish(verb, &table, program.variables)?,
            "wait" => Step::Wait(think(verb)?),
            "disconnect" => Step::Disconnect(parting(verb)?),
            "reconnect" => {
                let after = match table.get("after") {
                    Some(entry) => think(&entry)?,
                    None => Think::Uniform(Duration::from_millis(500), Duration::from_millis(1500)),
                };
                program.steps.push(Step::Disconnect(parting(verb)?));
                program.steps.push(Step::Wait(after));
                Step::Connect
            }
            _ => return self.repeat(verb, &table, program),
        };
        program.steps.push(step);
        Ok(())
    }

    fn emit(
        &mut self,
        verb: &Entry<'_>,
        table: &Table<'_>,
        variables: &[String],
    ) -> Result<Step, MixError> {
        let event = event_name(verb)?;
        let arguments = match (table.get("data"), table.get("arguments")) {
            (Some(_), Some(both)) => return Err(both.error("either data or arguments expected")),
            (Some(data), None) => vec![self.json(&data, variables)?],
            (None, Some(list)) => {
                let items = list.list()?;
                let items = items.iter().map(|item| self.json(item, variables));
                items.collect::<Result<_, _>>()?
            }
            (None, None) => Vec::new(),
        };
        let answer = self.answer(table, false, &event)?;
        Ok(Step::Emit {
            event: self.event(&event),
            arguments,
            answer,
        })
    }

    fn publish(
        &mut self,
        verb: &Entry<'_>,
        table: &Table<'_>,
        variables: &[String],
    ) -> Result<Step, MixError> {
        let room = self.template(verb, variables)?;
        let event = match table.get("event") {
            Some(entry) => self.template(&entry, variables)?,
            // Proof: without placeholders.
            None => Template::parse("message", &[]).expect("a valid template"),
        };
        let stamped = match table.get("verify") {
            Some(entry) => entry.switch()? && self.verify,
            None => self.verify,
        };
        let empty = serde_json::json!({});
        let (data, json) = match table.get("data") {
            Some(entry) => (self.json(&entry, variables)?, entry.json()?),
            // Proof: without placeholders.
            None => (
                JsonTemplate::parse(&empty, &[]).expect("a valid template"),
                empty,
            ),
        };
        let field = &self.contract.stamp_field;
        if stamped && json.get(field).is_some() {
            return Err(table.error(format!(
                "data has a field {field}, where the stamp goes; rename it, or set stamp_field \
                 in [server]"
            )));
        }
        if stamped && !json.is_object() {
            return Err(table.error(
                "data = …: a table expected, of which the stamp becomes a field (or verify = false)",
            ));
        }
        let name = self.contract.publish.clone();
        let answer = self.answer(table, false, &name)?;
        Ok(Step::Publish {
            room,
            event,
            data,
            stamped,
            answer,
        })
    }

    fn repeat(
        &mut self,
        verb: &Entry<'_>,
        table: &Table<'_>,
        program: &mut Program<'_>,
    ) -> Result<(), MixError> {
        let expected = "a number of rounds or \"forever\"";
        let times = match verb.text() {
            Ok("forever") => None,
            Ok(_) => return Err(verb.expected(expected)),
            Err(_) => {
                let times = verb.whole(1..=u32::MAX.into());
                Some(times.map_err(|_| verb.expected(expected))? as u32)
            }
        };
        let every = match table.get("every") {
            Some(entry) => Some(entry.time_above_zero()?),
            None => None,
        };
        if program.depth == MAX_DEPTH {
            return Err(verb.error(format!("more than {MAX_DEPTH} loops inside each other")));
        }
        let steps = table.require("steps", "what is repeated")?;
        let start = program.steps.len();
        program.steps.push(Step::Repeat {
            times,
            every,
            end: start,
        });
        program.depth += 1;
        program.deepest = program.deepest.max(program.depth);
        self.steps(&steps, program)?;
        program.depth -= 1;
        let body = &program.steps[start + 1..];
        if times.is_none() && every.is_none() && !body.iter().any(takes_time) {
            return Err(verb.error(
                "a loop for ever needs every = \"1s\", or a step that takes time: wait, reconnect \
                 or one that awaits an acknowledgement",
            ));
        }
        let end = program.steps.len();
        program.steps[start] = Step::Repeat { times, every, end };
        program.steps.push(Step::Again(start));
        Ok(())
    }

    /// The keys `ack`, `timeout` and `await` of a step.
    fn answer(
        &mut self,
        table: &Table<'_>,
        by_default: bool,
        event: &str,
    ) -> Result<Answer, MixError> {
        let event = self.event(event);
        if !table.get("ack").map_or(Ok(by_default), |e| e.switch())? {
            let useless = table.get("timeout").or_else(|| table.get("await"));
            return match useless {
                Some(entry) => Err(entry.error(format!("{} needs ack = true", entry.key))),
                None => Ok(Answer::None),
            };
        }
        self.acknowledged.push(event);
        let timeout = match table.get("timeout") {
            Some(entry) => entry.time_above_zero()?,
            None => self.ack_timeout,
        };
        Ok(match table.get("await").map_or(Ok(true), |e| e.switch())? {
            true => Answer::Await(timeout),
            false => Answer::Later(timeout),
        })
    }
}

/// The steps of one behaviour so far.
pub(super) struct Program<'a> {
    variables: &'a [String],
    pub(super) steps: Vec<Step>,
    depth: usize,
    pub(super) deepest: usize,
}

impl<'a> Program<'a> {
    pub(super) fn new(variables: &'a [String]) -> Self {
        Self {
            variables,
            steps: Vec::new(),
            depth: 0,
            deepest: 0,
        }
    }
}

fn keys_of(verb: &str) -> &'static [&'static str] {
    match verb {
        "join" => &["join", "ack", "timeout", "await"],
        "leave" => &["leave", "ack", "timeout", "await"],
        "emit" => &["emit", "data", "arguments", "ack", "timeout", "await"],
        "publish" => &[
            "publish", "event", "data", "verify", "ack", "timeout", "await",
        ],
        "reconnect" => &["reconnect", "after"],
        "repeat" => &["repeat", "every", "steps"],
        "connect" => &["connect"],
        "wait" => &["wait"],
        _ => &["disconnect"],
    }
}

fn takes_time(step: &Step) -> bool {
    match step {
        Step::Wait(_) => true,
        Step::Repeat { every, .. } => every.is_some(),
        Step::Join(_, answer)
        | Step::Leave(_, answer)
        | Step::Emit { answer, .. }
        | Step::Publish { answer, .. } => matches!(answer, Answer::Await(_)),
        _ => false,
    }
}

fn think(entry: &Entry<'_>) -> Result<Think, MixError> {
    if entry.text().is_ok() {
        return entry.time_above_zero().map(Think::Fixed);
    }
    let expected = "a time like \"2s\", { uniform = [\"1s\", \"3s\"] } or { exponential = \"2s\" }";
    let Ok(open) = entry.open_table() else {
        return Err(entry.expected(expected));
    };
    let table = entry.table(&["uniform", "exponential"])?;
    match open.entries().as_slice() {
        [mean] if mean.key == "exponential" => Ok(Think::Exponential(mean.time_above_zero()?)),
        [between] => {
            let items = between.list()?;
            let [low, high] = items.as_slice() else {
                return Err(between.expected("two times, the shorter first,"));
            };
            let (low, high) = (low.time()?, high.time_above_zero()?);
            match low <= high {
                true => Ok(Think::Uniform(low, high)),
                false => Err(between.expected("two times, the shorter first,")),
            }
        }
        _ => Err(table.error(format!("{}: {expected} expected", entry.key))),
    }
}

fn parting(entry: &Entry<'_>) -> Result<Parting, MixError> {
    choose(entry, &[("clean", Parting::Clean), ("cut", Parting::Cut)])
}
