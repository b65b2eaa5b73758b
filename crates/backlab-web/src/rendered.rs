//! Pages that are rendered once per change of what is kept, and then only sent.

use crate::guard::POLICIES;
use crate::refusal::Refusal;
use crate::{Site, pages};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use axum::response::Response;
use backlab_questions::Question;
use bytes::Bytes;
use maud::Markup;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::future::Future;
use std::sync::{PoisonError, RwLock};

/// Which page; there is one of each, so that what is held is bounded.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Page {
    Home,
    Question(&'static Question),
}

/// What a page shows: the revision of what is kept, and the run of the question that is under way.
type Version = (i64, Option<u64>);

/// By address.
#[derive(Default)]
pub(crate) struct Rendered(RwLock<HashMap<String, (Page, Version, Sent)>>);

/// A page as it is sent: a whole head, with the policies and its tag, and the bytes.
#[derive(Debug, Clone)]
struct Sent {
    head: HeaderMap,
    bytes: Bytes,
}

/// The page as of now, rendered anew only where another version is held.
pub(crate) async fn page(
    site: &Site,
    page: Page,
    headers: &HeaderMap,
    render: impl Future<Output = Result<Markup, Refusal>>,
) -> Result<Response, Refusal> {
    let address = page.address();
    let version = page.version(site, site.store.revision().await?);
    if let Some((_, sent)) = site.rendered.at(&address, |_| version) {
        return Ok(sent.answer(headers));
    }
    let sent = Sent::new(render.await?);
    site.rendered.hold(address, (page, version, sent.clone()));
    Ok(sent.answer(headers))
}

/// The page that a request asks for, if its present version is held and nothing has to be waited for.
pub(crate) fn held<B>(site: &Site, request: &Request<B>) -> Option<(Page, Response)> {
    let address = request.uri().path_and_query().filter(|_| request.method() == Method::GET)?;
    let revision = site.store.revision_now()?;
    let (page, sent) = site.rendered.at(address.as_str(), |page| page.version(site, revision))?;
    Some((page, sent.answer(request.headers())))
}

impl Page {
    fn address(self) -> String {
        match self {
            Self::Home => "/".to_owned(),
            Self::Question(question) => pages::path(question),
        }
    }

    /// The route that leads to it, by which its answers are counted.
    pub(crate) fn route(self) -> &'static str {
        match self {
            Self::Home => "/",
            Self::Question(_) => "/q/{question}",
        }
    }

    fn version(self, site: &Site, revision: i64) -> Version {
        match self {
            Self::Home => (revision, None),
            Self::Question(question) => (revision, site.runs.of(question.page.number)),
        }
    }
}

impl Rendered {
    fn at(&self, address: &str, version: impl FnOnce(Page) -> Version) -> Option<(Page, Sent)> {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (page, of, sent) = held.get(address)?;
        (version(*page) == *of).then(|| (*page, sent.clone()))
    }

    fn hold(&self, address: String, page: (Page, Version, Sent)) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(address, page);
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
        let mut head = HeaderMap::from_iter(POLICIES);
        head.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        head.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        head.insert(header::ETAG, tag);
        Self { head, bytes }
    }

    fn answer(self, asked: &HeaderMap) -> Response {
        let tag = self.head.get(header::ETAG);
        let known =
            asked.get_all(header::IF_NONE_MATCH).iter().any(|it| tag.is_some_and(|tag| names(it, tag)));
        let mut response = Response::new(if known { Body::empty() } else { Body::from(self.bytes) });
        *response.headers_mut() = self.head;
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response.headers_mut().remove(header::CONTENT_TYPE);
        }
        response
    }
}

/// Whether an `If-None-Match` names the tag; the comparison is the weak one (RFC 9110, section 13.1.2).
fn names(known: &HeaderValue, tag: &HeaderValue) -> bool {
    let (Ok(known), Ok(tag)) = (known.to_str(), tag.to_str()) else { return false };
    known.split(',').map(str::trim).any(|it| it == "*" || it.trim_start_matches("W/") == tag)
}
