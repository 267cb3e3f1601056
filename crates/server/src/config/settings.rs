//! File, environment and flags, laid over the defaults.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::definition::{BINARY_ENV, CONFIG_ENV, ENV_PREFIX, Kind, Setting};
use super::table::{SECTIONS, TABLE};
use super::value::Value;
use super::{ConfigError, Problem, nearest};

/// The value of every setting and where it comes from.
pub(crate) struct Settings {
    /// One for each entry of [`TABLE`], in its order.
    entries: Vec<Entry>,
}

/// The value of one setting.
pub(crate) struct Entry {
    pub(crate) setting: &'static Setting,
    pub(crate) value: Value,
    pub(crate) source: Source,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Default,
    /// File name and line.
    File(String, usize),
    /// The variable.
    Environment(String),
    /// The flag as written.
    Flag(String),
}

/// A flag of the command line with its value.
pub(crate) struct FlagValue {
    pub(crate) setting: &'static Setting,
    /// As it was written, with dashes.
    pub(crate) flag: String,
    pub(crate) text: String,
}

impl Settings {
    /// The defaults alone.
    pub(crate) fn defaults() -> Self {
        let entries = TABLE
            .iter()
            .map(|&setting| Entry {
                setting,
                value: Value::from(setting.default),
                source: Source::Default,
            })
            .collect();
        Self { entries }
    }

    /// Lays the file, then the environment, then the flags over the defaults.
    ///
    /// # Errors
    ///
    /// All problems of all sources.
    pub(crate) fn load(
        file: Option<&Path>,
        environment: &[(OsString, OsString)],
        flags: &[FlagValue],
    ) -> Result<Self, ConfigError> {
        let mut settings = Self::defaults();
        let mut problems = Vec::new();
        if let Some(file) = file {
            let name = file.display().to_string();
            match std::fs::read_to_string(file) {
                Ok(text) => settings.apply_file(&name, &text, &mut problems),
                Err(error) => {
                    problems.push(Problem::File {
                        file: name,
                        reason: error.to_string(),
                    });
                }
            }
        }
        settings.apply_environment(environment, &mut problems);
        settings.apply_flags(flags, &mut problems);
        ConfigError::check(problems)?;
        Ok(settings)
    }

    /// All entries in the order of the table.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The value of a setting of the table.
    pub(crate) fn get(&self, setting: &Setting) -> &Value {
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.setting.path == setting.path);
        // `entries` is built from `TABLE`, which the macro fills with every setting it defines.
        &entry.expect("every setting is in the table").value
    }

    fn set(&mut self, setting: &Setting, value: Value, source: Source) {
        if let Some(entry) = self
            .entries
            .iter_mut()
            .find(|e| e.setting.path == setting.path)
        {
            entry.value = value;
            entry.source = source;
        }
    }

    fn apply_file(&mut self, file: &str, text: &str, problems: &mut Vec<Problem>) {
        let document = match DeTable::parse(text) {
            Ok(document) => document,
            Err(error) => {
                let line = error.span().map_or(1, |span| line_of(text, span.start));
                let reason = error.message().to_owned();
                problems.push(Problem::File {
                    file: format!("{file}:{line}"),
                    reason,
                });
                return;
            }
        };
        for (section, value) in document.get_ref() {
            let place = format!("{file}:{}", line_of(text, section.span().start));
            let name = section.get_ref().as_ref();
            let DeValue::Table(table) = value.get_ref() else {
                problems.push(unknown_key(place, name));
                continue;
            };
            if !SECTIONS.iter().any(|known| known.name == name) {
                problems.push(unknown_section(place, name));
                continue;
            }
            for (key, value) in table {
                let line = line_of(text, key.span().start);
                let place = format!("{file}:{line}");
                let path = format!("{name}.{}", key.get_ref());
                let Some(setting) = TABLE.iter().find(|setting| setting.path == path) else {
                    problems.push(unknown_key(place, &path));
                    continue;
                };
                match Value::from_toml(&setting.kind, value.get_ref()) {
                    Some(value) => {
                        self.set(setting, value, Source::File(file.to_owned(), line));
                    }
                    None => problems.push(Problem::Value {
                        place,
                        key: path,
                        value: excerpt(text.get(value.span()).unwrap_or_default()),
                        expected: setting.kind.to_string(),
                    }),
                }
            }
        }
    }

    fn apply_environment(&mut self, variables: &[(OsString, OsString)], p: &mut Vec<Problem>) {
        for (name, text) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with(ENV_PREFIX)) else {
                continue;
            };
            let text = text.to_string_lossy();
            if [CONFIG_ENV, BINARY_ENV].contains(&name) || is_service_link(name, &text) {
                continue;
            }
            let Some(setting) = TABLE.iter().find(|setting| setting.env() == name) else {
                p.push(Problem::Unknown {
                    place: "environment".to_owned(),
                    what: "variable",
                    name: name.to_owned(),
                    nearest: nearest(name, TABLE.iter().map(|s| s.env())).unwrap_or_default(),
                });
                continue;
            };
            match Value::parse(&setting.kind, &text) {
                Some(value) => self.set(setting, value, Source::Environment(name.to_owned())),
                None => p.push(Problem::Value {
                    place: "environment".to_owned(),
                    key: name.to_owned(),
                    value: excerpt(&text),
                    expected: setting.kind.to_string(),
                }),
            }
        }
    }

    fn apply_flags(&mut self, flags: &[FlagValue], problems: &mut Vec<Problem>) {
        for flag in flags {
            let Some(value) = Value::parse(&flag.setting.kind, &flag.text) else {
                problems.push(Problem::Value {
                    place: "command line".to_owned(),
                    key: flag.flag.clone(),
                    value: excerpt(&flag.text),
                    expected: flag.setting.kind.to_string(),
                });
                continue;
            };
            let source = Source::Flag(flag.flag.clone());
            self.set(flag.setting, self.appended(flag.setting, value), source);
        }
    }

    /// A list flag that is given several times adds to what it said before.
    fn appended(&self, setting: &Setting, value: Value) -> Value {
        let earlier = self.entries.iter().find(|entry| {
            entry.setting.path == setting.path && matches!(entry.source, Source::Flag(_))
        });
        match (setting.kind, earlier.map(|entry| &entry.value), value) {
            (Kind::List { .. }, Some(Value::List(earlier)), Value::List(mut more)) => {
                let mut all = earlier.clone();
                all.append(&mut more);
                Value::List(all)
            }
            (_, _, value) => value,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(file, line) => write!(f, "{file}:{line}"),
            Self::Environment(variable) => write!(f, "environment {variable}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// Kubernetes puts the addresses of services into the environment of containers; those of a
/// service whose name begins with "sockeye" look like ours: `SOCKEYE_SERVICE_HOST`,
/// `SOCKEYE_PORT=tcp://10.0.0.1:3000`, `SOCKEYE_PORT_3000_TCP_ADDR`.
fn is_service_link(name: &str, text: &str) -> bool {
    if name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") {
        return true;
    }
    if ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
    {
        return name.contains("_PORT");
    }
    name.split_once("_PORT_").is_some_and(|(_, rest)| {
        let (port, protocol) = rest.split_once('_').unwrap_or((rest, ""));
        port.parse::<u16>().is_ok()
            && ["TCP", "UDP", "SCTP"]
                .iter()
                .any(|known| protocol.starts_with(known))
    })
}

fn unknown_key(place: String, path: &str) -> Problem {
    // A key without its section is closest to the one with that name.
    let by_name = TABLE
        .iter()
        .find(|setting| setting.name() == path)
        .map(|setting| setting.path);
    let nearest = by_name
        .or_else(|| nearest(path, TABLE.iter().map(|s| s.path)))
        .unwrap_or_default();
    let nearest = nearest.to_owned();
    Problem::Unknown {
        place,
        what: "key",
        name: excerpt(path),
        nearest,
    }
}

fn unknown_section(place: String, name: &str) -> Problem {
    let nearest = nearest(name, SECTIONS.iter().map(|section| section.name)).unwrap_or_default();
    Problem::Unknown {
        place,
        what: "section",
        name: format!("[{}]", excerpt(name)),
        nearest: format!("[{nearest}]"),
    }
}

/// The beginning of what somebody wrote, fit for one line.
fn excerpt(text: &str) -> String {
    let line: String = text
        .chars()
        .take(60)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(60).is_some() {
        format!("{line}…")
    } else {
        line
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes()
        .take(offset)
        .filter(|&byte| byte == b'\n')
        .count()
        + 1
}
