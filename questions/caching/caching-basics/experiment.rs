//! Caching: how a small copy carries most of the load. The same requests are sent past caches of many sizes and policies, and
//! to a real shop with a cache before its database.

use crate::prelude::*;

#[path = "policy.rs"]
mod policy;
#[path = "shop.rs"]
mod shop;
#[path = "trace.rs"]
mod trace;

use policy::Policy;

choices! {
    /// How unevenly customers ask: the k-th most popular product is asked for 1/k^s as often as the first.
    pub enum Skew {
        Uniform = "uniform",
        Zipf08 = "Zipf 0.8",
        Zipf10 = "Zipf 1.0",
        Zipf12 = "Zipf 1.2",
    }
}

impl Skew {
    fn exponent(self) -> f64 {
        match self {
            Self::Uniform => 0.0,
            Self::Zipf08 => 0.8,
            Self::Zipf10 => 1.0,
            Self::Zipf12 => 1.2,
        }
    }
}

choices! {
    pub enum Conduct {
        Right = "asks only on a miss",
        AsksAnyway = "asks the database on hits too",
        StartsWarm = "starts with its old entries",
    }
}

params! {
    /// Products.
    keys: u64 = 2000 in 1000..=5000;
    /// How many of them fit into the cache, in percent.
    cache_percent: u64 = 10 in 1..=50;
    /// How unevenly customers ask.
    skew: Skew = "Zipf 1.0" in ..;
    /// What the shop's cache gives up when it is full.
    policy: Policy = "LRU" in ..;
    /// What the shop does with its cache.
    server: Conduct = "asks only on a miss" in ..;
}

pub struct CachingBasics;

#[derive(Serialize)]
pub struct Observed {
    trace: trace::Seen,
    shop: shop::Seen,
    /// LRU's hits at the chosen size and skew, in percent.
    hits: f64,
}

impl Experiment for CachingBasics {
    type Params = Params;
    type Observed = Observed;

    fn predict(p: &Params) -> Prediction<Observed> {
        let requests = match p.skew {
            Skew::Uniform => "Customers ask for all of them equally often".to_owned(),
            skew => format!(
                "Customers ask for the k-th most popular 1/k^{:.1} as often as for the first",
                skew.exponent()
            ),
        };
        let ask = format!(
            "{} products, and an LRU cache with room for {} percent of them. {requests}. What share of the requests are \
             hits?",
            p.keys, p.cache_percent
        );
        let (tempting, because) = match p.skew {
            Skew::Uniform => (
                2,
                "A cache answers most requests, one hears; it does so because a few keys get most of them.",
            ),
            _ => (
                0,
                "Room for a tenth sounds like a tenth of the hits. It is, if all keys are asked for equally often, and they \
                 hardly ever are.",
            ),
        };
        let options = &["under 20 percent", "20 to 40 percent", "40 to 80 percent", "over 80 percent"];
        Prediction::choice(ask, options, |seen: &Observed| match seen.hits {
            ..20.0 => 0,
            ..40.0 => 1,
            ..80.0 => 2,
            _ => 3,
        })
        .tempting(tempting, because)
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        let trace = trace::observe(lab, p);
        let chosen = trace.skews.iter().find(|it| it.name == p.skew.word());
        let hits = chosen.map_or(0.0, |it| it.at(p.cache_percent));
        Ok(Observed { shop: shop::observe(lab, p).await?, trace, hits })
    }

    fn claims(p: &Params, seen: &Observed) -> Vec<Claim> {
        [trace::claims(&seen.trace), shop::claims(p, &seen.shop)].concat()
    }

    fn figures(p: &Params, seen: &Observed) -> Vec<Figure> {
        trace::figures(p, &seen.trace).into_iter().chain([shop::figure(&seen.shop)]).collect()
    }

    fn counterexamples(p: &Params) -> Vec<Observed> {
        let broken = |break_it: fn(&mut Observed)| {
            let mut seen = Observed { trace: trace::flawless(), shop: shop::flawless(p), hits: 60.0 };
            break_it(&mut seen);
            seen
        };
        vec![
            broken(|it| it.trace.skews[0].points[3].1 = 40.0),
            broken(|it| it.trace.skews[2].points[3].1 = 11.0),
            broken(|it| it.trace.policies[1].hits.reverse()),
            broken(|it| it.trace.classic[0].1 = [10, 9]),
            broken(|it| it.trace.policies[0].hits[2] = 0),
            broken(|it| it.shop.warming[0].statements = shop::WINDOW),
            broken(|it| it.shop.without.statements = 1),
            broken(|it| it.shop.scan[0] = it.shop.warming[0]),
            broken(|it| it.shop.restart[0] = it.shop.warming[0]),
        ]
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "ask the database on hits too, to be sure",
                set: &[("server", "asks the database on hits too")],
                refutes: &["misses-are-load", "restart-is-load"],
            },
            Fault {
                label: "count uses instead of the last one: LFU",
                set: &[("policy", "LFU")],
                refutes: &["scan-flushes"],
            },
            Fault {
                label: "start the new process with the old one's entries",
                set: &[("server", "starts with its old entries")],
                refutes: &["restart-is-load"],
            },
        ]
    }
}
