//! What a client is given of a response that the cache has: all of it, its head, a range, or that it has it already.

use super::control::{Quoting, members, text};
use super::stored::{Stored, is_weak, opaque};
use super::time;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use std::ops::Range;
use std::time::Duration;

/// Answers a GET or a HEAD with a whole response. `age` is set where it is used without asking the origin (RFC 9111,
/// section 4).
pub(super) fn give<B>(stored: &Stored, request: &Request<B>, age: Option<Duration>) -> Response<Bytes> {
    let mut response = Response::new(stored.body.clone());
    *response.status_mut() = stored.status;
    *response.headers_mut() = stored.headers.clone();
    if let Some(age) = age {
        response.headers_mut().insert(header::AGE, HeaderValue::from(age.as_secs()));
    }
    if stored.status == StatusCode::OK && has_it(stored, request.headers()) {
        not_modified(&mut response);
        return response;
    }
    let ranged = request.method() == Method::GET && stored.status == StatusCode::OK;
    match range(request.headers(), stored.body.len())
        .filter(|_| ranged && may_continue(stored, request.headers()))
    {
        Some(Ok(range)) => partial(&mut response, range),
        Some(Err(Unsatisfiable)) => unsatisfiable(&mut response),
        None => {}
    }
    let length = HeaderValue::from(response.body().len());
    if stored.status != StatusCode::NO_CONTENT {
        response.headers_mut().insert(header::CONTENT_LENGTH, length);
    }
    if request.method() == Method::HEAD {
        *response.body_mut() = Bytes::new();
    }
    response
}

/// Whether the client has this representation already (RFC 9111, section 4.3.2).
fn has_it(stored: &Stored, request: &HeaderMap) -> bool {
    if request.contains_key(header::IF_NONE_MATCH) {
        let tags = members(request, &header::IF_NONE_MATCH, Quoting::Plain);
        let mine = stored.etag();
        let same = |tag: &String| mine.as_ref().is_some_and(|mine| opaque(mine) == opaque(tag));
        return tags.iter().any(|tag| tag == "*" || same(tag));
    }
    let Some(since) = time::date(request, &header::IF_MODIFIED_SINCE) else { return false };
    let changed = [header::LAST_MODIFIED, header::DATE].iter().find_map(|it| time::date(&stored.headers, it));
    changed.is_some_and(|changed| changed <= since)
}

/// The fields of a 304: those by which the client's own cache freshens what it has (RFC 9110, section 15.4.5).
fn not_modified(response: &mut Response<Bytes>) {
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.body_mut() = Bytes::new();
    for of_the_content in [
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::ACCEPT_RANGES,
    ] {
        response.headers_mut().remove(of_the_content);
    }
}

/// Whether If-Range, where there is one, names just this representation (RFC 9110, section 13.1.5).
fn may_continue(stored: &Stored, request: &HeaderMap) -> bool {
    let Some(condition) = request.get(header::IF_RANGE) else { return true };
    let condition = text(condition);
    if condition.contains('"') {
        return !is_weak(&condition) && stored.etag() == Some(condition);
    }
    // A date is a strong validator only when the representation can't have changed twice in that second (8.8.2.2).
    let dates = [header::LAST_MODIFIED, header::DATE].map(|it| time::date(&stored.headers, &it));
    let [Some(changed), Some(sent)] = dates else { return false };
    let exactly = stored.headers.get(header::LAST_MODIFIED).map(text) == Some(condition);
    exactly && sent.duration_since(changed).is_ok_and(|it| it >= Duration::from_secs(1))
}

struct Unsatisfiable;

/// The one range of bytes that is asked for (RFC 9110, section 14.1.2). Several ranges, other units and what isn't valid
/// are as if nothing were asked: a Range may always be ignored (section 14.2).
fn range(request: &HeaderMap, length: usize) -> Option<Result<Range<usize>, Unsatisfiable>> {
    let value = text(request.get(header::RANGE)?);
    let (first, last) = value.trim().strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| {
        let digits = text.bytes().all(|it| it.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(usize::MAX))
    };
    let range = match (first.trim(), last.trim()) {
        ("", "") => return None,
        ("", suffix) => length.saturating_sub(number(suffix)?)..length,
        (first, "") => number(first)?..length,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(length)
        }
    };
    Some(if range.start < range.end { Ok(range) } else { Err(Unsatisfiable) })
}

fn partial(response: &mut Response<Bytes>, range: Range<usize>) {
    let content_range = format!("bytes {}-{}/{}", range.start, range.end - 1, response.body().len());
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    *response.body_mut() = response.body().slice(range);
    set_content_range(response, &content_range);
}

fn unsatisfiable(response: &mut Response<Bytes>) {
    let content_range = format!("bytes */{}", response.body().len());
    *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
    *response.body_mut() = Bytes::new();
    set_content_range(response, &content_range);
}

fn set_content_range(response: &mut Response<Bytes>, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
}
