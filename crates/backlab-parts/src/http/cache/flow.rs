//! What the cache does with a request: use what it has, ask the origin, or hand it on (RFC 9111, sections 4 and 4.4).

use super::control::{Directives, text};
use super::reply;
use super::store::Found;
use super::stored::{Stored, Times, without_hops};
use super::{Cache, Verdict};
use crate::http::Why;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::watch;

/// Conditions of the client, in whose place the cache puts its own where it validates.
const CONDITIONS: [HeaderName; 4] =
    [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_RANGE, header::RANGE];

/// What was decided for one request.
pub(super) struct Outcome {
    pub response: Response<Bytes>,
    pub verdict: Verdict,
    /// Why it went to the origin, if it did.
    pub forwarded: Option<Reason>,
    /// What the origin answered, where it did.
    pub origin: Option<StatusCode>,
    /// Of a response that is used without asking.
    pub age: Option<Duration>,
    /// What is left of its freshness, in seconds.
    pub ttl: Option<i64>,
    pub stored: bool,
}

/// Why a request goes to the origin (RFC 9211, section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Method,
    UriMiss,
    VaryMiss,
    /// The client doesn't want what is stored.
    Request,
    Stale,
}

/// What may be done with a stored response that fits a request.
enum Use {
    Fresh,
    Stale,
    /// Stale, while it is validated behind the client's back.
    StaleAndValidate,
    Ask(Reason),
}

impl Cache {
    pub(super) async fn decide(&self, mut request: Request<Bytes>) -> Outcome {
        without_hops(request.headers_mut());
        match *request.method() {
            Method::GET | Method::HEAD => self.read(request).await,
            ref method if method.is_safe() => self.pass(request, Reason::Method).await,
            _ => self.write(request).await,
        }
    }

    async fn read(&self, request: Request<Bytes>) -> Outcome {
        // These two are for the origin alone to judge (section 4.3.2).
        if [header::IF_MATCH, header::IF_UNMODIFIED_SINCE].iter().any(|it| request.headers().contains_key(it))
        {
            return self.pass(request, Reason::Request).await;
        }
        let wishes = Directives::of(request.headers());
        let found = self.store().find(&key(&request), request.headers());
        let stored = match found {
            Found::This(stored) => stored,
            _ if wishes.has("only-if-cached") => return only_if_cached(),
            Found::OtherVariants => return self.fetch(request, Reason::VaryMiss).await,
            Found::Nothing => return self.fetch(request, Reason::UriMiss).await,
        };
        let now = self.0.clock.now();
        match judge(&stored, &wishes, now) {
            Use::Fresh => served(&stored, &request, now, Verdict::Hit),
            Use::Stale => served(&stored, &request, now, Verdict::Stale),
            Use::StaleAndValidate => {
                self.validate_behind(&stored, &request);
                served(&stored, &request, now, Verdict::Stale)
            }
            Use::Ask(_) if wishes.has("only-if-cached") => only_if_cached(),
            Use::Ask(reason) => self.validate(&stored, request, reason).await,
        }
    }

    /// Asks the origin about a response that may not be used as it is, and uses it after all when the origin says so, or
    /// when it can't answer and staleness is permitted (section 4.3).
    async fn validate(&self, stored: &Stored, request: Request<Bytes>, reason: Reason) -> Outcome {
        let conditional = stored.has_validator() && request.method() == Method::GET;
        let asking = if conditional { conditioned(stored, &request) } else { request.clone() };
        let (came, times) = self.forward(asking).await;
        let status = came.as_ref().ok().map(Response::status);
        let now = self.0.clock.now();
        if status.is_none_or(is_failure) && may_outlive_failure(stored, &request, now, reason) {
            let stale = served(stored, &request, now, Verdict::Stale);
            return Outcome { forwarded: Some(reason), origin: status, ..stale };
        }
        let Ok(response) = came else { return no_answer(StatusCode::GATEWAY_TIMEOUT, reason) };
        if !conditional || response.status() != StatusCode::NOT_MODIFIED {
            return self.full(&request, response, times, reason, conditional);
        }
        if !stored.is_meant_by(response.headers()) {
            // The 304 is about something that isn't here: only the whole response helps.
            return self.fetch(request, reason).await;
        }
        let fresh = stored.freshened(request.headers(), response.headers(), times);
        let kept = self.keep(&request, &fresh);
        Outcome {
            response: reply::give(&fresh, &request, None),
            verdict: Verdict::Revalidated,
            forwarded: Some(reason),
            origin: status,
            age: None,
            ttl: Some(ttl(&fresh, now)),
            stored: kept,
        }
    }

    /// Asks the origin for want of anything to use.
    async fn fetch(&self, request: Request<Bytes>, reason: Reason) -> Outcome {
        match self.forward(request.clone()).await {
            (Ok(response), times) => self.full(&request, response, times, reason, false),
            (Err(why), _) => no_answer(gateway_status(&why), reason),
        }
    }

    /// Hands on what the origin answered, and keeps it if it may. Of a validation it judges the client's own conditions,
    /// which the origin didn't see.
    fn full(
        &self,
        request: &Request<Bytes>,
        response: Response<Bytes>,
        times: Times,
        reason: Reason,
        validation: bool,
    ) -> Outcome {
        let came = Stored::new(request, response, times, self.0.shared);
        if request.method() == Method::HEAD && came.status == StatusCode::OK {
            self.freshen_by_head(request, &came.headers, times);
        }
        let stored = self.keep(request, &came);
        Outcome {
            response: if validation { reply::give(&came, request, None) } else { came.as_it_is() },
            verdict: Verdict::Miss,
            forwarded: Some(reason),
            origin: Some(came.status),
            age: None,
            ttl: stored.then(|| ttl(&came, self.0.clock.now())),
            stored,
        }
    }

    /// Keeps a response if it may be kept. One that the origin doesn't let us keep takes the place of the old one all the
    /// same, which is out of date.
    fn keep(&self, request: &Request<Bytes>, response: &Stored) -> bool {
        let may = response.may_be_kept(request);
        if may {
            self.store().put(&key(request), request.headers(), response.clone().kept());
        } else if request.method() == Method::GET && response.is_current() {
            self.store().remove(&key(request), |it| it.is_for(request.headers()));
        }
        may
    }

    /// What a HEAD tells of the stored response to GET (section 4.3.5).
    fn freshen_by_head(&self, request: &Request<Bytes>, head: &HeaderMap, times: Times) {
        let (key, mut store) = (key(request), self.store());
        let Found::This(stored) = store.find(&key, request.headers()) else { return };
        let now = match stored.agrees_with_head(head) {
            true => stored.freshened(request.headers(), head, times),
            false => stored.invalidated(),
        };
        store.put(&key, request.headers(), now);
    }

    /// Hands on what may change something; after that, what is stored of it is no longer to be trusted (section 4.4).
    async fn write(&self, request: Request<Bytes>) -> Outcome {
        let (target, host) = (target(&request).to_owned(), host(request.headers()));
        let outcome = self.pass(request, Reason::Method).await;
        let status = outcome.response.status();
        if outcome.origin.is_some() && (status.is_success() || status.is_redirection()) {
            let named = [header::LOCATION, header::CONTENT_LOCATION];
            let named = named.iter().filter_map(|it| outcome.response.headers().get(it));
            let others = named.filter_map(|it| of_same_origin(&text(it), &host, &target));
            for target in others.chain([target.clone()]) {
                self.store().invalidate(&format!("{host}{target}"));
            }
        }
        outcome
    }

    /// Hands a request on and the answer back.
    async fn pass(&self, request: Request<Bytes>, reason: Reason) -> Outcome {
        let outcome = match self.forward(request.clone()).await {
            (Ok(response), times) => {
                let came = Stored::new(&request, response, times, self.0.shared);
                let nothing = no_answer(came.status, reason);
                Outcome { origin: Some(came.status), response: came.as_it_is(), ..nothing }
            }
            (Err(why), _) => no_answer(gateway_status(&why), reason),
        };
        Outcome { verdict: Verdict::Pass, ..outcome }
    }

    /// Validates a stale response that a client is given, unless that is under way (RFC 5861, section 3).
    fn validate_behind(&self, stored: &Stored, request: &Request<Bytes>) {
        let variant = format!("{} {:?}", key(request), stored.made());
        if !self.0.validating.send_if_modified(|all| all.insert(variant.clone())) {
            return;
        }
        let (cache, stored, mut request) = (self.clone(), stored.clone(), request.clone());
        *request.method_mut() = Method::GET;
        for name in CONDITIONS {
            request.headers_mut().remove(name);
        }
        tokio::spawn(async move {
            let _under_way = UnderWay { all: &cache.0.validating, variant };
            cache.validate(&stored, request, Reason::Stale).await;
        });
    }

    async fn forward(&self, mut request: Request<Bytes>) -> (Result<Response<Bytes>, Why>, Times) {
        // RFC 9110, section 7.6.3.
        request.headers_mut().append(header::VIA, HeaderValue::from_static("1.1 backlab"));
        let asked = self.0.clock.now();
        let answer = (self.0.forward)(request).await;
        (answer, Times { asked, came: self.0.clock.now(), came_at: self.0.clock.date() })
    }
}

impl Reason {
    pub fn word(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
        }
    }
}

/// One validation behind a client's back; however it ends, it is no longer under way.
struct UnderWay<'a> {
    all: &'a watch::Sender<BTreeSet<String>>,
    variant: String,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.all.send_modify(|all| {
            all.remove(&self.variant);
        });
    }
}

/// Whether a response may be used as it is (sections 4.2 and 5.2.1).
fn judge(stored: &Stored, wishes: &Directives, now: Duration) -> Use {
    let seconds = |name| wishes.seconds(name).map(Duration::from_secs);
    let too_old = seconds("max-age").is_some_and(|most| stored.age(now) > most);
    let too_short = seconds("min-fresh").is_some_and(|least| stored.lifetime() < stored.age(now) + least);
    let unwanted = wishes.has("no-cache") || too_old || too_short;
    let Some(over) = stored.stale_by(now) else {
        return match (stored.is_always_validated(), unwanted) {
            (true, _) => Use::Ask(Reason::Stale),
            (false, true) => Use::Ask(Reason::Request),
            (false, false) => Use::Fresh,
        };
    };
    if stored.is_never_stale() || unwanted {
        return Use::Ask(Reason::Stale);
    }
    if wishes.is_bare("max-stale") || seconds("max-stale").is_some_and(|most| over <= most) {
        return Use::Stale;
    }
    // Who says max-age without max-stale doesn't wish for a stale response (section 5.2.1.1).
    match stored.granted("stale-while-revalidate") {
        Some(most) if over <= most && !wishes.has("max-age") => Use::StaleAndValidate,
        _ => Use::Ask(Reason::Stale),
    }
}

/// Whether a response may be used because the origin can't answer (RFC 5861, section 4). Who wants the origin asked about
/// something fresh gets the failure.
fn may_outlive_failure(stored: &Stored, request: &Request<Bytes>, now: Duration, reason: Reason) -> bool {
    let wishes = Directives::of(request.headers());
    let granted =
        stored.granted("stale-if-error").filter(|_| reason == Reason::Stale && !wishes.has("no-cache"));
    let most = granted.max(wishes.seconds("stale-if-error").map(Duration::from_secs));
    let over = stored.stale_by(now).unwrap_or_default();
    !stored.is_never_stale() && most.is_some_and(|most| over <= most)
}

/// What RFC 5861 counts as an error, beside no answer at all.
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// The client's request with the stored validators in the place of its own conditions (section 4.3.1).
fn conditioned(stored: &Stored, request: &Request<Bytes>) -> Request<Bytes> {
    let mut asking = request.clone();
    for name in CONDITIONS {
        asking.headers_mut().remove(name);
    }
    let validators =
        [(header::IF_NONE_MATCH, header::ETAG), (header::IF_MODIFIED_SINCE, header::LAST_MODIFIED)];
    for (condition, validator) in validators {
        if let Some(value) = stored.headers.get(validator) {
            asking.headers_mut().insert(condition, value.clone());
        }
    }
    asking
}

/// The primary key: the target URI, of which scheme and port are always the same here (section 2).
fn key(request: &Request<Bytes>) -> String {
    format!("{}{}", host(request.headers()), target(request))
}

fn target(request: &Request<Bytes>) -> &str {
    request.uri().path_and_query().map_or("/", |it| it.as_str())
}

fn host(headers: &HeaderMap) -> String {
    headers.get(header::HOST).map(text).unwrap_or_default().to_ascii_lowercase()
}

/// The target that a Location names, if its origin is this one (section 4.4).
fn of_same_origin(location: &str, host: &str, base: &str) -> Option<String> {
    let location = location.split('#').next()?;
    if let Some(rest) = location.strip_prefix("http:").unwrap_or(location).strip_prefix("//") {
        let (authority, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let target = if target.is_empty() { "/" } else { target };
        return authority.eq_ignore_ascii_case(host).then(|| target.to_owned());
    }
    if location.starts_with('/') {
        return Some(location.to_owned());
    }
    let (path, _) = base.split_once('?').unwrap_or((base, ""));
    let relative = !location.is_empty() && !location.contains(':');
    relative.then(|| format!("{}{location}", &path[..=path.rfind('/').unwrap_or(0)]))
}

fn served(stored: &Stored, request: &Request<Bytes>, now: Duration, verdict: Verdict) -> Outcome {
    let age = stored.age(now);
    Outcome {
        response: reply::give(stored, request, Some(age)),
        verdict,
        forwarded: None,
        origin: None,
        age: Some(age),
        ttl: Some(ttl(stored, now)),
        stored: false,
    }
}

fn ttl(stored: &Stored, now: Duration) -> i64 {
    let seconds = |it: Duration| i64::try_from(it.as_secs()).unwrap_or(i64::MAX);
    seconds(stored.lifetime()) - seconds(stored.age(now))
}

/// Section 5.2.1.7.
fn only_if_cached() -> Outcome {
    Outcome { forwarded: None, ..no_answer(StatusCode::GATEWAY_TIMEOUT, Reason::UriMiss) }
}

fn gateway_status(why: &Why) -> StatusCode {
    match why {
        Why::Deadline(_) => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    }
}

fn no_answer(status: StatusCode, reason: Reason) -> Outcome {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    let forwarded = Some(reason);
    Outcome { response, verdict: Verdict::Miss, forwarded, origin: None, age: None, ttl: None, stored: false }
}
