//! What every request passes: is it meant for us, does it come from our own pages, is it small enough.
//!
//! The page starts programs on the reader's machine, so no other site may use it:
//! - *DNS rebinding*: a hostile name that resolves to 127.0.0.1 makes a browser send that name as Host; only our own
//!   names are answered.
//! - *Cross-site requests*: there are no cookies to steal, but a form on another site could press Run. A request that
//!   changes something is refused unless the browser says that it comes from our own page: `Sec-Fetch-Site` (every
//!   browser since 2023) or else `Origin` (every browser on a cross-site POST). A client that sends neither is no
//!   browser and has nothing to be tricked into. With these two no token in the forms is needed.
//! - *Cross-site reading* is prevented by the browser: we send no CORS headers, and `Cross-Origin-Resource-Policy`.

use crate::Site;
use crate::refusal::Refusal;
use axum::body::Body;
use axum::extract::{MatchedPath, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Request, StatusCode, uri::Authority};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of path and query.
const URI: usize = 2048;
/// How long a handler may take; what a run does goes on after it.
const DEADLINE: Duration = Duration::from_secs(15);

/// What browsers may do with every answer.
pub(crate) const POLICIES: [(HeaderName, HeaderValue); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    // Not `no-referrer`: with that, browsers send `Origin: null` with our own forms.
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

pub(crate) async fn guard(State(site): State<Arc<Site>>, request: Request<Body>, next: Next) -> Response {
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let wants_json = wants_json(request.headers());
    let response = match check(&site, &request) {
        Ok(()) => match tokio::time::timeout(DEADLINE, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "That took too long",
                format!("No answer within {} seconds; try again.", DEADLINE.as_secs()),
            )
            .into_response(),
        },
        Err(refusal) => refusal.into_response(),
    };
    let mut response = Refusal::shown(response, &site.assets, wants_json);
    response.headers_mut().extend(POLICIES);
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    site.metrics.answered(route, response.status(), began.elapsed());
    response
}

/// Whether the request is one that we answer.
pub(crate) fn check<B>(site: &Site, request: &Request<B>) -> Result<(), Refusal> {
    site.hosts.check(request)?;
    same_site(request)?;
    short(request)
}

/// Whether the client would rather have JSON than a page.
pub(crate) fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|it| it.to_str().ok()).unwrap_or_default();
    accept.contains("application/json") && !accept.contains("text/html")
}

/// The names that are ours.
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    pub(crate) fn new(bind: SocketAddr, others: Vec<String>) -> Self {
        let mut names: Vec<_> = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).into();
        if !bind.ip().is_unspecified() {
            names.push(match bind {
                SocketAddr::V4(it) => it.ip().to_string(),
                SocketAddr::V6(it) => format!("[{}]", it.ip()),
            });
        }
        names.extend(others);
        Self(names)
    }

    fn check<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let Some(host) = host(request) else {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "No host",
                "The request has no Host header, or one that isn't a host.",
            ));
        };
        let name = host.host();
        if self.0.iter().any(|ours| ours.eq_ignore_ascii_case(name)) {
            return Ok(());
        }
        Err(Refusal::new(
            StatusCode::MISDIRECTED_REQUEST,
            "Not this host",
            format!(
                "`{name}` isn't a name of this Backlab, which answers to {}. To allow it, start with \
                 `backlab serve --host {name}`.",
                self.0.join(", ")
            ),
        ))
    }
}

/// Where the request is meant to go: a request in absolute form says so in its first line (RFC 9112, section 3.2.2).
fn host<B>(request: &Request<B>) -> Option<Authority> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.clone());
    }
    let host = request.headers().get(header::HOST)?.to_str().ok()?;
    host.parse().ok().filter(|_| !host.contains('@'))
}

fn same_site<B>(request: &Request<B>) -> Result<(), Refusal> {
    if request.method().is_safe() {
        return Ok(());
    }
    let says = |name: &str| request.headers().get(name).map(|it| it.to_str().unwrap_or_default());
    let ours = match (says("sec-fetch-site"), says("origin")) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let from = origin.split_once("://").map(|(_, authority)| authority);
            from.is_some()
                && from.map(str::to_ascii_lowercase)
                    == host(request).map(|it| it.as_str().to_ascii_lowercase())
        }
        (None, None) => true,
    };
    if ours {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::FORBIDDEN,
        "Not from here",
        "Another site asked for this, and only Backlab's own pages may change something. Open the page itself and \
         try again.",
    ))
}

fn short<B>(request: &Request<B>) -> Result<(), Refusal> {
    let length = request.uri().path_and_query().map_or(0, |it| it.as_str().len());
    if length <= URI {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::URI_TOO_LONG,
        "Address too long",
        format!("The address has {length} bytes; {URI} are read."),
    ))
}
