//! What a stage works with: it starts the program, speaks to it, kills it, and draws random values.

use super::call::{Answer, Call};
use super::finding::{Finding, Graded};
use super::journal::Journal;
use super::shell::quoted;
use crate::challenge::Command;
use backlab_parts::http::{Client, NoAnswer, Why};
use backlab_parts::process::Pipe;
use backlab_parts::subject::{self, NotUp};
use backlab_parts::{Exit, Lab};
use http::Method;
use nix::sys::signal::Signal;
use rand::RngExt;
use rand::rngs::StdRng;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take unless the stage says otherwise.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long a program that reads its input may take.
const READS_WITHIN: Duration = Duration::from_secs(10);
/// Bytes that [`Subject::raw`] reads.
const MOST_RAW: usize = 1 << 20;
/// Lines of a program's output that a failure shows.
const SHOWN_LINES: usize = 30;
/// Characters of such a line that it shows.
const LONGEST_SHOWN: usize = 200;

/// Lent to one stage: all that it starts ends with it.
#[derive(Debug)]
pub struct Grader {
    lab: Lab,
    command: Command,
    patience: Duration,
    rng: Mutex<StdRng>,
    pub(super) journal: Journal,
    started: AtomicU16,
    /// The environment of the first start.
    exported: OnceLock<Vec<(&'static str, String)>>,
    live: Mutex<Vec<Arc<Live>>>,
}

/// The program under test, listening.
#[derive(Debug, Clone)]
pub struct Subject {
    live: Arc<Live>,
    client: Client,
    env: Vec<(&'static str, String)>,
}

/// A process of the program, with what is written down about it.
#[derive(Debug)]
pub struct Live {
    subject: subject::Subject,
    /// The first that a stage starts is 1.
    number: u16,
    pub(super) journal: Journal,
}

/// What a program printed that reads its standard input and ends.
#[derive(Debug, Clone)]
pub struct Said {
    pub stdout: String,
    pub stderr: Vec<String>,
    pub exit: Exit,
}

impl Grader {
    pub(super) fn new(lab: Lab, command: Command, patience: Duration) -> Self {
        let rng = Mutex::new(lab.rng("values"));
        let (journal, started) = (Journal::default(), AtomicU16::new(0));
        let exported = OnceLock::new();
        Self { lab, command, patience, rng, journal, started, exported, live: Mutex::default() }
    }

    /// Lends servers, proxies and clients of the grader's own.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// A fresh directory of the program's own.
    pub fn dir(&self, name: &str) -> Graded<PathBuf> {
        let dir = self.lab.dir().join(name);
        std::fs::create_dir_all(&dir).map_err(|error| Finding::Unsure(error.into()))?;
        Ok(dir)
    }

    /// A word of eight letters, never the same twice.
    pub fn word(&self) -> String {
        let mut rng = self.rng();
        (0..8).map(|_| char::from(rng.random_range(b'a'..=b'z'))).collect()
    }

    /// Several such words.
    pub fn words<const N: usize>(&self) -> [String; N] {
        std::array::from_fn(|_| self.word())
    }

    /// A whole number from the range.
    pub fn number(&self, range: Range<u32>) -> u32 {
        self.rng().random_range(range)
    }

    /// A generator of its own for a purpose, by the seed.
    pub fn rng_for(&self, purpose: &str) -> StdRng {
        self.lab.rng(purpose)
    }

    fn rng(&self) -> std::sync::MutexGuard<'_, StdRng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the program with `PORT` and this environment, and waits until it listens.
    pub async fn start(&self, env: &[(&'static str, &str)]) -> Graded<Subject> {
        let env = env.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.start_one(env).await
    }

    async fn start_one(&self, env: Vec<(&'static str, String)>) -> Graded<Subject> {
        let number = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        for (name, _) in env.iter().filter(|(_, value)| number == 1 && value.starts_with("http://127.0.0.1:"))
        {
            self.journal.note(format_args!(
                "{name} is a server of the grader; with --hold it and your program stay while you type"
            ));
        }
        self.journal.line(self.start_line(number, &env));
        let spec = env.iter().fold(self.command.spec.clone(), |spec, (name, value)| spec.env(name, value));
        let name = if number == 1 { "program".to_owned() } else { format!("program {number}") };
        let subject = self.lab.subject(&name, spec, self.patience).await.map_err(not_up)?;
        let client = self.lab.client("grader", subject.addr()).deadline(DEADLINE);
        let live = Arc::new(Live { subject, number, journal: self.journal.clone() });
        self.live.lock().unwrap_or_else(PoisonError::into_inner).push(live.clone());
        Ok(Subject { live, client, env })
    }

    /// Starts the program once more, in the place of one that has ended: the same environment, another port.
    pub async fn start_again(&self, ended: &Subject) -> Graded<Subject> {
        self.start_one(ended.env.clone()).await.map_err(|finding| {
            finding.what("the start of your program in the place of the one that has ended").because(
                "It doesn't begin again with what the one before it left behind; its last lines say why.",
            )
        })
    }

    /// How one starts it in a shell. Whatever vanishes with this stage is a fresh one there.
    fn start_line(&self, number: u16, env: &[(&'static str, String)]) -> String {
        let port = 8079 + u32::from(number);
        let assigned = |(name, value): &(&str, String)| {
            let value = match value.strip_prefix(&self.lab.dir().display().to_string()) {
                Some(file) if file.contains('.') => format!("$(mktemp -d){file}"),
                Some(_) => "$(mktemp -d)".to_owned(),
                None => quoted(value),
            };
            format!("{name}={value}")
        };
        // What the first one has is exported, and needs no second word.
        let exported = self.exported.get_or_init(|| env.to_vec());
        let (start, assigned) = if number == 1 {
            let words: Vec<_> =
                std::iter::once(format!("PORT={port}")).chain(env.iter().map(assigned)).collect();
            (format!("export {};", words.join(" ")), String::new())
        } else {
            let others = env.iter().filter(|it| !exported.contains(it)).map(assigned);
            let words: Vec<_> = others.chain([format!("PORT=$PORT{number}")]).collect();
            (format!("PORT{number}={port};"), words.join(" ") + " ")
        };
        // Started in a shell of its own: `wait` waits for the requests, and not for the program.
        format!("{start} P{number}=$({assigned}{} >&2 & echo $!); sleep 1", self.command.shown)
    }

    /// Tells the author, in the lines that he may type, what the grader does that no request shows: "BANK answers 500".
    pub fn note(&self, what: impl Display) {
        self.journal.note(what);
    }

    /// A line of a shell that does the same as the grader does now without it.
    pub fn line(&self, line: impl Into<String>) {
        self.journal.line(line);
    }

    /// Runs the program once: this is its standard input, and then it has to end by itself.
    pub async fn ask(&self, input: &str) -> Graded<Said> {
        // Each run stands alone: to see this one, no earlier one is needed.
        self.journal.only_line(format!("printf %s {} | {}", quoted(input), self.command.shown));
        let mut process =
            self.lab.process("program", self.command.spec.clone()).await.map_err(Finding::CannotStart)?;
        // A program that ends without reading breaks the pipe, which is its right.
        let _ = process.say(input).await;
        process.close_stdin();
        let exit = process.wait(READS_WITHIN).await.map_err(|_| {
            let found = format!("it still runs after {READS_WITHIN:?}");
            Finding::wrong("the end of your program", "it reads its input, prints and ends", found)
                .said(newest(process.lines()))
        })?;
        let stdout = process.lines_on(Pipe::Stdout).join("\n");
        Ok(Said { stdout, stderr: process.lines_on(Pipe::Stderr), exit })
    }

    /// A fault that no single answer shows.
    pub fn wrong(&self, what: impl Into<String>, expected: impl Display, found: impl Display) -> Finding {
        Finding::wrong(what, expected, found)
    }

    /// Holds something that was found against what it should be.
    pub fn expect<T: PartialEq + Display>(&self, what: impl Into<String>, found: T, expected: T) -> Graded {
        if found == expected { Ok(()) } else { Err(self.wrong(what, expected, found)) }
    }

    /// The newest output of all that was started.
    pub(super) fn said(&self) -> Vec<String> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let alone = live.len() == 1;
        let lines = |it: &Arc<Live>| -> Vec<String> {
            let lines = newest(it.subject.process.lines()).into_iter();
            lines.map(|line| if alone { line } else { format!("{}: {line}", it.number) }).collect()
        };
        newest(live.iter().flat_map(lines).collect())
    }

    /// Where the program listens, for who wants to look at it while it still runs.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.iter().filter(|it| it.subject.process.exit().is_none()).map(|it| it.subject.addr()).collect()
    }
}

impl Subject {
    pub fn get(&self, target: impl Into<String>) -> Call {
        self.request(Method::GET, target)
    }

    pub fn post(&self, target: impl Into<String>) -> Call {
        self.request(Method::POST, target)
    }

    pub fn put(&self, target: impl Into<String>) -> Call {
        self.request(Method::PUT, target)
    }

    pub fn delete(&self, target: impl Into<String>) -> Call {
        self.request(Method::DELETE, target)
    }

    /// A request of any method; the target is a path with its query.
    pub fn request(&self, method: Method, target: impl Into<String>) -> Call {
        Call { ask: self.client.request(method, target), to: self.live.clone() }
    }

    /// Sends bytes as they are on a connection of its own, and returns all that comes until the program closes it, or
    /// until nothing has come for `quiet`. For what a client wouldn't send, or would hide.
    pub async fn raw(&self, bytes: &str, quiet: Duration) -> Graded<String> {
        let printable =
            bytes.replace('\\', "\\\\").replace('\r', "\\r").replace('\n', "\\n").replace('%', "%%");
        let port = self.live.port_shown();
        self.live.journal.line(format!("printf {} | nc 127.0.0.1 {port}", quoted(&printable)));
        let sent = async {
            let mut stream = TcpStream::connect(self.addr()).await?;
            stream.write_all(bytes.as_bytes()).await?;
            let mut came = Vec::new();
            while let Ok(read) = timeout(quiet, stream.read_buf(&mut came)).await {
                if read? == 0 || came.len() > MOST_RAW {
                    break;
                }
            }
            std::io::Result::Ok(String::from_utf8_lossy(&came).into_owned())
        };
        sent.await.map_err(|error| {
            Finding::wrong("the answer to these bytes", "an answer", format!("none: {error}"))
        })
    }

    /// As [`Grader::note`].
    pub fn note(&self, what: impl Display) {
        self.live.journal.note(what);
    }

    /// The same program through connections of its own.
    pub fn fresh(&self) -> Self {
        Self { client: self.client.to(self.addr()), ..self.clone() }
    }

    pub fn addr(&self) -> SocketAddr {
        self.live.subject.addr()
    }

    /// Closes the connections that are kept alive.
    pub fn hang_up(&self) {
        self.client.hang_up();
    }

    /// `SIGKILL` to it and to all that it started.
    pub async fn kill(&self) -> Graded {
        self.live.journal.line(format!("kill -9 $P{}", self.live.number));
        self.live.subject.kill().await.map_err(|error| {
            Finding::wrong("the port after SIGKILL", "free", format!("{error:#}"))
                .because("Your program starts another one in a session of its own, which outlives it.")
        })
    }

    /// Kills it right after its so-many-th write into the files of a directory, counted from now, or when the time is
    /// over: so that it ends between two of its writes. What is awaited in the end is that it is gone.
    pub fn kill_at_write(
        &self,
        dir: &Path,
        nth: usize,
        within: Duration,
    ) -> Graded<impl Future<Output = Graded> + use<'_>> {
        let killed = self.live.subject.process.kill_at_write(dir, nth, within)?;
        Ok(async move {
            killed.await.map_err(anyhow::Error::from)?;
            self.kill().await
        })
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Graded {
        let name = signal.as_str().trim_start_matches("SIG");
        self.live.journal.line(format!("kill -{name} $P{}", self.live.number));
        self.live.subject.process.signal(signal).map_err(Finding::Unsure)
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// It still runs after `within`.
    pub async fn exit(&self, within: Duration) -> Graded<Exit> {
        self.live.subject.process.wait(within).await.map_err(|_| {
            Finding::wrong(
                "the end of your program",
                format!("it ends within {within:?}"),
                format!("it still runs after {within:?}"),
            )
        })
    }

    /// How it ended, or `None` while it runs.
    pub fn ended(&self) -> Option<Exit> {
        self.live.subject.process.exit()
    }

    /// Memory that it has resident now, in KiB, without what it started.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.live.subject.process.pid()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
    }
}

impl Live {
    pub(super) fn addr(&self) -> SocketAddr {
        self.subject.addr()
    }

    /// How a shell knows its port after the start line was typed.
    pub(super) fn port_shown(&self) -> String {
        if self.number == 1 { "$PORT".to_owned() } else { format!("$PORT{}", self.number) }
    }

    /// Why there was no answer, as far as can be known.
    pub(super) async fn no_answer(&self, request: &str, none: &NoAnswer) -> Finding {
        let what = format!("the answer to {request}");
        // A connection that breaks is often the first sign of an end that is a moment away.
        let ends = self.subject.process.wait(Duration::from_millis(300));
        if matches!(none.why, Why::Closed | Why::Unreachable)
            && let Ok(exit) = ends.await
        {
            return Finding::wrong(what, "an answer", format!("none: your program ended, {exit}"))
                .because("Your program ended in the middle; its last lines of output say why.");
        }
        let expected = match none.why {
            Why::Deadline(within) => format!("a whole answer within {within:?}"),
            _ => "an answer of HTTP/1.1".to_owned(),
        };
        Finding::wrong(what, expected, format!("none: {}", none.why)).because(match none.why {
            Why::Deadline(_) => {
                "Your program doesn't finish its answer: it waits for something, or sends it very slowly. Where many \
                 calls came at once: its listening socket has room for too few that wait (the backlog)."
            }
            Why::Garbled { .. } => {
                "What your program sends isn't HTTP: a status line, headers, an empty line, the body."
            }
            _ => "Your program closes the connection before its answer is complete.",
        })
    }
}

impl Said {
    /// What it printed, as one JSON value.
    pub fn json(&self) -> Graded<serde_json::Value> {
        serde_json::from_str(&self.stdout).map_err(|error| {
            let start: String = self.stdout.chars().take(200).collect();
            let found = if start.is_empty() {
                format!("nothing, and {}", self.exit)
            } else {
                format!("{start}  ({error})")
            };
            self.wrong("the standard output", "one JSON object", found)
        })
    }

    /// A fault that this output shows.
    pub fn wrong(&self, what: impl Into<String>, expected: impl Display, found: impl Display) -> Finding {
        Finding::wrong(what, expected, found).said(newest(self.stderr.clone()))
    }
}

impl Answer {
    /// Whether both are the same to the byte: status and body.
    pub fn same_as(&self, first: &Self) -> Graded {
        self.expect("the status", self.code(), first.code())?;
        self.expect("the body", self.reply.text(), first.reply.text())
    }
}

fn newest(mut lines: Vec<String>) -> Vec<String> {
    lines.drain(..lines.len().saturating_sub(SHOWN_LINES));
    let cut = |line: String| match line.char_indices().nth(LONGEST_SHOWN) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    };
    lines.into_iter().map(cut).collect()
}

fn not_up(error: NotUp) -> Finding {
    const WHAT: &str = "the start of your program";
    match error {
        NotUp::CannotStart(error) => Finding::CannotStart(error),
        NotUp::NoPort(error) => Finding::Unsure(error.into()),
        NotUp::Ended { exit, port, said } => {
            let expected = format!("it listens on port {port}, the value of PORT in its environment");
            Finding::wrong(WHAT, expected, format!("it ended, {exit}, before it listened"))
                .because("Your program ends by itself; its last lines of output say why.")
                .said(newest(said))
        }
        NotUp::Silent { port, within, elsewhere, said } => {
            let expected = format!("it listens on port {port}, the value of PORT in its environment");
            let (found, cause) = match &elsewhere[..] {
                [] => (
                    format!("it listens on no port after {within:?}"),
                    "Your program never begins to listen, or takes longer than --patience allows.".to_owned(),
                ),
                ports => {
                    let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
                    (
                        format!("it listens on port {}", ports.join(" and ")),
                        "Your program has a port of its own: read PORT from the environment.".to_owned(),
                    )
                }
            };
            Finding::wrong(WHAT, expected, found).because(cause).said(newest(said))
        }
    }
}
