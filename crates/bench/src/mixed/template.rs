//! Text and JSON with placeholders, read once and filled in for every message.
//!
//! | placeholder | becomes |
//! | --- | --- |
//! | `{{client}}` | number of the client, from 0 |
//! | `{{sequence}}` | how many messages this client has sent before, from 0 |
//! | `{{random_int 1 20}}` | a whole number, both ends included |
//! | `{{random_string 40}}` | so many letters and digits |
//! | `{{uuid}}` | a random UUID, version 4 |
//! | `{{timestamp}}` | milliseconds since 1970-01-01 UTC |
//! | `{{token}}` | the client's token |
//! | `{{NAME}}` | one of the behaviour's own variables, chosen once per client |
//!
//! In JSON, a string that is one placeholder of a number and nothing else becomes that number.

use crate::nearest::nearest;
use rand::Rng as _;
use rand::rngs::SmallRng;
use std::fmt;

/// Longest `{{random_string n}}`, in characters.
pub const MAX_RANDOM_STRING: u32 = 1 << 20;

/// The names that placeholders may have, variables of a behaviour aside.
pub const PLACEHOLDERS: [&str; 7] = [
    "client",
    "sequence",
    "random_int",
    "random_string",
    "uuid",
    "timestamp",
    "token",
];

/// A template of plain text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

/// A template of a JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonTemplate(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Hole(Hole),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hole {
    Client,
    Sequence,
    RandomInt(i64, i64),
    RandomString(u32),
    Uuid,
    Timestamp,
    Token,
    Variable(usize),
}

impl Hole {
    fn is_number(&self) -> bool {
        matches!(
            self,
            Self::Client | Self::Sequence | Self::RandomInt(..) | Self::Timestamp
        )
    }
}

/// What fills the placeholders in.
#[derive(Debug)]
pub struct Values<'a> {
    /// Number of the client.
    pub client: u64,
    /// Messages it has sent before.
    pub sequence: u64,
    /// Milliseconds since 1970-01-01 UTC.
    pub timestamp: u64,
    /// Its token; empty if it has none.
    pub token: &'a str,
    /// The values of its variables.
    pub variables: &'a [String],
    /// Where randomness comes from.
    pub random: &'a mut SmallRng,
}

/// What is wrong with a template. `Display` says what to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError(String);

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TemplateError {}

impl Template {
    /// Reads a template; `variables` are the names it may use besides the built-in ones.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] for a placeholder that is not closed, unknown, or has wrong arguments.
    ///
    /// ```
    /// use sockeye_bench::mixed::Template;
    ///
    /// assert!(Template::parse("room-{{random_int 1 20}}", &[]).is_ok());
    /// let error = Template::parse("{{clent}}", &[]).unwrap_err();
    /// assert!(error.to_string().contains("{{client}}"));
    /// ```
    pub fn parse(text: &str, variables: &[String]) -> Result<Self, TemplateError> {
        Ok(Self(parts(text, variables)?))
    }

    /// Appends the text with everything filled in.
    pub fn render(&self, values: &mut Values<'_>, out: &mut String) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Hole(hole) => fill(hole, values, out, |text, out| out.push_str(text)),
            }
        }
    }

    /// The text, if it has no placeholders.
    pub fn constant(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    pub(crate) fn uses_token(&self) -> bool {
        self.0.contains(&Part::Hole(Hole::Token))
    }
}

impl JsonTemplate {
    /// Reads a JSON value whose strings are templates. Keys of objects are taken as they are.
    ///
    /// # Errors
    ///
    /// As [`Template::parse`].
    pub fn parse(value: &serde_json::Value, variables: &[String]) -> Result<Self, TemplateError> {
        let mut builder = Builder {
            variables,
            parts: Vec::new(),
            text: String::new(),
        };
        builder.value(value)?;
        builder.end_text();
        Ok(Self(builder.parts))
    }

    /// Appends the JSON text with everything filled in and escaped.
    pub fn render(&self, values: &mut Values<'_>, out: &mut String) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Hole(hole) => fill(hole, values, out, escape),
            }
        }
    }

    pub(crate) fn uses_token(&self) -> bool {
        self.0.contains(&Part::Hole(Hole::Token))
    }
}

/// Appends the inside of a JSON string.
pub(crate) fn escape(text: &str, out: &mut String) {
    let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        return out.push_str(text);
    }
    let quoted = serde_json::Value::from(text).to_string();
    out.push_str(&quoted[1..quoted.len() - 1]);
}

fn fill(hole: &Hole, values: &mut Values<'_>, out: &mut String, put: fn(&str, &mut String)) {
    use fmt::Write as _;
    // Writing to a String cannot fail.
    let _ = match hole {
        Hole::Client => write!(out, "{}", values.client),
        Hole::Sequence => write!(out, "{}", values.sequence),
        Hole::Timestamp => write!(out, "{}", values.timestamp),
        Hole::RandomInt(low, high) => {
            write!(out, "{}", values.random.random_range(*low..=*high))
        }
        Hole::RandomString(length) => {
            random_string(*length, values.random, out);
            Ok(())
        }
        Hole::Uuid => uuid(values.random.random(), out),
        Hole::Token => {
            put(values.token, out);
            Ok(())
        }
        Hole::Variable(index) => {
            put(values.variables.get(*index).map_or("", String::as_str), out);
            Ok(())
        }
    };
}

fn random_string(length: u32, random: &mut SmallRng, out: &mut String) {
    // 64 characters, of which six bits choose one: two of them count twice.
    const ALPHABET: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789aZ";
    let mut bits = 0u64;
    for index in 0..length {
        if index % 10 == 0 {
            bits = random.random();
        }
        out.push(char::from(ALPHABET[(bits & 63) as usize]));
        bits >>= 6;
    }
}

/// RFC 9562, section 5.4.
fn uuid(random: u128, out: &mut String) -> fmt::Result {
    use fmt::Write as _;
    let bits = random & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    write!(
        out,
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        bits >> 96,
        (bits >> 80) & 0xffff,
        (bits >> 64) & 0xffff,
        (bits >> 48) & 0xffff,
        bits & 0xffff_ffff_ffff
    )
}

fn parts(text: &str, variables: &[String]) -> Result<Vec<Part>, TemplateError> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some(start) = rest.find("{{") {
        let (before, after) = (&rest[..start], &rest[start + 2..]);
        if !before.is_empty() {
            parts.push(Part::Text(before.into()));
        }
        let end = after.find("}}").ok_or_else(|| {
            TemplateError("a placeholder that {{ opens must be closed by }}".into())
        })?;
        parts.push(Part::Hole(hole(&after[..end], variables)?));
        rest = &after[end + 2..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.into()));
    }
    Ok(parts)
}

fn hole(inside: &str, variables: &[String]) -> Result<Hole, TemplateError> {
    let mut words = inside.split_ascii_whitespace();
    let name = words.next().unwrap_or("");
    let arguments: Vec<&str> = words.collect();
    let wrong =
        |expected: &str| TemplateError(format!("{{{{{}}}}}: {expected} expected", inside.trim()));
    let plain = |hole| match arguments.is_empty() {
        true => Ok(hole),
        false => Err(wrong(&format!("no argument after {name}"))),
    };
    match name {
        "client" => plain(Hole::Client),
        "sequence" => plain(Hole::Sequence),
        "uuid" => plain(Hole::Uuid),
        "timestamp" => plain(Hole::Timestamp),
        "token" => plain(Hole::Token),
        "random_int" => {
            let wrong =
                || wrong("two whole numbers, the smaller first, as in {{random_int 1 20}},");
            let [low, high] = arguments.as_slice() else {
                return Err(wrong());
            };
            let (low, high) = (low.parse(), high.parse());
            match (low, high) {
                (Ok(low), Ok(high)) if low <= high => Ok(Hole::RandomInt(low, high)),
                _ => Err(wrong()),
            }
        }
        "random_string" => match arguments.as_slice() {
            [length] => match length.parse() {
                Ok(length) if (1..=MAX_RANDOM_STRING).contains(&length) => {
                    Ok(Hole::RandomString(length))
                }
                _ => Err(wrong("a length of 1 to 1048576 characters")),
            },
            _ => Err(wrong("one length, as in {{random_string 40}},")),
        },
        name => match variables.iter().position(|variable| variable == name) {
            Some(index) => plain(Hole::Variable(index)),
            None => {
                let known = PLACEHOLDERS
                    .iter()
                    .copied()
                    .chain(variables.iter().map(String::as_str));
                let nearest = nearest(name, known);
                Err(TemplateError(format!(
                    "there is no placeholder {{{{{name}}}}}; did you mean {{{{{nearest}}}}}?"
                )))
            }
        },
    }
}

/// Puts a JSON value's text together, with neighbouring text in one part.
struct Builder<'a> {
    variables: &'a [String],
    parts: Vec<Part>,
    text: String,
}

impl Builder<'_> {
    /// The depth is that of the file, which its parser has bounded.
    fn value(&mut self, value: &serde_json::Value) -> Result<(), TemplateError> {
        use serde_json::Value;
        match value {
            Value::String(text) => self.string(text)?,
            Value::Array(items) => {
                self.text.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        self.text.push(',');
                    }
                    self.value(item)?;
                }
                self.text.push(']');
            }
            Value::Object(fields) => {
                self.text.push('{');
                for (index, (key, field)) in fields.iter().enumerate() {
                    if index > 0 {
                        self.text.push(',');
                    }
                    self.text.push('"');
                    escape(key, &mut self.text);
                    self.text.push_str("\":");
                    self.value(field)?;
                }
                self.text.push('}');
            }
            scalar => self.text.push_str(&scalar.to_string()),
        }
        Ok(())
    }

    fn string(&mut self, text: &str) -> Result<(), TemplateError> {
        let mut parts = parts(text, self.variables)?;
        if let [Part::Hole(hole)] = parts.as_slice()
            && hole.is_number()
        {
            self.end_text();
            self.parts.append(&mut parts);
            return Ok(());
        }
        self.text.push('"');
        for part in parts {
            match part {
                Part::Text(text) => escape(&text, &mut self.text),
                hole => {
                    self.end_text();
                    self.parts.push(hole);
                }
            }
        }
        self.text.push('"');
        Ok(())
    }

    fn end_text(&mut self) {
        if !self.text.is_empty() {
            let text = std::mem::take(&mut self.text);
            self.parts.push(Part::Text(text.into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use serde_json::{Value, json};

    fn with_values<T>(
        seed: u64,
        token: &str,
        variables: &[String],
        f: impl FnOnce(&mut Values<'_>) -> T,
    ) -> T {
        f(&mut Values {
            client: 7,
            sequence: 41,
            timestamp: 1_700_000_000_123,
            token,
            variables,
            random: &mut SmallRng::seed_from_u64(seed),
        })
    }

    fn text(template: &str) -> String {
        let variables = ["room".to_owned()];
        let template = Template::parse(template, &variables).unwrap();
        with_values(1, "t\"k", &["lob\"by".to_owned()], |values| {
            let mut out = String::new();
            template.render(values, &mut out);
            out
        })
    }

    fn json_of(value: &Value) -> Value {
        let template = JsonTemplate::parse(value, &["room".to_owned()]).unwrap();
        with_values(1, "t\"k", &["lob\"by".to_owned()], |values| {
            let mut out = String::new();
            template.render(values, &mut out);
            serde_json::from_str(&out).unwrap_or_else(|error| panic!("{out}: {error}"))
        })
    }

    #[test]
    fn placeholders_are_filled_in() {
        assert_eq!(text("plain"), "plain");
        assert_eq!(text(""), "");
        assert_eq!(text("c{{client}}-{{ sequence }}!"), "c7-41!");
        assert_eq!(text("{{timestamp}}"), "1700000000123");
        assert_eq!(text("{{room}}/{{token}}"), "lob\"by/t\"k");
        assert_eq!(text("{{random_int -3 -3}}"), "-3");
        assert_eq!(text("{{random_string 25}}").len(), 25);
        assert_eq!(text("} } {"), "} } {");
        let uuid = text("{{uuid}}");
        assert_eq!(uuid.len(), 36);
        assert_eq!(&uuid[14..15], "4");
        assert!("89ab".contains(&uuid[19..20]), "{uuid}");
    }

    #[test]
    fn numbers_stay_numbers_in_json() {
        let value = json!({
            "id": "{{client}}", "text": "n {{client}}", "a\"b": [1, null, true, 2.5, "{{sequence}}"],
            "who": "{{token}}", "where": "in {{room}}\n",
        });
        let expected = json!({
            "id": 7, "text": "n 7", "a\"b": [1, null, true, 2.5, 41],
            "who": "t\"k", "where": "in lob\"by\n",
        });
        assert_eq!(json_of(&value), expected);
    }

    #[test]
    fn mistakes_are_named() {
        let table = [
            ("{{client", "closed by }}"),
            ("{{clent}}", "did you mean {{client}}"),
            ("{{roon}}", "did you mean {{room}}"),
            ("{{}}", "no placeholder"),
            ("{{client 3}}", "no argument"),
            ("{{random_int 3}}", "{{random_int 1 20}}"),
            ("{{random_int 3 1}}", "the smaller first"),
            ("{{random_int a b}}", "whole numbers"),
            ("{{random_string 0}}", "1 to 1048576"),
            ("{{random_string}}", "{{random_string 40}}"),
            ("{{random_string 9999999}}", "1 to 1048576"),
        ];
        for (template, expected) in table {
            let error = Template::parse(template, &["room".to_owned()]).unwrap_err();
            assert!(error.to_string().contains(expected), "{template}: {error}");
        }
    }

    proptest! {
        /// Without placeholders a text is itself; with them it never breaks the JSON around it.
        #[test]
        fn any_text_is_itself_and_any_value_is_json(
            plain in "[^{}]{0,30}", token in "\\PC{0,20}", variable in ".{0,20}", seed: u64,
        ) {
            let template = Template::parse(&plain, &[]).unwrap();
            prop_assert_eq!(template.constant(), Some(plain.as_str()));
            let value = json!([{ &plain: format!("{plain}{{{{token}}}}{{{{v}}}}") }, "{{random_int 0 9}}"]);
            let json = JsonTemplate::parse(&value, &["v".to_owned()]).unwrap();
            let out = with_values(seed, &token, std::slice::from_ref(&variable), |values| {
                let mut out = String::new();
                json.render(values, &mut out);
                out
            });
            let read: Value = serde_json::from_str(&out).unwrap();
            let expected = format!("{plain}{token}{variable}");
            prop_assert_eq!(read[0][&plain].as_str(), Some(expected.as_str()));
            prop_assert!(read[1].as_u64().is_some_and(|number| number < 10));
        }

        #[test]
        fn random_numbers_keep_their_range(a: i64, b: i64, seed: u64) {
            let (low, high) = (a.min(b), a.max(b));
            let template = Template::parse(&format!("{{{{random_int {low} {high}}}}}"), &[]).unwrap();
            let out = with_values(seed, "", &[], |values| {
                let mut out = String::new();
                template.render(values, &mut out);
                out
            });
            prop_assert!((low..=high).contains(&out.parse::<i64>().unwrap()));
        }

        #[test]
        fn any_template_is_read_without_panic(text in ".{0,40}", inside in "[a-z_ 0-9{}-]{0,30}") {
            let _ = Template::parse(&text, &[]);
            let _ = Template::parse(&format!("{{{{{inside}}}}}"), &[]);
        }
    }
}
