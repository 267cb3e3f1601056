//! Engine.IO v4 and Socket.IO v5 packets as text, the few a load generator meets.

/// A packet from the server. Slices are raw JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    /// Engine.IO open.
    Open,
    /// Engine.IO ping.
    Ping,
    /// Engine.IO noop, which ends a poll for which there is nothing else.
    Noop,
    /// Engine.IO close.
    Close,
    /// Socket.IO CONNECT: the namespace has been joined.
    Connected,
    /// Socket.IO CONNECT_ERROR.
    Refused,
    /// Socket.IO DISCONNECT.
    Disconnected,
    /// An event: its name, and what follows the name's comma (or the closing bracket).
    Event { name: &'a [u8], arguments: &'a [u8] },
    /// An acknowledgement: its number, and what follows the opening bracket.
    Ack { id: u32, arguments: &'a [u8] },
    /// Anything else.
    Other,
}

impl<'a> Packet<'a> {
    pub(crate) fn read(text: &'a [u8]) -> Self {
        match text {
            [b'0', ..] => Self::Open,
            [b'1'] => Self::Close,
            [b'2'] => Self::Ping,
            [b'6'] => Self::Noop,
            [b'4', b'0', ..] => Self::Connected,
            [b'4', b'1', ..] => Self::Disconnected,
            [b'4', b'2', rest @ ..] => Self::event(rest),
            [b'4', b'3', rest @ ..] => Self::ack(rest),
            [b'4', b'4', ..] => Self::Refused,
            _ => Self::Other,
        }
    }

    fn event(rest: &'a [u8]) -> Self {
        let (_, rest) = number(skip_namespace(rest));
        let Some(rest) = rest.strip_prefix(b"[\"") else {
            return Self::Other;
        };
        let Some(end) = rest.iter().position(|&byte| byte == b'"') else {
            return Self::Other;
        };
        let (name, rest) = (&rest[..end], &rest[end + 1..]);
        match rest {
            [b',', arguments @ ..] | arguments @ [b']'] => Self::Event { name, arguments },
            _ => Self::Other,
        }
    }

    fn ack(rest: &'a [u8]) -> Self {
        let (Some(id), rest) = number(skip_namespace(rest)) else {
            return Self::Other;
        };
        match rest.strip_prefix(b"[") {
            Some(arguments) => Self::Ack { id, arguments },
            None => Self::Other,
        }
    }
}

/// The content of a JSON string of exactly `size` bytes without escapes, if that is what the
/// arguments start with.
pub(crate) fn plain_string(arguments: &[u8], size: usize) -> Option<&[u8]> {
    let text = arguments.strip_prefix(b"\"")?;
    (text.get(size) == Some(&b'"')).then(|| &text[..size])
}

/// What follows the first member of this name in an object, at any depth. The name stands between
/// quotes, and quotes within strings are escaped: no string is taken for a member.
pub(crate) fn member<'a>(arguments: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let key = [b"\"", name, b"\":"].concat();
    let at = arguments
        .windows(key.len())
        .enumerate()
        .find(|(at, window)| *window == key && (*at == 0 || arguments[at - 1] != b'\\'));
    at.map(|(at, _)| &arguments[at + key.len()..])
}

fn skip_namespace(rest: &[u8]) -> &[u8] {
    if rest.first() != Some(&b'/') {
        return rest;
    }
    match rest.iter().position(|&byte| byte == b',') {
        Some(comma) => &rest[comma + 1..],
        None => &[],
    }
}

fn number(text: &[u8]) -> (Option<u32>, &[u8]) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return (None, text);
    }
    let value = text[..digits].iter().try_fold(0u32, |value, digit| {
        value.checked_mul(10)?.checked_add(u32::from(digit - b'0'))
    });
    (value, &text[digits..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn packets_of_the_protocol_are_told_apart() {
        let event = |name, arguments| Packet::Event { name, arguments };
        let table: &[(&[u8], Packet<'_>)] = &[
            (b"0{\"sid\":\"x\"}", Packet::Open),
            (b"2", Packet::Ping),
            (b"2probe", Packet::Other),
            (b"6", Packet::Noop),
            (b"1", Packet::Close),
            (b"40{\"sid\":\"x\"}", Packet::Connected),
            (b"40/auth,{\"sid\":\"x\"}", Packet::Connected),
            (b"41", Packet::Disconnected),
            (b"44{\"message\":\"no\"}", Packet::Refused),
            (b"42[\"a\",1]", event(b"a", b"1]")),
            (b"42[\"a\"]", event(b"a", b"]")),
            (b"42/auth,7[\"a\",\"b\"]", event(b"a", b"\"b\"]")),
            (
                b"43/auth,17[]",
                Packet::Ack {
                    id: 17,
                    arguments: b"]",
                },
            ),
            (
                b"4317[\"x\"]",
                Packet::Ack {
                    id: 17,
                    arguments: b"\"x\"]",
                },
            ),
            (b"43[\"x\"]", Packet::Other),
            (b"4399999999999[]", Packet::Other),
            (
                b"451-[\"bin\",{\"_placeholder\":true,\"num\":0}]",
                Packet::Other,
            ),
            (b"42/auth", Packet::Other),
            (b"", Packet::Other),
        ];
        for (text, expected) in table {
            assert_eq!(
                Packet::read(text),
                *expected,
                "{}",
                String::from_utf8_lossy(text)
            );
        }
    }

    #[test]
    fn a_plain_string_has_its_length() {
        assert_eq!(plain_string(b"\"abc\"]", 3), Some(&b"abc"[..]));
        assert_eq!(plain_string(b"\"abc\",\"offset\"]", 3), Some(&b"abc"[..]));
        assert_eq!(plain_string(b"\"abcd\"]", 3), None);
        assert_eq!(plain_string(b"\"ab", 3), None);
        assert_eq!(plain_string(b"abc", 3), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,40}", start in "4[0-9]/?[a-z,0-9\\[\"]{0,12}") {
            let _ = Packet::read(text.as_bytes());
            let _ = Packet::read(start.as_bytes());
        }
    }
}
