//! A JSON scanner: validates (RFC 8259) and finds boundaries without building or recursing.

use std::borrow::Cow;

use super::Limits;
use crate::{DecodeError, DecodeErrorKind};

/// Why a scan stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not JSON, seen at this byte.
    Syntax(usize),
    /// Nested deeper than asked for.
    TooDeep,
}

impl Fault {
    pub(super) fn json(self, limits: &Limits) -> DecodeError {
        match self {
            Self::Syntax(offset) => DecodeErrorKind::InvalidJson { offset }.into(),
            Self::TooDeep => DecodeErrorKind::TooDeep {
                limit: limits.depth(),
            }
            .into(),
        }
    }

    pub(super) fn msgpack(self, limits: &Limits) -> DecodeError {
        match self {
            Self::Syntax(offset) => DecodeErrorKind::InvalidMsgpack { offset }.into(),
            Self::TooDeep => DecodeErrorKind::TooDeep {
                limit: limits.depth(),
            }
            .into(),
        }
    }
}

/// The first byte at or behind `at` that is not white space.
pub(super) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// Validates the value that begins at `at` and returns where it ends. `max_depth` of 0 allows
/// scalars only; at most [`Limits::MAX_DEPTH`].
pub(super) fn skip_value(bytes: &[u8], at: usize, max_depth: usize) -> Result<usize, Fault> {
    match bytes.get(at) {
        Some(b'{' | b'[') => skip_nested(bytes, at, max_depth),
        _ => skip_scalar(bytes, at),
    }
}

/// Validates the rest of a string whose opening quote is right before `at`; returns the position
/// behind the closing one.
pub(super) fn skip_string(bytes: &[u8], mut at: usize) -> Result<usize, Fault> {
    loop {
        at = skip_plain(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => match bytes.get(at + 1) {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                Some(b'u') => {
                    let digits = bytes.get(at + 2..at + 6).ok_or(Fault::Syntax(at))?;
                    if !digits.iter().all(u8::is_ascii_hexdigit) {
                        return Err(Fault::Syntax(at));
                    }
                    at += 6;
                }
                _ => return Err(Fault::Syntax(at)),
            },
            _ => return Err(Fault::Syntax(at)),
        }
    }
}

/// The content of a valid string token without its quotes, unescaped. Escapes that form no
/// character (lone surrogates, which are legal JSON text) become U+FFFD.
pub(super) fn unescape(content: &str) -> Cow<'_, str> {
    let Some(first) = content.find('\\') else {
        return Cow::Borrowed(content);
    };
    let mut out = String::with_capacity(content.len());
    out.push_str(&content[..first]);
    let mut rest = &content[first..];
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (character, used) = escape(&rest[at..]);
        out.push(character);
        rest = &rest[at + used..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Appends `text` as a string token.
pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    out.push(b'"');
    let mut from = 0;
    loop {
        let at = skip_plain(bytes, from);
        out.extend_from_slice(&bytes[from..at]);
        let Some(&special) = bytes.get(at) else { break };
        let short = match special {
            b'"' | b'\\' => special,
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            _ => b'u',
        };
        out.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            let digits = [
                HEX[usize::from(special >> 4)],
                HEX[usize::from(special & 15)],
            ];
            out.extend_from_slice(b"00");
            out.extend_from_slice(&digits);
        }
        from = at + 1;
    }
    out.push(b'"');
}

/// Walks over a list of valid values with commas between them, as arguments are kept.
#[derive(Debug, Clone)]
pub(super) struct Elements<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Elements<'a> {
    pub(super) fn new(list: &'a str) -> Self {
        Self {
            bytes: list.as_bytes(),
            at: 0,
        }
    }
}

impl Iterator for Elements<'_> {
    /// Start and end of a value.
    type Item = (usize, usize);

    fn next(&mut self) -> Option<Self::Item> {
        let start = skip_space(self.bytes, self.at);
        // The list was validated when it was made, so this fails at its end only.
        let end = skip_value(self.bytes, start, Limits::MAX_DEPTH).ok()?;
        let comma = skip_space(self.bytes, end);
        self.at = if self.bytes.get(comma) == Some(&b',') {
            comma + 1
        } else {
            self.bytes.len()
        };
        Some((start, end))
    }
}

/// A list of values inside an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct List {
    /// The first byte of the first value.
    pub(super) start: usize,
    /// Behind the last byte of the last value.
    pub(super) end: usize,
    /// How many there are.
    pub(super) count: usize,
    /// Behind the closing bracket.
    pub(super) after: usize,
}

/// Validates an array from right behind its opening bracket.
pub(super) fn scan_array(bytes: &[u8], at: usize, limits: &Limits) -> Result<List, DecodeError> {
    let start = skip_space(bytes, at);
    if bytes.get(start) == Some(&b']') {
        return Ok(List {
            start,
            end: start,
            count: 0,
            after: start + 1,
        });
    }
    scan_elements(bytes, start, limits)
}

/// Validates an array from its first or a later element on: there has to be one.
pub(super) fn scan_elements(bytes: &[u8], at: usize, limits: &Limits) -> Result<List, DecodeError> {
    let depth = limits.depth().saturating_sub(1);
    let start = skip_space(bytes, at);
    let mut next = start;
    let mut count = 0;
    loop {
        if count == limits.max_args {
            return Err(DecodeErrorKind::TooManyArgs {
                limit: limits.max_args,
            }
            .into());
        }
        let end = skip_value(bytes, next, depth).map_err(|fault| fault.json(limits))?;
        count += 1;
        let mark = skip_space(bytes, end);
        match bytes.get(mark) {
            Some(b',') => next = skip_space(bytes, mark + 1),
            Some(b']') => {
                return Ok(List {
                    start,
                    end,
                    count,
                    after: mark + 1,
                });
            }
            _ => return Err(Fault::Syntax(mark).json(limits)),
        }
    }
}

const WORD: usize = size_of::<u64>();
const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES << 7;
/// Bytes of a long string that are judged at once: what the smallest vector registers hold.
const LANE: usize = 16;

/// The first quote, backslash or control character at or behind `at`, or the end.
///
/// Most strings are short: a word at a time finds their end soonest. What is longer than a few
/// words is passed over a lane at a time, until the end is near.
fn skip_plain(bytes: &[u8], at: usize) -> usize {
    const SHORT: usize = 3 * WORD;
    let (near, found) = skip_words(bytes, at, SHORT);
    if found {
        return near;
    }
    let far = skip_lanes(bytes, near);
    skip_words(bytes, far, usize::MAX).0
}

/// [`skip_plain`] a word at a time, as far as about `most` bytes; whether it came to an end there.
fn skip_words(bytes: &[u8], mut at: usize, most: usize) -> (usize, bool) {
    let Some(rest) = bytes.get(at..) else {
        return (bytes.len(), true);
    };
    let (words, _) = rest.as_chunks::<WORD>();
    for word in words.iter().take(most / WORD) {
        let word = u64::from_le_bytes(*word);
        let quote = word ^ (ONES * u64::from(b'"'));
        let slash = word ^ (ONES * u64::from(b'\\'));
        // For each byte the high bit tells: below 0x20, equal to the quote, to the backslash. A
        // borrow can only mark bytes above the first hit, and bytes from 0x80 on are masked out.
        let found = (word.wrapping_sub(ONES * 0x20) & !word)
            | (quote.wrapping_sub(ONES) & !quote)
            | (slash.wrapping_sub(ONES) & !slash);
        let found = found & HIGHS;
        if found != 0 {
            return (at + found.trailing_zeros() as usize / 8, true);
        }
        at += WORD;
    }
    if words.len() > most / WORD {
        return (at, false);
    }
    while bytes.get(at).is_some_and(|&byte| !is_special(byte)) {
        at += 1;
    }
    (at, true)
}

/// Passes over whole lanes of plain bytes.
fn skip_lanes(bytes: &[u8], mut at: usize) -> usize {
    let (lanes, _) = bytes[at..].as_chunks::<LANE>();
    for lane in lanes {
        // Without a branch, so that the compiler makes a few vector instructions of it.
        let special = lane
            .iter()
            .fold(0, |found, &byte| found | u8::from(is_special(byte)));
        if special != 0 {
            break;
        }
        at += LANE;
    }
    at
}

/// Whether a byte ends the plain part of a string: a quote, a backslash or a control character.
const fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn skip_scalar(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    match bytes.get(at) {
        Some(b'"') => skip_string(bytes, at + 1),
        Some(b'-' | b'0'..=b'9') => skip_number(bytes, at),
        Some(b't') => skip_literal(bytes, at, b"true"),
        Some(b'f') => skip_literal(bytes, at, b"false"),
        Some(b'n') => skip_literal(bytes, at, b"null"),
        _ => Err(Fault::Syntax(at)),
    }
}

fn skip_literal(bytes: &[u8], at: usize, literal: &[u8]) -> Result<usize, Fault> {
    if bytes[at..].starts_with(literal) {
        return Ok(at + literal.len());
    }
    Err(Fault::Syntax(at))
}

pub(super) fn skip_number(bytes: &[u8], start: usize) -> Result<usize, Fault> {
    let mut at = start + usize::from(bytes.get(start) == Some(&b'-'));
    at = match bytes.get(at) {
        Some(b'0') => at + 1,
        _ => skip_digits(bytes, at)?,
    };
    if bytes.get(at) == Some(&b'.') {
        at = skip_digits(bytes, at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        at = skip_digits(bytes, at)?;
    }
    Ok(at)
}

fn skip_digits(bytes: &[u8], start: usize) -> Result<usize, Fault> {
    let mut at = start;
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    if at == start {
        Err(Fault::Syntax(at))
    } else {
        Ok(at)
    }
}

/// Which of the open brackets are braces: a stack of bits, since recursion or a heap would be
/// a peer's to exhaust.
struct Brackets {
    braces: [u64; Limits::MAX_DEPTH.div_ceil(64)],
    depth: usize,
}

impl Brackets {
    fn open(&mut self, brace: bool) {
        let bit = 1 << (self.depth % 64);
        let word = &mut self.braces[self.depth / 64];
        *word = if brace { *word | bit } else { *word & !bit };
        self.depth += 1;
    }

    fn in_brace(&self) -> bool {
        let top = self.depth - 1;
        self.braces[top / 64] >> (top % 64) & 1 == 1
    }
}

fn skip_nested(bytes: &[u8], mut at: usize, max_depth: usize) -> Result<usize, Fault> {
    let max_depth = max_depth.min(Limits::MAX_DEPTH);
    let mut brackets = Brackets {
        braces: [0; _],
        depth: 0,
    };
    loop {
        // A value begins here.
        match bytes.get(at) {
            Some(&bracket @ (b'{' | b'[')) => {
                if brackets.depth == max_depth {
                    return Err(Fault::TooDeep);
                }
                let brace = bracket == b'{';
                brackets.open(brace);
                at = skip_space(bytes, at + 1);
                match bytes.get(at) {
                    Some(b'}') if brace => {}
                    Some(b']') if !brace => {}
                    _ if brace => {
                        at = skip_key(bytes, at)?;
                        continue;
                    }
                    _ => continue,
                }
            }
            _ => at = skip_space(bytes, skip_scalar(bytes, at)?),
        }
        // A value has ended, or an empty container is about to.
        loop {
            match bytes.get(at) {
                Some(b',') => {
                    at = skip_space(bytes, at + 1);
                    if brackets.in_brace() {
                        at = skip_key(bytes, at)?;
                    }
                    break;
                }
                Some(b'}') if brackets.in_brace() => brackets.depth -= 1,
                Some(b']') if !brackets.in_brace() => brackets.depth -= 1,
                _ => return Err(Fault::Syntax(at)),
            }
            at += 1;
            if brackets.depth == 0 {
                return Ok(at);
            }
            at = skip_space(bytes, at);
        }
    }
}

/// From the opening quote of a key to the first byte of its value.
fn skip_key(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    if bytes.get(at) != Some(&b'"') {
        return Err(Fault::Syntax(at));
    }
    let at = skip_space(bytes, skip_string(bytes, at + 1)?);
    if bytes.get(at) != Some(&b':') {
        return Err(Fault::Syntax(at));
    }
    Ok(skip_space(bytes, at + 1))
}

/// The character of the escape at the start of `text`, and how many bytes it takes.
fn escape(text: &str) -> (char, usize) {
    let bytes = text.as_bytes();
    let character = match bytes.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode_escape(bytes),
        Some(&other) => char::from(other),
        None => return (char::REPLACEMENT_CHARACTER, 1),
    };
    (character, 2)
}

fn unicode_escape(bytes: &[u8]) -> (char, usize) {
    let unit = |at: usize| -> Option<u32> {
        let digits = std::str::from_utf8(bytes.get(at..at + 4)?).ok()?;
        u32::from_str_radix(digits, 16).ok()
    };
    let Some(first) = unit(2) else {
        return (char::REPLACEMENT_CHARACTER, bytes.len().min(6));
    };
    if let Some(character) = char::from_u32(first) {
        return (character, 6);
    }
    let second = if bytes.get(6..8) == Some(b"\\u") {
        unit(8)
    } else {
        None
    };
    if let (0xd800..=0xdbff, Some(second @ 0xdc00..=0xdfff)) = (first, second) {
        let point = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (
            char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER),
            12,
        );
    }
    (char::REPLACEMENT_CHARACTER, 6)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn valid(text: &str) -> bool {
        let bytes = text.as_bytes();
        let start = skip_space(bytes, 0);
        skip_value(bytes, start, Limits::MAX_DEPTH)
            .is_ok_and(|end| skip_space(bytes, end) == bytes.len())
    }

    #[test]
    fn rfc_8259_by_section() {
        let good = [
            // 2: white space and structure
            " [ 1 , 2 ] ",
            "{}",
            "[]",
            "{\"a\":[{}]}",
            "\t\r\n null",
            // 3: values
            "true",
            "false",
            "null",
            // 4, 5: objects and arrays
            "{\"a\":1,\"a\":2}",
            "[[[]],{}]",
            "{\"\":{\"\":[]}}",
            // 6: numbers
            "0",
            "-0",
            "10",
            "0.5",
            "1e5",
            "1E+5",
            "1e-5",
            "-1.25e10",
            "123456789012345678901234567890",
            // 7: strings
            "\"\"",
            "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"",
            "\"é\u{7f}\u{2028}\"",
            "\"\\ud800\"",
        ];
        for text in good {
            assert!(valid(text), "{text}");
        }
        let bad = [
            "",
            " ",
            "[",
            "]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\":1]",
            "[1}",
            "[1",
            "{1:2}",
            "tru",
            "truex",
            "nul",
            "None",
            "NaN",
            "01",
            "-",
            "+1",
            "1.",
            ".5",
            "1e",
            "1e+",
            "- 1",
            "\"",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\n\"",
            "\"\0\"",
            "'a'",
            "1 1",
            "[]]",
            "\u{feff}1",
            "\u{a0}1",
            "{} {}",
        ];
        for text in bad {
            assert!(!valid(text), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded_without_recursion() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let deep = nested(1_000);
        assert_eq!(skip_value(deep.as_bytes(), 0, 1_000), Ok(2_000));
        assert_eq!(skip_value(deep.as_bytes(), 0, 999), Err(Fault::TooDeep));
        for depth in [1_001, 45_000] {
            let text = nested(depth);
            assert_eq!(
                skip_value(text.as_bytes(), 0, usize::MAX),
                Err(Fault::TooDeep)
            );
        }
        let objects = "{\"a\":".repeat(1_000) + "0" + &"}".repeat(1_000);
        assert!(valid(&objects));
        assert_eq!(skip_value(b"[]", 0, 0), Err(Fault::TooDeep));
        assert_eq!(skip_value(b"1", 0, 0), Ok(1));
    }

    #[test]
    fn special_characters_are_found_at_every_place_of_a_word() {
        for special in [b'"', b'\\', 0x00, 0x1f] {
            for place in 0..40 {
                let mut bytes = vec![0xc3; 40];
                bytes[place] = special;
                assert_eq!(skip_plain(&bytes, 0), place);
                assert_eq!(skip_plain(&bytes, place), place);
            }
        }
        assert_eq!(skip_plain(b" !#[]\x7f\x80\xffabcdefgh", 0), 16);
        assert_eq!(skip_plain(b"abc", 7), 3);
    }

    #[test]
    fn escapes_become_characters() {
        let table = [
            ("plain", "plain"),
            ("\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\u{8}\u{c}\n\r\t"),
            ("a\\u00e9b", "aéb"),
            ("\\ud83d\\ude00!", "😀!"),
            ("\\ud83d", "\u{fffd}"),
            ("\\ude00x", "\u{fffd}x"),
            ("\\ud83d\\u0041", "\u{fffd}A"),
            ("\\ud83d\\n", "\u{fffd}\n"),
        ];
        for (content, text) in table {
            assert_eq!(unescape(content), text, "{content}");
        }
    }

    #[test]
    fn lists_are_measured() {
        let limits = Limits {
            max_args: 2,
            ..Limits::default()
        };
        let list = scan_array(b"[ 1 , \"a,]\" ] x", 1, &limits).unwrap();
        assert_eq!(
            list,
            List {
                start: 2,
                end: 11,
                count: 2,
                after: 13
            }
        );
        assert_eq!(scan_array(b"[ ]", 1, &limits).unwrap().count, 0);
        let error = scan_array(b"[1,2,3]", 1, &limits).unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::TooManyArgs { limit: 2 });
        let elements: Vec<_> = Elements::new("1 , [2,3],\"x\"").collect();
        assert_eq!(elements, [(0, 1), (4, 9), (10, 13)]);
        assert_eq!(Elements::new("").next(), None);
    }

    /// JSON texts, most of them valid.
    fn json() -> impl Strategy<Value = String> {
        let number = prop_oneof![
            any::<i64>().prop_map(|n| n.to_string()),
            "-?(0|[1-9][0-9]{0,4})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?",
        ];
        let string = any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap());
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            number,
            string.clone(),
        ];
        leaf.prop_recursive(6, 60, 6, move |inner| {
            let space = "[ \t\r\n]{0,2}";
            let array = (space, proptest::collection::vec(inner.clone(), 0..6))
                .prop_map(|(space, items)| format!("[{space}{}{space}]", items.join(",")));
            let entries = proptest::collection::vec((string.clone(), inner), 0..6);
            let object = (space, entries).prop_map(|(space, entries)| {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|(k, v)| format!("{k}{space}:{v}"))
                    .collect();
                format!("{{{}}}", entries.join(","))
            });
            prop_oneof![array, object]
        })
    }

    /// serde_json as the judge; it refuses what is too deep or too large for its own types, which
    /// the generated texts never are.
    fn judged(text: &str) -> bool {
        serde_json::from_str::<Box<serde_json::value::RawValue>>(text).is_ok()
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_valid_texts(text in json()) {
            prop_assert!(judged(&text));
            prop_assert!(valid(&text), "{}", text);
        }

        #[test]
        fn agrees_with_serde_json_on_broken_texts(
            text in json(),
            place in any::<prop::sample::Index>(),
            with in "[\\[\\]{},:\"\\\\0-9eE.+tfnu \u{0}-\u{1f}-]{0,2}",
            cut in 0_usize..3,
        ) {
            let mut characters: Vec<char> = text.chars().collect();
            let place = place.index(characters.len());
            let end = (place + cut).min(characters.len());
            characters.splice(place..end, with.chars());
            let text: String = characters.into_iter().collect();
            prop_assert_eq!(valid(&text), judged(&text), "{}", text);
        }

        #[test]
        fn strings_round_trip(text in any::<String>()) {
            let mut out = Vec::new();
            write_string(&mut out, &text);
            prop_assert_eq!(&serde_json::from_slice::<String>(&out).unwrap(), &text);
            let token = String::from_utf8(out).unwrap();
            prop_assert_eq!(unescape(&token[1..token.len() - 1]), text);
        }
    }
}
