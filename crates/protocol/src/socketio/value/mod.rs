//! Any argument as a tree.

mod de;
mod json;
mod msgpack;
mod number;
mod ser;

use std::fmt;

use bytes::Bytes;

pub(super) use de::{MAX_TYPED_DEPTH, ValueDeserializer};
pub(super) use json::{read as read_json, write as write_json};
pub(super) use msgpack::{read as read_msgpack, write as write_msgpack};
pub use number::Number;
pub(super) use ser::to_value;

/// Any value that can be an argument: JSON, plus binary.
///
/// Numbers keep every digit they came with, objects the order of their keys. It is built and
/// written without recursion, up to a depth of 1,000; as part of a typed value (through serde) up
/// to 128.
///
/// Escapes of lone surrogates, which a Rust string cannot hold, become U+FFFD here; arguments
/// that are passed on as [`Args`](super::Args) keep them.
#[derive(Clone, PartialEq, Default)]
pub enum Value {
    /// `null`; also JavaScript's `undefined`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string. Dates of the MessagePack parser are here too, in the form that JavaScript gives
    /// them in JSON.
    String(String),
    /// Binary.
    Binary(Bytes),
    /// An array.
    Array(Vec<Value>),
    /// An object.
    Object(Map),
}

impl Value {
    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The number as `u64`, if it is exactly one.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_number()?.as_u64()
    }

    /// The number as `i64`, if it is exactly one.
    pub fn as_i64(&self) -> Option<i64> {
        self.as_number()?.as_i64()
    }

    /// The number as `f64`, rounded as JavaScript does.
    pub fn as_f64(&self) -> Option<f64> {
        self.as_number().map(Number::as_f64)
    }

    /// The number, if it is one.
    pub fn as_number(&self) -> Option<&Number> {
        match self {
            Self::Number(number) => Some(number),
            _ => None,
        }
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes, if it is binary.
    pub fn as_binary(&self) -> Option<&Bytes> {
        match self {
            Self::Binary(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The items, if it is an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The object, if it is one.
    pub fn as_object(&self) -> Option<&Map> {
        match self {
            Self::Object(map) => Some(map),
            _ => None,
        }
    }

    /// The value of a key, if this is an object that has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_object()?.get(key)
    }

    /// Whether it is or holds binary.
    pub fn has_binary(&self) -> bool {
        let mut open = vec![self];
        while let Some(value) = open.pop() {
            match value {
                Self::Binary(_) => return true,
                Self::Array(items) => open.extend(items),
                Self::Object(map) => open.extend(map.iter().map(|(_, value)| value)),
                _ => {}
            }
        }
        false
    }

    /// The JSON text of this value. Binary becomes a base64 string, as JSON has nothing better.
    pub fn to_json(&self) -> String {
        let mut out = Vec::new();
        json::write(self, &mut out, None);
        // Written from strings and ASCII only.
        String::from_utf8(out).unwrap_or_default()
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

impl<K: AsRef<str>> std::ops::Index<K> for Value {
    type Output = Value;

    /// The value of a key; `null` when there is none.
    fn index(&self, key: K) -> &Value {
        static NULL: Value = Value::Null;
        self.get(key.as_ref()).unwrap_or(&NULL)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::String(value.into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::String(value)
    }
}

impl From<Bytes> for Value {
    fn from(value: Bytes) -> Self {
        Self::Binary(value)
    }
}

impl From<super::Binary> for Value {
    fn from(value: super::Binary) -> Self {
        Self::Binary(value.0)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Self::Array(items.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Self::Object(map)
    }
}

macro_rules! from_numbers {
    ($($type:ty),*) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::Number(value.into())
            }
        }
    )*};
}
from_numbers!(u8, u16, u32, u64, i8, i16, i32, i64, f32, f64);

/// An object: keys and values in the order in which they came.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Map {
    entries: Vec<(String, Value)>,
}

impl Map {
    /// An empty object.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a key; of equal keys the last, as in JavaScript.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries
            .iter()
            .rev()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value)
    }

    /// Sets a key; returns what it was before.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        let (key, value) = (key.into(), value.into());
        let known = self
            .entries
            .iter_mut()
            .rev()
            .find(|(known, _)| *known == key);
        if let Some((_, old)) = known {
            return Some(std::mem::replace(old, value));
        }
        self.entries.push((key, value));
        None
    }

    /// The entries in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> + DoubleEndedIterator {
        self.entries
            .iter()
            .map(|(key, value)| (key.as_str(), value))
    }

    /// Appends without looking for an equal key.
    fn push(&mut self, key: String, value: Value) {
        self.entries.push((key, value));
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let entries = entries
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()));
        Self {
            entries: entries.collect(),
        }
    }
}

impl IntoIterator for Map {
    type Item = (String, Value);
    type IntoIter = std::vec::IntoIter<(String, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

/// A container that is being filled, while a tree is built without recursion.
enum Frame {
    Array(Vec<Value>),
    /// The object, and the key whose value comes next.
    Object(Map, String),
}

impl Frame {
    fn add(&mut self, value: Value) {
        match self {
            Self::Array(items) => items.push(value),
            Self::Object(map, key) => map.push(std::mem::take(key), value),
        }
    }
}

/// An array.
impl FromIterator<Value> for Value {
    fn from_iter<I: IntoIterator<Item = Value>>(items: I) -> Self {
        Value::Array(items.into_iter().collect())
    }
}

/// An object.
impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Value {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(fields: I) -> Self {
        let mut map = Map::new();
        for (key, value) in fields {
            map.insert(key, value);
        }
        Value::Object(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_keep_order_and_the_last_of_equal_keys() {
        let value = Value::from_json(r#"{"b":1,"a":2,"b":3}"#, &[]).unwrap();
        assert_eq!(value["b"].as_u64(), Some(3));
        assert_eq!(value["none"], Value::Null);
        assert_eq!(value.to_json(), r#"{"b":1,"a":2,"b":3}"#);
        let mut map = Map::new();
        assert_eq!(map.insert("x", 1), None);
        assert_eq!(map.insert("x", true), Some(Value::from(1)));
        assert_eq!(Value::from(map).to_string(), r#"{"x":true}"#);
    }

    /// Trees of the greatest depth are cloned, compared, shown and dropped on the stack of an
    /// ordinary thread.
    #[test]
    fn the_greatest_depth_is_harmless() {
        let work = || {
            let text = "[".repeat(1_000) + &"]".repeat(1_000);
            let value = Value::from_json(&text, &[]).unwrap();
            let copy = value.clone();
            assert_eq!(copy, value);
            assert_eq!(format!("{copy:?}"), text);
            assert!(!copy.has_binary());
        };
        let stack = std::thread::Builder::new().stack_size(1 << 20);
        stack.spawn(work).unwrap().join().unwrap();
    }
}
