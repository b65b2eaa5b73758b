//! Redis: five things that it is used for, and how each goes wrong. A counter, a lock, a script, a leaderboard, and
//! keys that are evicted or killed, on real servers.

use crate::prelude::*;

#[path = "counter.rs"]
mod counter;
#[path = "keys.rs"]
mod keys;
#[path = "lock.rs"]
mod lock;
#[path = "ranks.rs"]
mod ranks;
#[path = "turns.rs"]
mod turns;

choices! {
    /// How the careful client gives a lock back.
    pub enum Release { Compares = "compares the token", Deletes = "just deletes" }
}
choices! {
    /// What the cache does when its memory is full.
    pub enum Policy { AllKeysLru = "allkeys-lru", VolatileLru = "volatile-lru", NoEviction = "noeviction" }
}
choices! {
    /// How the server that should keep its keys writes them down.
    pub enum Log {
        FsyncAlways = "append-only file, fsync always",
        NoFsync = "append-only file, no fsync",
        Off = "nothing written",
    }
}

params! {
    /// Clients that count at the same time.
    clients: u64 = 10 in 2..=30;
    /// Increments that each of them makes.
    increments_each: u64 = 100 in 10..=200;
    /// Rounds of the slow script's loop, in millions.
    slow_loop_millions: u64 = 50 in 20..=100;
    /// How the careful client gives a lock back.
    release: Release = "compares the token" in ..;
    /// What the cache does when its memory is full.
    cache_policy: Policy = "allkeys-lru" in ..;
    /// How the server that should keep its keys writes them down.
    log: Log = "append-only file, fsync always" in ..;
}

pub struct RedisUses;

#[derive(Debug, Clone, Serialize)]
pub struct Observed {
    counter: counter::Seen,
    careless: lock::Seen,
    careful: lock::Seen,
    whole: turns::Seen,
    cut: turns::Seen,
    ranks: ranks::Seen,
    bounded: keys::Full,
    cache: keys::Full,
    forgetful: keys::Killed,
    logged: keys::Killed,
}

impl Experiment for RedisUses {
    type Params = Params;
    type Observed = Observed;

    const NEEDS: &'static [&'static Part] = &[&inventory::REDIS];

    fn predict(p: &Params) -> Prediction<Observed> {
        let all = p.clients * p.increments_each;
        let ask = format!(
            "{} clients each do {} times: GET n, add one, SET n. They go in lockstep: in every round all have read \
             before any writes. That is {all} increments. Where does n end?",
            p.clients, p.increments_each
        );
        Prediction::number(ask, "increments", |seen: &Observed| seen.counter.lockstep).tempting(
            all,
            "each GET and each SET is atomic, so the pair feels atomic too; but all clients write the same sum",
        )
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        let redis = lab.redis("redis").await?;
        Ok(Observed {
            counter: counter::observe(lab, &redis, p).await?,
            careless: lock::observe(lab, &redis, Release::Deletes).await?,
            careful: lock::observe(lab, &redis, p.release).await?,
            whole: turns::observe(lab, &redis, 1, p.slow_loop_millions).await?,
            cut: turns::observe(lab, &redis, turns::PIECES, p.slow_loop_millions).await?,
            ranks: ranks::observe(lab, &redis).await?,
            bounded: keys::fill(lab, "bounded", Policy::NoEviction).await?,
            cache: keys::fill(lab, "cache", p.cache_policy).await?,
            forgetful: keys::kill(lab, "forgetful", Log::Off).await?,
            logged: keys::kill(lab, "logged", p.log).await?,
        })
    }

    fn claims(p: &Params, seen: &Observed) -> Vec<Claim> {
        let mut claims = counter::claims(p, &seen.counter);
        claims.extend(lock::claims(&seen.careless, &seen.careful));
        claims.extend(turns::claims(&seen.whole, &seen.cut));
        claims.extend(ranks::claims(&seen.ranks));
        claims.extend(keys::claims(seen));
        claims
    }

    fn figures(p: &Params, seen: &Observed) -> Vec<Figure> {
        vec![
            counter::figure(p, &seen.counter),
            lock::figure(&seen.careless, &seen.careful),
            turns::figure(&seen.whole, &seen.cut),
            ranks::figure(&seen.ranks),
            keys::figure(seen),
        ]
    }

    fn counterexamples(p: &Params) -> Vec<Observed> {
        let as_claimed = Observed {
            counter: counter::Seen::as_claimed(p),
            careless: lock::Seen::careless(),
            careful: lock::Seen::careful(),
            whole: turns::Seen::whole(),
            cut: turns::Seen::cut(),
            ranks: ranks::Seen::as_claimed(),
            bounded: keys::Full::refusing(),
            cache: keys::Full::evicting(),
            forgetful: keys::Killed::left(0),
            logged: keys::Killed::left(keys::WRITTEN),
        };
        let broken = |change: fn(&mut Observed)| {
            let mut seen = as_claimed.clone();
            change(&mut seen);
            seen
        };
        vec![
            broken(|it| it.counter.lockstep = it.counter.incr),
            broken(|it| it.counter.incr -= 1),
            broken(|it| it.counter.watch -= 1),
            broken(|it| it.careless = lock::Seen::careful()),
            broken(|it| it.careful = lock::Seen::careless()),
            broken(|it| it.careful.fenced_by = "A".into()),
            broken(|it| it.whole = turns::Seen::overtaken()),
            broken(|it| it.cut = turns::Seen::starved()),
            broken(|it| it.ranks.differ = 1),
            broken(|it| it.bounded = keys::Full::evicting()),
            broken(|it| it.cache = keys::Full::refusing()),
            broken(|it| it.forgetful = keys::Killed::left(1)),
            broken(|it| it.logged = keys::Killed::left(keys::WRITTEN - 1)),
        ]
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "let the careful client delete the lock without looking whose it is",
                set: &[("release", "just deletes")],
                refutes: &["token-release"],
            },
            Fault {
                label: "let the cache evict only keys that have an expiry; none has one",
                set: &[("cache_policy", "volatile-lru")],
                refutes: &["lru-evicts"],
            },
            Fault {
                label: "write nothing down, and send SIGKILL",
                set: &[("log", "nothing written")],
                refutes: &["log-keeps"],
            },
        ]
    }
}
