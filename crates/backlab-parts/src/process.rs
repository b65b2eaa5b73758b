//! Processes of a run: started with an owner, watched, stopped, and never left behind.
//!
//! Every child leads a process group of its own, gets a signal when Backlab dies for whatever reason
//! (`PR_SET_PDEATHSIG`, prctl(2)), and carries the run's mark in its environment, so that [`reap_marked`] finds even
//! what has daemonised itself.

use crate::{Lab, Trace, role};
use anyhow::{Context, Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, User};
use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Processes that one run may have at a time.
pub const MOST_PROCESSES: usize = 64;
/// Lines of output that are kept of each process, the newest.
const KEPT_LINES: usize = 200;
/// Bytes that are kept of one line; what is longer is cut, so that an endless line doesn't fill the memory.
const LONGEST_LINE: usize = 64 << 10;
/// The environment variable that marks every process of a run.
pub const MARK: &str = "BACKLAB_RUN";

/// What to start, and how.
#[derive(Debug, Clone)]
pub struct Spec {
    program: PathBuf,
    called: Option<String>,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    user: Option<User>,
    stop: Signal,
    memory_mb: Option<u64>,
}

impl Spec {
    pub fn new(program: impl AsRef<Path>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            called: None,
            args: Vec::new(),
            env: Vec::new(),
            dir: None,
            user: None,
            stop: Signal::SIGKILL,
            memory_mb: None,
        }
    }

    /// What ps(1) shows in place of the program's path.
    pub(crate) fn called(mut self, name: String) -> Self {
        self.called = Some(name);
        self
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Where it runs; the run's own directory unless said otherwise.
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = Some(dir.as_ref().to_owned());
        self
    }

    /// The user to become, for programs that refuse to run as root.
    pub fn user(mut self, user: Option<User>) -> Self {
        self.user = user;
        self
    }

    /// The signal that ends it when its owner goes (`SIGKILL` unless said otherwise): one that makes it take its own
    /// children along.
    pub fn stop_signal(mut self, signal: Signal) -> Self {
        self.stop = signal;
        self
    }

    /// Address space that it may have, in MiB (`RLIMIT_AS`, getrlimit(2)). Not for programs that reserve widely, such
    /// as Node.js.
    pub fn memory_mb(mut self, limit: u64) -> Self {
        self.memory_mb = Some(limit);
        self
    }

    fn command(&self, lab: &Lab) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(name) = &self.called {
            command.arg0(name);
        }
        command
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .env(MARK, lab.mark())
            .current_dir(self.dir.as_deref().unwrap_or(lab.dir()))
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // What wants a signal of its own gets that one from `Process`, or from the kernel when Backlab dies: killed
            // outright it would leave its children, or the kernel's objects that it owns.
            .kill_on_drop(self.stop == Signal::SIGKILL);
        let (user, stop, memory_mb) = (self.user.clone(), self.stop, self.memory_mb);
        // SAFETY: between fork and exec only async-signal-safe system calls are made: no allocation, no lock. The user
        // was looked up before.
        unsafe {
            command.pre_exec(move || {
                if let Some(limit) = memory_mb {
                    use nix::sys::resource::{Resource, setrlimit};
                    setrlimit(Resource::RLIMIT_AS, limit << 20, limit << 20)?;
                }
                if let Some(user) = &user {
                    nix::unistd::setgroups(&[])?;
                    nix::unistd::setgid(user.gid)?;
                    nix::unistd::setuid(user.uid)?;
                }
                // After setuid, which clears it.
                nix::sys::prctl::set_pdeathsig(stop)?;
                Ok(())
            });
        }
        command
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    /// The number of the signal that ended it.
    Signal(i32),
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;
        status.signal().map_or_else(|| Self::Code(status.code().unwrap_or(-1)), Self::Signal)
    }
}

impl Exit {
    /// The signal by which a process brings itself down, such as `SIGABRT`; `None` where it ended otherwise.
    fn fault(self) -> Option<Signal> {
        let Self::Signal(number) = self else { return None };
        let signal = Signal::try_from(number).ok()?;
        use Signal::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV};
        [SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV].contains(&signal).then_some(signal)
    }

    /// As a shell reports it: the code, or 128 + the signal's number.
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// A running child; killed with its whole group when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: Pid,
    stop: Signal,
    trace: Trace,
    stdin: Option<ChildStdin>,
    exit: watch::Receiver<Option<Exit>>,
    output: Arc<Output>,
}

#[derive(Debug)]
struct Output {
    lines: Mutex<VecDeque<Line>>,
    written: watch::Sender<u64>,
}

/// A line that a process printed.
#[derive(Debug, Clone)]
struct Line {
    on: Pipe,
    text: String,
}

/// Where a line was printed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pipe {
    Stdout,
    Stderr,
}

impl Lab {
    /// Starts a process under a name that the trace shows.
    ///
    /// # Errors
    /// The program can't be started, or the run has [`MOST_PROCESSES`] already.
    pub async fn process(&self, name: &str, spec: Spec) -> Result<Process> {
        ensure!(
            self.processes().len() < MOST_PROCESSES,
            "a run may have {MOST_PROCESSES} processes at a time; `{name}` would be one more"
        );
        let mut child = spawn(spec.command(self))
            .await
            .with_context(|| format!("start `{}` as {name}", spec.program.display()))?;
        let pid = Pid::from_raw(child.id().context("it has just been started")?.cast_signed());
        let (tell, exit) = watch::channel(None);
        let (written, _) = watch::channel(0);
        let output = Arc::new(Output { lines: Mutex::default(), written });
        let keep = |on, pipe: Option<Box<dyn AsyncRead + Send + Unpin>>| {
            let (output, trace) = (output.clone(), self.trace().clone());
            pipe.map(|pipe| tokio::spawn(keep_lines(on, pipe, output, trace)))
        };
        let stdout = child.stdout.take().map(|it| Box::new(it) as _);
        let stderr = child.stderr.take().map(|it| Box::new(it) as _);
        let pipes = [keep(Pipe::Stdout, stdout), keep(Pipe::Stderr, stderr)];
        let stdin = child.stdin.take();
        self.processes().insert(pid.as_raw(), spec.stop);
        let (lab, called) = (self.clone(), name.to_owned());
        tokio::spawn(async move {
            let exit = child.wait().await.map_or(Exit::Code(-1), Exit::from);
            for pipe in pipes.into_iter().flatten() {
                // A grandchild may hold the pipe open for ever; what the child itself said is there at once.
                let _ = timeout(Duration::from_millis(200), pipe).await;
            }
            if let Some(fault) = exit.fault() {
                lab.trace().trouble(&called, format_args!("died: {fault}"));
            }
            lab.processes().remove(&pid.as_raw());
            tell.send_replace(Some(exit));
        });
        self.trace().note(name, format_args!("started, pid {pid}"));
        Ok(Process {
            name: name.into(),
            pid,
            stop: spec.stop,
            trace: self.trace().clone(),
            stdin,
            exit,
            output,
        })
    }
}

impl Process {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Sends a signal to this process alone, and says so in the trace.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.trace.trouble(&self.name, signal);
        nix::sys::signal::kill(self.pid, signal).with_context(|| format!("send {signal} to {}", self.name))
    }

    /// `SIGKILL` to the whole group; waits until the process is gone.
    pub async fn kill(&self) -> Result<Exit> {
        self.trace.trouble(&self.name, "SIGKILL");
        let _ = killpg(self.pid, Signal::SIGKILL);
        self.wait(Duration::from_secs(5)).await
    }

    /// Watches the files of a directory from now on, and kills the process group within microseconds of its so-many-th
    /// write into them, or when the time is over: so that it ends between two of its writes. The task that is returned
    /// ends then. Writes that come in quick succession may count as one (inotify(7)), and those through mmap(2) as none.
    ///
    /// # Errors
    /// The directory can't be watched.
    pub fn kill_at_write(&self, dir: &Path, nth: usize, within: Duration) -> Result<JoinHandle<()>> {
        let watch = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        watch_below(&watch, dir)?;
        let pid = self.pid;
        // A thread of its own: what else the runtime has to do must not come between the write and the signal.
        Ok(tokio::task::spawn_blocking(move || {
            let deadline = Instant::now() + within;
            let mut written = 0;
            while let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|_| written < nth) {
                let mut ready = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
                let left = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::ZERO);
                if poll(&mut ready, left).is_ok_and(|ready| ready > 0) {
                    written += watch.read_events().map_or(0, |events| events.len());
                }
            }
            let _ = killpg(pid, Signal::SIGKILL);
        }))
    }

    /// Ends it with its own stop signal; waits until the process is gone.
    pub async fn stop(&self) -> Result<Exit> {
        let _ = nix::sys::signal::kill(self.pid, self.stop);
        self.wait(Duration::from_secs(10)).await
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It still runs after `deadline`.
    pub async fn wait(&self, deadline: Duration) -> Result<Exit> {
        let mut exit = self.exit.clone();
        let ended = timeout(deadline, exit.wait_for(Option::is_some)).await;
        match ended {
            Ok(Ok(exit)) => exit.context("an exit was just seen"),
            Ok(Err(_)) => bail!("the watcher of {} is gone", self.name),
            Err(_) => bail!("{} still runs {deadline:?} after it should have ended", self.name),
        }
    }

    /// How it ended, or `None` while it runs.
    pub fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Waits for the first line of output (either stream) of which `find` makes something.
    ///
    /// # Errors
    /// The process ended or `deadline` passed without such a line; the error holds its last lines.
    pub async fn line<T>(&self, deadline: Duration, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        let mut written = self.output.written.subscribe();
        let mut exit = self.exit.clone();
        let search = async {
            loop {
                written.mark_unchanged();
                let ended = exit.borrow_and_update().is_some();
                if let Some(found) = self.output.lines().iter().find_map(|line| find(&line.text)) {
                    return Some(found);
                }
                if ended {
                    return None;
                }
                tokio::select! { _ = written.changed() => {}, _ = exit.changed() => {} }
            }
        };
        match timeout(deadline, search).await {
            Ok(Some(found)) => Ok(found),
            Ok(None) => bail!("{} ended before it was ready; it said:\n{}", self.name, self.said()),
            Err(_) => bail!("{} was not ready within {deadline:?}; it said:\n{}", self.name, self.said()),
        }
    }

    /// Its newest lines of output, both streams together.
    pub fn lines(&self) -> Vec<String> {
        self.output.lines().iter().map(|line| line.text.clone()).collect()
    }

    /// Its newest lines on one of its streams.
    pub fn lines_on(&self, pipe: Pipe) -> Vec<String> {
        self.output.lines().iter().filter(|line| line.on == pipe).map(|line| line.text.clone()).collect()
    }

    /// Writes one line to its standard input.
    pub async fn say(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().with_context(|| format!("{} has its input closed", self.name))?;
        stdin.write_all(format!("{line}\n").as_bytes()).await?;
        Ok(stdin.flush().await?)
    }

    /// Closes its standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// The most memory it has had resident so far, in KiB (`VmHWM`, proc(5)); `None` once it is gone.
    pub fn peak_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    }

    fn said(&self) -> String {
        let lines = self.output.lines();
        lines.iter().rev().take(12).rev().map(|line| line.text.as_str()).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exit().is_none() {
            let _ = nix::sys::signal::kill(self.pid, self.stop);
            if self.stop == Signal::SIGKILL {
                let _ = killpg(self.pid, Signal::SIGKILL);
            }
        }
    }
}

impl Output {
    fn lines(&self) -> MutexGuard<'_, VecDeque<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn keep_lines(on: Pipe, pipe: impl AsyncRead + Unpin, output: Arc<Output>, trace: Trace) {
    let mut pipe = BufReader::new(pipe);
    while let Ok(Some(line)) = next_line(&mut pipe).await {
        if let Some(event) = role::event(&line) {
            trace.add(event);
            continue;
        }
        let mut kept = output.lines();
        if kept.len() == KEPT_LINES {
            kept.pop_front();
        }
        kept.push_back(Line { on, text: String::from_utf8_lossy(&line).into_owned() });
        drop(kept);
        output.written.send_modify(|count| *count += 1);
    }
}

/// The next line without its end, cut at [`LONGEST_LINE`]; `None` at the end of the stream.
async fn next_line(pipe: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut any = false;
    loop {
        let there = pipe.fill_buf().await?;
        if there.is_empty() {
            return Ok(any.then_some(line));
        }
        any = true;
        let end = there.iter().position(|byte| *byte == b'\n');
        let (part, used) = end.map_or((there, there.len()), |end| (&there[..end], end + 1));
        line.extend_from_slice(&part[..part.len().min(LONGEST_LINE - line.len())]);
        pipe.consume(used);
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

/// Forks on one thread that lives as long as Backlab: the death signal of prctl(2) comes when the *thread* that forked
/// ends, and a runtime's threads come and go.
async fn spawn(command: Command) -> Result<Child> {
    type Order = (Command, tokio::runtime::Handle, tokio::sync::oneshot::Sender<std::io::Result<Child>>);
    static FORKER: Mutex<Option<mpsc::Sender<Order>>> = Mutex::new(None);

    let (tell, told) = tokio::sync::oneshot::channel();
    let order = (command, tokio::runtime::Handle::current(), tell);
    {
        let mut forker = FORKER.lock().unwrap_or_else(PoisonError::into_inner);
        if forker.is_none() {
            let (orders, inbox) = mpsc::channel::<Order>();
            std::thread::Builder::new().name("forker".into()).spawn(move || {
                for (mut command, runtime, tell) in inbox {
                    let _runtime = runtime.enter();
                    let _ = tell.send(command.spawn());
                }
            })?;
            *forker = Some(orders);
        }
        if let Some(orders) = &*forker {
            orders.send(order).ok().context("the thread that starts processes is gone")?;
        }
    }
    Ok(told.await.context("the thread that starts processes is gone")??)
}

/// Watches a directory and those in it.
fn watch_below(watch: &Inotify, dir: &Path) -> Result<()> {
    let written = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
    watch.add_watch(dir, written).with_context(|| format!("watch {}", dir.display()))?;
    for entry in std::fs::read_dir(dir)?.flatten() {
        if entry.file_type().is_ok_and(|it| it.is_dir()) {
            watch_below(watch, &entry.path())?;
        }
    }
    Ok(())
}

/// Kills every process that carries the mark, whoever its parent is by now, and those that these start meanwhile.
/// Returns how many those were.
pub fn reap_marked(mark: &str) -> usize {
    let mut killed = BTreeSet::new();
    // Whoever forks without end is met again each time until none of its kind is left to fork.
    for _ in 0..100 {
        let left = marked(mark);
        if left.is_empty() {
            break;
        }
        let kill = |pid: &i32| nix::sys::signal::kill(Pid::from_raw(*pid), Signal::SIGKILL).is_ok();
        killed.extend(left.into_iter().filter(kill));
    }
    killed.len()
}

/// The processes that carry the mark, but for those that are dead and not yet buried.
pub(crate) fn marked(mark: &str) -> Vec<i32> {
    let wanted = format!("{MARK}={mark}");
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        // Of a dead process it is empty.
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
    })
    .collect()
}
