//! A private Redis server on a Unix socket, and clients whose commands appear in the trace.
//!
//! A [`Client`] is a connection of the `redis` crate: `AsyncCommands`, pipelines and scripts work on it. It writes each
//! request and a short form of each reply to the trace.

use crate::{Exit, Lab, Process, Spec, Trace, inventory};
use anyhow::{Context, Result, ensure};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, FromRedisValue, Pipeline, RedisError, RedisFuture,
    RedisResult, Value,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a server may take to start, or to load what it had kept.
const START: Duration = Duration::from_secs(10);
/// How long a reply may take, so longer than any command that blocks.
const REPLY: Duration = Duration::from_secs(30);
/// Address space of a server, in MiB.
const MEMORY_MB: u64 = 1024;
/// Characters of one argument, and elements of one reply, that the trace shows.
const SHOWN: usize = 40;

/// A running server, which ends with its run. It keeps nothing on disk unless its settings say so.
#[derive(Debug)]
pub struct Redis {
    lab: Lab,
    name: String,
    dir: PathBuf,
    settings: Vec<(String, String)>,
    process: Process,
}

impl Lab {
    /// Starts a Redis that has nothing in it and keeps nothing; `name` is its lane in the trace.
    ///
    /// # Errors
    /// [`Missing`](crate::Missing), or the server doesn't start.
    pub async fn redis(&self, name: &str) -> Result<Redis> {
        self.redis_with(name, &[]).await
    }

    /// As [`Lab::redis`], with settings as redis.conf names them: `[("appendonly", "yes"), ("appendfsync", "always")]`.
    pub async fn redis_with(&self, name: &str, settings: &[(&str, &str)]) -> Result<Redis> {
        self.used(inventory::REDIS.name, inventory::REDIS.version()?);
        let dir = self.dir().join(name);
        std::fs::create_dir(&dir).with_context(|| format!("make {} for {name}", dir.display()))?;
        let settings: Vec<_> = settings.iter().map(|&(key, value)| (key.into(), value.into())).collect();
        let process = start(self, name, &dir, &settings).await?;
        Ok(Redis { lab: self.clone(), name: name.into(), dir, settings, process })
    }
}

async fn start(lab: &Lab, name: &str, dir: &Path, settings: &[(String, String)]) -> Result<Process> {
    let quiet = [("port", "0"), ("unixsocket", "socket"), ("save", ""), ("appendonly", "no")];
    let quiet = quiet.map(|(key, value)| (key.to_owned(), value.to_owned()));
    // Later ones overrule.
    let args = quiet.iter().chain(settings).flat_map(|(key, value)| [format!("--{key}"), value.clone()]);
    let spec = Spec::new("redis-server").args(args).dir(dir).memory_mb(MEMORY_MB);
    let process = lab.process(name, spec).await?;
    process.line(START, |line| line.contains("eady to accept connections").then_some(())).await?;
    Ok(process)
}

impl Redis {
    /// Opens a connection of its own for a client; `name` is its lane in the trace.
    pub async fn client(&self, name: &str) -> Result<Client> {
        let connection = self.connect().await.with_context(|| format!("{name} connects to {}", self.name))?;
        let trace = self.lab.trace().clone();
        Ok(Client { name: name.into(), server: self.name.clone(), trace, connection })
    }

    /// A field of `INFO`, such as `used_memory` or `evicted_keys`, asked behind the trace's back.
    ///
    /// # Errors
    /// The server doesn't answer, or has no such field.
    pub async fn info(&self, field: &str) -> Result<String> {
        let text: String = redis::cmd("INFO").query_async(&mut self.connect().await?).await?;
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(value.with_context(|| format!("{}'s INFO has no field `{field}`", self.name))?.to_owned())
    }

    /// `SIGKILL`: what the server had not yet handed to the kernel is gone. Its connections break.
    pub async fn kill(&self) -> Result<Exit> {
        self.process.kill().await
    }

    /// Starts it again on the same directory and with the same settings, and waits until it has loaded what it kept.
    /// Clients have to connect anew.
    ///
    /// # Errors
    /// It still runs, or it doesn't start.
    pub async fn restart(&mut self) -> Result<()> {
        ensure!(self.process.exit().is_some(), "{} still runs: kill it before the restart", self.name);
        self.process = start(&self.lab, &self.name, &self.dir, &self.settings).await?;
        Ok(())
    }

    /// The server's process, for signals and for its memory.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Where clients of other kinds connect.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(5)))
            .set_response_timeout(Some(REPLY));
        redis::Client::open(ConnectionAddr::Unix(self.socket()))?
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }
}

/// One connection, whose requests and replies appear in the trace. A clone shares the connection, so that `WATCH` and
/// `MULTI` of both would mix: let each client that uses them have its own.
#[derive(Debug, Clone)]
pub struct Client {
    name: String,
    server: String,
    trace: Trace,
    connection: MultiplexedConnection,
}

impl Client {
    /// Sends a command as one types it: words between spaces, without quotes. For other arguments build a
    /// [`redis::cmd`] and query it with this client.
    ///
    /// # Errors
    /// The server's error, whose `code()` tells them apart (`"OOM"`), or the connection broke.
    pub async fn run<T: FromRedisValue>(&self, line: &str) -> RedisResult<T> {
        let mut words = line.split_whitespace();
        let mut command = redis::cmd(words.next().unwrap_or_default());
        words.for_each(|word| {
            command.arg(word);
        });
        command.query_async(&mut self.clone()).await
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    fn asks(&self, what: String) {
        self.trace.message(&self.name, &self.server, what);
    }

    fn gets<'a>(&self, reply: Result<impl IntoIterator<Item = &'a Value>, &RedisError>) {
        let replies: Vec<_> = match reply {
            Ok(values) => values.into_iter().collect(),
            Err(error) => {
                let what = format!("no reply: {}", error.category());
                return self.trace.lost(&self.server, &self.name, what);
            }
        };
        let mut errors = replies.iter().filter(|value| matches!(value, Value::ServerError(_)));
        match (errors.next(), replies.len()) {
            (None, _) => {
                self.trace.message(&self.server, &self.name, several(replies.into_iter().map(shown)));
            }
            (Some(error), 1) => self.trace.refused(&self.server, &self.name, shown(error)),
            (Some(error), all) => {
                let what = format!("{} of {all} refused: {}", 1 + errors.count(), shown(error));
                self.trace.refused(&self.server, &self.name, what);
            }
        }
    }
}

impl ConnectionLike for Client {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            self.asks(typed(cmd));
            let reply = self.connection.req_packed_command(cmd).await;
            self.gets(reply.as_ref().map(Some));
            reply
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let commands = several(pipeline.cmd_iter().map(typed));
            self.asks(match pipeline.is_transaction() {
                true => format!("MULTI; {commands}; EXEC"),
                false => commands,
            });
            let replies = self.connection.req_packed_commands(pipeline, offset, count).await;
            self.gets(replies.as_ref());
            replies
        })
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}

/// The first few of a pipeline's commands or replies, and how many those are.
fn several(all: impl Iterator<Item = String>) -> String {
    let all: Vec<_> = all.collect();
    match all.len() {
        0..=4 => all.join("; "),
        more => format!("{}; … {more} in all", all[..2].join("; ")),
    }
}

/// A command as one types it, its arguments cut short.
fn typed(cmd: &Cmd) -> String {
    let words = cmd.args_iter().map(|arg| match arg {
        redis::Arg::Simple(bytes) => cut(bytes),
        // A cursor, which starts a scan.
        _ => "0".to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A reply in a few words, as `redis-cli` shows it.
fn shown(value: &Value) -> String {
    match value {
        Value::Nil => "(nil)".to_owned(),
        Value::Okay => "OK".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Boolean(it) => it.to_string(),
        Value::SimpleString(text) => cut(text.as_bytes()),
        Value::BulkString(bytes) => cut(bytes),
        Value::ServerError(error) => format!("{} {}", error.code(), error.details().unwrap_or_default()),
        Value::Array(values) | Value::Set(values) => {
            let more = if values.len() > SHOWN { " …" } else { "" };
            let values: Vec<_> = values.iter().take(SHOWN).map(shown).collect();
            format!("[{}{more}]", values.join(" "))
        }
        other => cut(format!("{other:?}").as_bytes()),
    }
}

fn cut(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}
