//! Real caches, the origin behind them, and clients that place their keys by themselves: each a process of its own.

use super::schemes::{Hash, HashKind, Placement, Scheme};
use crate::prelude::*;
use backlab_parts::Process;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Keys that each client asks for.
pub const ASKED: u64 = 1_000;
/// What a cache keeps at the most; it answers `FULL` then.
const MOST_ENTRIES: usize = 10_000;
/// Messages that each client shows in the trace; the others are only counted.
const SHOWN: u64 = 2;
const SOON: Duration = Duration::from_secs(10);
/// How long a client may take for all its keys.
const FILLED: Duration = Duration::from_secs(30);

pub const CACHE: Role = Role { name: "consistent-hashing/cache", play: |_| Box::pin(serve(answer_as_cache)) };
pub const ORIGIN: Role =
    Role { name: "consistent-hashing/origin", play: |_| Box::pin(serve(answer_as_origin)) };
pub const CLIENT: Role = Role { name: "consistent-hashing/client", play: |args| Box::pin(ask_for_all(args)) };

/// What one client met.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct Visit {
    pub pid: i32,
    pub asked: u64,
    /// Counted by the origin.
    pub origin_calls: u64,
}

/// Some caches, and the origin to which each miss goes.
pub struct Site<'a> {
    lab: &'a Lab,
    /// Held for as long as they shall run.
    processes: Vec<Process>,
    caches: Vec<(String, u16)>,
    origin: Wire,
    origin_port: u16,
}

impl<'a> Site<'a> {
    pub async fn open(lab: &'a Lab, names: &[String]) -> Result<Site<'a>> {
        let (origin, port) = listening(lab, "origin", &ORIGIN).await?;
        let wire = Wire::open(port).await?;
        let mut site =
            Self { lab, processes: vec![origin], caches: Vec::new(), origin: wire, origin_port: port };
        for (name, started) in names.iter().zip(try_join_all(names.iter().map(|_| cache(lab))).await?) {
            site.add(name, started);
        }
        Ok(site)
    }

    pub async fn start_one_more(&mut self, name: &str) -> Result<()> {
        let started = cache(self.lab).await?;
        self.add(name, started);
        Ok(())
    }

    fn add(&mut self, name: &str, (process, port): (Process, u16)) {
        self.processes.push(process);
        self.caches.push((name.to_owned(), port));
    }

    /// A new client process asks for all keys, and stores what it had to fetch from the origin.
    pub async fn visit(&mut self, name: &str, scheme: Scheme, hash: HashKind, points: u64) -> Result<Visit> {
        let before = self.origin_calls().await?;
        let caches = self.caches.iter().map(|(name, port)| format!("{name}={port}"));
        let args = [name, scheme.word(), hash.word(), &points.to_string(), &self.origin_port.to_string()];
        let client = self.lab.role(name, &CLIENT, args.map(str::to_owned).into_iter().chain(caches)).await?;
        let asked = client.line(FILLED, |line| line.strip_prefix("asked=")?.parse().ok()).await?;
        client.wait(SOON).await?;
        let origin_calls = self.origin_calls().await? - before;
        self.lab.trace().counted(name, "caches", asked - SHOWN.min(asked));
        self.lab.trace().message("origin", name, format_args!("{origin_calls} of {asked} keys in all"));
        Ok(Visit { pid: client.pid(), asked, origin_calls })
    }

    async fn origin_calls(&mut self) -> Result<u64> {
        Ok(self.origin.ask("CALLS").await?.parse()?)
    }
}

async fn cache(lab: &Lab) -> Result<(Process, u16)> {
    listening(lab, "caches", &CACHE).await
}

async fn listening(lab: &Lab, name: &str, role: &Role) -> Result<(Process, u16)> {
    let process = lab.role(name, role, Vec::<String>::new()).await?;
    let port = process.line(SOON, |line| line.strip_prefix("ready port=")?.parse().ok()).await?;
    Ok((process, port))
}

/// The client: hashes each key, asks the cache that should have it, and goes to the origin where it hasn't.
async fn ask_for_all(args: Vec<String>) -> Result<()> {
    let [name, scheme, hash, points, origin, caches @ ..] = args.as_slice() else {
        bail!("a client needs its name, scheme, hash, points, the origin's port and the caches, not {args:?}")
    };
    let (mut nodes, mut wires) = (Vec::new(), Vec::new());
    for cache in caches {
        let (node, port) = cache.split_once('=').with_context(|| format!("`{cache}` isn't name=port"))?;
        nodes.push(node.to_owned());
        wires.push(Wire::open(port.parse()?).await?);
    }
    let mut origin = Wire::open(origin.parse()?).await?;
    let hash = Hash::of_kind(chosen(hash)?);
    let placement = Placement::new(chosen(scheme)?, &nodes, points.parse()?, &hash);
    for number in 0..ASKED {
        let key = format!("key:{number}");
        let owner = placement.owner(hash.of(&key));
        let mut answer = wires[owner].ask(&format!("GET {key}")).await?;
        if number < SHOWN {
            role::trace().message(name, "caches", format_args!("GET {key} of {}: {answer}", nodes[owner]));
        }
        if answer == "MISS" {
            answer = origin.ask(&format!("GET {key}")).await?;
            let stored = wires[owner].ask(&format!("SET {key} {answer}")).await?;
            ensure!(stored == "STORED", "{} answers {stored} to SET {key}", nodes[owner]);
        }
        ensure!(answer == value_of(&key), "{key} is {answer} for {name}");
    }
    role::say(format_args!("asked={ASKED}"));
    Ok(())
}

fn chosen<C: Choice>(word: &str) -> Result<C> {
    let found = C::ALL.iter().find(|(_, it)| *it == word);
    found.map(|(choice, _)| *choice).with_context(|| format!("`{word}` isn't a choice"))
}

fn value_of(key: &str) -> String {
    format!("value-of-{key}")
}

/// What a process that is asked by lines remembers.
#[derive(Default)]
struct Memory {
    entries: HashMap<String, String>,
    calls: u64,
}

fn answer_as_cache(memory: &mut Memory, line: &str) -> String {
    let words: Vec<_> = line.split(' ').collect();
    match words[..] {
        ["GET", key] => memory.entries.get(key).cloned().unwrap_or_else(|| "MISS".into()),
        ["SET", _, _] if memory.entries.len() == MOST_ENTRIES => "FULL".into(),
        ["SET", key, value] => {
            memory.entries.insert(key.to_owned(), value.to_owned());
            "STORED".into()
        }
        _ => "ERROR".into(),
    }
}

fn answer_as_origin(memory: &mut Memory, line: &str) -> String {
    match line.strip_prefix("GET ") {
        Some(key) => {
            memory.calls += 1;
            value_of(key)
        }
        None => memory.calls.to_string(),
    }
}

/// Answers lines over TCP until killed.
async fn serve(answer: fn(&mut Memory, &str) -> String) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    role::say(format_args!("ready port={}", listener.local_addr()?.port()));
    let memory = Arc::new(Mutex::new(Memory::default()));
    loop {
        let (stream, _) = listener.accept().await?;
        let (mut wire, memory) = (Wire::over(stream), memory.clone());
        tokio::spawn(async move {
            while let Some(line) = wire.hear().await? {
                let said = {
                    let mut memory = memory.lock().map_err(|_| anyhow!("an earlier answer panicked"))?;
                    answer(&mut memory, &line)
                };
                wire.say(&said).await?;
            }
            Ok::<_, anyhow::Error>(())
        });
    }
}

/// A connection that carries lines.
struct Wire {
    from: BufReader<OwnedReadHalf>,
    to: OwnedWriteHalf,
}

impl Wire {
    async fn open(port: u16) -> Result<Self> {
        let stream = timeout(SOON, TcpStream::connect(("127.0.0.1", port))).await;
        Ok(Self::over(stream.with_context(|| format!("connect to port {port}"))??))
    }

    fn over(stream: TcpStream) -> Self {
        let (from, to) = stream.into_split();
        Self { from: BufReader::new(from), to }
    }

    async fn ask(&mut self, line: &str) -> Result<String> {
        self.say(line).await?;
        let heard = timeout(SOON, self.hear()).await.with_context(|| format!("no answer to {line}"))?;
        heard?.with_context(|| format!("closed instead of an answer to {line}"))
    }

    async fn say(&mut self, line: &str) -> Result<()> {
        Ok(self.to.write_all(format!("{line}\n").as_bytes()).await?)
    }

    /// `None` at the end.
    async fn hear(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        let read = self.from.read_line(&mut line).await?;
        Ok((read > 0).then(|| line.trim_end().to_owned()))
    }
}
