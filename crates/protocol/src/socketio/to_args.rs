//! From Rust values to arguments.

use std::io;

use bytes::Bytes;
use serde::ser::{self, Impossible, Serialize, Serializer};
use serde_json::ser::Formatter;

use super::{Args, ArgsError, Parser, RawArg, Value, placeholder, value};

/// What can be sent as arguments: anything that serde serialises, and [`Args`] themselves.
///
/// A tuple at the top is several arguments, `()` is none, anything else is one. To serde an array
/// of fixed size is a tuple: send it as a slice to make it one argument. Bytes (as
/// [`Binary`](super::Binary) or `serde_bytes` have it) are sent as binary wherever they are.
///
/// ```
/// use sockeye_protocol::socketio::{Parser, ToArgs};
///
/// assert_eq!((1, "a").to_args(Parser::Json)?.len(), 2);
/// assert_eq!(().to_args(Parser::Json)?.len(), 0);
/// assert_eq!("hello".to_args(Parser::Json)?.len(), 1);
/// assert_eq!(vec![1, 2].to_args(Parser::Json)?.len(), 1);
/// assert_eq!(((1, 2),).to_args(Parser::Json)?.len(), 1);
/// # Ok::<(), sockeye_protocol::socketio::ArgsError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as arguments",
    note = "derive `serde::Serialize` for it, or send `Args`"
)]
pub trait ToArgs {
    /// The arguments in the form of `parser`.
    ///
    /// # Errors
    ///
    /// When the value cannot be serialised: its own error, or a key that is no string.
    fn to_args(&self, parser: Parser) -> Result<Args, ArgsError>;
}

impl ToArgs for Args {
    fn to_args(&self, parser: Parser) -> Result<Args, ArgsError> {
        Ok(self.to_parser(parser))
    }
}

impl ToArgs for &Args {
    fn to_args(&self, parser: Parser) -> Result<Args, ArgsError> {
        Ok(self.to_parser(parser))
    }
}

impl ToArgs for RawArg<'_> {
    fn to_args(&self, parser: Parser) -> Result<Args, ArgsError> {
        Ok(RawArg::to_args(*self).to_parser(parser))
    }
}

impl<T: Serialize + ?Sized> ToArgs for T {
    fn to_args(&self, parser: Parser) -> Result<Args, ArgsError> {
        match parser {
            Parser::Json => {
                let mut sink = JsonSink::default();
                collect(self, &mut sink)?;
                Ok(Args::written(sink.text, sink.count, sink.attachments))
            }
            Parser::Msgpack => {
                let mut sink = Vec::new();
                collect(self, &mut sink)?;
                Ok(Args::from_values(&sink, parser))
            }
        }
    }
}

/// Takes one argument after the other.
trait Sink {
    fn one<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ArgsError>;
}

fn collect<T: Serialize + ?Sized>(value: &T, sink: &mut impl Sink) -> Result<(), ArgsError> {
    match value.serialize(Top(&mut *sink)) {
        Ok(()) => Ok(()),
        // serde cannot tell `()` from a `null` inside some other type; only `()` has no size.
        Err(TopError::Unit) if size_of_val(value) == 0 => Ok(()),
        Err(TopError::Unit | TopError::One) => sink.one(value),
        Err(TopError::Failed(error)) => Err(error),
    }
}

#[derive(Default)]
struct JsonSink {
    text: Vec<u8>,
    count: usize,
    attachments: Vec<Bytes>,
}

impl Sink for JsonSink {
    fn one<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ArgsError> {
        if self.count > 0 {
            self.text.push(b',');
        }
        self.count += 1;
        let formatter = Placeholders(&mut self.attachments);
        let mut serializer = serde_json::Serializer::with_formatter(&mut self.text, formatter);
        value
            .serialize(&mut serializer)
            .map_err(ArgsError::serialize)
    }
}

impl Sink for Vec<Value> {
    fn one<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ArgsError> {
        self.push(value::to_value(value)?);
        Ok(())
    }
}

/// Compact JSON with placeholders where bytes are.
struct Placeholders<'a>(&'a mut Vec<Bytes>);

impl Formatter for Placeholders<'_> {
    fn write_byte_array<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        bytes: &[u8],
    ) -> io::Result<()> {
        let mut text = Vec::new();
        placeholder::write(&mut text, self.0.len());
        self.0.push(Bytes::copy_from_slice(bytes));
        writer.write_all(&text)
    }
}

/// Looks only at whether the value is a tuple or `()`; everything else is serialised elsewhere.
struct Top<'a, S>(&'a mut S);

#[derive(Debug)]
enum TopError {
    Unit,
    One,
    Failed(ArgsError),
}

impl std::fmt::Display for TopError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unit => f.write_str("perhaps no argument"),
            Self::One => f.write_str("one argument"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TopError {}

impl ser::Error for TopError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Failed(ArgsError::serialize(message))
    }
}

impl<S: Sink> ser::SerializeTuple for Top<'_, S> {
    type Ok = ();
    type Error = TopError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TopError> {
        self.0.one(value).map_err(TopError::Failed)
    }

    fn end(self) -> Result<(), TopError> {
        Ok(())
    }
}

type No = Impossible<(), TopError>;

macro_rules! one {
    ($($method:ident($($type:ty),*) -> $made:ty),* $(,)?) => {$(
        fn $method(self, $(_: $type),*) -> Result<$made, TopError> {
            Err(TopError::One)
        }
    )*};
}

impl<S: Sink> Serializer for Top<'_, S> {
    type Ok = ();
    type Error = TopError;
    type SerializeSeq = No;
    type SerializeTuple = Self;
    type SerializeTupleStruct = No;
    type SerializeTupleVariant = No;
    type SerializeMap = No;
    type SerializeStruct = No;
    type SerializeStructVariant = No;

    fn serialize_unit(self) -> Result<(), TopError> {
        Err(TopError::Unit)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, TopError> {
        Ok(self)
    }

    one! {
        serialize_bool(bool) -> (),
        serialize_i8(i8) -> (),
        serialize_i16(i16) -> (),
        serialize_i32(i32) -> (),
        serialize_i64(i64) -> (),
        serialize_i128(i128) -> (),
        serialize_u8(u8) -> (),
        serialize_u16(u16) -> (),
        serialize_u32(u32) -> (),
        serialize_u64(u64) -> (),
        serialize_u128(u128) -> (),
        serialize_f32(f32) -> (),
        serialize_f64(f64) -> (),
        serialize_char(char) -> (),
        serialize_str(&str) -> (),
        serialize_bytes(&[u8]) -> (),
        serialize_none() -> (),
        serialize_unit_struct(&'static str) -> (),
        serialize_unit_variant(&'static str, u32, &'static str) -> (),
        serialize_seq(Option<usize>) -> No,
        serialize_tuple_struct(&'static str, usize) -> No,
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> No,
        serialize_map(Option<usize>) -> No,
        serialize_struct(&'static str, usize) -> No,
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> No,
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), TopError> {
        Err(TopError::One)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: &T,
    ) -> Result<(), TopError> {
        Err(TopError::One)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), TopError> {
        Err(TopError::One)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Serialize;

    use super::*;
    use crate::socketio::{Binary, Limits};

    fn json<T: ToArgs + ?Sized>(value: &T) -> (String, usize) {
        let args = value.to_args(Parser::Json).unwrap();
        (args.as_json().unwrap().0.to_owned(), args.len())
    }

    #[derive(Serialize)]
    struct Point {
        x: f64,
        y: Option<u8>,
    }

    #[derive(Serialize)]
    struct Pair(u8, u8);

    #[test]
    fn tuples_are_several_unit_is_none_the_rest_is_one() {
        assert_eq!(
            json(&(1, "a", Point { x: 0.5, y: None })),
            (r#"1,"a",{"x":0.5,"y":null}"#.into(), 3)
        );
        assert_eq!(json(&()), (String::new(), 0));
        assert_eq!(json(&((),)), ("null".into(), 1));
        assert_eq!(json(&[(); 0]), (String::new(), 0));
        assert_eq!(json(&Value::Null), ("null".into(), 1));
        assert_eq!(json(&serde_json::Value::Null), ("null".into(), 1));
        assert_eq!(json("text"), (r#""text""#.into(), 1));
        assert_eq!(json(&"text"), (r#""text""#.into(), 1));
        assert_eq!(json(&None::<u8>), ("null".into(), 1));
        assert_eq!(json(&Some((1, 2))), ("[1,2]".into(), 1));
        assert_eq!(json(&vec![1, 2]), ("[1,2]".into(), 1));
        assert_eq!(json(&Pair(1, 2)), ("[1,2]".into(), 1));
        assert_eq!(
            json(&&Point { x: 1.0, y: Some(2) }),
            (r#"{"x":1.0,"y":2}"#.into(), 1)
        );
        assert_eq!(
            json(&serde_json::json!({"a": [1]})),
            (r#"{"a":[1]}"#.into(), 1)
        );
        assert_eq!(
            json(&Value::from_json("[1e999]", &[]).unwrap()),
            ("[1e999]".into(), 1)
        );
    }

    #[test]
    fn arguments_pass_through() {
        let args = Args::from_json("1 , \"\\ud800\"", Vec::new(), &Limits::default()).unwrap();
        assert_eq!(ToArgs::to_args(&args, Parser::Json).unwrap(), args);
        assert_eq!(ToArgs::to_args(&&args, Parser::Json).unwrap(), args);
        assert_eq!(json(&args.get(1).unwrap()), ("\"\\ud800\"".into(), 1));
        let packed = ToArgs::to_args(&args.take(1), Parser::Msgpack).unwrap();
        assert_eq!(packed.as_msgpack().unwrap(), &[1][..]);
    }

    #[test]
    fn bytes_become_binary_in_both_forms() {
        let value = (
            Binary::from(vec![9]),
            BTreeMap::from([("b", vec![Binary::from(vec![8])])]),
        );
        let args = value.to_args(Parser::Json).unwrap();
        let (text, attachments) = args.as_json().unwrap();
        assert_eq!(
            text,
            r#"{"_placeholder":true,"num":0},{"b":[{"_placeholder":true,"num":1}]}"#
        );
        assert_eq!(attachments, [&[9][..], &[8]]);
        let packed = value.to_args(Parser::Msgpack).unwrap();
        assert_eq!(
            packed.as_msgpack().unwrap(),
            &b"\xc4\x01\x09\x81\xa1b\x91\xc4\x01\x08"[..]
        );
        assert_eq!(packed.values(), args.values());
    }

    #[test]
    fn failures_are_reported() {
        let keyed = BTreeMap::from([((1, 2), 3)]);
        for parser in [Parser::Json, Parser::Msgpack] {
            assert!(keyed.to_args(parser).unwrap_err().is_serialize());
            assert!((1, &keyed).to_args(parser).unwrap_err().is_serialize());
        }
    }
}
