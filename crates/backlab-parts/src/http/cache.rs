//! A shared HTTP cache by RFC 9111, whose clock can be turned: it stores, serves, validates and invalidates as a cache in
//! front of an API does, and says of each request what it did. It can also be the cache of one user's browser.
//!
//! Where the RFC leaves a choice: it keeps whole responses to GET, and no parts of them; it honours request directives; it
//! serves what is stale only where the response or the request permits it (max-stale, and RFC 5861); it doesn't collapse
//! requests, so each one that finds nothing reaches the origin.

mod control;
mod flow;
mod reply;
mod store;
mod stored;
mod time;

#[cfg(test)]
mod tests;

use super::{Client, Server, Why};
use crate::Lab;
use crate::clock::Clock;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::response::IntoResponse;
use bytes::Bytes;
use flow::Outcome;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, StatusCode};
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::Store;
use tokio::sync::watch;

/// Requests of which a cache remembers what it did.
const REMEMBERED: usize = 4096;
/// Bytes that the body of a request may have.
const LARGEST_REQUEST: usize = 16 << 20;
/// How long [`Cache::settled`] waits.
const SETTLES: Duration = Duration::from_secs(10);

type Forward = Box<dyn Fn(Request<Bytes>) -> BoxFuture<'static, Result<Response<Bytes>, Why>> + Send + Sync>;

/// What a cache keeps and decides, without a socket of its own: [`Lab::http_cache`] puts one on the network. Cheap to
/// clone; clones share everything.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    name: String,
    /// Whether it serves many, as a proxy does, or one, as a browser's does.
    shared: bool,
    clock: Clock,
    forward: Forward,
    store: Mutex<Store>,
    handled: Mutex<VecDeque<Handled>>,
    /// The responses that are validated while they are served stale, by target and variant.
    validating: watch::Sender<BTreeSet<String>>,
}

/// What a cache did with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handled {
    /// Method and target: "GET /news".
    pub request: String,
    pub verdict: Verdict,
    /// The status that the client got.
    pub status: StatusCode,
    /// How old a response is that was used without asking, in whole seconds.
    pub age: Option<u64>,
    /// The status that the origin answered with, where it was asked and did answer.
    pub origin: Option<StatusCode>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Served while fresh; the origin wasn't asked.
    Hit,
    /// Served past its freshness, as the response or the request permits.
    Stale,
    /// Served from the cache after the origin said that it is still right (304).
    Revalidated,
    /// The origin's own answer, or an error in its place.
    Miss,
    /// Not for a cache to answer: another method, or a condition that only the origin can judge.
    Pass,
}

impl Cache {
    /// A shared cache, which asks the origin by `forward`. Where that fails, the client gets 504 if
    /// it took too long or if something is stored that may not be used instead, and 502 otherwise.
    pub fn new<F, R>(name: &str, clock: Clock, forward: F) -> Self
    where
        F: Fn(Request<Bytes>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Response<Bytes>, Why>> + Send + 'static,
    {
        Self::open(name, true, clock, Box::new(move |request| Box::pin(forward(request))))
    }

    /// The same for one user, as a browser has it: it may keep what is `private` or was asked for with Authorization, and
    /// s-maxage and proxy-revalidate don't concern it.
    pub fn of_one_user<F, R>(name: &str, clock: Clock, forward: F) -> Self
    where
        F: Fn(Request<Bytes>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Response<Bytes>, Why>> + Send + 'static,
    {
        Self::open(name, false, clock, Box::new(move |request| Box::pin(forward(request))))
    }

    fn open(name: &str, shared: bool, clock: Clock, forward: Forward) -> Self {
        Self(Arc::new(Inner {
            name: name.to_owned(),
            shared,
            clock,
            forward,
            store: Mutex::default(),
            handled: Mutex::default(),
            validating: watch::Sender::default(),
        }))
    }

    /// Answers a request, from what it has or by asking the origin, and says which.
    pub async fn answer(&self, request: Request<Bytes>) -> (Response<Bytes>, Handled) {
        let name = format!("{} {}", request.method(), request.uri());
        let outcome = self.decide(request).await;
        let handled = Handled {
            request: name,
            verdict: outcome.verdict,
            status: outcome.response.status(),
            age: outcome.age.map(|it| it.as_secs()),
            origin: outcome.origin,
        };
        let mut all = self.0.handled.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == REMEMBERED {
            all.pop_front();
        }
        all.push_back(handled.clone());
        (self.told(outcome), handled)
    }

    /// What it did with each request, oldest first; of very many requests with the newest.
    pub fn handled(&self) -> Vec<Handled> {
        self.0.handled.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// How many responses it keeps.
    pub fn kept(&self) -> usize {
        self.store().count()
    }

    /// Waits until no response is validated any more that a client was given stale.
    ///
    /// # Errors
    /// One still is after ten seconds.
    pub async fn settled(&self) -> anyhow::Result<()> {
        let mut validating = self.0.validating.subscribe();
        let settled = validating.wait_for(BTreeSet::is_empty);
        if tokio::time::timeout(SETTLES, settled).await.is_err() {
            anyhow::bail!("{} still waited for its origin after {SETTLES:?}", self.0.name);
        }
        Ok(())
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The response with what this cache says of it (RFC 9211).
    fn told(&self, outcome: Outcome) -> Response<Bytes> {
        let mut words = format!("\"{}\"", self.0.name.replace(['"', '\\'], ""));
        words.push_str(&match outcome.forwarded {
            None if outcome.age.is_some() => "; hit".to_owned(),
            None => "; detail=only-if-cached".to_owned(),
            Some(reason) => format!("; fwd={}", reason.word()),
        });
        if let (Some(_), Some(status)) = (outcome.forwarded, outcome.origin) {
            words.push_str(&format!("; fwd-status={}", status.as_u16()));
        }
        if let Some(ttl) = outcome.ttl {
            words.push_str(&format!("; ttl={ttl}"));
        }
        if outcome.stored {
            words.push_str("; stored");
        }
        let mut response = outcome.response;
        if let Ok(value) = HeaderValue::try_from(words) {
            response.headers_mut().append("cache-status", value);
        }
        response
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("name", &self.0.name)
            .field("kept", &self.kept())
            .finish_non_exhaustive()
    }
}

/// "hit: GET /news, 12 s old".
impl fmt::Display for Handled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.verdict, self.request)?;
        self.age.map_or(Ok(()), |age| write!(f, ", {age} s old"))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
            Self::Pass => "pass",
        })
    }
}

/// A cache on the network, in front of an origin; it and all its connections end when it is dropped.
#[derive(Debug)]
pub struct HttpCache {
    server: Server,
    cache: Cache,
}

impl Lab {
    /// Puts a shared cache in front of an origin, under a name that the trace shows beside what it did with each request.
    ///
    /// Needs a Tokio runtime.
    ///
    /// # Errors
    /// No socket can be had.
    pub fn http_cache(
        &self,
        name: &str,
        origin: impl Into<SocketAddr>,
        clock: Clock,
    ) -> anyhow::Result<HttpCache> {
        let client = self.client(name, origin);
        let cache = Cache::new(name, clock, move |request| ask(client.clone(), request));
        let (answering, trace, at) = (cache.clone(), self.trace().clone(), name.to_owned());
        let handler = async move |request: axum::extract::Request| {
            let (head, body) = request.into_parts();
            let Ok(body) = to_bytes(body, LARGEST_REQUEST).await else {
                return StatusCode::PAYLOAD_TOO_LARGE.into_response();
            };
            let (response, handled) = answering.answer(Request::from_parts(head, body)).await;
            trace.note(&at, &handled);
            response.map(Body::from)
        };
        Ok(HttpCache { server: self.serve(name, Router::new().fallback(handler))?, cache })
    }
}

/// Asks an origin on the network.
async fn ask(client: Client, request: Request<Bytes>) -> Result<Response<Bytes>, Why> {
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("/", |it| it.as_str());
    let asked = client.request(head.method, target).with_headers(head.headers).body(body);
    let reply = asked.await.map_err(|none| none.why)?;
    let mut response = Response::new(reply.body);
    (*response.status_mut(), *response.headers_mut()) = (reply.status, reply.headers);
    Ok(response)
}

impl HttpCache {
    /// What it keeps and decides.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// `http://127.0.0.1:PORT` and the path, for programs that aren't of this lab.
    pub fn url(&self, path: &str) -> String {
        self.server.url(path)
    }
}

impl From<&HttpCache> for SocketAddr {
    fn from(cache: &HttpCache) -> Self {
        cache.addr()
    }
}
