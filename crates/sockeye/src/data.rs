//! The wrapper that marks a value as an argument.

use std::ops::{Deref, DerefMut};

/// One argument: as an extractor the next one of the event, as a return value the answer.
///
/// Each `Data<T>` of a handler takes the next argument, in order. A missing argument is `null`:
/// an error for most types, `None` for an `Option`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Data<T>(pub T);

impl<T> Deref for Data<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Data<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
