//! Five limiters decide on the same arrivals, on a virtual clock in whole nanoseconds; `keepers.rs` has all five.
//!
//! A checker that knows none of them looks for the fullest second among the requests that each let through. Then one of
//! them, the token bucket, guards a real HTTP endpoint against requests that all arrive at once.

use crate::prelude::*;
use endpoint::{Answered, guard_an_endpoint};
use keepers::{Gatekeeper, Gcra, Keeper, Refill, TokenBucket, WINDOW, random_times};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

#[path = "endpoint.rs"]
mod endpoint;
#[path = "figures.rs"]
mod figures;
#[path = "keepers.rs"]
mod keepers;

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

const MS: u64 = 1_000_000;
/// The bursts last so long.
const SPREAD: u64 = 100 * MS;
/// Requests that come at once beyond the burst.
const TOO_MANY: u64 = 5;
const RANDOM_TRACES: u64 = 1000;

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
        vec![figures::strips(p, drawn), figures::fullest_windows(p, drawn), figures::what_is_kept(seen)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fullest_window_is_half_open() {
        let count = |times: &[u64]| fullest(times).count;
        assert_eq!(count(&[0, WINDOW - 1, WINDOW, WINDOW]), 3);
        assert_eq!(count(&[]), 0);
        assert_eq!(count(&[5; 7]), 7);
    }
}
