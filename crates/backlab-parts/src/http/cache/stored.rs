//! One response: whether it may be kept, for which requests it is right, for how long, and how a 304 freshens it.

use super::control::{Directives, Quoting, delta_seconds, members, text};
use super::time;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use std::time::{Duration, SystemTime};

/// Final status codes that this cache handles as RFC 9110 says (RFC 9111, section 3: "understood").
const UNDERSTOOD: [u16; 20] =
    [200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 410, 414, 500, 501, 502, 503];
/// Those of them that are kept without a word on freshness (RFC 9110, section 15.1); partial content isn't kept here.
const HEURISTIC: [u16; 11] = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];
/// Which part of the time since the last change is a guess at the time until the next (RFC 9111, section 4.2.2).
const FRACTION: u32 = 10;
/// Fields that speak of the connection, not of the message (RFC 9110, section 7.6.1; RFC 9111, section 3.1).
const OF_A_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// A response with what is needed to tell its age and the requests it is for.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The fields that Vary names, as they stood in the request; `None` where it may never be chosen: `Vary: *`.
    selects: Option<Vec<(HeaderName, Option<String>)>>,
    control: Directives,
    times: Times,
    shared: bool,
    /// Not to be used before it is validated (section 4.4).
    invalid: bool,
}

/// When it was asked for and when it came, on the cache's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub asked: Duration,
    pub came: Duration,
    /// The same moment for those who write dates.
    pub came_at: SystemTime,
}

impl Stored {
    /// A response as it came from the origin, whether it may be kept or not.
    pub fn new<B>(request: &Request<B>, response: Response<Bytes>, times: Times, shared: bool) -> Self {
        let (head, body) = response.into_parts();
        let mut headers = head.headers;
        without_hops(&mut headers);
        dated(&mut headers, times.came_at);
        let control = Directives::of(&headers);
        let selects = selecting(&headers, request.headers());
        Self { status: head.status, headers, body, selects, control, times, shared, invalid: false }
    }

    /// As it came, for the one who asked.
    pub fn as_it_is(&self) -> Response<Bytes> {
        let mut response = Response::new(self.body.clone());
        (*response.status_mut(), *response.headers_mut()) = (self.status, self.headers.clone());
        response
    }

    /// Whether it is what the origin now has for the target, so that anything older is out of date.
    pub fn is_current(&self) -> bool {
        matches!(self.status.as_u16(), 200..=205 | 300..=303 | 307 | 308 | 404 | 410)
    }

    /// RFC 9111, section 3. Where a directive withholds single fields, they are to be taken off: [`Self::kept`].
    pub fn may_be_kept<B>(&self, request: &Request<B>) -> bool {
        let code = self.status.as_u16();
        let (control, understood) = (&self.control, UNDERSTOOD.contains(&code));
        // Section 5.2.2.3: who understands the status needn't mind the no-store that is there for those who don't.
        let must_understand = control.has("must-understand");
        let forbidden = control.has("no-store") && !(must_understand && understood);
        let any = |names: &[&str]| names.iter().any(|it| control.has(it));
        let for_others = !control.has_unqualified("private")
            && (!request.headers().contains_key(header::AUTHORIZATION)
                || any(&["public", "must-revalidate", "s-maxage"]));
        let explicit = any(&["public", "max-age", if self.shared { "s-maxage" } else { "private" }])
            || self.headers.contains_key(header::EXPIRES);
        request.method() == http::Method::GET
            && !matches!(code, 100..=199 | 206 | 304)
            && (understood || !must_understand)
            && !forbidden
            && (for_others || !self.shared)
            && !Directives::of(request.headers()).has("no-store")
            && (explicit || HEURISTIC.contains(&code))
            && self.selects.is_some()
            && self.is_of_use()
    }

    /// Without freshness and without a validator nothing could ever be done with it.
    fn is_of_use(&self) -> bool {
        self.has_validator() || self.lifetime() > Duration::ZERO || self.may_outlive()
    }

    fn may_outlive(&self) -> bool {
        ["stale-while-revalidate", "stale-if-error"].iter().any(|it| self.control.has(it))
    }

    /// Without the fields that `no-cache="…"` withholds from later requests (section 5.2.2.4), and `private="…"` from
    /// others (section 5.2.2.7).
    pub fn kept(mut self) -> Self {
        let withhold = if self.shared { &["no-cache", "private"][..] } else { &["no-cache"] };
        for name in withhold.iter().flat_map(|it| self.control.fields(it)) {
            self.headers.remove(name);
        }
        self
    }

    /// Whether a request has what Vary names as the one had that this was the response to (section 4.1).
    pub fn is_for(&self, request: &HeaderMap) -> bool {
        let same = |(name, value): &(HeaderName, Option<String>)| normal(request, name) == *value;
        self.selects.as_ref().is_some_and(|fields| fields.iter().all(same))
    }

    pub fn varies(&self) -> bool {
        self.selects.as_ref().is_none_or(|fields| !fields.is_empty())
    }

    /// When it was made, to find the newest of several.
    pub fn made(&self) -> (Option<SystemTime>, Duration) {
        (time::date(&self.headers, &header::DATE), self.times.came)
    }

    /// How long it is fresh (section 4.2.1).
    pub fn lifetime(&self) -> Duration {
        let date = time::date(&self.headers, &header::DATE).unwrap_or(self.times.came_at);
        let since = |later: SystemTime, earlier| later.duration_since(earlier).unwrap_or_default();
        let shared = self.control.seconds("s-maxage").filter(|_| self.shared);
        if let Some(seconds) = shared.or_else(|| self.control.seconds("max-age")) {
            return Duration::from_secs(seconds);
        }
        if self.headers.contains_key(header::EXPIRES) {
            // A date that isn't one has passed (section 5.3).
            return time::date(&self.headers, &header::EXPIRES).map_or(Duration::ZERO, |it| since(it, date));
        }
        let guessed = HEURISTIC.contains(&self.status.as_u16()) || self.control.has("public");
        match time::date(&self.headers, &header::LAST_MODIFIED) {
            Some(changed) if guessed => since(date, changed) / FRACTION,
            _ => Duration::ZERO,
        }
    }

    /// How long ago the origin made or validated it (section 4.2.3). The Age that came with it is taken at its word, and
    /// its Date isn't held against this clock, which may be turned when the origin's isn't.
    pub fn age(&self, now: Duration) -> Duration {
        let first = members(&self.headers, &header::AGE, Quoting::Plain).into_iter().next();
        let told = first.and_then(|it| delta_seconds(&it)).unwrap_or(0);
        Duration::from_secs(told) + now.saturating_sub(self.times.asked)
    }

    /// By how much its age exceeds its lifetime; `None` while it is fresh.
    pub fn stale_by(&self, now: Duration) -> Option<Duration> {
        self.age(now).checked_sub(self.lifetime())
    }

    /// Whether it may be used only after the origin has said so, however fresh it is.
    pub fn is_always_validated(&self) -> bool {
        self.invalid || self.control.has_unqualified("no-cache")
    }

    /// Whether nobody may have it stale (section 4.2.4), in a shared cache also for s-maxage (section 5.2.2.10).
    pub fn is_never_stale(&self) -> bool {
        let shared = ["proxy-revalidate", "s-maxage"].iter().any(|it| self.control.has(it));
        self.is_always_validated() || self.control.has("must-revalidate") || (self.shared && shared)
    }

    /// The time past its freshness that an extension grants (RFC 5861).
    pub fn granted(&self, extension: &str) -> Option<Duration> {
        self.control.seconds(extension).map(Duration::from_secs)
    }

    pub fn etag(&self) -> Option<String> {
        self.headers.get(header::ETAG).map(text)
    }

    pub fn has_validator(&self) -> bool {
        self.headers.contains_key(header::ETAG) || self.headers.contains_key(header::LAST_MODIFIED)
    }

    /// Whether a 304 is about this response (section 4.3.4). One without any validator answers the validators that were
    /// sent, which were this response's.
    pub fn is_meant_by(&self, not_modified: &HeaderMap) -> bool {
        let (tag, changed) = (not_modified.get(header::ETAG), not_modified.get(header::LAST_MODIFIED));
        match tag.map(text) {
            Some(tag) if !is_weak(&tag) => self.etag() == Some(tag),
            Some(tag) => self.etag().is_some_and(|mine| opaque(&mine) == opaque(&tag)),
            None => changed.is_none() || changed == self.headers.get(header::LAST_MODIFIED),
        }
    }

    /// Takes over the fields of a 304, or of the response to a HEAD (section 3.2), and is as new as that.
    pub fn freshened(&self, request: &HeaderMap, by: &HeaderMap, times: Times) -> Self {
        let mut by = by.clone();
        without_hops(&mut by);
        dated(&mut by, times.came_at);
        for name in [header::CONTENT_LENGTH, header::CONTENT_RANGE] {
            by.remove(name);
        }
        let mut headers = self.headers.clone();
        // The age that a cache further on told once says nothing of the response as it is now.
        headers.remove(header::AGE);
        for name in by.keys() {
            headers.remove(name);
        }
        headers.extend(by);
        let (control, selects) = (Directives::of(&headers), selecting(&headers, request));
        Self { headers, control, selects, times, invalid: false, ..self.clone() }
    }

    /// The same, not to be used before it is validated.
    pub fn invalidated(&self) -> Self {
        Self { invalid: true, ..self.clone() }
    }

    /// Whether the response to a HEAD shows that this is still what a GET would give (section 4.3.5).
    pub fn agrees_with_head(&self, head: &HeaderMap) -> bool {
        let same = |name: HeaderName| head.get(&name).is_none_or(|it| self.headers.get(name) == Some(it));
        let length =
            head.get(header::CONTENT_LENGTH).is_none_or(|it| text(it) == self.body.len().to_string());
        same(header::ETAG) && same(header::LAST_MODIFIED) && length
    }

    /// Bytes that it takes, to keep the cache within its bound.
    pub fn size(&self) -> usize {
        let fields = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        self.body.len() + fields.sum::<usize>()
    }
}

/// Takes off what is meant for the next hop alone.
pub(super) fn without_hops(headers: &mut HeaderMap) {
    let named = members(headers, &header::CONNECTION, Quoting::Plain);
    for name in named.iter().map(String::as_str).chain(OF_A_HOP) {
        headers.remove(name);
    }
}

pub(super) fn is_weak(tag: &str) -> bool {
    tag.starts_with("W/")
}

/// A tag without its weakness: the weak comparison looks at nothing else (RFC 9110, section 8.8.3.2).
pub(super) fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// Who receives a response without a Date writes down when it came (RFC 9110, section 6.6.1).
fn dated(headers: &mut HeaderMap, came_at: SystemTime) {
    if let (None, Some(date)) = (headers.get(header::DATE), time::written(came_at)) {
        headers.insert(header::DATE, date);
    }
}

fn selecting(response: &HeaderMap, request: &HeaderMap) -> Option<Vec<(HeaderName, Option<String>)>> {
    let mut fields = Vec::new();
    for member in members(response, &header::VARY, Quoting::Plain) {
        // `*` is no name, and neither is what nobody could have sent.
        let name: HeaderName = member.parse().ok().filter(|_| member != "*")?;
        fields.push((name.clone(), normal(request, &name)));
    }
    Some(fields)
}

/// A field's lines as one, without spaces around the commas (RFC 9111, section 4.1).
fn normal(request: &HeaderMap, name: &HeaderName) -> Option<String> {
    request.contains_key(name).then(|| members(request, name, Quoting::Escapes).join(","))
}
