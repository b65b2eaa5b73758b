//! A server of a run: an axum router behind a socket of its own.

use crate::listen::{Listener, Order};
use crate::websocket::Talks;
use crate::{Lab, Trace};
use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower::ServiceExt;

/// A running server; it and all its connections end when it is dropped.
#[derive(Debug)]
pub struct Server {
    name: String,
    trace: Trace,
    listener: Listener,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    executed: Mutex<BTreeMap<String, u64>>,
    connections: AtomicU64,
}

impl Lab {
    /// Serves a router on 127.0.0.1, at a port that the kernel picks, under a name that the trace shows. Handlers can
    /// ask for [`ConnectInfo<SocketAddr>`](ConnectInfo).
    ///
    /// Needs a Tokio runtime.
    ///
    /// # Errors
    /// No socket can be had.
    pub fn serve(&self, name: &str, router: Router) -> Result<Server> {
        let counts = Arc::new(Counts::default());
        let router = router.layer(from_fn_with_state(counts.clone(), count));
        let counted = counts.clone();
        let converse = move |stream, peer, orders| {
            counted.connections.fetch_add(1, Ordering::Relaxed);
            let talk: futures::future::BoxFuture<'static, ()> =
                Box::pin(converse(router.clone(), stream, peer, orders));
            talk
        };
        let listener = Listener::open(name, self.trace(), Box::new(converse))?;
        self.wire().register(listener.addr(), name, false);
        Ok(Server { name: name.to_owned(), trace: self.trace().clone(), listener, counts })
    }
}

impl Server {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn addr(&self) -> SocketAddr {
        self.listener.addr()
    }

    /// `http://127.0.0.1:PORT` and the path, for programs that aren't of this lab.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr())
    }

    /// How many requests its handlers carried out to the end, by method and route: `executed()["POST /orders"]`. A
    /// request to a path without a route counts under the path `(no route)`.
    pub fn executed(&self) -> BTreeMap<String, u64> {
        self.counts.executed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests of one method and route its handlers carried out to the end: `"PUT /orders/{id}"`.
    pub fn executed_of(&self, method_and_route: &str) -> u64 {
        self.executed().get(method_and_route).copied().unwrap_or(0)
    }

    /// How many connections were opened to it so far.
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// Stops as a good server does: it accepts nothing new, finishes what is in progress, closes idle connections.
    ///
    /// # Errors
    /// A request is still in progress after ten seconds.
    pub async fn stop(&mut self) -> Result<()> {
        self.trace.note(&self.name, "stops: finishes what is in progress");
        self.listener.end(Order::Stop).await
    }

    /// Ends at once, as if the process had been killed: handlers stop where they stand, connections close.
    pub async fn kill(&mut self) -> Result<()> {
        self.trace.trouble(&self.name, "killed");
        self.listener.end(Order::Kill).await
    }
}

impl From<&Server> for SocketAddr {
    fn from(server: &Server) -> Self {
        server.addr()
    }
}

async fn count(State(counts): State<Arc<Counts>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("(no route)", MatchedPath::as_str);
    let key = format!("{} {route}", request.method());
    let response = next.run(request).await;
    *counts.executed.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
    response
}

async fn converse(router: Router, stream: TcpStream, peer: SocketAddr, mut orders: watch::Receiver<Order>) {
    let talks = Talks::default();
    let (left, further) = (talks.clone(), orders.clone());
    let answer = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(left.clone());
        router.clone().oneshot(request)
    });
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), answer);
    let mut connection = pin!(connection.with_upgrades());
    tokio::select! {
        _ = connection.as_mut() => {}
        _ = orders.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
    if let Some(talk) = talks.take() {
        talk(further).await;
    }
}
