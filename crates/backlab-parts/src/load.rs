//! A load generator for HTTP/1.1: closed loop (so many workers, each waits for its answer) and open loop (so many
//! requests a second, whatever the server does).
//!
//! In the open loop every request has an intended start, and its latency is measured from there: a server that stalls
//! delays the requests after it too, and a generator that measured from the moment of sending would leave just those out
//! ("coordinated omission"; Gil Tene, "How NOT to Measure Latency", 2015).
//!
//! It is cheap, so that it measures the server and not itself: requests are written from prepared bytes, answers read
//! into one buffer per connection and never kept.

use crate::http::fate;
use crate::{Fate, Lab, Trace};
use anyhow::{Result, ensure};
use futures::future::BoxFuture;
use hdrhistogram::Histogram;
use http::{HeaderName, Method, StatusCode};
use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

mod line;

use line::{Answer, Line};

/// Connections, requests a second, requests and duration at the most.
pub const MOST_CONNECTIONS: u64 = 1000;
pub const MOST_PER_SECOND: u64 = 100_000;
pub const MOST_REQUESTS: u64 = 1_000_000;
pub const LONGEST: Duration = Duration::from_secs(60);
/// Threads that the workers of a load share.
const THREADS: u64 = 2;
/// An open loop held its rate if no request was sent later than this after its intended start.
pub const HELD_WITHIN: Duration = Duration::from_millis(50);

/// What to send, and how fast.
#[derive(Debug, Clone)]
pub struct Load {
    connections: u64,
    per_second: Option<u64>,
    during: Duration,
    requests: u64,
    deadline: Duration,
    lines: Vec<(Method, String)>,
    headers: String,
    body: Vec<u8>,
    keep: Option<HeaderName>,
    end: CancellationToken,
}

/// What became of the requests.
#[derive(Debug)]
pub struct Loaded {
    /// In the order of their intended starts.
    pub shots: Vec<Shot>,
    /// From the first intended start to the last answer.
    pub took: Duration,
    /// How much later than intended the latest request was sent; zero in a closed loop.
    pub worst_lag: Duration,
    /// Requests of an open loop that were due and could not be sent at all, since every connection was busy.
    pub unsent: u64,
}

/// One request. Times are in nanoseconds since the load began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shot {
    /// When it should have been sent; in a closed loop, when it was.
    pub intended_ns: u64,
    pub sent_ns: u64,
    pub end_ns: u64,
    /// The status of the answer, or why there is none.
    pub outcome: Result<u16, Failure>,
    /// The value of the header that was to be kept, if the answer had it.
    pub kept: Option<Box<str>>,
}

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Failure {
    #[error("nothing listens there")]
    Unreachable,
    #[error("the connection was closed")]
    Closed,
    #[error("no answer in time")]
    Deadline,
    /// What came isn't an HTTP/1.1 answer with a head of at most 16 KiB.
    #[error("the answer can't be read")]
    Unreadable,
}

impl Load {
    /// So many workers, each with a connection of its own: a worker sends its next request when it has the answer to the
    /// last. Goes on for a second unless told otherwise.
    pub fn closed(workers: u64) -> Self {
        Self {
            connections: workers,
            per_second: None,
            during: Duration::from_secs(1),
            requests: MOST_REQUESTS,
            deadline: Duration::from_secs(10),
            lines: Vec::new(),
            headers: String::new(),
            body: Vec::new(),
            keep: None,
            end: CancellationToken::new(),
        }
    }

    /// So many requests a second, at equal distances, over at most so many connections at a time.
    pub fn open(per_second: u64, connections: u64) -> Self {
        Self { per_second: Some(per_second), ..Self::closed(connections) }
    }

    pub fn get(self, target: impl Into<String>) -> Self {
        self.request(Method::GET, target)
    }

    /// What is sent; when called again, the requests take turns.
    pub fn request(mut self, method: Method, target: impl Into<String>) -> Self {
        self.lines.push((method, target.into()));
        self
    }

    /// A header of all requests.
    pub fn header(mut self, name: &str, value: impl Display) -> Self {
        let _ = write!(self.headers, "{name}: {value}\r\n");
        self
    }

    /// The body of all requests.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Begins no request after this long.
    pub fn during(mut self, during: Duration) -> Self {
        self.during = during;
        self
    }

    /// Begins no request once this is cancelled, for a load that goes on until something has happened.
    pub fn until(mut self, end: CancellationToken) -> Self {
        self.end = end;
        self
    }

    /// Sends at most so many.
    pub fn at_most(mut self, requests: u64) -> Self {
        self.requests = requests;
        self
    }

    /// How long one request may take; ten seconds unless told otherwise.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Keeps the value of this header of each answer.
    pub fn keeping(mut self, header: HeaderName) -> Self {
        self.keep = Some(header);
        self
    }

    fn check(&self) -> Result<()> {
        let Self { connections, per_second, during, requests, .. } = self;
        ensure!(!self.lines.is_empty(), "a load needs a request to send");
        ensure!(
            (1..=MOST_CONNECTIONS).contains(connections),
            "{connections} connections: 1 to {MOST_CONNECTIONS}"
        );
        ensure!(
            per_second.is_none_or(|it| (1..=MOST_PER_SECOND).contains(&it)),
            "{per_second:?} requests a second: 1 to {MOST_PER_SECOND}"
        );
        ensure!(*during <= LONGEST, "a load of {during:?}: at most {LONGEST:?}");
        ensure!((1..=MOST_REQUESTS).contains(requests), "{requests} requests: 1 to {MOST_REQUESTS}");
        Ok(())
    }

    /// The bytes of each request.
    fn bytes(&self, host: SocketAddr) -> Vec<Vec<u8>> {
        let Self { lines, headers, body, .. } = self;
        let request = |(method, target): &(Method, String)| {
            let length =
                if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
            let head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{headers}{length}\r\n");
            [head.as_bytes(), body].concat()
        };
        lines.iter().map(request).collect()
    }

    fn words(&self) -> String {
        let (method, target) = &self.lines[0];
        let others = match self.lines.len() - 1 {
            0 => String::new(),
            others => format!(" and {others} others"),
        };
        match self.per_second {
            Some(rate) => format!("{method} {target}{others}, {rate} a second"),
            None => format!("{method} {target}{others}, {} at a time", self.connections),
        }
    }
}

impl Lab {
    /// Puts a load on a server, a proxy or any other address, under a name that the trace shows. The trace has one
    /// message for all requests and one for all answers of a status, and counts them all.
    ///
    /// # Errors
    /// The load is outside its limits. Failed requests are no error: they are counted.
    pub fn load<'a>(
        &'a self,
        name: &'a str,
        to: impl Into<SocketAddr>,
        load: &'a Load,
    ) -> BoxFuture<'a, Result<Loaded>> {
        let to = to.into();
        Box::pin(async move {
            load.check()?;
            let server = self.wire().peer(to).name;
            self.trace().message(name, &server, load.words());
            let loaded = run(load, to).await?;
            loaded.trace(self.trace(), name, &server);
            Ok(loaded)
        })
    }
}

impl Loaded {
    /// Whether an open loop sent every request within [`HELD_WITHIN`] of its intended start. If not, its figures are of a
    /// lower and uneven rate; a closed loop has no rate to hold.
    pub fn held_rate(&self) -> bool {
        self.unsent == 0 && self.worst_lag <= HELD_WITHIN
    }

    /// How many answers had this status.
    pub fn answered(&self, status: u16) -> u64 {
        self.statuses().get(&status).copied().unwrap_or(0)
    }

    pub fn statuses(&self) -> BTreeMap<u16, u64> {
        tally(self.shots.iter().filter_map(|shot| shot.outcome.ok()))
    }

    pub fn failures(&self) -> BTreeMap<Failure, u64> {
        tally(self.shots.iter().filter_map(|shot| shot.outcome.err()))
    }

    /// Answers a second, of whatever status.
    pub fn per_second(&self) -> f64 {
        let answers = self.shots.iter().filter(|shot| shot.outcome.is_ok()).count();
        answers as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// Latencies of the answers in microseconds, each from the intended start to the end, with three significant digits;
    /// longer ones than two minutes count as two minutes.
    pub fn latency_us(&self) -> Histogram<u64> {
        #[expect(
            clippy::expect_used,
            reason = "constants: from 1 on, and at most five digits, as it demands"
        )]
        let mut histogram = Histogram::new_with_bounds(1, 120_000_000, 3).expect("valid bounds");
        for shot in self.shots.iter().filter(|shot| shot.outcome.is_ok()) {
            histogram.saturating_record((shot.end_ns - shot.intended_ns) / 1000);
        }
        histogram
    }

    fn trace(&self, trace: &Trace, client: &str, server: &str) {
        trace.counted(client, server, (self.shots.len() as u64).saturating_sub(1));
        for (status, count) in self.statuses() {
            let reason =
                StatusCode::from_u16(status).ok().and_then(|it| it.canonical_reason()).unwrap_or_default();
            let fate = StatusCode::from_u16(status).map_or(Fate::Refused, fate);
            let times = if count == 1 { String::new() } else { format!(" × {count}") };
            trace.say(server, client, format_args!("{status} {reason}{times}"), fate);
            trace.counted(server, client, count - 1);
        }
        for (failure, count) in self.failures() {
            trace.trouble(client, format_args!("{count} without an answer: {failure}"));
        }
        if !self.held_rate() {
            let (unsent, lag) = (self.unsent, self.worst_lag);
            trace.trouble(client, format_args!("the rate was not held: {unsent} not sent, one {lag:?} late"));
        }
    }
}

fn tally<T: Ord>(items: impl Iterator<Item = T>) -> BTreeMap<T, u64> {
    let mut counts = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    counts
}

/// What the workers share.
struct Job {
    began: Instant,
    next: AtomicU64,
    to: SocketAddr,
    load: Load,
    bytes: Vec<Vec<u8>>,
}

async fn run(load: &Load, to: SocketAddr) -> Result<Loaded> {
    let bytes = load.bytes(to);
    let job = Arc::new(Job { began: Instant::now(), next: AtomicU64::new(0), to, load: load.clone(), bytes });
    let ended = AbortOnDropHandle::new(tokio::spawn(ended_after(job.clone())));
    let abandoned = CancellationToken::new();
    let _when_dropped = abandoned.clone().drop_guard();
    let threads = (0..THREADS).map(|thread| {
        let (job, abandoned) = (job.clone(), abandoned.clone());
        let workers = (job.load.connections + thread) / THREADS;
        tokio::task::spawn_blocking(move || crew(&job, workers, &abandoned))
    });
    let mut shots = Vec::new();
    for thread in threads.collect::<Vec<_>>() {
        shots.extend(thread.await??);
    }
    shots.sort_unstable_by_key(|shot| shot.intended_ns);
    let lag_ns = shots.iter().map(|shot| shot.sent_ns - shot.intended_ns).max().unwrap_or(0);
    let end_ns = shots.iter().map(|shot| shot.end_ns).max().unwrap_or(0);
    // Where all was sent before the time was over, nobody waits for the rest of it.
    let early = !load.end.is_cancelled();
    let ended = if early { load.during } else { ended.await.unwrap_or(load.during).min(load.during) };
    let due = load.per_second.map_or(0, |rate| load.requests.min(due(rate, ended)));
    Ok(Loaded {
        unsent: due.saturating_sub(shots.len() as u64),
        shots,
        took: Duration::from_nanos(end_ns),
        worst_lag: Duration::from_nanos(lag_ns),
    })
}

/// The workers of one thread. They have a runtime of their own, so that a server in this process doesn't slow down the
/// clients that measure it.
fn crew(job: &Arc<Job>, workers: u64, abandoned: &CancellationToken) -> Result<Vec<Shot>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let shots = runtime.block_on(abandoned.run_until_cancelled(async {
        let workers: JoinSet<_> = (0..workers).map(|_| work(job.clone())).collect();
        workers.join_all().await.into_iter().flatten().collect()
    }));
    Ok(shots.unwrap_or_default())
}

/// How long requests were begun.
async fn ended_after(job: Arc<Job>) -> Duration {
    let _ = timeout(job.load.during, job.load.end.cancelled()).await;
    job.began.elapsed()
}

/// One worker: a connection, and one request after the other on it.
async fn work(job: Arc<Job>) -> Vec<Shot> {
    let mut shots = Vec::new();
    let mut line: Option<Line> = None;
    while let Some((number, intended_ns)) = job.turn().await {
        let lines = job.bytes.len() as u64;
        let place = (number % lines) as usize;
        let sent_ns = job.now_ns().max(intended_ns);
        let exchange = job.exchange(&mut line, place);
        let outcome = timeout(job.load.deadline, exchange).await.unwrap_or(Err(Failure::Deadline));
        if outcome.as_ref().map_or(true, |answer| answer.closes) {
            line = None;
        }
        let (outcome, kept) = match outcome {
            Ok(Answer { status, kept, .. }) => (Ok(status), kept),
            Err(failure) => (Err(failure), None),
        };
        if outcome == Err(Failure::Unreachable) {
            // Nothing comes of asking for it a hundred thousand times a second.
            sleep(Duration::from_millis(1)).await;
        }
        shots.push(Shot {
            intended_ns: intended_ns.min(sent_ns),
            sent_ns,
            end_ns: job.now_ns(),
            outcome,
            kept,
        });
    }
    shots
}

impl Job {
    /// Takes the next request and waits for its intended start; `None` when all are sent or the time is over.
    async fn turn(&self) -> Option<(u64, u64)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (now_ns, during_ns) = (self.now_ns(), self.load.during.as_nanos() as u64);
        if number >= self.load.requests || self.load.end.is_cancelled() {
            return None;
        }
        let Some(rate) = self.load.per_second else {
            return (now_ns < during_ns).then_some((number, now_ns));
        };
        let intended_ns = start_ns(number, rate);
        if intended_ns >= during_ns || now_ns > during_ns + self.load.deadline.as_nanos() as u64 {
            return None;
        }
        if intended_ns > now_ns {
            let start = sleep(Duration::from_nanos(intended_ns - now_ns));
            // A turn that the end has overtaken is given up.
            self.load.end.run_until_cancelled(start).await?;
        }
        Some((number, intended_ns))
    }

    async fn exchange(&self, line: &mut Option<Line>, place: usize) -> Result<Answer, Failure> {
        let line = match line {
            Some(line) => line,
            None => line.insert(Line::open(self.to).await?),
        };
        let bodiless = self.load.lines[place].0 == Method::HEAD;
        line.exchange(&self.bytes[place], bodiless, self.load.keep.as_ref()).await
    }

    fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }
}

/// When the request with this number should be sent.
fn start_ns(number: u64, per_second: u64) -> u64 {
    (u128::from(number) * 1_000_000_000 / u128::from(per_second)) as u64
}

/// How many requests of an open loop have their intended start before `during` is over.
fn due(per_second: u64, during: Duration) -> u64 {
    (during.as_nanos() * u128::from(per_second)).div_ceil(1_000_000_000) as u64
}
