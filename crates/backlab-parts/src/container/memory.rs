//! Limits of memory: a control group (cgroups(7)) of version 2 or 1, whichever the machine has and lets us make.

use crate::Lab;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A group of processes that share a limit. It is removed when dropped, which needs its processes to be gone.
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
    version: Version,
}

/// No such group can be made on this machine; a run that needs one says so and goes on without.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no memory cgroup can be made here: {0}")]
pub struct NoGroup(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Version {
    /// Files of the limit and of the memory in use; of swap, which is not to help out; and of what was killed.
    fn files(self) -> [&'static str; 4] {
        match self {
            Self::One => [
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "memory.memsw.limit_in_bytes",
                "memory.oom_control",
            ],
            Self::Two => ["memory.max", "memory.current", "memory.swap.max", "memory.events"],
        }
    }
}

impl Lab {
    /// A group of which all processes together may have `limit_mb` MiB.
    ///
    /// # Errors
    /// Neither version lets us: there is no such controller, or it isn't ours to divide.
    pub fn memory_group(&self, limit_mb: u64) -> Result<Group, NoGroup> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mut why = "this machine has no memory controller".to_owned();
        for (parent, version) in parents() {
            let name = format!("{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            match Group::make(parent.join(name), version, limit_mb << 20) {
                Ok(group) => return Ok(group),
                Err(error) => why = format!("{error:#}"),
            }
        }
        Err(NoGroup(why))
    }
}

impl Group {
    fn make(path: PathBuf, version: Version, limit: u64) -> Result<Self> {
        let parent = path.parent().unwrap_or(&path);
        nix::unistd::access(&parent.join("cgroup.procs"), nix::unistd::AccessFlags::W_OK)
            .with_context(|| format!("move processes within {}", parent.display()))?;
        fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
        let group = Self { path, version };
        let [max, _, swap, _] = version.files();
        let file = group.path.join(max);
        fs::write(&file, limit.to_string()).with_context(|| format!("write {}", file.display()))?;
        // Version 1 counts swap with memory, version 2 on its own; either file is missing where nothing is counted.
        let swap_limit = if version == Version::One { limit } else { 0 };
        let _ = fs::write(group.path.join(swap), swap_limit.to_string());
        Ok(group)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes in use; page cache and kernel memory count too.
    pub fn used(&self) -> Option<u64> {
        let [_, used, ..] = self.version.files();
        fs::read_to_string(self.path.join(used)).ok()?.trim().parse().ok()
    }

    /// Processes that the kernel killed since the group had no memory left.
    pub fn killed(&self) -> u64 {
        let [.., events] = self.version.files();
        let events = fs::read_to_string(self.path.join(events)).unwrap_or_default();
        let count = events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
        count.unwrap_or(0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Killed processes may need a moment to leave. What stays is swept at the next start.
        for _ in 0..50 {
            match fs::remove_dir(&self.path) {
                Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                _ => return,
            }
        }
    }
}

const PREFIX: &str = "backlab-";

/// Removes the groups whose owners are gone.
pub(crate) fn sweep() {
    for (parent, _) in parents() {
        for group in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = group.file_name();
            let owner =
                name.to_str().and_then(|it| it.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
            if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
                let _ = fs::remove_dir(group.path());
            }
        }
    }
}

/// The groups in which one might be made: our own and those above it, nearest first, of either version. In version 2
/// a group that has processes can't be divided, unless it is the root: so one above ours is what works.
fn parents() -> Vec<(PathBuf, Version)> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let ours = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut parents = Vec::new();
    for line in ours.lines() {
        // "4:memory:/some/group", or "0::/some/group" in version 2.
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let version = match controllers {
            "" => Version::Two,
            it if it.split(',').any(|it| it == "memory") => Version::One,
            _ => continue,
        };
        let Some(mount) = mounts.lines().find_map(|line| mounted(line, version)) else { continue };
        // In version 2 each mount says which controllers it has; a machine may have memory in version 1 only.
        let controllers = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
        if version == Version::Two && !controllers.split_whitespace().any(|it| it == "memory") {
            continue;
        }
        let group = mount.join(path.trim_start_matches('/'));
        let above = group.ancestors().take_while(|it| it.starts_with(&mount));
        parents.extend(above.map(|it| (it.to_owned(), version)));
    }
    parents
}

/// Where a line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)) mounts the memory controller of a version.
fn mounted(line: &str, version: Version) -> Option<PathBuf> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut file_system = file_system.split(' ');
    let kind = file_system.next()?;
    let has_memory = file_system.nth(1)?.split(',').any(|it| it == "memory");
    let fits = match version {
        Version::One => kind == "cgroup" && has_memory,
        Version::Two => kind == "cgroup2",
    };
    fits.then(|| mount.split(' ').nth(4).map(PathBuf::from))?
}
