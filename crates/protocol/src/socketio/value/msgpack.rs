//! Values from and to MessagePack, without recursion.

use bytes::Bytes;

use super::{Frame, Map, Value};
use crate::socketio::json::Fault;
use crate::socketio::msgpack::{self, Head};

/// Builds the tree of the value at `at` of `bytes`, which is valid; binary shares the buffer.
pub(crate) fn read(bytes: &Bytes, at: usize) -> Value {
    // The arguments were validated when they were made; a fault here cannot be.
    try_read(bytes, at).unwrap_or_default()
}

fn try_read(bytes: &Bytes, mut at: usize) -> Result<Value, Fault> {
    let mut open: Vec<(Frame, usize)> = Vec::new();
    loop {
        if let Some((Frame::Object(_, key), due)) = open.last_mut()
            && *due > 0
        {
            (*key, at) = read_key(bytes, at)?;
        }
        let value = match open.pop_if(|(_, due)| *due == 0) {
            Some((Frame::Array(items), _)) => Value::Array(items),
            Some((Frame::Object(map, _), _)) => Value::Object(map),
            None => {
                let (head, end) = msgpack::head(bytes, at)?;
                at = end;
                match head {
                    Head::Array(items) => {
                        open.push((Frame::Array(Vec::new()), items));
                        continue;
                    }
                    Head::Map(pairs) => {
                        open.push((Frame::Object(Map::new(), String::new()), pairs));
                        continue;
                    }
                    _ => scalar(bytes, head),
                }
            }
        };
        match open.last_mut() {
            Some((frame, due)) => {
                frame.add(value);
                *due -= 1;
            }
            None => return Ok(value),
        }
    }
}

/// Appends `value` as MessagePack.
pub(crate) fn write(value: &Value, out: &mut Vec<u8>) {
    enum Open<'a> {
        Array(std::slice::Iter<'a, Value>),
        Object(std::slice::Iter<'a, (String, Value)>),
    }
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut next = value;
    loop {
        match next {
            Value::Null => msgpack::write_nil(out),
            Value::Bool(value) => msgpack::write_bool(out, *value),
            Value::Number(number) => {
                if let Some(value) = number.as_u64() {
                    msgpack::write_unsigned(out, value);
                } else if let Some(value) = number.as_i64() {
                    msgpack::write_signed(out, value);
                } else {
                    msgpack::write_float(out, number.as_f64());
                }
            }
            Value::String(text) => msgpack::write_str(out, text),
            Value::Binary(bytes) => msgpack::write_bin(out, bytes),
            Value::Array(items) => {
                msgpack::write_array(out, items.len());
                open.push(Open::Array(items.iter()));
            }
            Value::Object(map) => {
                msgpack::write_map(out, map.len());
                open.push(Open::Object(map.entries.iter()));
            }
        }
        next = loop {
            let item = match open.last_mut() {
                None => return,
                Some(Open::Array(items)) => items.next(),
                Some(Open::Object(entries)) => entries.next().map(|(key, value)| {
                    msgpack::write_str(out, key);
                    value
                }),
            };
            match item {
                Some(item) => break item,
                None => {
                    open.pop();
                }
            }
        };
    }
}

/// A key as JavaScript would use it for a property.
fn read_key(bytes: &Bytes, at: usize) -> Result<(String, usize), Fault> {
    let (head, end) = msgpack::head(bytes, at)?;
    Ok(match head {
        Head::Array(_) | Head::Map(_) => {
            let end = msgpack::skip_value(bytes, at, usize::MAX)?;
            ("[object Object]".into(), end)
        }
        _ => match scalar(bytes, head) {
            Value::String(text) => (text, end),
            other => (other.to_json(), end),
        },
    })
}

fn scalar(bytes: &Bytes, head: Head<'_>) -> Value {
    if head.is_undefined() {
        return Value::Null;
    }
    if let Some(binary) = head.binary() {
        return Value::Binary(bytes.slice_ref(binary));
    }
    match head {
        Head::Bool(value) => Value::Bool(value),
        Head::Unsigned(value) => value.into(),
        Head::Signed(value) => value.into(),
        Head::Float(value) => value.into(),
        Head::Str(text) => Value::String(String::from_utf8_lossy(text).into_owned()),
        Head::Ext(0, data) if data.len() == 8 => date(data),
        // What the published parser makes of extensions it does not know.
        Head::Ext(kind, data) => Value::Array(vec![
            i64::from(kind).into(),
            Value::Binary(bytes.slice_ref(data)),
        ]),
        _ => Value::Null,
    }
}

/// A date as JavaScript writes it into JSON; invalid ones are `null` there.
fn date(data: &[u8]) -> Value {
    const RANGE: i64 = 8_640_000_000_000_000;
    let millis = data
        .iter()
        .fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte))
        .cast_signed();
    if !(-RANGE..=RANGE).contains(&millis) {
        return Value::Null;
    }
    let (days, rest) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    // Days since 0000-03-01 in eras of 400 years: leap days fall at the end of such years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let year = match year {
        0..=9_999 => format!("{year:04}"),
        _ => format!("{}{:06}", if year < 0 { '-' } else { '+' }, year.abs()),
    };
    let (hours, minutes) = (rest / 3_600_000, rest / 60_000 % 60);
    let (seconds, millis) = (rest / 1_000 % 60, rest % 1_000);
    let text =
        format!("{year}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z");
    Value::String(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(bytes: &[u8]) -> Value {
        read(&Bytes::copy_from_slice(bytes), 0)
    }

    #[test]
    fn the_dialect_of_the_published_parser() {
        assert_eq!(parsed(&[0xd4, 0, 0]), Value::Null);
        assert_eq!(
            parsed(&[0xc7, 1, 0, 9]),
            Value::Binary(Bytes::from_static(&[9]))
        );
        assert_eq!(parsed(&[0xc4, 0]), Value::Binary(Bytes::new()));
        assert_eq!(parsed(&[0xd5, 7, 1, 2]).to_json(), r#"[7,"AQI="]"#);
        // Keys that are not strings become what JavaScript makes of them.
        assert_eq!(
            parsed(&[0x82, 0x01, 0x02, 0xc3, 0x90]).to_json(),
            r#"{"1":2,"true":[]}"#
        );
        assert_eq!(
            parsed(&[0x81, 0x91, 0x01, 0x02]).to_json(),
            r#"{"[object Object]":2}"#
        );
    }

    #[test]
    fn dates() {
        let table: &[(i64, &str)] = &[
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (-62_198_755_200_000, "-000001-01-01T00:00:00.000Z"),
            (8_640_000_000_000_000, "+275760-09-13T00:00:00.000Z"),
        ];
        for (millis, text) in table {
            let mut bytes = vec![0xd7, 0];
            bytes.extend_from_slice(&millis.to_be_bytes());
            assert_eq!(parsed(&bytes), Value::from(*text));
        }
        assert_eq!(parsed(&[0xd7, 0, 0x7f, 0, 0, 0, 0, 0, 0, 0]), Value::Null);
    }

    #[test]
    fn nested_values_survive() {
        let text = r#"{"a":[1,-1,1.5,"é",null,[],{}],"b":{"c":[[true]]}}"#;
        let value = Value::from_json(text, &[]).unwrap();
        let mut out = Vec::new();
        write(&value, &mut out);
        assert_eq!(parsed(&out), value);
        assert_eq!(parsed(&out).to_json(), text);
    }
}
