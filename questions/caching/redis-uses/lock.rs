//! A lock: A takes it for a short while, stalls until its lease is over, and wakes up believing that it still has it.

use super::Release;
use crate::prelude::*;
use backlab_parts::redis::Redis;
use std::time::Instant;

/// How long A may hold the lock.
const LEASE: Duration = Duration::from_millis(50);
/// The pause between two attempts of B.
const RETRY: Duration = Duration::from_millis(5);
/// Attempts after which B gives up.
const MOST_ATTEMPTS: usize = 2_000;

/// Deletes the lock only where it still holds the caller's token.
const RELEASE: &str = "
    if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
    return 0";
/// Writes only where no later holder of the lock has written before.
const FENCED_WRITE: &str = "
    if tonumber(ARGV[1]) < tonumber(redis.call('HGET', KEYS[1], 'fence') or 0) then return 0 end
    redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'by', ARGV[2])
    return 1";

#[derive(Debug, Clone, Serialize)]
pub struct Seen {
    /// Who had the lock just before A released it.
    pub holder: String,
    /// What A's release removed.
    pub released: u64,
    /// Whether C then got the lock, which B believes to have.
    pub c_got_it: bool,
    /// Who wrote last: to a place without protection, and to one that compares fencing numbers.
    pub written_by: String,
    pub fenced_by: String,
    /// When things happened, in milliseconds since A took the lock.
    pub at: Times,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Times {
    pub b_took: f64,
    pub a_released: f64,
    pub end: f64,
}

pub async fn observe(lab: &Lab, redis: &Redis, release: Release) -> Result<Seen> {
    lab.step(format_args!("Lock: A stalls beyond its lease, B takes over; A's release {}", release.word()));
    let (a, b, c) = (redis.client("A").await?, redis.client("B").await?, redis.client("C").await?);
    a.run::<()>("DEL lock fence plain fenced").await?;

    let lease = format!("SET lock A NX PX {}", LEASE.as_millis());
    a.run::<Option<String>>(&lease).await?.context("A finds a lock that nobody took")?;
    let taken = Instant::now();
    let ms = || taken.elapsed().as_secs_f64() * 1000.0;
    let a_fence: u64 = a.run("INCR fence").await?;

    // A stalls: a long pause for garbage, a suspended machine. B asks until the lease is over.
    let mut attempts = 0;
    while b.run::<Option<String>>("SET lock B NX PX 60000").await?.is_none() {
        attempts += 1;
        ensure!(attempts < MOST_ATTEMPTS, "A's lease doesn't end");
        tokio::time::sleep(RETRY).await;
    }
    let b_took = ms();
    let b_fence: u64 = b.run("INCR fence").await?;
    b.run::<()>("SET plain B").await?;
    write(&b, b_fence).await?;

    // A wakes up, ends its work and releases "its" lock.
    a.run::<()>("SET plain A").await?;
    write(&a, a_fence).await?;
    let holder = a.run("GET lock").await?;
    let mut script = redis::cmd("EVAL");
    script.arg(RELEASE).arg(1).arg("lock").arg("A");
    let released = match release {
        Release::Deletes => a.run("DEL lock").await?,
        Release::Compares => script.query_async(&mut a.clone()).await?,
    };
    let a_released = ms();
    let c_got_it = c.run::<Option<String>>("SET lock C NX PX 60000").await?.is_some();

    let written_by = c.run("GET plain").await?;
    let fenced_by = c.run::<Option<String>>("HGET fenced by").await?.unwrap_or_else(|| "nobody".into());
    let at = Times { b_took, a_released, end: ms() };
    Ok(Seen { holder, released, c_got_it, written_by, fenced_by, at })
}

/// Writes the client's name with its fencing number.
async fn write(client: &backlab_parts::redis::Client, fence: u64) -> Result<u64> {
    let mut script = redis::cmd("EVAL");
    script.arg(FENCED_WRITE).arg(1).arg("fenced").arg(fence).arg(client.name());
    Ok(script.query_async(&mut client.clone()).await?)
}

pub fn claims(careless: &Seen, careful: &Seen) -> Vec<Claim> {
    let late = |seen: &Seen| (seen.holder == "B", format!("{} had the lock when A released it", seen.holder));
    let words = |released, c_got_it| {
        format!("A removed {released}, C {} the lock", if c_got_it { "got" } else { "did not get" })
    };
    let ((stolen, whose), (kept, still)) = (late(careless), late(careful));
    vec![
        claim(
            "del-steals",
            "A late DEL removes the next holder's lock, and lets a third client in beside it",
            "the lock's owner is compared before it is removed",
        )
        .witness(stolen, whose)
        .equal(words(careless.released, careless.c_got_it), words(1, true)),
        claim(
            "token-release",
            "A release that compares the token leaves the next holder's lock alone",
            "the release is a plain DEL",
        )
        .witness(kept, still.clone())
        .equal(words(careful.released, careful.c_got_it), words(0, false)),
        claim(
            "fence-refuses",
            "The late holder's write lands on the next one's, unless the store compares fencing numbers",
            "the store takes a write with an older number",
        )
        .witness(kept && careful.written_by == "A", format!("{still}; unprotected, A's write was the last"))
        .equal(format!("last write by {}", careful.fenced_by), "last write by B".to_owned()),
    ]
}

pub fn figure(careless: &Seen, careful: &Seen) -> Figure {
    let mut timeline = Timeline { unit: "ms".into(), ..Timeline::default() };
    for (seen, how) in [(careless, "plain DEL"), (careful, "the careful release")] {
        let Times { b_took, a_released, end } = seen.at;
        let span = |from, to, label: &str, tone| Span { from, to, label: label.into(), tone };
        let lane = |name, spans| Lane { name: format!("{name}, {how}"), spans, moments: Vec::new() };
        let twice = if seen.c_got_it { Tone::Refuted } else { Tone::Plain };
        timeline.lanes.push(lane(
            "A",
            vec![
                span(0.0, b_took, "holds the lock", Tone::Plain),
                span(b_took, a_released, "believes it does", Tone::Refuted),
            ],
        ));
        timeline.lanes.push(lane("B", vec![span(b_took, end, "holds the lock", twice)]));
        let c = if seen.c_got_it { vec![span(a_released, end, "holds it too", twice)] } else { vec![] };
        timeline.lanes.push(lane("C", c));
    }
    let caption = "A's lease ends while A stalls, and B takes over. A plain DEL by A then frees B's lock, so that B \
                   and C hold it together. A release that compares the token removes nothing; that A believed in \
                   its lock after the lease remains.";
    Figure::new("lock", caption, timeline)
}

impl Seen {
    pub fn careless() -> Self {
        Self { released: 1, c_got_it: true, ..Self::careful() }
    }

    pub fn careful() -> Self {
        let at = Times { b_took: 50.0, a_released: 51.0, end: 52.0 };
        let [holder, written_by, fenced_by] = ["B", "A", "B"].map(str::to_owned);
        Self { holder, released: 0, c_got_it: false, written_by, fenced_by, at }
    }
}
