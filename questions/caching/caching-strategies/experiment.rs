//! Caching strategies: the same reads and writes through six plumbings of a real Redis before a database. What reaches the
//! database, which reads are old, and what is lost when the cache dies.

use crate::prelude::*;

#[path = "plumbing.rs"]
mod plumbing;
#[path = "trials.rs"]
mod trials;

use plumbing::Strategy;

choices! {
    pub enum Conduct {
        Right = "as it should be",
        ForgetsDelete = "cache-aside doesn't delete on a write",
        Persists = "Redis logs every write, fsync always",
        ExpiresDirty = "entries expire before they are flushed",
        NeverRefreshes = "refresh-ahead comes too late",
    }
}

params! {
    /// Reads and writes that go through each strategy.
    operations: u64 = 200 in 100..=600;
    /// How many of them are writes, in percent.
    write_percent: u64 = 30 in 10..=80;
    /// Keys that are read and written.
    hot_keys: u64 = 10 in 5..=50;
    /// After how many operations write-behind writes to the database.
    flush_every: u64 = 50 in 10..=100;
    /// How it is built.
    build: Conduct = "as it should be" in ..;
}

pub struct CachingStrategies;

#[derive(Serialize)]
pub struct Observed {
    traffic: BTreeMap<Strategy, trials::Traffic>,
    /// Reads of the database by one read just after a write of a key that was cached.
    after_write: BTreeMap<Strategy, u64>,
    /// Reads of the database by the first reader after an entry's time, without refresh-ahead and with it.
    expired: trials::Expired,
    crashes: BTreeMap<Strategy, trials::Crash>,
}

impl Experiment for CachingStrategies {
    type Params = Params;
    type Observed = Observed;

    const NEEDS: &'static [&'static Part] = &[&inventory::REDIS];

    fn predict(p: &Params) -> Prediction<Observed> {
        let ask = format!(
            "Write-behind answers when Redis has a write, and writes to the database every {} operations. Redis, which keeps \
             nothing on disk, gets SIGKILL between two of those. How many of the keys that were written since the last one \
             does the database have as they were acknowledged?",
            p.flush_every
        );
        let options = &["all of them", "some of them", "none of them"];
        Prediction::choice(ask, options, |seen: &Observed| {
            let crash = &seen.crashes[&Strategy::Behind];
            match crash.lost.len() {
                0 => 0,
                lost if lost < crash.unflushed.len() => 1,
                _ => 2,
            }
        })
        .tempting(
            0,
            "Each of them was acknowledged, and that sounds like a promise. It was Redis that promised, and it kept the \
             write in memory.",
        )
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        lab.cast(["shop", "redis", "database"]);
        let redis = lab.redis("redis").await?;
        let (mut traffic, mut after_write) = (BTreeMap::new(), BTreeMap::new());
        for strategy in Strategy::ALL {
            traffic.insert(strategy, trials::traffic(lab, p, &redis, strategy).await?);
            after_write.insert(strategy, trials::read_after_write(lab, p, &redis, strategy).await?);
        }
        let expired = trials::expire(lab, p, &redis).await?;
        let crashes = trials::crashes(lab, p).await?;
        Ok(Observed { traffic, after_write, expired, crashes })
    }

    fn claims(_: &Params, seen: &Observed) -> Vec<Claim> {
        trials::claims(seen)
    }

    fn figures(_: &Params, seen: &Observed) -> Vec<Figure> {
        trials::figures(seen)
    }

    fn counterexamples(p: &Params) -> Vec<Observed> {
        let broken = |break_it: fn(&mut Observed)| {
            let mut seen = trials::flawless(p);
            break_it(&mut seen);
            seen
        };
        fn traffic(it: &mut Observed, strategy: Strategy, break_it: fn(&mut trials::Traffic)) {
            it.traffic.entry(strategy).and_modify(break_it);
        }
        vec![
            broken(|it| traffic(it, Strategy::Through, |it| it.writes -= 1)),
            broken(|it| traffic(it, Strategy::Behind, |it| it.writes = it.acknowledged)),
            broken(|it| traffic(it, Strategy::Aside, |it| it.reads = it.asked)),
            broken(|it| traffic(it, Strategy::Aside, |it| it.stale = 1)),
            broken(|it| traffic(it, Strategy::Around, |it| it.stale = 0)),
            broken(|it| *it.after_write.entry(Strategy::Through).or_default() = 1),
            broken(|it| it.expired.ahead = 1),
            broken(|it| it.crashes.entry(Strategy::Behind).or_default().lost.clear()),
            broken(|it| it.crashes.entry(Strategy::Aside).or_default().lost = vec![1]),
        ]
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "let cache-aside leave the entry when it writes",
                set: &[("build", "cache-aside doesn't delete on a write")],
                refutes: &["fresh-reads", "after-write"],
            },
            Fault {
                label: "have Redis log every write, with fsync always",
                set: &[("build", "Redis logs every write, fsync always")],
                refutes: &["behind-loses"],
            },
            Fault {
                label: "let entries expire before they are flushed",
                set: &[("build", "entries expire before they are flushed")],
                refutes: &["fresh-reads"],
            },
            Fault {
                label: "refresh entries only when their time is over",
                set: &[("build", "refresh-ahead comes too late")],
                refutes: &["ahead-no-wait"],
            },
        ]
    }
}
