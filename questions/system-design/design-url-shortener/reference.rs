//! One SQLite file in WAL mode is the whole store: its primary key decides who gets a code, in one process or in two, and
//! each redirect is a lookup by that key, without a cache that could be wrong. A commit isn't forced to the disk
//! (`synchronous = NORMAL`): it survives the death of the process, while a loss of power may take the last ones. Clicks
//! are added up in memory and written every 200 ms, so a kill loses at most those.
//!
//! One file has one writer at a time and lives on one machine. Beyond that the table is split by code over many nodes
//! (DynamoDB, Cassandra, sharded PostgreSQL), with a cache before it whose entries live for seconds, and clicks go to a
//! log that is added up elsewhere. Random codes need no coordination: of 3.5 × 10¹² codes of 7 characters of base62 a new
//! one is taken with a probability of links ÷ 3.5 × 10¹².

use super::Bug;
use crate::prelude::*;
use axum::http::header;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sha2::{Digest, Sha256};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

#[path = "url.rs"]
mod url;

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS link (
    code TEXT PRIMARY KEY, url TEXT NOT NULL, expires REAL, deleted INTEGER NOT NULL DEFAULT 0,
    clicks INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID";
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const LENGTH: usize = 7;
/// How often clicks are written.
const FLUSH: Duration = Duration::from_millis(200);
/// How often a wrong program commits.
const RARELY: Duration = Duration::from_secs(5);
/// Longer than any other handler runs, so that what runs side by side meets.
const SLOW: Duration = Duration::from_millis(30);

struct Store {
    bug: Option<Bug>,
    /// One connection, so that writers of this process queue up here and not at the file's lock.
    writes: SqlitePool,
    reads: SqlitePool,
    clicks: Mutex<HashMap<String, i64>>,
    /// What a wrong program remembers.
    hot: Mutex<HashMap<String, Link>>,
    made: AtomicU64,
    seeded: Mutex<StdRng>,
}

#[derive(Clone)]
struct Link {
    url: String,
    /// In seconds since 1970.
    expires: Option<f64>,
    deleted: bool,
}

#[derive(Deserialize)]
struct Order {
    url: String,
    alias: Option<String>,
    expires_in: Option<f64>,
}

type Shared = State<Arc<Store>>;
type Answered = Result<Response, Failed>;

pub async fn run(bug: Option<Bug>) -> Result<()> {
    let store = Arc::new(Store::open(bug).await?);
    let counting = store.clone();
    let every = if bug == Some(Bug::AnswersBeforeCommit) { RARELY } else { FLUSH };
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(every).await;
            if let Err(error) = counting.flush().await {
                eprintln!("clicks stay in memory: {error:#}");
            }
        }
    });
    let router = Router::new()
        .route("/links", post(create))
        .route("/links/{code}", delete(remove))
        .route("/links/{code}/stats", get(stats))
        .route("/{code}", get(follow))
        .with_state(store);
    crate::reference::serve(router).await
}

impl Store {
    async fn open(bug: Option<Bug>) -> Result<Self> {
        let dir: std::path::PathBuf = crate::reference::env("DATA")?;
        let options = SqliteConnectOptions::new()
            .filename(dir.join("links.sqlite"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_secs(5));
        let options = if bug == Some(Bug::KeepsInMemory) { options.in_memory(true) } else { options };
        let one = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let writes = one.connect_with(options.clone()).await?;
        sqlx::query(SCHEMA).execute(&writes).await?;
        let reads = match bug {
            Some(Bug::KeepsInMemory | Bug::AnswersBeforeCommit) => writes.clone(),
            _ => SqlitePoolOptions::new().max_connections(4).connect_with(options).await?,
        };
        let mut hot = HashMap::new();
        if matches!(bug, Some(Bug::ReadsItsOwnMemory | Bug::CounterPerProcess)) {
            let links =
                sqlx::query_as("SELECT code, url, expires, deleted FROM link").fetch_all(&reads).await?;
            hot.extend(
                links.into_iter().map(|(code, url, expires, deleted)| (code, Link { url, expires, deleted })),
            );
        }
        let made = AtomicU64::new(hot.len() as u64);
        if bug == Some(Bug::AnswersBeforeCommit) {
            sqlx::query("BEGIN").execute(&writes).await?;
        }
        let (hot, seeded) = (Mutex::new(hot), Mutex::new(StdRng::seed_from_u64(42)));
        Ok(Self { bug, writes, reads, clicks: Mutex::default(), hot, made, seeded })
    }

    /// Writes the clicks that came since; what can't be written stays for the next time.
    async fn flush(&self) -> Result<()> {
        if self.bug == Some(Bug::AnswersBeforeCommit) {
            sqlx::raw_sql("COMMIT; BEGIN").execute(&self.writes).await?;
            return Ok(());
        }
        let clicks = std::mem::take(&mut *locked(&self.clicks));
        let added = self.add(&clicks).await;
        if added.is_err() {
            let mut kept = locked(&self.clicks);
            clicks.into_iter().for_each(|(code, clicks)| *kept.entry(code).or_default() += clicks);
        }
        added
    }

    async fn add(&self, clicks: &HashMap<String, i64>) -> Result<()> {
        if clicks.is_empty() {
            return Ok(());
        }
        let mut transaction = self.writes.begin().await?;
        for (code, clicks) in clicks {
            let add =
                sqlx::query("UPDATE link SET clicks = clicks + $1 WHERE code = $2").bind(clicks).bind(code);
            add.execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    fn mint(&self, url: &str) -> String {
        let made = self.made.fetch_add(1, Ordering::Relaxed);
        let mut number = match self.bug {
            Some(Bug::PlainCounter) => 62_u64.pow(LENGTH as u32 - 1) + made,
            Some(Bug::FixedSeed) => locked(&self.seeded).random(),
            Some(Bug::HashOfTheUrl) => hash(url),
            Some(Bug::CounterPerProcess) => {
                hash(&format!("{} {made}", std::env::var("DATA").unwrap_or_default()))
            }
            _ => rand::random(),
        };
        let digits = (0..LENGTH).map(|_| {
            let digit = ALPHABET[(number % 62) as usize];
            number /= 62;
            char::from(digit)
        });
        digits.collect::<Vec<_>>().into_iter().rev().collect()
    }

    /// Whether the code was free, and is this link's now.
    async fn insert(&self, code: &str, link: &Link) -> Result<bool> {
        let mut insert = "INSERT INTO link (code, url, expires) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        if self.bug == Some(Bug::LooksFirst) {
            if self.find(code).await?.is_some() {
                return Ok(false);
            }
            tokio::time::sleep(SLOW).await;
            insert = "INSERT OR REPLACE INTO link (code, url, expires) VALUES ($1, $2, $3)";
        }
        let insert = sqlx::query(insert).bind(code).bind(&link.url).bind(link.expires);
        let is_new = insert.execute(&self.writes).await?.rows_affected() == 1;
        if self.bug == Some(Bug::ReadsItsOwnMemory) && is_new {
            locked(&self.hot).insert(code.to_owned(), link.clone());
        }
        Ok(is_new)
    }

    async fn find(&self, code: &str) -> Result<Option<Link>> {
        let hot = locked(&self.hot).get(code).cloned();
        match self.bug {
            Some(Bug::ReadsItsOwnMemory) => return Ok(hot),
            Some(Bug::CacheOutlivesDeletion) if hot.is_some() => return Ok(hot),
            _ => {}
        }
        let find = sqlx::query_as("SELECT url, expires, deleted FROM link WHERE code = $1").bind(code);
        let found: Option<(String, Option<f64>, bool)> = find.fetch_optional(&self.reads).await?;
        let mut found = found.map(|(url, expires, deleted)| Link { url, expires, deleted });
        if let Some(link) = &mut found {
            if self.bug == Some(Bug::CacheOutlivesExpiry) && hot.is_some() {
                link.expires = None;
            }
            if matches!(self.bug, Some(Bug::CacheOutlivesDeletion | Bug::CacheOutlivesExpiry)) {
                locked(&self.hot).insert(code.to_owned(), link.clone());
            }
        }
        Ok(found)
    }
}

async fn create(State(it): Shared, headers: HeaderMap, body: bytes::Bytes) -> Answered {
    let bad = || Ok(StatusCode::UNPROCESSABLE_ENTITY.into_response());
    let Ok(Order { url, alias, expires_in }) = serde_json::from_slice(&body) else { return bad() };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !url::is_good(&url, host, it.bug) || alias.as_ref().is_some_and(|alias| !url::is_alias(alias, it.bug))
    {
        return bad();
    }
    let link = Link { url, expires: expires_in.map(|seconds| now() + seconds), deleted: false };
    let code = match alias {
        Some(alias) if it.insert(&alias, &link).await? => alias,
        Some(_) => return Ok(StatusCode::CONFLICT.into_response()),
        None => loop {
            let code = it.mint(&link.url);
            // A wrong program is sure that nobody else has made this code.
            let sure = matches!(it.bug, Some(Bug::HashOfTheUrl | Bug::CounterPerProcess));
            if it.insert(&code, &link).await? || sure {
                break code;
            }
        },
    };
    let short_url = format!("http://{host}/{code}");
    Ok((StatusCode::CREATED, Json(json!({ "code": code, "short_url": short_url }))).into_response())
}

async fn follow(State(it): Shared, method: Method, Path(code): Path<String>) -> Answered {
    let Some(link) = it.find(&code).await? else { return Ok(StatusCode::NOT_FOUND.into_response()) };
    if link.deleted || link.expires.is_some_and(|expires| now() >= expires) {
        return Ok(StatusCode::GONE.into_response());
    }
    if it.bug == Some(Bug::ReadsModifiesWrites) {
        let read = sqlx::query_scalar("SELECT clicks FROM link WHERE code = $1").bind(&code);
        let clicks: i64 = read.fetch_one(&it.reads).await?;
        tokio::time::sleep(Duration::from_millis(2)).await;
        let write = sqlx::query("UPDATE link SET clicks = $1 WHERE code = $2").bind(clicks + 1).bind(&code);
        write.execute(&it.writes).await?;
    } else if method == Method::GET || it.bug == Some(Bug::CountsHead) {
        *locked(&it.clicks).entry(code).or_default() += 1;
    }
    let target = if it.bug == Some(Bug::ReencodesTarget) { url::reencoded(&link.url) } else { link.url };
    Ok((StatusCode::FOUND, [(header::LOCATION, target)]).into_response())
}

async fn stats(State(it): Shared, Path(code): Path<String>) -> Answered {
    let clicks = sqlx::query_scalar("SELECT clicks FROM link WHERE code = $1").bind(code);
    let clicks: Option<i64> = clicks.fetch_optional(&it.reads).await?;
    Ok(clicks.map_or(StatusCode::NOT_FOUND.into_response(), |clicks| {
        Json(json!({ "clicks": clicks })).into_response()
    }))
}

/// The row stays, so that the code is never given out again.
async fn remove(State(it): Shared, Path(code): Path<String>) -> Answered {
    locked(&it.hot).remove(&code);
    let mark = sqlx::query("UPDATE link SET deleted = 1 WHERE code = $1").bind(code);
    let known = mark.execute(&it.writes).await?.rows_affected() == 1;
    Ok(if known { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }.into_response())
}

fn hash(text: &str) -> u64 {
    let digest = Sha256::digest(text);
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
