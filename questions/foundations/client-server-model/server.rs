//! The servers, each a process of its own, and a client that can be killed. A request is a line, and so is its answer.

use super::{EventLoop, ReadTimeout};
use crate::prelude::*;
use backlab_parts::Process;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub const SERVER: Role = Role { name: "client-server-model/server", play: |args| Box::pin(serve(args)) };
pub const CLIENT: Role =
    Role { name: "client-server-model/client", play: |args| Box::pin(ask_and_stay(args)) };

/// How long a server with a timeout waits for a line.
const TIMEOUT: Duration = Duration::from_millis(200);

/// How a server comes to serve several clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Model {
    /// So many threads, each of which accepts a connection and serves it to its end.
    Threads(u64),
    EventLoop,
}

/// Starts a server and waits until it listens.
pub async fn start(
    lab: &Lab,
    name: &str,
    model: Model,
    knobs: &super::Params,
) -> Result<(Process, SocketAddr)> {
    let model = match model {
        Model::Threads(threads) => threads.to_string(),
        Model::EventLoop => "0".to_owned(),
    };
    let timeout = if knobs.read_timeout == ReadTimeout::Short { TIMEOUT } else { Duration::ZERO };
    let blocks = knobs.event_loop == EventLoop::Blocks;
    let args = [model, timeout.as_millis().to_string(), blocks.to_string()];
    let server = lab.role(name, &SERVER, args).await?;
    let ready = |line: &str| line.strip_prefix("ready ")?.parse().ok();
    let addr = server.line(Duration::from_secs(10), ready).await?;
    Ok((server, addr))
}

async fn serve(args: Vec<String>) -> Result<()> {
    let [threads, timeout, blocks] = args.try_into().map_err(|args| anyhow!("three words, not {args:?}"))?;
    let timeout = Some(Duration::from_millis(timeout.parse()?)).filter(|it| !it.is_zero());
    let listener = TcpListener::bind("127.0.0.1:0")?;
    role::say(format_args!("ready {}", listener.local_addr()?));
    let listener = Arc::new(listener);
    match threads.parse()? {
        0 => event_loop(listener.try_clone()?, blocks.parse()?).await,
        1 => one_after_the_other(&listener, timeout),
        threads => {
            for _ in 1..threads {
                let listener = listener.clone();
                std::thread::spawn(move || one_after_the_other(&listener, timeout));
            }
            one_after_the_other(&listener, timeout)
        }
    }
}

/// What each thread does: it serves one client to the end before it accepts the next.
fn one_after_the_other(listener: &TcpListener, timeout: Option<Duration>) -> Result<()> {
    loop {
        let (client, from) = listener.accept()?;
        accepted(from, client.local_addr()?);
        client.set_read_timeout(timeout)?;
        // A client that is gone, or silent for too long, ends its own conversation and no other.
        let _ = converse(client);
    }
}

fn accepted(client: SocketAddr, at: SocketAddr) {
    role::trace().note("server", format_args!("accepts {client}"));
    role::say(format_args!("accepted {client} at {at}"));
}

fn converse(mut client: TcpStream) -> std::io::Result<()> {
    let (mut buffer, mut line) = ([0; 4096], Vec::new());
    loop {
        let count = client.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        role::say(format_args!("read {count}"));
        for answer in answers(&mut line, &buffer[..count]) {
            client.write_all(&answer)?;
        }
    }
}

/// One thread for all: whoever has nothing to say costs nothing, since nobody waits for it.
async fn event_loop(listener: TcpListener, blocks: bool) -> Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (mut client, from) = listener.accept().await?;
        accepted(from, client.local_addr()?);
        tokio::spawn(async move {
            if blocks {
                // A call that waits, in the one thread that must not.
                let client = client.into_std()?;
                client.set_nonblocking(false)?;
                return converse(client);
            }
            let (mut buffer, mut line) = ([0; 4096], Vec::new());
            loop {
                let count = client.read(&mut buffer).await?;
                if count == 0 {
                    return Ok(());
                }
                role::say(format_args!("read {count}"));
                for answer in answers(&mut line, &buffer[..count]) {
                    client.write_all(&answer).await?;
                }
            }
        });
    }
}

/// Adds what was read to the line that is under way; an answer for each line that is whole now.
fn answers(line: &mut Vec<u8>, read: &[u8]) -> Vec<Vec<u8>> {
    line.extend_from_slice(read);
    let mut answers = Vec::new();
    while let Some(end) = line.iter().position(|byte| *byte == b'\n') {
        let request: Vec<u8> = line.drain(..=end).collect();
        answers.push([b"you said ", request.as_slice()].concat());
    }
    answers
}

/// A client that asks once and then keeps its connection, until it is killed.
async fn ask_and_stay(args: Vec<String>) -> Result<()> {
    let mut stream = TcpStream::connect(args.first().context("an address")?)?;
    stream.write_all(b"hello\n")?;
    let mut answer = [0; 64];
    match stream.read(&mut answer) {
        Ok(0) => bail!("no answer"),
        Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
        _ => role::say("answered"),
    }
    role::hear().await;
    Ok(())
}
