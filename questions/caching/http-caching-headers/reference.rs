//! Each handler makes its whole answer. One layer behind all of them hashes the bytes into an ETag, answers conditions and
//! ranges, and adds `no-store` where a handler said nothing: so a 304, a part and a HEAD can't disagree with the whole, and
//! what nobody thought of is kept by nobody.
//!
//! The price is that a 304 costs as much work as a 200 and saves bytes alone. Where the work is dear, the tag is made of
//! what the answer is made of. For files, Apache and nginx take modification time and size, and so two servers with the
//! same file can have two tags; Express hashes the body as we do, and marks the tag as weak. Content delivery networks
//! read lifetimes from a field of their own (`CDN-Cache-Control`, RFC 9213): what they keep can be purged when it changes,
//! what browsers keep can't.

use super::{Bug, LOGO};
use crate::prelude::*;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::ops::Range;
use std::sync::{MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

const PICTURE: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 9 9\"><circle cx=\"4\" cy=\"4\" r=\"4\"/></svg>\n";

#[derive(Clone)]
struct Origin {
    bug: Option<Bug>,
    articles: Arc<Mutex<BTreeMap<String, Article>>>,
    /// What a program with that bug keeps of its own answers.
    rendered: Arc<Mutex<HashMap<(String, Language), String>>>,
    salt: u64,
}

#[derive(Clone, Deserialize)]
struct Texts {
    en: String,
    de: String,
}

struct Article {
    texts: Texts,
    /// How often each was changed, and when, for the bugs that make tags of it.
    versions: [u32; 2],
    changed: u128,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Language {
    En,
    De,
}

/// A tag that isn't made of the bytes.
#[derive(Clone)]
struct Tag(String);

pub fn router(bug: Option<Bug>) -> Router {
    let origin = Origin { bug, articles: Arc::default(), rendered: Arc::default(), salt: rand::random() };
    Router::new()
        .route(LOGO, get(logo))
        .route("/news", get(news))
        .route("/me", get(me))
        .route("/balance", get(balance))
        .route("/articles/{id}", get(article).put(replace))
        .route("/export", get(export))
        .fallback(StatusCode::NOT_FOUND)
        .layer(from_fn_with_state(origin.clone(), finish))
        .with_state(origin)
}

impl Origin {
    fn articles(&self) -> MutexGuard<'_, BTreeMap<String, Article>> {
        self.articles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }
}

fn with(control: &'static str, content_type: &'static str, body: String) -> Response {
    ([(header::CACHE_CONTROL, control), (header::CONTENT_TYPE, content_type)], body).into_response()
}

async fn logo(State(origin): State<Origin>) -> Response {
    let control = match origin.bug {
        Some(Bug::LogoForAnHour) => "public, max-age=3600",
        Some(Bug::ValidatesTheLogo) => "public, no-cache",
        _ => "public, max-age=31536000, immutable",
    };
    with(control, "image/svg+xml", PICTURE.to_owned())
}

async fn news(State(origin): State<Origin>, headers: HeaderMap) -> Response {
    let control = match origin.bug {
        Some(Bug::AsksForEachReader) => "no-cache",
        Some(Bug::NothingInNeed) => "max-age=60",
        Some(Bug::OldNews) => "max-age=60, stale-if-error=86400",
        _ => "max-age=60, stale-while-revalidate=30, stale-if-error=300",
    };
    with(control, "application/json", json!({ "minute": now(&headers) / 60 }).to_string())
}

async fn me(State(origin): State<Origin>, headers: HeaderMap) -> Response {
    let Some(user) = user(&headers) else { return StatusCode::UNAUTHORIZED.into_response() };
    let body = json!({ "user": user }).to_string();
    match origin.bug {
        Some(Bug::SharesMe) => with("public, max-age=60", "application/json", body),
        Some(Bug::TrustsAuthorization) => {
            ([(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        _ => with("private, no-cache", "application/json", body),
    }
}

async fn balance(State(origin): State<Origin>, headers: HeaderMap) -> Response {
    let Some(user) = user(&headers) else { return StatusCode::UNAUTHORIZED.into_response() };
    let control = if origin.has(Bug::BalanceForAMinute) { "private, max-age=60" } else { "no-store" };
    with(control, "application/json", json!({ "user": user, "at": now(&headers) }).to_string())
}

async fn article(State(origin): State<Origin>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let wanted = headers.get(header::ACCEPT_LANGUAGE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let (language, code) =
        if wanted.trim_start().starts_with("de") { (Language::De, "de") } else { (Language::En, "en") };
    let articles = origin.articles();
    let Some(article) = articles.get(&id) else { return StatusCode::NOT_FOUND.into_response() };
    let text = if language == Language::De { &article.texts.de } else { &article.texts.en };
    let mut body = json!({ "language": code, "text": text }).to_string();
    if origin.has(Bug::RendersOnce) {
        let mut rendered = origin.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        body = rendered.entry((id, language)).or_insert(body).clone();
    }
    let mut response = with("max-age=60", "application/json", body);
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(code));
    match origin.bug {
        Some(Bug::OneLanguageForAll) => None,
        Some(Bug::VariesByBrowser) => {
            fields.insert(header::VARY, HeaderValue::from_static("Accept-Language, User-Agent"))
        }
        _ => fields.insert(header::VARY, HeaderValue::from_static("Accept-Language")),
    };
    let tag = match origin.bug {
        Some(Bug::TagsTheMoment) => Some(format!("{}-{code}", article.changed)),
        Some(Bug::TagsTheArticle) => {
            Some(hash(0, format!("{}\n{}", article.texts.en, article.texts.de).as_bytes()))
        }
        Some(Bug::CountsVersions) => Some(format!("{}-{code}", article.versions[language as usize])),
        _ => None,
    };
    if let Some(tag) = tag {
        response.extensions_mut().insert(Tag(tag));
    }
    response
}

async fn replace(
    State(origin): State<Origin>,
    Path(id): Path<String>,
    Json(texts): Json<Texts>,
) -> StatusCode {
    let mut articles = origin.articles();
    let changed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let old = articles.remove(&id);
    let before = old.as_ref().map_or([0, 0], |it| it.versions);
    let same = |of: fn(&Texts) -> &str| old.as_ref().is_some_and(|it| of(&it.texts) == of(&texts));
    let step = |same: bool| u32::from(!same);
    let versions = [before[0] + step(same(|it| &it.en)), before[1] + step(same(|it| &it.de))];
    articles.insert(id, Article { texts, versions, changed });
    if old.is_none() { StatusCode::CREATED } else { StatusCode::NO_CONTENT }
}

async fn export(State(origin): State<Origin>) -> Response {
    let articles = origin.articles();
    let line = |(id, it): (&String, &Article)| {
        format!("{}\n", json!({ "id": id, "en": it.texts.en, "de": it.texts.de }))
    };
    let body: String = articles.iter().map(line).collect();
    let control = if origin.has(Bug::KeepsTheExport) { "max-age=60" } else { "no-cache" };
    let mut response = with(control, "application/x-ndjson", body);
    let newest = articles.values().map(|it| it.changed).max().unwrap_or_default();
    let tag = match origin.bug {
        Some(Bug::TagsTheMoment) => Some(newest.to_string()),
        Some(Bug::CountsVersions) => {
            Some(articles.values().flat_map(|it| it.versions).sum::<u32>().to_string())
        }
        _ => None,
    };
    if let Some(tag) = tag {
        response.extensions_mut().insert(Tag(tag));
    }
    response
}

/// The time as the request says it.
fn now(headers: &HeaderMap) -> u64 {
    let told = headers.get("x-test-now").and_then(|it| it.to_str().ok()?.parse().ok());
    told.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

fn user(headers: &HeaderMap) -> Option<String> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ").map(str::to_owned)
}

/// What all answers have in common.
async fn finish(State(origin): State<Origin>, mut request: Request, next: Next) -> Response {
    let (path, method, asked) =
        (request.uri().path().to_owned(), request.method().clone(), request.headers().clone());
    if method == Method::HEAD {
        *request.method_mut() = Method::GET;
    }
    let mut response = next.run(request).await;
    let silent = match origin.bug {
        Some(Bug::SilentErrors) => !response.status().is_success(),
        Some(Bug::TrustsAuthorization) => path == "/me" && response.status().is_success(),
        _ => false,
    };
    if !silent {
        response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
    let tagged = path.starts_with("/articles/") || path == "/export";
    if tagged && method != Method::PUT && response.status() == StatusCode::OK {
        response = conditional(&origin, &asked, method == Method::GET && path == "/export", response).await;
    }
    if method == Method::HEAD { without_content(&origin, response).await } else { response }
}

/// Gives a whole answer its tag, and sends what of it the reader lacks.
async fn conditional(origin: &Origin, asked: &HeaderMap, ranged: bool, response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let salt = if origin.has(Bug::SaltsItsTags) { origin.salt } else { 0 };
    let tag = head.extensions.get().map_or_else(|| hash(salt, &body), |Tag(tag)| tag.clone());
    let tag = format!("\"{tag}\"");
    if let Ok(value) = HeaderValue::try_from(&tag) {
        head.headers.insert(header::ETAG, value);
    }
    if text(asked, header::IF_NONE_MATCH).is_some_and(|field| names(origin, &field, &tag)) {
        if origin.has(Bug::BareNotModified) {
            return (StatusCode::NOT_MODIFIED, [(header::CACHE_CONTROL, "no-cache")]).into_response();
        }
        head.headers.remove(header::CONTENT_TYPE);
        return (StatusCode::NOT_MODIFIED, head.headers).into_response();
    }
    let same = text(asked, header::IF_RANGE).is_none_or(|it| it == tag || origin.has(Bug::ContinuesAnything));
    match text(asked, header::RANGE).filter(|_| ranged && same).and_then(|it| range(&it, body.len())) {
        None => (head.headers, body).into_response(),
        Some(range) if range.is_empty() => {
            let length = [(header::CONTENT_RANGE, format!("bytes */{}", body.len()))];
            (StatusCode::RANGE_NOT_SATISFIABLE, length, head.headers).into_response()
        }
        Some(mut range) => {
            range.end -= usize::from(origin.has(Bug::EndsOneEarly));
            let place = format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), body.len());
            let part = [(header::CONTENT_RANGE, place)];
            (StatusCode::PARTIAL_CONTENT, part, head.headers, body.slice(range)).into_response()
        }
    }
}

/// Whether If-None-Match names the tag; our tags have no commas.
fn names(origin: &Origin, field: &str, tag: &str) -> bool {
    let member = |it: &str| match origin.bug {
        Some(Bug::InsistsOnStrongTags) => it == tag,
        _ => it.strip_prefix("W/").unwrap_or(it) == tag,
    };
    match origin.bug {
        Some(Bug::ComparesTheWholeField) => field == tag,
        _ => field.trim() == "*" || field.split(',').any(|it| member(it.trim())),
    }
}

/// The one range that is asked for: empty where there are no such bytes, `None` where it isn't one that we know.
fn range(asked: &str, length: usize) -> Option<Range<usize>> {
    let (first, last) = asked.strip_prefix("bytes=")?.split_once('-')?;
    match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), _) if first >= length => Some(0..0),
        (Ok(first), Ok(last)) if first <= last => Some(first..last.saturating_add(1).min(length)),
        (Ok(first), Err(_)) if last.is_empty() => Some(first..length),
        (Err(_), Ok(suffix)) if first.is_empty() => Some(length.saturating_sub(suffix)..length),
        _ => None,
    }
}

async fn without_content(origin: &Origin, response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    let length = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default().len();
    if !origin.has(Bug::HeadWithoutLength) {
        head.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    (head, Bytes::new()).into_response()
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn hash(salt: u64, bytes: &[u8]) -> String {
    let digest = Sha256::new().chain_update(salt.to_le_bytes()).chain_update(bytes).finalize();
    hex(&digest[..8])
}
