//! Private directories of runs, which vanish with them, also after `kill -9`.
//!
//! Each room holds a lock on a file of its own for as long as its owner lives. A room whose lock can be taken has lost
//! its owner, so the next start of Backlab removes it.

use anyhow::{Context, Result};
use std::fs::{self, File, Permissions, TryLockError};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const LOCK: &str = ".owner";
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A directory that is removed when this is dropped.
#[derive(Debug)]
pub struct Room {
    path: PathBuf,
    _lock: File,
}

impl Room {
    /// A fresh directory, in memory where the machine has room there (`/dev/shm`), else in the temporary directory.
    pub fn open() -> Result<Self> {
        Self::open_in(&base())
    }

    fn open_in(base: &Path) -> Result<Self> {
        let path = base.join(format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(&path)
            .with_context(|| format!("create the run's directory {}", path.display()))?;
        // Parts that refuse to run as root run as another user, who must be able to walk through.
        for dir in [base, &path] {
            fs::set_permissions(dir, Permissions::from_mode(0o711))
                .with_context(|| dir.display().to_string())?;
        }
        let lock = File::create(path.join(LOCK)).with_context(|| format!("lock {}", path.display()))?;
        lock.try_lock().with_context(|| format!("lock {}", path.display()))?;
        Ok(Self { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // A server that is just dying may still write a last file; the next start sweeps what that leaves.
        let _ = remove(&self.path);
    }
}

/// Removes the rooms whose owners are gone, and their limits of memory. Returns how many rooms those were.
pub fn sweep() -> usize {
    crate::container::memory::sweep();
    sweep_in(&base())
}

fn sweep_in(base: &Path) -> usize {
    let Ok(rooms) = fs::read_dir(base) else { return 0 };
    rooms.flatten().filter(|room| is_abandoned(&room.path()) && remove(&room.path()).is_ok()).count()
}

/// Removes a directory. An overlay leaves directories that may not even be listed, but by root.
fn remove(dir: &Path) -> std::io::Result<()> {
    fs::remove_dir_all(dir).or_else(|_| {
        open_up(dir);
        fs::remove_dir_all(dir)
    })
}

fn open_up(dir: &Path) {
    let _ = fs::set_permissions(dir, Permissions::from_mode(0o700));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|it| it.is_dir()) {
            open_up(&entry.path());
        }
    }
}

fn is_abandoned(room: &Path) -> bool {
    match File::open(room.join(LOCK)) {
        Ok(lock) => !matches!(lock.try_lock(), Err(TryLockError::WouldBlock)),
        // Between its birth and its lock a room has no lock file: leave a young one alone.
        Err(_) => fs::metadata(room)
            .and_then(|it| it.modified())
            .is_ok_and(|at| at.elapsed().is_ok_and(|age| age.as_secs() > 60)),
    }
}

/// Where the rooms of this user are. Short, since the path of a Unix socket ends at 107 bytes (unix(7)).
pub fn base() -> PathBuf {
    let uid = nix::unistd::geteuid();
    let shm = Path::new("/dev/shm");
    let parent = if has_space(shm) { shm.to_owned() } else { std::env::temp_dir() };
    parent.join(format!("backlab-{uid}"))
}

/// At least 512 MiB free: a PostgreSQL with a standby needs about 100.
fn has_space(dir: &Path) -> bool {
    nix::sys::statvfs::statvfs(dir).is_ok_and(|it| it.blocks_available() * it.fragment_size() >= 512 << 20)
        && nix::unistd::access(dir, nix::unistd::AccessFlags::W_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_vanishes_with_its_owner_and_a_sweep_spares_the_living() {
        let base = tempfile::tempdir().unwrap();
        let room = Room::open_in(base.path()).unwrap();
        fs::write(room.path().join("file"), "x").unwrap();
        assert_eq!(sweep_in(base.path()), 0, "its owner lives");
        let path = room.path().to_owned();
        drop(room);
        assert!(!path.exists());

        let orphan = base.path().join("1-0");
        fs::create_dir(&orphan).unwrap();
        File::create(orphan.join(LOCK)).unwrap();
        assert_eq!(sweep_in(base.path()), 1);
        assert!(!orphan.exists());
    }
}
