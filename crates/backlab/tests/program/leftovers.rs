//! Nothing is left behind: no process and no file, however a run ends.

use crate::common::{command, experiments};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Processes that carry the mark of a run, by their command lines. Those of other tests' programs don't count: each
/// test looks for its own owner.
fn marked(owner: u32) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
        let of_owner = |entry: &[u8]| {
            let text = String::from_utf8_lossy(entry);
            text.strip_prefix("BACKLAB_RUN=").is_some_and(|room| room.contains(&format!("/{owner}-")))
        };
        if environ.split(|byte| *byte == 0).any(of_owner) {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push(String::from_utf8_lossy(&command).replace('\0', " "));
        }
    }
    found
}

/// Private directories of runs that belong to a process.
fn rooms(owner: u32) -> BTreeSet<PathBuf> {
    let rooms = fs::read_dir(backlab_engine::rooms()).into_iter().flatten().flatten();
    let of_owner = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{owner}-")))
    };
    rooms.map(|it| it.path()).filter(of_owner).collect()
}

fn until(what: &str, deadline: Duration, mut happened: impl FnMut() -> bool) {
    let began = Instant::now();
    while !happened() {
        assert!(began.elapsed() < deadline, "after {deadline:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_run_leaves_no_process_and_no_file() {
    let home = tempfile::tempdir().unwrap();
    let temporary = tempfile::tempdir().unwrap();
    for (question, _) in experiments() {
        let slug = question.page.slug;
        let mut run = command(home.path(), &["run", slug, "--json"]);
        let mut run =
            run.env("TMPDIR", temporary.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let owner = run.id();
        run.wait().unwrap();
        assert_eq!(marked(owner), Vec::<String>::new(), "{slug}: a process outlived its run");
        assert_eq!(rooms(owner), BTreeSet::new(), "{slug}: a directory outlived its run");
        let left: Vec<_> = fs::read_dir(temporary.path()).unwrap().flatten().map(|it| it.path()).collect();
        assert_eq!(left, Vec::<PathBuf>::new(), "{slug}: a file outlived its run");
    }
}

#[test]
fn kill_minus_nine_in_the_middle_of_a_run_leaves_the_prediction_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let mut run = command(home.path(), &["run", "21", "--predict", "1"]);
    let mut backlab = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let owner = backlab.id();
    until("a postgres runs", Duration::from_secs(30), || {
        assert!(backlab.try_wait().unwrap().is_none(), "the run ended before its database was seen");
        marked(owner).iter().any(|it| it.contains("postgres"))
    });
    backlab.kill().unwrap();
    backlab.wait().unwrap();
    until("its processes are gone", Duration::from_secs(1), || marked(owner).is_empty());
    let predicted = crate::common::backlab(home.path(), &["list", "--status", "predicted", "--json"]);
    let predicted: serde_json::Value = serde_json::from_slice(&predicted.stdout).unwrap();
    assert_eq!(predicted[0]["number"], 21, "the prediction was kept before the run: {predicted}");
    assert_eq!(crate::common::backlab(home.path(), &["run", "7"]).status.code(), Some(0));
    assert_eq!(rooms(owner), BTreeSet::new(), "the next start removes what was left");
}

#[test]
fn an_interrupt_ends_the_run_and_all_that_it_started() {
    let home = tempfile::tempdir().unwrap();
    let mut backlab =
        command(home.path(), &["run", "21"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let owner = backlab.id();
    until("a postgres runs", Duration::from_secs(30), || {
        marked(owner).iter().any(|it| it.contains("postgres"))
    });
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(owner.cast_signed()), nix::sys::signal::Signal::SIGINT)
        .unwrap();
    assert_eq!(backlab.wait().unwrap().code(), Some(2), "a cancelled run is a failed one");
    assert_eq!(marked(owner), Vec::<String>::new());
    assert_eq!(rooms(owner), BTreeSet::new());
}
