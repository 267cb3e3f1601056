//! Handlers: async functions and closures whose arguments are extracted from an event.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;

use sockeye_protocol::socketio::Parser;

use crate::ack::{IntoReply, Reply};
use crate::extract::{Context, FromEvent};

/// The future of a handler.
pub(crate) type HandlerFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// A function that handles events.
///
/// Implemented for async functions and closures of up to eight arguments, each of which
/// implements [`FromEvent`], and whose result implements [`IntoReply`]. A closure that captures
/// gives each call its share: `move |args..| { let shared = shared.clone(); async move { .. } }`;
/// or it takes what is shared as [`State`](crate::State).
///
/// ```
/// use sockeye::{Data, EventError, Server, Socket};
///
/// let server = Server::new();
/// server.of("/").on("add", async |Data(a): Data<i64>, Data(b): Data<i64>| a + b);
/// server.of("/").on("say", async |socket: Socket, Data(text): Data<String>| {
///     if text.is_empty() {
///         return Err(EventError::bad_argument("say something"));
///     }
///     socket.broadcast().emit("said", text);
///     Ok(())
/// });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "not an async function of extractors",
    note = "a handler is an async closure or function; every argument must implement `FromEvent` \
            (`Socket`, `Data<T>`, `Args`, `Ack`, `EventName`, `State<T>` …) and the result `IntoReply`",
    note = "the future must be `Send`: hold no `Rc`, `RefCell` borrow or mutex guard across an `.await`"
)]
pub trait Handler<M>: Send + Sync + 'static {
    /// Calls the handler.
    fn call(&self, context: Context) -> Pin<Box<dyn Future<Output = Reply> + Send>>;
}

/// A handler without its type.
pub(crate) trait ErasedHandler: Send + Sync {
    fn call(&self, context: Context) -> HandlerFuture;
}

pub(crate) struct Erased<H, M>(pub(crate) H, pub(crate) std::marker::PhantomData<fn(M)>);

impl<H: Handler<M>, M: 'static> ErasedHandler for Erased<H, M> {
    fn call(&self, context: Context) -> HandlerFuture {
        self.0.call(context)
    }
}

/// What a handler does when its arguments cannot be extracted: it answers the error.
fn refuse(reply: Reply) -> HandlerFuture {
    Box::pin(std::future::ready(reply))
}

macro_rules! handlers {
    ($($arg:ident),*) => {
        #[allow(non_snake_case, unused_mut, unused_variables)]
        impl<F, Fut, $($arg,)*> Handler<(Fut, $($arg,)*)> for F
        where
            F: Fn($($arg),*) -> Fut + Send + Sync + 'static,
            Fut: Future + Send + 'static,
            Fut::Output: IntoReply,
            $($arg: FromEvent,)*
        {
            fn call(&self, mut context: Context) -> HandlerFuture {
                let parser: Parser = context.parser();
                $(
                    let $arg = match $arg::from_event(&mut context) {
                        Ok(value) => value,
                        Err(error) => return refuse(Reply::Error(error)),
                    };
                )*
                let acknowledged = context.ack_taken();
                let future = self($($arg),*);
                Box::pin(async move {
                    let reply = future.await.into_reply(parser);
                    match (&reply, &acknowledged) {
                        (Reply::Answer(_), Some(_)) => Reply::None,
                        (Reply::Error(_), Some(sent)) if sent.load(Ordering::Acquire) => Reply::None,
                        _ => reply,
                    }
                })
            }
        }
    };
}

handlers!();
handlers!(A);
handlers!(A, B);
handlers!(A, B, C);
handlers!(A, B, C, D);
handlers!(A, B, C, D, E);
handlers!(A, B, C, D, E, G);
handlers!(A, B, C, D, E, G, H);
handlers!(A, B, C, D, E, G, H, I);
