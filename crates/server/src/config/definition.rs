//! What a setting is: its names, kind, default and help.

use std::fmt;

/// Environment variables of ours begin with this.
pub(crate) const ENV_PREFIX: &str = "SOCKEYE_";

/// The variable (and, as `--config`, the flag) that names the configuration file.
pub(crate) const CONFIG_ENV: &str = "SOCKEYE_CONFIG";

/// Names this program to scripts that start it; nothing to the program itself.
pub(crate) const BINARY_ENV: &str = "SOCKEYE_BIN";

/// One configuration key. Everything that is said about it anywhere comes from here.
pub(crate) struct Setting {
    /// Section and name in the TOML file, such as `server.port`.
    pub(crate) path: &'static str,
    /// The flag without its dashes, such as `port`.
    pub(crate) flag: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: Initial,
    /// One line, for `--help`.
    pub(crate) short: &'static str,
    /// What it does to memory, latency and safety, for the reference.
    pub(crate) long: &'static str,
}

/// A group of settings: a table of the TOML file, a chapter of the reference.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) intro: &'static str,
}

/// The type of a setting with its validation.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Switch,
    /// A whole number within bounds, both included.
    Integer { min: u64, max: u64, unit: Unit },
    /// One text.
    Text(Rule),
    /// Several texts: an array in the file, separated by `,` or a space elsewhere.
    List { rule: Rule, separator: char },
}

/// The unit of a number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    None,
    Milliseconds,
    Bytes,
}

/// A default as it can stand in a static table.
#[derive(Clone, Copy)]
pub(crate) enum Initial {
    Switch(bool),
    Integer(u64),
    Text(&'static str),
    List(&'static [&'static str]),
}

/// What a text must look like.
#[derive(Clone, Copy)]
pub(crate) enum Rule {
    /// Any text of at most 64 characters without control characters; may be empty.
    Name,
    /// A host name or an IP address.
    Host,
    /// A path of a URL: begins with `/`.
    UrlPath,
    /// A cookie name (RFC 6265 section 4.1.1: a token).
    Token,
    /// `scheme://host[:port]`, or `*`.
    Origin,
    /// A regular expression.
    Pattern,
    /// A path of the file system; may be empty.
    File,
    /// Directives such as `info` or `warn,sockeye=debug`.
    LogFilter,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

impl Setting {
    /// The environment variable: `server.port` is `SOCKEYE_SERVER_PORT`.
    pub(crate) fn env(&self) -> String {
        format!(
            "{ENV_PREFIX}{}",
            self.path.replace('.', "_").to_ascii_uppercase()
        )
    }

    /// The name of the section.
    pub(crate) fn section(&self) -> &'static str {
        self.path.split_once('.').map_or("", |(section, _)| section)
    }

    /// The name within the section.
    pub(crate) fn name(&self) -> &'static str {
        self.path
            .split_once('.')
            .map_or(self.path, |(_, name)| name)
    }

    /// What stands after the flag in `--help`, such as `<MS>`.
    pub(crate) fn placeholder(&self) -> &'static str {
        match self.kind {
            Kind::Switch => "<true|false>",
            Kind::Integer {
                unit: Unit::Milliseconds,
                ..
            } => "<MS>",
            Kind::Integer {
                unit: Unit::Bytes, ..
            } => "<BYTES>",
            Kind::Integer {
                unit: Unit::None, ..
            } => "<N>",
            Kind::Text(Rule::File) => "<FILE>",
            Kind::Text(_) => "<TEXT>",
            Kind::List { .. } => "<LIST>",
        }
    }
}

impl Kind {
    /// The type, as the reference names it.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Switch => "switch".to_owned(),
            Self::Integer {
                unit: Unit::None, ..
            } => "number".to_owned(),
            Self::Integer {
                unit: Unit::Milliseconds,
                ..
            } => "milliseconds".to_owned(),
            Self::Integer {
                unit: Unit::Bytes, ..
            } => "bytes".to_owned(),
            Self::Text(_) => "text".to_owned(),
            Self::List { .. } => "list of texts".to_owned(),
        }
    }
}

/// What is accepted, as a noun phrase: "a whole number from 0 to 65535".
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch => f.write_str("true or false"),
            Self::Integer { min, max, unit } => {
                let unit = match unit {
                    Unit::None => "a whole number",
                    Unit::Milliseconds => "a whole number of milliseconds",
                    Unit::Bytes => "a whole number of bytes",
                };
                write!(f, "{unit} from {min} to {max}")
            }
            Self::Text(rule) => rule.fmt(f),
            Self::List {
                rule,
                separator: ',',
            } => {
                write!(
                    f,
                    "a list; each entry {rule} (separated by commas outside the file)"
                )
            }
            Self::List { rule, .. } => {
                write!(
                    f,
                    "a list; each entry {rule} (separated by spaces outside the file)"
                )
            }
        }
    }
}

impl Rule {
    /// Whether `text` obeys.
    pub(crate) fn accepts(&self, text: &str) -> bool {
        if text.chars().any(char::is_control) {
            return false;
        }
        match self {
            Self::Name => text.chars().count() <= 64,
            Self::Host => {
                !text.is_empty()
                    && text.len() <= 255
                    && text
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b".-_:".contains(&b))
            }
            Self::UrlPath => {
                text.len() > 1
                    && text.len() <= 128
                    && text.starts_with('/')
                    && !text.contains("//")
                    && text
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"/.-_~".contains(&b))
            }
            Self::Token => {
                !text.is_empty()
                    && text.len() <= 64
                    && text
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
            }
            Self::Origin => text == "*" || is_origin(text),
            Self::Pattern => !text.is_empty() && regex::Regex::new(text).is_ok(),
            Self::File => true,
            Self::LogFilter => {
                !text.is_empty() && text.parse::<tracing_subscriber::filter::Targets>().is_ok()
            }
            Self::OneOf(words) => words.contains(&text),
        }
    }
}

fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else {
        return false;
    };
    !scheme.is_empty()
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        && !authority.is_empty()
        && authority
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"/?#@,".contains(&b))
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "a text of at most 64 characters",
            Self::Host => "a host name or an IP address, without a port",
            Self::UrlPath => "a path that begins with / , of letters, digits and - . _ ~",
            Self::Token => "a cookie name: letters, digits and - _ .",
            Self::Origin => "an origin such as https://example.com, without a path, or *",
            Self::Pattern => "a regular expression",
            Self::File => "a path of a file",
            Self::LogFilter => {
                "a level (error, warn, info, debug, trace, off) or directives such as \
                 warn,sockeye=debug"
            }
            Self::OneOf(words) => {
                f.write_str("one of ")?;
                for (index, word) in words.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{word}")?;
                }
                return Ok(());
            }
        })
    }
}
