//! What each strategy is put to: a trace of reads and writes, a read right after a write, an entry whose time is over, and a
//! cache that dies.

use super::plumbing::{LIFETIME, Plumbing, REFRESH_FROM, Strategy};
use super::{Conduct, Observed, Params};
use crate::prelude::*;
use backlab_parts::Exit;
use backlab_parts::redis::Redis;
use rand::RngExt;

/// What went to and fro.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Traffic {
    pub asked: u64,
    pub acknowledged: u64,
    /// Reads and writes of the database.
    pub reads: u64,
    pub writes: u64,
    /// Commands that Redis counted.
    pub commands: u64,
    /// Reads that gave an older value than the newest acknowledged one.
    pub stale: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Expired {
    pub plain: u64,
    pub ahead: u64,
    /// How old the entry was in the end, in operations, if nobody renewed it.
    pub age: u64,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Crash {
    pub by_sigkill: bool,
    pub acknowledged: u64,
    /// Keys that were written after the last flush.
    pub unflushed: Vec<u64>,
    /// Keys of which the database hasn't the newest acknowledged value.
    pub lost: Vec<u64>,
}

enum Operation {
    Read(u64),
    Write(u64),
}

/// The same for every strategy.
fn trace(lab: &Lab, p: &Params) -> Vec<Operation> {
    let mut rng = lab.rng("trace");
    let mut one = || {
        let key = rng.random_range(1..=p.hot_keys);
        if rng.random_range(0..100) < p.write_percent { Operation::Write(key) } else { Operation::Read(key) }
    };
    (0..p.operations).map(|_| one()).collect()
}

pub async fn traffic(lab: &Lab, p: &Params, redis: &Redis, strategy: Strategy) -> Result<Traffic> {
    lab.step(format_args!("{}: {} reads and writes of {} keys", strategy.name(), p.operations, p.hot_keys));
    let mut plumbing = Plumbing::open(lab, p, redis, strategy).await?;
    let commands = async || anyhow::Ok(redis.info("total_commands_processed").await?.trim().parse::<u64>()?);
    let (before, (reads, writes)) = (commands().await?, plumbing.load_of_database().await?);
    let (mut seen, mut newest) = (Traffic::default(), BTreeMap::new());
    for (n, operation) in trace(lab, p).into_iter().enumerate() {
        match operation {
            Operation::Read(key) => {
                let value = plumbing.read(key).await?;
                seen.asked += 1;
                seen.stale += u64::from(newest.get(&key).is_some_and(|newest| value < *newest));
            }
            Operation::Write(key) => {
                let value = n as i64 + 1;
                plumbing.write(key, value).await?;
                seen.acknowledged += 1;
                newest.insert(key, value);
            }
        }
    }
    plumbing.flush().await?;
    let (all_reads, all_writes) = plumbing.load_of_database().await?;
    // Of the reads one is the look at the counter itself.
    (seen.reads, seen.writes) = (all_reads - reads - 1, all_writes - writes);
    seen.commands = commands().await? - before - 1;
    Ok(seen)
}

pub async fn read_after_write(lab: &Lab, p: &Params, redis: &Redis, strategy: Strategy) -> Result<u64> {
    let mut plumbing = Plumbing::open(lab, p, redis, strategy).await?;
    plumbing.read(1).await?;
    plumbing.write(1, 1).await?;
    costs(&mut plumbing).await
}

/// How many reads of the database one read of key 1 costs, and that it is right.
async fn costs(plumbing: &mut Plumbing) -> Result<u64> {
    let (before, _) = plumbing.load_of_database().await?;
    plumbing.read(1).await?;
    let (after, _) = plumbing.load_of_database().await?;
    Ok(after - before - 1)
}

pub async fn expire(lab: &Lab, p: &Params, redis: &Redis) -> Result<Expired> {
    lab.step("An entry comes to the end of its time, with a reader shortly before");
    let mut cost = [0, 0];
    for (cost, strategy) in cost.iter_mut().zip([Strategy::Aside, Strategy::Ahead]) {
        let mut plumbing = Plumbing::open(lab, p, redis, strategy).await?;
        plumbing.read(1).await?;
        plumbing.pass(REFRESH_FROM);
        plumbing.read(1).await?;
        plumbing.pass(LIFETIME - REFRESH_FROM);
        *cost = costs(&mut plumbing).await?;
    }
    Ok(Expired { plain: cost[0], ahead: cost[1], age: LIFETIME + 2 })
}

/// Kills Redis between two flushes.
pub async fn crashes(lab: &Lab, p: &Params) -> Result<BTreeMap<Strategy, Crash>> {
    let mut crashes = BTreeMap::new();
    let settings: &[_] = match p.build {
        Conduct::Persists => &[("appendonly", "yes"), ("appendfsync", "always")],
        _ => &[],
    };
    let mut redis = lab.redis_with("redis to kill", settings).await?;
    for strategy in [Strategy::Aside, Strategy::Through, Strategy::Around, Strategy::Behind] {
        lab.step(format_args!("{}: Redis gets SIGKILL between two flushes", strategy.name()));
        crashes.insert(strategy, crash(lab, p, &mut redis, strategy).await?);
    }
    Ok(crashes)
}

async fn crash(lab: &Lab, p: &Params, redis: &mut Redis, strategy: Strategy) -> Result<Crash> {
    let mut plumbing = Plumbing::open(lab, p, redis, strategy).await?;
    let mut newest = BTreeMap::new();
    let mut unflushed = BTreeSet::new();
    // One flush, and half the way to the next one; in each round a write.
    for n in 1..=p.flush_every * 3 / 2 {
        let key = n % p.hot_keys + 1;
        plumbing.write(key, n as i64).await?;
        newest.insert(key, n as i64);
        if n.is_multiple_of(p.flush_every) {
            unflushed.clear();
        } else {
            unflushed.insert(key);
        }
    }
    let by_sigkill = redis.kill().await? == Exit::Signal(9);
    redis.restart().await?;
    plumbing.reconnect(redis).await?;
    plumbing.flush().await?;
    let there = plumbing.in_database().await?;
    let lost =
        newest.iter().filter(|(key, value)| there.get(key) != Some(value)).map(|(key, _)| *key).collect();
    let acknowledged = p.flush_every * 3 / 2;
    Ok(Crash { by_sigkill, acknowledged, unflushed: unflushed.into_iter().collect(), lost })
}

pub fn claims(seen: &Observed) -> Vec<Claim> {
    [claims_on_traffic(seen), claims_on_moments(seen)].concat()
}

fn claims_on_traffic(seen: &Observed) -> Vec<Claim> {
    let of = |strategy| &seen.traffic[&strategy];
    let through_at_once = [Strategy::Aside, Strategy::Ahead, Strategy::Through, Strategy::Around];
    let traffic = |id, says, breaks_when| {
        let it = of(Strategy::NoCache);
        let words = format!("{} reads and {} writes through each", it.asked, it.acknowledged);
        claim(id, says, breaks_when).witness(it.asked > 0 && it.acknowledged > 0, words)
    };
    let list = |strategies: &[Strategy], figure: fn(&Traffic) -> u64| {
        strategies
            .iter()
            .map(|it| format!("{} {}", it.name(), figure(of(*it))))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let writes = of(Strategy::NoCache).acknowledged;
    let behind = of(Strategy::Behind);
    let caching = &Strategy::ALL[1..];
    let fresh = [Strategy::Aside, Strategy::Ahead, Strategy::Through, Strategy::Behind];
    vec![
        traffic(
            "writes-at-once",
            "Cache-aside, refresh-ahead, write-through and write-around send every write to the database",
            "writes of one key are merged",
        )
        .that(
            through_at_once.iter().all(|it| of(*it).writes == writes),
            list(&through_at_once, |it| it.writes),
            format!("{writes} each"),
        ),
        traffic(
            "behind-merges",
            "Write-behind sends fewer: of each key only what is newest at a flush",
            "no key is written twice",
        )
        .less(behind.writes, behind.acknowledged),
        traffic(
            "reads-saved",
            "Every cache takes reads off the database",
            "nothing is read twice before it is written",
        )
        .that(
            caching.iter().all(|it| of(*it).reads < of(Strategy::NoCache).reads),
            list(&Strategy::ALL, |it| it.reads),
            "less than without a cache",
        ),
        traffic(
            "fresh-reads",
            "With one client no read is old, except with write-around",
            "the entry is left when the database is written, or expires while only it has the write",
        )
        .equal(list(&fresh, |it| it.stale), fresh.map(|it| format!("{} 0", it.name())).join(", ")),
        traffic(
            "around-is-stale",
            "Write-around leaves the entry, and reads are old until its time is over",
            "it deletes the entry too",
        )
        .more(of(Strategy::Around).stale, 0),
    ]
}

/// A read after a write, the end of an entry's time, the death of the cache.
fn claims_on_moments(seen: &Observed) -> Vec<Claim> {
    let after = |strategies: &[Strategy]| {
        strategies
            .iter()
            .map(|it| format!("{} {}", it.name(), seen.after_write[it]))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let told = [Strategy::Aside, Strategy::Through, Strategy::Behind];
    let expected = [("cache-aside", 1), ("write-through", 0), ("write-behind", 0)];
    let crash = |id, says, breaks_when, crashes: &[&Crash]| {
        let acknowledged = crashes.first().map_or(0, |it| it.acknowledged);
        claim(id, says, breaks_when).witness(
            !crashes.is_empty() && crashes.iter().all(|it| it.by_sigkill && !it.unflushed.is_empty()),
            format!("SIGKILL after {acknowledged} acknowledged writes"),
        )
    };
    let keys = |keys: &[u64]| format!("{} keys", keys.len());
    let dead = &seen.crashes[&Strategy::Behind];
    let others: Vec<_> = seen.crashes.iter().filter(|it| *it.0 != Strategy::Behind).map(|it| it.1).collect();
    vec![
        claim(
            "after-write",
            "The first read after a write costs cache-aside a read of the database, and write-through and write-behind none",
            "the key wasn't cached, or the write leaves the entry",
        )
        .witness(seen.after_write[&Strategy::NoCache] == 1, "without a cache it costs 1")
        .equal(after(&told), expected.map(|(name, cost)| format!("{name} {cost}")).join(", ")),
        claim(
            "ahead-no-wait",
            "The first reader after an entry's time waits for the database; with refresh-ahead it doesn't",
            "nobody read the entry shortly before",
        )
        .witness(
            seen.expired.age > LIFETIME && seen.expired.plain == 1,
            format!("{} operations after it was filled, {LIFETIME} being its time", seen.expired.age),
        )
        .equal(seen.expired.ahead, 0),
        crash(
            "behind-loses",
            "When Redis dies, write-behind loses each key that was written since the last flush, although every write was \
             acknowledged",
            "Redis has it on disk",
            &[dead],
        )
        .equal(keys(&dead.lost), keys(&dead.unflushed)),
        crash(
            "others-lose-nothing",
            "Under the same crash cache-aside, write-through and write-around lose nothing",
            "the write is acknowledged before the database has it",
            &others,
        )
        .equal(others.iter().map(|it| it.lost.len()).sum::<usize>(), 0),
    ]
}

pub fn figures(seen: &Observed) -> Vec<Figure> {
    let bar = |value: u64, tone| Bar { value: value as f64, tone };
    let rows = seen.traffic.iter().map(|(strategy, it)| BarRow {
        label: strategy.name().into(),
        bars: vec![bar(it.reads, Tone::Plain), bar(it.writes, Tone::Accent), bar(it.stale, Tone::Refuted)],
    });
    let traffic = Bars {
        unit: "times".into(),
        series: ["reads of the database", "writes of the database", "old answers"].map(str::to_owned).into(),
        rows: rows.collect(),
        limit: None,
    };
    let rows = seen.crashes.iter().map(|(strategy, it)| {
        let kept = it.unflushed.iter().filter(|key| !it.lost.contains(key)).count() as u64;
        BarRow {
            label: strategy.name().into(),
            bars: vec![bar(kept, Tone::Accent), bar(it.lost.len() as u64, Tone::Refuted)],
        }
    });
    let crashes = Bars {
        unit: "keys".into(),
        series: vec!["in the database".into(), "lost".into()],
        rows: rows.collect(),
        limit: None,
    };
    let cost = |n: u64, none: &str| match n {
        0 => Cell { text: none.into(), tone: Tone::Accent },
        _ => Cell { text: "database".into(), tone: Tone::Plain },
    };
    let lost = |strategy: &Strategy| match seen.crashes.get(strategy) {
        Some(it) if it.lost.is_empty() => Cell { text: "nothing".into(), tone: Tone::Accent },
        Some(it) => Cell { text: format!("{} keys", it.lost.len()), tone: Tone::Refuted },
        None => Cell { text: "nothing".into(), tone: Tone::Soft },
    };
    let stale = |n: u64| match n {
        0 => Cell { text: "none".into(), tone: Tone::Accent },
        n => Cell { text: n.to_string(), tone: Tone::Refuted },
    };
    let row = |strategy: &Strategy| {
        vec![cost(seen.after_write[strategy], "cache"), stale(seen.traffic[strategy].stale), lost(strategy)]
    };
    let tried: Vec<_> = seen.crashes.keys().copied().collect();
    let matrix = Matrix {
        rows: tried.iter().map(|it| it.name().to_owned()).collect(),
        columns: ["read after write from", "old reads", "lost in a crash"].map(str::to_owned).into(),
        cells: tried.iter().map(row).collect(),
    };
    vec![
        Figure::new(
            "traffic",
            "The same reads and writes through each strategy. Caches save reads; only write-behind saves writes; only \
             write-around gives old answers to a single client.",
            traffic,
        ),
        Figure::new(
            "crash",
            "Keys that were written and acknowledged since the last flush, when Redis got SIGKILL. Whoever acknowledges before \
             the database has it loses it.",
            crashes,
        ),
        Figure::new(
            "choice",
            "Each write strategy pays somewhere: with a miss, with old answers, or with lost writes.",
            matrix,
        ),
    ]
}

pub fn flawless(p: &Params) -> Observed {
    let traffic = |strategy| {
        let (asked, acknowledged) = (100, 50);
        let (reads, stale) = match strategy {
            Strategy::NoCache => (asked, 0),
            Strategy::Around => (20, 5),
            _ => (20, 0),
        };
        let writes = if strategy == Strategy::Behind { 10 } else { acknowledged };
        Traffic { asked, acknowledged, reads, writes, commands: 0, stale }
    };
    let after = |strategy| match strategy {
        Strategy::NoCache | Strategy::Aside | Strategy::Ahead => 1,
        _ => 0,
    };
    let crash = |strategy| {
        let lost = if strategy == Strategy::Behind { vec![1, 2] } else { Vec::new() };
        Crash { by_sigkill: true, acknowledged: p.flush_every, unflushed: vec![1, 2], lost }
    };
    let crashed = [Strategy::Aside, Strategy::Through, Strategy::Around, Strategy::Behind];
    Observed {
        traffic: Strategy::ALL.map(|it| (it, traffic(it))).into(),
        after_write: Strategy::ALL.map(|it| (it, after(it))).into(),
        expired: Expired { plain: 1, ahead: 0, age: LIFETIME + 1 },
        crashes: crashed.map(|it| (it, crash(it))).into(),
    }
}
