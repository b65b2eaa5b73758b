//! Roles: real processes of an experiment's own, without a second program to build or to install.
//!
//! An experiment that needs a server to kill, or a worker to crash between two steps, writes that part as a [`Role`].
//! [`Lab::role`] starts Backlab's own program once more and asks it, by an environment variable, to play the role
//! instead of being Backlab; [`play_if_asked`], the first call of `main`, does so. What the role prints through
//! [`say`] its starter reads with [`Process::line`], such as `ready port=1234`; what the starter sends with
//! [`Process::say`] it gets from [`hear`]. Its messages belong into the run's trace: [`trace`] sends them there. A role
//! ends with its run like every process, also when Backlab itself is killed.
//!
//! ```no_run
//! use backlab_parts::{Lab, role::{self, Role}};
//! # use std::time::Duration;
//! const GREETER: Role = Role { name: "greetings/greeter", play: |args| Box::pin(greet(args)) };
//!
//! async fn greet(args: Vec<String>) -> anyhow::Result<()> {
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//!     role::say(format_args!("ready port={}", listener.local_addr()?.port()));
//!     // … accept, and greet with `args[0]`, until killed
//! #   let _ = args;
//! #   Ok(())
//! }
//!
//! # async fn run(lab: &Lab) -> anyhow::Result<()> {
//! let blue = lab.role("blue", &GREETER, ["hello from 1.0"]).await?;
//! let port: u16 =
//!     blue.line(Duration::from_secs(5), |line| line.strip_prefix("ready port=")?.parse().ok()).await?;
//! blue.kill().await?;
//! # let _ = port; Ok(()) }
//! ```

use crate::{Event, Lab, Process, Spec, Trace};
use anyhow::Result;
use futures::future::LocalBoxFuture;
use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

/// The environment variable that holds the role's name and arguments, as a JSON array of strings.
const ASKED: &str = "BACKLAB_ROLE";

/// Something that an experiment runs as a process of its own.
#[derive(Debug, Clone, Copy)]
pub struct Role {
    /// Unique in the program: the question's slug, a slash, and what it is ("blue-green-deployment/server").
    pub name: &'static str,
    /// Plays it, with the arguments that its starter gave. The process ends when this does: with code 0, or with
    /// code 1 and the error on standard error.
    pub play: fn(Vec<String>) -> LocalBoxFuture<'static, Result<()>>,
}

impl Role {
    /// What starts it, for those who also want limits or a directory; see [`Lab::role`].
    pub fn spec<A: Into<String>>(&self, args: impl IntoIterator<Item = A>) -> Spec {
        self.asked_of(Spec::new(program()).called(format!("backlab {}", self.name)), args)
    }

    /// As [`Role::spec`], for a program that becomes Backlab's own only after it has done something else.
    pub(crate) fn asked_of<A: Into<String>>(&self, spec: Spec, args: impl IntoIterator<Item = A>) -> Spec {
        let asked: Vec<String> =
            std::iter::once(self.name.to_owned()).chain(args.into_iter().map(A::into)).collect();
        spec.env(ASKED, serde_json::Value::from(asked).to_string())
    }
}

impl Lab {
    /// Starts a process that plays `role`, under a name that the trace shows.
    ///
    /// # Errors
    /// As [`Lab::process`].
    pub async fn role<A: Into<String>>(
        &self,
        name: &str,
        role: &Role,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Process> {
        self.process(name, role.spec(args)).await
    }
}

/// Writes one line to whoever started this role. Unlike `println!` it is also heard from within a test, whose
/// standard output is captured.
pub fn say(line: impl Display) {
    let mut stdout = std::io::stdout().lock();
    // A starter who is gone hears nothing; the death signal is on its way.
    let _ = writeln!(stdout, "{line}");
    let _ = stdout.flush();
}

/// The next line from whoever started this role; `None` when nothing more can come.
pub async fn hear() -> Option<String> {
    let line = tokio::task::spawn_blocking(|| std::io::stdin().lines().next());
    line.await.ok()??.ok()
}

/// Begins a line that carries an event of the trace.
const TRACE: &str = "backlab-trace ";

/// The starter's trace, for the parts that this role uses. What is written to it is on its way to the starter before
/// the call returns, so a kill right after doesn't lose it. Steps are the starter's: here they do nothing.
pub fn trace() -> Trace {
    Trace::elsewhere(|event| {
        if let Ok(event) = serde_json::to_string(&event) {
            say(format_args!("{TRACE}{event}"));
        }
    })
}

/// The event of the trace that a line of a role's output carries.
pub(crate) fn event(line: &[u8]) -> Option<Event> {
    serde_json::from_slice(line.strip_prefix(TRACE.as_bytes())?).ok()
}

/// Plays the role that this process was started for and ends the process; returns at once where it is Backlab itself.
/// The first call of every `main`, before anything has been started.
pub fn play_if_asked(roles: impl IntoIterator<Item = Role>) {
    static ON_STAGE: Mutex<()> = Mutex::new(());

    let Ok(asked) = std::env::var(ASKED) else { return };
    // Several tests of one program may come here at once: one plays, the others wait until the process ends.
    let _alone = ON_STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut asked: Vec<String> = serde_json::from_str(&asked).unwrap_or_else(|_| vec![asked]);
    let args = asked.split_off(1.min(asked.len()));
    let role = roles.into_iter().find(|role| asked.first().is_some_and(|name| name == role.name));
    std::process::exit(match role {
        // On a thread of its own, since a caller may be inside of a runtime already.
        Some(role) => std::thread::spawn(move || play(role, args)).join().unwrap_or(101),
        None => {
            complain(format_args!("{ASKED} asks for {asked:?}, which no experiment of this program has"));
            2
        }
    })
}

/// The exit code.
fn play(role: Role, args: Vec<String>) -> i32 {
    let played = tokio::runtime::Builder::new_current_thread().enable_all().build().map(|runtime| {
        let played = runtime.block_on((role.play)(args));
        // Without waiting for a `hear` that nobody will answer.
        runtime.shutdown_background();
        played
    });
    match played.unwrap_or_else(|error| Err(error.into())) {
        Ok(()) => 0,
        Err(error) => {
            complain(format_args!("{}: {error:#}", role.name));
            1
        }
    }
}

/// As [`say`], on standard error.
fn complain(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// The program that plays roles from now on, for tests: their own program isn't Backlab. Only the first call counts.
pub fn set_program(program: impl Into<PathBuf>) {
    let _ = PROGRAM.set(program.into());
}

/// This program by its kernel link (proc(5)), which outlives the replacement of the file by a newer build.
fn program() -> PathBuf {
    PROGRAM.get().cloned().unwrap_or_else(|| "/proc/self/exe".into())
}

/// The same, for a process in between, whose own link would lead to itself.
pub(crate) fn program_for_others() -> PathBuf {
    PROGRAM.get().cloned().unwrap_or_else(|| format!("/proc/{}/exe", std::process::id()).into())
}
