//! Names of rooms, and the futures of room operations.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use sockeye_core::RoomError;

use crate::worker::Answer;

/// The name of a room.
pub type Room = Arc<str>;

/// One room, or several.
pub trait IntoRooms {
    /// The names.
    fn into_rooms(self) -> impl Iterator<Item = Room>;
}

impl IntoRooms for &str {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        std::iter::once(self.into())
    }
}

impl IntoRooms for String {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        std::iter::once(self.into())
    }
}

impl IntoRooms for &String {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        std::iter::once(self.as_str().into())
    }
}

impl IntoRooms for Room {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        std::iter::once(self)
    }
}

impl<T: Into<Room>> IntoRooms for Vec<T> {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.into_iter().map(Into::into)
    }
}

impl<T: AsRef<str>> IntoRooms for &[T] {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.iter().map(|room| room.as_ref().into())
    }
}

impl<T: Into<Room>, const N: usize> IntoRooms for [T; N] {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.into_iter().map(Into::into)
    }
}

/// Completes when a change of rooms is in force everywhere.
///
/// The change itself has been asked for already: dropping the future does not take it back.
pub struct RoomFuture(Answer<Result<(), RoomError>>);

impl RoomFuture {
    pub(crate) fn new(answer: Answer<Result<(), RoomError>>) -> Self {
        RoomFuture(answer)
    }

    /// It could not even be asked for.
    pub(crate) fn refused(error: RoomError) -> Self {
        RoomFuture(Answer::Ready(Some(Err(error))))
    }

    pub(crate) fn done() -> Self {
        RoomFuture(Answer::Ready(Some(Ok(()))))
    }
}

impl std::fmt::Debug for RoomFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RoomFuture")
    }
}

impl Future for RoomFuture {
    type Output = Result<(), RoomError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = std::task::ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(answer.unwrap_or(Err(RoomError::Gone)))
    }
}
