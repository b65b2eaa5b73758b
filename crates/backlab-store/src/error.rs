//! What can go wrong with what is kept, each with its cure.

use backlab_study::UnknownStatus;
use sqlx::migrate::MigrateError;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "the data can't be kept in {}: {error}; make its directory writable, or name another with --data DIR",
        file.display()
    )]
    Place { file: PathBuf, error: io::Error },

    #[error("{} can't be opened: {error}; {cure}", file.display())]
    Open { file: PathBuf, error: sqlx::Error, cure: &'static str },

    #[error(
        "{} has tables of version {theirs}, this Backlab knows versions up to {ours}: it was written by a newer one; \
         use that, or name another directory with --data DIR",
        file.display()
    )]
    Newer { file: PathBuf, theirs: i64, ours: usize },

    #[error("the tables of {} can't be brought up to date: {error}", file.display())]
    Migrate { file: PathBuf, error: MigrateError },

    #[error("{} is being opened by another process that doesn't finish; end that one and try again", file.display())]
    Busy { file: PathBuf },

    #[error("{}: {fault}", file.display())]
    Use { file: PathBuf, fault: Fault },
}

/// What can go wrong with a file that is open.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("can't be read or written: {0}; {cure}", cure = cure(.0))]
    Database(#[from] sqlx::Error),

    #[error("holds {0}, which Backlab never writes; move the file away to start anew")]
    Strange(String),

    #[error("{0}; move the file away to start anew")]
    Status(#[from] UnknownStatus),

    #[error("not the JSON that was expected: {0}")]
    Json(#[from] serde_json::Error),
}

impl Error {
    pub(crate) fn migrating(file: &Path, ours: usize, error: MigrateError) -> Self {
        let file = file.to_owned();
        match error {
            MigrateError::VersionMissing(theirs) => Self::Newer { file, theirs, ours },
            MigrateError::Execute(error) => while_opening(&file, error),
            error => Self::Migrate { file, error },
        }
    }
}

pub(crate) fn while_opening(file: &Path, error: sqlx::Error) -> Error {
    Error::Open { file: file.to_owned(), cure: cure(&error), error }
}

/// By SQLite's primary result code, the low byte of the extended one (sqlite.org/rescode.html).
fn cure(error: &sqlx::Error) -> &'static str {
    let code = match error {
        sqlx::Error::Database(error) => error.code().and_then(|code| code.parse::<i32>().ok()),
        sqlx::Error::PoolTimedOut => return "another process holds it: end that one and try again",
        _ => None,
    };
    match code.map(|code| code & 0xff) {
        Some(5 | 6) => "another process holds it: end that one and try again",
        Some(8 | 14) => "make the file and its directory writable, or name another directory with --data DIR",
        Some(10 | 13) => {
            "look whether the disk is full or failing, or name another directory with --data DIR"
        }
        Some(11 | 26) => "it is damaged or no database: move it away to start anew",
        _ => "name another directory with --data DIR to start anew",
    }
}
