//! Opening the file: its directory, its lock, its tables.

use crate::error::{Error, while_opening};
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long one process waits for another that is writing.
const PATIENCE: Duration = Duration::from_secs(10);
/// Readers beside each other; SQLite has one writer at a time.
const CONNECTIONS: u32 = 4;

/// In the order in which they are applied; one that has been released is never edited.
const MIGRATIONS: [(i64, &str, &str); 2] = [
    (1, "progress and runs", include_str!("../migrations/0001_progress_and_runs.sql")),
    (2, "grades", include_str!("../migrations/0002_grades.sql")),
];

pub(crate) async fn pool(file: &Path) -> Result<SqlitePool, Error> {
    let opened = |error: sqlx::Error| while_opening(file, error);
    let _alone = Lock::take(file).await?;
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(PATIENCE);
    let pool = SqlitePoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(PATIENCE)
        .test_before_acquire(false)
        .connect_with(options)
        .await
        .map_err(opened)?;
    migrator().run(&pool).await.map_err(|error| Error::migrating(file, MIGRATIONS.len(), error))?;
    Ok(pool)
}

fn migrator() -> Migrator {
    let migrations = MIGRATIONS.map(|(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.into())
}

/// Held while a store is opened, so that of two processes that start together one lays the tables and the other finds
/// them. The system releases it when its process dies.
struct Lock(#[expect(dead_code, reason = "held, never read")] File);

impl Lock {
    async fn take(file: &Path) -> Result<Self, Error> {
        let refused = |error| Error::Place { file: file.to_owned(), error };
        if let Some(dir) = file.parent() {
            std::fs::create_dir_all(dir).map_err(refused)?;
        }
        let lock =
            File::options().create(true).write(true).truncate(false).open(beside(file)).map_err(refused)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Self(lock)),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(TryLockError::WouldBlock) => return Err(Error::Busy { file: file.to_owned() }),
                Err(TryLockError::Error(error)) => return Err(refused(error)),
            }
        }
    }
}

/// `backlab.db` is guarded by `backlab.db-lock`.
fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push("-lock");
    name.into()
}
