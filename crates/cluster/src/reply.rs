//! An answer that may be there at once.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What a seam answers: a value that is there already, or a future of it.
///
/// The embedded engine's answers are always there, so that its callers need neither an allocation
/// nor a turn of the executor: ask [`into_ready`](Reply::into_ready) first and await the rest.
///
/// ```
/// use sockeye_cluster::Reply;
///
/// let reply = Reply::ready(5);
/// match reply.into_ready() {
///     Ok(value) => assert_eq!(value, 5),
///     Err(_later) => unreachable!("would be awaited"),
/// }
/// ```
#[must_use = "a pending reply does nothing unless awaited"]
pub struct Reply<T>(State<T>);

enum State<T> {
    Ready(T),
    Pending(Pin<Box<dyn Future<Output = T> + Send>>),
    Taken,
}

impl<T> Reply<T> {
    /// An answer that is there.
    pub fn ready(value: T) -> Self {
        Self(State::Ready(value))
    }

    /// An answer that comes later.
    pub fn pending(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(State::Pending(Box::pin(future)))
    }

    /// Whether [`into_ready`](Reply::into_ready) would give the value.
    pub fn is_ready(&self) -> bool {
        matches!(self.0, State::Ready(_))
    }

    /// The value if it is there.
    ///
    /// # Errors
    ///
    /// The reply itself, to be awaited.
    pub fn into_ready(self) -> Result<T, Self> {
        match self.0 {
            State::Ready(value) => Ok(value),
            state => Err(Self(state)),
        }
    }
}

// A value that is there is moved out by `poll`, so it is never pinned.
impl<T> Unpin for Reply<T> {}

impl<T> Future for Reply<T> {
    type Output = T;

    /// # Panics
    ///
    /// When polled again after it has completed, as futures may.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        if let State::Pending(future) = &mut self.0 {
            return future.as_mut().poll(context);
        }
        match std::mem::replace(&mut self.0, State::Taken) {
            State::Ready(value) => Poll::Ready(value),
            _ => panic!("a reply was polled after it had completed"),
        }
    }
}

impl<T> From<T> for Reply<T> {
    fn from(value: T) -> Self {
        Self::ready(value)
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            State::Ready(value) => f.debug_tuple("Reply::ready").field(value).finish(),
            State::Pending(_) => f.write_str("Reply::pending(..)"),
            State::Taken => f.write_str("Reply(completed)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn poll<T>(reply: &mut Reply<T>) -> Poll<T> {
        Pin::new(reply).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_value_that_is_there_comes_without_and_with_polling() {
        assert_eq!(Reply::ready(1).into_ready().ok(), Some(1));
        assert_eq!(poll(&mut Reply::ready(2)), Poll::Ready(2));
    }

    #[test]
    fn a_value_that_comes_later_is_handed_back_to_be_awaited() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let future = std::future::poll_fn(move |_| match receiver.try_recv() {
            Ok(value) => Poll::Ready(value),
            Err(_) => Poll::Pending,
        });
        // The receiver is Send but not Sync, which is all that a reply asks for.
        let mut reply = Reply::pending(future)
            .into_ready()
            .expect_err("not there yet");
        assert!(!reply.is_ready());
        assert_eq!(poll(&mut reply), Poll::Pending);
        sender.send(3).expect("the reply holds the receiver");
        assert_eq!(poll(&mut reply), Poll::Ready(3));
    }
}
