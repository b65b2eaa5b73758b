//! Grades of a reader's programs that are kept.

use crate::{Fault, Inside, KEPT_PER_QUESTION, LOCAL, Result, Store};
use backlab_study::Event;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

/// A grade with its whole report.
#[derive(Debug, Clone, PartialEq)]
pub struct Grade {
    pub id: i64,
    /// When it ended, in milliseconds since 1970 in UTC.
    pub at: i64,
    /// The version of Backlab that graded it.
    pub backlab: String,
    /// The version of the stages.
    pub version: u16,
    pub seed: u64,
    pub command: String,
    pub passed: u64,
    pub stages: u64,
    pub seconds: f64,
    /// The report as JSON.
    pub report: String,
}

impl Grade {
    /// Whether every stage that there was then is passed.
    pub fn is_complete(&self) -> bool {
        self.passed == self.stages
    }
}

/// What is read out of a report's JSON.
#[derive(Deserialize)]
struct Outline {
    version: u16,
    seed: u64,
    command: String,
    seconds: f64,
    stages: Vec<Stage>,
}

#[derive(Deserialize)]
struct Stage {
    mark: String,
}

type Row = (i64, i64, String, i64, String, String, i64, i64, f64, String);

impl Store {
    /// Keeps a grade by its report (`backlab_engine::Grade`), and answers its id. Older ones make room for it, but for
    /// those that passed all. Passing all of it makes the question a built one.
    ///
    /// # Errors
    /// It can't be written, or it isn't the JSON of a grade.
    pub fn record_grade<'a>(&'a self, question: u16, grade: &impl Serialize) -> BoxFuture<'a, Result<i64>> {
        let report = serde_json::to_string(grade);
        self.task(async move { self.record_graded(question, report?).await })
    }

    async fn record_graded(&self, question: u16, report: String) -> Inside<i64> {
        let grade: Outline = serde_json::from_str(&report)?;
        let passed = grade.stages.iter().filter(|stage| stage.mark == "passed").count();
        let mut change = self.change().await?;
        let id = sqlx::query_scalar(
            "INSERT INTO grade (reader, question, at, backlab, version, seed, command, passed, stages, seconds, report) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id",
        )
        .bind(LOCAL)
        .bind(i64::from(question))
        .bind(change.at)
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(i64::from(grade.version))
        .bind(grade.seed.to_string())
        .bind(&grade.command)
        .bind(count(passed))
        .bind(count(grade.stages.len()))
        .bind(grade.seconds)
        .bind(report)
        .fetch_one(&mut *change.transaction)
        .await?;
        sqlx::query(
            "DELETE FROM grade WHERE reader = $1 AND question = $2 AND passed < stages AND id NOT IN \
             (SELECT id FROM grade WHERE reader = $1 AND question = $2 ORDER BY id DESC LIMIT $3)",
        )
        .bind(LOCAL)
        .bind(i64::from(question))
        .bind(KEPT_PER_QUESTION)
        .execute(&mut *change.transaction)
        .await?;
        if passed == grade.stages.len() {
            change.advance(question, Event::Built).await?;
        }
        change.keep().await?;
        Ok(id)
    }

    /// The newest grade of a question.
    pub fn last_grade(&self, question: u16) -> BoxFuture<'_, Result<Option<Grade>>> {
        self.grade_where(question, "1 = 1")
    }

    /// The newest grade that passed all stages.
    pub fn last_pass(&self, question: u16) -> BoxFuture<'_, Result<Option<Grade>>> {
        self.grade_where(question, "passed = stages")
    }

    fn grade_where(&self, question: u16, wanted: &'static str) -> BoxFuture<'_, Result<Option<Grade>>> {
        self.task(async move {
            let query = format!(
                "SELECT id, at, backlab, version, seed, command, passed, stages, seconds, report FROM grade \
                 WHERE reader = $1 AND question = $2 AND {wanted} ORDER BY id DESC LIMIT 1"
            );
            let row: Option<Row> = sqlx::query_as(sqlx::AssertSqlSafe(query))
                .bind(LOCAL)
                .bind(i64::from(question))
                .fetch_optional(&self.0.pool)
                .await?;
            row.map(read).transpose()
        })
    }
}

fn read(row: Row) -> Inside<Grade> {
    let (id, at, backlab, version, seed, command, passed, stages, seconds, report) = row;
    let strange = |what: &str| Fault::Strange(format!("grade {id}: {what}"));
    Ok(Grade {
        id,
        at,
        backlab,
        version: u16::try_from(version).map_err(|_| strange("its version"))?,
        seed: seed.parse().map_err(|_| strange("its seed"))?,
        command,
        passed: passed.unsigned_abs(),
        stages: stages.unsigned_abs(),
        seconds,
        report,
    })
}

fn count(of: usize) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}
