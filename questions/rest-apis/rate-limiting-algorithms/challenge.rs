//! A token bucket that keeps its word.
//!
//! A server on `PORT` decides who may pass. It keeps a bucket of tokens for each key. `RATE` says how many tokens come in
//! a second (a number above 0 with at most three digits after the point, such as `4` or `0.1`), and `BURST` how many a
//! bucket holds (a whole number from 1 on).
//!
//! ```text
//! POST /take   {"key": "ann", "cost": 1, "now_ms": 1700000000000}
//!              200 {"allowed": true, "remaining": 4, "retry_after_ms": 0}
//! GET  /stats  200 {"keys": 1}
//! ```
//!
//! **The caller brings the clock.** `now_ms` is in whole milliseconds; what time it is for your program doesn't matter. A
//! key's time never goes back: a call whose `now_ms` lies before the newest that its key has seen is answered as if it
//! came at that newest time.
//!
//! **Taking.** A new key has a full bucket. `cost`, a whole number from 1 on, is how many tokens the call wants: it gets
//! all of them or none. A refusal is an answer too, with status 200.
//!
//! - `allowed`: whether it got them.
//! - `remaining`: whole tokens left after the call, rounded down.
//! - `retry_after_ms`: 0 if the call was allowed; if not, the smallest whole number of milliseconds after which the same
//!   call would be, if nobody else takes a token before; `null` if that will never be, since the cost is above `BURST`.
//!
//! **Exactly.** The answers are those of exact arithmetic: a token is there in the very millisecond in which it is due,
//! however many calls came before. No sum of small parts may fall short.
//!
//! **At once.** Up to 200 calls arrive side by side, each on its own connection: give the listening socket room
//! (a backlog) for them.
//!
//! **Memory.** A bucket that is full again is as good as a new one. When `/stats` answers, no key is held whose bucket
//! would be full at the newest `now_ms` that any call has brought, and every other key still is. `keys` says how many.
//! Nothing has to be kept on disk.

use crate::prelude::*;
use std::cmp::Ordering;

#[path = "reference.rs"]
mod reference;

pub struct RateLimitingAlgorithms;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bug {
    StartsEmpty,
    FillsWithoutEnd,
    RoundsEachStep,
    AddsFractions,
    ConstantWait,
    RoundsTheWaitDown,
    ReadsThenWrites,
    PromisesTheImpossible,
    TakesPart,
    NegativeTime,
    TurnsTheClockBack,
    ForgetsNothing,
    ForgetsTheDrained,
}

const EMPTY: &str = "A new bucket has no token; it has to start full.";
const WITHOUT_END: &str = "Tokens pile up while nobody calls; a bucket holds BURST at the most.";
const ROUNDS: &str = "Each call rounds what the time since the last one has brought down to whole tokens, which is none, \
                      and marks that time as used.";
const FRACTIONS: &str = "Tokens are a binary fraction, in which a tenth has no exact value: the parts add up to a hair \
                         less than a token, and the call is refused at the moment at which it is due.";
const CONSTANT: &str =
    "retry_after_ms is the time that a whole token takes, though a part of it is there already.";
const ROUNDED_DOWN: &str = "retry_after_ms is rounded down, and the token comes a moment later.";
const IMPOSSIBLE: &str = "A cost above BURST gets a time to come back at, but no bucket ever holds so many.";
const PART: &str = "Tokens are taken one by one until they run out, and those are gone.";
const NEGATIVE: &str = "The time since the last call is negative, and so is what it brings: tokens vanish.";
const TWICE: &str = "The key's time is set back, so that the same stretch of time brings its tokens twice.";
const NOTHING: &str = "Keys are never dropped: whoever makes up keys fills the memory.";
const DRAINED: &str = "Keys are dropped because nobody called for long; one that isn't full yet comes back as a new one, \
                       with tokens that it never earned.";

impl Challenge for RateLimitingAlgorithms {
    type Bug = Bug;

    fn stages() -> Vec<Stage<Bug>> {
        vec![
            stage("a new key has its burst, then waits for each token, and never saves up more", bursts)
                .catches(Bug::StartsEmpty, EMPTY)
                .catches(Bug::FillsWithoutEnd, WITHOUT_END)
                .hint("Keep two numbers for each key: its tokens, and the time for which they were counted. Add what the \
                       time since then has brought, and cut it off at BURST; then see whether there is enough."),
            stage("at a tenth of a token a second, ten calls a second add up to a token every ten seconds", adds_up)
                .catches(Bug::RoundsEachStep, ROUNDS)
                .catches(Bug::AddsFractions, FRACTIONS)
                .hint("RATE has at most three digits after the point. In which unit does each millisecond bring a whole \
                       number?"),
            stage("retry_after_ms is the first millisecond that works, not one before, not one after", is_tight)
                .catches(Bug::ConstantWait, CONSTANT)
                .catches(Bug::RoundsTheWaitDown, ROUNDED_DOWN)
                .hint("What is missing, divided by what a millisecond brings, rounded up: who comes back at that time has \
                       to get it."),
            stage("of 200 calls in one millisecond, just BURST pass", races)
                .catches(
                    Bug::ReadsThenWrites,
                    "The bucket is read, and written back later: calls in between have read the same tokens.",
                )
                .hint("Nothing may wait between the look at the bucket and the new value: one lock, one transaction, or \
                       one statement that does both."),
            stage("a call gets all the tokens that it wants or none, and more than BURST never", all_or_none)
                .catches(Bug::PromisesTheImpossible, IMPOSSIBLE)
                .catches(Bug::TakesPart, PART)
                .hint("Compare first, subtract the whole cost then; a refused call changes no tokens."),
            stage("a clock that goes backwards brings no tokens, takes none, and breaks nothing", goes_back)
                .catches(Bug::NegativeTime, NEGATIVE)
                .catches(Bug::TurnsTheClockBack, TWICE)
                .hint("Take the later of the two times, the call's and the key's, before anything else."),
            stage("a bucket that is full again is forgotten, and only that", forgets)
                .catches(Bug::ForgetsNothing, NOTHING)
                .catches(Bug::ForgetsTheDrained, DRAINED)
                .hint("Don't ask how old a bucket is; ask whether it would be full by now. To go through all of them at \
                       each call is too slow: do it when their number has doubled, and before /stats answers."),
        ]
    }

    async fn reference(bug: Option<Bug>) -> Result<()> {
        reference::run(bug).await
    }
}

/// Some moment of the caller's clock.
fn some_time(g: &Grader) -> u64 {
    1_700_000_000_000 + u64::from(g.number(0..1_000_000_000))
}

async fn take(it: &Subject, key: &str, cost: u64, now_ms: u64) -> Graded<Answer> {
    it.post("/take").json(&json!({ "key": key, "cost": cost, "now_ms": now_ms })).await?.status(200)
}

/// A call that has to pass, and leaves so many tokens.
async fn passes(it: &Subject, key: &str, cost: u64, now_ms: u64, remaining: u64) -> Graded {
    take(it, key, cost, now_ms).await?.has("allowed", true)?.has("remaining", remaining)?;
    Ok(())
}

/// A call that must not pass, and leaves so many tokens.
async fn is_refused(it: &Subject, key: &str, cost: u64, now_ms: u64, remaining: u64) -> Graded<Answer> {
    take(it, key, cost, now_ms).await?.has("allowed", false)?.has("remaining", remaining)
}

/// Goes on only with this number in a member; each way to miss it has a cause.
fn counts(answer: Answer, name: &str, expected: u64, less: &str, more: &str) -> Graded<Answer> {
    let (found, expected) = (answer.number(name)?, expected.cast_signed());
    let off = |cause| answer.wrong(format!("the member \"{name}\""), expected, found).because(cause);
    match found.cmp(&expected) {
        Ordering::Equal => Ok(answer),
        Ordering::Less => Err(off(less)),
        Ordering::Greater => Err(off(more)),
    }
}

/// Takes all tokens of a full bucket, one by one.
async fn drain(it: &Subject, key: &str, burst: u64, now_ms: u64) -> Graded {
    for left in (0..burst).rev() {
        passes(it, key, 1, now_ms, left).await?;
    }
    Ok(())
}

async fn bursts(g: &Grader) -> Graded {
    const HOUR: u64 = 3_600_000;
    let rate = u64::from(g.number(2..5));
    let burst = rate + u64::from(g.number(2..6));
    let it = g.start(&[("RATE", &rate.to_string()), ("BURST", &burst.to_string())]).await?;
    let [key, other] = g.words();
    let now = some_time(g);
    let first = take(&it, &other, 1, now).await?;
    counts(first, "remaining", burst - 1, EMPTY, "The call takes no token.")?.has("allowed", true)?;
    drain(&it, &key, burst, now).await?;
    is_refused(&it, &key, 1, now, 0).await?;
    for left in (0..rate).rev() {
        passes(&it, &key, 1, now + 1000, left).await?;
    }
    is_refused(&it, &key, 1, now + 1000, 0).await?;
    let rested = take(&it, &key, 1, now + HOUR).await?;
    counts(
        rested,
        "remaining",
        burst - 1,
        "Not all of the time since the last call was counted.",
        WITHOUT_END,
    )?;
    Ok(())
}

async fn adds_up(g: &Grader) -> Graded {
    /// Milliseconds that bring a token.
    const TOKEN: u64 = 10_000;
    let burst = u64::from(g.number(2..5));
    let it = g.start(&[("RATE", "0.1"), ("BURST", &burst.to_string())]).await?;
    let mut empty = some_time(g);
    // Binary fractions fall short at steps of 125 and 1000 ms, in whichever order one multiplies and divides.
    for (step, tokens) in [(100, 1), (125, 1), (1000, 2)] {
        let key = g.word();
        drain(&it, &key, burst, empty).await?;
        for since in (1..=tokens * TOKEN / step).map(|n| n * step) {
            let due = since % TOKEN == 0;
            let answer = take(&it, &key, 1, empty + since).await?;
            let allowed = answer.field("allowed")?;
            if allowed != due {
                let what = format!("the member \"allowed\", {since} ms after the bucket was emptied,");
                let wrong = answer.wrong(what, due, allowed);
                let a_step_later = take(&it, &key, 1, empty + since + step).await?.has("allowed", true);
                return Err(match (due, a_step_later) {
                    (true, Ok(_)) => wrong.because(FRACTIONS),
                    (true, Err(_)) => wrong.because(ROUNDS),
                    _ => wrong.because("It comes too early: more is counted than RATE brings in this time."),
                });
            }
        }
        empty += tokens * TOKEN;
    }
    Ok(())
}

async fn is_tight(g: &Grader) -> Graded {
    let rate = [3, 6, 7, 9][g.number(0..4) as usize];
    let burst = u64::from(g.number(3..7));
    let it = g.start(&[("RATE", &rate.to_string()), ("BURST", &burst.to_string())]).await?;
    let key = g.word();
    let (mut now, mut level) = (some_time(g), 0);
    drain(&it, &key, burst, now).await?;
    let waits = |answer, wait| counts(answer, "retry_after_ms", wait, ROUNDED_DOWN, CONSTANT);
    for _ in 0..8 {
        // What is missing of a token, in thousandths; a millisecond brings `rate` of them.
        let wait = (1000_u64 - level).div_ceil(rate);
        let later = wait * u64::from(g.number(1..9)) / 10;
        waits(is_refused(&it, &key, 1, now, 0).await?, wait)?;
        waits(is_refused(&it, &key, 1, now + later, 0).await?, wait - later)?;
        waits(is_refused(&it, &key, 1, now + wait - 1, 0).await?, 1)?;
        passes(&it, &key, 1, now + wait, 0).await?;
        (now, level) = (now + wait, level + wait * rate - 1000);
    }
    Ok(())
}

async fn races(g: &Grader) -> Graded {
    const CALLS: usize = 200;
    /// Right programs on a loaded machine take long for so many.
    const PATIENCE: Duration = Duration::from_secs(10);
    let burst = u64::from(g.number(60..140));
    let it = g.start(&[("RATE", "1"), ("BURST", &burst.to_string())]).await?;
    let mut now = some_time(g);
    // The first round opens the connections, so that in the others all calls are on their way in an instant.
    for _ in 0..5 {
        let body = json!({ "key": g.word(), "cost": 1, "now_ms": now });
        let calls = (0..CALLS).map(|_| it.post("/take").json(&body).deadline(PATIENCE).into_future());
        let mut passed = 0;
        for answer in join_all(calls).await {
            passed += u64::from(answer?.status(200)?.field("allowed")? == true);
        }
        g.expect(format!("the calls that passed, of {CALLS} at once for a new key"), passed, burst)?;
        now += 1000;
    }
    Ok(())
}

async fn all_or_none(g: &Grader) -> Graded {
    const HOUR: u64 = 3_600_000;
    let rate = u64::from(g.number(2..7));
    let burst = u64::from(g.number(5..10));
    let it = g.start(&[("RATE", &rate.to_string()), ("BURST", &burst.to_string())]).await?;
    let key = g.word();
    let start = some_time(g);
    for now in [start, start + HOUR] {
        let refused = take(&it, &key, burst + 1, now).await?.has("allowed", false)?;
        let refused = refused.has("retry_after_ms", Value::Null).because(IMPOSSIBLE)?;
        refused.has("remaining", burst).because(PART)?;
    }
    let now = start + HOUR;
    passes(&it, &key, burst - 2, now, 2).await?;
    is_refused(&it, &key, 3, now, 2).await?.has("retry_after_ms", 1000_u64.div_ceil(rate))?;
    passes(&it, &key, 2, now, 0).await?;
    let wait = 3000_u64.div_ceil(rate);
    is_refused(&it, &key, 3, now, 0).await?.has("retry_after_ms", wait)?;
    is_refused(&it, &key, 3, now + wait - 1, 2).await?.has("retry_after_ms", 1)?;
    passes(&it, &key, 3, now + wait, 0).await?;
    passes(&it, &key, burst, now + wait + HOUR, 0).await
}

async fn goes_back(g: &Grader) -> Graded {
    const DAY: u64 = 86_400_000;
    let burst = u64::from(g.number(8..12));
    let it = g.start(&[("RATE", "2"), ("BURST", &burst.to_string())]).await?;
    let key = g.word();
    let start = some_time(g);
    drain(&it, &key, burst, start).await?;
    let newest = start + 3000;
    passes(&it, &key, 1, newest, 5).await?;
    let a_bit_before = newest - u64::from(g.number(1500..2500));
    for (now, left) in [(a_bit_before, 4), (newest - DAY, 3), (newest, 2), (a_bit_before, 1), (newest - 1, 0)]
    {
        let answer = take(&it, &key, 1, now).await?;
        counts(answer, "remaining", left, NEGATIVE, TWICE)?.has("allowed", true)?;
    }
    is_refused(&it, &key, 1, newest - 1000, 0).await?.has("retry_after_ms", 500)?;
    is_refused(&it, &key, 1, newest + 499, 0).await?.has("retry_after_ms", 1)?;
    passes(&it, &key, 1, newest + 500, 0).await
}

async fn forgets(g: &Grader) -> Graded {
    const HOUR: u64 = 3_600_000;
    /// Tokens that an hour brings at a rate of 0.01.
    const HOURLY: u64 = 36;
    /// Calls that are under way at a time.
    const SIDE_BY_SIDE: usize = 40;
    let (touched, drained) = (1000 + g.number(1..500) as usize, 10 + g.number(1..20) as usize);
    let burst = HOURLY + u64::from(g.number(10..50));
    let it = g.start(&[("RATE", "0.01"), ("BURST", &burst.to_string())]).await?;
    let now = some_time(g);
    let keys: Vec<String> = (0..touched).map(|n| format!("{}{n}", g.word())).collect();
    for keys in keys.chunks(SIDE_BY_SIDE) {
        try_join_all(keys.iter().map(|key| passes(&it, key, 1, now, burst - 1))).await?;
    }
    let drained: Vec<String> = (0..drained).map(|n| format!("{}{n}", g.word())).collect();
    try_join_all(drained.iter().map(|key| passes(&it, key, burst, now, 0))).await?;
    let held = it.get("/stats").await?.status(200)?;
    held.has("keys", touched + drained.len())?;

    // An hour is enough to fill those that gave one token, and too little for those that gave all.
    passes(&it, &g.word(), 1, now + HOUR, burst - 1).await?;
    let held = it.get("/stats").await?.status(200)?;
    for key in &drained {
        let answer = take(&it, key, HOURLY + 1, now + HOUR).await?;
        if answer.field("allowed")? == true {
            let expected = format!("{HOURLY} tokens, which an hour brings at RATE 0.01");
            let found = format!("it gave {}", HOURLY + 1);
            let what = "what a bucket holds an hour after it was emptied, by the answer";
            return Err(answer.wrong(what, expected, found).because(DRAINED));
        }
        answer.has("remaining", HOURLY)?;
    }
    counts(held, "keys", drained.len() as u64 + 1, DRAINED, NOTHING)?;
    Ok(())
}
