//! A TCP proxy that is put between two parts to break what they say to each other, by count or by match, never by
//! chance.
//!
//! It follows a conversation as turns: a request begins with the first bytes from the client after an answer (or after
//! the connection was opened), an answer with the first bytes from the server after a request. That is right for
//! HTTP/1.1 without pipelining, and for every other protocol of questions and answers. Where a turn is HTTP the trace
//! shows it; of other protocols the trace shows only what was lost.

use crate::http::{Wire, fate};
use crate::listen::{Listener, Order};
use crate::{Fate, Lab};
use anyhow::{Result, bail};
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long a turn is held at the most, and how long [`Proxy::until_held`] waits.
const DEADLINE: Duration = Duration::from_secs(10);

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    Request,
    /// From the server to the client.
    Answer,
}

/// What goes wrong on the way, and how often. At most one fault is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    way: Way,
    act: Act,
    matching: String,
    left: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Forward,
    Cut,
    Swallow,
    Hold,
    Delay(Duration),
}

impl Fault {
    /// Everything is forwarded.
    pub fn none() -> Self {
        Self::new(Way::Request, Act::Forward).times(0)
    }

    /// As the turn's first bytes come in, none of them is forwarded, and the connection is closed to both sides. With
    /// [`Way::Answer`]: the server has done its work, and the client can't know.
    pub fn cut(way: Way) -> Self {
        Self::new(way, Act::Cut)
    }

    /// From this turn on, nothing more is forwarded this way; the connection stays open.
    pub fn swallow(way: Way) -> Self {
        Self::new(way, Act::Swallow)
    }

    /// The turn waits until [`Proxy::release`]; after ten seconds the connection is cut.
    pub fn hold(way: Way) -> Self {
        Self::new(way, Act::Hold)
    }

    /// The turn comes later by so much.
    pub fn delay(way: Way, by: Duration) -> Self {
        Self::new(way, Act::Delay(by))
    }

    /// Strikes so many turns, then no more; unless told otherwise all of them.
    pub fn times(mut self, times: u64) -> Self {
        self.left = times;
        self
    }

    /// Strikes only requests (and the answers to those) that begin so: "POST /orders", "DELETE".
    pub fn matching(mut self, request: impl Into<String>) -> Self {
        self.matching = request.into();
        self
    }

    fn new(way: Way, act: Act) -> Self {
        Self { way, act, matching: String::new(), left: u64::MAX }
    }
}

/// A running proxy; it and all its connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    listener: Listener,
    middle: Arc<Middle>,
}

#[derive(Debug)]
struct Middle {
    wire: Wire,
    client: String,
    server: String,
    to: SocketAddr,
    fault: Mutex<Fault>,
    connections: AtomicU64,
    struck: AtomicU64,
    bytes: [AtomicU64; 2],
    held: watch::Sender<Held>,
    /// Those that are under way, with some that have ended.
    conversations: Mutex<Vec<Weak<Conversation>>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Held {
    now: u64,
    releases: u64,
}

impl Lab {
    /// Puts a proxy in front of `to`, under the names of both ends. A client that is made for the proxy leaves it to
    /// the proxy to write their messages to the trace.
    ///
    /// Needs a Tokio runtime.
    ///
    /// # Errors
    /// No socket can be had.
    pub fn proxy(
        &self,
        client: &str,
        server: &str,
        to: impl Into<SocketAddr>,
        fault: Fault,
    ) -> Result<Proxy> {
        let middle = Arc::new(Middle {
            wire: self.wire(),
            client: client.to_owned(),
            server: server.to_owned(),
            to: to.into(),
            fault: Mutex::new(fault),
            connections: AtomicU64::new(0),
            struck: AtomicU64::new(0),
            bytes: Default::default(),
            held: watch::Sender::default(),
            conversations: Mutex::default(),
        });
        let shared = middle.clone();
        let converse = move |stream, _peer, orders| {
            shared.connections.fetch_add(1, Ordering::Relaxed);
            let carry: BoxFuture<'static, ()> = Box::pin(carry(shared.clone(), stream, orders));
            carry
        };
        let listener = Listener::open(&format!("proxy before {server}"), self.trace(), Box::new(converse))?;
        middle.wire.register(listener.addr(), server, true);
        Ok(Proxy { listener, middle })
    }
}

impl Proxy {
    pub fn addr(&self) -> SocketAddr {
        self.listener.addr()
    }

    /// Replaces the fault in force; what was struck before stays struck.
    pub fn set(&self, fault: Fault) {
        *self.middle.fault() = fault;
    }

    /// How many turns faults have struck so far: cut, swallowed, held or delayed.
    pub fn struck(&self) -> u64 {
        self.middle.struck.load(Ordering::SeqCst)
    }

    /// How many turns are held now.
    pub fn held(&self) -> u64 {
        self.middle.held.borrow().now
    }

    /// Waits until so many turns are held.
    ///
    /// # Errors
    /// Fewer are after ten seconds.
    pub async fn until_held(&self, turns: u64) -> Result<()> {
        let mut held = self.middle.held.subscribe();
        if timeout(DEADLINE, held.wait_for(|held| held.now >= turns)).await.is_err() {
            bail!("the proxy held only {} of {turns} messages after {DEADLINE:?}", self.held());
        }
        Ok(())
    }

    /// Lets go of all turns that are held now.
    pub fn release(&self) {
        self.middle.held.send_modify(|held| held.releases += 1);
    }

    /// How many connections were opened to it so far.
    pub fn connections(&self) -> u64 {
        self.middle.connections.load(Ordering::Relaxed)
    }

    /// How many bytes it has forwarded this way.
    pub fn bytes(&self, way: Way) -> u64 {
        self.middle.bytes[way as usize].load(Ordering::SeqCst)
    }

    /// Closes every connection that goes through it now, to both sides, and goes on listening. Returns how many.
    pub fn hang_up(&self) -> usize {
        self.middle.close("the connection is cut", |_| true)
    }

    /// Closes the connections on which nothing was said since the last call, or since they were opened: an idle timeout
    /// that goes by calls instead of seconds. Returns how many.
    pub fn close_idle(&self) -> usize {
        self.middle.close("the connection is closed as idle", |it| !it.spoke.swap(false, Ordering::SeqCst))
    }

    /// Closes every connection that goes through it, and listens no longer.
    pub async fn end(&mut self) -> Result<()> {
        self.listener.end(Order::Kill).await
    }
}

impl From<&Proxy> for SocketAddr {
    fn from(proxy: &Proxy) -> Self {
        proxy.addr()
    }
}

/// One conversation through the proxy.
#[derive(Debug)]
struct Conversation {
    middle: Arc<Middle>,
    turn: Mutex<Turn>,
    spoke: AtomicBool,
    end: CancellationToken,
}

#[derive(Debug, Default)]
struct Turn {
    way: Option<Way>,
    /// The request of this exchange in words; empty where it isn't HTTP.
    request: String,
}

/// The connection is to be closed to both sides.
struct Closed;

async fn carry(middle: Arc<Middle>, client: TcpStream, mut orders: watch::Receiver<Order>) {
    let Ok(server) = TcpStream::connect(middle.to).await else {
        middle.wire.trace.trouble(&middle.server, "nothing listens there");
        return;
    };
    let _ = server.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let talk = Arc::new(Conversation {
        turn: Mutex::default(),
        spoke: AtomicBool::new(false),
        end: CancellationToken::new(),
        middle,
    });
    talk.middle.conversations().push(Arc::downgrade(&talk));
    let both = async {
        tokio::try_join!(
            pump(&talk, Way::Request, from_client, to_server),
            pump(&talk, Way::Answer, from_server, to_client)
        )
    };
    tokio::select! {
        _ = both => {}
        () = talk.end.cancelled() => {}
        _ = orders.changed() => {}
    }
}

/// Carries bytes one way until their source ends.
async fn pump(
    talk: &Conversation,
    way: Way,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
) -> Result<(), Closed> {
    let mut buffer = vec![0; 16 << 10];
    let mut act = Act::Forward;
    loop {
        let count = from.read(&mut buffer).await.map_err(|_| Closed)?;
        // Nothing that is said after it was closed gets through, however late this task learns of it.
        if talk.end.is_cancelled() {
            return Err(Closed);
        }
        let bytes = &buffer[..count];
        talk.spoke.store(true, Ordering::SeqCst);
        if bytes.is_empty() {
            let _ = to.shutdown().await;
            return Ok(());
        }
        if let Some((words, struck)) = talk.begins(way, bytes) {
            // Who is cut off from one turn on stays so.
            if act != Act::Swallow {
                act = struck;
            }
            talk.meet(act, way, &words, bytes.len()).await?;
        }
        if act != Act::Swallow {
            // Whoever has read the bytes finds them counted.
            talk.middle.bytes[way as usize].fetch_add(bytes.len() as u64, Ordering::SeqCst);
            to.write_all(bytes).await.map_err(|_| Closed)?;
        }
    }
}

impl Conversation {
    /// If these bytes begin a turn: the turn in words, and what is to be done with it.
    fn begins(&self, way: Way, bytes: &[u8]) -> Option<(Option<Words>, Act)> {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if turn.way.replace(way) == Some(way) {
            return None;
        }
        let words = Words::read(&self.middle.wire, way, bytes);
        if way == Way::Request {
            turn.request = words.as_ref().map(|it| it.text.clone()).unwrap_or_default();
        }
        Some((words, self.middle.strike(way, &turn.request)))
    }

    /// Does with a turn what is to be done before its bytes go on, and writes what becomes of it.
    async fn meet(&self, act: Act, way: Way, words: &Option<Words>, bytes: usize) -> Result<(), Closed> {
        match act {
            Act::Forward | Act::Cut | Act::Swallow => {}
            Act::Hold => self.middle.hold().await?,
            Act::Delay(by) => tokio::time::sleep(by).await,
        }
        let Middle { wire, client, server, .. } = &*self.middle;
        let (from, to) = if way == Way::Request { (client, server) } else { (server, client) };
        match (act, words) {
            (Act::Cut | Act::Swallow, Some(words)) => wire.trace.lost(from, to, &words.text),
            (Act::Cut | Act::Swallow, None) => wire.trace.lost(from, to, format_args!("{bytes} bytes")),
            (_, Some(words)) => wire.trace.say(from, to, &words.text, words.fate),
            (_, None) => {}
        }
        if act == Act::Cut { Err(Closed) } else { Ok(()) }
    }
}

impl Middle {
    fn fault(&self) -> MutexGuard<'_, Fault> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn conversations(&self) -> MutexGuard<'_, Vec<Weak<Conversation>>> {
        self.conversations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the conversations that are chosen, and forgets those that have ended.
    fn close(&self, how: &str, chosen: impl Fn(&Conversation) -> bool) -> usize {
        let mut closed = 0;
        self.conversations().retain(|talk| {
            let Some(talk) = talk.upgrade() else { return false };
            if !chosen(&talk) {
                return true;
            }
            closed += 1;
            self.wire.trace.trouble(&self.client, how);
            talk.end.cancel();
            false
        });
        closed
    }

    fn strike(&self, way: Way, request: &str) -> Act {
        let mut fault = self.fault();
        if fault.way != way || fault.left == 0 || !request.starts_with(&fault.matching) {
            return Act::Forward;
        }
        fault.left -= 1;
        self.struck.fetch_add(1, Ordering::SeqCst);
        fault.act
    }

    async fn hold(&self) -> Result<(), Closed> {
        let mut held = self.held.subscribe();
        let releases = held.borrow_and_update().releases;
        let _held = Holding::begin(&self.held);
        match timeout(DEADLINE, held.wait_for(|held| held.releases > releases)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Closed),
        }
    }
}

/// One turn that is held; also when its connection ends it no longer is.
struct Holding<'a>(&'a watch::Sender<Held>);

impl<'a> Holding<'a> {
    fn begin(held: &'a watch::Sender<Held>) -> Self {
        held.send_modify(|held| held.now += 1);
        Self(held)
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|held| held.now -= 1);
    }
}

/// The first line of an HTTP message as the trace shows it.
struct Words {
    text: String,
    fate: Fate,
}

impl Words {
    /// `None` where the bytes don't begin an HTTP/1.x message.
    fn read(wire: &Wire, way: Way, bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.lines();
        let mut first = lines.next()?.split(' ');
        let headers = headers(lines);
        match way {
            Way::Request => {
                let (method, target, version) = (first.next()?, first.next()?, first.next()?);
                version.starts_with("HTTP/1.").then_some(())?;
                let method = Method::from_bytes(method.as_bytes()).ok()?;
                Some(Self { text: wire.request_words(&method, target, &headers), fate: Fate::Arrived })
            }
            Way::Answer => {
                first.next()?.starts_with("HTTP/1.").then_some(())?;
                let status = StatusCode::from_bytes(first.next()?.as_bytes()).ok()?;
                Some(Self { text: wire.answer_words(status, &headers), fate: fate(status) })
            }
        }
    }
}

/// The headers up to the empty line; of a head that came in pieces those of the first piece.
fn headers<'a>(lines: impl Iterator<Item = &'a str>) -> HeaderMap {
    lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value.trim()).ok()?))
        })
        .collect()
}
