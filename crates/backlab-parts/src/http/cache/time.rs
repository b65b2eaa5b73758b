//! Dates of HTTP (RFC 9110, section 5.6.7).

use super::control::text;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::time::SystemTime;

/// The date in a field's first line; `None` where there is none, or one that isn't valid.
pub(super) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    parse(&text(headers.get(name)?))
}

/// A cache doesn't insist on the case of letters; on `GMT` it does (RFC 9111, section 4.2).
fn parse(text: &str) -> Option<SystemTime> {
    let mut start = true;
    let cased = |c: char| {
        let cased = if start { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
        start = !c.is_ascii_alphabetic();
        cased
    };
    let text: String = text.trim().chars().map(cased).collect();
    httpdate::parse_http_date(&text.replace("Gmt", "GMT")).ok()
}

pub(super) fn written(at: SystemTime) -> Option<HeaderValue> {
    HeaderValue::try_from(httpdate::fmt_http_date(at)).ok()
}
