//! Offsets as text: `<epoch>-<counter>` in base 36.

use super::sessions::Saved;
use crate::{NotRecovered, Offset};

/// Digits of a counter. More are used when they are needed, after 2.8 × 10¹² packets.
const WIDTH: usize = 8;
/// Digits of the greatest number.
const DIGITS: usize = 13;

/// The epoch's digits and the hyphen.
#[derive(Debug)]
pub(super) struct Epoch(Box<str>);

/// Where a returning client stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    pub(super) counter: u64,
    /// It has everything that was ever queued to its socket.
    pub(super) is_complete: bool,
}

impl Epoch {
    pub(super) fn new(epoch: u64) -> Self {
        let mut buffer = [0; DIGITS];
        let mut text = String::from(base36(epoch, 1, &mut buffer));
        text.push('-');
        Self(text.into())
    }

    pub(super) fn offset(&self, counter: u64) -> Offset {
        // At most 13 digits each and a hyphen: they fit, and an offset refuses none of them.
        Offset::joined(&self.0, base36(counter, WIDTH, &mut [0; DIGITS]))
    }

    /// The counter of an offset of this epoch, written exactly as this store writes it.
    pub(super) fn counter(&self, text: &str) -> Option<u64> {
        let digits = text.strip_prefix(&*self.0)?;
        let counter = u64::from_str_radix(digits, 36).ok()?;
        (self.offset(counter).as_str() == text).then_some(counter)
    }

    /// Judges what the client says against what the session knows.
    pub(super) fn position(
        &self,
        saved: &Saved,
        offset: Option<&str>,
    ) -> Result<Position, NotRecovered> {
        let counter_of = |offset: &Option<Offset>| {
            offset
                .as_ref()
                .and_then(|offset| self.counter(offset.as_str()))
        };
        let record = &saved.record;
        let last = counter_of(&record.last_offset);
        let counter = match offset {
            Some(text) => self.counter(text),
            None => counter_of(&record.connected_at),
        };
        let counter = counter.ok_or(NotRecovered::UnknownOffset)?;
        if offset.is_some() && last.is_some_and(|last| counter > last) {
            return Err(NotRecovered::UnknownOffset);
        }
        // Either it has the last one, or there was none and it knows of none.
        let is_complete = match offset {
            Some(_) => last == Some(counter),
            None => last.is_none(),
        };
        let left = counter_of(&record.left_at);
        if !is_complete && left.is_some_and(|left| counter < left) {
            return Err(NotRecovered::RoomsChanged);
        }
        Ok(Position {
            counter,
            is_complete,
        })
    }
}

/// The number with at least `width` digits.
fn base36(mut number: u64, width: usize, digits: &mut [u8; DIGITS]) -> &str {
    digits.fill(b'0');
    let mut at = DIGITS;
    while number > 0 {
        at -= 1;
        digits[at] = b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize];
        number /= 36;
    }
    // Only ASCII was put in, so this is never the fallback.
    std::str::from_utf8(&digits[at.min(DIGITS - width)..]).unwrap_or_default()
}
