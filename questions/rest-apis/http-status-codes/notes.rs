//! The service under test: notes with owners, and rules that can be broken. Where it can, the framework or the database
//! finds the fault, and only what they leave is decided here.

use super::Build;
use crate::prelude::*;
use axum::body::to_bytes;
use axum::extract::{FromRequestParts, Request};
use axum::http::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_MATCH, IF_NONE_MATCH, LOCATION, RETRY_AFTER};
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn_with_state};

/// Notes that each caller may make in a window, and how long that is.
pub const PER_WINDOW: u64 = 5;
const WINDOW: Duration = Duration::from_secs(10);
/// What those send whom the service knows.
pub const CALLERS: [&str; 3] = ["alice", "bob", "carol"];

/// How a service says that something went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Codes,
    Always200,
}

#[derive(Clone)]
pub struct Notes {
    pub db: Sqlite,
    pub clock: Clock,
    pub build: Build,
    pub style: Style,
    /// When each caller's window began, and how many notes were made in it.
    windows: Arc<Mutex<BTreeMap<String, (Duration, u64)>>>,
}

/// Creates what a service without its migration lacks.
pub const MIGRATION: &str = "CREATE TABLE note (
    id INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    title TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL DEFAULT 1
)";

impl Notes {
    pub fn new(db: &Sqlite, build: Build, style: Style) -> Self {
        Self { db: db.clone(), clock: Clock::frozen(), build, style, windows: Arc::default() }
    }

    pub fn router(&self) -> Router {
        Router::new()
            .route("/notes", post(create).get(count))
            .route("/notes/{id}", get(read).put(rename).delete(remove))
            .route("/exports", post(export))
            .with_state(self.clone())
            .layer(from_fn_with_state((self.build, self.style), say))
            .layer(from_fn_with_state(self.build, give_lifetime))
    }

    /// The time that a caller has to wait whose window is full; otherwise this note is counted in.
    fn must_wait(&self, caller: &str) -> Option<Duration> {
        let mut windows = self.windows.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = self.clock.now();
        let (began, made) = windows.entry(caller.to_owned()).or_insert((now, 0));
        if now >= *began + WINDOW {
            (*began, *made) = (now, 0);
        }
        *made += 1;
        (*made > PER_WINDOW).then(|| *began + WINDOW - now)
    }
}

#[derive(Deserialize)]
struct Note {
    title: String,
}

/// Who asks, by the token that was sent.
struct Caller(String);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let sent = parts.headers.get("authorization").and_then(|it| it.to_str().ok());
        match sent.and_then(|it| it.strip_prefix("Bearer ")) {
            Some(token) if CALLERS.contains(&token) => Ok(Self(token.to_owned())),
            _ => Err((StatusCode::UNAUTHORIZED, [("www-authenticate", "Bearer")]).into_response()),
        }
    }
}

async fn count(State(notes): State<Notes>) -> Result<Json<Value>, Failed> {
    Ok(Json(json!({"notes": notes.db.count("SELECT count(*) FROM note", ()).await?})))
}

async fn create(
    State(notes): State<Notes>,
    Caller(caller): Caller,
    Json(note): Json<Note>,
) -> Result<Response, Failed> {
    if let Some(wait) = notes.must_wait(&caller) {
        let seconds = if notes.build == Build::InventedWait { 1 } else { wait.as_secs() };
        return Ok((StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, seconds.to_string())]).into_response());
    }
    let insert = "INSERT INTO note (owner, title) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING id";
    Ok(match notes.db.value::<i64>(insert, (caller, note.title)).await? {
        Some(id) => (StatusCode::CREATED, [(LOCATION, format!("/notes/{id}"))]).into_response(),
        None => StatusCode::CONFLICT.into_response(),
    })
}

async fn read(
    State(notes): State<Notes>,
    Path(id): Path<i64>,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    let Some((_, title, tag)) = find(&notes, id).await? else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    let current = [(ETAG, tag.clone())];
    if headers.get(IF_NONE_MATCH).is_some_and(|it| it == tag.as_str()) {
        return Ok((StatusCode::NOT_MODIFIED, current).into_response());
    }
    Ok((current, Json(json!({"title": title}))).into_response())
}

async fn rename(
    State(notes): State<Notes>,
    Caller(caller): Caller,
    Path(id): Path<i64>,
    headers: HeaderMap,
    Json(note): Json<Note>,
) -> Result<StatusCode, Failed> {
    let Some((owner, _, tag)) = find(&notes, id).await? else { return Ok(StatusCode::NOT_FOUND) };
    if owner != caller {
        return Ok(StatusCode::FORBIDDEN);
    }
    let Some(wanted) = headers.get(IF_MATCH) else { return Ok(StatusCode::PRECONDITION_REQUIRED) };
    if wanted != tag.as_str() {
        return Ok(StatusCode::PRECONDITION_FAILED);
    }
    let update = "UPDATE note SET title = $2, version = version + 1 WHERE id = $1";
    notes.db.execute(update, (id, note.title)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove(State(notes): State<Notes>, _: Caller, Path(id): Path<i64>) -> Result<StatusCode, Failed> {
    let gone = notes.db.execute("DELETE FROM note WHERE id = $1", [id]).await?;
    Ok(if gone == 1 { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND })
}

/// Accepts work that isn't done yet, and says where its state can be asked for.
async fn export(_: Caller) -> Response {
    (StatusCode::ACCEPTED, [(LOCATION, "/exports/1")]).into_response()
}

/// Owner, title and ETag of a note.
async fn find(notes: &Notes, id: i64) -> Result<Option<(String, String, String)>> {
    let select = "SELECT owner, title, version FROM note WHERE id = $1";
    let found: Option<(String, String, i64)> = notes.db.rows(select, [id]).await?.into_iter().next();
    Ok(found.map(|(owner, title, version)| (owner, title, format!("\"{version}\""))))
}

/// Says what went wrong as this build does it: by the code, or under 200.
async fn say(
    State((build, style)): State<(Build, Style)>,
    request: Request,
    next: Next,
) -> Result<Response, Failed> {
    let mut response = next.run(request).await;
    let status = response.status();
    if build == Build::FourHundred && status.is_client_error() {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    if style == Style::Codes || status.as_u16() < 400 {
        return Ok(response);
    }
    let why = to_bytes(response.into_body(), 1 << 16).await?;
    Ok(Json(json!({"ok": false, "error": status.as_u16(), "why": String::from_utf8_lossy(&why)}))
        .into_response())
}

/// Lets answers be cached for a minute, as nginx's `expires 60s` does: those with a code of success or redirection.
async fn give_lifetime(State(build): State<Build>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if matches!(response.status().as_u16(), 200 | 204 | 301..=308) || build == Build::ErrorsLive {
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
    }
    response
}
