//! One argument, and how it becomes a type.

use std::fmt;

use bytes::Bytes;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::args::Repr;
use super::value::{self, ValueDeserializer};
use super::{Args, ArgsError, Value, json, msgpack};

/// One argument as it came.
#[derive(Clone, Copy)]
pub struct RawArg<'a> {
    args: &'a Args,
    start: usize,
    end: usize,
}

impl<'a> RawArg<'a> {
    /// The JSON text, with placeholders where binary was. `None` when it is kept as MessagePack.
    pub fn as_json(self) -> Option<&'a str> {
        match self.args.repr() {
            Repr::Json { text, .. } => Some(&text[self.start..self.end]),
            Repr::Msgpack(_) => None,
        }
    }

    /// The MessagePack bytes. `None` when it is kept as JSON.
    pub fn as_msgpack(self) -> Option<&'a [u8]> {
        match self.args.repr() {
            Repr::Json { .. } => None,
            Repr::Msgpack(bytes) => Some(&bytes[self.start..self.end]),
        }
    }

    /// Whether it is `null` (or `undefined`).
    pub fn is_null(self) -> bool {
        match self.args.repr() {
            Repr::Json { text, .. } => text.as_bytes()[self.start] == b'n',
            Repr::Msgpack(bytes) => msgpack::head(bytes, self.start)
                .is_ok_and(|(head, _)| head == msgpack::Head::Nil || head.is_undefined()),
        }
    }

    /// Whether it is an object (which binary is not).
    pub fn is_object(self) -> bool {
        match self.args.repr() {
            Repr::Json { text, .. } => {
                text.as_bytes()[self.start] == b'{' && self.binary().is_none()
            }
            Repr::Msgpack(bytes) => {
                matches!(
                    msgpack::head(bytes, self.start),
                    Ok((msgpack::Head::Map(_), _))
                )
            }
        }
    }

    /// The string, if it is one.
    pub fn string(self) -> Option<String> {
        match self.as_json() {
            Some(text) if !text.starts_with('"') => None,
            Some(text) => Some(json::unescape(&text[1..text.len() - 1]).into_owned()),
            None => match self.to_value() {
                Value::String(text) => Some(text),
                _ => None,
            },
        }
    }

    /// The bytes, if it is binary; not a copy.
    pub fn binary(self) -> Option<Bytes> {
        let is_candidate = match self.args.repr() {
            Repr::Json {
                text, attachments, ..
            } => !attachments.is_empty() && text.as_bytes()[self.start] == b'{',
            Repr::Msgpack(bytes) => {
                msgpack::head(bytes, self.start).is_ok_and(|(head, _)| head.binary().is_some())
            }
        };
        match is_candidate.then(|| self.to_value())? {
            Value::Binary(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// This argument as a tree.
    pub fn to_value(self) -> Value {
        match self.args.repr() {
            Repr::Json {
                text, attachments, ..
            } => value::read_json(&text[self.start..self.end], attachments),
            Repr::Msgpack(bytes) => value::read_msgpack(bytes, self.start),
        }
    }

    /// This argument as a list of one.
    pub fn to_args(self) -> Args {
        self.args.single(self.start, self.end)
    }

    /// Reads this argument as a type. [`Binary`](super::Binary), types that take bytes and
    /// [`Value`] accept binary at any depth.
    ///
    /// # Errors
    ///
    /// When it has another type, or is nested deeper than 128 levels: typed values have a narrower
    /// limit than arguments that are passed on.
    pub fn deserialize<T: DeserializeOwned>(self) -> Result<T, ArgsError> {
        Source::new(self).read(std::marker::PhantomData::<T>)
    }

    pub(super) fn parts(self) -> (&'a Args, usize, usize) {
        (self.args, self.start, self.end)
    }
}

impl PartialEq for RawArg<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.to_args() == other.to_args()
    }
}

impl fmt::Debug for RawArg<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_json() {
            Some(text) => f.write_str(text),
            None => fmt::Debug::fmt(&self.to_value(), f),
        }
    }
}

/// The arguments of a list; see [`Args::iter`].
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    args: &'a Args,
    left: usize,
    elements: Elements<'a>,
}

#[derive(Debug, Clone)]
enum Elements<'a> {
    Json(json::Elements<'a>),
    Msgpack(msgpack::Elements<'a>),
}

impl<'a> Iter<'a> {
    pub(super) fn new(args: &'a Args) -> Self {
        let elements = match args.repr() {
            Repr::Json { text, .. } => Elements::Json(json::Elements::new(text)),
            Repr::Msgpack(bytes) => Elements::Msgpack(msgpack::Elements::new(bytes)),
        };
        Self {
            args,
            left: args.len(),
            elements,
        }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = RawArg<'a>;

    fn next(&mut self) -> Option<RawArg<'a>> {
        let (start, end) = match &mut self.elements {
            Elements::Json(elements) => elements.next(),
            Elements::Msgpack(elements) => elements.next(),
        }?;
        self.left = self.left.saturating_sub(1);
        Some(RawArg {
            args: self.args,
            start,
            end,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

/// What serde reads an argument from: its text if that is all there is to it, else a tree.
enum Source<'a> {
    Text(&'a str),
    Tree(Value),
    Missing,
}

impl<'a> Source<'a> {
    fn new(arg: RawArg<'a>) -> Self {
        if let Repr::Json {
            text, attachments, ..
        } = arg.args.repr()
        {
            let text = &text[arg.start..arg.end];
            // Escapes of surrogates may be lone ones, which serde_json refuses and the tree
            // replaces.
            let surrogates = text.contains("\\ud") || text.contains("\\uD");
            if attachments.is_empty() && !surrogates {
                return Self::Text(text);
            }
        }
        Self::Tree(arg.to_value())
    }

    fn read<'de, S: DeserializeSeed<'de>>(&'de self, seed: S) -> Result<S::Value, ArgsError> {
        match self {
            Self::Text(text) => {
                let mut deserializer = serde_json::Deserializer::from_str(text);
                let read = seed.deserialize(&mut deserializer);
                read.and_then(|value| deserializer.end().map(|()| value))
                    .map_err(|error| {
                        let message = error.to_string();
                        if message.starts_with("recursion limit") {
                            return ArgsError::depth(value::MAX_TYPED_DEPTH);
                        }
                        ArgsError::deserialize(message)
                    })
            }
            Self::Tree(value) => seed.deserialize(ValueDeserializer::new(value)),
            Self::Missing => seed.deserialize(Missing),
        }
    }
}

/// What a type asks for at the top.
enum Shape {
    Tuple(usize),
    Nothing,
    One,
}

pub(super) fn deserialize_args<T: DeserializeOwned>(args: &Args) -> Result<T, ArgsError> {
    match T::deserialize(Probe) {
        Err(ShapeFound(Shape::Tuple(len))) => {
            let mut sources: Vec<_> = args.iter().take(len).map(Source::new).collect();
            // Bounded by the type: a tuple or an array of this many items.
            sources.resize_with(len, || Source::Missing);
            T::deserialize(Tuple(&sources))
        }
        Err(ShapeFound(Shape::Nothing)) => T::deserialize(de::value::UnitDeserializer::new()),
        // A type that is content without asking for anything takes the first argument too.
        Err(ShapeFound(Shape::One)) | Ok(_) => {
            let source = args.get(0).map_or(Source::Missing, Source::new);
            source.read(std::marker::PhantomData::<T>)
        }
    }
}

/// Never deserialises: reports what was asked for.
struct Probe;

struct ShapeFound(Shape);

impl fmt::Debug for ShapeFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shape found")
    }
}

impl fmt::Display for ShapeFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shape found")
    }
}

impl std::error::Error for ShapeFound {}

impl de::Error for ShapeFound {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(Shape::One)
    }
}

impl<'de> Deserializer<'de> for Probe {
    type Error = ShapeFound;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ShapeFound> {
        Err(ShapeFound(Shape::One))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, _: V) -> Result<V::Value, ShapeFound> {
        Err(ShapeFound(Shape::Tuple(len)))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ShapeFound> {
        Err(ShapeFound(Shape::Nothing))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit_struct newtype_struct seq tuple_struct map struct enum identifier ignored_any
    }
}

/// An argument that is not there: only an `Option` can do with that.
struct Missing;

impl<'de> Deserializer<'de> for Missing {
    type Error = ArgsError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ArgsError> {
        Err(ArgsError::missing())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        visitor.visit_none()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Tuple<'de>(&'de [Source<'de>]);

impl<'de> Deserializer<'de> for Tuple<'de> {
    type Error = ArgsError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        visitor.visit_seq(TupleItems(self.0.iter()))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

struct TupleItems<'de>(std::slice::Iter<'de, Source<'de>>);

impl<'de> SeqAccess<'de> for TupleItems<'de> {
    type Error = ArgsError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ArgsError> {
        self.0.next().map(|source| source.read(seed)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::socketio::{Binary, Limits, Parser};

    fn json(list: &str, attachments: &[&'static [u8]]) -> Args {
        let attachments = attachments
            .iter()
            .map(|bytes| Bytes::from_static(bytes))
            .collect();
        Args::from_json(list, attachments, &Limits::default()).unwrap()
    }

    /// The same list in both forms.
    fn both(list: &str, attachments: &[&'static [u8]]) -> [Args; 2] {
        let args = json(list, attachments);
        [args.to_parser(Parser::Msgpack), args]
    }

    #[derive(Deserialize, Debug, PartialEq)]
    struct User {
        name: String,
        age: Option<u8>,
    }

    #[test]
    fn tuples_take_several_arguments_anything_else_the_first() {
        for args in both(r#"{"name":"x"},7,["a"],true"#, &[]) {
            let user = User {
                name: "x".into(),
                age: None,
            };
            let (first, second): (User, u8) = args.deserialize().unwrap();
            assert_eq!((&first, second), (&user, 7));
            assert_eq!(args.deserialize::<User>().unwrap(), user);
            assert_eq!(args.deserialize::<(User,)>().unwrap().0, user);
            args.deserialize::<()>().unwrap();
            let all: (Value, u8, Vec<String>, bool, Option<String>) = args.deserialize().unwrap();
            assert_eq!((all.2, all.3, all.4), (vec!["a".to_owned()], true, None));
            let error = args.deserialize::<(User, String)>().unwrap_err();
            assert!(error.is_deserialize(), "{error}");
            let error = args
                .deserialize::<(User, u8, Vec<String>, bool, u8)>()
                .unwrap_err();
            assert!(error.is_missing(), "{error}");
            assert_eq!(args.skip(2).deserialize::<Vec<String>>().unwrap(), ["a"]);
            assert_eq!(args.get(1).unwrap().deserialize::<u8>().unwrap(), 7);
        }
        let none = Args::new();
        none.deserialize::<()>().unwrap();
        assert_eq!(none.deserialize::<Option<u8>>().unwrap(), None);
        assert!(none.deserialize::<u8>().unwrap_err().is_missing());
        assert!(json("1,2", &[]).deserialize::<[u8; 2]>().unwrap() == [1, 2]);
    }

    #[derive(Deserialize)]
    struct Upload {
        file: Binary,
        more: Vec<Binary>,
    }

    #[test]
    fn binary_is_read_at_any_depth() {
        let list = r#"{"file":{"_placeholder":true,"num":0},"more":[{"_placeholder":true,"num":1}]},
            {"_placeholder":true,"num":1}"#;
        for args in both(list, &[b"zero", b"one"]) {
            let (upload, top): (Upload, Binary) = args.deserialize().unwrap();
            assert_eq!(
                (&*upload.file, &*upload.more[0], &*top),
                (&b"zero"[..], &b"one"[..], &b"one"[..])
            );
            let value: Value = args.deserialize().unwrap();
            assert_eq!(value["file"].as_binary().unwrap(), "zero");
            let top = args.get(1).unwrap();
            assert_eq!(top.binary().unwrap(), "one");
            assert!(!top.is_object() && args.get(0).unwrap().is_object());
            assert_eq!(args.get(0).unwrap().binary(), None);
        }
    }

    #[test]
    fn kinds_are_told_without_parsing() {
        for args in both(r#"null,"a\nb",{"_placeholder":true,"num":0},5"#, &[]) {
            let kinds: Vec<_> = args
                .iter()
                .map(|arg| (arg.is_null(), arg.is_object()))
                .collect();
            assert_eq!(
                kinds,
                [(true, false), (false, false), (false, true), (false, false)]
            );
            assert_eq!(args.get(1).unwrap().string().unwrap(), "a\nb");
            assert_eq!(args.get(3).unwrap().string(), None);
            // Without attachments it is an object like any other.
            assert_eq!(args.get(2).unwrap().binary(), None);
        }
    }

    #[test]
    fn lone_surrogates_are_replaced_in_types_and_kept_raw() {
        let args = json(r#""half \ud83d","whole \ud83d\ude00""#, &[]);
        let (half, whole): (String, String) = args.deserialize().unwrap();
        assert_eq!(
            (half.as_str(), whole.as_str()),
            ("half \u{fffd}", "whole 😀")
        );
        assert_eq!(args.get(0).unwrap().as_json().unwrap(), r#""half \ud83d""#);
    }

    #[test]
    fn depth_is_an_error_of_types_only() {
        let text = "[".repeat(999) + &"]".repeat(999);
        for args in both(&text, &[]) {
            let error = args.deserialize::<serde_json::Value>().unwrap_err();
            assert!(error.is_too_deep(), "{error}");
            assert_eq!(args.values()[0].to_json(), text);
        }
    }

    #[test]
    fn big_numbers_survive_into_values() {
        let text = "[123456789012345678901234567890,0.1000]";
        let value: Value = json(text, &[]).deserialize().unwrap();
        assert_eq!(value.to_json(), text);
    }
}
