//! Values into serde, and anything of serde into values.

use std::fmt::Display;

use bytes::Bytes;
use serde::ser::{self, Serialize, Serializer};
use serde_json::value::RawValue;

use super::de::MAX_TYPED_DEPTH;
use super::{Map, Number, Value};
use crate::socketio::ArgsError;

/// The name under which serde_json passes raw JSON text through serde.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Node {
            value: self,
            depth: 0,
        }
        .serialize(serializer)
    }
}

struct Node<'a> {
    value: &'a Value,
    depth: usize,
}

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nested = |value| Node {
            value,
            depth: self.depth + 1,
        };
        match self.value {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Number(number) => number.serialize(serializer),
            Value::String(text) => serializer.serialize_str(text),
            Value::Binary(bytes) => serializer.serialize_bytes(bytes),
            _ if self.depth == MAX_TYPED_DEPTH => {
                Err(ser::Error::custom(ArgsError::depth(MAX_TYPED_DEPTH)))
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(nested)),
            Value::Object(map) => {
                serializer.collect_map(map.iter().map(|(key, value)| (key, nested(value))))
            }
        }
    }
}

impl Serialize for Number {
    /// Numbers that no Rust type holds exactly go through serde_json's raw values.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(value) = self.as_u64() {
            return serializer.serialize_u64(value);
        }
        if let Some(value) = self.as_i64() {
            return serializer.serialize_i64(value);
        }
        match self.token() {
            Some(token) => {
                let raw = RawValue::from_string(token.to_owned()).map_err(ser::Error::custom)?;
                raw.serialize(serializer)
            }
            None => serializer.serialize_f64(self.as_f64()),
        }
    }
}

/// Turns anything serialisable into a tree; bytes become [`Value::Binary`].
pub(crate) fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, ArgsError> {
    value.serialize(ToValue)
}

struct ToValue;

type Made = Result<Value, ArgsError>;

fn tagged(variant: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(variant, value)]))
}

impl Serializer for ToValue {
    type Ok = Value;
    type Error = ArgsError;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Items;
    type SerializeMap = Entries;
    type SerializeStruct = Entries;
    type SerializeStructVariant = Entries;

    fn serialize_bool(self, value: bool) -> Made {
        Ok(value.into())
    }

    fn serialize_i8(self, value: i8) -> Made {
        Ok(value.into())
    }

    fn serialize_i16(self, value: i16) -> Made {
        Ok(value.into())
    }

    fn serialize_i32(self, value: i32) -> Made {
        Ok(value.into())
    }

    fn serialize_i64(self, value: i64) -> Made {
        Ok(value.into())
    }

    fn serialize_i128(self, value: i128) -> Made {
        Ok(Value::Number(Number::from_token(&value.to_string())))
    }

    fn serialize_u8(self, value: u8) -> Made {
        Ok(value.into())
    }

    fn serialize_u16(self, value: u16) -> Made {
        Ok(value.into())
    }

    fn serialize_u32(self, value: u32) -> Made {
        Ok(value.into())
    }

    fn serialize_u64(self, value: u64) -> Made {
        Ok(value.into())
    }

    fn serialize_u128(self, value: u128) -> Made {
        Ok(Value::Number(Number::from_token(&value.to_string())))
    }

    fn serialize_f32(self, value: f32) -> Made {
        Ok(value.into())
    }

    fn serialize_f64(self, value: f64) -> Made {
        Ok(value.into())
    }

    fn serialize_char(self, value: char) -> Made {
        Ok(Value::String(value.into()))
    }

    fn serialize_str(self, value: &str) -> Made {
        Ok(value.into())
    }

    fn serialize_bytes(self, value: &[u8]) -> Made {
        Ok(Value::Binary(Bytes::copy_from_slice(value)))
    }

    fn serialize_none(self) -> Made {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Made {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Made {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Made {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Made {
        Ok(variant.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Made {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Made {
        Ok(tagged(variant, value.serialize(self)?))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items, ArgsError> {
        Ok(Items {
            items: Vec::new(),
            variant: None,
        })
    }

    fn serialize_tuple(self, _: usize) -> Result<Items, ArgsError> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Items, ArgsError> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Items, ArgsError> {
        Ok(Items {
            items: Vec::new(),
            variant: Some(variant),
        })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Entries, ArgsError> {
        Ok(Entries::default())
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Entries, ArgsError> {
        Ok(Entries {
            raw: name == RAW_VALUE,
            ..Entries::default()
        })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Entries, ArgsError> {
        Ok(Entries {
            variant: Some(variant),
            ..Entries::default()
        })
    }
}

struct Items {
    items: Vec<Value>,
    variant: Option<&'static str>,
}

impl Items {
    fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ArgsError> {
        self.items.push(value.serialize(ToValue)?);
        Ok(())
    }

    fn finish(self) -> Value {
        let array = Value::Array(self.items);
        match self.variant {
            Some(variant) => tagged(variant, array),
            None => array,
        }
    }
}

macro_rules! items {
    ($($trait:ident :: $method:ident),*) => {$(
        impl ser::$trait for Items {
            type Ok = Value;
            type Error = ArgsError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ArgsError> {
                self.add(value)
            }

            fn end(self) -> Made {
                Ok(self.finish())
            }
        }
    )*};
}
items!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

#[derive(Default)]
struct Entries {
    map: Map,
    key: String,
    variant: Option<&'static str>,
    /// Raw JSON text in disguise.
    raw: bool,
}

impl Entries {
    fn add<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), ArgsError> {
        self.map.push(key.to_owned(), value.serialize(ToValue)?);
        Ok(())
    }

    fn finish(self) -> Made {
        if self.raw {
            let text = self.map.iter().next().and_then(|(_, text)| text.as_str());
            return Value::from_json(text.unwrap_or_default(), &[]).map_err(ArgsError::serialize);
        }
        let object = Value::Object(self.map);
        Ok(match self.variant {
            Some(variant) => tagged(variant, object),
            None => object,
        })
    }
}

impl ser::SerializeMap for Entries {
    type Ok = Value;
    type Error = ArgsError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ArgsError> {
        self.key = match key.serialize(ToValue)? {
            Value::String(text) => text,
            Value::Number(number) if number.is_integer() => number.to_string(),
            Value::Bool(value) => value.to_string(),
            _ => return Err(unfit("a key has to be a string")),
        };
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ArgsError> {
        let key = std::mem::take(&mut self.key);
        self.add(&key, value)
    }

    fn end(self) -> Made {
        self.finish()
    }
}

macro_rules! entries {
    ($($trait:ident),*) => {$(
        impl ser::$trait for Entries {
            type Ok = Value;
            type Error = ArgsError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), ArgsError> {
                self.add(key, value)
            }

            fn end(self) -> Made {
                self.finish()
            }
        }
    )*};
}
entries!(SerializeStruct, SerializeStructVariant);

fn unfit(message: impl Display) -> ArgsError {
    ArgsError::serialize(message)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Serialize;

    use super::*;
    use crate::socketio::Binary;

    #[derive(Serialize)]
    enum Shape {
        Unit,
        New(u8),
        Tuple(u8, i64),
        Struct { a: Option<f64> },
    }

    /// serde_json is the judge of how Rust types look in JSON.
    #[test]
    fn types_look_as_in_serde_json() {
        let shapes = [
            Shape::Unit,
            Shape::New(1),
            Shape::Tuple(2, -3),
            Shape::Struct { a: Some(0.5) },
        ];
        let map = BTreeMap::from([(1_u32, 'x'), (2, 'y')]);
        let all = (
            shapes,
            map,
            (),
            None::<u8>,
            u128::MAX,
            i8::MIN,
            "text",
            [true],
        );
        let value = to_value(&all).unwrap();
        assert_eq!(value.to_json(), serde_json::to_string(&all).unwrap());
    }

    #[test]
    fn big_numbers_and_raw_values_keep_their_digits() {
        let text = r#"[123456789012345678901234567890,1.10,-0,{"a":1e400}]"#;
        let value = Value::from_json(text, &[]).unwrap();
        assert_eq!(serde_json::to_string(&value).unwrap(), text);
        assert_eq!(to_value(&value).unwrap().to_json(), text);
        let raw: Box<RawValue> = serde_json::from_str(text).unwrap();
        assert_eq!(to_value(&raw).unwrap(), value);
    }

    #[test]
    fn bytes_stay_binary_and_keys_are_strings() {
        let value = to_value(&BTreeMap::from([("b", Binary::from(vec![1]))])).unwrap();
        assert_eq!(value["b"].as_binary().unwrap(), &[1][..]);
        assert!(
            to_value(&BTreeMap::from([((1, 2), 3)]))
                .unwrap_err()
                .is_serialize()
        );
    }

    #[test]
    fn serde_has_the_narrower_depth() {
        let nested = |depth: usize| {
            let text = "[".repeat(depth) + &"]".repeat(depth);
            serde_json::to_string(&Value::from_json(&text, &[]).unwrap())
        };
        assert!(nested(128).is_ok());
        assert!(nested(129).unwrap_err().to_string().contains("128 levels"));
    }
}
