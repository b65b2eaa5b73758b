//! Sessions: one connection each, whose every statement and answer is in the trace.

use super::Postgres;
use crate::Trace;
use anyhow::{Context, Result, ensure};
use futures::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Decode, Either, PgConnection, Row, Type, ValueRef};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// How long a statement may run without being seen to wait for anybody.
const PATIENCE: Duration = Duration::from_secs(10);
/// Rows of an answer that the trace shows.
const SHOWN: usize = 8;

/// A client's connection to a cluster. Statements go over the simple protocol (PostgreSQL manual, 55.2.2): one message
/// there, one answer back. A session does one thing at a time; whatever else it is asked waits its turn.
#[derive(Debug, Clone)]
pub struct Session {
    name: Arc<str>,
    server: Arc<str>,
    pid: i32,
    trace: Trace,
    connection: Arc<Mutex<PgConnection>>,
    observer: Arc<Observer>,
}

/// What a statement brought.
#[derive(Debug, Default)]
pub struct Answer {
    pub rows: Vec<PgRow>,
    /// Rows that were inserted, updated, deleted or selected.
    pub affected: u64,
}

/// Why a statement brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// The server refused it; `code` is the SQLSTATE (PostgreSQL manual, appendix A).
    #[error("`{statement}`: ERROR {code} {message}")]
    Refused { statement: String, code: String, message: String },
    /// There was no answer, or none of the kind that was asked for.
    #[error("`{statement}`: {why}")]
    Broken { statement: String, why: String },
}

impl SqlError {
    /// The SQLSTATE of a refusal.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            Self::Broken { .. } => None,
        }
    }

    fn new(statement: &str, error: sqlx::Error) -> Self {
        let statement = statement.to_owned();
        match error {
            sqlx::Error::Database(error) => Self::Refused {
                statement,
                code: error.code().unwrap_or_default().into_owned(),
                message: error.message().to_owned(),
            },
            other => Self::Broken { statement, why: other.to_string() },
        }
    }
}

impl Postgres {
    /// Opens a session under a name that the trace shows.
    pub async fn session(&self, name: &str) -> Result<Session> {
        let options = self.options().application_name(name);
        let mut connection =
            options.connect().await.with_context(|| format!("connect {name} to {}", self.name))?;
        let pid = sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(&mut connection).await?.try_get(0)?;
        Ok(Session {
            name: name.into(),
            server: self.name.as_str().into(),
            pid,
            trace: self.lab.trace().clone(),
            connection: Arc::new(Mutex::new(connection)),
            observer: self.observer.clone(),
        })
    }
}

impl Session {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server's process for this session.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The same session; what is asked through this handle isn't in the trace. For what an experiment prepares, or
    /// repeats too often to be read.
    pub fn unseen(&self) -> Self {
        Self { trace: Trace::default(), ..self.clone() }
    }

    /// Executes a statement (or several, separated by semicolons) and waits for the answer, however long.
    ///
    /// # Errors
    /// The server refuses it; [`SqlError::code`] tells why.
    pub async fn ask(&self, statement: &str) -> Result<Answer, SqlError> {
        self.clone().tell(self.connection.clone().lock_owned().await, statement).await
    }

    /// As [`ask`](Self::ask); returns how many rows were affected.
    pub async fn execute(&self, statement: &str) -> Result<u64, SqlError> {
        Ok(self.ask(statement).await?.affected)
    }

    /// As [`ask`](Self::ask); returns the rows.
    pub async fn rows(&self, statement: &str) -> Result<Vec<PgRow>, SqlError> {
        Ok(self.ask(statement).await?.rows)
    }

    /// As [`ask`](Self::ask); returns the first column of the only row.
    ///
    /// # Errors
    /// There isn't exactly one row, or its first column is no `T`; and those of [`ask`](Self::ask).
    pub async fn one<T>(&self, statement: &str) -> Result<T, SqlError>
    where
        T: for<'r> Decode<'r, sqlx::Postgres> + Type<sqlx::Postgres>,
    {
        let rows = self.rows(statement).await?;
        let broken = |why| SqlError::Broken { statement: statement.to_owned(), why };
        let [row] = rows.as_slice() else {
            return Err(broken(format!("{} rows came where one was expected", rows.len())));
        };
        row.try_get(0).map_err(|error| broken(error.to_string()))
    }

    /// Sends a statement that may have to wait for another session, and doesn't wait for it.
    pub async fn start(&self, statement: &str) -> Pending {
        // The connection is taken here, not in the task, so that whatever is asked next comes after.
        let connection = self.connection.clone().lock_owned().await;
        let (session, text) = (self.clone(), statement.to_owned());
        let task = tokio::spawn(async move { session.tell(connection, &text).await });
        Pending {
            session: self.clone(),
            statement: statement.to_owned(),
            task,
            answer: None,
            noted: Vec::new(),
        }
    }

    async fn tell(
        self,
        mut connection: OwnedMutexGuard<PgConnection>,
        statement: &str,
    ) -> Result<Answer, SqlError> {
        self.trace.message(&self.name, &self.server, words(statement));
        let answered = ask(&mut connection, statement).await.map_err(|error| SqlError::new(statement, error));
        match &answered {
            Ok(answer) => self.trace.message(&self.server, &self.name, answer.words(statement)),
            Err(SqlError::Refused { code, message, .. }) => {
                self.trace.refused(&self.server, &self.name, format_args!("ERROR {code} {message}"));
                // The server says that it refuses before it rolls back. When it is ready again, the locks are free.
                let _ = connection.ping().await;
            }
            Err(SqlError::Broken { why, .. }) => self.trace.lost(&self.server, &self.name, why),
        }
        answered
    }
}

async fn ask(connection: &mut PgConnection, statement: &str) -> Result<Answer, sqlx::Error> {
    let mut answer = Answer::default();
    // The text is the experiment's own.
    let mut stream = sqlx::raw_sql(AssertSqlSafe(statement)).fetch_many(connection);
    while let Some(part) = stream.try_next().await? {
        match part {
            Either::Left(done) => answer.affected += done.rows_affected(),
            Either::Right(row) => answer.rows.push(row),
        }
    }
    Ok(answer)
}

impl Answer {
    /// For the trace: the rows, or how many were affected.
    fn words(&self, statement: &str) -> String {
        if self.rows.is_empty() {
            let verb = words(statement).split(' ').next().unwrap_or_default().to_uppercase();
            return match (verb.as_str(), self.affected) {
                ("INSERT" | "UPDATE" | "DELETE" | "MERGE" | "COPY", rows) => format!("{verb} {rows}"),
                ("SELECT" | "WITH" | "TABLE", _) => "no row".to_owned(),
                _ => verb,
            };
        }
        let mut text = String::new();
        for row in self.rows.iter().take(SHOWN) {
            let cells: Vec<_> = (0..row.len()).map(|i| cell(row, i)).collect();
            let _ = match cells.as_slice() {
                [only] => write!(text, "{only} "),
                several => write!(text, "({}) ", several.join(", ")),
            };
        }
        if self.rows.len() > SHOWN {
            let _ = write!(text, "… {} rows", self.rows.len());
        }
        text.trim_end().to_owned()
    }
}

/// The simple protocol brings every value as text.
fn cell(row: &PgRow, column: usize) -> String {
    match row.try_get_raw(column) {
        Ok(value) if value.is_null() => "NULL".to_owned(),
        Ok(value) => value.as_str().unwrap_or("(binary)").to_owned(),
        Err(error) => error.to_string(),
    }
}

/// A statement on one line.
pub(super) fn words(statement: &str) -> String {
    statement.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A statement that was sent and whose answer hasn't been taken.
#[derive(Debug)]
pub struct Pending {
    session: Session,
    statement: String,
    task: JoinHandle<Result<Answer, SqlError>>,
    answer: Option<Result<Answer, SqlError>>,
    /// Whom the trace already says it waits for.
    noted: Vec<String>,
}

/// Where a statement stands that can't go on by itself any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    Answered,
    /// It waits for locks of these sessions.
    Blocked {
        by: Vec<String>,
    },
}

impl Pending {
    /// Waits until the statement is answered, or is seen to wait for another session (`pg_blocking_pids`). So it
    /// depends on what the server says and not on how long anything takes.
    ///
    /// # Errors
    /// It has neither been answered nor been blocked after ten seconds.
    pub async fn settled(&mut self) -> Result<Settled> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Most are answered at once, without any need to ask the observer.
            if self.answered_within(Duration::from_millis(2)).await? {
                return Ok(Settled::Answered);
            }
            let by = self.session.observer.blocking(self.session.pid).await?;
            if !by.is_empty() {
                if by != self.noted {
                    let note = format!("waits for {}", by.join(" and "));
                    self.session.trace.note(&self.session.name, note);
                    self.noted.clone_from(&by);
                }
                return Ok(Settled::Blocked { by });
            }
            ensure!(Instant::now() < deadline, "`{}` still runs after {PATIENCE:?}", self.statement);
        }
    }

    /// Whether it waits for the other session, once it is settled.
    ///
    /// # Errors
    /// As [`settled`](Self::settled).
    pub async fn blocked(&mut self, other: &Session) -> Result<bool> {
        let settled = self.settled().await?;
        Ok(matches!(settled, Settled::Blocked { by } if by.iter().any(|it| *it == *other.name)))
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// Those of [`Session::ask`]; and [`SqlError::Broken`] when there is none after ten seconds.
    pub async fn answer(mut self) -> Result<Answer, SqlError> {
        if self.answered_within(PATIENCE).await?
            && let Some(answer) = self.answer.take()
        {
            return answer;
        }
        Err(SqlError::Broken { statement: self.statement, why: format!("no answer within {PATIENCE:?}") })
    }

    async fn answered_within(&mut self, limit: Duration) -> Result<bool, SqlError> {
        if self.answer.is_none() {
            match timeout(limit, &mut self.task).await {
                Ok(Ok(answer)) => self.answer = Some(answer),
                Ok(Err(panic)) => {
                    let why = panic.to_string();
                    return Err(SqlError::Broken { statement: self.statement.clone(), why });
                }
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// A connection of the lab's own, which asks the server what sessions can't say of themselves. Not in the trace.
#[derive(Debug)]
pub(super) struct Observer {
    options: PgConnectOptions,
    connection: Mutex<Option<PgConnection>>,
}

impl Observer {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self { options: options.application_name("observer"), connection: Mutex::new(None) }
    }

    /// For when the server has gone; the next question connects anew.
    pub(super) async fn disconnect(&self) {
        *self.connection.lock().await = None;
    }

    /// The first column of the only row.
    pub(super) async fn one<T>(&self, sql: &str) -> Result<T>
    where
        T: for<'r> Decode<'r, sqlx::Postgres> + Type<sqlx::Postgres> + Send + Unpin,
    {
        let mut connection = self.connection.lock().await;
        let connection = self.connected(&mut connection).await?;
        let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(connection).await.context(sql.to_owned())?;
        Ok(row.try_get(0)?)
    }

    /// The names of the sessions that a server process waits for.
    async fn blocking(&self, pid: i32) -> Result<Vec<String>> {
        let mut connection = self.connection.lock().await;
        let connection = self.connected(&mut connection).await?;
        let names = "SELECT coalesce(application_name, 'another') \
                     FROM unnest(pg_blocking_pids($1)) AS holder (pid) LEFT JOIN pg_stat_activity USING (pid) \
                     ORDER BY 1";
        Ok(sqlx::query_scalar(names).bind(pid).fetch_all(connection).await?)
    }

    async fn connected<'a>(&self, slot: &'a mut Option<PgConnection>) -> Result<&'a mut PgConnection> {
        if slot.is_none() {
            *slot = Some(self.options.connect().await.context("connect an observer")?);
        }
        slot.as_mut().context("it has just been connected")
    }
}
