//! Containers from the kernel's own parts, without a container engine.
//!
//! A container is a process that was started with its own namespaces (namespaces(7)), on a root of its own: an overlay
//! of an image's read-only layers with one writable layer on top. `unshare` (1) makes the namespaces, and
//! [`INSIDE`], a role that Backlab's own program plays as the first process in there, makes the root, moves into it,
//! and becomes the program that was asked for. All of it works for root, and for an ordinary user where the kernel
//! grants user namespaces. The mounts live in the container's own mount namespace, so they end with its processes.
//!
//! [`images::Images`] makes images, [`memory::Group`] limits memory.

use crate::{Exit, Lab, Process, Spec, Trace, inventory, role};
use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub mod images;
mod inside;
pub mod memory;

pub use images::{Image, Images, Layer};
pub use inside::INSIDE;

/// What the first process of a container is given to start in, and its every command to end in.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// A shell that reads commands, runs each, and says when it is done: [`Container::sh`].
const PROMPT: &str =
    r#"n=0; while read -r command; do eval "$command" 2>&1; n=$((n+1)); echo; echo "done $n"; done"#;

/// What is run in a container, and which parts of the machine are its own.
#[derive(Debug, Clone)]
pub struct Config {
    image: Image,
    command: String,
    init: bool,
    own_pids: bool,
    volume: Option<PathBuf>,
    secret: Option<PathBuf>,
    memory: Option<PathBuf>,
}

impl Config {
    /// A shell command on an image; the shell is the first process unless it says `exec`.
    pub fn new(image: &Image, command: impl Into<String>) -> Self {
        Self {
            image: image.clone(),
            command: command.into(),
            init: false,
            own_pids: true,
            volume: None,
            secret: None,
            memory: None,
        }
    }

    /// A shell that waits for commands: [`Container::sh`].
    pub fn prompt(image: &Image) -> Self {
        Self::new(image, PROMPT)
    }

    /// The first process is a small init, and the command its child: it passes SIGTERM on, and reaps orphans.
    pub fn init(mut self) -> Self {
        self.init = true;
        self
    }

    /// No PID namespace of its own: its processes are numbered among the machine's, and see them.
    pub fn host_pids(mut self) -> Self {
        self.own_pids = false;
        self
    }

    /// A directory outside that is at `/data` inside, and outlives the container.
    pub fn volume(mut self, directory: &Path) -> Self {
        self.volume = Some(directory.to_owned());
        self
    }

    /// A file that is at `/run/secret` while the container lives, in memory, and in no layer.
    pub fn secret(mut self, file: &Path) -> Self {
        self.secret = Some(file.to_owned());
        self
    }

    /// The group whose limit holds for the container.
    pub fn memory(mut self, group: &memory::Group) -> Self {
        self.memory = Some(group.path().to_owned());
        self
    }
}

/// A running container; killed when dropped.
#[derive(Debug)]
pub struct Container {
    /// Outside, the parent of the container's first process; it ends as that does, with 128 + the signal's number
    /// where a signal ended it.
    pub process: Process,
    trace: Trace,
    first: Option<i32>,
    writable: PathBuf,
    commands: usize,
}

impl Lab {
    /// Starts a container under a name that is also its host name.
    ///
    /// # Errors
    /// [`Missing`](crate::Missing) where the kernel doesn't grant namespaces; otherwise what couldn't be made.
    pub async fn container(&self, name: &str, config: Config) -> Result<Container> {
        let version = inventory::NAMESPACES.version()?;
        self.used(inventory::NAMESPACES.name, version);
        let room = config.image.store.fresh("container")?;
        let order = inside::Order {
            layers: config.image.directories(),
            writable: room.join("writable"),
            work: room.join("work"),
            root: room.join("root"),
            host_name: name.to_owned(),
            own_pids: config.own_pids,
            init: config.init,
            volume: config.volume.clone(),
            secret: config.secret.clone(),
            command: config.command.clone(),
        };
        for dir in [&order.writable, &order.work, &order.root] {
            std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        }
        let what = if order.command == PROMPT { "a shell" } else { order.command.as_str() };
        let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
        self.trace().message("host", name, format_args!("on {} layers: {what}", order.layers.len()));
        let process = self.process(name, outside(&order, &config)?).await?;
        let entered = process.line(DEADLINE, |line| (line == inside::ENTERED).then_some(())).await;
        entered.context("the container's first process did not start")?;
        let first = children(process.pid()).first().map(|it| it.pid);
        Ok(Container { process, trace: self.trace().clone(), first, writable: order.writable, commands: 0 })
    }
}

/// Joins the memory group, opens our program while its path can still be walked, enters new namespaces, and starts
/// it: a new PID namespace holds the children of who made it, so the first of them has PID 1. A shell waits for it and
/// ends as it does; `unshare --fork` ends with 1 where its child was killed (util-linux 2.38).
const OUTSIDE: &str = r#"if [ -n "$2" ]; then echo $$ > "$2/cgroup.procs" || exit; fi
exec 9< "$1" && shift 2 && exec unshare "$@" sh -c '/proc/self/fd/9; exit $?'"#;

fn outside(order: &inside::Order, config: &Config) -> Result<Spec> {
    let spec = Spec::new("sh")
        .args(["-c", OUTSIDE, "sh"])
        .arg(role::program_for_others())
        .arg(config.memory.as_deref().unwrap_or(Path::new("")))
        .args(["--user", "--map-root-user", "--mount", "--uts", "--ipc", "--net"])
        .args(config.own_pids.then_some("--pid"));
    Ok(INSIDE.asked_of(spec, [serde_json::to_string(order)?]))
}

impl Container {
    /// The first process, by the number under which the machine knows it.
    ///
    /// # Errors
    /// It had ended before it could be seen.
    pub fn first(&self) -> Result<i32> {
        self.first.with_context(|| format!("{} ended as it began", self.process.name()))
    }

    /// Waits for its end, and says so in the trace.
    ///
    /// # Errors
    /// It still runs after `deadline`.
    pub async fn wait(&self, deadline: Duration) -> Result<Exit> {
        let exit = self.process.wait(deadline).await?;
        match exit {
            Exit::Code(0) => self.trace.note(self.process.name(), "ended"),
            exit => self.trace.trouble(self.process.name(), format_args!("ended with {}", exit.shell_code())),
        }
        Ok(exit)
    }

    /// What the container has written, as files outside.
    pub fn writable(&self) -> &Path {
        &self.writable
    }

    /// Has the shell of [`Config::prompt`] run a command; what it printed, line by line.
    ///
    /// # Errors
    /// The container ends, or the command doesn't within [`DEADLINE`].
    pub async fn sh(&mut self, command: &str) -> Result<Vec<String>> {
        let (begin, end) = (format!("done {}", self.commands), format!("done {}", self.commands + 1));
        self.commands += 1;
        let trace = self.trace.clone();
        trace.message("host", self.process.name(), command);
        self.process.say(command).await?;
        self.process.line(DEADLINE, |line| (line == end).then_some(())).await?;
        let lines = self.process.lines();
        let after =
            lines.iter().rposition(|line| *line == begin || line == inside::ENTERED).map_or(0, |it| it + 1);
        let mut said: Vec<_> = lines[after..].iter().take_while(|line| **line != end).cloned().collect();
        // The prompt begins a new line, whether the output ended with one or not.
        said.pop_if(|line| line.is_empty());
        trace.message(self.process.name(), "host", said.first().map_or("(nothing)", String::as_str));
        Ok(said)
    }

    /// Sends a signal from outside to the first process.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.trace.message("host", self.process.name(), signal);
        nix::sys::signal::kill(Pid::from_raw(self.first()?), signal)
            .with_context(|| format!("send {signal} to the first process of {}", self.process.name()))
    }

    /// The first process is there, and no signal is waiting for it: what was sent has been ignored, or handled.
    pub fn is_untouched(&self) -> bool {
        let Some(first) = self.first else { return false };
        let status = std::fs::read_to_string(format!("/proc/{first}/status")).unwrap_or_default();
        let pending = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        ["SigPnd:", "ShdPnd:"]
            .iter()
            .all(|it| pending(it).is_some_and(|mask| mask.bytes().all(|it| it == b'0')))
            && pending("State:").is_some_and(|state| !state.starts_with('Z'))
    }

    /// The program that the first process is by now, by the kernel's name for it (`comm`, proc_pid_comm(5)).
    pub fn program(&self) -> Option<String> {
        let comm = std::fs::read_to_string(format!("/proc/{}/comm", self.first?)).ok()?;
        Some(comm.trim_end().to_owned())
    }

    /// Dead children of the first process that it has not waited for.
    pub fn zombies(&self) -> usize {
        self.children().iter().filter(|it| it.state == 'Z').count()
    }

    /// Children of the first process, dead ones too, as the machine sees them.
    pub fn children(&self) -> Vec<Child> {
        self.first.map(children).unwrap_or_default()
    }
}

/// A process of which only its parent's business is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Child {
    pub pid: i32,
    /// As in proc_pid_stat(5): `S` sleeps, `R` runs, `Z` is dead and not waited for.
    pub state: char,
}

/// The children of a process; `/proc/PID/stat` (proc_pid_stat(5)) is readable whoever owns them.
fn children(parent: i32) -> Vec<Child> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok());
    let child = |pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name between the parentheses may hold anything.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let (state, ppid) = (fields.next()?.chars().next()?, fields.next()?.parse::<i32>().ok()?);
        (ppid == parent).then_some(Child { pid, state })
    };
    pids.filter_map(child).collect()
}
