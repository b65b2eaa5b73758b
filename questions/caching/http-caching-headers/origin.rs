//! The origin. It has news, which change with each edition, a list that quotes them, a greeting in two languages, and a
//! page for each user.

use super::Conduct;
use crate::prelude::*;
use axum::http::header;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of the news: large enough that a body and a 304 can't be confused on the wire.
const NEWS_BYTES: usize = 4000;
/// When the news were last changed, for caches that guess: long ago.
const CHANGED: &str = "Mon, 01 Jan 2024 00:00:00 GMT";

#[derive(Clone)]
pub struct Origin {
    conduct: Conduct,
    /// What it says in Cache-Control and in Vary; nothing, where that is empty.
    control: String,
    vary: &'static str,
    edition: Arc<AtomicU64>,
    /// Holds its answers.
    pub gate: Gate,
}

impl Origin {
    pub fn new(conduct: Conduct, control: &str) -> Self {
        let gate = Gate::closed();
        gate.open();
        Self { conduct, control: control.to_owned(), vary: "", edition: Arc::new(AtomicU64::new(1)), gate }
    }

    pub fn varying(self, vary: &'static str) -> Self {
        Self { vary, ..self }
    }

    pub fn router(&self) -> Router {
        Router::new()
            .route("/news", get(news).put(write))
            .route("/news/edit", post(write))
            .route("/list", get(list))
            .route("/greeting", get(greeting))
            .route("/me", get(me))
            .with_state(self.clone())
    }

    pub fn next_edition(&self) {
        self.edition.fetch_add(1, Ordering::SeqCst);
    }

    fn edition(&self) -> u64 {
        self.edition.load(Ordering::SeqCst)
    }

    /// An answer with what it says to caches.
    fn say(&self, body: String) -> Response {
        let mut response = body.into_response();
        for (name, value) in [(header::CACHE_CONTROL, self.control.as_str()), (header::VARY, self.vary)] {
            if let Some(value) = Some(value).filter(|it| !it.is_empty()).and_then(|it| it.parse().ok()) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

async fn news(State(origin): State<Origin>, asked: HeaderMap) -> Result<Response, Failed> {
    let tag = format!("\"{}\"", origin.edition());
    origin.gate.pass().await?;
    let mut response = origin.say(format!("{:<NEWS_BYTES$}", format!("edition {}", origin.edition())));
    if origin.conduct != Conduct::NoValidator {
        response.headers_mut().insert(header::ETAG, tag.parse()?);
        response.headers_mut().insert(header::LAST_MODIFIED, CHANGED.parse()?);
        if asked.get(header::IF_NONE_MATCH).is_some_and(|it| it.as_bytes() == tag.as_bytes()) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = axum::body::Body::empty();
        }
    }
    Ok(response)
}

async fn write(State(origin): State<Origin>) -> StatusCode {
    origin.next_edition();
    StatusCode::NO_CONTENT
}

async fn list(State(origin): State<Origin>) -> Response {
    origin.say(format!("newest: edition {}", origin.edition()))
}

async fn greeting(State(origin): State<Origin>, asked: HeaderMap) -> Response {
    let german = asked.get(header::ACCEPT_LANGUAGE).is_some_and(|it| it.as_bytes().starts_with(b"de"));
    origin.say(if german { "de: Guten Tag" } else { "en: Good day" }.to_owned())
}

async fn me(State(origin): State<Origin>, asked: HeaderMap) -> Response {
    let user = asked.get(header::AUTHORIZATION).and_then(|it| it.to_str().ok()?.strip_prefix("Bearer "));
    match user {
        Some(user) => origin.say(user.to_owned()),
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}
