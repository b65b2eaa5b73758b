//! PostgreSQL as a private cluster: copied from a template, ready in about a tenth of a second, gone with the run.
//!
//! It listens on a Unix socket in a directory of its own, and nowhere else. Whoever needs TCP, a count of what crosses
//! the wire or a distance to the database stands a [`Wire`] in front of it.

use crate::process::{Process, Spec};
use crate::{Lab, inventory};
use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

mod session;
mod template;
mod wire;

pub use session::{Answer, Pending, Session, Settled, SqlError};
pub use wire::{Counts, Wire};

/// The port in the name of the socket; nothing listens on it.
const PORT: u16 = 5432;
/// How long a server may take to start; one that recovers from a crash reads its whole log first.
const START: Duration = Duration::from_secs(30);
/// How long a standby may take to replay what its primary has written.
const CATCH_UP: Duration = Duration::from_secs(10);

/// A running cluster. Dropping it ends the server at once, as a crash of the machine would.
#[derive(Debug)]
pub struct Postgres {
    name: String,
    lab: Lab,
    /// Holds the socket and, in `data`, the cluster.
    dir: PathBuf,
    settings: Vec<String>,
    process: Process,
    observer: Arc<session::Observer>,
}

impl Lab {
    /// A cluster with an empty database `postgres`, under a name that the trace shows.
    ///
    /// # Errors
    /// PostgreSQL isn't installed ([`Missing`](crate::Missing)), or it doesn't start; the error holds what it said.
    pub async fn postgres(&self, name: &str) -> Result<Postgres> {
        self.postgres_with(name, &[]).await
    }

    /// A cluster with settings of its own over those of every cluster: `[("wal_level", "logical")]`. Any parameter of
    /// the PostgreSQL manual's chapter 20 will do.
    ///
    /// # Errors
    /// As [`Lab::postgres`].
    pub async fn postgres_with(&self, name: &str, settings: &[(&str, &str)]) -> Result<Postgres> {
        let settings = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let dir = new_cluster(self, name).await?;
        Postgres::start(self, name, dir, settings).await
    }
}

impl Postgres {
    async fn start(lab: &Lab, name: &str, dir: PathBuf, settings: Vec<String>) -> Result<Self> {
        let process = start(lab, name, &dir, &settings).await?;
        let observer = Arc::new(session::Observer::new(options_in(&dir)));
        Ok(Self { name: name.to_owned(), lab: lab.clone(), dir, settings, process, observer })
    }

    /// The name that the trace shows.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory that holds the server's socket.
    pub fn socket_dir(&self) -> &Path {
        &self.dir
    }

    /// The server's main process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// How to connect, for experiments that bring a client of their own.
    pub fn options(&self) -> PgConnectOptions {
        options_in(&self.dir)
    }

    /// A pool of at most so many connections, which gives up on one after five seconds. What is said over them isn't
    /// in the trace.
    pub async fn pool(&self, most: u32) -> Result<PgPool> {
        let pool = PgPoolOptions::new().max_connections(most).acquire_timeout(Duration::from_secs(5));
        pool.connect_with(self.options()).await.with_context(|| format!("connect to {}", self.name))
    }

    /// Stops the server in an orderly way if it runs, and starts it on the same files. Open sessions are lost.
    pub async fn restart(&mut self) -> Result<()> {
        if self.process.exit().is_none() {
            self.process.signal(Signal::SIGINT)?;
            self.process.wait(START).await?;
        }
        self.process = start(&self.lab, &self.name, &self.dir, &self.settings).await?;
        self.observer.disconnect().await;
        Ok(())
    }

    /// Kills the server with all its processes (`SIGKILL`), so that none can write anything more.
    /// [`restart`](Self::restart) then recovers from the write-ahead log.
    pub async fn crash(&mut self) -> Result<()> {
        let postmaster = Pid::from_raw(self.process.pid());
        // Stopped, so that it starts no more of them while they are being killed.
        kill(postmaster, Signal::SIGSTOP).with_context(|| format!("stop {}", self.name))?;
        let backends = children_of(postmaster.as_raw());
        for backend in &backends {
            let _ = kill(Pid::from_raw(*backend), Signal::SIGKILL);
        }
        self.process.kill().await?;
        let deadline = Instant::now() + START;
        while backends.iter().any(|pid| is_alive(*pid)) {
            ensure!(Instant::now() < deadline, "processes of {} are still there after SIGKILL", self.name);
            sleep(Duration::from_millis(1)).await;
        }
        forget_postmaster(&self.dir)
    }

    /// A streaming replica, readable and with the same settings. It starts from the template and replays everything
    /// that this server has written since; that must still be in its log (`wal_keep_size`).
    pub async fn standby(&self, name: &str) -> Result<Postgres> {
        let dir = new_cluster(&self.lab, name).await?;
        let signal = dir.join("data/standby.signal");
        fs::write(&signal, "").with_context(|| signal.display().to_string())?;
        let mut settings = self.settings.clone();
        settings.push(format!(
            "primary_conninfo=host={} port={PORT} user=postgres application_name={name}",
            self.dir.display()
        ));
        let standby = Self::start(&self.lab, name, dir, settings).await?;
        self.lab.trace().message(&self.name, name, "streams its write-ahead log");
        Ok(standby)
    }

    /// Waits until this standby has replayed all that its primary has written by now.
    ///
    /// # Errors
    /// It hasn't after ten seconds.
    pub async fn catch_up_with(&self, primary: &Postgres) -> Result<()> {
        let written: String = primary.observer.one("SELECT pg_current_wal_lsn()::text").await?;
        let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn");
        let deadline = Instant::now() + CATCH_UP;
        while !self.observer.one::<bool>(&replayed).await? {
            ensure!(
                Instant::now() < deadline,
                "{} hasn't replayed {}'s log up to {written} within {CATCH_UP:?}",
                self.name,
                primary.name
            );
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }
}

/// A directory under the run's own, with a cluster in it that has never been started.
async fn new_cluster(lab: &Lab, name: &str) -> Result<PathBuf> {
    let version = inventory::POSTGRES.version()?;
    lab.used("postgres", version);
    ensure!(
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)),
        "`{name}` can't name a cluster: letters, digits, `-` and `_` can"
    );
    let dir = lab.dir().join(name);
    fs::create_dir(&dir).with_context(|| format!("create {} for a cluster", dir.display()))?;
    let user = server_user()?;
    give(&dir, user.as_ref())?;
    template::copy(user.as_ref(), &dir.join("data")).await?;
    Ok(dir)
}

async fn start(lab: &Lab, name: &str, dir: &Path, settings: &[String]) -> Result<Process> {
    let spec = server(&dir.join("data"), dir, server_user()?)?
        .args(settings.iter().flat_map(|setting| ["-c", setting]));
    let process = lab.process(name, spec).await?;
    // On a standby the line goes on with "read-only connections".
    process
        .line(START, |line| line.contains("database system is ready to accept").then_some(()))
        .await
        .with_context(|| format!("start PostgreSQL as {name}"))?;
    Ok(process)
}

/// The server on a cluster. `SIGQUIT` makes it end at once and take along its children, which are in sessions of their
/// own (PostgreSQL manual, 19.5).
fn server(cluster: &Path, socket_dir: &Path, user: Option<User>) -> Result<Spec> {
    let program = inventory::postgres_program("postgres").map_err(|why| anyhow!(why))?;
    Ok(Spec::new(program)
        .arg("-D")
        .arg(cluster)
        .arg("-k")
        .arg(socket_dir)
        .arg(format!("--port={PORT}"))
        .user(user)
        .stop_signal(Signal::SIGQUIT))
}

/// The user to become: PostgreSQL refuses to run as root.
fn server_user() -> Result<Option<User>> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name)? {
            return Ok(Some(user));
        }
    }
    bail!("PostgreSQL refuses to run as root, and there is neither a user `postgres` nor a user `nobody`")
}

fn give(path: &Path, user: Option<&User>) -> Result<()> {
    let Some(user) = user else { return Ok(()) };
    std::os::unix::fs::chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
        .with_context(|| format!("give {} to {}", path.display(), user.name))
}

fn options_in(socket_dir: &Path) -> PgConnectOptions {
    as_superuser().socket(socket_dir).port(PORT)
}

fn as_superuser() -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .username("postgres")
        .database("postgres")
        .ssl_mode(PgSslMode::Disable)
        .disable_statement_logging()
}

/// Removes what a killed server leaves: a lock on the cluster that would keep the next one from starting, and the
/// System V segment by which servers on the same cluster notice each other.
fn forget_postmaster(dir: &Path) -> Result<()> {
    let lock = dir.join("data/postmaster.pid");
    let text = fs::read_to_string(&lock).with_context(|| lock.display().to_string())?;
    // The seventh line holds the segment's key and its id (miscadmin.h, LOCK_FILE_LINE_SHMEM_KEY).
    let segment = text.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    if let Some(id) = segment {
        // SAFETY: IPC_RMID takes no buffer (shmctl(2)).
        unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
    }
    fs::remove_file(&lock).with_context(|| lock.display().to_string())?;
    for socket in [format!(".s.PGSQL.{PORT}"), format!(".s.PGSQL.{PORT}.lock")] {
        let _ = fs::remove_file(dir.join(socket));
    }
    Ok(())
}

fn children_of(parent: i32) -> Vec<i32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|it| it.file_name().to_str()?.parse().ok())
        .filter(|pid| stat(*pid).is_some_and(|(_, its_parent)| its_parent == parent))
        .collect()
}

fn is_alive(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z')
}

/// A process's state and parent (proc(5), stat). Its name stands in front, in parentheses that it may hold too.
fn stat(pid: i32) -> Option<(char, i32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
