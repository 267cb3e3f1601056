//! Tables of a scenario file that know their keys, and errors that know their line.

use crate::nearest::did_you_mean;
use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// Longest time that a scenario may name: a week.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// Longest excerpt of a wrong value in an error.
const EXCERPT: usize = 40;

/// A scenario file that cannot be understood: where, and what is expected there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MixError {
    file: String,
    line: Option<usize>,
    what: String,
}

impl MixError {
    pub(crate) fn new(file: &str, line: Option<usize>, what: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            what: what.into(),
        }
    }

    /// Line in the file, from 1; `None` if the file could not be read at all.
    pub fn line(&self) -> Option<usize> {
        self.line
    }
}

impl fmt::Display for MixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.what),
            None => write!(f, "{}: {}", self.file, self.what),
        }
    }
}

impl std::error::Error for MixError {}

/// The text that spans point into.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
}

impl Source<'_> {
    pub(crate) fn error(&self, span: Range<usize>, what: impl Into<String>) -> MixError {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        MixError::new(self.file, Some(line), what)
    }

    /// What somebody wrote there, fit for one line.
    fn excerpt(&self, span: Range<usize>) -> String {
        let written = self.text.get(span).unwrap_or_default();
        let mut line = written.lines().next().unwrap_or_default().chars();
        let short: String = line.by_ref().take(EXCERPT).collect();
        let more = line.next().is_some() || written.lines().nth(1).is_some();
        if more { format!("{short}…") } else { short }
    }
}

/// A value and its key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) key: &'a str,
    pub(crate) value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Entry<'a> {
    /// The error that this value is not what is expected.
    pub(crate) fn expected(&self, expected: &str) -> MixError {
        let written = self.source.excerpt(self.value.span());
        self.error(format!("{} = {written}: {expected} expected", self.key))
    }

    pub(crate) fn error(&self, what: impl Into<String>) -> MixError {
        self.source.error(self.value.span(), what)
    }

    pub(crate) fn text(&self) -> Result<&'a str, MixError> {
        match self.value.get_ref() {
            DeValue::String(text) => Ok(text),
            _ => Err(self.expected("a text in quotes")),
        }
    }

    pub(crate) fn switch(&self) -> Result<bool, MixError> {
        match self.value.get_ref() {
            DeValue::Boolean(on) => Ok(*on),
            _ => Err(self.expected("true or false")),
        }
    }

    pub(crate) fn whole(&self, range: RangeInclusive<u64>) -> Result<u64, MixError> {
        let number = match self.value.get_ref() {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                let (low, high) = (range.start(), range.end());
                self.expected(&format!("a whole number from {low} to {high}"))
            })
    }

    /// A number above zero.
    pub(crate) fn positive(&self, most: f64) -> Result<f64, MixError> {
        number(self.value.get_ref())
            .filter(|number| *number > 0.0 && *number <= most)
            .ok_or_else(|| self.expected(&format!("a number above 0, {most} at most,")))
    }

    /// A share, as `0.01` or `"1%"`.
    pub(crate) fn share(&self) -> Result<f64, MixError> {
        let share = match self.value.get_ref() {
            DeValue::String(text) => text
                .strip_suffix('%')
                .and_then(|percent| percent.trim().parse::<f64>().ok())
                .map(|percent| percent / 100.0),
            other => number(other),
        };
        share
            .filter(|share| (0.0..=1.0).contains(share))
            .ok_or_else(|| self.expected("a share like \"0.1%\" or 0.001"))
    }

    pub(crate) fn time(&self) -> Result<Duration, MixError> {
        let time = match self.value.get_ref() {
            DeValue::String(text) => duration(text),
            _ => None,
        };
        time.filter(|time| *time <= LONGEST)
            .ok_or_else(|| self.expected("a time like \"500ms\", \"5s\", \"2m\" or \"1h\""))
    }

    pub(crate) fn time_above_zero(&self) -> Result<Duration, MixError> {
        self.time().and_then(|time| {
            let positive = !time.is_zero();
            positive
                .then_some(time)
                .ok_or_else(|| self.expected("a time above zero"))
        })
    }

    pub(crate) fn table(&self, known: &[&str]) -> Result<Table<'a>, MixError> {
        self.table_of(self.key, known)
    }

    /// Like [`Entry::table`], by another name.
    pub(crate) fn table_of(&self, what: &str, known: &[&str]) -> Result<Table<'a>, MixError> {
        match self.value.get_ref() {
            DeValue::Table(table) => Table::new(self.source, table, self.value.span(), known, what),
            _ => Err(self.expected("a table")),
        }
    }

    /// Like [`Entry::table`], for tables whose keys are not known beforehand.
    pub(crate) fn open_table(&self) -> Result<Table<'a>, MixError> {
        match self.value.get_ref() {
            DeValue::Table(table) => Ok(Table {
                source: self.source,
                table,
                span: self.value.span(),
            }),
            _ => Err(self.expected("a table")),
        }
    }

    pub(crate) fn list(&self) -> Result<Vec<Entry<'a>>, MixError> {
        match self.value.get_ref() {
            DeValue::Array(items) => Ok(self.items(items)),
            _ => Err(self.expected("a list in brackets")),
        }
    }

    /// The tables of `[[…]]`, or of a list in brackets.
    pub(crate) fn tables(&self) -> Result<Vec<Entry<'a>>, MixError> {
        let items = self
            .list()
            .map_err(|_| self.error(format!("{} = …: a list of tables expected", self.key)))?;
        let is_table = |item: &Entry<'_>| matches!(item.value.get_ref(), DeValue::Table(_));
        match items.iter().find(|item| !is_table(item)) {
            Some(other) => Err(other.expected("a table")),
            None => Ok(items),
        }
    }

    fn items(&self, items: &'a DeArray<'a>) -> Vec<Entry<'a>> {
        let entry = |value| Entry { value, ..*self };
        items.iter().map(entry).collect()
    }

    /// The value as JSON. Its depth is bounded by TOML's parser.
    pub(crate) fn json(&self) -> Result<serde_json::Value, MixError> {
        use serde_json::Value;
        Ok(match self.value.get_ref() {
            DeValue::String(text) => Value::from(&**text),
            DeValue::Boolean(on) => Value::from(*on),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map(Value::from)
                .map_err(|_| self.expected("a whole number of 64 bits"))?,
            DeValue::Float(_) => number(self.value.get_ref())
                .map(Value::from)
                .filter(Value::is_number)
                .ok_or_else(|| self.expected("a number that JSON knows"))?,
            DeValue::Datetime(time) => Value::from(time.to_string()),
            DeValue::Array(items) => Value::Array(
                self.items(items)
                    .iter()
                    .map(Entry::json)
                    .collect::<Result<_, _>>()?,
            ),
            DeValue::Table(_) => Value::Object(
                self.open_table()?
                    .entries()
                    .iter()
                    .map(|entry| Ok((entry.key.to_owned(), entry.json()?)))
                    .collect::<Result<_, MixError>>()?,
            ),
        })
    }
}

/// A table, all of whose keys are known.
#[derive(Debug, Clone)]
pub(crate) struct Table<'a> {
    source: Source<'a>,
    table: &'a DeTable<'a>,
    span: Range<usize>,
}

impl<'a> Table<'a> {
    /// `what` is the name of the table, for its errors.
    pub(crate) fn new(
        source: Source<'a>,
        table: &'a DeTable<'a>,
        span: Range<usize>,
        known: &[&str],
        what: &str,
    ) -> Result<Self, MixError> {
        let strangers = table
            .keys()
            .filter(|key| !known.contains(&&**key.get_ref()));
        match strangers.min_by_key(|key| key.span().start) {
            Some(key) => {
                let name = key.get_ref();
                let hint = did_you_mean(name, known.iter().copied());
                let place = match what {
                    "" => "here".to_owned(),
                    what => format!("in {what}"),
                };
                let error = format!("unknown key {name} {place}{hint}");
                Err(source.error(key.span(), error))
            }
            None => Ok(Self {
                source,
                table,
                span,
            }),
        }
    }

    pub(crate) fn get(&self, key: &'static str) -> Option<Entry<'a>> {
        self.table.get(key).map(|value| Entry {
            source: self.source,
            key,
            value,
        })
    }

    pub(crate) fn require(&self, key: &'static str, why: &str) -> Result<Entry<'a>, MixError> {
        self.get(key)
            .ok_or_else(|| self.error(format!("{key} is missing: {why}")))
    }

    /// All entries, in the order of the file.
    pub(crate) fn entries(&self) -> Vec<Entry<'a>> {
        let mut entries: Vec<_> = self.table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (&'a Spanned<_>, _)| {
            let key: &'a std::borrow::Cow<'a, str> = key.get_ref();
            Entry {
                source: self.source,
                key,
                value,
            }
        };
        entries.into_iter().map(entry).collect()
    }

    /// An error at a key's own line: about the key, not about its value.
    pub(crate) fn at_key(&self, key: &str, what: impl Into<String>) -> MixError {
        let key = self.table.get_key_value(key);
        let span = key.map_or(self.span.clone(), |(key, _)| key.span());
        self.source.error(span, what)
    }

    pub(crate) fn error(&self, what: impl Into<String>) -> MixError {
        self.source.error(self.span.clone(), what)
    }
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .map(|number| number as f64),
        DeValue::Float(number) => number.as_str().parse().ok(),
        _ => None,
    }
}

/// A time with its unit: `ms`, `s`, `m` or `h`.
fn duration(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let scale = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let number: f64 = number.trim_end().parse().ok()?;
    Duration::try_from_secs_f64(number * scale).ok()
}
