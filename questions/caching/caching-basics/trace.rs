//! Who asks for what: seeded traces, from uniform to very skewed, and what each policy makes of the same one.

use super::policy::{Evicts, Policy, Shelf};
use super::{Params, Skew};
use crate::prelude::*;
use rand::RngExt;
use rand::seq::SliceRandom;

/// Requests of a trace for each key; the second half is measured, when caches have filled.
const REQUESTS_A_KEY: u64 = 2;
/// Sizes of the cache, in percent of all keys; with the knob's, if that is another.
const SIZES: [u64; 8] = [1, 2, 5, 10, 20, 30, 40, 50];
/// On which LRU and FIFO part (Belady, Nelson and Shedler, 1969).
const CLASSIC: [u64; 12] = [1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5];

/// Draws keys: the popularity of the k-th is 1/k to the power of the skew (Zipf's law), uniform where that is 0.
pub struct Popularity {
    /// Keys from the most popular one on, in no other order.
    keys: Vec<u64>,
    /// Sums of the weights so far.
    sums: Vec<f64>,
}

impl Popularity {
    pub fn new(keys: u64, skew: Skew, rng: &mut impl rand::Rng) -> Self {
        let mut shuffled: Vec<u64> = (1..=keys).collect();
        shuffled.shuffle(rng);
        let weights = (1..=keys).map(|rank| (rank as f64).powf(-skew.exponent()));
        let sums = weights
            .scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        Self { keys: shuffled, sums }
    }

    pub fn draw(&self, rng: &mut impl rand::Rng) -> u64 {
        let all = self.sums[self.sums.len() - 1];
        let at = rng.random_range(0.0..all);
        self.keys[self.sums.partition_point(|sum| *sum <= at).min(self.keys.len() - 1)]
    }
}

/// One cache's share of hits at each size, in percent of the requests.
#[derive(Debug, Clone, Serialize)]
pub struct Curve {
    pub name: &'static str,
    /// Size in percent of all keys, hits in percent.
    pub points: Vec<(u64, f64)>,
    /// Hits of the whole trace, at the same sizes.
    pub hits: Vec<u64>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Seen {
    /// What share of the requests the most popular keys get, as counted: hottest percent, next nine, the rest.
    pub mass: Vec<(&'static str, [f64; 3])>,
    /// LRU, with each skew.
    pub skews: Vec<Curve>,
    /// All policies on the trace with the chosen skew.
    pub policies: Vec<Curve>,
    /// Misses on the classic trace with three places and with four.
    pub classic: [(&'static str, [u64; 2]); 2],
}

pub fn observe(lab: &Lab, p: &Params) -> Seen {
    lab.step("The same trace through caches of eight sizes, for each skew and each policy");
    let traces: Vec<_> = Skew::ALL.iter().map(|(skew, name)| (*skew, *name, trace(lab, p, *skew))).collect();
    let lru = Evicts::By(Policy::Lru);
    let skews: Vec<_> = traces.iter().map(|(_, name, trace)| curve(lab, p, name, lru, trace)).collect();
    let mut policies = Vec::new();
    for ((_, _, trace), with_lru) in traces.iter().zip(&skews).filter(|(it, _)| it.0 == p.skew) {
        policies.push(curve(lab, p, "knows the future", Evicts::LatestNeeded, trace));
        policies.push(Curve { name: Policy::Lru.word(), ..with_lru.clone() });
        for policy in [Policy::Lfu, Policy::Fifo, Policy::Random] {
            policies.push(curve(lab, p, policy.word(), Evicts::By(policy), trace));
        }
    }
    let misses = |policy, places| {
        let mut shelf = Shelf::new(places, Evicts::By(policy), lab.rng("classic"));
        CLASSIC.iter().filter(|key| !shelf.ask(**key, 0).hit).count() as u64
    };
    let classic = [("FIFO", Policy::Fifo), ("LRU", Policy::Lru)]
        .map(|(name, policy)| (name, [misses(policy, 3), misses(policy, 4)]));
    Seen {
        mass: traces.iter().map(|(_, name, trace)| (*name, mass(p, trace))).collect(),
        skews,
        policies,
        classic,
    }
}

fn trace(lab: &Lab, p: &Params, skew: Skew) -> Vec<u64> {
    let mut rng = lab.rng("trace");
    let popularity = Popularity::new(p.keys, skew, &mut rng);
    (0..p.keys * REQUESTS_A_KEY).map(|_| popularity.draw(&mut rng)).collect()
}

fn curve(lab: &Lab, p: &Params, name: &'static str, evicts: Evicts, trace: &[u64]) -> Curve {
    let next = next_uses(trace);
    let (mut points, mut hits) = (Vec::new(), Vec::new());
    for percent in SIZES.into_iter().chain([p.cache_percent]).collect::<BTreeSet<_>>() {
        let mut shelf = Shelf::new(p.keys * percent / 100, evicts, lab.rng("evictions"));
        let hit: Vec<bool> = trace.iter().zip(&next).map(|(key, next)| shelf.ask(*key, *next).hit).collect();
        let count = |part: &[bool]| part.iter().filter(|hit| **hit).count();
        let warm = &hit[hit.len() / 2..];
        points.push((percent, 100.0 * count(warm) as f64 / warm.len().max(1) as f64));
        hits.push(count(&hit) as u64);
    }
    Curve { name, points, hits }
}

/// For each request, when its key is asked for next.
fn next_uses(trace: &[u64]) -> Vec<u64> {
    let mut later: HashMap<u64, u64> = HashMap::new();
    let mut next: Vec<u64> = trace
        .iter()
        .enumerate()
        .rev()
        .map(|(at, key)| later.insert(*key, at as u64).unwrap_or(u64::MAX - 1))
        .collect();
    next.reverse();
    next
}

/// Shares of the requests, in percent, of the keys that were asked for most.
fn mass(p: &Params, trace: &[u64]) -> [f64; 3] {
    let mut counts: HashMap<u64, u64> = HashMap::new();
    trace.iter().for_each(|key| *counts.entry(*key).or_default() += 1);
    let mut counts: Vec<u64> = counts.into_values().collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let share = |keys: u64| {
        let sum: u64 = counts.iter().take(keys as usize).sum();
        100.0 * sum as f64 / trace.len() as f64
    };
    let (one, ten) = (share(p.keys / 100), share(p.keys / 10));
    [one, ten - one, 100.0 - ten]
}

impl Curve {
    pub fn at(&self, percent: u64) -> f64 {
        self.points.iter().find(|it| it.0 == percent).map_or(0.0, |it| it.1)
    }
}

pub fn claims(seen: &Seen) -> Vec<Claim> {
    let trace = |id, says, breaks_when| {
        claim(id, says, breaks_when)
            .witness(!seen.skews.is_empty(), format!("each trace past {} sizes", SIZES.len()))
    };
    let percent = |share: f64| format!("{share:.0} percent");
    let at = |name: Skew| &seen.skews[Skew::ALL.iter().position(|it| it.0 == name).unwrap_or(0)];
    let (uniform, zipf) = (at(Skew::Uniform), at(Skew::Zipf10));
    let off = uniform.points.iter().map(|(size, hits)| (hits - *size as f64).abs()).fold(0.0, f64::max);
    let lru = seen.policies.iter().find(|it| it.name == "LRU");
    let lru: &[u64] = lru.map_or(&[], |it| &it.hits);
    let best = &seen.policies[0];
    let beaten =
        seen.policies.iter().filter(|it| it.hits.iter().zip(&best.hits).any(|(its, best)| its > best));
    let beaten = beaten.map(|it| it.name).collect::<Vec<_>>().join(", ");
    let words = |classic: &[(&str, [u64; 2])]| {
        classic
            .iter()
            .map(|(name, [three, four])| format!("{name} {three}, then {four}"))
            .collect::<Vec<_>>()
            .join("; ")
    };
    vec![
        trace(
            "uniform-is-share",
            "When all keys are asked for equally often, the share of hits is the share of the keys that fit, give or take \
             five points",
            "some keys are asked for more than others",
        )
        .that(off <= 5.0, format!("at most {off:.1} points off"), "at most 5 points off"),
        trace(
            "skew-multiplies",
            "With Zipf's law, a tenth of the keys answers at least half of the requests",
            "requests are spread evenly",
        )
        .that(zipf.at(10) >= 50.0, percent(zipf.at(10)), "at least 50 percent"),
        trace("lru-larger-never-worse", "A larger LRU cache never has fewer hits on the same trace", "it evicts by age")
            .that(
                !lru.is_empty() && lru.windows(2).all(|it| it[0] <= it[1]),
                lru.iter().map(u64::to_string).collect::<Vec<_>>().join(" ≤ "),
                "growing hits",
            ),
        trace(
            "fifo-anomaly",
            "On the classic trace FIFO misses more often with four places than with three, and LRU less",
            "what goes is chosen by use",
        )
        .equal(words(&seen.classic), words(&[("FIFO", [9, 10]), ("LRU", [10, 8])])),
        trace("future-unbeaten", "No policy has more hits than the one that knows the future", "it evicts another")
            .that(beaten.is_empty(), if beaten.is_empty() { "none has" } else { &beaten }, "none has"),
    ]
}

pub fn figures(p: &Params, seen: &Seen) -> Vec<Figure> {
    let bar = |value: f64, tone| Bar { value: value.round(), tone };
    let rows = seen.mass.iter().map(|(name, [one, nine, rest])| BarRow {
        label: (*name).to_owned(),
        bars: vec![bar(*one, Tone::Accent), bar(*nine, Tone::Plain), bar(*rest, Tone::Soft)],
    });
    let mass = Bars {
        unit: "percent of requests".into(),
        series: ["go to the hottest 1 % of keys", "to the next 9 %", "to the other 90 %"]
            .map(str::to_owned)
            .into(),
        rows: rows.collect(),
        limit: None,
    };
    let lines = |curves: &[Curve], accent: &str| Lines {
        x: Axis { label: "cache, percent of the keys".into(), log: false },
        y: Axis { label: "hits, percent".into(), log: false },
        series: curves
            .iter()
            .map(|it| Series {
                name: it.name.to_owned(),
                points: it.points.iter().map(|(x, y)| (*x as f64, *y)).collect(),
                tone: if it.name == accent { Tone::Accent } else { Tone::Plain },
            })
            .collect(),
        marks: vec![Mark { at: p.cache_percent as f64, label: format!("{} %", p.cache_percent) }],
    };
    vec![
        Figure::new(
            "requests",
            "Where requests go. The more skewed, the smaller the part of the keys that carries them: that part is worth \
             keeping, and it fits.",
            mass,
        ),
        Figure::new(
            "hits by skew",
            "LRU on the same number of keys. Uniform requests give what was paid for: ten percent of the keys, ten percent \
             of the hits. The skew gives the rest.",
            lines(&seen.skews, p.skew.word()),
        ),
        Figure::new(
            "hits by policy",
            "All policies on one trace, below the one that knows the future: that is as good as any can be, and what is left to \
             be had from a better one.",
            lines(&seen.policies, "knows the future"),
        ),
    ]
}

pub fn flawless() -> Seen {
    let curve = |name, hits: fn(u64) -> f64| {
        let points: Vec<_> = SIZES.iter().map(|size| (*size, hits(*size))).collect();
        Curve { name, hits: points.iter().map(|it| it.1 as u64).collect(), points }
    };
    Seen {
        mass: vec![("uniform", [1.0, 9.0, 90.0])],
        skews: vec![
            curve("uniform", |size| size as f64),
            curve("Zipf 0.8", |size| size as f64),
            curve("Zipf 1.0", |size| 50.0 + size as f64),
            curve("Zipf 1.2", |size| 50.0 + size as f64),
        ],
        policies: vec![curve("knows the future", |size| size as f64), curve("LRU", |size| size as f64)],
        classic: [("FIFO", [9, 10]), ("LRU", [10, 8])],
    }
}
