//! A request to the program under test, and its answer with the looks that find fault with it.

use super::finding::{Finding, Graded};
use super::grader::Live;
use super::shell;
use backlab_parts::gate::Gate;
use backlab_parts::http::{Ask, NoAnswer, Reply};
use futures::future::{BoxFuture, join_all};
use http::{HeaderMap, Method};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// A request that is sent when it is awaited.
#[must_use = "a request is sent when it is awaited"]
pub struct Call {
    pub(super) ask: Ask,
    pub(super) to: Arc<Live>,
}

/// One request and what came of it.
#[derive(Debug)]
pub struct Exchange {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: bytes::Bytes,
    /// Where it went, and what a shell calls this port: `$PORT`.
    at: SocketAddr,
    port: String,
    began: Instant,
    ended: OnceLock<(Instant, Result<Reply, NoAnswer>)>,
}

/// A whole answer of the program under test.
#[derive(Debug, Clone)]
pub struct Answer {
    pub(super) reply: Reply,
    pub(super) exchange: Arc<Exchange>,
}

impl Call {
    pub fn header(mut self, name: &str, value: impl Display) -> Self {
        self.ask = self.ask.header(name, value);
        self
    }

    pub fn body(mut self, body: impl Into<bytes::Bytes>) -> Self {
        self.ask = self.ask.body(body);
        self
    }

    pub fn json(mut self, body: &impl Serialize) -> Self {
        self.ask = self.ask.json(body);
        self
    }

    /// How long the answer may take, instead of five seconds.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.ask = self.ask.deadline(deadline);
        self
    }

    /// Sends all of them, each on a connection of its own, so that they are whole in the same moment: the last byte of
    /// each body goes out when the rest of all is on its way. Returns the answers in the same order.
    pub async fn at_once(calls: impl IntoIterator<Item = Self>) -> Graded<Vec<Answer>> {
        let calls: Vec<Self> = calls.into_iter().collect();
        let gate = Gate::until(calls.iter().filter(|call| !call.ask.content().is_empty()).count() as u64);
        let held = calls.into_iter().map(|call| Self { ask: call.ask.last_byte_at(&gate), ..call });
        join_all(held.map(Self::into_future)).await.into_iter().collect()
    }

    /// Sends it; that no answer comes may be what the stage wants.
    pub async fn outcome(self) -> Result<Answer, NoAnswer> {
        let (_, outcome) = self.send().await;
        outcome
    }

    async fn send(self) -> (Arc<Exchange>, Result<Answer, NoAnswer>) {
        let exchange = Arc::new(Exchange {
            method: self.ask.method().clone(),
            target: self.ask.target().to_owned(),
            headers: self.ask.headers().clone(),
            body: self.ask.content().clone(),
            at: self.to.addr(),
            port: self.to.port_shown(),
            began: Instant::now(),
            ended: OnceLock::new(),
        });
        self.to.journal.sent(exchange.clone());
        let outcome = self.ask.await;
        let _ = exchange.ended.set((Instant::now(), outcome.clone()));
        let answer = outcome.map(|reply| Answer { reply, exchange: exchange.clone() });
        (exchange, answer)
    }

    async fn answered(self) -> Graded<Answer> {
        let to = self.to.clone();
        let (exchange, outcome) = self.send().await;
        match outcome {
            Ok(answer) => Ok(answer),
            Err(none) => Err(to.no_answer(&exchange.name(), &none).await.of(&exchange)),
        }
    }
}

impl IntoFuture for Call {
    type Output = Graded<Answer>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.answered())
    }
}

impl Exchange {
    /// "PUT /docs/a".
    pub(super) fn name(&self) -> String {
        let target: String = self.target.chars().take(80).collect();
        format!("{} {target}", self.method)
    }

    pub(super) fn shown(&self) -> String {
        shell::curl((self.at, &self.port), &self.method, &self.target, &self.headers, &self.body)
    }

    /// Whether it was under way at that moment.
    pub(super) fn spans(&self, at: Instant) -> bool {
        self.began < at && self.ended.get().is_none_or(|(end, _)| at < *end)
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let ends = |it: &Self| it.ended.get().map(|(at, _)| *at);
        ends(self).is_none_or(|end| other.began < end) && ends(other).is_none_or(|end| self.began < end)
    }

    /// The answer as it came, without its date.
    pub(super) fn came(&self) -> Option<String> {
        let reply = self.ended.get()?.1.as_ref().ok()?;
        let mut text = format!("HTTP/1.1 {}\n", status_words(reply));
        for (name, value) in reply.headers.iter().filter(|(name, _)| *name != http::header::DATE) {
            text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
        }
        let body = reply.text();
        let start: String = body.chars().take(600).collect();
        let more = if start.len() < body.len() { "…" } else { "" };
        if !body.is_empty() {
            text.push_str(&format!("\n{start}{more}"));
        }
        Some(text.trim_end().to_owned())
    }
}

impl Answer {
    pub fn code(&self) -> u16 {
        self.reply.status.as_u16()
    }

    pub fn body(&self) -> &bytes::Bytes {
        &self.reply.body
    }

    /// How long the answer took, from the first byte sent to the last that came.
    pub fn took(&self) -> Duration {
        self.exchange.ended.get().map(|(end, _)| *end - self.exchange.began).unwrap_or_default()
    }

    /// "PUT /docs/a".
    pub fn request(&self) -> String {
        self.exchange.name()
    }

    /// A fault that this answer shows.
    pub fn wrong(&self, what: impl Display, expected: impl Display, found: impl Display) -> Finding {
        let what = format!("{what} of {}", self.request());
        Finding::wrong(what, expected, found).of(&self.exchange)
    }

    /// Goes on only with this status.
    pub fn status(self, expected: u16) -> Graded<Self> {
        self.one_of(&[expected])
    }

    /// Goes on only with one of these statuses.
    pub fn one_of(self, expected: &[u16]) -> Graded<Self> {
        if expected.contains(&self.code()) {
            return Ok(self);
        }
        let what = format!("the status of {}", self.request());
        Err(Finding::wrong_status(what, expected, self.code(), status_words(&self.reply)).of(&self.exchange))
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Graded<&str> {
        self.reply
            .header(name)
            .ok_or_else(|| self.wrong(format!("the header {name}"), "a value", "no such header"))
    }

    /// The value of a header, where there is one.
    pub fn find_header(&self, name: &str) -> Option<&str> {
        self.reply.header(name)
    }

    pub fn headers(&self) -> &HeaderMap {
        &self.reply.headers
    }

    /// The body as JSON.
    pub fn json(&self) -> Graded<Value> {
        serde_json::from_slice(&self.reply.body).map_err(|error| {
            let start: String = self.reply.text().chars().take(200).collect();
            let found = if start.is_empty() { "nothing".to_owned() } else { format!("{start}  ({error})") };
            self.wrong("the body", "JSON", found)
        })
    }

    /// A member of the body, which is a JSON object.
    pub fn field(&self, name: &str) -> Graded<Value> {
        let json = self.json()?;
        json.get(name)
            .cloned()
            .ok_or_else(|| self.wrong("the body", format!("JSON with a member \"{name}\""), json))
    }

    /// A member that is text.
    pub fn text(&self, name: &str) -> Graded<String> {
        let field = self.field(name)?;
        let text = field.as_str().map(str::to_owned);
        text.ok_or_else(|| self.wrong(format!("the member \"{name}\""), "a string", field))
    }

    /// A member that is a whole number; JSON has one kind of number, so that 5.0 is 5.
    pub fn number(&self, name: &str) -> Graded<i64> {
        let field = self.field(name)?;
        whole(&field).ok_or_else(|| self.wrong(format!("the member \"{name}\""), "a whole number", &field))
    }

    /// Holds something that was found in this answer against what it should be.
    pub fn expect<T: PartialEq + Display>(&self, what: impl Display, found: T, expected: T) -> Graded {
        if found == expected { Ok(()) } else { Err(self.wrong(what, expected, found)) }
    }

    /// Holds a member of the body against what it should be.
    pub fn has(self, name: &str, expected: impl Into<Value>) -> Graded<Self> {
        let (found, expected) = (self.field(name)?, expected.into());
        if whole(&found).is_none() || whole(&found) != whole(&expected) {
            self.expect(format!("the member \"{name}\""), found, expected)?;
        }
        Ok(self)
    }
}

/// A whole number, however it is written.
fn whole(value: &Value) -> Option<i64> {
    let written_so = |it: f64| (it.fract() == 0.0 && it.abs() < 2f64.powi(53)).then_some(it as i64);
    value.as_i64().or_else(|| value.as_f64().and_then(written_so))
}

fn status_words(reply: &Reply) -> String {
    let reason = reply.status.canonical_reason().unwrap_or_default();
    format!("{} {reason}", reply.status.as_u16()).trim_end().to_owned()
}
