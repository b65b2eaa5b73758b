//! The first process of a container: it makes the root, moves into it, and becomes the program.

use crate::process::MARK;
use crate::role::{self, Role};
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tokio::signal::unix::{SignalKind, signal};

/// Played by the first process of every container: every experiment that starts containers lists it in its `ROLES`.
pub const INSIDE: Role = Role { name: "container/inside", play: |args| Box::pin(inside(args)) };

/// Said before the program begins.
pub const ENTERED: &str = "entered";

#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// Directories of the layers, the lowest first, seen from the working directory.
    pub layers: Vec<PathBuf>,
    pub writable: PathBuf,
    pub work: PathBuf,
    pub root: PathBuf,
    pub host_name: String,
    pub own_pids: bool,
    pub init: bool,
    pub volume: Option<PathBuf>,
    pub secret: Option<PathBuf>,
    pub command: String,
}

async fn inside(args: Vec<String>) -> Result<()> {
    let order: Order = serde_json::from_str(args.first().context("no order")?)?;
    // The container ends with the process that waits for it outside.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::SIGKILL)?;
    // The file that this program was started from, which nobody else in the container shall have.
    nix::unistd::close(9)?;
    nix::unistd::sethostname(&order.host_name).context("set the host name")?;
    overlay(&order)?;
    fill(&order)?;
    enter(&order.root)?;
    let mut program = Command::new("/bin/sh");
    program.args(["-c", &order.command]).env_clear().env("PATH", "/bin");
    program.envs(std::env::var_os(MARK).map(|mark| (MARK, mark)));
    role::say(ENTERED);
    if order.init {
        return init(program).await;
    }
    Err(program.exec()).context("become /bin/sh")
}

/// The layers, seen as one directory that can be written to (kernel documentation, Overlay Filesystem).
fn overlay(order: &Order) -> Result<()> {
    let layers: Vec<_> = order.layers.iter().rev().map(|it| it.display().to_string()).collect();
    let (upper, work) = (order.writable.display(), order.work.display());
    // `userxattr`: in a user namespace the overlay's own marks can't be `trusted.*` attributes.
    let options = format!("lowerdir={},upperdir={upper},workdir={work},userxattr", layers.join(":"));
    mount(Some("overlay"), &order.root, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .with_context(|| format!("mount the overlay {options}"))
}

/// The machine's few files that a program expects, the volume and the secret.
fn fill(order: &Order) -> Result<()> {
    let bind = |from: &Path, to: &str| {
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some(from), &order.root.join(to), None::<&str>, flags, None::<&str>)
            .with_context(|| format!("bind {}", from.display()))
    };
    if order.own_pids {
        // It shows the processes of the PID namespace of whoever mounts it.
        mount(Some("proc"), &order.root.join("proc"), Some("proc"), MsFlags::empty(), None::<&str>)
            .context("mount /proc")?;
    } else {
        bind(Path::new("/proc"), "proc")?;
    }
    bind(Path::new("/dev/null"), "dev/null")?;
    if let Some(volume) = &order.volume {
        bind(volume, "data")?;
    }
    if let Some(secret) = &order.secret {
        let run = order.root.join("run");
        mount(Some("tmpfs"), &run, Some("tmpfs"), MsFlags::empty(), None::<&str>).context("mount /run")?;
        std::fs::copy(secret, run.join("secret")).context("copy the secret")?;
    }
    Ok(())
}

/// Makes `root` the root, and lets go of the old one: the sequence of pivot_root(2), "pivot_root(".", ".")".
fn enter(root: &Path) -> Result<()> {
    std::env::set_current_dir(root)?;
    nix::unistd::pivot_root(".", ".").context("pivot_root")?;
    umount2(".", MntFlags::MNT_DETACH).context("unmount the old root")?;
    Ok(std::env::set_current_dir("/")?)
}

/// A small init: starts the program as its child, passes SIGTERM on to it, waits for whatever child there is to wait
/// for, and ends as the program does.
async fn init(mut program: Command) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut ended = signal(SignalKind::child())?;
    let program = Pid::from_raw(program.spawn().context("start /bin/sh")?.id().cast_signed());
    loop {
        tokio::select! {
            _ = terminate.recv() => nix::sys::signal::kill(program, nix::sys::signal::SIGTERM)?,
            _ = ended.recv() => {
                // One SIGCHLD may stand for several.
                loop {
                    match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                        Ok(WaitStatus::Exited(pid, code)) if pid == program => std::process::exit(code),
                        Ok(WaitStatus::Signaled(pid, signal, _)) if pid == program => {
                            std::process::exit(128 + signal as i32)
                        }
                        Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => break,
                        Ok(_) => {}
                        Err(error) => return Err(error).context("wait for a child"),
                    }
                }
            }
        }
    }
}
