//! SQLite databases of a run: in memory behind one connection, or a file behind several.

use crate::{Lab, Trace, inventory};
use anyhow::{Context, Result, anyhow};
use futures::future::BoxFuture;
use sha2::{Digest, Sha256};
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Arguments, AssertSqlSafe, ConnectOptions, Encode, FromRow, Row, Type};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Connections to one database file at the most.
pub const MOST_CONNECTIONS: u32 = 16;
/// How long a statement waits for a lock, and for a free connection.
const WAIT: Duration = Duration::from_secs(5);

/// A database of the run. Cheap to clone; clones are the same database.
#[derive(Debug, Clone)]
pub struct Sqlite {
    pool: SqlitePool,
    statements: Arc<AtomicU64>,
    seen: Option<Seen>,
}

/// Where statements are written down.
#[derive(Debug, Clone)]
struct Seen {
    trace: Trace,
    from: Arc<str>,
    database: Arc<str>,
}

impl Lab {
    /// A database in memory with this schema (statements, separated by semicolons). It has one connection, so that all
    /// its statements run one after the other.
    ///
    /// # Errors
    /// The schema isn't valid.
    pub fn sqlite(&self, schema: &str) -> BoxFuture<'_, Result<Sqlite>> {
        // Every further connection to `:memory:` would be a new, empty database (sqlite.org/inmemorydb.html).
        let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        self.open_sqlite(pool, SqliteConnectOptions::new().in_memory(true), schema.to_owned())
    }

    /// A database in a file of the run's directory, with write-ahead log: one writer beside any number of readers
    /// (sqlite.org/wal.html). A statement waits up to five seconds for a lock, then fails with `SQLITE_BUSY`.
    ///
    /// # Errors
    /// The schema isn't valid, or the file can't be written.
    pub fn sqlite_file(&self, name: &str, schema: &str) -> BoxFuture<'_, Result<Sqlite>> {
        let options = SqliteConnectOptions::new()
            .filename(self.dir().join(format!("{name}.sqlite")))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal);
        self.open_sqlite(
            SqlitePoolOptions::new().max_connections(MOST_CONNECTIONS),
            options,
            schema.to_owned(),
        )
    }

    fn open_sqlite(
        &self,
        pool: SqlitePoolOptions,
        options: SqliteConnectOptions,
        schema: String,
    ) -> BoxFuture<'_, Result<Sqlite>> {
        Box::pin(async move {
            let options = options.foreign_keys(true).busy_timeout(WAIT).disable_statement_logging();
            let pool =
                pool.acquire_timeout(WAIT).connect_with(options).await.context("open a SQLite database")?;
            sqlx::raw_sql(AssertSqlSafe(schema)).execute(&pool).await.context("create the schema")?;
            if let Ok(version) = inventory::SQLITE.version() {
                self.used(inventory::SQLITE.name, version);
            }
            Ok(Sqlite { pool, statements: Arc::default(), seen: None })
        })
    }
}

impl Sqlite {
    /// The same database, with each statement of this handle written to the trace: as a message from one part to
    /// another.
    pub fn seen(&self, lab: &Lab, from: &str, database: &str) -> Self {
        let seen = Seen { trace: lab.trace().clone(), from: from.into(), database: database.into() };
        Self { seen: Some(seen), ..self.clone() }
    }

    /// Runs a statement; returns how many rows it changed. Values stand as `$1`, `$2` … in the text, never in it.
    ///
    /// # Errors
    /// SQLite refuses it; the error shows the statement, and `downcast_ref::<sqlx::Error>` has the code.
    pub async fn execute(&self, sql: &str, values: impl Values) -> Result<u64> {
        self.execute_boxed(sql, arguments(values)).await
    }

    /// All rows, each as a tuple: `rows::<(i64, String)>("SELECT id, name FROM item", ())`.
    pub async fn rows<R: for<'r> FromRow<'r, SqliteRow>>(
        &self,
        sql: &str,
        values: impl Values,
    ) -> Result<Vec<R>> {
        let rows = self.rows_boxed(sql, arguments(values)).await?;
        rows.iter().map(|row| R::from_row(row).with_context(|| sql.to_owned())).collect()
    }

    /// The first column of all rows.
    pub async fn column<T>(&self, sql: &str, values: impl Values) -> Result<Vec<T>>
    where
        (T,): for<'r> FromRow<'r, SqliteRow>,
    {
        Ok(self.rows::<(T,)>(sql, values).await?.into_iter().map(|(value,)| value).collect())
    }

    /// The first column of the first row, if there is a row.
    pub async fn value<T>(&self, sql: &str, values: impl Values) -> Result<Option<T>>
    where
        (T,): for<'r> FromRow<'r, SqliteRow>,
    {
        Ok(self.column(sql, values).await?.into_iter().next())
    }

    /// The number in the first row: `count("SELECT count(*) FROM item", ())`.
    ///
    /// # Errors
    /// There is no row, or it begins with something that isn't a whole number from 0 on.
    pub async fn count(&self, sql: &str, values: impl Values) -> Result<u64> {
        let count: Option<i64> = self.value(sql, values).await?;
        Ok(count.with_context(|| format!("no row: {sql}"))?.try_into()?)
    }

    /// How many statements were run through this database's handles; not what went through [`pool`](Self::pool).
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// A digest of everything in the database, 16 hexadecimal digits: every table's definition and rows. The order of
    /// rows doesn't count. Its own statements aren't counted.
    pub fn digest(&self) -> BoxFuture<'_, Result<String>> {
        Box::pin(async {
            let mut snapshot = self.pool.begin().await?;
            let tables =
                "SELECT name, coalesce(sql, '') FROM sqlite_schema WHERE type = 'table' ORDER BY name";
            let tables: Vec<(String, String)> = sqlx::query_as(tables).fetch_all(&mut *snapshot).await?;
            let mut digest = Sha256::new();
            for (table, definition) in tables {
                let columns = "SELECT group_concat(format('quote(\"%w\")', name), ' || '','' || ') FROM pragma_table_info($1)";
                let columns: String =
                    sqlx::query_scalar(columns).bind(&table).fetch_one(&mut *snapshot).await?;
                let rows = format!("SELECT {columns} FROM \"{}\" ORDER BY 1", table.replace('"', "\"\""));
                let rows = sqlx::query(AssertSqlSafe(rows)).fetch_all(&mut *snapshot).await?;
                digest.update(format!("{definition}\n{}\n", rows.len()));
                for row in rows {
                    digest.update(row.try_get::<String, _>(0)?);
                    digest.update("\n");
                }
            }
            Ok(digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
        })
    }

    /// How many instructions SQLite's virtual machine carries out while something happens (sqlite.org/opcode.html): what
    /// a statement costs, without a clock. For a database in memory, whose one connection it watches; the work must not
    /// count steps itself.
    ///
    /// # Errors
    /// The connection isn't free within five seconds.
    pub async fn steps_of<T>(&self, work: impl IntoFuture<Output = T>) -> Result<(T, u64)> {
        let steps = Arc::new(AtomicU64::new(0));
        let counted = steps.clone();
        self.pool.acquire().await?.lock_handle().await?.set_progress_handler(1, move || {
            counted.fetch_add(1, Ordering::Relaxed);
            true
        });
        let done = work.await;
        self.pool.acquire().await?.lock_handle().await?.remove_progress_handler();
        Ok((done, steps.load(Ordering::Relaxed)))
    }

    /// The connections themselves, for transactions.
    pub fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    fn execute_boxed<'a>(
        &'a self,
        sql: &'a str,
        values: Result<SqliteArguments>,
    ) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let query = sqlx::query_with(AssertSqlSafe(self.begin(sql)), values?);
            Ok(query.execute(&self.pool).await.with_context(|| sql.to_owned())?.rows_affected())
        })
    }

    fn rows_boxed<'a>(
        &'a self,
        sql: &'a str,
        values: Result<SqliteArguments>,
    ) -> BoxFuture<'a, Result<Vec<SqliteRow>>> {
        Box::pin(async move {
            let query = sqlx::query_with(AssertSqlSafe(self.begin(sql)), values?);
            query.fetch_all(&self.pool).await.with_context(|| sql.to_owned())
        })
    }

    fn begin(&self, sql: &str) -> String {
        self.statements.fetch_add(1, Ordering::Relaxed);
        if let Some(Seen { trace, from, database }) = &self.seen {
            trace.message(from, database, sql.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        sql.to_owned()
    }
}

/// Values for a statement's `$1`, `$2` …: a tuple, an array or a vector of what SQLite can store; `()` for none.
pub trait Values: Send {
    #[doc(hidden)]
    fn add_to(self, arguments: &mut SqliteArguments) -> Result<(), sqlx::error::BoxDynError>;
}

fn arguments(values: impl Values) -> Result<SqliteArguments> {
    let mut arguments = SqliteArguments::default();
    values.add_to(&mut arguments).map_err(|error| anyhow!("a value that SQLite can't store: {error}"))?;
    Ok(arguments)
}

/// A value that SQLite can store.
pub trait Value: for<'q> Encode<'q, sqlx::Sqlite> + Type<sqlx::Sqlite> + Send {}
impl<T: for<'q> Encode<'q, sqlx::Sqlite> + Type<sqlx::Sqlite> + Send> Value for T {}

impl<T: Value, const N: usize> Values for [T; N] {
    fn add_to(self, arguments: &mut SqliteArguments) -> Result<(), sqlx::error::BoxDynError> {
        self.into_iter().try_for_each(|value| arguments.add(value))
    }
}

impl<T: Value> Values for Vec<T> {
    fn add_to(self, arguments: &mut SqliteArguments) -> Result<(), sqlx::error::BoxDynError> {
        self.into_iter().try_for_each(|value| arguments.add(value))
    }
}

macro_rules! values_from_tuples {
    ($(($($name:ident)*))+) => {$(
        impl<$($name: Value),*> Values for ($($name,)*) {
            #[allow(non_snake_case, unused_variables, reason = "the variables are named as their types are")]
            fn add_to(self, arguments: &mut SqliteArguments) -> Result<(), sqlx::error::BoxDynError> {
                let ($($name,)*) = self;
                $(arguments.add($name)?;)*
                Ok(())
            }
        }
    )+};
}
values_from_tuples!(() (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F));
