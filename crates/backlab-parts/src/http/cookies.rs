//! The cookies that a client keeps for one server: name, value, `Path` and `Max-Age` (RFC 6265, sections 5.2 to 5.4).
//!
//! What it does not do: `Domain`, `Secure` and `SameSite` (a client speaks to one address, without TLS), `HttpOnly` (no
//! script runs here), and `Expires`.

use http::{HeaderMap, HeaderValue, header};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Cookies kept at most; RFC 6265, section 6.1 asks for at least 50 a domain.
const MOST: usize = 50;

#[derive(Debug, Clone, Default)]
pub(crate) struct Jar(Arc<Mutex<Vec<Cookie>>>);

#[derive(Debug, Clone)]
struct Cookie {
    name: String,
    value: String,
    path: String,
    until: Option<Instant>,
}

impl Jar {
    /// Keeps what the answer to a request for `path` sets.
    pub fn keep(&self, path: &str, headers: &HeaderMap) {
        let now = Instant::now();
        for set in headers.get_all(header::SET_COOKIE) {
            let Some((cookie, age)) = set.to_str().ok().and_then(|text| parse(text, path)) else { continue };
            let mut cookies = self.cookies();
            cookies.retain(|it| (&it.name, &it.path) != (&cookie.name, &cookie.path));
            let expired = age.is_some_and(|seconds| seconds <= 0);
            if !expired && cookies.len() < MOST {
                let until = age.map(|seconds| now + Duration::from_secs(seconds.unsigned_abs()));
                cookies.push(Cookie { until, ..cookie });
            }
        }
    }

    /// The `Cookie` header for a request; those with longer paths come first (section 5.4).
    pub fn header(&self, path: &str) -> Option<HeaderValue> {
        let mut fitting = self.fitting(path);
        fitting.sort_by_key(|it| std::cmp::Reverse(it.path.len()));
        let pairs: Vec<_> = fitting.iter().map(|it| format!("{}={}", it.name, it.value)).collect();
        if pairs.is_empty() { None } else { HeaderValue::from_str(&pairs.join("; ")).ok() }
    }

    pub fn get(&self, name: &str) -> Option<String> {
        self.cookies().iter().find(|it| it.name == name).map(|it| it.value.clone())
    }

    fn fitting(&self, path: &str) -> Vec<Cookie> {
        let mut cookies = self.cookies();
        cookies.retain(|it| it.until.is_none_or(|until| until > Instant::now()));
        cookies.iter().filter(|it| path_matches(path, &it.path)).cloned().collect()
    }

    fn cookies(&self) -> MutexGuard<'_, Vec<Cookie>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A `Set-Cookie` value, with its `Max-Age` in seconds.
fn parse(text: &str, request_path: &str) -> Option<(Cookie, Option<i64>)> {
    let mut parts = text.split(';');
    let (name, value) = parts.next()?.split_once('=')?;
    let mut cookie = Cookie {
        name: name.trim().to_owned(),
        value: value.trim().to_owned(),
        path: default_path(request_path).to_owned(),
        until: None,
    };
    let mut age = None;
    for attribute in parts {
        let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        match key.trim().to_ascii_lowercase().as_str() {
            "path" if value.trim().starts_with('/') => cookie.path = value.trim().to_owned(),
            "max-age" => age = value.trim().parse().ok().or(age),
            _ => {}
        }
    }
    (!cookie.name.is_empty()).then_some((cookie, age))
}

/// RFC 6265, section 5.1.4: up to, but without, the last slash.
fn default_path(request_path: &str) -> &str {
    let path = request_path.split('?').next().unwrap_or("/");
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(last) => &path[..last],
    }
}

/// RFC 6265, section 5.1.4: `/a` fits `/a` and `/a/b`, not `/ab`.
fn path_matches(request_path: &str, cookie_path: &str) -> bool {
    let path = request_path.split('?').next().unwrap_or("/");
    path.strip_prefix(cookie_path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || cookie_path.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jar(path: &str, set: &[&'static str]) -> Jar {
        let jar = Jar::default();
        let mut headers = HeaderMap::new();
        for value in set {
            headers.append(header::SET_COOKIE, HeaderValue::from_static(value));
        }
        jar.keep(path, &headers);
        jar
    }

    #[test]
    fn a_cookie_goes_back_to_the_paths_that_it_was_set_for() {
        let jar = jar("/shop/login?x=/y", &["id=7; HttpOnly", "all=1; Path=/", "cart=a=b; path=/shop/cart"]);
        let sent = |path| jar.header(path).map(|it| it.to_str().unwrap().to_owned());
        assert_eq!(sent("/shop/cart/2?q=1").as_deref(), Some("cart=a=b; id=7; all=1"));
        assert_eq!(sent("/shop").as_deref(), Some("id=7; all=1"));
        assert_eq!(sent("/shopping").as_deref(), Some("all=1"));
    }

    #[test]
    fn a_second_cookie_of_the_same_name_and_path_replaces_the_first_and_age_zero_removes_it() {
        let jar = jar("/", &["id=7; Max-Age=60", "id=8"]);
        assert_eq!(jar.get("id").as_deref(), Some("8"));
        let mut headers = HeaderMap::new();
        headers.append(header::SET_COOKIE, HeaderValue::from_static("id=; Max-Age=0"));
        jar.keep("/", &headers);
        assert_eq!(jar.header("/"), None);
    }
}
