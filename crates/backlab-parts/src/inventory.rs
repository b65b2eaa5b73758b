//! Which parts are on this machine, and the line that installs one that isn't.

use serde::Serialize;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Something that an experiment needs and that a machine may lack.
#[derive(Debug)]
pub struct Part {
    pub name: &'static str,
    /// What experiments use it for, in a few words.
    pub purpose: &'static str,
    /// The line that installs it on Debian 12.
    pub install: &'static str,
    probe: fn() -> Result<String, String>,
    found: OnceLock<Result<String, String>>,
}

/// A part that a run needs isn't here. The run is then *unavailable*, which is neither a pass nor a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{part} isn't available: {why}; to install it: {install}")]
pub struct Missing {
    pub part: &'static str,
    pub why: String,
    pub install: &'static str,
}

impl Part {
    const fn new(
        name: &'static str,
        purpose: &'static str,
        install: &'static str,
        probe: fn() -> Result<String, String>,
    ) -> Self {
        Self { name, purpose, install, probe, found: OnceLock::new() }
    }

    /// Its version on this machine. Looked up once per process.
    pub fn version(&'static self) -> Result<&'static str, Missing> {
        match self.found.get_or_init(self.probe) {
            Ok(version) => Ok(version),
            Err(why) => Err(Missing { part: self.name, why: why.clone(), install: self.install }),
        }
    }
}

pub static SQLITE: Part = Part::new("sqlite", "an embedded database", "built in", || Ok(sqlite()));
pub static POSTGRES: Part = Part::new(
    "postgres",
    "private PostgreSQL clusters",
    "sudo apt-get install -y --no-install-recommends postgresql-15",
    || version_of(postgres_program("postgres")?, &["--version"]),
);
pub static REDIS: Part = Part::new(
    "redis",
    "a private Redis server",
    "sudo apt-get install -y --no-install-recommends redis-server",
    || version_of(on_path("redis-server")?, &["--version"]),
);
pub static NATS: Part = Part::new(
    "nats",
    "a private NATS server with JetStream",
    "sudo apt-get install -y --no-install-recommends nats-server",
    || version_of(on_path("nats-server")?, &["--version"]),
);
pub static NODE: Part = Part::new(
    "node",
    "programs on Node.js 20",
    "sudo apt-get install -y npm && sudo npm install --global node@20",
    || not_older_than(20, version_of(on_path("node")?, &["--version"])?),
);
pub static NAMESPACES: Part = Part::new(
    "namespaces",
    "containers from the kernel's own parts",
    "sudo sysctl -w kernel.unprivileged_userns_clone=1 (Linux only)",
    namespaces,
);

pub static CHROMIUM: Part = Part::new(
    "chromium",
    "pages in a real browser",
    "sudo apt-get install -y --no-install-recommends chromium",
    || version_of(chromium()?, &["--version"]),
);

/// All of them, in the order in which `backlab doctor` lists them.
pub static ALL: [&Part; 7] = [&SQLITE, &POSTGRES, &REDIS, &NATS, &NODE, &NAMESPACES, &CHROMIUM];

/// Where a program is on the `PATH`. Debian keeps some servers in the `sbin` beside a `bin`, which only root has on the
/// `PATH`: that one counts too.
pub fn on_path(program: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside =
        |bin: &PathBuf| bin.file_name().is_some_and(|it| it == "bin").then(|| bin.with_file_name("sbin"));
    std::env::split_paths(&path)
        .flat_map(|dir| beside(&dir).into_iter().chain([dir]))
        .map(|dir| dir.join(program))
        .find(|file| nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok() && file.is_file())
        .ok_or_else(|| format!("`{program}` isn't on the PATH"))
}

/// Where Chromium is, under one of the names that distributions give it.
pub fn chromium() -> Result<PathBuf, String> {
    let named = ["chromium", "chromium-browser", "google-chrome"];
    let found = named.iter().find_map(|name| on_path(name).ok());
    found.ok_or_else(|| format!("none of {} is on the PATH", named.join(", ")))
}

/// Where one of PostgreSQL's server programs is. Debian keeps them off the `PATH`, in a directory per version beside
/// the client's wrapper `psql`: so where `psql` is on the `PATH`, the newest of those counts as being there too.
pub fn postgres_program(program: &str) -> Result<PathBuf, String> {
    let direct = on_path(program);
    if direct.is_ok() || on_path("psql").is_err() {
        return direct;
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|dir| dir.file_name().to_str()?.parse::<u32>().ok())
        .filter(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin/{program}")).exists())
        .max();
    newest.map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin/{program}"))).ok_or_else(
        || {
            format!(
                "`{program}` is neither on the PATH nor in /usr/lib/postgresql (only the client is installed)"
            )
        },
    )
}

/// The first word of a program's answer that looks like a version.
fn version_of(program: PathBuf, args: &[&str]) -> Result<String, String> {
    let answer = Command::new(&program)
        .args(args)
        .output()
        .map_err(|error| format!("`{}` doesn't start: {error}", program.display()))?;
    let text =
        String::from_utf8_lossy(&answer.stdout).into_owned() + &String::from_utf8_lossy(&answer.stderr);
    text.split_whitespace()
        .map(|word| word.trim_start_matches("v=").trim_start_matches('v'))
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))
        .map(|word| word.trim_end_matches(',').to_owned())
        .ok_or_else(|| format!("`{}` doesn't tell its version", program.display()))
}

/// A version whose first number is at least this one.
fn not_older_than(major: u32, version: String) -> Result<String, String> {
    let found = version.split('.').next().and_then(|it| it.parse::<u32>().ok());
    match found {
        Some(found) if found >= major => Ok(version),
        Some(_) => Err(format!("{version} is older than {major}")),
        None => Err(format!("`{version}` isn't a version")),
    }
}

fn sqlite() -> String {
    // SAFETY: sqlite3_libversion returns a pointer to a constant, NUL-terminated string (sqlite.org/c3ref/libversion).
    let version = unsafe { std::ffi::CStr::from_ptr(libsqlite3_sys::sqlite3_libversion()) };
    version.to_string_lossy().into_owned()
}

/// Tries what every container needs, on the file system where runs have their directories.
fn namespaces() -> Result<String, String> {
    const TRY: &str = "cd \"$0\" && mkdir lower upper work root \
        && mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work,userxattr root \
        && mount -t proc proc root";
    let room = crate::room::Room::open().map_err(|error| format!("{error:#}"))?;
    let tried = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork"])
        .args(["sh", "-c", TRY])
        .arg(room.path())
        .output();
    match tried {
        Ok(answer) if answer.status.success() => {
            let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
            Ok(release.trim().to_owned())
        }
        Ok(answer) => {
            let said = String::from_utf8_lossy(&answer.stderr);
            Err(said.lines().next().unwrap_or("the kernel refuses, without a reason").to_owned())
        }
        Err(error) => Err(format!("`unshare` doesn't start: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_is_too_old_counts_as_missing() {
        let judge = |version: &str| not_older_than(20, version.to_owned());
        assert_eq!(judge("20.20.2"), Ok("20.20.2".to_owned()));
        assert_eq!(judge("100.0.0"), Ok("100.0.0".to_owned()));
        assert_eq!(judge("18.20.4"), Err("18.20.4 is older than 20".to_owned()));
    }
}
