//! Answers that say what is wrong and what to do, as a page or as JSON.

use crate::assets::Assets;
use crate::pages;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde_json::json;

/// A request that isn't answered as asked.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    status: StatusCode,
    title: String,
    /// What was wrong, with the value, and the cure.
    why: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, title: impl Into<String>, why: impl Into<String>) -> Self {
        Self { status, title: title.into(), why: why.into() }
    }

    pub(crate) fn not_found(title: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, title, why)
    }

    pub(crate) fn bad(title: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, title, why)
    }

    /// Puts a refusal into the form that the client reads; other answers stay as they are. An error that came from
    /// the framework, without a word, gets some.
    pub(crate) fn shown(mut response: Response, assets: &Assets, as_json: bool) -> Response {
        let status = response.status();
        let refusal = match response.extensions_mut().remove::<Self>() {
            Some(refusal) => refusal,
            None if status.is_client_error() || status.is_server_error() => Self::from_status(status),
            None => return response,
        };
        let mut shown = if as_json {
            Json(json!({ "error": refusal.title, "why": refusal.why })).into_response()
        } else {
            Html(pages::refused(assets, &refusal.title, &refusal.why).into_string()).into_response()
        };
        *shown.status_mut() = refusal.status;
        let headers = shown.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for name in [header::ALLOW, header::RETRY_AFTER] {
            if let Some(value) = response.headers().get(&name) {
                headers.insert(name, value.clone());
            }
        }
        shown
    }

    fn from_status(status: StatusCode) -> Self {
        let why = match status {
            StatusCode::METHOD_NOT_ALLOWED => {
                "This address doesn't take that method; the header Allow says which."
            }
            StatusCode::PAYLOAD_TOO_LARGE => "The body of a request may have 64 KiB.",
            _ => "Go back, and try again from the page.",
        };
        Self::new(status, status.canonical_reason().unwrap_or("Refused"), why)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<backlab_store::Error> for Refusal {
    fn from(error: backlab_store::Error) -> Self {
        tracing::error!(%error, "the store failed");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "What you did can't be kept or read", error.to_string())
    }
}
