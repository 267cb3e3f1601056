//! Acknowledgements: what a handler answers, and how.

use bytes::Bytes;
use serde::Serialize;
use sockeye_protocol::socketio::{Args, ArgsError, Binary, Parser, ToArgs, Value};

use crate::data::Data;
use crate::error::EventError;

/// What a handler's return value says to the client that asked for an acknowledgement.
#[derive(Debug)]
pub enum Reply {
    /// Answer with these arguments.
    Answer(Args),
    /// Answer with `{"error":{"code","message","data"}}`.
    Error(EventError),
    /// Do not answer: nobody does, or somebody else will.
    None,
}

/// A handler's return value that answers nothing of itself.
///
/// Without it, a handler that returns `()` acknowledges with no arguments.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NoAck;

/// Types that a handler may return: they become the acknowledgement.
///
/// | returned | acknowledged with |
/// | --- | --- |
/// | `()` | no arguments |
/// | [`NoAck`] | nothing: no acknowledgement is sent |
/// | `String`, `&str`, numbers, `bool`, `Vec<T>`, [`Value`], [`Binary`], [`Data<T>`] | that one argument |
/// | a tuple of serialisable values | one argument for each |
/// | [`Args`] | these arguments, byte for byte |
/// | `Option<T>` | `T`, or nothing for `None` |
/// | `Result<T, E>` | `T`, or `{"error":{"code","message","data"}}` |
///
/// Any serialisable type of yours is returned as `Data(value)`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an acknowledgement",
    label = "a handler may not return this",
    note = "return `()`, `NoAck`, a tuple, `Result<_, EventError>`, or wrap a serialisable value: `Data(value)`"
)]
pub trait IntoReply {
    /// Makes the reply, for the parser in use.
    fn into_reply(self, parser: Parser) -> Reply;
}

fn answer(args: Result<Args, ArgsError>) -> Reply {
    args.map_or_else(
        |error| Reply::Error(EventError::internal(error)),
        Reply::Answer,
    )
}

impl IntoReply for Reply {
    fn into_reply(self, _: Parser) -> Reply {
        self
    }
}

impl IntoReply for () {
    fn into_reply(self, _: Parser) -> Reply {
        Reply::Answer(Args::new())
    }
}

impl IntoReply for NoAck {
    fn into_reply(self, _: Parser) -> Reply {
        Reply::None
    }
}

impl IntoReply for Args {
    fn into_reply(self, _: Parser) -> Reply {
        Reply::Answer(self)
    }
}

impl<T: Serialize> IntoReply for Data<T> {
    fn into_reply(self, parser: Parser) -> Reply {
        answer((self.0,).to_args(parser))
    }
}

impl<T: IntoReply> IntoReply for Option<T> {
    fn into_reply(self, parser: Parser) -> Reply {
        self.map_or(Reply::None, |reply| reply.into_reply(parser))
    }
}

impl<T: IntoReply, E: Into<EventError>> IntoReply for Result<T, E> {
    fn into_reply(self, parser: Parser) -> Reply {
        match self {
            Ok(reply) => reply.into_reply(parser),
            Err(error) => Reply::Error(error.into()),
        }
    }
}

impl<T: Serialize> IntoReply for Vec<T> {
    fn into_reply(self, parser: Parser) -> Reply {
        answer((self,).to_args(parser))
    }
}

impl IntoReply for Bytes {
    fn into_reply(self, parser: Parser) -> Reply {
        answer((Binary(self),).to_args(parser))
    }
}

macro_rules! one_argument {
    ($($type:ty),* $(,)?) => {$(
        impl IntoReply for $type {
            fn into_reply(self, parser: Parser) -> Reply {
                answer((self,).to_args(parser))
            }
        }
    )*};
}

one_argument!(
    bool,
    i8,
    i16,
    i32,
    i64,
    u8,
    u16,
    u32,
    u64,
    isize,
    usize,
    f32,
    f64,
    char,
    String,
    &'static str,
    Value,
    Binary,
    serde_json::Value,
);

macro_rules! tuples {
    ($($name:ident),*) => {
        impl<$($name: Serialize),*> IntoReply for ($($name,)*) {
            fn into_reply(self, parser: Parser) -> Reply {
                answer(self.to_args(parser))
            }
        }
    };
}

tuples!(A);
tuples!(A, B);
tuples!(A, B, C);
tuples!(A, B, C, D);
tuples!(A, B, C, D, E);
tuples!(A, B, C, D, E, F);
tuples!(A, B, C, D, E, F, G);
tuples!(A, B, C, D, E, F, G, H);
