//! A client of a run: it keeps connections alive, gives every request a deadline, and repeats nothing by itself.

use super::cookies::Jar;
use super::watched::{Came, Watched};
use super::{Peer, Wire, fate};
use crate::Lab;
use crate::gate::Gate;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a request may take unless told otherwise.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// Bytes that a body may have.
const LARGEST_BODY: usize = 16 << 20;

type Content = UnsyncBoxBody<Bytes, Infallible>;

/// Speaks HTTP/1.1 to one address. Cheap to clone; clones share connections and cookies.
#[derive(Debug, Clone)]
pub struct Client {
    wire: Wire,
    name: Arc<str>,
    addr: SocketAddr,
    idle: Arc<Mutex<Vec<Connection>>>,
    deadline: Duration,
    jar: Option<Jar>,
}

/// A connection that is kept alive, with the first bytes that came for its last request.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<Content>,
    came: Came,
}

/// A request that is sent when it is awaited: `client.post("/orders").json(&order).await?`.
#[must_use = "a request is sent when it is awaited"]
#[derive(Debug)]
pub struct Ask {
    client: Client,
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
    deadline: Duration,
    gate: Option<Gate>,
    broken: Option<String>,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A request to which no whole answer came: whether it was carried out is unknown, unless it was [`Why::Unreachable`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{server} gave {client} no answer to {request}: {why}")]
pub struct NoAnswer {
    pub client: String,
    pub server: String,
    /// Method and target: "POST /orders".
    pub request: String,
    pub why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Nothing accepts connections there; the request was not sent.
    #[error("nothing listens there")]
    Unreachable,
    /// The connection ended, or was reset, before the answer was complete.
    #[error("the connection was closed")]
    Closed,
    #[error("nothing came within {0:?}")]
    Deadline(Duration),
    /// What came isn't HTTP; how it begins.
    #[error("what came isn't an answer of HTTP/1.1 ({why}): `{began}`")]
    Garbled { why: String, began: String },
    /// The request can't be sent as it is.
    #[error("the request isn't valid: {0}")]
    Invalid(String),
}

impl Lab {
    /// A client under a name that the trace shows, for a server, a proxy or any other address.
    pub fn client(&self, name: &str, to: impl Into<SocketAddr>) -> Client {
        Client {
            wire: self.wire(),
            name: name.into(),
            addr: to.into(),
            idle: Arc::default(),
            deadline: DEADLINE,
            jar: None,
        }
    }
}

impl Client {
    pub fn get(&self, target: impl Into<String>) -> Ask {
        self.request(Method::GET, target)
    }

    pub fn post(&self, target: impl Into<String>) -> Ask {
        self.request(Method::POST, target)
    }

    pub fn put(&self, target: impl Into<String>) -> Ask {
        self.request(Method::PUT, target)
    }

    pub fn delete(&self, target: impl Into<String>) -> Ask {
        self.request(Method::DELETE, target)
    }

    /// A request of any method; the target is a path with its query: `/orders?page=2`.
    pub fn request(&self, method: Method, target: impl Into<String>) -> Ask {
        let deadline = self.deadline;
        Ask {
            client: self.clone(),
            method,
            target: target.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            gate: None,
            deadline,
            broken: None,
        }
    }

    /// The same client at another address, with connections of its own: behind a proxy, at another replica.
    pub fn to(&self, addr: impl Into<SocketAddr>) -> Self {
        Self { addr: addr.into(), idle: Arc::default(), ..self.clone() }
    }

    /// Gives each of its requests so long, instead of ten seconds.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Keeps cookies from now on, and sends them back; name, value, `Path` and `Max-Age` only.
    pub fn with_cookies(mut self) -> Self {
        self.jar = Some(Jar::default());
        self
    }

    /// The value of a cookie that it keeps.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.jar.as_ref()?.get(name)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Closes the connections that it keeps alive.
    pub fn hang_up(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A connection that is ready for a request: one that was kept alive, or a new one.
    async fn connection(&self) -> Result<Connection, Why> {
        loop {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut kept) = kept else { return self.connect().await };
            if kept.sender.ready().await.is_ok() {
                kept.came.forget();
                return Ok(kept);
            }
        }
    }

    async fn connect(&self) -> Result<Connection, Why> {
        let stream = TcpStream::connect(self.addr).await.map_err(|_| Why::Unreachable)?;
        let _ = stream.set_nodelay(true);
        let came = Came::default();
        let stream = Watched { stream, came: came.clone() };
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|_| Why::Closed)?;
        // It ends when its sender is dropped, or with the request in progress.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        sender.ready().await.map_err(|_| Why::Closed)?;
        Ok(Connection { sender, came })
    }
}

impl Ask {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Display) -> Self {
        match (name.parse::<http::HeaderName>(), HeaderValue::try_from(value.to_string())) {
            (Ok(name), Ok(value)) => drop(self.headers.append(name, value)),
            _ => self.broken = Some(format!("`{name}: {value}` is no header")),
        }
        self
    }

    /// Takes these headers for all that were set so far.
    pub fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.headers = headers;
        self
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends a value as JSON, as `Content-Type: application/json` unless another one was set.
    pub fn json(mut self, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(json) => self.body = json.into(),
            Err(error) => self.broken = Some(error.to_string()),
        }
        self.headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        self
    }

    /// How long this request may take, instead of the client's deadline.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Keeps the last byte of the body back until the gate is open, so that requests whose bytes went out earlier or
    /// later are whole in the same moment. A request without a body waits for nothing.
    pub fn last_byte_at(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    pub fn method(&self) -> &Method {
        &self.method
    }

    pub fn target(&self) -> &str {
        &self.target
    }

    /// The headers that were set, without `Host` and cookies.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// What is sent as its content.
    pub fn content(&self) -> &Bytes {
        &self.body
    }

    async fn send(self) -> Result<Reply, NoAnswer> {
        let peer = self.client.wire.peer(self.client.addr);
        let deadline = self.deadline;
        let outcome = timeout(deadline, self.exchange(&peer)).await.unwrap_or(Err(Why::Deadline(deadline)));
        let (wire, name) = (&self.client.wire, &self.client.name);
        match &outcome {
            Ok(reply) if !peer.traces => {
                let words = wire.answer_words(reply.status, &reply.headers);
                wire.trace.say(&peer.name, name, words, fate(reply.status));
            }
            Ok(_) => {}
            Err(why) => wire.trace.trouble(name, format_args!("no answer: {why}")),
        }
        outcome.map_err(|why| NoAnswer {
            client: name.to_string(),
            server: peer.name.to_string(),
            request: format!("{} {}", self.method, self.target),
            why,
        })
    }

    async fn exchange(&self, peer: &Peer) -> Result<Reply, Why> {
        let (client, trace) = (&self.client, &self.client.wire.trace);
        let words = client.wire.request_words(&self.method, &self.target, &self.headers);
        let connection = client.connection().await;
        match &connection {
            Ok(_) if peer.traces => {}
            Ok(_) => trace.message(&client.name, &peer.name, words),
            Err(_) => trace.lost(&client.name, &peer.name, words),
        }
        let (mut connection, mut request) = (connection?, self.build()?);
        let answer = loop {
            match connection.sender.try_send_request(request).await {
                Ok(answer) => break answer,
                // A kept connection had been closed before the first byte of the request went out.
                Err(mut error) => {
                    let why = connection.came.why(error.error());
                    request = error.take_message().ok_or(why)?;
                }
            }
            connection = client.connect().await?;
        };
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, LARGEST_BODY).collect().await;
        let body = body.map_err(|error| connection.came.why(&*error))?.to_bytes();
        client.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        if let Some(jar) = &client.jar {
            jar.keep(&self.target, &head.headers);
        }
        Ok(Reply { status: head.status, headers: head.headers, body })
    }

    fn build(&self) -> Result<Request<Content>, Why> {
        if let Some(broken) = &self.broken {
            return Err(Why::Invalid(broken.clone()));
        }
        let mut request = Request::new(self.framed());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() =
            self.target.parse().map_err(|error| Why::Invalid(format!("`{}`: {error}", self.target)))?;
        *request.headers_mut() = self.headers.clone();
        if self.gate.is_some() {
            request.headers_mut().insert(header::CONTENT_LENGTH, self.body.len().into());
        }
        let host =
            HeaderValue::try_from(self.client.addr.to_string()).map_err(|it| Why::Invalid(it.to_string()))?;
        request.headers_mut().entry(header::HOST).or_insert(host);
        if let Some(cookies) = self.client.jar.as_ref().and_then(|jar| jar.header(&self.target)) {
            request.headers_mut().insert(header::COOKIE, cookies);
        }
        Ok(request)
    }

    fn framed(&self) -> Content {
        let Some((gate, all_but_last)) = self.gate.clone().zip(self.body.len().checked_sub(1)) else {
            return UnsyncBoxBody::new(Full::new(self.body.clone()));
        };
        let (first, last) = (self.body.slice(..all_but_last), self.body.slice(all_but_last..));
        let held = stream::once(async move {
            // Where the others never come, this one goes alone; its answer tells.
            let _ = gate.pass().await;
            last
        });
        let frames = stream::iter([first]).chain(held).map(|bytes| Ok(Frame::data(bytes)));
        UnsyncBoxBody::new(StreamBody::new(frames))
    }
}

impl IntoFuture for Ask {
    type Output = Result<Reply, NoAnswer>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl Reply {
    /// The body read as JSON.
    ///
    /// # Errors
    /// It is something else; the message shows how it begins.
    pub fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let start: String = self.text().chars().take(200).collect();
            anyhow::anyhow!(
                "the body of a {} isn't the JSON that was expected: {error}; it begins `{start}`",
                self.status
            )
        })
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first value of a header, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
