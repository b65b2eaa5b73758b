//! The clients, and what the kernel says of their connections meanwhile.

use super::server::{self, Model};
use super::{Client, Params, Trial};
use crate::prelude::*;
use backlab_parts::Process;
use std::net::SocketAddr;
use std::time::Instant;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long nothing may change, twice in a row, until the clients are taken to wait in vain. That something doesn't come
/// can't be shown otherwise.
const PATIENCE: Duration = Duration::from_millis(250);
/// How `/proc/net/tcp` writes the state of a socket that listens.
const LISTEN: &str = "0A";
/// What a client writes, in two writes.
const REQUEST: [&[u8]; 2] = [b"hel", b"lo\n"];

/// Lets silent clients connect first, then the others; and lets the silent ones leave when nothing more happens.
pub async fn trial(lab: &Lab, p: &Params, name: &'static str, model: Model, silent: u64) -> Result<Trial> {
    lab.step(format_args!("{name}, {silent} silent"));
    let (process, addr) = server::start(lab, "server", model, p).await?;
    let began = Instant::now();
    let mut quiet = Vec::new();
    for nth in 1..=silent {
        quiet.push(TcpStream::connect(addr).await?);
        // Each is served before the next comes, as long as there is somebody to serve it.
        let _ = timeout(PATIENCE, until_accepted(&process, nth as usize)).await;
    }
    let (tell, mut told) = mpsc::channel(64);
    let clients = (0..p.clients).map(|nth| tokio::spawn(client(nth, addr, began, tell.clone())));
    let clients: Vec<_> = clients.collect();
    let mut seen =
        Trial { name, silent, clients: vec![Client::default(); p.clients as usize], ..Trial::default() };
    let mut kernel = Kernel::default();
    while seen.answered() < p.clients && began.elapsed() < Duration::from_secs(10) {
        if let Ok(Some((nth, what))) = timeout(PATIENCE, told.recv()).await {
            seen.note(nth, what);
            continue;
        }
        let before = std::mem::replace(&mut kernel, Kernel::look(addr)?);
        if kernel == before && kernel.bytes == p.clients * REQUEST.concat().len() as u64 {
            break;
        }
    }
    (seen.queued, seen.bytes_waiting) = (kernel.queued, kernel.bytes);
    seen.connected = seen.clients.iter().filter(|it| it.connected_ms.is_some()).count() as u64;
    seen.answered_meanwhile = seen.answered();
    seen.left_ms = began.elapsed().as_secs_f64() * 1e3;
    drop(quiet);
    for client in clients {
        timeout(Duration::from_secs(10), client).await.context("a client is never answered")???;
    }
    while let Ok((nth, what)) = told.try_recv() {
        seen.note(nth, what);
    }
    seen.answered_in_the_end = seen.answered();
    let sent = p.clients * REQUEST.concat().len() as u64;
    let all_read = timeout(Duration::from_secs(10), until_read(&process, sent)).await;
    seen.reads =
        all_read.with_context(|| format!("the server never says that it has read all {sent} bytes"))?;
    seen.writes = p.clients * REQUEST.len() as u64;
    Ok(seen)
}

/// Waits until the server has said of all bytes that it has read them, which may come after its answers; returns how
/// many reads that took.
async fn until_read(server: &Process, sent: u64) -> u64 {
    loop {
        let lines = server.lines();
        let reads = lines.iter().filter_map(|line| line.strip_prefix("read ")?.parse().ok());
        let reads: Vec<u64> = reads.collect();
        if reads.iter().sum::<u64>() >= sent {
            return reads.len() as u64;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn until_accepted(server: &Process, connections: usize) {
    while server.lines().iter().filter(|line| line.starts_with("accepted ")).count() < connections {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// What a client tells when it happens, in milliseconds.
pub enum Told {
    Connected(f64),
    Answered(f64),
}

async fn client(nth: u64, addr: SocketAddr, began: Instant, tell: mpsc::Sender<(u64, Told)>) -> Result<()> {
    let now = || began.elapsed().as_secs_f64() * 1e3;
    let mut stream = BufReader::new(TcpStream::connect(addr).await?);
    tell.send((nth, Told::Connected(now()))).await?;
    stream.get_ref().set_nodelay(true)?;
    for part in REQUEST {
        stream.write_all(part).await?;
        stream.flush().await?;
    }
    let mut answer = String::new();
    stream.read_line(&mut answer).await?;
    ensure!(answer == "you said hello\n", "the answer was {answer:?}");
    tell.send((nth, Told::Answered(now()))).await?;
    Ok(())
}

/// What the kernel has of a server's connections and the program hasn't taken yet (proc(5), `/proc/net/tcp`).
#[derive(Default, PartialEq, Eq)]
struct Kernel {
    /// Connections in the listening socket's queue.
    queued: u64,
    /// Bytes that have come for the server, unread.
    bytes: u64,
}

impl Kernel {
    fn look(server: SocketAddr) -> Result<Self> {
        let mut seen = Self::default();
        let port = format!(":{:04X}", server.port());
        let all = std::fs::read_to_string("/proc/net/tcp")?;
        for line in all.lines().filter(|line| line.contains(&port)) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let [_, local, _, state, queues, ..] = columns[..] else { continue };
            let Some((_, waiting)) = queues.split_once(':').filter(|_| local.ends_with(&port)) else {
                continue;
            };
            let waiting = u64::from_str_radix(waiting, 16)?;
            match state {
                LISTEN => seen.queued += waiting,
                _ => seen.bytes += waiting,
            }
        }
        Ok(seen)
    }
}

/// Connects from this address and port.
pub async fn from(source: SocketAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(source)?;
    socket.connect(to).await
}

/// A client that keeps its connection.
pub struct Staying(BufReader<TcpStream>);

impl Staying {
    pub async fn connect(addr: SocketAddr) -> Result<Self> {
        Ok(Self(BufReader::new(TcpStream::connect(addr).await?)))
    }

    /// Whether a request is answered over this connection.
    pub async fn asks(&mut self) -> bool {
        let ask = async {
            self.0.write_all(b"again\n").await?;
            let mut answer = String::new();
            self.0.read_line(&mut answer).await?;
            std::io::Result::Ok(answer == "you said again\n")
        };
        matches!(timeout(Duration::from_secs(3), ask).await, Ok(Ok(true)))
    }

    /// Whether the other side has ended it: end-of-file, or a reset.
    pub async fn is_ended(&mut self) -> bool {
        let read = timeout(Duration::from_secs(10), self.0.read_u8()).await;
        matches!(read, Ok(Err(_)))
    }
}
