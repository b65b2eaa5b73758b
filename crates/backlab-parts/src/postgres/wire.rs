//! A way to a cluster over TCP, of a chosen length, that counts what crosses it.
//!
//! It reads the messages of the frontend/backend protocol (PostgreSQL manual, 55.7) as they pass: so it counts what a
//! client really sent, whatever the client's library says that it did.

use super::{PORT, Postgres, as_superuser, session::words};
use crate::Trace;
use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Sub;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};

/// Connections that it carries at a time.
const MOST_CONNECTIONS: usize = 128;
/// Reads of one direction of a connection that may be under way: each brings at most [`READ`] bytes.
const UNDER_WAY: usize = 64;
const READ: usize = 16 << 10;
/// Bytes of a message that are looked at; statements are shorter.
const LOOKED_AT: usize = 64 << 10;

/// A proxy on 127.0.0.1 in front of a cluster's socket. Its connections end with it.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    options: PgConnectOptions,
    seen: Arc<Seen>,
    accepting: JoinHandle<()>,
}

/// What crossed a wire, on all its connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Statements executed (messages Query and Execute).
    pub statements: u64,
    /// Times that a client asked and had to wait (messages Query and Sync).
    pub round_trips: u64,
    /// Rows sent back (messages DataRow).
    pub rows: u64,
    /// Bytes from clients to the server.
    pub bytes_up: u64,
    /// Bytes from the server to clients.
    pub bytes_down: u64,
}

impl Sub for Counts {
    type Output = Self;

    /// What crossed since `earlier`.
    fn sub(self, earlier: Self) -> Self {
        Self {
            statements: self.statements - earlier.statements,
            round_trips: self.round_trips - earlier.round_trips,
            rows: self.rows - earlier.rows,
            bytes_up: self.bytes_up - earlier.bytes_up,
            bytes_down: self.bytes_down - earlier.bytes_down,
        }
    }
}

impl Postgres {
    /// A wire from a client, named as the trace shall show it, to this cluster. Every byte is under way for half of
    /// `round_trip`, in either direction; the order stays.
    pub async fn wire(&self, client: &str, round_trip: Duration) -> Result<Wire> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen on 127.0.0.1")?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Seen {
            client: client.to_owned(),
            server: self.name.clone(),
            trace: self.lab.trace().clone(),
            is_told: AtomicBool::new(true),
            counts: Mutex::default(),
        });
        let socket = self.dir.join(format!(".s.PGSQL.{PORT}"));
        let accepting = tokio::spawn(accept(listener, socket, seen.clone(), Line::new(round_trip / 2)?));
        let options = as_superuser().host("127.0.0.1").port(address.port());
        Ok(Wire { address, options, seen, accepting })
    }
}

impl Wire {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How to connect through it. A pool of sqlx asks each connection that is given back whether it still lives: such
    /// round trips are counted too.
    pub fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// A connection through it.
    pub async fn connect(&self) -> Result<PgConnection> {
        let connection = self.options.connect().await;
        connection.with_context(|| format!("connect {} through {}", self.seen.client, self.address))
    }

    /// From now on statements are counted only, and no longer in the trace: for what is repeated too often to be read.
    pub fn hush(&self) {
        self.seen.is_told.store(false, Ordering::Relaxed);
    }

    /// What has crossed so far. Whatever a client has an answer to is in it.
    pub fn counts(&self) -> Counts {
        *self.seen.counts()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, socket: PathBuf, seen: Arc<Seen>, line: Line) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        if connections.len() < MOST_CONNECTIONS {
            connections.spawn(connection(client, socket.clone(), seen.clone(), line.clone()));
        }
    }
}

/// Carries one connection until both sides have closed it.
async fn connection(mut client: TcpStream, socket: PathBuf, seen: Arc<Seen>, line: Line) -> Result<()> {
    client.set_nodelay(true)?;
    let mut server = UnixStream::connect(&socket).await?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let talk = Mutex::new(Talk::new(&seen));
    let talk = || talk.lock().unwrap_or_else(PoisonError::into_inner);
    let up = carry(from_client, to_server, &line, |bytes| talk().up(bytes));
    let down = carry(from_server, to_client, &line, |bytes| talk().down(bytes));
    tokio::join!(up, down);
    Ok(())
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    line: &Line,
    mut look: impl FnMut(&[u8]),
) {
    let (arrivals, mut arrived) = unbounded_channel();
    let under_way = Arc::new(Semaphore::new(UNDER_WAY));
    let read = async move {
        let mut buffer = BytesMut::new();
        while let Ok(permit) = under_way.clone().acquire_owned().await {
            buffer.reserve(READ);
            if !matches!(from.read_buf(&mut buffer).await, Ok(1..)) {
                break;
            }
            let bytes = buffer.split().freeze();
            look(&bytes);
            line.send(&arrivals, (bytes, permit));
        }
    };
    let write = async move {
        while let Some((bytes, _permit)) = arrived.recv().await {
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}

/// Bytes under way, and the permit that bounds how many those are.
type Cargo = (Bytes, OwnedSemaphorePermit);

/// The distance. It is the same for all bytes, so that one queue in the order of their departure serves all
/// connections. A thread of its own waits, since the runtime's clock knows whole milliseconds only.
#[derive(Debug, Clone)]
struct Line {
    one_way: Duration,
    queue: Sender<(Instant, Cargo, UnboundedSender<Cargo>)>,
}

impl Line {
    fn new(one_way: Duration) -> Result<Self> {
        // Not bounded by itself: each direction of each connection has so many permits only.
        let (queue, departures) = channel::<(Instant, Cargo, UnboundedSender<Cargo>)>();
        thread::Builder::new().name("wire".into()).spawn(move || {
            for (due, cargo, to) in departures {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                let _ = to.send(cargo);
            }
        })?;
        Ok(Self { one_way, queue })
    }

    fn send(&self, to: &UnboundedSender<Cargo>, cargo: Cargo) {
        if self.one_way.is_zero() {
            let _ = to.send(cargo);
        } else {
            let _ = self.queue.send((Instant::now() + self.one_way, cargo, to.clone()));
        }
    }
}

/// What all connections of a wire share.
#[derive(Debug)]
struct Seen {
    client: String,
    server: String,
    trace: Trace,
    is_told: AtomicBool,
    counts: Mutex<Counts>,
}

impl Seen {
    fn trace(&self) -> Option<&Trace> {
        self.is_told.load(Ordering::Relaxed).then_some(&self.trace)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's conversation so far.
struct Talk<'a> {
    seen: &'a Seen,
    up: Messages,
    down: Messages,
    /// Text of prepared statements, by name.
    prepared: HashMap<Vec<u8>, String>,
    /// Text of bound statements, by portal.
    bound: HashMap<Vec<u8>, String>,
}

impl<'a> Talk<'a> {
    fn new(seen: &'a Seen) -> Self {
        let up = Messages { untagged: true, ..Messages::default() };
        Self { seen, up, down: Messages::default(), prepared: HashMap::new(), bound: HashMap::new() }
    }

    fn up(&mut self, bytes: &[u8]) {
        self.seen.counts().bytes_up += bytes.len() as u64;
        self.up.push(bytes);
        while let Some(message) = self.up.next() {
            self.asked(&message);
        }
    }

    fn down(&mut self, bytes: &[u8]) {
        self.seen.counts().bytes_down += bytes.len() as u64;
        self.down.push(bytes);
        while let Some(message) = self.down.next() {
            self.answered(&message);
        }
    }

    fn asked(&mut self, message: &Message) {
        let mut fields = message.body.split(|byte| *byte == 0).map(<[u8]>::to_vec);
        let mut field = || fields.next().unwrap_or_default();
        match message.tag {
            UNTAGGED => self.greeted(&message.body),
            b'Q' => {
                self.executes(&String::from_utf8_lossy(&field()));
                self.seen.counts().round_trips += 1;
            }
            b'P' => {
                let name = field();
                self.prepared.insert(name, String::from_utf8_lossy(&field()).into_owned());
            }
            b'B' => {
                let portal = field();
                let text = self.prepared.get(&field()).cloned().unwrap_or_default();
                self.bound.insert(portal, text);
            }
            b'E' => {
                let text = self.bound.get(&field()).cloned().unwrap_or_default();
                self.executes(&text);
            }
            b'S' => self.seen.counts().round_trips += 1,
            _ => {}
        }
    }

    /// The first message of a client has no tag; after a request for encryption another such follows, and the answer
    /// to the request is a single byte (manual, 55.2.10).
    fn greeted(&mut self, body: &[u8]) {
        const SSL: [u8; 4] = 80_877_103_u32.to_be_bytes();
        const GSS: [u8; 4] = 80_877_104_u32.to_be_bytes();
        if body == SSL || body == GSS {
            self.down.skip += 1;
        } else {
            self.up.untagged = false;
        }
    }

    fn executes(&mut self, text: &str) {
        self.seen.counts().statements += 1;
        if let Some(trace) = self.seen.trace() {
            trace.message(&self.seen.client, &self.seen.server, words(text));
        }
    }

    fn answered(&mut self, message: &Message) {
        if message.tag == b'D' {
            self.seen.counts().rows += 1;
        }
        let Some(trace) = self.seen.trace() else { return };
        let (from, to) = (&self.seen.server, &self.seen.client);
        match message.tag {
            b'C' => {
                let tag = String::from_utf8_lossy(&message.body);
                let tag = tag.trim_end_matches('\0');
                match tag.strip_prefix("SELECT ") {
                    Some("1") => trace.message(from, to, "1 row"),
                    Some(rows) => trace.message(from, to, format_args!("{rows} rows")),
                    None => trace.message(from, to, tag),
                }
            }
            b'E' => {
                let (code, text) = (message.field(b'C'), message.field(b'M'));
                trace.refused(from, to, format_args!("ERROR {code} {text}"));
            }
            _ => {}
        }
    }
}

const UNTAGGED: u8 = 0;

struct Message {
    /// The message's type, as the manual writes it; [`UNTAGGED`] where it has none.
    tag: u8,
    /// At most [`LOOKED_AT`] bytes of it.
    body: Vec<u8>,
}

impl Message {
    /// A field of an error, by its letter (manual, 55.8).
    fn field(&self, letter: u8) -> String {
        let mut fields = self.body.split(|byte| *byte == 0);
        let field = fields.find_map(|it| it.strip_prefix(&[letter])).unwrap_or_default();
        String::from_utf8_lossy(field).into_owned()
    }
}

/// Cuts a stream of bytes into messages: a tag, a length that counts itself (four bytes, big-endian), a body.
#[derive(Default)]
struct Messages {
    held: BytesMut,
    untagged: bool,
    /// Bytes to come that belong to no further message.
    skip: usize,
}

impl Messages {
    fn push(&mut self, bytes: &[u8]) {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        self.held.extend_from_slice(&bytes[skipped..]);
    }

    fn next(&mut self) -> Option<Message> {
        let head = if self.untagged { 4 } else { 5 };
        let length: [u8; 4] = self.held.get(head - 4..head)?.try_into().ok()?;
        let whole = head + (u32::from_be_bytes(length) as usize).saturating_sub(4);
        let looked_at = whole.min(head + LOOKED_AT);
        if self.held.len() < looked_at {
            return None;
        }
        let tag = if self.untagged { UNTAGGED } else { self.held[0] };
        let body = self.held[head..looked_at].to_vec();
        let here = whole.min(self.held.len());
        let _ = self.held.split_to(here);
        self.skip = whole - here;
        Some(Message { tag, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[tag], length.as_slice(), body].concat()
    }

    /// The bytes arrive as they like; `every` at a time here.
    fn counted(every: usize) -> Counts {
        let seen = Seen {
            client: "app".into(),
            server: "postgres".into(),
            trace: Trace::default(),
            is_told: AtomicBool::new(true),
            counts: Mutex::default(),
        };
        let mut talk = Talk::new(&seen);
        let greeting = message(0, b"\0\x03\0\0user\0postgres\0\0")[1..].to_vec();
        let encryption = message(0, &80_877_103_u32.to_be_bytes())[1..].to_vec();
        for bytes in encryption.chunks(every) {
            talk.up(bytes);
        }
        talk.down(b"N");
        let up = [
            greeting,
            message(b'Q', b"SELECT 1\0"),
            message(b'P', b"s\0SELECT 2\0\0\0"),
            message(b'B', b"\0s\0\0\0\0\0\0\0"),
            message(b'E', b"\0\0\0\0\0"),
            message(b'S', b""),
        ];
        let down =
            [message(b'D', &vec![7; LOOKED_AT * 3]), message(b'D', b"\0\0"), message(b'C', b"SELECT 2\0")];
        for bytes in up.concat().chunks(every) {
            talk.up(bytes);
        }
        for bytes in down.concat().chunks(every) {
            talk.down(bytes);
        }
        *seen.counts()
    }

    #[test]
    fn messages_are_counted_however_the_bytes_are_cut() {
        let counts = counted(usize::MAX);
        assert_eq!((counts.statements, counts.round_trips, counts.rows), (2, 2, 2));
        for every in [1, 2, 3, 5, 1000, LOOKED_AT, LOOKED_AT + 1] {
            assert_eq!(counted(every), counts, "{every} bytes at a time");
        }
    }
}
