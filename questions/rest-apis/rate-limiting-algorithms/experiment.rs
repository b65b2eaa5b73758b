//! Five limiters decide on the same arrivals, on a virtual clock in whole nanoseconds. A checker that knows none of
//! them looks for the fullest second among the requests that each let through. Then one of them, the token bucket,
//! guards a real HTTP endpoint against requests that all arrive at once.

use crate::prelude::*;
use axum::http::header::RETRY_AFTER;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use std::collections::VecDeque;
use std::sync::{MutexGuard, OnceLock, PoisonError};

pub struct RateLimitingAlgorithms;

choices! {
    /// When requests come.
    pub enum Arrivals {
        Boundary = "burst across the boundary",
        LateThenHalf = "late burst, then half a window on",
        Steady = "steady at twice the rate",
        Random = "seeded random",
        Idle = "idle, then burst",
    }
}

choices! {
    /// How a token bucket turns elapsed time into tokens.
    pub enum Refill {
        Exact = "exact, in fractions of a token",
        Down = "whole tokens, rounded down",
        Up = "whole tokens, rounded up",
    }
}

choices! {
    /// How the server changes the bucket that all its requests share.
    pub enum Update { Atomic = "under a lock", ReadThenWrite = "read, then write" }
}

params! {
    /// Requests a second that each limiter is set to.
    limit: u64 = 10 in 2..=50;
    /// Requests that token bucket and GCRA let through at once.
    burst: u64 = 10 in 1..=50;
    /// The arrivals that are drawn; all five kinds are replayed.
    trace: Arrivals = "burst across the boundary" in ..;
    /// How the token bucket turns elapsed time into tokens.
    refill: Refill = "exact, in fractions of a token" in ..;
    /// How the server changes the bucket that its requests share.
    update: Update = "under a lock" in ..;
}

/// One window, in nanoseconds. One token is as many units, too: then a nanosecond brings exactly `limit` of them.
const WINDOW: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;
/// The bursts last so long.
const SPREAD: u64 = 100 * MS;
/// Requests that come at once beyond the burst.
const TOO_MANY: u64 = 5;
const RANDOM_TRACES: u64 = 1000;
const RANDOM_ARRIVALS: usize = 60;

/// One key's limiter. Times are nanoseconds and never go back.
trait Gatekeeper {
    fn admits(&mut self, now: u64) -> bool;
    /// Numbers that it keeps for one key at this moment.
    fn numbers(&self) -> u64;
}

/// Counts in windows that begin at whole seconds.
struct FixedWindow {
    limit: u64,
    window: u64,
    count: u64,
}

impl Gatekeeper for FixedWindow {
    fn admits(&mut self, now: u64) -> bool {
        if now / WINDOW != self.window {
            (self.window, self.count) = (now / WINDOW, 0);
        }
        let admitted = self.count < self.limit;
        self.count += u64::from(admitted);
        admitted
    }

    fn numbers(&self) -> u64 {
        2
    }
}

/// Remembers when it admitted what.
struct SlidingLog {
    limit: u64,
    admitted: VecDeque<u64>,
}

impl Gatekeeper for SlidingLog {
    fn admits(&mut self, now: u64) -> bool {
        while self.admitted.front().is_some_and(|&at| at + WINDOW <= now) {
            self.admitted.pop_front();
        }
        let admitted = (self.admitted.len() as u64) < self.limit;
        if admitted {
            self.admitted.push_back(now);
        }
        admitted
    }

    fn numbers(&self) -> u64 {
        self.admitted.len() as u64
    }
}

/// Takes the part of the previous window that the sliding one still covers, as if its requests had been spread evenly.
struct SlidingCounter {
    limit: u64,
    window: u64,
    previous: u64,
    current: u64,
}

impl Gatekeeper for SlidingCounter {
    fn admits(&mut self, now: u64) -> bool {
        let window = now / WINDOW;
        if window != self.window {
            self.previous = if window == self.window + 1 { self.current } else { 0 };
            (self.window, self.current) = (window, 0);
        }
        let covered = WINDOW - now % WINDOW;
        let admitted = self.previous * covered + (self.current + 1) * WINDOW <= self.limit * WINDOW;
        self.current += u64::from(admitted);
        admitted
    }

    fn numbers(&self) -> u64 {
        3
    }
}

/// Starts full, is refilled at the rate, never holds more than the burst; a request takes one token.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    limit: u64,
    burst: u64,
    refill: Refill,
    /// In units of a `WINDOW`th of a token.
    level: u64,
    refilled_at: u64,
}

/// A token, or the nanoseconds until there is one.
type Taken = std::result::Result<(), u64>;

impl TokenBucket {
    pub fn new(limit: u64, burst: u64, refill: Refill) -> Self {
        Self { limit, burst, refill, level: burst * WINDOW, refilled_at: 0 }
    }

    /// Takes a token if there is one now.
    pub fn take(&mut self, now: u64) -> Taken {
        let brought = (now - self.refilled_at).saturating_mul(self.limit);
        let brought = match self.refill {
            Refill::Exact => brought,
            // Both forget the time that made no whole token.
            Refill::Down => brought / WINDOW * WINDOW,
            Refill::Up => brought.div_ceil(WINDOW).saturating_mul(WINDOW),
        };
        self.level = self.level.saturating_add(brought).min(self.burst * WINDOW);
        self.refilled_at = now;
        match self.level.checked_sub(WINDOW) {
            Some(left) => {
                self.level = left;
                Ok(())
            }
            None => Err((WINDOW - self.level).div_ceil(self.limit)),
        }
    }
}

impl Gatekeeper for TokenBucket {
    fn admits(&mut self, now: u64) -> bool {
        self.take(now).is_ok()
    }

    fn numbers(&self) -> u64 {
        2
    }
}

/// The generic cell rate algorithm: one number, the theoretical arrival time of the next request if all had come as
/// evenly as the rate says. Its unit is a `limit`th of a nanosecond, in which requests are exactly `WINDOW` apart.
pub struct Gcra {
    limit: u64,
    burst: u64,
    theoretical: u64,
}

impl Gcra {
    pub fn new(limit: u64, burst: u64) -> Self {
        Self { limit, burst, theoretical: 0 }
    }
}

impl Gatekeeper for Gcra {
    fn admits(&mut self, now: u64) -> bool {
        let now = now * self.limit;
        let admitted = self.theoretical <= now + (self.burst - 1) * WINDOW;
        if admitted {
            self.theoretical = self.theoretical.max(now) + WINDOW;
        }
        admitted
    }

    fn numbers(&self) -> u64 {
        1
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeper {
    Fixed,
    Log,
    Counter,
    Bucket,
    Gcra,
}

impl Keeper {
    const ALL: [Self; 5] = [Self::Fixed, Self::Log, Self::Counter, Self::Bucket, Self::Gcra];

    fn keeper(self, p: &Params) -> Box<dyn Gatekeeper> {
        let Params { limit, burst, refill, .. } = *p;
        match self {
            Self::Fixed => Box::new(FixedWindow { limit, window: 0, count: 0 }),
            Self::Log => Box::new(SlidingLog { limit, admitted: VecDeque::new() }),
            Self::Counter => Box::new(SlidingCounter { limit, window: 0, previous: 0, current: 0 }),
            Self::Bucket => Box::new(TokenBucket::new(limit, burst, refill)),
            Self::Gcra => Box::new(Gcra::new(limit, burst)),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed window",
            Self::Log => "sliding log",
            Self::Counter => "sliding counter",
            Self::Bucket => "token bucket",
            Self::Gcra => "GCRA",
        }
    }

    fn keeps(self) -> &'static str {
        match self {
            Self::Fixed => "which window it is, and a count",
            Self::Log => "the time of each request of the last window",
            Self::Counter => "which window it is, its count and the one before",
            Self::Bucket => "the level, and when it was refilled",
            Self::Gcra => "the theoretical arrival time",
        }
    }
}

impl Arrivals {
    /// Nanoseconds at which requests come, in order.
    fn times(self, limit: u64, burst: u64, rng: &mut impl Rng) -> Vec<u64> {
        let spread = |start: u64| (0..limit).map(move |i| start + i * SPREAD / limit);
        match self {
            Self::Boundary => spread(WINDOW - SPREAD).chain(spread(WINDOW)).collect(),
            Self::LateThenHalf => spread(WINDOW - SPREAD).chain(spread(WINDOW * 3 / 2)).collect(),
            Self::Steady => (0..6 * limit).map(|i| i * WINDOW / (2 * limit)).collect(),
            Self::Random => {
                let mut times: Vec<u64> = (0..6 * limit).map(|_| rng.random_range(0..3 * WINDOW)).collect();
                times.sort_unstable();
                times
            }
            Self::Idle => {
                let full_again = burst * WINDOW / limit + WINDOW;
                let empty = std::iter::repeat_n(0, burst as usize);
                empty.chain(std::iter::repeat_n(full_again, (burst + TOO_MANY) as usize)).collect()
            }
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct Observed {
    replays: Vec<Replay>,
    random: Compared,
    http: Answered,
}

/// One kind of arrivals, decided by all five.
#[derive(Debug, Clone, Serialize)]
struct Replay {
    arrivals: &'static str,
    offered: Fullest,
    decided: Vec<Decided>,
}

#[derive(Debug, Clone, Serialize)]
struct Decided {
    by: &'static str,
    admitted_ns: Vec<u64>,
    refused_ns: Vec<u64>,
    fullest: Fullest,
    /// The most numbers that it kept at any time.
    numbers: u64,
}

/// The window-long stretch with most requests in it.
#[derive(Debug, Clone, Copy, Serialize)]
struct Fullest {
    count: u64,
    from_ns: u64,
}

/// Token bucket and GCRA over all random traces, and the bucket's promise over all intervals of them.
#[derive(Debug, Clone, Default, Serialize)]
struct Compared {
    decisions: u64,
    refusals: u64,
    disagreements: u64,
    /// Intervals from one admitted request to another.
    intervals: u64,
    /// Those with more than burst + rate × length in them.
    above_promise: u64,
    /// Those in which not one request more would have been allowed.
    at_promise: u64,
}

/// What the guarded endpoint answered to requests that came at once.
#[derive(Debug, Clone, Serialize)]
struct Answered {
    /// Requests that were inside the server before the first of them was decided.
    at_once: u64,
    passed: u64,
    refused: u64,
    /// Those refused with a Retry-After of a whole number of seconds.
    told_when: u64,
    retry_after_s: u64,
    /// The status of one request at just that time.
    after_the_wait: u16,
}

impl Experiment for RateLimitingAlgorithms {
    type Params = Params;
    type Observed = Observed;

    fn predict(p: &Params) -> Prediction<Observed> {
        let limit = p.limit;
        Prediction::number(
            format!(
                "Fixed windows of one second, {limit} requests allowed in each. {limit} requests come in the last 100 \
                 milliseconds of a second, {limit} in the first 100 of the next. How many pass within those 200 \
                 milliseconds?"
            ),
            "requests",
            |seen: &Observed| seen.of(Arrivals::Boundary).by(Keeper::Fixed).fullest.count,
        )
        .tempting(
            limit,
            format!(
                "“{limit} a second” sounds like {limit} in any second. The counter promises less: {limit} in each second \
                 of the clock, and it starts again from zero when that second turns."
            ),
        )
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        let replays =
            Arrivals::ALL.iter().map(|&(arrivals, _)| replay(p, arrivals, &mut lab.rng("arrivals")));
        Ok(Observed {
            replays: replays.collect(),
            random: compare(p, &mut lab.rng("random traces")),
            http: guard_an_endpoint(lab, p).await?,
        })
    }

    fn claims(p: &Params, seen: &Observed) -> Vec<Claim> {
        [of_windows(p, seen), of_buckets(p, seen), of_the_endpoint(p, seen)].concat()
    }

    fn figures(p: &Params, seen: &Observed) -> Vec<Figure> {
        let drawn = seen.of(p.trace);
        vec![strips(p, drawn), fullest_windows(p, drawn), what_is_kept(seen)]
    }

    fn counterexamples(p: &Params) -> Vec<Observed> {
        let sound = sound(p);
        let broken = |change: &dyn Fn(&mut Observed)| {
            let mut seen = sound.clone();
            change(&mut seen);
            seen
        };
        vec![
            broken(&|seen| seen.of_mut(Arrivals::Boundary).by_mut(Keeper::Fixed).fullest.count = p.limit),
            broken(&|seen| seen.of_mut(Arrivals::Steady).by_mut(Keeper::Log).fullest.count = p.limit + 1),
            broken(&|seen| seen.of_mut(Arrivals::Steady).by_mut(Keeper::Log).numbers = 6 * p.limit),
            broken(&|seen| {
                seen.of_mut(Arrivals::LateThenHalf).by_mut(Keeper::Counter).fullest.count = p.limit;
            }),
            broken(&|seen| seen.random.above_promise = 1),
            broken(&|seen| _ = seen.of_mut(Arrivals::Idle).by_mut(Keeper::Bucket).admitted_ns.pop()),
            broken(&|seen| seen.random.disagreements = 1),
            broken(&|seen| (seen.http.passed, seen.http.refused) = (p.burst + TOO_MANY, 0)),
            broken(&|seen| seen.http.after_the_wait = 429),
        ]
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "throw away the fraction of a token at each refill",
                set: &[("refill", "whole tokens, rounded down")],
                refutes: &["bucket-is-gcra"],
            },
            Fault {
                label: "round each refill up to a whole token",
                set: &[("refill", "whole tokens, rounded up")],
                refutes: &["bucket-bound", "bucket-is-gcra"],
            },
            Fault {
                label: "let the server read the bucket, then write it back",
                set: &[("update", "read, then write")],
                refutes: &["atomic"],
            },
        ]
    }
}

fn of_windows(p: &Params, seen: &Observed) -> Vec<Claim> {
    let (boundary, late) = (seen.of(Arrivals::Boundary), seen.of(Arrivals::LateThenHalf));
    let (doubled, late_count) =
        (boundary.by(Keeper::Fixed).fullest.count, late.by(Keeper::Counter).fullest.count);
    let numbers = |by| seen.replays.iter().map(|replay| replay.by(by).numbers).max().unwrap_or(0);
    let most = seen.replays.iter().map(|replay| replay.by(Keeper::Log).fullest.count).max().unwrap_or(0);
    let overfull = seen.replays.iter().filter(|replay| replay.offered.count > p.limit).count();
    let kept = [Keeper::Fixed, Keeper::Counter, Keeper::Bucket, Keeper::Gcra].map(numbers);
    vec![
        claim(
            "fixed-doubles",
            "A fixed window lets twice its limit pass within one window's length",
            "the burst doesn't straddle the moment when the window turns",
        )
        .witness(
            boundary.offered.count == 2 * p.limit,
            format!("{} requests within 200 ms", boundary.offered.count),
        )
        .that(
            doubled == 2 * p.limit,
            format_args!("{doubled} in one second"),
            format_args!("{} in one second", 2 * p.limit),
        ),
        claim(
            "log-exact",
            "A sliding log never lets more than its limit pass in any window, on any trace",
            "it forgets a request before that is a whole window old",
        )
        .witness(overfull > 0, format!("{overfull} of {} traces offered more", seen.replays.len()))
        .that(
            most <= p.limit,
            format_args!("{most} at the most"),
            format_args!("at most {}", p.limit),
        ),
        claim(
            "state",
            "The log keeps one number for each request up to the limit; the others keep one to three in all",
            "the log is never pruned, or a counter keeps a list",
        )
        .witness(overfull > 0, format!("{overfull} traces offered more than the limit"))
        .that(
            numbers(Keeper::Log) == p.limit && kept == [2, 3, 2, 1],
            format_args!("{} against {}", numbers(Keeper::Log), kept.map(|n| n.to_string()).join(", ")),
            format_args!("{} against 2, 3, 2, 1", p.limit),
        ),
        claim(
            "counter-errs",
            "A sliding counter lets more than its limit pass when the previous window was not spread evenly",
            "the previous window's requests were spread evenly",
        )
        .witness(
            late.offered.count == 2 * p.limit,
            "all requests of the first window came in its last 100 ms".to_owned(),
        )
        .that(
            late_count > p.limit,
            format_args!("{late_count} in one second"),
            format_args!("more than {}", p.limit),
        ),
    ]
}

fn of_buckets(p: &Params, seen: &Observed) -> Vec<Claim> {
    let (random, at_once) = (&seen.random, seen.admitted_at_once_after_idling());
    vec![
        claim(
            "bucket-bound",
            "A token bucket lets at most burst + rate × t pass in every interval of length t",
            "the refill is rounded up, or the bucket overflows its burst",
        )
        .witness(random.at_promise > 0, format!("{} intervals were just full", random.at_promise))
        .that(
            random.above_promise == 0,
            format_args!("{} of {} intervals above it", random.above_promise, random.intervals),
            "none above it",
        ),
        claim(
            "burst-after-idle",
            "After idling it lets exactly the burst pass at once",
            "the bucket isn't full yet, or holds more than its burst",
        )
        .witness(
            seen.of(Arrivals::Idle).offered.count >= p.burst + TOO_MANY,
            format!("{} requests at one instant", p.burst + TOO_MANY),
        )
        .that(
            at_once == p.burst,
            format_args!("{at_once} at once"),
            format_args!("{} at once", p.burst),
        ),
        claim(
            "bucket-is-gcra",
            "Token bucket and GCRA with the same rate and burst decide alike",
            "the refill loses or invents fractions of a token",
        )
        .witness(
            random.refusals > 0 && random.refusals < random.decisions,
            format!("{} decisions, {} of them refusals", random.decisions, random.refusals),
        )
        .that(
            random.disagreements == 0,
            format_args!("{} of {} differ", random.disagreements, random.decisions),
            "0 differ",
        ),
    ]
}

fn of_the_endpoint(p: &Params, seen: &Observed) -> Vec<Claim> {
    let http = &seen.http;
    vec![
        claim(
            "atomic",
            "Of more parallel requests than the burst exactly the burst pass",
            "the bucket is read and written in two steps",
        )
        .witness(
            http.at_once == p.burst + TOO_MANY,
            format!("{} requests inside the server before the first decision", http.at_once),
        )
        .that(
            http.passed == p.burst,
            format_args!("{} of {} passed", http.passed, http.at_once),
            format_args!("{} passed", p.burst),
        ),
        claim(
            "retry-after",
            "A refused request is told when to come back, and passes then",
            "Retry-After is missing, or rounded down",
        )
        .witness(http.refused > 0, format!("{} answers 429", http.refused))
        .that(
            http.told_when == http.refused && http.after_the_wait == 200,
            format_args!("{} told {} s, then {}", http.told_when, http.retry_after_s, http.after_the_wait),
            format_args!("{} told, then 200", http.refused),
        ),
    ]
}

fn replay(p: &Params, arrivals: Arrivals, rng: &mut impl Rng) -> Replay {
    let times = arrivals.times(p.limit, p.burst, rng);
    let decided = Keeper::ALL.map(|by| {
        let mut gatekeeper = by.keeper(p);
        let (mut admitted_ns, mut refused_ns, mut numbers) = (vec![], vec![], 0);
        for &at in &times {
            if gatekeeper.admits(at) {
                admitted_ns.push(at);
            } else {
                refused_ns.push(at);
            }
            numbers = numbers.max(gatekeeper.numbers());
        }
        Decided { by: by.name(), fullest: fullest(&admitted_ns), admitted_ns, refused_ns, numbers }
    });
    Replay { arrivals: arrivals.word(), offered: fullest(&times), decided: decided.into() }
}

/// Slides a window over ascending times. A window reaches from its first request up to, but without, the same moment
/// one window on.
fn fullest(times: &[u64]) -> Fullest {
    let mut best = Fullest { count: 0, from_ns: 0 };
    let mut end = 0;
    for (start, &from_ns) in times.iter().enumerate() {
        while times.get(end).is_some_and(|&at| at < from_ns + WINDOW) {
            end += 1;
        }
        let count = (end - start) as u64;
        if count > best.count {
            best = Fullest { count, from_ns };
        }
    }
    best
}

/// Lets token bucket and GCRA decide on random traces, each with a rate and a burst of its own.
fn compare(p: &Params, rng: &mut impl Rng) -> Compared {
    let mut sum = Compared::default();
    for _ in 0..RANDOM_TRACES {
        let (limit, burst) = (rng.random_range(1..=50), rng.random_range(1..=20));
        let (mut bucket, mut gcra) = (TokenBucket::new(limit, burst, p.refill), Gcra::new(limit, burst));
        let mut admitted = vec![];
        for now in random_times(limit, burst, rng) {
            let (a, b) = (bucket.admits(now), gcra.admits(now));
            sum.decisions += 1;
            sum.refusals += u64::from(!a);
            sum.disagreements += u64::from(a != b);
            if a {
                admitted.push(now);
            }
        }
        sum.hold_to_promise(&admitted, limit, burst);
    }
    sum
}

/// Bursts, pauses, and gaps of just one token's time, where a rounding error would show.
fn random_times(limit: u64, burst: u64, rng: &mut impl Rng) -> Vec<u64> {
    let token = WINDOW / limit;
    let mut now = 0;
    let step = |_| {
        now += match rng.random_range(0..5) {
            0 | 1 => 0,
            2 => token + rng.random_range(0..2),
            3 => rng.random_range(0..=2 * token),
            _ => rng.random_range(0..=burst * token / 2),
        };
        now
    };
    (0..RANDOM_ARRIVALS).map(step).collect()
}

impl Compared {
    fn hold_to_promise(&mut self, admitted: &[u64], limit: u64, burst: u64) {
        for (i, &from) in admitted.iter().enumerate() {
            for (passed, &to) in (1..).zip(&admitted[i..]) {
                let promised = burst * WINDOW + limit * (to - from);
                self.intervals += 1;
                self.above_promise += u64::from(passed * WINDOW > promised);
                self.at_promise += u64::from(passed * WINDOW <= promised && (passed + 1) * WINDOW > promised);
            }
        }
    }
}

/// What the handlers of the guarded endpoint share.
struct Guard {
    clock: Clock,
    bucket: Mutex<TokenBucket>,
    update: Update,
    /// Holds requests until all that are to come at once are inside; later ones walk through.
    door: Gate,
    /// Holds those who have read the bucket until all have.
    round_trip: Gate,
    inside_at_first_decision: OnceLock<u64>,
}

async fn guard_an_endpoint(lab: &Lab, p: &Params) -> Result<Answered> {
    let at_once = p.burst + TOO_MANY;
    let guard = Arc::new(Guard {
        clock: Clock::frozen(),
        bucket: Mutex::new(TokenBucket::new(p.limit, p.burst, p.refill)),
        update: p.update,
        door: Gate::until(at_once),
        round_trip: Gate::until(at_once),
        inside_at_first_decision: OnceLock::new(),
    });
    let api = lab.serve("api", Router::new().route("/", get(guarded)).with_state(guard.clone()))?;
    lab.show_headers(["Retry-After"]);
    let client = lab.client("client", &api);

    lab.step(format_args!("{at_once} requests at once; the server's clock stands still"));
    let replies = try_join_all((0..at_once).map(|_| client.get("/").into_future())).await?;
    let with = |status| replies.iter().filter(|it| it.status == status).count() as u64;
    let waits: Vec<u64> =
        replies.iter().filter_map(|it| it.header(RETRY_AFTER.as_str())?.parse().ok()).collect();
    let retry_after_s = waits.iter().copied().max().unwrap_or(0);

    lab.step(format_args!("{retry_after_s} s later, by the server's clock"));
    guard.clock.step(Duration::from_secs(retry_after_s));
    let later = client.get("/").await?;
    Ok(Answered {
        at_once: guard.inside_at_first_decision.get().copied().unwrap_or(0),
        passed: with(StatusCode::OK),
        refused: with(StatusCode::TOO_MANY_REQUESTS),
        told_when: waits.len() as u64,
        retry_after_s,
        after_the_wait: later.status.as_u16(),
    })
}

async fn guarded(State(guard): State<Arc<Guard>>) -> Response {
    match guard.decide().await {
        Ok(Ok(())) => StatusCode::OK.into_response(),
        Ok(Err(wait_ns)) => {
            let seconds = wait_ns.div_ceil(WINDOW).to_string();
            (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, seconds)]).into_response()
        }
        Err(stuck) => (StatusCode::INTERNAL_SERVER_ERROR, stuck.to_string()).into_response(),
    }
}

impl Guard {
    async fn decide(&self) -> Result<Taken> {
        self.door.pass().await?;
        self.inside_at_first_decision.get_or_init(|| self.door.arrived());
        let now = self.clock.now().as_nanos() as u64;
        Ok(match self.update {
            Update::Atomic => self.bucket().take(now),
            Update::ReadThenWrite => {
                let mut read = self.bucket().clone();
                self.round_trip.pass().await?;
                let taken = read.take(now);
                *self.bucket() = read;
                taken
            }
        })
    }

    fn bucket(&self) -> MutexGuard<'_, TokenBucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observed {
    fn of(&self, arrivals: Arrivals) -> &Replay {
        &self.replays[arrivals as usize]
    }

    fn of_mut(&mut self, arrivals: Arrivals) -> &mut Replay {
        &mut self.replays[arrivals as usize]
    }

    /// What the token bucket let through at the last instant of the trace that idles before it.
    fn admitted_at_once_after_idling(&self) -> u64 {
        let admitted = &self.of(Arrivals::Idle).by(Keeper::Bucket).admitted_ns;
        admitted.iter().filter(|&at| Some(at) == admitted.last()).count() as u64
    }
}

impl Replay {
    fn by(&self, by: Keeper) -> &Decided {
        &self.decided[by as usize]
    }

    fn by_mut(&mut self, by: Keeper) -> &mut Decided {
        &mut self.decided[by as usize]
    }
}

/// What a run shows in which nothing is broken, whatever the knobs say.
fn sound(p: &Params) -> Observed {
    let p = Params { refill: Refill::Exact, update: Update::Atomic, ..p.clone() };
    let mut rng = StdRng::seed_from_u64(0);
    let replays = Arrivals::ALL.iter().map(|&(arrivals, _)| replay(&p, arrivals, &mut rng)).collect();
    let random =
        Compared { decisions: 100, refusals: 40, intervals: 900, at_promise: 30, ..Compared::default() };
    let http = Answered {
        at_once: p.burst + TOO_MANY,
        passed: p.burst,
        refused: TOO_MANY,
        told_when: TOO_MANY,
        retry_after_s: 1,
        after_the_wait: 200,
    };
    Observed { replays, random, http }
}

/// The most that a gatekeeper promises to let through within one window.
fn promised(p: &Params, by: Keeper) -> u64 {
    match by {
        Keeper::Fixed | Keeper::Log | Keeper::Counter => p.limit,
        Keeper::Bucket | Keeper::Gcra => p.limit + p.burst,
    }
}

/// Dots for the admitted, crosses for the refused, and a frame around the fullest window.
fn strips(p: &Params, drawn: &Replay) -> Figure {
    let ms = |ns: u64| ns as f64 / MS as f64;
    let moments = |times: &[u64], tone| -> Vec<Moment> {
        times.iter().map(|&at| Moment { at: ms(at), label: String::new(), tone }).collect()
    };
    let lane = |(by, decided): (Keeper, &Decided)| {
        let Fullest { count, from_ns } = decided.fullest;
        let tone = if count > promised(p, by) { Tone::Refuted } else { Tone::Soft };
        let label = format!("{count} in one second");
        let frame = Span { from: ms(from_ns), to: ms(from_ns + WINDOW), label, tone };
        let mut marks = moments(&decided.admitted_ns, Tone::Accent);
        marks.extend(moments(&decided.refused_ns, Tone::Refuted));
        Lane { name: by.name().to_owned(), spans: vec![frame], moments: marks }
    };
    let lanes = Keeper::ALL.into_iter().zip(&drawn.decided).map(lane).collect();
    let turns =
        drawn.decided.iter().flat_map(|it| it.admitted_ns.last().copied()).max().unwrap_or(0) / WINDOW;
    let marks =
        if turns == 1 { vec![Mark { at: 1000.0, label: "the second turns".to_owned() }] } else { vec![] };
    let caption = format!(
        "Arrivals: {}. Dots passed, crosses were refused; each frame is the fullest second, hatched where it holds more          than its keeper promises.",
        drawn.arrivals
    );
    Figure::new("arrivals", caption, Timeline { unit: "ms".to_owned(), lanes, marks })
}

fn fullest_windows(p: &Params, drawn: &Replay) -> Figure {
    let row = |(by, decided): (Keeper, &Decided)| {
        let value = decided.fullest.count;
        let tone = if value > promised(p, by) { Tone::Refuted } else { Tone::Accent };
        BarRow { label: by.name().to_owned(), bars: vec![Bar { value: value as f64, tone }] }
    };
    let rows = Keeper::ALL.into_iter().zip(&drawn.decided).map(row).collect();
    let limit = Some((p.limit as f64, "limit".to_owned()));
    let caption = format!(
        "The fullest second of each on the arrivals “{}”. A bucket promises no window: it may let its burst and a          second's refill pass in one.",
        drawn.arrivals
    );
    Figure::new("fullest second", caption, Bars { unit: "requests".to_owned(), series: vec![], rows, limit })
}

fn what_is_kept(seen: &Observed) -> Figure {
    let row = |by: Keeper| {
        let numbers = seen.replays.iter().map(|replay| replay.by(by).numbers).max().unwrap_or(0);
        vec![by.name().to_owned(), numbers.to_string(), (8 * numbers).to_string(), by.keeps().to_owned()]
    };
    let columns = ["Gatekeeper", "Numbers", "Bytes", "What it keeps for one key"].map(str::to_owned).to_vec();
    let rows = Keeper::ALL.into_iter().map(row).collect();
    Figure::new(
        "state",
        "The most that each kept at any time, over all five traces.",
        Table { columns, rows },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Admits a request exactly if no interval that ends with it would then hold more than burst + rate × length: the
    /// promise itself, without a bucket and without a theoretical arrival time.
    fn by_the_promise(times: &[u64], limit: u64, burst: u64) -> Vec<bool> {
        let mut admitted: Vec<u64> = vec![];
        let decide = |&now: &u64| {
            let kept = (1u64..).zip(admitted.iter().rev()).all(|(later, &from)| {
                u128::from(later + 1) * u128::from(WINDOW)
                    <= u128::from(burst) * u128::from(WINDOW) + u128::from(limit) * u128::from(now - from)
            });
            if kept {
                admitted.push(now);
            }
            kept
        };
        times.iter().map(decide).collect()
    }

    #[test]
    fn bucket_and_gcra_admit_just_what_the_promise_allows() {
        let mut rng = StdRng::seed_from_u64(14);
        for _ in 0..1000 {
            let (limit, burst) = (rng.random_range(1..=50), rng.random_range(1..=20));
            let times = random_times(limit, burst, &mut rng);
            let wanted = by_the_promise(&times, limit, burst);
            let mut bucket = TokenBucket::new(limit, burst, Refill::Exact);
            let mut gcra = Gcra::new(limit, burst);
            assert_eq!(times.iter().map(|&now| bucket.admits(now)).collect::<Vec<_>>(), wanted);
            assert_eq!(times.iter().map(|&now| gcra.admits(now)).collect::<Vec<_>>(), wanted);
            assert!(wanted.contains(&true) || burst == 0);
        }
    }

    #[test]
    fn a_refused_request_is_told_the_nanosecond_at_which_the_next_token_is_there() {
        let mut bucket = TokenBucket::new(3, 1, Refill::Exact);
        assert_eq!(bucket.take(0), Ok(()));
        assert_eq!(bucket.take(0), Err(333_333_334));
        assert_eq!(bucket.clone().take(333_333_333), Err(1));
        assert_eq!(bucket.take(333_333_334), Ok(()));
    }

    #[test]
    fn the_fullest_window_is_half_open() {
        let count = |times: &[u64]| fullest(times).count;
        assert_eq!(count(&[0, WINDOW - 1, WINDOW, WINDOW]), 3);
        assert_eq!(count(&[]), 0);
        assert_eq!(count(&[5; 7]), 7);
    }
}
