//! WebSocket (RFC 6455) on this machine: a server's side that a handler opens, a client's side that writes what it says
//! to the trace, and a raw one for frames that no library would send.
//!
//! The frames are tungstenite's; what it doesn't hold clients to, the module `guard` does.

use crate::Lab;
use crate::listen::Order;
use anyhow::{Context, Result, ensure};
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use futures::{SinkExt, StreamExt};
use guard::{Guarded, Violation};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message as Frame};

mod guard;
mod raw;

pub use raw::{RawFrame, RawSocket};

/// Bytes that a message may have, in all its frames, unless told otherwise.
pub const LARGEST_MESSAGE: usize = 16 << 20;
/// How long one side waits for the other's part of a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a server that has closed waits for its client to do so, and how much it reads meanwhile: a connection that
/// is closed with unread bytes is reset, and a reset may overtake the close frame.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 64 << 20;

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Text(String),
    Binary(Vec<u8>),
    /// The answer to [`Socket::ping`].
    Pong,
}

/// Nothing can be said any more: the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the WebSocket is closed")]
pub struct Closed;

/// A handshake that a handler can accept: an argument of the handler. It is refused by itself, before the handler
/// runs, where it isn't one (RFC 6455, section 4.2): 405 to another method than GET, 400 where something lacks or is
/// malformed, 426 with the version that we speak to another version, or to no wish for a WebSocket at all.
#[derive(Debug)]
pub struct Handshake {
    key: HeaderValue,
    offered: Vec<String>,
    upgrade: OnUpgrade,
    talks: Talks,
    subprotocol: Option<HeaderValue>,
    largest_message: usize,
}

impl Handshake {
    /// The subprotocols that the client offers, the best first.
    pub fn offered(&self) -> &[String] {
        &self.offered
    }

    /// Chooses one of the offered subprotocols; one that wasn't offered is ignored, since the client would have to
    /// fail the connection (section 4.1).
    pub fn subprotocol(mut self, chosen: &str) -> Self {
        if self.offered.iter().any(|it| it == chosen) {
            self.subprotocol = HeaderValue::from_str(chosen).ok();
        }
        self
    }

    /// Closes with 1009 where a message has more bytes.
    pub fn largest_message(mut self, bytes: usize) -> Self {
        self.largest_message = bytes;
        self
    }

    /// Accepts, and lets `talk` have the socket once the answer is through. The talk ends with the server.
    pub fn accept<F>(self, talk: impl FnOnce(Socket) -> F + Send + 'static) -> Response
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let accepted = derive_accept_key(self.key.as_bytes());
        let (upgrade, largest) = (self.upgrade, self.largest_message);
        self.talks.put(Box::new(move |orders| {
            Box::pin(async move {
                if let Ok(Ok(upgraded)) = timeout(HANDSHAKE, upgrade).await {
                    talk(Socket::served(upgraded, largest, orders).await).await;
                }
            })
        }));
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        // Base64 is always a header's value.
        if let Ok(accepted) = HeaderValue::try_from(accepted) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accepted);
        }
        if let Some(chosen) = self.subprotocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, chosen);
        }
        response
    }
}

impl<S: Sync> FromRequestParts<S> for Handshake {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let key = key(parts).map_err(refuse)?;
        let upgrade = parts.extensions.remove::<OnUpgrade>();
        let talks = parts.extensions.get::<Talks>().cloned();
        // Only a server of a lab's can let go of the connection.
        let (Some(upgrade), Some(talks)) = (upgrade, talks) else {
            return Err(refuse((StatusCode::BAD_REQUEST, "this connection can't be upgraded")));
        };
        let offered = words(&parts.headers, &header::SEC_WEBSOCKET_PROTOCOL).collect();
        Ok(Self { key, offered, upgrade, talks, subprotocol: None, largest_message: LARGEST_MESSAGE })
    }
}

/// The key of a request that is a client's opening handshake to the letter of section 4.2.1.
fn key(parts: &Parts) -> Result<HeaderValue, (StatusCode, &'static str)> {
    let bad = |why| Err((StatusCode::BAD_REQUEST, why));
    let headers = &parts.headers;
    let says = |name, word: &str| words(headers, name).any(|it| it.eq_ignore_ascii_case(word));
    if parts.method != Method::GET {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "a WebSocket is opened by GET"));
    }
    if parts.version < Version::HTTP_11 {
        return bad("a WebSocket is opened by HTTP/1.1 or later");
    }
    if !says(&header::UPGRADE, "websocket") {
        return Err((StatusCode::UPGRADE_REQUIRED, "Upgrade doesn't say websocket"));
    }
    if !says(&header::CONNECTION, "upgrade") {
        return bad("Connection doesn't say Upgrade");
    }
    match single(headers, "sec-websocket-version") {
        Some(version) if version == "13" => {}
        Some(_) => return Err((StatusCode::UPGRADE_REQUIRED, "this is version 13 of the protocol")),
        None => return bad("Sec-WebSocket-Version has to be there once"),
    }
    match single(headers, "sec-websocket-key") {
        Some(key) if is_key(key.as_bytes()) => Ok(key.clone()),
        _ => bad("Sec-WebSocket-Key has to be there once, as the Base64 of 16 bytes"),
    }
}

fn refuse((status, why): (StatusCode, &'static str)) -> Response {
    let mut response = (status, format!("{why}\n")).into_response();
    let headers = response.headers_mut();
    match status {
        StatusCode::UPGRADE_REQUIRED => {
            // Section 4.4, and RFC 9110, section 15.5.22.
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
        }
        _ => {}
    }
    response
}

/// The words of a header's list.
fn words<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> impl Iterator<Item = String> + use<'a> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|word| word.trim().to_owned()).filter(|it| !it.is_empty())
}

fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a HeaderValue> {
    let mut all = headers.get_all(name).iter();
    all.next().filter(|_| all.next().is_none())
}

/// 16 bytes in Base64: 22 characters and the padding. The bits of the last character that belong to no byte may be set,
/// as they are in the example of section 4.1.
fn is_key(key: &[u8]) -> bool {
    let Some((body, b"==")) = key.split_last_chunk() else { return false };
    let is_letter = |it: &u8| it.is_ascii_alphanumeric() || matches!(it, b'+' | b'/');
    body.len() == 22 && body.iter().all(is_letter)
}

/// What is done with a connection after it was upgraded, once for each connection.
type Talk = Box<dyn FnOnce(watch::Receiver<Order>) -> BoxFuture<'static, ()> + Send>;

/// Where a handshake leaves its talk for the server, which owns the connection: what it talks ends with it.
#[derive(Clone, Default)]
pub(crate) struct Talks(Arc<Mutex<Option<Talk>>>);

impl Talks {
    fn put(&self, talk: Talk) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(talk);
    }

    pub fn take(&self) -> Option<Talk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl std::fmt::Debug for Talks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Talks")
    }
}

/// The server's side of a WebSocket. Pings are answered while it is read.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<Guarded<TokioIo<Upgraded>>>,
    orders: watch::Receiver<Order>,
}

impl Socket {
    async fn served(upgraded: Upgraded, largest_message: usize, orders: watch::Receiver<Order>) -> Self {
        let stream = Guarded::new(TokioIo::new(upgraded), largest_message);
        let config = config(largest_message);
        Self { stream: WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await, orders }
    }

    /// The next message; `None` once the connection is closed. A client that breaks the protocol is told so by a close
    /// frame (section 7.1.7), and a server that stops says 1001. Giving up the wait loses no message.
    pub async fn receive(&mut self) -> Option<Message> {
        loop {
            let read = tokio::select! {
                () = stopped(&mut self.orders) => None,
                read = self.stream.next() => Some(read),
            };
            let Some(read) = read else {
                self.say_close(1001, "the server stops").await;
                self.linger().await;
                return None;
            };
            match read {
                Some(Ok(Frame::Text(text))) => return Some(Message::Text(text.as_str().to_owned())),
                Some(Ok(Frame::Binary(bytes))) => return Some(Message::Binary(bytes.to_vec())),
                Some(Ok(Frame::Pong(_))) => return Some(Message::Pong),
                // The library answers both by itself when it is read on.
                Some(Ok(Frame::Ping(_) | Frame::Close(_) | Frame::Frame(_))) => {}
                Some(Err(error)) => {
                    if let Some(Violation { code, why }) = violation(&error) {
                        self.say_close(code, why).await;
                    }
                    self.linger().await;
                    return None;
                }
                None => {
                    self.linger().await;
                    return None;
                }
            }
        }
    }

    /// Sends a message, and waits while the client doesn't read: a caller bounds that.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn send(&mut self, text: impl Into<String>) -> Result<(), Closed> {
        self.stream.send(Frame::text(text.into())).await.map_err(|_| Closed)
    }

    /// Sends bytes, as [`Socket::send`] sends text.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn send_bytes(&mut self, bytes: Vec<u8>) -> Result<(), Closed> {
        self.stream.send(Frame::binary(bytes)).await.map_err(|_| Closed)
    }

    /// Asks for a sign of life: [`Message::Pong`].
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn ping(&mut self) -> Result<(), Closed> {
        self.stream.send(Frame::Ping(Vec::new().into())).await.map_err(|_| Closed)
    }

    /// Closes with a code and a reason (section 7.4), and waits for the client to close, two seconds at the most.
    pub async fn close(mut self, code: u16, reason: &str) {
        self.say_close(code, reason).await;
        let closes = async { while let Some(Ok(_)) = self.stream.next().await {} };
        let _ = timeout(LINGER, closes).await;
        self.linger().await;
    }

    async fn say_close(&mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        let _ = timeout(LINGER, self.stream.close(Some(frame))).await;
    }

    /// Closes the connection first, as a server should (section 7.1.1), and reads what is still under way.
    async fn linger(&mut self) {
        let stream = self.stream.get_mut().stream();
        let ends = async {
            let _ = stream.shutdown().await;
            let (mut left, mut buffer) = (LINGER_BYTES, vec![0; 16 << 10]);
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                left = left.saturating_sub(count);
                if left == 0 {
                    break;
                }
            }
        };
        let _ = timeout(LINGER, ends).await;
    }
}

/// Waits for the order to stop. One that is killed has no time for a last word: it is ended here, where it waits.
async fn stopped(orders: &mut watch::Receiver<Order>) {
    if orders.wait_for(|order| *order == Order::Stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn config(largest_message: usize) -> WebSocketConfig {
    // Nothing is kept back to be sent together with what follows.
    WebSocketConfig::default()
        .write_buffer_size(0)
        .read_buffer_size(16 << 10)
        .max_message_size(Some(largest_message))
        .max_frame_size(Some(largest_message))
}

fn violation(error: &Error) -> Option<Violation> {
    match error {
        Error::Io(error) => error.get_ref()?.downcast_ref().copied(),
        // None of these passes the guard; if one does after all, the client is told what the library says.
        Error::Protocol(_) => Some(Violation { code: 1002, why: "protocol error" }),
        Error::Capacity(_) => Some(Violation { code: 1009, why: "message too large" }),
        Error::Utf8(_) => Some(Violation { code: 1007, why: "text that isn't UTF-8" }),
        _ => None,
    }
}

/// A client's side of a WebSocket, which writes what is said to the trace.
#[derive(Debug)]
pub struct WebSocketClient {
    stream: WebSocketStream<TcpStream>,
    lab: Lab,
    name: String,
    peer: String,
    ended: Option<(u16, String)>,
}

/// A handshake that was answered with something else than 101.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the handshake was answered with {status}")]
pub struct NotOpened {
    pub status: StatusCode,
    pub headers: HeaderMap,
}

impl Lab {
    /// Opens a WebSocket, with headers besides those of the handshake. The inner error is the server's refusal.
    ///
    /// # Errors
    /// Nothing listens there, or what is answered within ten seconds is no HTTP.
    pub async fn websocket(
        &self,
        name: &str,
        to: impl Into<SocketAddr>,
        target: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Result<WebSocketClient, NotOpened>> {
        let addr = to.into();
        let peer = self.wire().peer(addr).name.to_string();
        let mut request = format!("ws://{addr}{target}").into_client_request()?;
        for (header, value) in headers {
            request.headers_mut().insert(*header, HeaderValue::from_str(value)?);
        }
        let stream = TcpStream::connect(addr).await.with_context(|| format!("connect to {peer}"))?;
        stream.set_nodelay(true)?;
        self.trace().message(name, &peer, format_args!("GET {target} (Upgrade: websocket)"));
        let opening =
            tokio_tungstenite::client_async_with_config(request, stream, Some(config(LARGEST_MESSAGE)));
        let opened = timeout(HANDSHAKE, opening).await.context("no answer to the handshake")?;
        match opened {
            Ok((stream, _)) => {
                self.trace().message(&peer, name, "101 Switching Protocols");
                let (lab, name) = (self.clone(), name.to_owned());
                Ok(Ok(WebSocketClient { stream, lab, name, peer, ended: None }))
            }
            Err(Error::Http(response)) => {
                let words = self.wire().answer_words(response.status(), response.headers());
                self.trace().refused(&peer, name, words);
                Ok(Err(NotOpened { status: response.status(), headers: response.headers().clone() }))
            }
            Err(error) => Err(error).with_context(|| format!("open a WebSocket to {peer}")),
        }
    }
}

impl WebSocketClient {
    /// The next message; `None` once the connection is closed or lost, and [`WebSocketClient::ended`] tells how. Pings
    /// are answered meanwhile. Giving up the wait loses no message.
    pub async fn receive(&mut self) -> Option<Message> {
        loop {
            match self.stream.next().await {
                Some(Ok(Frame::Text(text))) => {
                    self.heard(format_args!("text: {}", begins(text.as_str())));
                    return Some(Message::Text(text.as_str().to_owned()));
                }
                Some(Ok(Frame::Binary(bytes))) => {
                    self.heard(format_args!("binary: {} bytes", bytes.len()));
                    return Some(Message::Binary(bytes.to_vec()));
                }
                Some(Ok(Frame::Pong(_))) => {
                    self.heard("pong");
                    return Some(Message::Pong);
                }
                Some(Ok(Frame::Ping(_))) => {
                    self.heard("ping");
                    self.lab.trace().message(&self.name, &self.peer, "pong");
                }
                Some(Ok(Frame::Close(says))) => {
                    let says =
                        says.map_or((1005, String::new()), |it| (it.code.into(), it.reason.to_string()));
                    self.heard(format_args!("close {} {}", says.0, says.1));
                    self.ended.get_or_insert(says);
                }
                Some(Ok(Frame::Frame(_))) => {}
                Some(Err(_)) | None => {
                    // Section 7.1.5: what isn't closed by a frame has ended with 1006.
                    if self.ended.is_none() {
                        self.lab.trace().trouble(&self.name, "the connection is gone, without a close frame");
                    }
                    self.ended.get_or_insert((1006, String::new()));
                    return None;
                }
            }
        }
    }

    /// Sends text.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn send(&mut self, text: impl Into<String>) -> Result<(), Closed> {
        let text = text.into();
        self.lab.trace().message(&self.name, &self.peer, format_args!("text: {}", begins(&text)));
        self.stream.send(Frame::text(text)).await.map_err(|_| Closed)
    }

    /// Closes with 1000, and waits until the server has too.
    ///
    /// # Errors
    /// It hasn't after ten seconds.
    pub async fn close(&mut self) -> Result<()> {
        self.lab.trace().message(&self.name, &self.peer, "close 1000");
        let _ = self.stream.close(Some(CloseFrame { code: 1000.into(), reason: "".into() })).await;
        let closed = timeout(HANDSHAKE, async { while self.receive().await.is_some() {} }).await;
        ensure!(closed.is_ok(), "{} didn't close its WebSocket within {HANDSHAKE:?}", self.peer);
        Ok(())
    }

    /// With which code and reason the connection was closed; 1006 is that of a connection that was lost.
    pub fn ended(&self) -> Option<(u16, &str)> {
        self.ended.as_ref().map(|(code, reason)| (*code, reason.as_str()))
    }

    fn heard(&self, what: impl std::fmt::Display) {
        self.lab.trace().message(&self.peer, &self.name, what);
    }
}

/// How a text begins, as the trace shows it.
fn begins(text: &str) -> String {
    const SHOWN: usize = 24;
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown += &format!("… ({} bytes)", text.len());
    }
    shown
}
