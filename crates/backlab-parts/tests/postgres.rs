//! PostgreSQL clusters: private, watched while they wait, and gone afterwards.
//!
//! Without PostgreSQL these fail, and say what installs it.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use backlab_parts::postgres::{Postgres, Session, Settled, SqlError};
use backlab_parts::{Event, Fate, Lab, Trace, room};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};

const SOON: Duration = Duration::from_secs(5);

fn lab() -> Lab {
    Lab::open(1, Trace::default()).unwrap()
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.unwrap_or_else(|_| panic!("{what} within {SOON:?}"));
}

fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// A server's main process and all that it has started.
fn processes(postmaster: i32) -> Vec<i32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
        *pid == postmaster || parent == Some(&postmaster.to_string())
    })
    .collect()
}

/// The id of a server's System V segment, and whether the kernel still has it.
fn segment(postgres: &Postgres) -> String {
    let lock = fs::read_to_string(postgres.socket_dir().join("data/postmaster.pid")).unwrap();
    lock.lines().nth(6).unwrap().split_whitespace().nth(1).unwrap().to_owned()
}

fn has_segment(id: &str) -> bool {
    let segments = fs::read_to_string("/proc/sysvipc/shm").unwrap();
    segments.lines().any(|line| line.split_whitespace().nth(1) == Some(id))
}

async fn with_table(postgres: &Postgres) -> (Session, Session) {
    let t1 = postgres.session("T1").await.unwrap();
    t1.execute("CREATE TABLE test (id int PRIMARY KEY, value int)").await.unwrap();
    t1.execute("INSERT INTO test VALUES (1, 10), (2, 20)").await.unwrap();
    (t1, postgres.session("T2").await.unwrap())
}

#[tokio::test]
async fn statements_and_answers_are_in_the_trace() {
    let lab = lab();
    let postgres = lab.postgres("postgres").await.unwrap();
    let (t1, _) = with_table(&postgres).await;
    lab.step("read");
    assert_eq!(t1.one::<i32>("SELECT value FROM test WHERE id = 2").await.unwrap(), 20);
    assert_eq!(t1.rows("SELECT *\n  FROM test").await.unwrap().len(), 2);
    let none = t1.one::<i32>("SELECT value FROM test WHERE id = 3").await.unwrap_err();
    assert_eq!(none.to_string(), "`SELECT value FROM test WHERE id = 3`: 0 rows came where one was expected");

    let events = lab.trace().events(0);
    let read = events.iter().position(|it| matches!(it, Event::Step { .. })).unwrap();
    let said: Vec<_> = events[read + 1..]
        .iter()
        .filter_map(|it| match it {
            Event::Message { from, what, .. } => Some(format!("{from}: {what}")),
            _ => None,
        })
        .collect();
    assert_eq!(
        said,
        [
            "T1: SELECT value FROM test WHERE id = 2",
            "postgres: 20",
            "T1: SELECT * FROM test",
            "postgres: (1, 10) (2, 20)",
            "T1: SELECT value FROM test WHERE id = 3",
            "postgres: no row",
        ]
    );
    assert!(lab.parts().iter().any(|(name, version)| *name == "postgres" && version.contains('.')));
    lab.close().await;
}

#[tokio::test]
async fn a_refusal_keeps_its_code() {
    let lab = lab();
    let postgres = lab.postgres("postgres").await.unwrap();
    let (t1, _) = with_table(&postgres).await;
    let refused = t1.execute("INSERT INTO test VALUES (1, 0)").await.unwrap_err();
    assert_eq!(refused.code(), Some("23505"), "{refused}");
    assert!(matches!(refused, SqlError::Refused { message, .. } if message.contains("test_pkey")));
    let red = lab.trace().events(0).into_iter().any(
        |it| matches!(it, Event::Message { fate: Fate::Refused, what, .. } if what.starts_with("ERROR 23505 ")),
    );
    assert!(red);
    assert_eq!(t1.one::<i64>("SELECT count(*) FROM test").await.unwrap(), 2, "the session still works");
    lab.close().await;
}

#[tokio::test]
async fn a_statement_is_seen_to_wait_and_to_go_on() {
    let lab = lab();
    let postgres = lab.postgres("postgres").await.unwrap();
    let (t1, t2) = with_table(&postgres).await;
    let mut free = t1.start("SELECT 1").await;
    assert_eq!(free.settled().await.unwrap(), Settled::Answered);

    t1.execute("BEGIN; UPDATE test SET value = 11 WHERE id = 1").await.unwrap();
    let mut waiting = t2.start("UPDATE test SET value = value + 1 WHERE id = 1").await;
    assert_eq!(waiting.settled().await.unwrap(), Settled::Blocked { by: vec!["T1".into()] });
    assert!(waiting.blocked(&t1).await.unwrap());
    assert!(!waiting.blocked(&t2).await.unwrap());
    t1.execute("COMMIT").await.unwrap();
    assert_eq!(waiting.settled().await.unwrap(), Settled::Answered);
    assert_eq!(waiting.answer().await.unwrap().affected, 1);
    assert_eq!(t1.one::<i32>("SELECT value FROM test WHERE id = 1").await.unwrap(), 12);
    lab.close().await;
}

#[tokio::test]
async fn a_standby_replays_what_its_primary_writes() {
    let lab = lab();
    let primary = lab.postgres_with("primary", &[("max_connections", "120")]).await.unwrap();
    let (t1, _) = with_table(&primary).await;
    let standby = primary.standby("standby").await.unwrap();
    t1.execute("UPDATE test SET value = 12 WHERE id = 1").await.unwrap();
    standby.catch_up_with(&primary).await.unwrap();
    let reader = standby.session("reader").await.unwrap();
    assert_eq!(reader.one::<i32>("SELECT value FROM test WHERE id = 1").await.unwrap(), 12);
    assert_eq!(reader.one::<String>("SHOW max_connections").await.unwrap(), "120");
    let refused = reader.execute("DELETE FROM test").await.unwrap_err();
    assert_eq!(refused.code(), Some("25006"), "{refused}");
    lab.close().await;
}

#[tokio::test]
async fn two_clusters_know_nothing_of_each_other() {
    let lab = lab();
    let (one, two) = tokio::join!(lab.postgres("one"), lab.postgres("two"));
    let (one, two) = (one.unwrap(), two.unwrap());
    with_table(&one).await;
    let missing = two.session("reader").await.unwrap().execute("SELECT * FROM test").await.unwrap_err();
    assert_eq!(missing.code(), Some("42P01"), "{missing}");
    let again = lab.postgres("one").await.unwrap_err();
    assert!(format!("{again:#}").contains("File exists"), "{again:#}");
    lab.close().await;
}

#[tokio::test]
async fn what_was_committed_survives_a_crash() {
    let lab = lab();
    let mut postgres = lab.postgres("postgres").await.unwrap();
    let (t1, t2) = with_table(&postgres).await;
    t1.execute("BEGIN; UPDATE test SET value = 0").await.unwrap();
    t2.execute("INSERT INTO test VALUES (3, 30)").await.unwrap();
    let (before, segment) = (processes(postgres.process().pid()), segment(&postgres));
    assert!(before.len() > 3 && has_segment(&segment));
    postgres.crash().await.unwrap();
    assert!(!before.iter().any(|pid| is_alive(*pid)) && !has_segment(&segment));
    assert!(matches!(t1.execute("COMMIT").await.unwrap_err(), SqlError::Broken { .. }));

    postgres.restart().await.unwrap();
    let t3 = postgres.session("T3").await.unwrap();
    assert_eq!(t3.one::<i64>("SELECT sum(value) FROM test").await.unwrap(), 60);
    t3.execute("INSERT INTO test VALUES (4, 40)").await.unwrap();
    postgres.restart().await.unwrap();
    let t4 = postgres.session("T4").await.unwrap();
    assert_eq!(t4.one::<i64>("SELECT sum(value) FROM test").await.unwrap(), 100);
    lab.close().await;
}

#[tokio::test]
async fn a_wire_counts_what_a_client_really_sends() {
    let lab = lab();
    let postgres = lab.postgres("postgres").await.unwrap();
    with_table(&postgres).await;
    let round_trip = Duration::from_millis(4);
    let wire = postgres.wire("app", round_trip).await.unwrap();
    let mut app = wire.connect().await.unwrap();
    let mut read = async || {
        let began = std::time::Instant::now();
        let before = wire.counts();
        for id in [1, 2, 3] {
            let query = sqlx::query("SELECT * FROM test WHERE id = $1").bind(id);
            query.fetch_all(&mut app).await.unwrap();
        }
        (wire.counts() - before, began.elapsed())
    };
    let (first, _) = read().await;
    assert_eq!((first.statements, first.rows), (3, 2));
    assert_eq!(first.round_trips, 4, "one more to prepare the statement");
    let (second, took) = read().await;
    assert_eq!((second.statements, second.rows, second.round_trips), (3, 2, 3));
    assert!(second.bytes_up > 100 && second.bytes_down > 100 && second.bytes_up < first.bytes_up);
    assert!(took >= 3 * round_trip, "{took:?}");

    let refused = sqlx::query("SELECT 1 / 0").fetch_all(&mut app).await.unwrap_err();
    assert_eq!(refused.as_database_error().unwrap().code().as_deref(), Some("22012"));
    let last = lab.trace().events(0).pop();
    assert!(
        matches!(&last, Some(Event::Message { from, what, fate: Fate::Refused, .. })
            if from == "postgres" && what == "ERROR 22012 division by zero"),
        "{last:?}"
    );
    lab.close().await;
}

#[tokio::test]
async fn nothing_is_left_when_the_run_ends() {
    let lab = lab();
    let dir = lab.dir().to_owned();
    let postgres = lab.postgres("postgres").await.unwrap();
    let (t1, t2) = with_table(&postgres).await;
    t1.execute("BEGIN; UPDATE test SET value = 0").await.unwrap();
    let mut waiting = t2.start("UPDATE test SET value = 1").await;
    assert!(waiting.blocked(&t1).await.unwrap());
    let (processes, segment) = (processes(postgres.process().pid()), segment(&postgres));
    drop(postgres);
    lab.close().await;
    assert!(!processes.iter().any(|pid| is_alive(*pid)));
    assert!(!has_segment(&segment));
    drop((t1, t2, waiting));
    until("the run's directory is gone", || !dir.exists()).await;
}

/// The variable that makes [`nothing_is_left_after_kill_9`] the process that is killed.
const OWNER: &str = "BACKLAB_TEST_OWNER";

#[tokio::test]
async fn nothing_is_left_after_kill_9() {
    if std::env::var_os(OWNER).is_some() {
        return own_a_cluster_for_ever().await;
    }
    let mut owner = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["nothing_is_left_after_kill_9", "--exact", "--nocapture"])
        .env(OWNER, "1")
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let owned = loop {
        let line = lines.next_line().await.unwrap().expect("the owner says what it owns");
        if let Some((_, owned)) = line.split_once("owned: ") {
            break owned.split(' ').map(str::to_owned).collect::<Vec<_>>();
        }
    };
    let [pid, segment, dir] = owned.try_into().unwrap();
    let (processes, dir) = (processes(pid.parse().unwrap()), PathBuf::from(dir));
    assert!(processes.len() > 3 && has_segment(&segment) && dir.exists());
    owner.kill().await.unwrap();
    until("all its processes are gone", || !processes.iter().any(|pid| is_alive(*pid))).await;
    assert!(!has_segment(&segment));
    room::sweep();
    assert!(!dir.exists());
}

async fn own_a_cluster_for_ever() {
    let lab = lab();
    let postgres = lab.postgres("postgres").await.unwrap();
    let (t1, _t2) = with_table(&postgres).await;
    t1.execute("BEGIN; UPDATE test SET value = 0").await.unwrap();
    println!("owned: {} {} {}", postgres.process().pid(), segment(&postgres), lab.dir().display());
    std::future::pending::<()>().await;
}

#[test]
fn nothing_is_left_when_the_runtime_ends_before_the_run() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (processes, segment) = runtime.block_on(async {
        let lab = lab();
        let postgres = lab.postgres("postgres").await.unwrap();
        let owned = (processes(postgres.process().pid()), segment(&postgres));
        tokio::spawn(async move {
            let _kept = (lab, postgres);
            std::future::pending::<()>().await;
        });
        owned
    });
    assert!(processes.len() > 3 && has_segment(&segment));
    drop(runtime);
    let deadline = std::time::Instant::now() + SOON;
    while processes.iter().any(|pid| is_alive(*pid)) {
        assert!(std::time::Instant::now() < deadline, "processes are still there");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(!has_segment(&segment));
}
