//! The stamp of a message published to a room: a field of its data.

use crate::stamp::Stamp;

/// Which run, which room, and the stamp itself; its sequence is the message's number in the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RoomStamp {
    pub(crate) run: u32,
    pub(crate) room: u32,
    pub(crate) stamp: Stamp,
}

/// There is a field of the stamp's name, and something else in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damaged;

/// Hexadecimal digits of run and room.
const HEAD: usize = 16;
const LEN: usize = HEAD + Stamp::LEN;

impl RoomStamp {
    /// Appends a JSON object with the stamp as its first field. The rest, `object`, is JSON text
    /// of an object without whitespace around.
    pub(crate) fn write_into(&self, object: &str, field: &str, out: &mut String) {
        use std::fmt::Write as _;
        let mut stamp = Vec::with_capacity(Stamp::LEN);
        self.stamp.write(Stamp::LEN, &mut stamp);
        // Proof: stamps are letters, digits and dots. Writing to a String cannot fail.
        let stamp = std::str::from_utf8(&stamp).expect("ASCII");
        let _ = write!(
            out,
            "{{\"{field}\":\"{:08x}{:08x}{stamp}\"",
            self.run, self.room
        );
        match object.strip_prefix('{') {
            Some("}") | None => out.push('}'),
            Some(fields) => {
                out.push(',');
                out.push_str(fields);
            }
        }
    }

    /// Looks for the stamp in the arguments of an event: `None` if there is no field of its name.
    pub(crate) fn find(arguments: &[u8], field: &str) -> Option<Result<Self, Damaged>> {
        let field = field.as_bytes();
        let mut rest = arguments;
        loop {
            let quote = rest.iter().position(|&byte| byte == b'"')?;
            rest = &rest[quote + 1..];
            let Some(after) = rest
                .strip_prefix(field)
                .and_then(|rest| rest.strip_prefix(b"\""))
            else {
                continue;
            };
            if let Some(value) = after.trim_ascii_start().strip_prefix(b":") {
                let value = value.trim_ascii_start().strip_prefix(b"\"");
                return Some(value.and_then(Self::read).ok_or(Damaged));
            }
        }
    }

    fn read(text: &[u8]) -> Option<Self> {
        if text.get(LEN) != Some(&b'"') {
            return None;
        }
        let head = std::str::from_utf8(text.get(..HEAD)?).ok()?;
        let number = |digits: &str| u32::from_str_radix(digits, 16).ok();
        Some(Self {
            run: number(head.get(..8)?)?,
            room: number(head.get(8..)?)?,
            stamp: Stamp::read(&text[HEAD..])?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::Kind;
    use proptest::prelude::*;

    fn stamp(run: u32, room: u32, sequence: u32) -> RoomStamp {
        RoomStamp {
            run,
            room,
            stamp: Stamp {
                kind: Kind::Broadcast,
                publisher: 5,
                sequence,
                time_ns: 77,
            },
        }
    }

    #[test]
    fn a_stamp_is_found_wherever_a_server_puts_it() {
        let mut data = String::new();
        stamp(1, 2, 3).write_into(r#"{"text":"say \"stamp\": no"}"#, "stamp", &mut data);
        let value: serde_json::Value = serde_json::from_str(&data).unwrap();
        assert_eq!(value["text"], "say \"stamp\": no");
        let spaced = serde_json::to_string_pretty(&value).unwrap();
        let table = [
            format!("{data}]"),
            format!(r#"{{"room":"stamp","from":{{"id":"x"}},"data":{data}}},"offset"]"#),
            format!("{spaced} ]"),
        ];
        for text in table {
            let found = RoomStamp::find(text.as_bytes(), "stamp");
            assert_eq!(found, Some(Ok(stamp(1, 2, 3))), "{text}");
        }
        let mut empty = String::new();
        stamp(1, 2, 3).write_into("{}", "s", &mut empty);
        assert!(serde_json::from_str::<serde_json::Value>(&empty).is_ok());
    }

    #[test]
    fn no_stamp_and_a_damaged_one_are_told_apart() {
        let mut data = String::new();
        stamp(1, 2, 3).write_into("{}", "stamp", &mut data);
        for none in [&b""[..], b"{}]", b"\"stamp\"]", br#"["stamp","x"]"#] {
            assert_eq!(RoomStamp::find(none, "stamp"), None);
        }
        for damaged in [
            data.replace("b0000", "x0000"),
            data.replacen("\"stamp\":\"0", "\"stamp\":\"", 1),
            data.replacen("\"stamp\":\"0", "\"stamp\":\"+", 1)
                .replacen('+', "é", 1),
            r#"{"stamp":7}]"#.to_owned(),
            r#"{"stamp":"#.to_owned(),
        ] {
            let found = RoomStamp::find(damaged.as_bytes(), "stamp");
            assert_eq!(found, Some(Err(Damaged)), "{damaged}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_found(run: u32, room: u32, sequence: u32, text in "\\PC{0,30}") {
            let object = serde_json::json!({ "a": text, "b": [1] }).to_string();
            let mut data = String::new();
            stamp(run, room, sequence).write_into(&object, "stamp", &mut data);
            let found = RoomStamp::find(data.as_bytes(), "stamp");
            prop_assert_eq!(found, Some(Ok(stamp(run, room, sequence))));
            let value: serde_json::Value = serde_json::from_str(&data).unwrap();
            prop_assert_eq!(value["a"].as_str(), Some(text.as_str()));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, text in "[\"stamp: 0-9a-fb.]{0,80}") {
            let _ = RoomStamp::find(&bytes, "stamp");
            let _ = RoomStamp::find(text.as_bytes(), "stamp");
            let _ = RoomStamp::find(format!("\"stamp\":\"{text}").as_bytes(), "stamp");
        }
    }
}
