//! Numbers that keep every digit.

use std::fmt;

/// A number of any size and precision.
#[derive(Clone)]
pub struct Number(Repr);

#[derive(Clone)]
enum Repr {
    Unsigned(u64),
    /// Below zero.
    Signed(i64),
    Float(f64),
    /// A JSON token that none of the others writes the same way.
    Token(Box<str>),
}

impl Number {
    /// The number as `u64`, if it is exactly one.
    pub fn as_u64(&self) -> Option<u64> {
        match self.0 {
            Repr::Unsigned(value) => Some(value),
            _ => None,
        }
    }

    /// The number as `i64`, if it is exactly one.
    pub fn as_i64(&self) -> Option<i64> {
        match self.0 {
            Repr::Unsigned(value) => value.try_into().ok(),
            Repr::Signed(value) => Some(value),
            _ => None,
        }
    }

    /// The number as `f64`, rounded as JavaScript does; beyond its range infinite.
    pub fn as_f64(&self) -> f64 {
        match &self.0 {
            Repr::Unsigned(value) => *value as f64,
            Repr::Signed(value) => *value as f64,
            Repr::Float(value) => *value,
            // A JSON number is always a number in Rust's syntax.
            Repr::Token(token) => token.parse().unwrap_or(f64::NAN),
        }
    }

    /// From a valid JSON token.
    pub(super) fn from_token(token: &str) -> Self {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        match token.strip_prefix('-') {
            None if digits(token) => {
                if let Ok(value) = token.parse() {
                    return Self(Repr::Unsigned(value));
                }
            }
            Some(rest) if digits(rest) && rest != "0" => {
                if let Ok(value) = token.parse() {
                    return Self(Repr::Signed(value));
                }
            }
            _ => {}
        }
        Self(Repr::Token(token.into()))
    }

    /// Whether it is an integer of 64 bits.
    pub(super) fn is_integer(&self) -> bool {
        matches!(self.0, Repr::Unsigned(_) | Repr::Signed(_))
    }

    /// The token, when it is kept because nothing else writes it the same way.
    pub(super) fn token(&self) -> Option<&str> {
        match &self.0 {
            Repr::Token(token) => Some(token),
            _ => None,
        }
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self(Repr::Unsigned(value))
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        match value.try_into() {
            Ok(value) => Self(Repr::Unsigned(value)),
            Err(_) => Self(Repr::Signed(value)),
        }
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self(Repr::Float(value))
    }
}

impl From<f32> for Number {
    fn from(value: f32) -> Self {
        Self(Repr::Float(value.into()))
    }
}

macro_rules! from_integers {
    ($($type:ty as $wide:ty),*) => {$(
        impl From<$type> for Number {
            fn from(value: $type) -> Self {
                <$wide>::from(value).into()
            }
        }
    )*};
}
from_integers!(
    u8 as u64, u16 as u64, u32 as u64, i8 as i64, i16 as i64, i32 as i64
);

impl PartialEq for Number {
    /// Integers compare exactly, everything else as `f64`.
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Repr::Unsigned(a), Repr::Unsigned(b)) => a == b,
            (Repr::Signed(a), Repr::Signed(b)) => a == b,
            (Repr::Unsigned(_), Repr::Signed(_)) | (Repr::Signed(_), Repr::Unsigned(_)) => false,
            (Repr::Token(a), Repr::Token(b)) if a == b => true,
            _ => self.as_f64() == other.as_f64(),
        }
    }
}

impl fmt::Display for Number {
    /// The JSON token; what JSON has no number for (NaN, infinity) is `null`, as in JavaScript.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Unsigned(value) => value.fmt(f),
            Repr::Signed(value) => value.fmt(f),
            // Never fails for an f64.
            Repr::Float(value) => f.write_str(&serde_json::to_string(value).unwrap_or_default()),
            Repr::Token(token) => f.write_str(token),
        }
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_kept() {
        for token in [
            "0",
            "-1",
            "18446744073709551615",
            "-9223372036854775808",
            "18446744073709551616",
            "123456789012345678901234567890.5",
            "-0",
            "1.0",
            "1E400",
        ] {
            assert_eq!(Number::from_token(token).to_string(), token);
        }
        assert_eq!(Number::from_token("7").as_i64(), Some(7));
        assert_eq!(Number::from_token("-7").as_i64(), Some(-7));
        assert_eq!(Number::from_token("-7").as_u64(), None);
        assert_eq!(Number::from_token("18446744073709551615").as_i64(), None);
        assert_eq!(Number::from_token("1.5").as_f64(), 1.5);
        assert_eq!(Number::from_token("1e400").as_f64(), f64::INFINITY);
    }

    #[test]
    fn equality_is_numeric() {
        assert_eq!(Number::from(1), Number::from_token("1"));
        assert_eq!(Number::from(1.5), Number::from_token("15e-1"));
        assert_ne!(Number::from(-1), Number::from(1));
        assert_eq!(Number::from(f64::NAN).to_string(), "null");
    }
}
