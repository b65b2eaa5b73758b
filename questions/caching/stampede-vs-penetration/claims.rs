//! What the answer says, held against a run.

use super::{Filter, Medicine, Observed, Params, TOGETHER, Wave};
use crate::prelude::*;

pub fn on_stampede(p: &Params, seen: &Observed) -> Vec<Claim> {
    let queries = |medicine| seen.of(medicine).stampede.queries;
    let crowded = |id, says, breaks_when| {
        let waves: Vec<_> = seen.tried.values().map(|it| it.stampede).collect();
        let crowd = waves.iter().map(|wave| wave.crowd).min().unwrap_or(0);
        let words = format!("{crowd} clients had looked into the cache before the database answered");
        claim(id, says, breaks_when)
            .witness(waves.iter().all(|it| it.crowd > 1 && it.crowd == it.requests), words)
    };
    vec![
        crowded(
            "stampede-all-query",
            "When a hot entry expires, every client that asks sends a query of its own",
            "something makes them share one",
        )
        .equal(queries(Medicine::Nothing), p.clients),
        crowded(
            "stampede-one-query",
            "With single flight, and with stale while revalidating, one query is left",
            "each request has its own group of flights, or what has expired is gone",
        )
        .equal(list([queries(Medicine::SingleFlight), queries(Medicine::Stale)]), list([1, 1])),
        crowded(
            "stampede-wrong-medicine",
            "Negative entries and a Bloom filter change nothing in a stampede: the item exists",
            "the expired item has been deleted meanwhile",
        )
        .equal(list([queries(Medicine::Negative), queries(Medicine::Bloom)]), list([p.clients; 2])),
        crowded(
            "stale-nobody-waits",
            "While one query refreshes the entry, all clients are served the old one and none waits",
            "the entry is too old to be served, or was never there",
        )
        .equal(seen.of(Medicine::Stale).stampede.old, p.clients),
    ]
}

pub fn on_penetration(p: &Params, seen: &Observed) -> Vec<Claim> {
    let different = |medicine| seen.of(medicine).different;
    let repeated = |medicine| seen.of(medicine).repeated.map(|wave| wave.queries);
    let absent = |id, says, breaks_when, waves: &[Wave]| {
        let (requests, absent) =
            waves.iter().fold((0, 0), |sum, it| (sum.0 + it.requests, sum.1 + it.absent));
        claim(id, says, breaks_when).witness(
            requests > 0 && absent == requests,
            format!("{absent} of {requests} requests answered 404"),
        )
    };
    let wrong =
        [Medicine::Nothing, Medicine::SingleFlight, Medicine::Stale, Medicine::Negative].map(different);
    vec![
        absent(
            "different-keys-get-through",
            "Items that don't exist, each asked for once, all reach the database: also with single flight, stale entries \
             or negative ones",
            "the same item is asked for twice",
            &wrong,
        )
        .equal(list(wrong.map(|wave| wave.queries)), list([p.clients; 4])),
        absent(
            "negative-fills-up",
            "Each of them leaves a negative entry behind",
            "there is a bound on negative entries",
            &[different(Medicine::Negative)],
        )
        .equal(seen.of(Medicine::Negative).absences, p.clients),
        absent(
            "repeated-key-gets-through",
            "One item that doesn't exist, asked for by all, reaches the database once for each client, and again with \
             the next wave",
            "absence is remembered",
            &seen.of(Medicine::Nothing).repeated,
        )
        .equal(list(repeated(Medicine::Nothing)), list([p.clients; 2])),
        absent(
            "flight-shares-absence",
            "Single flight asks once for it in each wave, and remembers nothing",
            "the waves overlap",
            &seen.of(Medicine::SingleFlight).repeated,
        )
        .equal(list(repeated(Medicine::SingleFlight)), list([1, 1])),
        absent(
            "negative-second-wave",
            "With negative entries the second wave sends no query",
            "only what was found is stored, or the entry has expired",
            &seen.of(Medicine::Negative).repeated,
        )
        .equal(repeated(Medicine::Negative)[1], 0),
    ]
}

pub fn on_filter_and_avalanche(p: &Params, seen: &Observed) -> Vec<Claim> {
    let Filter { asked_present, false_negatives, asked_absent, false_positives, expected } = seen.filter;
    let busiest = |load: &[u64]| load.iter().copied().max().unwrap_or(0);
    let (equal, jittered) = (busiest(&seen.avalanche.equal), busiest(&seen.avalanche.jittered));
    // Six standard deviations of a binomial distribution: chance alone misses by more once in 500 million times.
    let tolerated = 6.0 * (expected * (1.0 - expected / asked_absent as f64)).sqrt() + 1.0;
    vec![
        claim(
            "filter-denies-none",
            "The Bloom filter denies no item that exists",
            "new items are not put in, or it is rebuilt from a stale list",
        )
        .witness(asked_present > 0, format!("{asked_present} items asked"))
        .equal(false_negatives, 0),
        claim(
            "filter-keeps-out",
            "It lets through at most one in twenty of the items that don't exist",
            "it has too few bits for the items in it",
        )
        .witness(asked_absent > 0, format!("{asked_absent} absent items asked"))
        .at_most(false_positives, asked_absent / 20),
        claim(
            "filter-formula",
            "How many those are is foretold by the formula",
            "its hash functions are not independent",
        )
        .witness(asked_absent > 0, format!("{} bits for each item", p.bits_per_item))
        .that(
            (false_positives as f64 - expected).abs() <= tolerated,
            format!("{false_positives} of {asked_absent}"),
            format!("{expected:.1}, give or take {tolerated:.1}"),
        ),
        claim(
            "jitter-halves",
            "Jittered lifetimes bring the busiest second at the database to less than half",
            "all entries have the same lifetime",
        )
        .witness(equal == TOGETHER as u64, format!("{equal} queries in the busiest second without jitter"))
        .that(
            jittered * 2 < equal,
            format!("{jittered} queries"),
            format!("less than half of {equal}"),
        ),
    ]
}

fn list<const N: usize>(figures: [u64; N]) -> String {
    figures.map(|figure| figure.to_string()).join(", ")
}
