//! The arguments of an event or an acknowledgement, kept as they came.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::json::{self, Fault};
use super::raw_arg::{self, RawArg};
use super::{ArgsError, Limits, Parser, ToArgs, Value, msgpack, placeholder, value};
use crate::{DecodeError, DecodeErrorKind, Text};

/// A list of arguments in the form of the wire.
///
/// Nothing is parsed before it is asked for, and what is passed on keeps every byte it came with:
/// big numbers, escapes, white space. Clones and [`skip`](Self::skip) share one buffer.
///
/// ```
/// use sockeye_protocol::socketio::{Args, Parser, ToArgs};
///
/// let args = ("room-1", 7).to_args(Parser::Json)?;
/// assert_eq!(args.len(), 2);
/// let (room, number): (String, u32) = args.deserialize()?;
/// assert_eq!((room.as_str(), number), ("room-1", 7));
/// # Ok::<(), sockeye_protocol::socketio::ArgsError>(())
/// ```
#[derive(Clone)]
pub struct Args {
    count: usize,
    repr: Repr,
}

#[derive(Clone)]
pub(super) enum Repr {
    Json {
        /// Valid values with commas between them.
        text: Text,
        attachments: Attachments,
        /// Whether the placeholders are exactly 0, 1, 2 … for all attachments.
        ordered: bool,
    },
    /// Valid values, one after the other.
    Msgpack(Bytes),
}

/// The binary attachments of a packet, in order. Cheap to clone; none costs nothing.
#[derive(Clone, Default, PartialEq)]
pub struct Attachments(Option<Arc<[Bytes]>>);

impl Deref for Attachments {
    type Target = [Bytes];

    fn deref(&self) -> &[Bytes] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl From<Vec<Bytes>> for Attachments {
    fn from(list: Vec<Bytes>) -> Self {
        Self((!list.is_empty()).then(|| list.into()))
    }
}

impl fmt::Debug for Attachments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Args {
    /// No arguments.
    pub const fn new() -> Self {
        let text = Text::from_static("");
        let repr = Repr::Json {
            text,
            attachments: Attachments(None),
            ordered: true,
        };
        Self { count: 0, repr }
    }

    /// From JSON values with commas between them, without brackets around them. Placeholders
    /// refer to `attachments` if there are any, and are ordinary objects otherwise.
    ///
    /// # Errors
    ///
    /// When it is not valid JSON, exceeds `limits` or has a placeholder without attachment.
    pub fn from_json(
        list: &str,
        attachments: Vec<Bytes>,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let mut at = json::skip_space(list.as_bytes(), 0);
        if at == list.len() {
            return Ok(Self::new());
        }
        let start = at;
        let mut count = 0;
        let end = loop {
            if count == limits.max_args {
                return Err(DecodeErrorKind::TooManyArgs {
                    limit: limits.max_args,
                }
                .into());
            }
            let depth = limits.depth().saturating_sub(1);
            let end = json::skip_value(list.as_bytes(), at, depth).map_err(|f| f.json(limits))?;
            count += 1;
            at = json::skip_space(list.as_bytes(), end);
            match list.as_bytes().get(at) {
                None => break end,
                Some(b',') => at = json::skip_space(list.as_bytes(), at + 1),
                Some(_) => return Err(Fault::Syntax(at).json(limits)),
            }
        };
        let mut args = Self::checked(Text::from(&list[start..end]), count, attachments.len())?;
        args.attach(attachments);
        Ok(args)
    }

    /// From MessagePack values one after the other.
    ///
    /// # Errors
    ///
    /// When it is not valid MessagePack or exceeds `limits`.
    pub fn from_msgpack(values: Bytes, limits: &Limits) -> Result<Self, DecodeError> {
        let mut at = 0;
        let mut count = 0;
        while at < values.len() {
            if count == limits.max_args {
                return Err(DecodeErrorKind::TooManyArgs {
                    limit: limits.max_args,
                }
                .into());
            }
            let depth = limits.depth().saturating_sub(1);
            at = msgpack::skip_value(&values, at, depth).map_err(|f| f.msgpack(limits))?;
            count += 1;
        }
        Ok(Self::msgpack(values, count))
    }

    /// From trees, as deep as [`Value`] allows.
    pub fn from_values(values: &[Value], parser: Parser) -> Self {
        let mut out = Vec::new();
        if parser == Parser::Msgpack {
            values
                .iter()
                .for_each(|value| value::write_msgpack(value, &mut out));
            return Self::msgpack(out.into(), values.len());
        }
        let mut list = Vec::new();
        for (place, value) in values.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            value::write_json(value, &mut out, Some(&mut list));
        }
        Self::written(out, values.len(), list)
    }

    /// From an argument that is an array: its items. `None` if it is something else.
    ///
    /// ```
    /// use sockeye_protocol::socketio::{Args, Parser, ToArgs};
    ///
    /// let args = ("event", ["a", "b"].as_slice()).to_args(Parser::Json)?;
    /// let items = Args::from_array(args.get(1).unwrap()).unwrap();
    /// assert_eq!(items.as_json().unwrap().0, r#""a","b""#);
    /// # Ok::<(), sockeye_protocol::socketio::ArgsError>(())
    /// ```
    pub fn from_array(arg: RawArg<'_>) -> Option<Self> {
        let (args, start, end) = arg.parts();
        match &args.repr {
            Repr::Json { text, .. } => {
                if text.as_bytes()[start] != b'[' {
                    return None;
                }
                // The text is valid, so this cannot fail.
                let list = json::scan_array(text.as_bytes(), start + 1, &Limits::trusted()).ok()?;
                Some(args.cut(list.start, list.end, list.count))
            }
            Repr::Msgpack(bytes) => match msgpack::head(bytes, start).ok()? {
                (msgpack::Head::Array(count), items) => Some(args.cut(items, end, count)),
                _ => None,
            },
        }
    }

    /// The number of arguments.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no argument.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The parser in whose form the arguments are kept.
    pub fn parser(&self) -> Parser {
        match self.repr {
            Repr::Json { .. } => Parser::Json,
            Repr::Msgpack(_) => Parser::Msgpack,
        }
    }

    /// The `index`-th argument. Finding it reads over those before it: prefer
    /// [`iter`](Self::iter) for many.
    pub fn get(&self, index: usize) -> Option<RawArg<'_>> {
        self.iter().nth(index)
    }

    /// The arguments in order.
    pub fn iter(&self) -> raw_arg::Iter<'_> {
        raw_arg::Iter::new(self)
    }

    /// The arguments behind the first `count`, over the same buffer.
    #[must_use]
    pub fn skip(&self, count: usize) -> Self {
        if count == 0 {
            return self.clone();
        }
        match self.get(count) {
            Some(arg) => self.cut(arg.parts().1, self.raw_len(), self.count - count),
            None => Self::new(),
        }
    }

    /// The first `count` arguments, over the same buffer.
    #[must_use]
    pub fn take(&self, count: usize) -> Self {
        if count >= self.count {
            return self.clone();
        }
        match count.checked_sub(1).and_then(|last| self.get(last)) {
            Some(arg) => self.cut(0, arg.parts().2, count),
            None => Self::new(),
        }
    }

    /// These arguments followed by `more`, in the form of these.
    #[must_use]
    pub fn with(&self, more: &Args) -> Self {
        if more.is_empty() {
            return self.clone();
        }
        if self.is_empty() {
            return more.clone();
        }
        let count = self.count + more.count;
        match (&self.repr, &more.to_parser(self.parser()).repr) {
            (Repr::Msgpack(first), Repr::Msgpack(second)) => {
                Self::msgpack([&first[..], second].concat().into(), count)
            }
            (
                Repr::Json {
                    text: first,
                    attachments: left,
                    ..
                },
                Repr::Json {
                    text: second,
                    attachments: right,
                    ..
                },
            ) => {
                let mut out = Vec::with_capacity(first.len() + 1 + second.len());
                if left.is_empty() && right.is_empty() {
                    out.extend_from_slice(first.as_bytes());
                    out.push(b',');
                    out.extend_from_slice(second.as_bytes());
                    return Self::written(out, count, Vec::new());
                }
                let mut list = Vec::with_capacity(left.len() + right.len());
                placeholder::renumber(first, left, &mut out, &mut list);
                out.push(b',');
                placeholder::renumber(second, right, &mut out, &mut list);
                Self::written(out, count, list)
            }
            // `to_parser` has made both the same.
            _ => self.clone(),
        }
    }

    /// Appends arguments: a tuple is several, `()` none, anything else one.
    ///
    /// # Errors
    ///
    /// When `more` cannot be serialised.
    pub fn push<T: ToArgs + ?Sized>(&mut self, more: &T) -> Result<(), ArgsError> {
        *self = self.with(&more.to_args(self.parser())?);
        Ok(())
    }

    /// These arguments followed by a string, such as the offset of a recoverable event.
    #[must_use]
    pub fn with_str(&self, text: &str) -> Self {
        let value = Value::String(text.to_owned());
        self.with(&Self::from_values(&[value], self.parser()))
    }

    /// Whether any argument is or holds binary.
    pub fn has_binary(&self) -> bool {
        match &self.repr {
            Repr::Json {
                attachments,
                ordered: true,
                ..
            } => !attachments.is_empty(),
            Repr::Json {
                text, attachments, ..
            } => placeholder::find(text)
                .iter()
                .any(|found| found.index.is_some_and(|index| index < attachments.len())),
            Repr::Msgpack(bytes) => {
                msgpack::Elements::new(bytes).any(|(start, _)| msgpack::has_binary(bytes, start))
            }
        }
    }

    /// The bytes that are kept for these arguments, attachments included: what a queue charges.
    pub fn byte_len(&self) -> usize {
        let attached = match &self.repr {
            Repr::Json { attachments, .. } => attachments.iter().map(Bytes::len).sum(),
            Repr::Msgpack(_) => 0,
        };
        self.raw_len() + attached
    }

    /// The arguments as trees.
    pub fn values(&self) -> Vec<Value> {
        self.iter().map(RawArg::to_value).collect()
    }

    /// Reads the whole list as one type, as [`ToArgs`] writes it: a tuple takes as many arguments
    /// as it has items (missing ones only into `Option`), `()` takes none, anything else takes
    /// the first. More arguments than asked for are ignored, as JavaScript does.
    ///
    /// # Errors
    ///
    /// When an argument is missing or has another type.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, ArgsError> {
        raw_arg::deserialize_args(self)
    }

    /// The same arguments in the form of `parser`.
    #[must_use]
    pub fn to_parser(&self, parser: Parser) -> Self {
        if parser == self.parser() {
            return self.clone();
        }
        Self::from_values(&self.values(), parser)
    }

    /// The JSON values with commas between them, and the attachments that their placeholders
    /// refer to. `None` when they are kept as MessagePack.
    pub fn as_json(&self) -> Option<(&str, &[Bytes])> {
        match &self.repr {
            Repr::Json {
                text, attachments, ..
            } => Some((text, attachments)),
            Repr::Msgpack(_) => None,
        }
    }

    /// The MessagePack values one after the other. `None` when they are kept as JSON.
    pub fn as_msgpack(&self) -> Option<&Bytes> {
        match &self.repr {
            Repr::Json { .. } => None,
            Repr::Msgpack(bytes) => Some(bytes),
        }
    }

    pub(super) fn repr(&self) -> &Repr {
        &self.repr
    }

    /// Valid MessagePack of `count` values.
    pub(super) fn msgpack(values: Bytes, count: usize) -> Self {
        Self {
            count,
            repr: Repr::Msgpack(values),
        }
    }

    /// Valid JSON of `count` values for which `due` attachments are still to come.
    pub(super) fn checked(text: Text, count: usize, due: usize) -> Result<Self, DecodeError> {
        let mut ordered = true;
        if due > 0 {
            let found = placeholder::find(&text);
            if found
                .iter()
                .any(|found| found.index.is_none_or(|index| index >= due))
            {
                return Err(DecodeErrorKind::InvalidPlaceholder.into());
            }
            ordered = placeholder::is_ordered(&found, due);
        }
        let repr = Repr::Json {
            text,
            attachments: Attachments::default(),
            ordered,
        };
        Ok(Self { count, repr })
    }

    /// The attachments that [`Args::checked`] was told of.
    pub(super) fn attach(&mut self, list: Vec<Bytes>) {
        if let Repr::Json { attachments, .. } = &mut self.repr {
            *attachments = list.into();
        }
    }

    /// JSON that we wrote ourselves, from values with `list` in their placeholders.
    pub(super) fn written(text: Vec<u8>, count: usize, list: Vec<Bytes>) -> Self {
        // Serialisers write UTF-8 only.
        let text = String::from_utf8(text).unwrap_or_default();
        // Data may hold an object that only looks like a placeholder; encoding disarms it then.
        let ordered =
            list.is_empty() || placeholder::is_ordered(&placeholder::find(&text), list.len());
        let repr = Repr::Json {
            text: text.into(),
            attachments: list.into(),
            ordered,
        };
        Self { count, repr }
    }

    /// The JSON text and the attachments as they go on the wire.
    pub(super) fn json_wire(&self) -> (Cow<'_, str>, Attachments) {
        match &self.repr {
            Repr::Json {
                text,
                attachments,
                ordered: true,
            } => (Cow::Borrowed(text), attachments.clone()),
            Repr::Json {
                text, attachments, ..
            } => {
                let mut out = Vec::with_capacity(text.len());
                let mut list = Vec::new();
                placeholder::renumber(text, attachments, &mut out, &mut list);
                // Only ASCII numbers were put in the place of ASCII tokens.
                (
                    Cow::Owned(String::from_utf8(out).unwrap_or_default()),
                    list.into(),
                )
            }
            Repr::Msgpack(_) => {
                let (text, list) = self.to_parser(Parser::Json).json_wire_owned();
                (Cow::Owned(text), list)
            }
        }
    }

    fn json_wire_owned(&self) -> (String, Attachments) {
        let (text, list) = self.json_wire();
        (text.into_owned(), list)
    }

    /// Bytes of the values themselves, without attachments.
    pub(super) fn raw_len(&self) -> usize {
        match &self.repr {
            Repr::Json { text, .. } => text.len(),
            Repr::Msgpack(bytes) => bytes.len(),
        }
    }

    /// A part of these arguments that holds `count` whole values.
    fn cut(&self, start: usize, end: usize, count: usize) -> Self {
        if count == 0 {
            return Self::new();
        }
        let repr = match &self.repr {
            Repr::Json {
                text, attachments, ..
            } => Repr::Json {
                text: text.slice(start..end),
                ordered: attachments.is_empty(),
                attachments: attachments.clone(),
            },
            Repr::Msgpack(bytes) => Repr::Msgpack(bytes.slice(start..end)),
        };
        Self { count, repr }
    }

    /// One argument of this list as a list.
    pub(super) fn single(&self, start: usize, end: usize) -> Self {
        self.cut(start, end, 1)
    }
}

impl Default for Args {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Args {
    /// The same bytes in the same form, with the same attachments.
    fn eq(&self, other: &Self) -> bool {
        let empty = self.is_empty() && other.is_empty();
        empty || (self.as_json() == other.as_json() && self.as_msgpack() == other.as_msgpack())
    }
}

impl fmt::Debug for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for &'a Args {
    type Item = RawArg<'a>;
    type IntoIter = raw_arg::Iter<'a>;

    fn into_iter(self) -> raw_arg::Iter<'a> {
        self.iter()
    }
}

/// Collects values, each of them one argument, in the form of the default parser.
impl<T: Serialize> TryFrom<Vec<T>> for Args {
    type Error = ArgsError;

    fn try_from(values: Vec<T>) -> Result<Self, ArgsError> {
        let values: Vec<_> = values
            .iter()
            .map(value::to_value)
            .collect::<Result<_, _>>()?;
        Ok(Self::from_values(&values, Parser::Json))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socketio::Binary;

    fn json(list: &str, attachments: &[&'static [u8]]) -> Args {
        let attachments = attachments
            .iter()
            .map(|bytes| Bytes::from_static(bytes))
            .collect();
        Args::from_json(list, attachments, &Limits::default()).unwrap()
    }

    fn texts(args: &Args) -> Vec<&str> {
        args.iter().map(|arg| arg.as_json().unwrap()).collect()
    }

    const TWO: &str = r#""a",{"_placeholder":true,"num":1},[{"_placeholder":true,"num":0}]"#;

    #[test]
    fn arguments_are_found_and_stay_as_they_came() {
        let args = json(" 1 , [2, 3] ,\"\\ud800,\", 1e999 ", &[]);
        assert_eq!(texts(&args), ["1", "[2, 3]", "\"\\ud800,\"", "1e999"]);
        assert_eq!((args.len(), args.get(4)), (4, None));
        assert_eq!(args.as_json().unwrap().0, "1 , [2, 3] ,\"\\ud800,\", 1e999");
        assert!(json(" ", &[]).is_empty());
    }

    #[test]
    fn refused_lists() {
        let limits = Limits {
            max_args: 2,
            max_depth: 2,
            ..Limits::default()
        };
        for list in ["1,", ",1", "1 2", "]", "nope", "1,2,3", "[[]]"] {
            assert!(
                Args::from_json(list, Vec::new(), &limits).is_err(),
                "{list}"
            );
        }
        let one = vec![Bytes::new()];
        for num in ["1", "-1", "0.0", "\"0\""] {
            let list = format!(r#"{{"_placeholder":true,"num":{num}}}"#);
            assert!(
                Args::from_json(&list, one.clone(), &limits).is_err(),
                "{list}"
            );
            assert!(
                Args::from_json(&list, Vec::new(), &limits).is_ok(),
                "{list}"
            );
        }
        let bytes = Bytes::from_static(&[1, 2, 3]);
        assert!(
            Args::from_msgpack(bytes.clone(), &limits)
                .unwrap_err()
                .is_limit()
        );
        assert_eq!(
            Args::from_msgpack(bytes.slice(..2), &limits).unwrap().len(),
            2
        );
        assert!(Args::from_msgpack(Bytes::from_static(&[0x92, 1]), &limits).is_err());
    }

    #[test]
    fn cutting_keeps_placeholders_valid() {
        let args = json(TWO, &[b"zero", b"one"]);
        let rest = args.skip(2);
        assert_eq!(texts(&rest), [r#"[{"_placeholder":true,"num":0}]"#]);
        let (text, list) = rest.json_wire();
        assert_eq!(
            (&*text, list.len()),
            (r#"[{"_placeholder":true,"num":0}]"#, 1)
        );
        let start = args.take(2);
        let (text, list) = start.json_wire();
        assert_eq!(text, r#""a",{"_placeholder":true,"num":0}"#);
        assert_eq!(*list, [Bytes::from_static(b"one")]);
        assert!(!args.take(1).has_binary() && args.has_binary() && rest.has_binary());
        assert_eq!(args.take(1).json_wire().1.len(), 0);
        assert!(args.skip(3).is_empty() && args.skip(9).is_empty() && args.take(0).is_empty());
        assert_eq!(args.skip(0), args);
        assert_eq!(args.take(9), args);
    }

    #[test]
    fn arrays_become_lists() {
        let args = json(TWO, &[b"zero", b"one"]);
        let items = Args::from_array(args.get(2).unwrap()).unwrap();
        assert_eq!(items.values(), [Value::from(Bytes::from_static(b"zero"))]);
        assert_eq!(Args::from_array(args.get(0).unwrap()), None);
        let nested = json("[ 1 , [] ], [ ]", &[]);
        let items = Args::from_array(nested.get(0).unwrap()).unwrap();
        assert_eq!(texts(&items), ["1", "[]"]);
        assert!(Args::from_array(nested.get(1).unwrap()).unwrap().is_empty());
        let packed = nested.to_parser(Parser::Msgpack);
        let items = Args::from_array(packed.get(0).unwrap()).unwrap();
        assert_eq!(
            items.values(),
            Args::from_array(nested.get(0).unwrap()).unwrap().values()
        );
        assert_eq!(Args::from_array(items.get(0).unwrap()), None);
    }

    #[test]
    fn lists_are_joined() {
        let left = json(r#"{"_placeholder":true,"num":0}"#, &[b"l"]);
        let right = json(r#"1, {"_placeholder":true,"num":0}"#, &[b"r"]);
        let both = left.with(&right);
        assert_eq!(
            both.as_json().unwrap().0,
            r#"{"_placeholder":true,"num":0},1, {"_placeholder":true,"num":1}"#
        );
        assert_eq!(both.as_json().unwrap().1, [&b"l"[..], b"r"]);
        assert_eq!(both.byte_len(), both.as_json().unwrap().0.len() + 2);
        assert_eq!(
            json("1", &[]).with_str("off\"set").as_json().unwrap().0,
            r#"1,"off\"set""#
        );
        assert_eq!(Args::new().with(&left), left);
        assert_eq!(left.with(&Args::new()), left);
        let mixed = left.with(&right.to_parser(Parser::Msgpack));
        assert_eq!(mixed.values(), both.values());
        let mut pushed = left.to_parser(Parser::Msgpack);
        pushed.push(&(1, Binary::from(&b"r"[..]))).unwrap();
        assert_eq!(pushed.parser(), Parser::Msgpack);
        assert_eq!(pushed.values(), both.values());
    }

    /// An object that only looks like a placeholder must not take, or miss, the attachment of
    /// another argument when both are sent together: receivers would disconnect.
    #[test]
    fn false_placeholders_are_disarmed_beside_real_binary() {
        let fake = json(r#"{"_placeholder":true,"num":7}"#, &[]);
        let real = json(r#"{"_placeholder":true,"num":0}"#, &[b"r"]);
        let both = fake.with(&real);
        assert_eq!(
            both.as_json().unwrap().0,
            r#"{"_placeholder":1,"num":7},{"_placeholder":true,"num":0}"#
        );
        assert_eq!(fake.json_wire().0, r#"{"_placeholder":true,"num":7}"#);
    }

    #[test]
    fn forms_convert_into_each_other() {
        let args = json(TWO, &[b"zero", b"one"]);
        for parser in [Parser::Json, Parser::Msgpack] {
            let empty = Args::new().to_parser(parser);
            assert_eq!(
                (empty.parser(), empty.to_parser(Parser::Json).len()),
                (parser, 0)
            );
        }
        let packed = args.to_parser(Parser::Msgpack);
        assert!(packed.has_binary() && packed.as_json().is_none());
        assert_eq!(packed.values(), args.values());
        let back = packed.to_parser(Parser::Json);
        assert_eq!(back.values(), args.values());
        assert_eq!(packed.skip(1).values(), args.values()[1..]);
        assert_eq!(packed.take(1).values(), args.values()[..1]);
        assert_eq!(packed.len(), 3);
        assert_ne!(packed, args);
    }

    #[test]
    fn lists_of_one_type() {
        let args = Args::try_from(vec![Some(1), None]).unwrap();
        assert_eq!(args.as_json().unwrap().0, "1,null");
        assert_eq!(format!("{args:?}"), "[1, null]");
    }
}
