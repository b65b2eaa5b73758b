//! Cache invalidation: every order in which the steps of readers and writers can come, and what is left in the cache after
//! each. The order that ends badly is then made to happen on real servers, before a real database.

use crate::prelude::*;

#[path = "orders.rs"]
mod orders;
#[path = "shop.rs"]
mod shop;

choices! {
    /// What a writer does, and in which order.
    #[derive(Serialize)]
    pub enum Protocol {
        DeleteFirst = "delete, then write",
        WriteFirst = "write, then delete",
        Set = "write, then set",
        Twice = "delete, write, delete",
        Leases = "write, then delete, with leases",
    }
}

choices! {
    #[derive(Serialize)]
    pub enum Start { Empty = "empty", Warm = "warm" }
}

choices! {
    pub enum Build {
        Right = "as it should be",
        TakesAnyFill = "leases aren't compared",
        ForgetsOutbox = "the outbox isn't read at the start",
    }
}

params! {
    /// What a writer does.
    protocol: Protocol = "write, then delete" in ..;
    /// Readers, each of whom looks up, reads and fills.
    readers: u64 = 1 in 1..=2;
    /// Writers, each of whom writes another value.
    writers: u64 = 1 in 1..=2;
    /// What the cache has when it begins.
    cache_at_start: Start = "empty" in ..;
    /// How it is built.
    build: Build = "as it should be" in ..;
}

pub struct CacheInvalidation;

#[derive(Serialize)]
pub struct Observed {
    /// The chosen protocol, with as many readers and writers as were chosen.
    chosen: orders::Tried,
    /// Every protocol with one reader, and one writer or two.
    all: Vec<orders::Tried>,
    /// Leases, with every number of readers and writers.
    leases: Vec<orders::Tried>,
    /// The bad order on real servers, without leases and with them.
    plain: shop::Raced,
    leased: shop::Raced,
    /// A delete that got lost.
    lost: shop::Lost,
}

impl Experiment for CacheInvalidation {
    type Params = Params;
    type Observed = Observed;

    fn predict(p: &Params) -> Prediction<Observed> {
        let count = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let ask = format!(
            "{} (look up, read the database, fill) and {} ({}), and a cache that is {} at first. Their steps can come in {} \
             orders. After how many of them does an old value stay in the cache?",
            count(p.readers, "reader"),
            count(p.writers, "writer"),
            p.protocol.word(),
            p.cache_at_start.word(),
            orders::count(p.protocol, p.readers, p.writers),
        );
        let (tempting, because) = match p.protocol {
            Protocol::Leases => (
                1,
                "The one bad order seems to be left; but there the fill comes with a lease that was cancelled.",
            ),
            _ => (
                0,
                "One looks at the writer: it does all that it should. The reader is the one who comes too late.",
            ),
        };
        Prediction::number(ask, "orders", |seen: &Observed| seen.chosen.stale).tempting(tempting, because)
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        lab.cast(["reader", "shop", "office", "database"]);
        lab.step("Every order of the steps, one after the other");
        let tried =
            |protocol, readers, writers, start| orders::tried(protocol, readers, writers, start, p.build);
        let starts = Start::ALL.iter().map(|it| it.0);
        let mut all = Vec::new();
        for (protocol, _) in Protocol::ALL {
            for writers in 1..=2 {
                all.extend(starts.clone().map(|start| tried(*protocol, 1, writers, start)));
            }
        }
        let mut leases = Vec::new();
        for (readers, writers) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
            leases.extend(starts.clone().map(|start| tried(Protocol::Leases, readers, writers, start)));
        }
        Ok(Observed {
            chosen: tried(p.protocol, p.readers, p.writers, p.cache_at_start),
            all,
            leases,
            plain: shop::race(lab, p, false).await?,
            leased: shop::race(lab, p, true).await?,
            lost: shop::lose(lab, p).await?,
        })
    }

    fn claims(_: &Params, seen: &Observed) -> Vec<Claim> {
        let mut claims = orders::claims(seen);
        claims.extend(shop::claims(&seen.plain, &seen.leased, &seen.lost));
        claims
    }

    fn figures(p: &Params, seen: &Observed) -> Vec<Figure> {
        let mut figures = vec![orders::deck(p, &seen.chosen), orders::matrix(&seen.all)];
        figures.extend(orders::sequence(&seen.chosen));
        figures.push(shop::figure(&seen.plain, &seen.leased, &seen.lost));
        figures
    }

    fn counterexamples(_: &Params) -> Vec<Observed> {
        let broken = |break_it: fn(&mut Observed)| {
            let mut seen = flawless();
            break_it(&mut seen);
            seen
        };
        vec![
            broken(|it| it.at(Protocol::DeleteFirst, 1, Start::Empty).stale = 1),
            broken(|it| it.at(Protocol::WriteFirst, 1, Start::Empty).stale = 0),
            broken(|it| it.at(Protocol::WriteFirst, 2, Start::Warm).stale = 0),
            broken(|it| it.at(Protocol::Set, 2, Start::Warm).stale = 0),
            broken(|it| it.at(Protocol::Twice, 1, Start::Empty).stale = 0),
            broken(|it| it.leases[7].stale = 1),
            broken(|it| it.plain.later = vec![it.plain.now; 3]),
            broken(|it| it.leased.later = vec![it.leased.old; 3]),
            broken(|it| it.lost.before = it.lost.now),
            broken(|it| it.lost.with_outbox = it.lost.old),
            broken(|it| it.lost.with_ttl = it.lost.old),
        ]
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "let a fill in without comparing its lease",
                set: &[("build", "leases aren't compared")],
                refutes: &["leases-none", "lease-refuses"],
            },
            Fault {
                label: "write the outbox and don't read it",
                set: &[("build", "the outbox isn't read at the start")],
                refutes: &["outbox-repairs"],
            },
        ]
    }
}

impl Observed {
    fn of(&self, protocol: Protocol, writers: u64, start: Start) -> &orders::Tried {
        &self.all[self.place(protocol, writers, start)]
    }

    fn at(&mut self, protocol: Protocol, writers: u64, start: Start) -> &mut orders::Tried {
        let place = self.place(protocol, writers, start);
        &mut self.all[place]
    }

    fn place(&self, protocol: Protocol, writers: u64, start: Start) -> usize {
        let it = |tried: &orders::Tried| {
            (tried.protocol, tried.writers, tried.start) == (protocol, writers, start)
        };
        self.all.iter().position(it).unwrap_or(0)
    }
}

/// What is seen of protocols and servers that do what they should. The orders are counted and not made up: they take no
/// part of the machine.
fn flawless() -> Observed {
    let tried =
        |protocol, readers, writers, start| orders::tried(protocol, readers, writers, start, Build::Right);
    let starts = [Start::Empty, Start::Warm];
    let sizes = Protocol::ALL.iter().flat_map(|it| [(it.0, 1), (it.0, 2)]);
    Observed {
        chosen: tried(Protocol::WriteFirst, 1, 1, Start::Empty),
        all: sizes
            .flat_map(|(protocol, writers)| starts.map(|start| tried(protocol, 1, writers, start)))
            .collect(),
        leases: vec![tried(Protocol::Leases, 1, 1, Start::Empty); 8],
        plain: shop::Raced::flawless(false),
        leased: shop::Raced::flawless(true),
        lost: shop::Lost::flawless(),
    }
}
