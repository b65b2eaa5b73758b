//! Readers of the program under test, behind a cache of the grader's whose clock is turned.

use crate::prelude::*;
use backlab_parts::http::cache::{Cache, Handled};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::Request;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

pub const HOUR: u64 = 60 * 60;
pub const DAY: u64 = 24 * HOUR;
pub const YEAR: u64 = 365 * DAY;

/// The beginning of 2026: clocks begin after it, a few seconds into a minute.
const BEGIN: u64 = 1_767_225_600;
/// How the program is told the time.
const NOW: &str = "X-Test-Now";

/// One cache with all who read through it.
pub struct Readers {
    cache: Cache,
    /// "the shared cache".
    name: &'static str,
    clock: Clock,
    program: Arc<Program>,
}

/// The program, as the cache sees it.
struct Program {
    it: Subject,
    clock: Clock,
    hangs: AtomicBool,
    /// Its answers to the cache, each with the target that was asked for.
    asked: Mutex<Vec<(String, Answer)>>,
    /// What it did wrong to a request of the cache.
    fault: Mutex<Option<Finding>>,
}

type Origin = dyn Fn(Request<Bytes>) -> BoxFuture<'static, Result<http::Response<Bytes>, Why>> + Send + Sync;

/// A reader's request, which is sent when it is awaited.
#[must_use = "a request is sent when it is awaited"]
pub struct Asking<'a> {
    readers: &'a Readers,
    request: Request<Bytes>,
    /// Whether a failure tells of it.
    told: bool,
}

/// What a reader got.
pub struct Seen {
    handled: Handled,
    body: Bytes,
    /// "GET /me, authorization: Bearer a".
    asked: String,
    /// The program's newest answer for this target: what the cache knows, it knows from there.
    from: Option<Answer>,
}

impl Readers {
    /// All readers share one proxy.
    pub fn behind_a_proxy(g: &Grader, it: &Subject) -> Self {
        let began = BEGIN + u64::from(g.number(0..500_000)) * 60 + u64::from(g.number(3..9));
        let clock = Clock::frozen_at(UNIX_EPOCH + Duration::from_secs(began));
        Self::open(it, clock, "the shared cache", Cache::new)
    }

    /// The same, before another process of the program; the proxy has nothing yet.
    pub fn of_another(&self, it: &Subject) -> Self {
        Self::open(it, self.clock.clone(), self.name, Cache::new)
    }

    /// One reader, with nothing but the browser's cache before the program.
    pub fn in_one_browser(&self) -> Self {
        Self::open(&self.program.it, self.clock.clone(), "the browser's cache", Cache::of_one_user)
    }

    fn open<M>(it: &Subject, clock: Clock, name: &'static str, make: M) -> Self
    where
        M: FnOnce(&str, Clock, Box<Origin>) -> Cache,
    {
        let (asked, fault) = (Mutex::default(), Mutex::default());
        let (it, hangs) = (it.clone(), AtomicBool::new(false));
        let program = Arc::new(Program { it, clock: clock.clone(), hangs, asked, fault });
        let origin = program.clone();
        let cache =
            make(name, clock.clone(), Box::new(move |request| Box::pin(origin.clone().answer(request))));
        Self { cache, name, clock, program }
    }

    /// Turns the clock forward by seconds.
    pub fn turn(&self, seconds: u64) {
        self.clock.step(Duration::from_secs(seconds));
    }

    /// The time in whole seconds since 1970.
    pub fn now(&self) -> i64 {
        self.program.now().cast_signed()
    }

    pub fn minute(&self) -> i64 {
        self.now() / 60
    }

    /// From now on the program doesn't answer the cache.
    pub fn hang(&self) {
        self.program.it.note("from now on your program doesn't answer the cache");
        self.program.hangs.store(true, Ordering::SeqCst);
    }

    /// How often the cache had to ask the program for this.
    pub fn asked(&self, target: &str) -> usize {
        self.program.asked().iter().filter(|(it, _)| it == target).count()
    }

    pub fn get(&self, target: &str) -> Asking<'_> {
        self.ask(Method::GET, target, Bytes::new())
    }

    pub fn put(&self, target: &str, body: &Value) -> Asking<'_> {
        self.ask(Method::PUT, target, body.to_string().into()).header("content-type", "application/json")
    }

    /// Many readers ask for the same; each has to see what is right.
    pub async fn crowd(&self, target: &str, readers: usize, right: impl Fn(&Seen) -> Graded) -> Graded {
        self.note(format_args!("{readers} readers ask {} for {target}", self.name));
        for _ in 0..readers {
            let asking = Asking { told: false, ..self.get(target) };
            right(&asking.await?.status(200)?)?;
        }
        Ok(())
    }

    /// A request to the program itself, at the time of this clock.
    pub fn direct(&self, method: Method, target: &str) -> Call {
        self.program.it.request(method, target).header(NOW, self.now())
    }

    /// A fault in how often the cache had to ask, with what the program said of this target as its cause.
    pub fn explained(&self, wrong: Finding, target: &str) -> Finding {
        explained(wrong, self.program.newest(target).as_ref())
    }

    fn ask(&self, method: Method, target: &str, body: Bytes) -> Asking<'_> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        // Targets are words of the grader's own: letters and slashes.
        *request.uri_mut() = target.parse().unwrap_or_default();
        Asking { readers: self, request, told: true }
    }

    fn note(&self, what: impl Display) {
        self.program.it.note(format_args!("after {}: {what}", spoken(self.clock.now().as_secs())));
    }
}

impl Program {
    fn now(&self) -> u64 {
        self.clock.date().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    fn asked(&self) -> MutexGuard<'_, Vec<(String, Answer)>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn newest(&self, target: &str) -> Option<Answer> {
        self.asked().iter().rev().find(|(it, _)| it == target).map(|(_, answer)| answer.clone())
    }

    fn fault(&self) -> MutexGuard<'_, Option<Finding>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers the cache with what the program answers.
    async fn answer(self: Arc<Self>, request: Request<Bytes>) -> Result<http::Response<Bytes>, Why> {
        if self.hangs.load(Ordering::SeqCst) {
            return Err(Why::Deadline(Duration::from_secs(5)));
        }
        let (head, body) = request.into_parts();
        let target = head.uri.to_string();
        let mut call = self.it.request(head.method, &target).header(NOW, self.now()).body(body);
        for (name, value) in head.headers.iter().filter(|(name, _)| *name != http::header::VIA) {
            call = call.header(name.as_str(), String::from_utf8_lossy(value.as_bytes()));
        }
        match call.await {
            Ok(answer) => {
                let mut response = http::Response::new(answer.body().clone());
                *response.status_mut() = StatusCode::from_u16(answer.code()).map_err(|_| Why::Closed)?;
                *response.headers_mut() = answer.headers().clone();
                // It is of a clock that nobody turns.
                response.headers_mut().remove(http::header::DATE);
                self.asked().push((target, answer));
                Ok(response)
            }
            Err(finding) => {
                *self.fault() = Some(finding);
                Err(Why::Closed)
            }
        }
    }
}

impl<'a> Asking<'a> {
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        let name = http::HeaderName::from_static(name);
        // Values are words of the grader's own.
        if let Ok(value) = value.parse() {
            self.request.headers_mut().insert(name, value);
        }
        self
    }

    pub fn user(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    async fn seen(self) -> Graded<Seen> {
        let Self { readers, request, told } = self;
        let (target, asked) = (request.uri().to_string(), shown(&request));
        if told {
            readers.note(format_args!("a reader asks {}: {asked}", readers.name));
        }
        let (response, handled) = readers.cache.answer(request).await;
        readers.cache.settled().await?;
        match readers.program.fault().take() {
            Some(fault) => Err(fault),
            None => {
                Ok(Seen { handled, body: response.into_body(), asked, from: readers.program.newest(&target) })
            }
        }
    }
}

impl<'a> IntoFuture for Asking<'a> {
    type Output = Graded<Seen>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.seen())
    }
}

impl Seen {
    pub fn code(&self) -> u16 {
        self.handled.status.as_u16()
    }

    /// How the body begins.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim_end().chars().take(200).collect()
    }

    pub fn wrong(&self, what: impl Display, expected: impl Display, found: impl Display) -> Finding {
        Finding::wrong(format!("{what} ({})", self.asked), expected, found)
    }

    pub fn status(self, expected: u16) -> Graded<Self> {
        self.one_of(&[expected])
    }

    pub fn one_of(self, expected: &[u16]) -> Graded<Self> {
        if expected.contains(&self.code()) {
            return Ok(self);
        }
        let what = format!("the status that a reader gets ({})", self.asked);
        Err(Finding::wrong_status(what, expected, self.code(), self.code()))
    }

    /// The cache must not have had to ask the program.
    pub fn costs_nothing(&self) -> Graded {
        let Some(status) = self.handled.origin else { return Ok(()) };
        let what = "the requests that reach you for a reader whom the cache could serve";
        let found = format!("one, which you answered with {}", status.as_u16());
        Err(explained(self.wrong(what, "none", found), self.from.as_ref()))
    }

    /// The cache must have had something to serve while the program is gone.
    pub fn survives(&self) -> Graded {
        if self.code() == 200 {
            return Ok(());
        }
        let found = format!("{}, since you don't answer", self.code());
        let wrong = self.wrong("what a reader gets while you don't answer", "200 with the last news", found);
        let control = self.from.as_ref().map(control).unwrap_or_default();
        let forbids =
            ["s-maxage", "must-revalidate", "proxy-revalidate"].into_iter().find(|it| control.contains(it));
        Err(match forbids {
            Some(name) if control.contains("stale-") => wrong.because(format!(
                "`{name}` forbids shared caches to serve it stale, whatever else is permitted (RFC 9111, section 4.2.4)."
            )),
            _ => wrong,
        })
    }

    pub fn number(&self, name: &str) -> Graded<i64> {
        let json = self.json()?;
        let number = json[name].as_i64();
        number.ok_or_else(|| self.wrong(format!("the member \"{name}\""), "a whole number", &json))
    }

    pub fn has(self, name: &str, expected: impl Into<Value>) -> Graded<Self> {
        let (json, expected) = (self.json()?, expected.into());
        if json[name] == expected {
            return Ok(self);
        }
        let found = json.get(name).map_or_else(|| json.to_string(), Value::to_string);
        Err(self.out_of_date(&format!("the member \"{name}\" that a reader gets"), &expected, &found, ""))
    }

    /// The body is one line of JSON.
    pub fn has_line(&self, expected: &Value) -> Graded {
        let found = self.text();
        if serde_json::from_slice(&self.body).is_ok_and(|found: Value| found == *expected) {
            return Ok(());
        }
        let aside = " A PUT has the cache forget its own target, and no other.";
        Err(self.out_of_date("the lines that a reader gets", expected, &found, aside))
    }

    fn json(&self) -> Graded<Value> {
        let json = serde_json::from_slice(&self.body);
        json.map_err(|_| self.wrong("the body that a reader gets", "JSON", self.text()))
    }

    /// A fault in what a reader got, with how the cache came to it.
    fn out_of_date(&self, what: &str, expected: &Value, found: &str, aside: &str) -> Finding {
        let wrong = |how: &str| self.wrong(what, expected, format!("{found} ({how})"));
        match (self.handled.origin, &self.from) {
            (None, Some(from)) => wrong("from the cache, without asking you").because(format!(
                "An earlier answer of yours lets the cache use it for this request too: {}.{aside}",
                said(from)
            )),
            (Some(StatusCode::NOT_MODIFIED), _) => wrong("from the cache, after your 304")
                .because("You answered 304: that what the cache has is still right."),
            _ => wrong("from you"),
        }
    }
}

/// "GET /me, authorization: Bearer a".
fn shown(request: &Request<Bytes>) -> String {
    let fields = request.headers().iter().filter(|(name, _)| *name != http::header::CONTENT_TYPE);
    let fields =
        fields.map(|(name, value)| format!(", {name}: {}", String::from_utf8_lossy(value.as_bytes())));
    format!("{} {}{}", request.method(), request.uri(), fields.collect::<String>())
}

/// Seconds in words: "61 s", "25 h".
fn spoken(seconds: u64) -> String {
    match seconds {
        HOUR.. if seconds.is_multiple_of(HOUR) => format!("{} h", seconds / HOUR),
        _ => format!("{seconds} s"),
    }
}

fn control(answer: &Answer) -> String {
    answer.find_header("Cache-Control").unwrap_or_default().to_ascii_lowercase()
}

/// What an answer says to caches: "`Cache-Control: public, max-age=60`, no `Vary`".
fn said(answer: &Answer) -> String {
    let fields =
        ["Cache-Control", "Expires", "Vary"].into_iter().map(|name| (name, answer.find_header(name)));
    let words =
        fields.filter(|(name, value)| value.is_some() || *name != "Expires").map(
            |(name, value)| match value {
                Some(value) => format!("`{name}: {value}`"),
                None => format!("no `{name}`"),
            },
        );
    words.collect::<Vec<_>>().join(", ")
}

/// Where an answer itself shows why the cache had to ask again, that is the cause.
fn explained(wrong: Finding, answer: Option<&Answer>) -> Finding {
    const FORBIDS: [(&str, &str); 3] = [
        ("no-store", "`no-store` forbids every cache to keep it."),
        ("private", "`private` keeps it out of a cache that several readers share."),
        ("no-cache", "`no-cache` has you asked before each use; a 304 is short, and a request all the same."),
    ];
    let Some(answer) = answer else { return wrong };
    let control = control(answer);
    if control.is_empty() && answer.find_header("Expires").is_none() {
        return wrong
            .because("Your answer says nothing of how long it is fresh: neither Cache-Control nor Expires.");
    }
    match FORBIDS.into_iter().find(|(name, _)| control.contains(name)) {
        Some((_, cause)) => wrong.because(cause),
        None => wrong,
    }
}
