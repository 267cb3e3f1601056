//! Values from and to JSON text, without recursion.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::{Frame, Map, Number, Value};
use crate::DecodeError;
use crate::socketio::json::{self, Fault};
use crate::socketio::{Limits, placeholder};

impl Value {
    /// Reads JSON text. Placeholders become the attachments they stand for; without attachments
    /// they are ordinary objects.
    ///
    /// # Errors
    ///
    /// When the text is not JSON (RFC 8259) or nested deeper than 1,000 levels.
    pub fn from_json(text: &str, attachments: &[Bytes]) -> Result<Self, DecodeError> {
        let bytes = text.as_bytes();
        let limits = Limits::trusted();
        let start = json::skip_space(bytes, 0);
        let end = json::skip_value(bytes, start, limits.depth()).map_err(|f| f.json(&limits))?;
        if json::skip_space(bytes, end) != bytes.len() {
            return Err(Fault::Syntax(end).json(&limits));
        }
        Ok(read(&text[start..end], attachments))
    }
}

/// Builds the tree of one valid value.
pub(crate) fn read(text: &str, attachments: &[Bytes]) -> Value {
    let bytes = text.as_bytes();
    let mut open: Vec<Frame> = Vec::new();
    let mut at = 0;
    loop {
        at = json::skip_space(bytes, at);
        let value = match bytes.get(at) {
            Some(b'{') => {
                open.push(Frame::Object(Map::new(), String::new()));
                at = read_key(text, at + 1, &mut open);
                continue;
            }
            Some(b'[') => {
                open.push(Frame::Array(Vec::new()));
                at += 1;
                continue;
            }
            Some(b'}' | b']') => {
                at += 1;
                match open.pop() {
                    Some(Frame::Array(items)) => Value::Array(items),
                    Some(Frame::Object(map, _)) => resolve(map, attachments),
                    // Not in valid text: every bracket has its partner.
                    None => return Value::Null,
                }
            }
            Some(b',') => {
                at = read_key(text, at + 1, &mut open);
                continue;
            }
            Some(b'"') => {
                let end = json::skip_string(bytes, at + 1).unwrap_or(bytes.len());
                let content = json::unescape(&text[at + 1..end - 1]).into_owned();
                at = end;
                Value::String(content)
            }
            Some(b't') => literal(&mut at, 4, Value::Bool(true)),
            Some(b'f') => literal(&mut at, 5, Value::Bool(false)),
            Some(b'n') => literal(&mut at, 4, Value::Null),
            Some(_) => {
                let end = json::skip_number(bytes, at).unwrap_or(bytes.len());
                let number = Number::from_token(&text[at..end]);
                at = end;
                Value::Number(number)
            }
            None => return Value::Null,
        };
        match open.last_mut() {
            Some(frame) => frame.add(value),
            None => return value,
        }
    }
}

/// Appends the JSON text of `value`. Binary is moved into `attachments`, or written as base64
/// when there is no such place.
pub(crate) fn write(value: &Value, out: &mut Vec<u8>, mut attachments: Option<&mut Vec<Bytes>>) {
    enum Open<'a> {
        Array(std::slice::Iter<'a, Value>),
        Object(std::slice::Iter<'a, (String, Value)>),
    }
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut next = Some(value);
    loop {
        match next {
            Some(Value::Null) => out.extend_from_slice(b"null"),
            Some(Value::Bool(true)) => out.extend_from_slice(b"true"),
            Some(Value::Bool(false)) => out.extend_from_slice(b"false"),
            Some(Value::Number(number)) => out.extend_from_slice(number.to_string().as_bytes()),
            Some(Value::String(text)) => json::write_string(out, text),
            Some(Value::Binary(bytes)) => match &mut attachments {
                Some(list) => {
                    placeholder::write(out, list.len());
                    list.push(bytes.clone());
                }
                None => json::write_string(out, &STANDARD.encode(bytes)),
            },
            Some(Value::Array(items)) => {
                out.push(b'[');
                open.push(Open::Array(items.iter()));
            }
            Some(Value::Object(map)) => {
                out.push(b'{');
                open.push(Open::Object(map.entries.iter()));
            }
            None => {
                let close = if matches!(open.pop(), Some(Open::Array(_))) {
                    b']'
                } else {
                    b'}'
                };
                out.push(close);
            }
        }
        let opened = matches!(next, Some(Value::Array(_) | Value::Object(_)));
        next = match open.last_mut() {
            None => return,
            Some(Open::Array(items)) => {
                let item = items.next();
                if item.is_some() && !opened {
                    out.push(b',');
                }
                item
            }
            Some(Open::Object(entries)) => entries.next().map(|(key, value)| {
                if !opened {
                    out.push(b',');
                }
                json::write_string(out, key);
                out.push(b':');
                value
            }),
        };
    }
}

/// After `{` or `,`: if a key comes, remembers it and returns the position of its value.
fn read_key(text: &str, at: usize, open: &mut [Frame]) -> usize {
    let bytes = text.as_bytes();
    let Some(Frame::Object(_, key)) = open.last_mut() else {
        return at;
    };
    let at = json::skip_space(bytes, at);
    if bytes.get(at) != Some(&b'"') {
        return at;
    }
    let end = json::skip_string(bytes, at + 1).unwrap_or(bytes.len());
    *key = json::unescape(&text[at + 1..end - 1]).into_owned();
    json::skip_space(bytes, end) + 1
}

fn literal(at: &mut usize, len: usize, value: Value) -> Value {
    *at += len;
    value
}

/// An object, or the attachment it stands for.
fn resolve(map: Map, attachments: &[Bytes]) -> Value {
    if attachments.is_empty() || map.get("_placeholder") != Some(&Value::Bool(true)) {
        return Value::Object(map);
    }
    let index = map
        .get("num")
        .and_then(Value::as_u64)
        .and_then(|num| num.try_into().ok());
    match index.and_then(|index: usize| attachments.get(index)) {
        Some(attachment) => Value::Binary(attachment.clone()),
        None => Value::Object(map),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_survive() {
        for text in [
            "null",
            "true",
            "false",
            "\"x\"",
            "[]",
            "{}",
            "[[],{}]",
            "[1,[2,[3]],4]",
            r#"{"a":{"b":[{"c":1e400},"é\n"]},"":[null]}"#,
            r#"[{"a":1},{"a":2}]"#,
        ] {
            assert_eq!(Value::from_json(text, &[]).unwrap().to_json(), text);
        }
        let spaced = " { \"a\" : [ 1 , { } ] , \"b\" : \"\" } ";
        assert_eq!(
            Value::from_json(spaced, &[]).unwrap().to_json(),
            r#"{"a":[1,{}],"b":""}"#
        );
        for text in ["", "[1", "1 1", "nope"] {
            assert!(Value::from_json(text, &[]).unwrap_err().is_syntax());
        }
        let deep = "[".repeat(1_001) + &"]".repeat(1_001);
        assert!(Value::from_json(&deep, &[]).unwrap_err().is_limit());
    }

    #[test]
    fn placeholders_are_resolved_and_written() {
        let attachments = [Bytes::from_static(b"one"), Bytes::from_static(b"two")];
        let text = r#"[{"_placeholder":true,"num":0},{"x":{"_placeholder":true,"num":1}}]"#;
        let value = Value::from_json(text, &attachments).unwrap();
        assert_eq!(
            value.as_array().unwrap()[1]["x"],
            Value::from(attachments[1].clone())
        );
        let mut list = Vec::new();
        let mut out = Vec::new();
        write(&value, &mut out, Some(&mut list));
        assert_eq!(
            (String::from_utf8(out).unwrap().as_str(), &list[..]),
            (text, &attachments[..])
        );
        assert_eq!(value.to_json(), r#"["b25l",{"x":"dHdv"}]"#);
        // Without attachments it is what it looks like.
        assert!(!Value::from_json(text, &[]).unwrap().has_binary());
    }
}
