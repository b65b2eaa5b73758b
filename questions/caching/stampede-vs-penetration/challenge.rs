//! A cache that does not fall over.
//!
//! A server on `PORT` stands before a slow source and remembers what it says. The source's URL is in `SOURCE`, such as
//! `http://127.0.0.1:4711`; it has `GET /item/{id}` and answers 200 or 404 with a body, when all is well.
//!
//! ```text
//! GET /item/{id}
//!     200 or 404  status and body as the source gave them, the body to the byte
//!     502 or 504  the source failed: a status of 500 or above, no whole answer, or none within LIMIT_MS
//!     X-Cache     with a 200 or 404, one of
//!         hit     remembered, and fresh
//!         miss    this request has called the source
//!         wait    another request had called the source, and this one has waited for that call
//!         stale   remembered, and no longer fresh
//! ```
//!
//! These are in the environment, in milliseconds:
//!
//! ```text
//! TTL_MS    how long a 200 is fresh
//! STALE_MS  how long after that it may be given out as stale; 0 for not at all
//! NEG_MS    how long a 404 is fresh; it is never given out as stale
//! LIMIT_MS  how long a call of the source may take; after that it has failed
//! ```
//!
//! - **One call.** While the source is being called for an id, nobody calls it for the same id. Whoever wants it waits,
//!   and gets what the call brings: an answer or a failure.
//! - **Nobody else waits.** Neither a request for another id, nor one that can be answered from memory.
//! - **A failure is not remembered.** The next request calls again.
//! - **Stale.** A stale item is given out at once, and one call behind it refreshes it. What the call brings, 200 or
//!   404, takes its place; if it fails, the old one stays for what is left of its time, and the next request that gets
//!   it begins another call.
//! - **A call goes on.** Once begun, it goes on to its end or to `LIMIT_MS`, also when whoever asked has hung up, and
//!   what it brings is remembered.
//! - **Absence is bounded.** At most 200 answers of 404 are remembered at a time; they push out each other, never a
//!   200. There is room for all items that exist: they are few, and nothing else pushes them out.

use crate::prelude::*;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use std::time::Instant;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[path = "reference.rs"]
mod reference;
#[path = "source.rs"]
mod source;

use source::{Source, body, target};

/// How long the source keeps answers back for a crowd, from the moment when the crowd is sent.
const CROWD: Duration = Duration::from_millis(300);
/// How long an answer may take that has nothing to wait for; generous, for a machine that is busy.
const AT_ONCE: Duration = Duration::from_secs(3);
/// A little longer than a time that has to be over.
const OVER: Duration = Duration::from_millis(50);

pub struct StampedeVsPenetration;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bug {
    NoExpiry,
    EveryMissCalls,
    OneGlobalLock,
    CachesTheError,
    LockThatStays,
    WaitsWithoutLimit,
    WaitsForTheRefresh,
    EveryReaderRefreshes,
    ErrorDropsTheOld,
    StaleForEver,
    NegativeForEver,
    AbsenceIsForgotten,
    AbsencePushesOutItems,
    RemembersEveryAbsence,
    EndsWithTheFirst,
}

const CACHED_ERROR: &str = "The failure is remembered like an answer, so that the next request doesn't call.";
const LOCK_STAYS: &str =
    "The mark that a call is under way stays after it has failed: everybody waits for a call that is over.";
const NO_LIMIT: &str =
    "The call has no limit of time; or whoever waited for it calls next, one after the other.";
const WAITS: &str =
    "An item that is no longer fresh is fetched like one that isn't there, and its readers wait.";
const FOR_EVER: &str = "An absence is remembered as long as an item, or for ever.";
const ENDS: &str = "The call belongs to the request that began it: when its client hangs up it is cancelled, and with it the wait \
     of the others.";

impl Challenge for StampedeVsPenetration {
    type Bug = Bug;

    fn stages() -> Vec<Stage<Bug>> {
        vec![
            stage("a miss, then a hit, and a miss again when TTL_MS is over", expires)
                .catches(Bug::NoExpiry, "What was stored once is given out for ever.")
                .hint("Store the moment with the answer, and compare its age with TTL_MS when you read it."),
            stage("a hundred at once for an id that isn't there yet are one call", stampede)
                .catches(
                    Bug::EveryMissCalls,
                    "Each request that finds nothing calls by itself: the call that is under way is seen by nobody.",
                )
                .hint(
                    "Before you call, put the call itself (a promise, a future, a channel) into a map under the id; who \
                     finds one there waits for it.",
                ),
            stage("a slow id makes nobody else wait", others_go_on)
                .catches(Bug::OneGlobalLock, "One lock is held during the call, and all requests go through it.")
                .hint("Hold the lock for the look into the maps, and never while you wait for the source."),
            stage("a call that fails or hangs fails in time, and the next request calls again", fails)
                .catches(Bug::CachesTheError, CACHED_ERROR)
                .catches(Bug::LockThatStays, LOCK_STAYS)
                .catches(Bug::WaitsWithoutLimit, NO_LIMIT)
                .hint("Give the call a deadline, and clear its mark however it ends: in `finally`, `defer`, a guard."),
            stage("a stale item is given out at once, with one refresh behind it", stale)
                .catches(Bug::WaitsForTheRefresh, WAITS)
                .catches(Bug::EveryReaderRefreshes, "Each request that gets a stale item begins a call.")
                .catches(Bug::ErrorDropsTheOld, "A refresh that fails takes the old item with it.")
                .catches(Bug::StaleForEver, "The age at which even a stale item is too old isn't looked at.")
                .hint("The refresh is a call like any other: the same map, and a store only on success."),
            stage("a 404 is remembered for NEG_MS, and not longer", absent)
                .catches(Bug::AbsenceIsForgotten, "A 404 isn't stored: whoever asks for what doesn't exist gets a call.")
                .catches(Bug::NegativeForEver, FOR_EVER)
                .hint("Store the absence as an entry of its own kind, with its own lifetime and nothing stale."),
            stage("of a thousand ids that don't exist few are remembered, and no item is lost", flood)
                .catches(Bug::AbsencePushesOutItems, "Items and absences share one bound, and the flood pushes items out.")
                .catches(Bug::RemembersEveryAbsence, "Absences are stored without a bound.")
                .hint("Absences have a bound of their own, and are small; a Bloom filter of what exists spares most of them."),
            stage("a client that gives up takes the call from nobody", gives_up)
                .catches(Bug::EndsWithTheFirst, ENDS)
                .hint("Let the call run on its own (a task, a goroutine, without the request's context) and wait for it."),
        ]
    }

    async fn reference(bug: Option<Bug>) -> Result<()> {
        crate::reference::serve(reference::router(bug)?).await
    }
}

/// Lifetimes in milliseconds.
struct Times {
    ttl: u32,
    stale: u32,
    neg: u32,
    limit: u32,
}

impl Times {
    /// Nothing ends while a stage looks.
    fn long(g: &Grader) -> Self {
        let long = || g.number(600_000..900_000);
        Self { ttl: long(), stale: 0, neg: long(), limit: g.number(9_000..9_900) }
    }
}

async fn start(g: &Grader, source: &Source, times: Times) -> Graded<Subject> {
    let Times { ttl, stale, neg, limit } = times;
    let [ttl, stale, neg, limit] = [ttl, stale, neg, limit].map(|it| it.to_string());
    let url = source.server.url();
    g.start(&[
        ("SOURCE", &url),
        ("TTL_MS", &ttl),
        ("STALE_MS", &stale),
        ("NEG_MS", &neg),
        ("LIMIT_MS", &limit),
    ])
    .await
}

fn millis(millis: u32) -> Duration {
    Duration::from_millis(millis.into())
}

/// Holds an answer against what the source said, and where it should be from.
fn gives(answer: Answer, text: &str, from: &[&str]) -> Graded<Answer> {
    let answer = answer.status(200)?;
    let found = String::from_utf8_lossy(answer.body()).into_owned();
    answer.expect("the body", found.as_str(), text)?;
    is_from(&answer, from)?;
    Ok(answer)
}

fn is_from(answer: &Answer, from: &[&str]) -> Graded {
    let found = answer.header("X-Cache")?;
    if from.contains(&found) {
        Ok(())
    } else {
        Err(answer.wrong("the header X-Cache", from.join(" or "), found))
    }
}

/// Looks at what is true only while a time isn't over; once more where the machine, or a program that has just been
/// started, needed longer than that.
async fn in_time<'a, T>(time: Duration, look: impl Fn() -> BoxFuture<'a, Graded<T>>) -> Graded<T> {
    const ATTEMPTS: usize = 5;
    for _ in 0..ATTEMPTS {
        let began = Instant::now();
        let seen = look().await?;
        if began.elapsed() < time {
            return Ok(seen);
        }
    }
    Err(anyhow!("two requests took longer than {time:?} together, {ATTEMPTS} times: the machine is too busy")
        .into())
}

fn is_called(g: &Grader, source: &Source, id: &str, times: usize) -> Graded {
    g.expect(format!("calls of SOURCE for item {id}"), source.calls(id), times)
}

/// Asks so many times at once; the source answers when that many calls have come, or `CROWD` is over.
async fn crowd(it: &Subject, source: &Source, id: &str, clients: usize) -> Vec<Graded<Answer>> {
    let enough = source.server.count(|_| true) + clients;
    let held = source.server.hold(|_| true);
    let asks = join_all((0..clients).map(|_| it.get(target(id)).into_future()));
    let (answers, ()) = tokio::join!(asks, async {
        source.server.arrivals(enough, CROWD).await;
        held.open();
    });
    answers
}

async fn expires(g: &Grader) -> Graded {
    let source = Source::open(g)?;
    let ttl = g.number(500..700);
    let it = start(g, &source, Times { ttl, ..Times::long(g) }).await?;
    let (id, old, new, first, second) = in_time(millis(ttl), || {
        async {
            let [id, old, new] = g.words();
            source.put(g, &id, &old);
            let first = it.get(target(&id)).await?;
            source.put(g, &id, &new);
            Ok((id.clone(), body(&id, &old), body(&id, &new), first, it.get(target(&id)).await?))
        }
        .boxed()
    })
    .await?;
    gives(first, &old, &["miss"])?;
    gives(second, &old, &["hit"])?;
    is_called(g, &source, &id, 1)?;
    over(g, ttl).await;
    let third = it.get(target(&id)).await?;
    let waited = third.find_header("X-Cache") == Some("wait");
    gives(third, &new, &["miss"]).map_err(|wrong| match waited {
        true => {
            wrong.because("A call that is over stays in the map, and requests wait for what it has brought.")
        }
        false => wrong,
    })?;
    is_called(g, &source, &id, 2)
}

/// Waits until a time is over that has begun before now.
async fn over(g: &Grader, time: u32) {
    let time = millis(time) + OVER;
    g.line(format!("sleep {}", time.as_secs_f64()));
    tokio::time::sleep(time).await;
}

async fn stampede(g: &Grader) -> Graded {
    let source = Source::open(g)?;
    let it = start(g, &source, Times::long(g)).await?;
    let [id, word] = g.words();
    source.put(g, &id, &word);
    g.note("SOURCE keeps its answer back while a hundred requests come in");
    let answers = crowd(&it, &source, &id, 100).await.into_iter().collect::<Graded<Vec<_>>>()?;
    is_called(g, &source, &id, 1)?;
    let mut misses = 0;
    for answer in answers {
        let answer = gives(answer, &body(&id, &word), &["miss", "wait", "hit"])?;
        misses += usize::from(answer.header("X-Cache")? == "miss");
    }
    g.expect("answers with X-Cache: miss, of a hundred with one call", misses, 1)
}

async fn others_go_on(g: &Grader) -> Graded {
    let source = Source::open(g)?;
    let it = start(g, &source, Times::long(g)).await?;
    let [slow, known, word] = g.words();
    let others: [String; 16] = g.words();
    source.put_all(g, [&slow, &known].into_iter().chain(&others), &word);
    gives(it.get(target(&known)).await?, &body(&known, &word), &["miss"])?;
    g.note(format_args!("SOURCE keeps its answer about {slow} back until the others have theirs"));
    let path = target(&slow);
    let held = source.server.hold(move |it| it.path == path);
    let rest = async {
        source.until_called(&slow, 1).await;
        is_called(g, &source, &slow, 1)?;
        let at_once = |id: &String| it.get(target(id)).deadline(AT_ONCE).into_future();
        let stuck = "The call for one id is under way, and other requests wait for it behind a lock.";
        let hit = at_once(&known).await.because(stuck)?;
        gives(hit, &body(&known, &word), &["hit"])?;
        for (id, answer) in others.iter().zip(join_all(others.iter().map(at_once)).await) {
            gives(answer.because(stuck)?, &body(id, &word), &["miss"])?;
        }
        Ok(())
    };
    let (first, rest) = tokio::join!(it.get(target(&slow)).deadline(AT_ONCE * 3).into_future(), async {
        let rest: Graded = rest.await;
        held.open();
        rest
    });
    rest?;
    gives(first?, &body(&slow, &word), &["miss"])?;
    Ok(())
}

async fn fails(g: &Grader) -> Graded {
    let source = Source::open(g)?;
    let limit = g.number(400..600);
    let it = start(g, &source, Times { limit, ..Times::long(g) }).await?;
    let [failing, hanging, word] = g.words();
    source.put(g, &failing, &word);
    source.put(g, &hanging, &word);

    source.breaks(g, true);
    for answer in crowd(&it, &source, &failing, 20).await {
        answer?.one_of(&[502, 504])?;
    }
    source.breaks(g, false);
    calls_again(&it, &failing, &word).await?;

    g.note(format_args!("SOURCE gives no answer about {hanging}"));
    let held = source.server.hold(|_| true);
    let asks = (0..20).map(|_| it.get(target(&hanging)).deadline(millis(limit) + AT_ONCE).into_future());
    for answer in join_all(asks).await {
        answer.because(NO_LIMIT)?.one_of(&[502, 504])?;
    }
    held.open();
    g.note("SOURCE is well again");
    calls_again(&it, &hanging, &word).await
}

async fn calls_again(it: &Subject, id: &str, word: &str) -> Graded {
    let again = it.get(target(id)).deadline(AT_ONCE).await.because(LOCK_STAYS)?;
    let again = again.status(200).because(CACHED_ERROR)?;
    gives(again, &body(id, word), &["miss"])?;
    Ok(())
}

async fn stale(g: &Grader) -> Graded {
    let source = Source::open(g)?;
    let ttl = g.number(200..300);
    let it = start(g, &source, Times { ttl, stale: g.number(600_000..900_000), ..Times::long(g) }).await?;
    let [id, old, new] = g.words();
    source.put(g, &id, &old);
    gives(it.get(target(&id)).await?, &body(&id, &old), &["miss"])?;
    over(g, ttl).await;
    source.put(g, &id, &new);

    g.note("SOURCE keeps its answer back");
    let held = source.server.hold(|_| true);
    let at_once = || it.get(target(&id)).deadline(AT_ONCE).into_future();
    for answer in join_all((0..20).map(|_| at_once())).await {
        gives(answer.because(WAITS)?, &body(&id, &old), &["stale"])?;
    }
    let one_call = |source: &Source| match source.calls(&id) {
        2 => Ok(()),
        1 => is_called(g, source, &id, 2).because("Nobody refreshes what is no longer fresh."),
        _ => is_called(g, source, &id, 2).because("Each request that gets a stale item begins a call."),
    };
    source.until_called(&id, 2).await;
    // Whoever else has begun a call is on its way.
    source.server.arrivals(1 + 20, CROWD).await;
    one_call(&source)?;
    gives(at_once().await.because(WAITS)?, &body(&id, &old), &["stale"])?;
    one_call(&source)?;
    g.note("SOURCE answers");
    held.open();
    until_refreshed(&it, &id, &body(&id, &new)).await?;
    survives_errors(g, &it, &source, &id, &body(&id, &new)).await?;
    too_old(g).await
}

/// One refresh has failed for sure when another one has begun.
async fn survives_errors(g: &Grader, it: &Subject, source: &Source, id: &str, text: &str) -> Graded {
    source.breaks(g, true);
    let (before, began) = (source.calls(id), Instant::now());
    while source.calls(id) < before + 2 {
        let answer = it.get(target(id)).deadline(AT_ONCE).await?;
        gives(answer, text, &["hit", "stale"]).because("A refresh that fails takes the old item with it.")?;
        if began.elapsed() > AT_ONCE {
            let what = format!("refreshes of item {id}, each of which fails");
            let found = source.calls(id) - before;
            return Err(g
                .wrong(what, "another one after each", found)
                .because("After a refresh that failed, no request begins another one."));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Waits until the answer is what the refresh has brought; each request may get the old one until then.
async fn until_refreshed(it: &Subject, id: &str, text: &str) -> Graded {
    let began = Instant::now();
    loop {
        let answer = it.get(target(id)).await?.status(200)?;
        if answer.body() == text {
            return Ok(());
        }
        if began.elapsed() > AT_ONCE {
            gives(answer, text, &["hit"])
                .because("What the refresh brings doesn't take the old one's place.")?;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn too_old(g: &Grader) -> Graded {
    let source = Source::open(g)?;
    let (ttl, stale) = (g.number(100..150), g.number(200..300));
    let it = start(g, &source, Times { ttl, stale, ..Times::long(g) }).await?;
    let [id, old, new] = g.words();
    source.put(g, &id, &old);
    gives(it.get(target(&id)).await?, &body(&id, &old), &["miss"])?;
    source.put(g, &id, &new);
    over(g, ttl + stale).await;
    gives(it.get(target(&id)).await?, &body(&id, &new), &["miss"])
        .because("The age at which even a stale item is too old isn't looked at.")?;
    Ok(())
}

async fn absent(g: &Grader) -> Graded {
    let source = Source::open(g)?;
    let neg = g.number(500..700);
    let it = start(g, &source, Times { neg, stale: g.number(600_000..900_000), ..Times::long(g) }).await?;
    let (id, first, second) = in_time(millis(neg), || {
        async {
            let id = g.word();
            let (first, second) = (it.get(target(&id)).await?, it.get(target(&id)).await?);
            Ok((id, first.status(404)?, second.status(404)?))
        }
        .boxed()
    })
    .await?;
    is_from(&first, &["miss"])?;
    is_from(&second, &["hit"])
        .because("A 404 isn't stored: whoever asks for what doesn't exist gets a call.")?;
    second.same_as(&first)?;
    is_called(g, &source, &id, 1)?;
    let word = g.word();
    source.put(g, &id, &word);
    over(g, neg).await;
    let now = it.get(target(&id)).await?.status(200).because(FOR_EVER)?;
    gives(now, &body(&id, &word), &["miss"])?;
    Ok(())
}

/// Asks for many ids that don't exist, and then what is still remembered: of the items all, of the others few.
async fn flood(g: &Grader) -> Graded {
    const ABSENT: usize = 1_000;
    /// One of so many is asked for again.
    const EACH: usize = 10;
    let source = Source::open(g)?;
    let it = start(g, &source, Times::long(g)).await?;
    let [word, prefix] = g.words();
    let items: [String; 3] = g.words();
    source.put_all(g, &items, &word);
    for id in &items {
        gives(it.get(target(id)).await?, &body(id, &word), &["miss"])?;
    }
    g.line(format!("for n in $(seq {ABSENT}); do curl -s http://127.0.0.1:$PORT/item/{prefix}$n; done"));
    ask_for_absent(g, &it, (1..=ABSENT).map(|n| format!("{prefix}{n}"))).await?;
    for id in &items {
        gives(it.get(target(id)).await?, &body(id, &word), &["hit"])
            .because("Items and absences share one bound, and the flood pushes items out.")?;
    }
    g.line(format!(
        "for n in $(seq {EACH} {EACH} {ABSENT}); do curl -i http://127.0.0.1:$PORT/item/{prefix}$n; done"
    ));
    let asked = ABSENT / EACH;
    let hits = ask_for_absent(g, &it, (1..=asked).map(|n| format!("{prefix}{}", n * EACH))).await?;
    if hits <= asked / 2 {
        return Ok(());
    }
    it.get(target(&format!("{prefix}{EACH}"))).await?;
    let what = format!("answers with X-Cache: hit, of {asked} that are spread over {ABSENT} absences");
    let expected = format!("about {}, since 200 absences are remembered at the most", 200 * asked / ABSENT);
    Err(g.wrong(what, expected, hits).because("Absences are stored without a bound."))
}

/// Asks for what doesn't exist; returns how many answers came from memory.
async fn ask_for_absent(g: &Grader, it: &Subject, ids: impl Iterator<Item = String>) -> Graded<usize> {
    let client = g.lab().client("grader", it.addr());
    let mut answers = stream::iter(ids.map(|id| client.get(target(&id)).into_future())).buffer_unordered(8);
    let mut hits = 0;
    while let Some(answer) = answers.next().await {
        let what = "the answer about an id that doesn't exist";
        let reply = answer.map_err(|none| g.wrong(what, "404", none.why))?;
        g.expect(what, reply.status.as_u16(), 404)?;
        hits += usize::from(reply.header("X-Cache") == Some("hit"));
    }
    Ok(hits)
}

async fn gives_up(g: &Grader) -> Graded {
    let source = Source::open(g)?;
    let it = start(g, &source, Times::long(g)).await?;
    let [id, word] = g.words();
    source.put(g, &id, &word);
    g.note("SOURCE keeps its answer back");
    let held = source.server.hold(|_| true);
    g.line(format!(
        "curl -i -m 0.5 http://127.0.0.1:$PORT{} & sleep 0.1  # it hangs up while the others wait",
        target(&id)
    ));
    let mut first = TcpStream::connect(it.addr()).await.map_err(anyhow::Error::from)?;
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", target(&id), it.addr());
    first.write_all(request.as_bytes()).await.map_err(anyhow::Error::from)?;
    source.until_called(&id, 1).await;
    is_called(g, &source, &id, 1)?;

    let waits = (0..5).map(|_| it.get(target(&id)).deadline(AT_ONCE).into_future());
    let (answers, ()) = tokio::join!(join_all(waits), async {
        tokio::time::sleep(CROWD).await;
        drop(first);
        tokio::time::sleep(CROWD).await;
        g.note("SOURCE answers");
        held.open();
    });
    for answer in answers {
        gives(answer.because(ENDS)?, &body(&id, &word), &["wait", "hit"]).because(ENDS)?;
    }
    is_called(g, &source, &id, 1).because(ENDS)
}
