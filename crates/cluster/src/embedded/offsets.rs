//! Offsets as text: `<epoch>-<counter>` in base 36.

use std::fmt::Write as _;

use super::sessions::Saved;
use crate::{NotRecovered, Offset};

/// Digits of a counter. More are used when they are needed, after 2.8 × 10¹² packets.
const WIDTH: usize = 8;

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
        let mut text = String::new();
        push_base36(&mut text, epoch, 1);
        Self(text.into())
    }

    pub(super) fn offset(&self, counter: u64) -> Offset {
        let mut text = String::with_capacity(self.0.len() + 1 + WIDTH);
        let _ = write!(text, "{}-", self.0); // writing to a string does not fail
        push_base36(&mut text, counter, WIDTH);
        // At most 13 digits each, none of which an offset refuses.
        text.parse().expect("digits and a hyphen are an offset")
    }

    /// The counter of an offset of this epoch, written exactly as this store writes it.
    pub(super) fn counter(&self, text: &str) -> Option<u64> {
        let digits = text.strip_prefix(&*self.0)?.strip_prefix('-')?;
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

fn push_base36(text: &mut String, mut number: u64, width: usize) {
    let mut digits = [b'0'; 13];
    let mut at = digits.len();
    while number > 0 {
        at -= 1;
        digits[at] = b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize];
        number /= 36;
    }
    let at = at.min(digits.len() - width);
    text.extend(digits[at..].iter().map(|digit| char::from(*digit)));
}
