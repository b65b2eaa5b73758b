//! Caching query results: which of them a write makes wrong, and what a transaction may put among them. A shop's queries go
//! through a cache to a real SQLite, and each answer is compared with the database's own.

use crate::prelude::*;

#[path = "cache.rs"]
mod cache;
#[path = "moments.rs"]
mod moments;
#[path = "traffic.rs"]
mod traffic;

use cache::Tags;

choices! {
    pub enum Conduct {
        Right = "as it should be",
        ForgetsPredicates = "lists are tagged by their rows only",
        TrustsTransactions = "fills and invalidates inside the transaction",
        ForgetsTenant = "the key has no tenant",
        LooksAway = "doesn't look at data_version",
    }
}

params! {
    /// Different queries that are asked: two in three for one product, the others for lists.
    queries: u64 = 60 in 20..=200;
    /// How many reads there are.
    reads: u64 = 400 in 200..=1000;
    /// Writes for each hundred reads; every other one inserts a product.
    writes_percent: u64 = 5 in 2..=20;
    /// How the cache is built.
    build: Conduct = "as it should be" in ..;
}

pub struct QueryResultCaching;

#[derive(Serialize)]
pub struct Observed {
    /// Without writes: without a cache, and with one.
    quiet: traffic::Quiet,
    traffic: BTreeMap<Tags, traffic::Seen>,
    inserted: BTreeMap<Tags, traffic::Inserted>,
    inside: moments::Transaction,
    after: moments::Transaction,
    tenants: moments::Tenants,
    foreign: moments::Foreign,
}

impl Experiment for QueryResultCaching {
    type Params = Params;
    type Observed = Observed;

    fn predict(_: &Params) -> Prediction<Observed> {
        let ask = "The ten cheapest products are cached, with a tag for each row that is in the list; a write removes what has \
                   its row's tag. Now a product is inserted that is cheaper than all of them. What does the next reader of the \
                   list get?";
        Prediction::choice(ask, &["the list with the new product", "the old list"], |seen: &Observed| {
            usize::from(seen.inserted[&Tags::Rows].is_old)
        })
        .tempting(
            0,
            "Every row that is in the list is watched. The new one isn't in it, so nobody thought of putting its tag there.",
        )
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        lab.cast(["shop", "database"]);
        let (mut all, mut inserted) = (BTreeMap::new(), BTreeMap::new());
        let quiet = traffic::quiet(lab, p).await?;
        for tags in Tags::ALL {
            all.insert(tags, traffic::observe(lab, p, tags).await?);
            inserted.insert(tags, traffic::insert(lab, p, tags).await?);
        }
        Ok(Observed {
            quiet,
            traffic: all,
            inserted,
            inside: moments::transaction(lab, "inside", true).await?,
            after: moments::transaction(lab, "after", p.build == Conduct::TrustsTransactions).await?,
            tenants: moments::tenants(lab, p).await?,
            foreign: moments::foreign(lab, p).await?,
        })
    }

    fn claims(_: &Params, seen: &Observed) -> Vec<Claim> {
        let mut claims = traffic::claims(&seen.quiet, &seen.traffic, &seen.inserted);
        claims.extend(moments::claims(&seen.inside, &seen.after));
        claims.extend(moments::claims_on_others(&seen.tenants, &seen.foreign));
        claims
    }

    fn figures(_: &Params, seen: &Observed) -> Vec<Figure> {
        vec![
            traffic::figure(&seen.traffic),
            traffic::matrix(&seen.traffic, &seen.inserted),
            moments::figure(&seen.inside, &seen.after),
        ]
    }

    fn counterexamples(_: &Params) -> Vec<Observed> {
        let broken = |break_it: fn(&mut Observed)| {
            let (quiet, traffic, inserted) = traffic::flawless();
            let (inside, after) = moments::Transaction::flawless();
            let (tenants, foreign) = (moments::Tenants::flawless(), moments::Foreign::flawless());
            let mut seen = Observed { quiet, traffic, inserted, inside, after, tenants, foreign };
            break_it(&mut seen);
            seen
        };
        vec![
            broken(|it| it.quiet.with += 1),
            broken(|it| it.inserted.entry(Tags::Rows).or_default().is_old = false),
            broken(|it| it.traffic.entry(Tags::Table).or_default().stale = 1),
            broken(|it| it.traffic.entry(Tags::Predicates).or_default().stale = 1),
            broken(|it| it.inside.later = it.inside.before),
            broken(|it| it.inside.raced = it.inside.committed),
            broken(|it| it.after.removed = 1),
            broken(|it| it.after.raced = it.after.before),
            broken(|it| it.tenants.without = 0),
            broken(|it| it.tenants.with = 1),
            broken(|it| it.foreign.by_tags = it.foreign.now),
            broken(|it| it.foreign.by_version = it.foreign.before),
        ]
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "tag lists by their rows, and by nothing else",
                set: &[("build", "lists are tagged by their rows only")],
                refutes: &["predicates-precise"],
            },
            Fault {
                label: "fill and invalidate inside the transaction",
                set: &[("build", "fills and invalidates inside the transaction")],
                refutes: &["after-end-clean", "after-commit-right"],
            },
            Fault {
                label: "leave the tenant out of the key",
                set: &[("build", "the key has no tenant")],
                refutes: &["tenant-in-key"],
            },
            Fault {
                label: "don't look at data_version",
                set: &[("build", "doesn't look at data_version")],
                refutes: &["version-notices"],
            },
        ]
    }
}
