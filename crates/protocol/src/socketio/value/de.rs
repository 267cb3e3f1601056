//! Values out of serde, and any type of serde out of values.

use std::fmt;

use bytes::Bytes;
use serde::de::value::StrDeserializer;
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};

use super::{Map, Number, Value};
use crate::socketio::ArgsError;

/// How deep a value may be nested to go through serde, which recurses; serde_json's own limit.
pub(crate) const MAX_TYPED_DEPTH: usize = 128;

/// The name under which serde_json hands out raw JSON text.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// Reads typed values out of a tree. Binary is bytes to serde.
#[derive(Clone, Copy)]
pub(crate) struct ValueDeserializer<'de> {
    value: &'de Value,
    depth: usize,
}

impl<'de> ValueDeserializer<'de> {
    pub(crate) fn new(value: &'de Value) -> Self {
        Self { value, depth: 0 }
    }

    fn nested(self) -> Result<usize, ArgsError> {
        if self.depth == MAX_TYPED_DEPTH {
            return Err(ArgsError::depth(MAX_TYPED_DEPTH));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> Deserializer<'de> for ValueDeserializer<'de> {
    type Error = ArgsError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => visit_number(number, visitor),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Binary(bytes) => visitor.visit_borrowed_bytes(bytes),
            Value::Array(items) => {
                let mut items = Items {
                    items: items.iter(),
                    depth: self.nested()?,
                };
                let value = visitor.visit_seq(&mut items)?;
                match items.items.len() {
                    0 => Ok(value),
                    left => Err(ArgsError::deserialize(format_args!(
                        "{left} items too many"
                    ))),
                }
            }
            Value::Object(map) => {
                let entries = map.entries.iter();
                let mut entries = Entries {
                    entries,
                    value: None,
                    depth: self.nested()?,
                };
                visitor.visit_map(&mut entries)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        match self.value {
            Value::String(variant) => visitor.visit_enum(Variant {
                variant,
                value: None,
            }),
            Value::Object(map) if map.len() == 1 => {
                let (variant, value) = &map.entries[0];
                let value = Some(Self {
                    value,
                    depth: self.nested()?,
                });
                visitor.visit_enum(Variant { variant, value })
            }
            _ => Err(ArgsError::deserialize(
                "expected a string or an object with one key",
            )),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

fn visit_number<'de, V: Visitor<'de>>(number: &Number, visitor: V) -> Result<V::Value, ArgsError> {
    if let Some(value) = number.as_u64() {
        return visitor.visit_u64(value);
    }
    if let Some(value) = number.as_i64() {
        return visitor.visit_i64(value);
    }
    if let Some(token) = number.token() {
        if let Ok(value) = token.parse() {
            return visitor.visit_u128(value);
        }
        if let (Ok(value), false) = (token.parse(), token == "-0") {
            return visitor.visit_i128(value);
        }
    }
    visitor.visit_f64(number.as_f64())
}

struct Items<'de> {
    items: std::slice::Iter<'de, Value>,
    depth: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = ArgsError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ArgsError> {
        let Some(value) = self.items.next() else {
            return Ok(None);
        };
        seed.deserialize(ValueDeserializer {
            value,
            depth: self.depth,
        })
        .map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Entries<'de> {
    entries: std::slice::Iter<'de, (String, Value)>,
    value: Option<&'de Value>,
    depth: usize,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = ArgsError;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ArgsError> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        seed.deserialize(Key(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ArgsError> {
        // serde asks for the key first; a visitor that does not gets `null`.
        static NULL: Value = Value::Null;
        let value = self.value.take().unwrap_or(&NULL);
        seed.deserialize(ValueDeserializer {
            value,
            depth: self.depth,
        })
    }
}

/// A key: a string, or a number or boolean for maps keyed so.
struct Key<'de>(&'de str);

macro_rules! parsed_keys {
    ($($method:ident => $visit:ident),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
            match self.0.parse() {
                Ok(value) => visitor.$visit(value),
                Err(_) => visitor.visit_borrowed_str(self.0),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = ArgsError;

    parsed_keys! {
        deserialize_i8 => visit_i8, deserialize_i16 => visit_i16, deserialize_i32 => visit_i32,
        deserialize_i64 => visit_i64, deserialize_i128 => visit_i128, deserialize_u8 => visit_u8,
        deserialize_u16 => visit_u16, deserialize_u32 => visit_u32, deserialize_u64 => visit_u64,
        deserialize_u128 => visit_u128, deserialize_bool => visit_bool
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        visitor.visit_enum(Variant {
            variant: self.0,
            value: None,
        })
    }

    serde::forward_to_deserialize_any! {
        f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

struct Variant<'de> {
    variant: &'de str,
    value: Option<ValueDeserializer<'de>>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = ArgsError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), ArgsError> {
        let name: StrDeserializer<'de, ArgsError> = self.variant.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> Variant<'de> {
    fn content(self) -> Result<ValueDeserializer<'de>, ArgsError> {
        self.value
            .ok_or_else(|| ArgsError::deserialize("the variant has no content"))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = ArgsError;

    fn unit_variant(self) -> Result<(), ArgsError> {
        match self.value {
            None => Ok(()),
            Some(content) => <()>::deserialize(content),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, ArgsError> {
        seed.deserialize(self.content()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ArgsError> {
        self.content()?.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        self.content()?.deserialize_any(visitor)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // serde_json answers this name with the text itself, which keeps every digit and any
        // depth; other formats hand over their value as for any newtype.
        deserializer.deserialize_newtype_struct(RAW_VALUE, ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Number(Number::from_token(&value.to_string())))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Number(Number::from_token(&value.to_string())))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Binary(Bytes::copy_from_slice(bytes)))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Binary(bytes.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if key == RAW_VALUE {
                let text: String = entries.next_value()?;
                return Value::from_json(&text, &[]).map_err(de::Error::custom);
            }
            map.push(key, entries.next_value()?);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::socketio::Binary;

    fn from<T: for<'de> Deserialize<'de>>(json: &str) -> Result<T, ArgsError> {
        let value = Value::from_json(json, &[Bytes::from_static(b"bin")]).unwrap();
        T::deserialize(ValueDeserializer::new(&value))
    }

    #[derive(Deserialize, Debug, PartialEq)]
    enum Shape {
        Unit,
        New(u8),
        Tuple(u8, i64),
        Struct { a: Option<f64> },
    }

    #[derive(Deserialize, Debug, PartialEq)]
    struct Upload {
        name: String,
        #[serde(default)]
        tags: Vec<char>,
        file: Binary,
    }

    #[test]
    fn types_are_read() {
        assert_eq!(from::<Shape>("\"Unit\""), Ok(Shape::Unit));
        assert_eq!(from::<Shape>("{\"Unit\":null}"), Ok(Shape::Unit));
        assert_eq!(from::<Shape>("{\"New\":7}"), Ok(Shape::New(7)));
        assert_eq!(from::<Shape>("{\"Tuple\":[1,-2]}"), Ok(Shape::Tuple(1, -2)));
        assert_eq!(
            from::<Shape>("{\"Struct\":{\"a\":1.5}}"),
            Ok(Shape::Struct { a: Some(1.5) })
        );
        assert_eq!(
            from::<Shape>("{\"Struct\":{}}"),
            Ok(Shape::Struct { a: None })
        );
        assert_eq!(from("[1,null]"), Ok((1_u8, None::<String>)));
        assert_eq!(from("{\"1\":true}"), Ok(BTreeMap::from([(1_u16, true)])));
        assert_eq!(
            from("340282366920938463463374607431768211455"),
            Ok(u128::MAX)
        );
        assert_eq!(
            from("-170141183460469231731687303715884105728"),
            Ok(i128::MIN)
        );
        assert_eq!(from("1e2"), Ok(100.0_f64));
    }

    #[test]
    fn binary_is_found_inside() {
        let upload: Upload =
            from(r#"{"file":{"_placeholder":true,"num":0},"name":"x","more":[1]}"#).unwrap();
        assert_eq!(&*upload.file, b"bin");
        assert!(from::<Binary>("\"text\"").unwrap_err().is_deserialize());
        assert_eq!(from("[1,2]"), Ok(Binary::from(vec![1, 2])));
    }

    #[test]
    fn misfits_are_errors() {
        assert!(from::<u8>("300").is_err());
        assert!(from::<(u8,)>("[1,2]").is_err());
        assert!(from::<(u8, u8)>("[1]").is_err());
        assert!(from::<Shape>("{\"New\":1,\"Unit\":2}").is_err());
        assert!(from::<Shape>("\"New\"").is_err());
        assert!(from::<String>("null").unwrap_err().is_deserialize());
    }

    #[test]
    fn values_read_values() {
        let json = r#"{"a":[1,"x",null,true,0.5,-3]}"#;
        assert_eq!(from::<Value>(json).unwrap().to_json(), json);
        let big = r#"[123456789012345678901234567890.25,1e999]"#;
        assert_eq!(serde_json::from_str::<Value>(big).unwrap().to_json(), big);
        let deep = "[".repeat(200) + &"]".repeat(200);
        assert_eq!(
            serde_json::from_str::<Value>(&deep).unwrap().to_json(),
            deep
        );
        assert!(from::<Value>(&deep).unwrap_err().is_too_deep());
    }
}
