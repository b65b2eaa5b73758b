//! What is kept of a reader's work: progress, predictions, runs, and the last figure of each claim.
//!
//! One SQLite file, shared by every Backlab process of its owner. What a function here has returned for survives
//! `kill -9` and loss of power (WAL with `synchronous=FULL`: sqlite.org/pragma.html#pragma_synchronous). Nothing here
//! knows HTTP, pages or experiments: a run arrives as the JSON of its report. The SQL is portable to PostgreSQL
//! (`$1`, BIGINT, TEXT, upserts), and every row belongs to a reader, so that a shared server changes only the opening.

mod error;
mod grade;
mod open;
mod run;

pub use error::{Error, Fault};
pub use grade::Grade;
pub use run::{Measured, Part, Run, RunLine};

use backlab_study::{Event, Progress, Status};
use futures::future::BoxFuture;
use sqlx::sqlite::SqlitePool;
use sqlx::{Sqlite, Transaction};
use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub type Result<T, E = Error> = std::result::Result<T, E>;
/// What comes of the inside, before the file's name is added.
type Inside<T> = Result<T, Fault>;

/// A knob's value by the knob's name, as the reader wrote it.
pub type Values = BTreeMap<String, String>;

/// The reader whom a machine of one's own has.
const LOCAL: i64 = 1;
/// Runs, and likewise predictions, that are kept of each question; older ones make room.
pub const KEPT_PER_QUESTION: i64 = 50;
/// How old [`Store::revision`] may be where another process wrote.
const REVISION_AGE: Duration = Duration::from_millis(50);

/// An open store; cheap to clone. All clones share their connections.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: PathBuf,
    pool: SqlitePool,
    opened: Instant,
    /// The last revision that was seen, and when: microseconds since `opened`.
    revision: AtomicI64,
    looked_up: AtomicU64,
}

/// A prediction that a reader committed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prediction {
    pub id: i64,
    /// The knobs that it was made for.
    pub params: Values,
    /// As `AskKind::parse` read it: a number, or the index of an option.
    pub predicted: u64,
}

impl Store {
    /// Opens the file, creates it where there is none, and brings its tables up to date.
    ///
    /// # Errors
    /// The place can't be written, holds something else, or was written by a newer Backlab.
    pub fn open(file: &Path) -> BoxFuture<'static, Result<Self>> {
        let file = file.to_owned();
        Box::pin(async move {
            let pool = open::pool(&file).await?;
            let inner = Inner {
                file,
                pool,
                opened: Instant::now(),
                revision: AtomicI64::new(-1),
                looked_up: AtomicU64::new(0),
            };
            let store = Self(Arc::new(inner));
            store.task(store.look_up_revision()).await?;
            Ok(store)
        })
    }

    /// Writes back what the log still holds and closes the file; for the end of a process.
    pub fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.0.pool.close())
    }

    /// Grows with every change, also with those of other processes (these are noticed 50 ms late at the most).
    pub fn revision(&self) -> BoxFuture<'_, Result<i64>> {
        self.task(async move {
            match self.revision_now() {
                Some(revision) => Ok(revision),
                None => self.look_up_revision().await,
            }
        })
    }

    /// The revision, where it's known without asking the file.
    pub fn revision_now(&self) -> Option<i64> {
        let age = self.now_us().saturating_sub(self.0.looked_up.load(Ordering::Acquire));
        (u128::from(age) < REVISION_AGE.as_micros()).then(|| self.0.revision.load(Ordering::Acquire))
    }

    pub fn progress(&self) -> BoxFuture<'_, Result<Progress>> {
        self.task(async move {
            let rows: Vec<(i64, String)> =
                sqlx::query_as("SELECT question, status FROM progress WHERE reader = $1")
                    .bind(LOCAL)
                    .fetch_all(&self.0.pool)
                    .await?;
            rows.into_iter().map(|(question, status)| Ok((number(question)?, status.parse()?))).collect()
        })
    }

    pub fn status(&self, question: u16) -> BoxFuture<'_, Result<Status>> {
        self.task(async move {
            let mut connection = self.0.pool.acquire().await?;
            status(&mut connection, question).await
        })
    }

    /// The reader has read the answer, or chose to read before predicting.
    pub fn mark_read(&self, question: u16) -> BoxFuture<'_, Result<()>> {
        self.task(async move {
            let mut change = self.change().await?;
            change.advance(question, Event::Read).await?;
            change.keep().await
        })
    }

    /// Keeps a prediction and answers its id.
    pub fn record_prediction<'a>(
        &'a self,
        question: u16,
        params: &'a Values,
        predicted: u64,
    ) -> BoxFuture<'a, Result<i64>> {
        self.task(async move {
            let mut change = self.change().await?;
            let id = sqlx::query_scalar(
                "INSERT INTO prediction (reader, question, at, params, predicted) VALUES ($1, $2, $3, $4, $5) RETURNING id",
            )
            .bind(LOCAL)
            .bind(i64::from(question))
            .bind(change.at)
            .bind(serde_json::to_string(params)?)
            .bind(predicted.to_string())
            .fetch_one(&mut *change.transaction)
            .await?;
            sqlx::query(
                "DELETE FROM prediction WHERE reader = $1 AND question = $2 AND id NOT IN \
                 (SELECT id FROM prediction WHERE reader = $1 AND question = $2 ORDER BY id DESC LIMIT $3)",
            )
            .bind(LOCAL)
            .bind(i64::from(question))
            .bind(KEPT_PER_QUESTION)
            .execute(&mut *change.transaction)
            .await?;
            change.advance(question, Event::Predicted).await?;
            change.keep().await?;
            Ok(id)
        })
    }

    /// The newest prediction for a question.
    pub fn last_prediction(&self, question: u16) -> BoxFuture<'_, Result<Option<Prediction>>> {
        self.task(async move {
            let row: Option<(i64, String, String)> = sqlx::query_as(
                "SELECT id, params, predicted FROM prediction WHERE reader = $1 AND question = $2 ORDER BY id DESC LIMIT 1",
            )
            .bind(LOCAL)
            .bind(i64::from(question))
            .fetch_optional(&self.0.pool)
            .await?;
            row.map(|(id, params, predicted)| {
                let predicted =
                    predicted.parse().map_err(|_| Fault::Strange(format!("prediction {id}: `{predicted}`")))?;
                Ok(Prediction { id, params: serde_json::from_str(&params)?, predicted })
            })
            .transpose()
        })
    }

    /// Begins a change. Its first statement is a write, so it waits for its turn here and holds no snapshot that
    /// another process could make stale (SQLITE_BUSY_SNAPSHOT).
    async fn change(&self) -> Inside<Change<'_>> {
        let mut transaction = self.0.pool.begin().await?;
        let revision =
            sqlx::query_scalar("UPDATE reader SET revision = revision + 1 WHERE id = $1 RETURNING revision")
                .bind(LOCAL)
                .fetch_one(&mut *transaction)
                .await?;
        Ok(Change { store: self, transaction, revision, at: now_ms() })
    }

    async fn look_up_revision(&self) -> Inside<i64> {
        let asked = self.now_us();
        let revision = sqlx::query_scalar("SELECT revision FROM reader WHERE id = $1")
            .bind(LOCAL)
            .fetch_one(&self.0.pool)
            .await?;
        self.saw(revision, asked);
        Ok(revision)
    }

    /// Boxes work on the file and puts the file's name into what goes wrong.
    fn task<'a, T>(&'a self, work: impl Future<Output = Inside<T>> + Send + 'a) -> BoxFuture<'a, Result<T>> {
        Box::pin(async move { work.await.map_err(|fault| Error::Use { file: self.0.file.clone(), fault }) })
    }

    fn saw(&self, revision: i64, at_us: u64) {
        self.0.revision.fetch_max(revision, Ordering::AcqRel);
        self.0.looked_up.fetch_max(at_us, Ordering::AcqRel);
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.0.opened.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// One change of what is kept: all of it is kept, or nothing.
struct Change<'a> {
    store: &'a Store,
    transaction: Transaction<'a, Sqlite>,
    revision: i64,
    at: i64,
}

impl Change<'_> {
    /// Moves a status as the rules of learning say.
    async fn advance(&mut self, question: u16, event: Event) -> Inside<()> {
        let before = status(&mut self.transaction, question).await?;
        let after = before.after(event);
        if after != before {
            sqlx::query(
                "INSERT INTO progress (reader, question, status, since) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (reader, question) DO UPDATE SET status = excluded.status, since = excluded.since",
            )
            .bind(LOCAL)
            .bind(i64::from(question))
            .bind(after.word())
            .bind(self.at)
            .execute(&mut *self.transaction)
            .await?;
        }
        Ok(())
    }

    async fn keep(self) -> Inside<()> {
        let asked = self.store.now_us();
        self.transaction.commit().await?;
        self.store.saw(self.revision, asked);
        Ok(())
    }
}

async fn status(connection: &mut sqlx::SqliteConnection, question: u16) -> Inside<Status> {
    let word: Option<String> =
        sqlx::query_scalar("SELECT status FROM progress WHERE reader = $1 AND question = $2")
            .bind(LOCAL)
            .bind(i64::from(question))
            .fetch_optional(connection)
            .await?;
    word.map_or(Ok(Status::New), |word| Ok(word.parse()?))
}

fn number(question: i64) -> Inside<u16> {
    u16::try_from(question).map_err(|_| Fault::Strange(format!("question {question}")))
}

/// Milliseconds since 1970 in UTC.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
