//! Real things on this machine, lent to an experiment: started, watched, stopped.
//!
//! A [`Lab`] belongs to one run. Every part that it lends writes its own messages to the run's [`Trace`], keeps to its
//! limits, and ends with the run. Nothing here knows what an experiment is, nor how anything is shown.

use anyhow::Result;
use nix::sys::signal::Signal;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub mod browser;
pub mod clock;
pub mod container;
pub mod gate;
pub mod http;
pub mod inventory;
pub mod linearizability;
mod listen;
pub mod load;
pub mod nats;
pub mod net;
pub mod node;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod random;
pub mod redis;
pub mod role;
pub mod room;
pub mod sqlite;
pub mod subject;
pub mod trace;
pub mod websocket;

pub use inventory::{Missing, Part};
pub use process::{Exit, Process, Spec};
pub use role::Role;
pub use trace::{Event, Fate, Trace};

/// KiB in a page of memory on the machines that Backlab is built for (getconf PAGE_SIZE).
const PAGE_KIB: u64 = 4;

/// What one run has: a trace, a seed, a private directory, and the parts it was lent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lab(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    trace: Trace,
    seed: u64,
    room: room::Room,
    mark: String,
    processes: Mutex<BTreeMap<i32, Signal>>,
    used: Mutex<BTreeSet<(&'static str, String)>>,
    names: Arc<http::Names>,
}

impl Lab {
    /// A lab for one run. The seed decides whatever is random in it.
    pub fn open(seed: u64, trace: Trace) -> Result<Self> {
        let room = room::Room::open()?;
        let mark = room.path().display().to_string();
        Ok(Self(Arc::new(Inner {
            trace,
            seed,
            room,
            mark,
            processes: Mutex::default(),
            used: Mutex::default(),
            names: Arc::default(),
        })))
    }

    /// Announces what the experiment does next.
    pub fn step(&self, what: impl std::fmt::Display) {
        self.0.trace.step(what);
    }

    /// Names the parts in the order in which the figure of the messages shall stand them.
    pub fn cast<'a>(&self, parts: impl IntoIterator<Item = &'a str>) {
        self.0.trace.cast(parts);
    }

    pub fn trace(&self) -> &Trace {
        &self.0.trace
    }

    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// A random generator of its own for each purpose, so that one more draw here changes nothing there.
    pub fn rng(&self, purpose: &str) -> StdRng {
        use sha2::{Digest, Sha256};
        StdRng::from_seed(
            Sha256::new().chain_update(self.0.seed.to_le_bytes()).chain_update(purpose).finalize().into(),
        )
    }

    /// The run's private directory, which vanishes with it.
    pub fn dir(&self) -> &Path {
        self.0.room.path()
    }

    /// Notes that the run used a part, with the version that it found.
    pub fn used(&self, part: &'static str, version: impl Into<String>) {
        self.0.used.lock().unwrap_or_else(PoisonError::into_inner).insert((part, version.into()));
    }

    /// The parts that were used so far, each with its version.
    pub fn parts(&self) -> Vec<(&'static str, String)> {
        self.0.used.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Memory that the run's processes have resident now, in KiB, shared pages counted in each (proc(5), `statm`).
    pub fn resident_kib(&self) -> u64 {
        resident_kib(self.processes().keys().copied())
    }

    /// Ends whatever still runs, and waits until it is gone; for the end of a run, however it ended.
    pub async fn close(self) {
        for (pid, stop) in self.processes().iter() {
            let pid = nix::unistd::Pid::from_raw(*pid);
            let _ = nix::sys::signal::kill(pid, *stop);
        }
        if !self.gone_within(Duration::from_millis(1500)).await {
            for pid in self.processes().keys() {
                let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(*pid), Signal::SIGKILL);
            }
            self.gone_within(Duration::from_secs(2)).await;
        }
        process::reap_marked(&self.0.mark);
    }

    async fn gone_within(&self, deadline: Duration) -> bool {
        let gone = async {
            while !self.processes().is_empty() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(deadline, gone).await.is_ok()
    }

    fn names(&self) -> &Arc<http::Names> {
        &self.0.names
    }

    fn mark(&self) -> &str {
        &self.0.mark
    }

    fn processes(&self) -> MutexGuard<'_, BTreeMap<i32, Signal>> {
        self.0.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Memory that these processes have resident now, in KiB, shared pages counted in each (proc(5), `statm`).
pub(crate) fn resident_kib(pids: impl IntoIterator<Item = i32>) -> u64 {
    let pages = |pid| {
        let sizes = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        sizes.split(' ').nth(1)?.parse::<u64>().ok()
    };
    let pages: u64 = pids.into_iter().filter_map(pages).sum();
    pages * PAGE_KIB
}
