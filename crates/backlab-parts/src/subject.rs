//! A program of the reader's, under test: started with a port, watched until it listens, held to its limits.
//!
//! Nothing is believed of it. It may end at once, listen elsewhere, print without end or fork without end; each of
//! these is told apart, with what the program printed, since its author has to find the cause.

use crate::process::{self, Exit, Process, Spec};
use crate::{Lab, resident_kib};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, interval, timeout};

/// Processes that a program under test may have at a time, with all that it started.
pub const MOST_PROCESSES: usize = 100;
/// Memory that they may have resident together, in MiB.
pub const MOST_MEMORY_MIB: u64 = 1024;
/// How long the port may stay taken after the program was killed.
const LETS_GO: Duration = Duration::from_secs(2);

/// A program that listens on the port that it was given. It and its process group end when this is dropped.
#[derive(Debug)]
pub struct Subject {
    pub process: Process,
    addr: SocketAddr,
}

/// Why a program isn't there to be tested.
#[derive(Debug, thiserror::Error)]
pub enum NotUp {
    /// There is no such program, or it may not be run.
    #[error("{0:#}")]
    CannotStart(anyhow::Error),
    /// It ended before it listened.
    #[error("it ended, {exit}, before it listened on its port")]
    Ended { exit: Exit, port: u16, said: Vec<String> },
    /// It runs, and doesn't listen on the port.
    #[error("nothing listened on port {port} within {within:?}")]
    Silent { port: u16, within: Duration, elsewhere: Vec<u16>, said: Vec<String> },
    /// The machine has no port to give.
    #[error("no port can be had: {0}")]
    NoPort(#[from] std::io::Error),
}

impl Lab {
    /// Starts a program with `PORT` in its environment, and waits until that port accepts connections.
    ///
    /// # Errors
    /// It isn't up within `patience`, or never will be.
    pub async fn subject(&self, name: &str, spec: Spec, patience: Duration) -> Result<Subject, NotUp> {
        let port = free_port().await?;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        self.name_address(addr, name);
        let process = self.process(name, spec.env("PORT", port.to_string())).await;
        let subject = Subject { process: process.map_err(NotUp::CannotStart)?, addr };
        let deadline = Instant::now() + patience;
        let mut looks = interval(Duration::from_millis(4));
        loop {
            if TcpStream::connect(addr).await.is_ok() {
                return Ok(subject);
            }
            if let Some(exit) = subject.process.exit() {
                return Err(NotUp::Ended { exit, port, said: subject.process.lines() });
            }
            if Instant::now() >= deadline {
                let elsewhere = listening(&process::marked(self.mark()));
                let said = subject.process.lines();
                return Err(NotUp::Silent { port, within: patience, elsewhere, said });
            }
            looks.tick().await;
        }
    }

    /// Waits until the run's processes, with all that they started, are more or larger than a program under test may
    /// be; then all of them are killed. Returns what was too much.
    pub async fn overgrown(&self) -> String {
        let mut looks = interval(Duration::from_millis(250));
        loop {
            looks.tick().await;
            let marked = process::marked(self.mark());
            let mib = resident_kib(marked.iter().copied()) >> 10;
            let too_much = if marked.len() > MOST_PROCESSES {
                format!("it had {} processes; it may have {MOST_PROCESSES}", marked.len())
            } else if mib > MOST_MEMORY_MIB {
                format!("it had {mib} MiB of memory; it may have {MOST_MEMORY_MIB}")
            } else {
                continue;
            };
            for pid in self.processes().keys() {
                let _ = killpg(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            process::reap_marked(self.mark());
            return too_much;
        }
    }
}

impl Subject {
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// `SIGKILL` to the whole process group; waits until it is gone, and its port free.
    ///
    /// # Errors
    /// Something that it left behind still listens there.
    pub async fn kill(&self) -> anyhow::Result<()> {
        self.process.kill().await?;
        let free = async {
            while TcpStream::connect(self.addr).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LETS_GO, free).await.map_err(|_| {
            anyhow::anyhow!(
                "port {} still accepts connections {LETS_GO:?} after the program was killed: a process that it \
                 started left its process group and lives on",
                self.port()
            )
        })
    }
}

/// A port that nothing uses now.
async fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?.port())
}

/// The ports on which these processes listen for TCP (proc(5), `net/tcp` and `fd`).
fn listening(pids: &[i32]) -> Vec<u16> {
    let sockets: BTreeSet<String> = pids.iter().flat_map(|pid| sockets_of(*pid)).collect();
    let mut ports = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, local, _, state, ..] = fields[..] else { continue };
            let listens = state == "0A" && fields.get(9).is_some_and(|inode| sockets.contains(*inode));
            let port = local.rsplit(':').next().and_then(|hex| u16::from_str_radix(hex, 16).ok());
            ports.extend(port.filter(|_| listens));
        }
    }
    ports.into_iter().collect()
}

/// The inodes of a process's sockets.
fn sockets_of(pid: i32) -> Vec<String> {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let links = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
    links
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect()
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "killed by {signal}"),
                Err(_) => write!(f, "killed by signal {number}"),
            },
        }
    }
}
