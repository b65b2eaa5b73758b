//! Several processes on one file, and a process that is killed while it writes.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use backlab_store::{Store, Values};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Set in the environment of a writer: the file it writes to, and how many predictions it makes.
const FILE: &str = "BACKLAB_TEST_FILE";
const WRITES: &str = "BACKLAB_TEST_WRITES";
/// Where the writers put their predictions.
const QUESTION: u16 = 7;

/// This very program again, as a writer that prints the id of each prediction once it is kept.
fn writer(test: &str, file: &Path, writes: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--quiet"])
        .env(FILE, file)
        .env(WRITES, writes.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Writes, where this program was started as a writer.
fn write_if_told() -> bool {
    let Some(file) = std::env::var_os(FILE) else { return false };
    let writes: u64 = std::env::var(WRITES).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(file.as_ref()).await.unwrap();
        for i in 0..writes {
            store.record_prediction(QUESTION, &Values::new(), i).await.unwrap();
            println!("\nkept {i}");
        }
    });
    true
}

fn acknowledged(child: &mut Child) -> impl Iterator<Item = u64> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.filter_map(|line| line.unwrap().strip_prefix("kept ")?.parse().ok())
}

async fn last_kept(file: &Path) -> u64 {
    let store = Store::open(file).await.unwrap();
    store.last_prediction(QUESTION).await.unwrap().unwrap().predicted
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    if write_if_told() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("backlab.db");
    for round in 1..=3 {
        let mut child = writer("what_was_acknowledged_survives_kill_9", &file, u64::MAX);
        let mut kept = acknowledged(&mut child);
        let mut last = kept.by_ref().nth(20 * round).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        last = kept.last().unwrap_or(last);
        let found = tokio::runtime::Runtime::new().unwrap().block_on(last_kept(&file));
        assert!(found == last || found == last + 1, "acknowledged up to {last}, found {found}");
    }
}

#[test]
fn processes_that_start_and_write_together_lose_nothing() {
    if write_if_told() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("new/backlab.db");
    let (writers, writes) = (4, 25);
    let mut children: Vec<_> = (0..writers)
        .map(|_| writer("processes_that_start_and_write_together_lose_nothing", &file, writes))
        .collect();
    for child in &mut children {
        assert_eq!(acknowledged(child).count() as u64, writes);
        assert!(child.wait().unwrap().success());
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let changes = runtime.block_on(async { Store::open(&file).await.unwrap().revision().await.unwrap() });
    assert_eq!(changes as u64, writers * writes, "every change was counted once");
}
