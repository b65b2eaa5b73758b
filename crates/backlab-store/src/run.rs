//! Runs that are kept, and what they measured.

use crate::{Fault, Inside, KEPT_PER_QUESTION, LOCAL, Result, Store};
use backlab_study::Event;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use std::collections::BTreeMap;

/// A run with its whole report.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub id: i64,
    /// When it ended, in milliseconds since 1970 in UTC.
    pub at: i64,
    /// The version of Backlab that ran it.
    pub backlab: String,
    /// The prediction that it was held against.
    pub prediction: Option<i64>,
    /// The report as JSON.
    pub report: String,
}

/// A run in one line of a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunLine {
    pub id: i64,
    /// When it ended, in milliseconds since 1970 in UTC.
    pub at: i64,
    pub backlab: String,
    pub seed: u64,
    pub params: BTreeMap<String, Value>,
    pub parts: Vec<Part>,
    pub verdict: String,
    pub seconds: f64,
}

/// A part that a run used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub name: String,
    pub version: String,
}

/// What the last run that put a claim to the test measured about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Short, as it stands in the answer's sentence: "5 rows".
    pub figure: String,
    pub holds: bool,
    /// When, in milliseconds since 1970 in UTC.
    pub at: i64,
    pub params: BTreeMap<String, Value>,
    pub parts: Vec<Part>,
}

/// What is read out of a report's JSON.
#[derive(Deserialize)]
struct Outline {
    seed: u64,
    params: BTreeMap<String, Value>,
    parts: Vec<Part>,
    verdict: String,
    seconds: f64,
    claims: Vec<Claim>,
}

#[derive(Deserialize)]
struct Claim {
    id: String,
    state: State,
    measured: String,
}

#[derive(PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Holds,
    Refuted,
    Untried,
}

impl Store {
    /// Keeps a run that has ended, by its report (`backlab_engine::Report`), and answers its id. The oldest runs of
    /// the question make room for it.
    ///
    /// # Errors
    /// It can't be written, or it isn't the JSON of a report.
    pub fn record_run<'a>(
        &'a self,
        question: u16,
        report: &impl Serialize,
        prediction: Option<i64>,
    ) -> BoxFuture<'a, Result<i64>> {
        let report = serde_json::to_string(report);
        self.task(async move { self.record(question, report?, prediction).await })
    }

    async fn record(&self, question: u16, report: String, prediction: Option<i64>) -> Inside<i64> {
        let run: Outline = serde_json::from_str(&report)?;
        let (params, parts) = (serde_json::to_string(&run.params)?, serde_json::to_string(&run.parts)?);
        let mut change = self.change().await?;
        let id = sqlx::query_scalar(
            "INSERT INTO run (reader, question, at, backlab, seed, params, parts, verdict, seconds, prediction, report) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, \
                     (SELECT id FROM prediction WHERE id = $10 AND reader = $1), $11) RETURNING id",
        )
        .bind(LOCAL)
        .bind(i64::from(question))
        .bind(change.at)
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(run.seed.to_string())
        .bind(&params)
        .bind(&parts)
        .bind(&run.verdict)
        .bind(run.seconds)
        .bind(prediction)
        .bind(report)
        .fetch_one(&mut *change.transaction)
        .await?;
        for claim in run.claims.iter().filter(|it| it.state != State::Untried) {
            sqlx::query(
                "INSERT INTO measured (reader, question, claim, figure, holds, at, params, parts) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
                 ON CONFLICT (reader, question, claim) DO UPDATE SET figure = excluded.figure, \
                 holds = excluded.holds, at = excluded.at, params = excluded.params, parts = excluded.parts",
            )
            .bind(LOCAL)
            .bind(i64::from(question))
            .bind(&claim.id)
            .bind(&claim.measured)
            .bind(claim.state == State::Holds)
            .bind(change.at)
            .bind(&params)
            .bind(&parts)
            .execute(&mut *change.transaction)
            .await?;
        }
        sqlx::query(
            "DELETE FROM run WHERE reader = $1 AND question = $2 AND id NOT IN \
             (SELECT id FROM run WHERE reader = $1 AND question = $2 ORDER BY id DESC LIMIT $3)",
        )
        .bind(LOCAL)
        .bind(i64::from(question))
        .bind(KEPT_PER_QUESTION)
        .execute(&mut *change.transaction)
        .await?;
        if matches!(run.verdict.as_str(), "holds" | "refuted") {
            change.advance(question, Event::Ran { upheld: run.verdict == "holds" }).await?;
        }
        change.keep().await?;
        Ok(id)
    }

    /// The newest run of a question.
    pub fn last_run(&self, question: u16) -> BoxFuture<'_, Result<Option<Run>>> {
        self.task(async move {
            let row: Option<(i64, i64, String, Option<i64>, String)> = sqlx::query_as(
                "SELECT id, at, backlab, prediction, report FROM run WHERE reader = $1 AND question = $2 \
                 ORDER BY id DESC LIMIT 1",
            )
            .bind(LOCAL)
            .bind(i64::from(question))
            .fetch_optional(&self.0.pool)
            .await?;
            Ok(row.map(|(id, at, backlab, prediction, report)| Run { id, at, backlab, prediction, report }))
        })
    }

    /// The newest runs of a question, newest first.
    pub fn runs(&self, question: u16, limit: u32) -> BoxFuture<'_, Result<Vec<RunLine>>> {
        self.task(async move {
            let rows = sqlx::query(
                "SELECT id, at, backlab, seed, params, parts, verdict, seconds FROM run \
                 WHERE reader = $1 AND question = $2 ORDER BY id DESC LIMIT $3",
            )
            .bind(LOCAL)
            .bind(i64::from(question))
            .bind(i64::from(limit))
            .fetch_all(&self.0.pool)
            .await?;
            rows.iter().map(line).collect()
        })
    }

    /// The last figure of each claim of a question, by the claim's id.
    pub fn measured(&self, question: u16) -> BoxFuture<'_, Result<BTreeMap<String, Measured>>> {
        self.task(async move {
            let rows: Vec<(String, String, bool, i64, String, String)> = sqlx::query_as(
                "SELECT claim, figure, holds, at, params, parts FROM measured WHERE reader = $1 AND question = $2",
            )
            .bind(LOCAL)
            .bind(i64::from(question))
            .fetch_all(&self.0.pool)
            .await?;
            rows.into_iter()
                .map(|(claim, figure, holds, at, params, parts)| {
                    let (params, parts) = (serde_json::from_str(&params)?, serde_json::from_str(&parts)?);
                    Ok((claim, Measured { figure, holds, at, params, parts }))
                })
                .collect()
        })
    }
}

fn line(row: &SqliteRow) -> Inside<RunLine> {
    let (id, seed): (i64, String) = (row.try_get("id")?, row.try_get("seed")?);
    let (params, parts): (String, String) = (row.try_get("params")?, row.try_get("parts")?);
    Ok(RunLine {
        id,
        at: row.try_get("at")?,
        backlab: row.try_get("backlab")?,
        seed: seed.parse().map_err(|_| Fault::Strange(format!("the seed `{seed}` in run {id}")))?,
        params: serde_json::from_str(&params)?,
        parts: serde_json::from_str(&parts)?,
        verdict: row.try_get("verdict")?,
        seconds: row.try_get("seconds")?,
    })
}
