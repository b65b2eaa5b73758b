//! What becomes of keys when memory is full, and when the process is killed.

use super::{Log, Observed, Policy};
use crate::prelude::*;
use backlab_parts::Exit;
use redis::RedisResult;

/// Keys that are there before the flood, and those of the flood.
const OLD: u64 = 100;
const FLOOD: u64 = 500;
/// Bytes of each value: OLD of them fit into [`MEMORY`], all do not.
const BYTES: usize = 10_000;
const MEMORY: &str = "4mb";
/// Writes that are sent together.
const BATCH: usize = 10;
/// Keys that are acknowledged before the kill.
pub const WRITTEN: u64 = 100;

/// A server whose memory was filled.
#[derive(Debug, Clone, Serialize)]
pub struct Full {
    pub policy: String,
    pub acknowledged: u64,
    /// Writes that were answered with the error OOM.
    pub refused: u64,
    /// Keys from before the flood that are there after it.
    pub old_left: u64,
    pub keys_left: u64,
}

/// A server that was killed and started again.
#[derive(Debug, Clone, Serialize)]
pub struct Killed {
    pub log: String,
    pub acknowledged: u64,
    /// Whether SIGKILL ended the process.
    pub by_sigkill: bool,
    pub keys_left: u64,
}

pub async fn fill(lab: &Lab, name: &str, policy: Policy) -> Result<Full> {
    let policy = policy.word();
    lab.step(format_args!("Memory is full: 4 MB, {policy}"));
    let redis = lab.redis_with(name, &[("maxmemory", MEMORY), ("maxmemory-policy", policy)]).await?;
    let mut client = redis.client("A").await?;
    let value = "x".repeat(BYTES);
    let names = (0..OLD).map(|n| format!("old:{n}")).chain((0..FLOOD).map(|n| format!("new:{n}")));
    let names: Vec<_> = names.collect();
    let (mut acknowledged, mut refused) = (0, 0);
    for batch in names.chunks(BATCH) {
        let mut writes = redis::pipe();
        batch.iter().for_each(|name| {
            writes.set(name, &value);
        });
        let answers: Vec<RedisResult<()>> = writes.ignore_errors().query_async(&mut client).await?;
        for answer in answers {
            match answer {
                Ok(()) => acknowledged += 1,
                Err(error) if error.code() == Some("OOM") => refused += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
    let old = names[..OLD as usize].join(" ");
    let old_left = client.run(&format!("EXISTS {old}")).await?;
    let keys_left = client.run("DBSIZE").await?;
    Ok(Full { policy: policy.into(), acknowledged, refused, old_left, keys_left })
}

pub async fn kill(lab: &Lab, name: &str, log: Log) -> Result<Killed> {
    lab.step(format_args!("SIGKILL: {}", log.word()));
    let settings: &[_] = match log {
        Log::FsyncAlways => &[("appendonly", "yes"), ("appendfsync", "always")],
        Log::NoFsync => &[("appendonly", "yes"), ("appendfsync", "no")],
        Log::Off => &[],
    };
    let mut redis = lab.redis_with(name, settings).await?;
    let mut client = redis.client("A").await?;
    let mut acknowledged = 0;
    while acknowledged < WRITTEN {
        let mut writes = redis::pipe();
        (0..BATCH).for_each(|n| {
            writes.set(format!("order:{}", acknowledged + n as u64), "paid");
        });
        acknowledged += writes.query_async::<Vec<String>>(&mut client).await?.len() as u64;
    }
    let by_sigkill = redis.kill().await? == Exit::Signal(9);
    redis.restart().await?;
    let keys_left = redis.client("A").await?.run("DBSIZE").await?;
    Ok(Killed { log: log.word().into(), acknowledged, by_sigkill, keys_left })
}

pub fn claims(seen: &Observed) -> Vec<Claim> {
    let Observed { bounded, cache, forgetful, logged, .. } = seen;
    let flood = |it: &Full| format!("{} writes of {BYTES} bytes into {MEMORY}", it.acknowledged + it.refused);
    let offered = |it: &Full| (it.acknowledged + it.refused) * BYTES as u64 > 4 << 20;
    let words = |it: &Full| format!("{} writes refused, {} of {OLD} old keys there", it.refused, it.old_left);
    let left = |it: &Killed, left: u64| format!("{left} of {} keys", it.acknowledged);
    let killed = |it: &Killed| format!("SIGKILL after {} acknowledged writes", it.acknowledged);
    vec![
        claim(
            "noeviction-refuses",
            "When memory is full, noeviction refuses writes and keeps every old key",
            "a policy evicts",
        )
        .witness(offered(bounded), flood(bounded))
        .that(
            bounded.refused > 0 && bounded.old_left == OLD,
            words(bounded),
            format!("more than 0 refused, all {OLD} there"),
        ),
        claim(
            "lru-evicts",
            "When memory is full, allkeys-lru takes every write, and earlier keys are gone",
            "only keys with an expiry may be evicted, and none has one",
        )
        .witness(offered(cache), flood(cache))
        .that(
            cache.refused == 0 && cache.old_left < OLD,
            words(cache),
            format!("0 refused, fewer than {OLD} there"),
        ),
        claim(
            "kill-forgets",
            "Without persistence a killed server comes back empty",
            "it had written a snapshot",
        )
        .witness(forgetful.by_sigkill, killed(forgetful))
        .equal(left(forgetful, forgetful.keys_left), left(forgetful, 0)),
        claim(
            "log-keeps",
            "With an append-only file every acknowledged write outlives SIGKILL",
            "nothing is written before the answer",
        )
        .witness(logged.by_sigkill, killed(logged))
        .equal(left(logged, logged.keys_left), left(logged, logged.acknowledged)),
    ]
}

pub fn figure(seen: &Observed) -> Figure {
    let row = |label: String, acknowledged: u64, left: u64| {
        let tone = if left < acknowledged { Tone::Refuted } else { Tone::Plain };
        let bar = |value: u64, tone| Bar { value: value as f64, tone };
        BarRow { label, bars: vec![bar(acknowledged, Tone::Soft), bar(left, tone)] }
    };
    let full = |it: &Full| {
        row(format!("full, {}: {} refused", it.policy, it.refused), it.acknowledged, it.keys_left)
    };
    let killed = |it: &Killed| row(format!("killed, {}", it.log), it.acknowledged, it.keys_left);
    let bars = Bars {
        unit: "keys".into(),
        series: vec!["acknowledged".into(), "there afterwards".into()],
        rows: vec![full(&seen.bounded), full(&seen.cache), killed(&seen.forgetful), killed(&seen.logged)],
        limit: None,
    };
    let caption = "What was acknowledged, and what is there afterwards. noeviction refuses and keeps; an evicting \
                   cache acknowledges and forgets; SIGKILL takes whatever no log holds.";
    Figure::new("keys", caption, bars)
}

impl Full {
    pub fn refusing() -> Self {
        Self { policy: "noeviction".into(), acknowledged: 250, refused: 350, old_left: OLD, keys_left: 250 }
    }

    pub fn evicting() -> Self {
        Self { policy: "allkeys-lru".into(), acknowledged: 600, refused: 0, old_left: 0, keys_left: 250 }
    }
}

impl Killed {
    pub fn left(keys_left: u64) -> Self {
        Self { log: String::new(), acknowledged: WRITTEN, by_sigkill: true, keys_left }
    }
}
