//! A value of a setting and its forms: static, text, TOML.

use std::fmt;

use toml::de::DeValue;

use super::definition::{Initial, Kind};

/// A value that obeys the kind of its setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Switch(bool),
    Integer(u64),
    Text(String),
    List(Vec<String>),
}

impl Value {
    /// Parses what a flag or a variable says. `None`: not what `kind` accepts.
    pub(crate) fn parse(kind: &Kind, text: &str) -> Option<Self> {
        match kind {
            Kind::Switch => match text {
                "true" | "on" | "yes" | "1" => Some(Self::Switch(true)),
                "false" | "off" | "no" | "0" => Some(Self::Switch(false)),
                _ => None,
            },
            Kind::Integer { min, max, .. } => integer(text, 10, *min, *max),
            Kind::Text(rule) => rule.accepts(text).then(|| Self::Text(text.to_owned())),
            Kind::List { rule, separator } => {
                let entries: Vec<String> = text
                    .split(*separator)
                    .map(str::trim)
                    .filter(|entry| !entry.is_empty())
                    .map(str::to_owned)
                    .collect();
                entries
                    .iter()
                    .all(|entry| rule.accepts(entry))
                    .then_some(Self::List(entries))
            }
        }
    }

    /// Takes over a value of a TOML file. `None`: not what `kind` accepts.
    pub(crate) fn from_toml(kind: &Kind, value: &DeValue<'_>) -> Option<Self> {
        match (kind, value) {
            (Kind::Switch, DeValue::Boolean(on)) => Some(Self::Switch(*on)),
            (Kind::Integer { min, max, .. }, DeValue::Integer(number)) => {
                integer(number.as_str(), number.radix(), *min, *max)
            }
            (Kind::Text(rule), DeValue::String(text)) => rule
                .accepts(text)
                .then(|| Self::Text(text.clone().into_owned())),
            (Kind::List { rule, .. }, DeValue::Array(entries)) => entries
                .iter()
                .map(|entry| match entry.get_ref() {
                    DeValue::String(text) if rule.accepts(text) => Some(text.clone().into_owned()),
                    _ => None,
                })
                .collect::<Option<Vec<String>>>()
                .map(Self::List),
            _ => None,
        }
    }
}

fn integer(text: &str, radix: u32, min: u64, max: u64) -> Option<Value> {
    let digits = text.strip_prefix('+').unwrap_or(text).replace('_', "");
    let number = u64::from_str_radix(&digits, radix).ok()?;
    (min..=max)
        .contains(&number)
        .then_some(Value::Integer(number))
}

impl From<Initial> for Value {
    fn from(initial: Initial) -> Self {
        match initial {
            Initial::Switch(on) => Self::Switch(on),
            Initial::Integer(number) => Self::Integer(number),
            Initial::Text(text) => Self::Text(text.to_owned()),
            Initial::List(entries) => {
                Self::List(entries.iter().map(|&entry| entry.to_owned()).collect())
            }
        }
    }
}

/// As it is written in a TOML file.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch(on) => on.fmt(f),
            Self::Integer(number) => number.fmt(f),
            Self::Text(text) => quoted(f, text),
            Self::List(entries) => {
                f.write_str("[")?;
                for (index, entry) in entries.iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    quoted(f, entry)?;
                }
                f.write_str("]")
            }
        }
    }
}

/// A TOML string. Values hold no control characters: only two characters need an escape.
fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
