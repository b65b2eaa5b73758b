//! Pages that are rendered once per change of what is kept, and then only sent.

use crate::refusal::Refusal;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use maud::Markup;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::future::Future;
use std::sync::{PoisonError, RwLock};

/// Which page; there is one of each, so that what is held is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Page {
    Home,
    Question(u16),
}

/// What a page shows: the revision of what is kept, and the run of the question that is under way.
pub(crate) type Version = (i64, Option<u64>);

#[derive(Default)]
pub(crate) struct Rendered(RwLock<HashMap<Page, (Version, Sent)>>);

/// Bytes with their tag.
#[derive(Debug, Clone)]
struct Sent {
    bytes: Bytes,
    tag: HeaderValue,
}

impl Rendered {
    /// The page as of a version, rendered anew only where another version is held.
    pub(crate) async fn page(
        &self,
        page: Page,
        version: Version,
        headers: &HeaderMap,
        render: impl Future<Output = Result<Markup, Refusal>>,
    ) -> Result<Response, Refusal> {
        if let Some(sent) = self.held(page, version) {
            return Ok(sent.answer(headers));
        }
        let sent = Sent::new(render.await?);
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(page, (version, sent.clone()));
        Ok(sent.answer(headers))
    }

    fn held(&self, page: Page, version: Version) -> Option<Sent> {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
        held.get(&page).filter(|(of, _)| *of == version).map(|(_, sent)| sent.clone())
    }
}

/// A page that isn't held.
pub(crate) fn once(page: Markup, headers: &HeaderMap) -> Response {
    Sent::new(page).answer(headers)
}

impl Sent {
    fn new(page: Markup) -> Self {
        let bytes = Bytes::from(page.into_string());
        let digest = Sha256::digest(&bytes);
        let tag: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        let tag = HeaderValue::from_str(&format!("\"{tag}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        Self { bytes, tag }
    }

    fn answer(self, headers: &HeaderMap) -> Response {
        let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|known| names(known, &self.tag));
        let mut response = if known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let mut response = Response::new(Body::from(self.bytes));
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            response
        };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.tag);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

/// Whether an `If-None-Match` names the tag; the comparison is the weak one (RFC 9110, section 13.1.2).
fn names(known: &HeaderValue, tag: &HeaderValue) -> bool {
    let (Ok(known), Ok(tag)) = (known.to_str(), tag.to_str()) else { return false };
    known.split(',').map(str::trim).any(|it| it == "*" || it.trim_start_matches("W/") == tag)
}
