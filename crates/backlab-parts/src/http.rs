//! HTTP/1.1 on this machine: servers and clients that write what they say to the trace.
//!
//! Names come from the lab: a server registers its address under its name, so that a client's messages name whom it
//! speaks to, and a [`Proxy`](crate::proxy::Proxy) in between writes the messages that go through it, since only it
//! knows which of them were lost.

use crate::{Fate, Lab, Trace};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

pub mod cache;
mod client;
mod cookies;
mod events;
mod server;
mod watched;

pub use cache::{Cache, Handled, HttpCache, Verdict};
pub use client::{Ask, Client, NoAnswer, Reply, Why};
pub use events::{EventSource, ServerSent};
pub use server::Server;

/// What a run's HTTP parts write to, and what they know of each other.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    pub trace: Trace,
    names: Arc<Names>,
}

#[derive(Debug, Default)]
pub(crate) struct Names {
    peers: Mutex<BTreeMap<SocketAddr, Peer>>,
    shown: Mutex<Vec<HeaderName>>,
}

/// Who is behind an address.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub name: Arc<str>,
    /// The one at this address writes the messages of both directions itself, and a client keeps silent.
    pub traces: bool,
}

impl Lab {
    /// Names what listens at an address, for the messages that are sent to it; servers of this lab name themselves.
    pub fn name_address(&self, addr: SocketAddr, name: &str) {
        self.wire().register(addr, name, false);
    }

    /// Headers that the trace shows with their values, in requests and in answers: `lab.show_headers(["ETag"])`.
    /// Names that are no header's are ignored.
    pub fn show_headers<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let names = names.into_iter().filter_map(|name| name.parse().ok());
        self.names().shown.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
    }

    pub(crate) fn wire(&self) -> Wire {
        Wire { trace: self.trace().clone(), names: self.names().clone() }
    }
}

impl Wire {
    pub fn register(&self, addr: SocketAddr, name: &str, traces: bool) {
        let peer = Peer { name: name.into(), traces };
        self.names.peers.lock().unwrap_or_else(PoisonError::into_inner).insert(addr, peer);
    }

    pub fn peer(&self, addr: SocketAddr) -> Peer {
        let peers = self.names.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.get(&addr).cloned().unwrap_or_else(|| Peer { name: addr.to_string().into(), traces: false })
    }

    /// A request as the trace shows it: "PUT /orders/7 (If-Match: "a")".
    pub fn request_words(&self, method: &Method, target: &str, headers: &HeaderMap) -> String {
        format!("{method} {target}{}", self.shown(headers))
    }

    /// An answer as the trace shows it: "201 Created".
    pub fn answer_words(&self, status: StatusCode, headers: &HeaderMap) -> String {
        let reason = status.canonical_reason().unwrap_or_default();
        format!("{} {reason}{}", status.as_u16(), self.shown(headers))
    }

    fn shown(&self, headers: &HeaderMap) -> String {
        let shown = self.names.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let mut words = String::new();
        for name in shown.iter() {
            for value in headers.get_all(name) {
                let before = if words.is_empty() { " (" } else { ", " };
                let value = String::from_utf8_lossy(value.as_bytes());
                let _ = write!(words, "{before}{}: {value}", title_case(name));
            }
        }
        if !words.is_empty() {
            words.push(')');
        }
        words
    }
}

/// What lets a handler use `?`: any error becomes an answer of 500 that says what it was.
#[derive(Debug)]
pub struct Failed(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl axum::response::IntoResponse for Failed {
    fn into_response(self) -> axum::response::Response {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{:#}", self.0)).into_response()
    }
}

/// Whether an answer says that something went wrong.
pub(crate) fn fate(status: StatusCode) -> Fate {
    if status.is_client_error() || status.is_server_error() { Fate::Refused } else { Fate::Arrived }
}

/// `content-type` as RFCs write it: `Content-Type`, but `ETag` and `WWW-Authenticate`.
fn title_case(name: &HeaderName) -> String {
    match *name {
        http::header::ETAG => return "ETag".to_owned(),
        http::header::WWW_AUTHENTICATE => return "WWW-Authenticate".to_owned(),
        _ => {}
    }
    let mut start = true;
    let word = |c: char| {
        let cased = if start { c.to_ascii_uppercase() } else { c };
        start = c == '-';
        cased
    };
    name.as_str().chars().map(word).collect()
}
