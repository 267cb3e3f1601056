//! Mounting into axum, hyper and everything else that speaks tower.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{Either, Full};
use tower_layer::Layer;
use tower_service::Service;

use crate::http::{handle, not_found};
use crate::server::Server;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The server as a [`Service`]: answers its own endpoints, and what is left with its fallback.
///
/// Polling requests are answered here; a connection that is upgraded is taken out of its host and
/// handed to the server's own workers.
#[derive(Clone, Debug)]
pub struct SockeyeService(Server);

/// The server as a [`Layer`]: answers its own endpoints, and leaves the rest to the inner service.
#[derive(Clone, Debug)]
pub struct SockeyeLayer(Server);

impl Server {
    /// The server as a tower service.
    pub fn service(&self) -> SockeyeService {
        SockeyeService(self.clone())
    }

    /// The server as a tower layer.
    pub fn layer(&self) -> SockeyeLayer {
        SockeyeLayer(self.clone())
    }
}

impl<B> Service<Request<B>> for SockeyeService
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = self.0.inner().clone();
        Box::pin(async move {
            Ok(match handle(server.clone(), request).await {
                Ok(answer) => answer,
                Err(request) => not_found(&server, request.map(|_| ())).await,
            })
        })
    }
}

impl<S> Layer<S> for SockeyeLayer {
    type Service = Layered<S>;

    fn layer(&self, inner: S) -> Layered<S> {
        Layered {
            server: self.0.clone(),
            inner,
        }
    }
}

/// What [`SockeyeLayer`] makes of a service.
#[derive(Clone, Debug)]
pub struct Layered<S> {
    server: Server,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Layered<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
{
    type Response = Response<Either<Full<Bytes>, R>>;
    type Error = S::Error;
    type Future = BoxFuture<Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = self.server.inner().clone();
        // The clone that is left behind has not been polled ready: the ready one is taken.
        let inner = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, inner);
        Box::pin(async move {
            match handle(server, request).await {
                Ok(answer) => Ok(answer.map(Either::Left)),
                Err(request) => Ok(inner.call(request).await?.map(Either::Right)),
            }
        })
    }
}
