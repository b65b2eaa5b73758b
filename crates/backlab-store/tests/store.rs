//! What is kept stays kept, and what can't be kept says why.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use backlab_store::{KEPT_PER_QUESTION, Store, Values};
use backlab_study::Status;
use serde_json::{Value, json};
use std::path::Path;

fn report(seed: u64, verdict: &str, state: &str) -> Value {
    json!({
        "seed": seed, "params": {"requests": 5}, "prediction": null, "observed": {"rows": 5},
        "claims": [
            {"id": "put-once", "says": "", "state": state, "measured": "5 rows", "expected": "5", "breaks_when": "", "witness": ""},
            {"id": "untried", "says": "", "state": "untried", "measured": "0", "expected": "1", "breaks_when": "", "witness": ""},
        ],
        "figures": [], "verdict": verdict, "seconds": 0.25,
        "parts": [{"name": "sqlite", "version": "3.50.4"}], "error": null,
    })
}

async fn open(dir: &Path) -> Store {
    Store::open(&dir.join("backlab.db")).await.unwrap()
}

#[tokio::test]
async fn everything_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let knobs: Values = [("requests".to_owned(), "5".to_owned())].into();
    store.mark_read(3).await.unwrap();
    let prediction = store.record_prediction(7, &knobs, u64::MAX).await.unwrap();
    let run = store.record_run(7, &report(u64::MAX, "holds", "holds"), Some(prediction)).await.unwrap();
    store.close().await;

    let store = open(dir.path()).await;
    let progress = store.progress().await.unwrap();
    assert_eq!(
        (progress.of(3), progress.of(7), progress.of(8)),
        (Status::Read, Status::Verified, Status::New)
    );
    let predicted = store.last_prediction(7).await.unwrap().unwrap();
    assert_eq!((predicted.id, predicted.params, predicted.predicted), (prediction, knobs, u64::MAX));
    let last = store.last_run(7).await.unwrap().unwrap();
    assert_eq!((last.id, last.prediction), (run, Some(prediction)));
    assert_eq!(serde_json::from_str::<Value>(&last.report).unwrap(), report(u64::MAX, "holds", "holds"));
    let line = &store.runs(7, 10).await.unwrap()[0];
    assert_eq!(
        (line.seed, line.verdict.as_str(), line.parts[0].version.as_str()),
        (u64::MAX, "holds", "3.50.4")
    );
    assert_eq!(line.params["requests"], 5);
}

#[tokio::test]
async fn only_an_upheld_run_verifies_and_nothing_moves_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for (verdict, reached) in [
        ("failed", Status::New),
        ("refuted", Status::New),
        ("holds", Status::Verified),
        ("refuted", Status::Verified),
    ] {
        store.record_run(7, &report(1, verdict, "holds"), None).await.unwrap();
        assert_eq!(store.status(7).await.unwrap(), reached, "after `{verdict}`");
    }
    store.mark_read(7).await.unwrap();
    assert_eq!(store.status(7).await.unwrap(), Status::Verified);
}

#[tokio::test]
async fn old_runs_make_room_and_leave_the_figures_of_their_claims() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.record_run(7, &report(0, "refuted", "refuted"), None).await.unwrap();
    for seed in 1..=KEPT_PER_QUESTION as u64 {
        store.record_run(7, &report(seed, "failed", "untried"), None).await.unwrap();
    }
    store.record_run(8, &report(0, "holds", "holds"), None).await.unwrap();

    let runs = store.runs(7, 1000).await.unwrap();
    assert_eq!((runs.len() as i64, runs[0].seed, runs[runs.len() - 1].seed), (KEPT_PER_QUESTION, 50, 1));
    let measured = store.measured(7).await.unwrap();
    assert_eq!(measured.keys().collect::<Vec<_>>(), ["put-once"]);
    assert_eq!((measured["put-once"].figure.as_str(), measured["put-once"].holds), ("5 rows", false));
}

#[tokio::test]
async fn a_report_of_another_shape_is_refused_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let error = store.record_run(7, &json!({"seed": 1}), None).await.unwrap_err().to_string();
    assert!(error.contains("backlab.db") && error.contains("missing field"), "{error}");
    assert_eq!(store.last_run(7).await.unwrap(), None);
}

#[tokio::test]
async fn a_change_of_one_process_is_seen_by_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let (here, there) = (open(dir.path()).await, open(dir.path()).await);
    let before = here.revision().await.unwrap();
    there.mark_read(7).await.unwrap();
    assert!(there.revision_now().is_none_or(|it| it > before), "the writer knows at once");
    tokio::time::timeout(std::time::Duration::from_secs(5), async {
        while here.revision().await.unwrap() == before {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the other notices");
    assert_eq!(here.status(7).await.unwrap(), Status::Read);
}

#[tokio::test]
async fn errors_name_the_file_the_cause_and_the_cure() {
    let dir = tempfile::tempdir().unwrap();
    let refused = async |file: &Path| Store::open(file).await.unwrap_err().to_string();

    std::fs::write(dir.path().join("taken"), "").unwrap();
    let error = refused(&dir.path().join("taken/backlab.db")).await;
    assert!(
        error.contains("taken/backlab.db") && error.contains("exists") && error.contains("--data DIR"),
        "{error}"
    );

    let noise = dir.path().join("noise.db");
    std::fs::write(&noise, "this is no database at all, only some words".repeat(50)).unwrap();
    let error = refused(&noise).await;
    assert!(error.contains("noise.db") && error.contains("move it away"), "{error}");

    let newer = dir.path().join("newer.db");
    let store = Store::open(&newer).await.unwrap();
    store.close().await;
    let later = sqlx::sqlite::SqlitePool::connect(&format!("sqlite:{}", newer.display())).await.unwrap();
    sqlx::query("INSERT INTO _sqlx_migrations VALUES (999, 'later', CURRENT_TIMESTAMP, TRUE, x'00', 0)")
        .execute(&later)
        .await
        .unwrap();
    later.close().await;
    let error = refused(&newer).await;
    assert!(error.contains("newer.db") && error.contains("999") && error.contains("newer one"), "{error}");
}
