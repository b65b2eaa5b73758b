//! The cluster of which every other is a copy.
//!
//! `initdb` takes half a second on a quiet machine and several on a busy one; unpacking its result takes a few
//! hundredths. So it is made once for each server version and set of settings, booted once, so that its control file
//! agrees with the settings (a standby refuses one that doesn't), and kept as one file in the cache directory.

use super::{START, give, server, server_user};
use crate::{Exit, Lab, Spec, Trace, inventory};
use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::signal::Signal;
use nix::unistd::User;
use sha2::{Digest, Sha256};
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

/// How long to wait while another process makes the template, and for `initdb`: 5 to 10 s were seen on a busy disk.
const MAKE: Duration = Duration::from_secs(60);

const INITDB: [&str; 7] = [
    "--username=postgres",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C.UTF-8",
    "--no-sync",
    // MiB: the log of an idle cluster then takes 2 MiB instead of 32.
    "--wal-segsize=1",
    "--no-instructions",
];

/// The settings of every cluster; a run may override each.
const SETTINGS: [(&str, &str); 12] = [
    ("listen_addresses", ""),
    // What was committed survives a kill of the server all the same: only the machine's crash could lose it.
    ("fsync", "off"),
    ("shared_buffers", "32MB"),
    ("huge_pages", "off"),
    // Files in the cluster, which go with it, instead of segments in /dev/shm, which a killed server leaves.
    ("dynamic_shared_memory_type", "mmap"),
    // Compiling a query takes longer than any of our queries.
    ("jit", "off"),
    // Statistics and dead rows change when an experiment says so, not when a minute has passed.
    ("autovacuum", "off"),
    ("max_wal_size", "256MB"),
    // A standby starts from the template, so that the log since then must still be there.
    ("wal_keep_size", "256MB"),
    // How soon a standby that has found nothing new asks again; 5 s would be the default.
    ("wal_retrieve_retry_interval", "50ms"),
    ("lc_messages", "C"),
    ("timezone", "UTC"),
];

/// Unpacks the template to `to`, owned by `user`; makes it first where there is none, or none that can be unpacked.
pub(super) async fn copy(user: Option<&User>, to: &Path) -> Result<()> {
    let server = inventory::postgres_program("postgres").map_err(|why| anyhow!(why))?;
    let template = cache_dir()?.join(format!("postgres-{}.tar", key(&server)?));
    if unpack(&template, user, to).await.is_ok() {
        return Ok(());
    }
    let _lock = lock(&template).await?;
    // Another process may have made it in the meantime.
    if unpack(&template, user, to).await.is_ok() {
        return Ok(());
    }
    make(&template).await.context("make the template of PostgreSQL clusters")?;
    unpack(&template, user, to).await.with_context(|| format!("unpack {}", template.display()))
}

/// `$XDG_CACHE_HOME/backlab`, or `~/.cache/backlab` (XDG Base Directory Specification).
fn cache_dir() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    let dir = cache
        .context("there is no directory to keep a PostgreSQL template in: set XDG_CACHE_HOME or HOME")?
        .join("backlab");
    fs::create_dir_all(&dir).with_context(|| {
        format!("create {} (set XDG_CACHE_HOME to a directory that can be written)", dir.display())
    })?;
    Ok(dir)
}

/// The server's version, and a hash of which build that is and of everything else that shapes a template.
fn key(server: &Path) -> Result<String> {
    let hash = Sha256::digest(format!("{} {INITDB:?} {SETTINGS:?}", server.display()));
    let hash: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{}-{hash}", inventory::POSTGRES.version()?))
}

/// A lock beside the template, for as long as the file is open.
async fn lock(template: &Path) -> Result<File> {
    let path = template.with_extension("lock");
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    let deadline = Instant::now() + MAKE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error).context(path.display().to_string()),
            Err(TryLockError::WouldBlock) => {
                ensure!(
                    Instant::now() < deadline,
                    "another process has been making a PostgreSQL template for {MAKE:?}; it holds {}",
                    path.display()
                );
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

async fn unpack(template: &Path, user: Option<&User>, to: &Path) -> Result<()> {
    let (template, user, to) = (template.to_owned(), user.cloned(), to.to_owned());
    spawn_blocking(move || {
        let mut archive = tar::Archive::new(File::open(&template)?);
        if to.exists() {
            fs::remove_dir_all(&to)?;
        }
        // The server refuses a cluster that others may read.
        fs::DirBuilder::new().mode(0o700).create(&to)?;
        give(&to, user.as_ref())?;
        for entry in archive.entries()? {
            let mut entry = entry?;
            entry.set_preserve_mtime(false);
            let path = to.join(entry.path()?);
            entry.unpack(&path)?;
            give(&path, user.as_ref())?;
        }
        ensure!(to.join("global/pg_control").exists(), "{} is cut short", template.display());
        Ok(())
    })
    .await?
}

/// Makes the template in a lab of its own, so that a run's trace doesn't tell of it.
async fn make(template: &Path) -> Result<()> {
    let lab = Lab::open(0, Trace::default())?;
    let made = make_in(&lab, template).await;
    lab.close().await;
    made
}

async fn make_in(lab: &Lab, template: &Path) -> Result<()> {
    let user = server_user()?;
    let dir = lab.dir().join("template");
    fs::create_dir(&dir)?;
    give(&dir, user.as_ref())?;
    let cluster = dir.join("data");
    let initdb = inventory::postgres_program("initdb").map_err(|why| anyhow!(why))?;
    let spec = Spec::new(initdb).args(INITDB).arg("-D").arg(&cluster).user(user.clone());
    let initdb = lab.process("initdb", spec).await?;
    let exit = initdb.wait(MAKE).await?;
    ensure!(exit == Exit::Code(0), "initdb failed:\n{}", initdb.lines().join("\n"));

    let conf = cluster.join("postgresql.conf");
    let settings: String = SETTINGS.iter().map(|(name, value)| format!("{name} = '{value}'\n")).collect();
    fs::write(&conf, fs::read_to_string(&conf)? + &settings)?;

    let postgres = lab.process("template", server(&cluster, &dir, user)?).await?;
    postgres.line(START, |line| line.contains("ready to accept connections").then_some(())).await?;
    postgres.signal(Signal::SIGINT)?;
    let exit = postgres.wait(START).await?;
    ensure!(exit == Exit::Code(0), "the template didn't stop:\n{}", postgres.lines().join("\n"));

    let template = template.to_owned();
    spawn_blocking(move || pack(&cluster, &template)).await?
}

/// Under another name first, so that a template is there whole or not at all.
fn pack(cluster: &Path, template: &Path) -> Result<()> {
    let unfinished = template.with_extension("unfinished");
    let file = File::create(&unfinished).with_context(|| unfinished.display().to_string())?;
    let mut archive = tar::Builder::new(std::io::BufWriter::with_capacity(1 << 20, file));
    archive.append_dir_all("", cluster)?;
    archive.into_inner()?.into_inner()?.sync_all()?;
    fs::rename(&unfinished, template).with_context(|| template.display().to_string())
}
