//! Consistent hashing: how many keys change their node when a node comes or goes, and how evenly they lie.
//!
//! Four schemes place the same keys, and each change is compared key by key. Then real caches are filled by one client
//! process, read by a second, and joined by one more cache: what a third client misses, the origin has to bear.

use crate::prelude::*;
use caches::{Site, Visit};
use measure::{Measured, Moved, Moves, measure};
use rand::RngExt;
use schemes::{HashKind, Scheme};

#[path = "caches.rs"]
mod caches;
#[path = "figures.rs"]
mod figures;
#[path = "measure.rs"]
mod measure;
#[path = "schemes.rs"]
pub mod schemes;

params! {
    /// Nodes before the change.
    nodes: u64 = 10 in 4..=20;
    /// Points on the ring for each node.
    virtual_nodes: u64 = 100 in 1..=300;
    /// How the clients of the real caches place their keys, beside modulo.
    scheme: Scheme = "ring" in ..;
    /// The hash function of those clients.
    hash: HashKind = "written down: the same everywhere" in ..;
}

/// In the order in which they are shown.
const SCHEMES: [Scheme; 4] = [Scheme::Modulo, Scheme::Ring, Scheme::Rendezvous, Scheme::Jump];

pub struct ConsistentHashing;

#[derive(Debug, Clone, Serialize)]
pub struct Observed {
    names: Vec<String>,
    measured: Measured,
    by_modulo: Caches,
    by_scheme: Caches,
}

/// Three clients on one set of caches.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Caches {
    /// The caches are empty.
    first: Visit,
    /// Another process, the same caches.
    second: Visit,
    /// Another process, after one more cache was started.
    after_adding: Visit,
}

impl Experiment for ConsistentHashing {
    type Params = Params;
    type Observed = Observed;
    const ROLES: &'static [Role] = &[caches::CACHE, caches::ORIGIN, caches::CLIENT];

    fn predict(p: &Params) -> Prediction<Observed> {
        let ask = format!(
            "{} cache nodes, keys placed by hash mod {}. One more is added. What share of the keys now maps to another \
             node?",
            p.nodes, p.nodes
        );
        let options = &[
            "at most a quarter",
            "more than that, up to half",
            "more than half, but not all",
            "all of them",
        ];
        Prediction::choice(ask, options, |seen: &Observed| {
            let moved = seen.measured.of(Scheme::Modulo).added.all();
            match moved * 100 / seen.measured.keys {
                0..=24 => 0,
                25..=49 => 1,
                50..=99 => 2,
                _ => 3,
            }
        })
        .tempting(0, "only the new node's share has to move. It is all that has to; but another divisor gives nearly every key another remainder.")
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        lab.cast(["client A", "client B", "client C", "caches", "origin"]);
        let names: Vec<String> = (1..=p.nodes + 1).map(|number| format!("cache-{number}")).collect();
        let (params, nodes, run) = (p.clone(), names.clone(), lab.rng("keys").random());
        let measured = tokio::task::spawn_blocking(move || measure(&params, &nodes, run)).await?;
        let by_modulo = visits(lab, p, &names, Scheme::Modulo).await?;
        let by_scheme = visits(lab, p, &names, p.scheme).await?;
        Ok(Observed { names, measured, by_modulo, by_scheme })
    }

    fn claims(_: &Params, seen: &Observed) -> Vec<Claim> {
        let mut claims = added(&seen.measured);
        claims.extend(left(&seen.measured));
        claims.extend(balance(&seen.measured));
        claims.extend(loads(&seen.measured));
        claims.extend(served(seen));
        claims
    }

    fn figures(p: &Params, seen: &Observed) -> Vec<Figure> {
        figures::figures(p, seen)
    }

    fn counterexamples(p: &Params) -> Vec<Observed> {
        vec![figures::broken(p)]
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "let the clients place their keys by modulo",
                set: &[("scheme", "modulo")],
                refutes: &["few-origin-calls"],
            },
            Fault {
                label: "give each node a single point",
                set: &[("virtual_nodes", "1")],
                refutes: &["points-even-out", "many-heirs"],
            },
            Fault {
                label: "hash with what the language's own maps use",
                set: &[("hash", "the language's own: seeded anew in each process")],
                refutes: &["clients-agree", "few-origin-calls"],
            },
        ]
    }
}

async fn visits(lab: &Lab, p: &Params, names: &[String], scheme: Scheme) -> Result<Caches> {
    let (last, old) = names.split_last().context("there are at least four nodes")?;
    let (hash, points) = (p.hash, p.virtual_nodes);
    lab.step(format_args!("{}: a first client fills {} empty caches", scheme.word(), old.len()));
    let mut site = Site::open(lab, old).await?;
    let first = site.visit("client A", scheme, hash, points).await?;
    lab.step(format_args!("{}: a second client asks the same caches for the same keys", scheme.word()));
    let second = site.visit("client B", scheme, hash, points).await?;
    lab.step(format_args!("{}: {last} is started, and a third client asks for all keys", scheme.word()));
    site.start_one_more(last).await?;
    let after_adding = site.visit("client C", scheme, hash, points).await?;
    Ok(Caches { first, second, after_adding })
}

impl Measured {
    fn of(&self, scheme: Scheme) -> Moves {
        self.schemes[SCHEMES.iter().position(|it| *it == scheme).unwrap_or_default()]
    }

    fn percent(&self, keys: u64) -> f64 {
        keys as f64 * 100.0 / self.keys as f64
    }
}

/// What moves when a node is added.
fn added(seen: &Measured) -> Vec<Claim> {
    let consistent = [Scheme::Ring, Scheme::Rendezvous, Scheme::Jump].map(|it| seen.of(it));
    let [_, even @ ..] = consistent;
    let nodes = seen.heirs.inherited.len() as f64;
    let new_share = 100.0 / (nodes + 1.0);
    let came = |it: &Moves| it.added.on_changed > 0;
    let modulo = seen.of(Scheme::Modulo);
    let modulo_moved = seen.percent(modulo.added.all());
    let shares = even.map(|it| seen.percent(it.added.all()));
    let taken = seen.taken;
    vec![
        claim(
            "modulo-moves-most",
            "Hash mod N moves N / (N + 1) of the keys when one node is added",
            "N + 1 is a multiple of N, as from 1 to 2",
        )
        .witness(came(&modulo), format!("{} keys on the new node", modulo.added.on_changed))
        .that(
            (modulo_moved - nodes * new_share).abs() <= 3.0,
            format!("{modulo_moved:.1} %"),
            format!("{:.1} %, within 3", nodes * new_share),
        ),
        claim(
            "only-onto-new",
            "Ring, rendezvous and jump move keys only onto the new node",
            "the place of a key depends on the number of nodes",
        )
        .witness(consistent.iter().all(came), "each of them moved keys onto the new node")
        .that(
            consistent.iter().all(|it| it.added.between_others == 0),
            format!("between old nodes: {}", between(&consistent, |it| it.added)),
            "none between old nodes",
        ),
        claim(
            "one-share-moves",
            "Rendezvous and jump move about 1 / (N + 1) of the keys when one node is added",
            "the scores or the jumps favour a node",
        )
        .witness(even.iter().all(came), "both moved keys onto the new node")
        .that(
            shares.iter().all(|it| (new_share / 2.0..=new_share * 2.0).contains(it)),
            format!("rendezvous {:.1} %, jump {:.1} %", shares[0], shares[1]),
            format!("half to double of {new_share:.1} %"),
        ),
        claim(
            "arcs-move",
            "A ring moves exactly the keys in the arcs that the new node takes",
            "keys don't go to the next point clockwise",
        )
        .witness(taken.moved > 0, format!("{} keys moved", taken.moved))
        .that(
            taken.both == taken.moved && taken.both == taken.in_arcs,
            format!("{} moved, {} in the arcs, {} both", taken.moved, taken.in_arcs, taken.both),
            format!("the same {} keys", taken.in_arcs),
        ),
    ]
}

/// What moves when a node leaves.
fn left(seen: &Measured) -> Vec<Claim> {
    let stayers = [Scheme::Ring, Scheme::Rendezvous].map(|it| seen.of(it));
    let renumbered = [Scheme::Modulo, Scheme::Jump].map(|it| seen.of(it));
    let jump = seen.of(Scheme::Jump);
    vec![
        claim(
            "leaver-moves-own",
            "When a middle node leaves, ring and rendezvous move only the keys that lived on it",
            "the list is renumbered and the scheme goes by numbers",
        )
        .witness(stayers.iter().all(|it| it.middle_left.on_changed > 0), "keys lived on the node that left")
        .that(
            stayers.iter().all(|it| it.middle_left.between_others == 0),
            format!("between survivors: {}", between(&stayers, |it| it.middle_left)),
            "none between survivors",
        ),
        claim(
            "numbers-shift",
            "When a middle node leaves, modulo and jump also move keys between survivors",
            "it is the last of the list that leaves a jump hash",
        )
        .witness(
            renumbered.iter().all(|it| it.middle_left.on_changed > 0),
            "keys lived on the node that left",
        )
        .that(
            renumbered.iter().all(|it| it.middle_left.between_others > 0),
            format!("between survivors: {}", between(&renumbered, |it| it.middle_left)),
            "some between survivors",
        ),
        claim(
            "jump-ends",
            "Jump hash moves only the last node's keys when the last node leaves",
            "another node leaves",
        )
        .witness(jump.last_left.on_changed > 0, format!("{} keys lived on it", jump.last_left.on_changed))
        .that(
            jump.last_left.between_others == 0,
            format!("{} keys of other nodes", jump.last_left.between_others),
            "0 keys of other nodes",
        ),
    ]
}

/// Keys that moved between nodes that were there before and after, scheme by scheme.
fn between(moves: &[Moves], pick: fn(&Moves) -> Moved) -> String {
    let words = moves.iter().map(|it| format!("{} {}", it.scheme.word(), pick(it).between_others));
    words.collect::<Vec<_>>().join(", ")
}

/// How even the shares are, and who inherits.
fn balance(seen: &Measured) -> Vec<Claim> {
    let one = seen.balance[0];
    let now = seen.balance_now;
    let even = [Scheme::Rendezvous, Scheme::Jump].map(|scheme| seen.of(scheme).fullest);
    let (alone, heirs) = (&seen.heirs_one_point, &seen.heirs);
    let survivors = heirs.inherited.len() - 1;
    vec![
        claim("one-point-uneven", "With one point each, the fullest node has more than 1.5 times the mean, averaged over 20 sets of names", "the names are chosen until they fit")
            .witness(one.points == 1 && one.variation > 0.0, "rings with one point for each node")
            .that(one.fullest > 1.5, format!("{:.2} times the mean", one.fullest), "more than 1.5 times"),
        claim("points-even-out", "Virtual nodes bring the variation of the shares below half of that with one point each", "there are only a few points for each node")
            .witness(one.variation > 0.0, format!("variation {:.3} with one point", one.variation))
            .that(now.variation < one.variation / 2.0, format!("{:.3} with {}", now.variation, now.points), format!("less than {:.3}", one.variation / 2.0)),
        claim("even-without-points", "Rendezvous and jump give the fullest node at most 1.2 times the mean, without virtual nodes", "the hash is weak, or keys are few")
            .witness(seen.keys > 0, format!("{} keys placed", seen.keys))
            .that(
                even.iter().all(|it| *it <= 1.2),
                format!("rendezvous {:.3}, jump {:.3} times the mean", even[0], even[1]),
                "at most 1.2 times",
            ),
        claim("one-heir", "A node with one point leaves all its keys to one neighbour", "it has more than one point")
            .witness(alone.keys() > 0, format!("{} keys lost their node", alone.keys()))
            .that(alone.count() == 1, format!("{} of {survivors} survivors", alone.count()), "1 of them"),
        claim("many-heirs", "A node with many points leaves its keys to at least half of the survivors, and none gets more than 60 percent", "it has few points")
            .witness(heirs.keys() > 0, format!("{} keys lost their node", heirs.keys()))
            .that(
                2 * heirs.count() >= survivors && heirs.largest_percent() <= 60,
                format!("{} of {survivors} survivors inherit, at most {} %", heirs.count(), heirs.largest_percent()),
                "at least half, at most 60 %",
            ),
        claim("second-inherits", "Under rendezvous hashing each key of a lost node goes to the one with the second highest score", "the scores depend on the list of nodes")
            .witness(seen.second.keys > 0, format!("{} keys lost their node", seen.second.keys))
            .that(
                seen.second.to_second == seen.second.keys,
                format!("{} of {} keys", seen.second.to_second, seen.second.keys),
                "all of them",
            ),
    ]
}

/// What a cap does.
fn loads(seen: &Measured) -> Vec<Claim> {
    let it = seen.capped;
    let words = format!("{} keys passed on; uncapped, the fullest has {}", it.passed_on, it.uncapped_fullest);
    vec![
        claim(
            "cap-holds",
            "Bounded loads keep even a ring with one point each within 25 percent above the mean",
            "a key is placed without a look at what its node holds",
        )
        .witness(it.uncapped_fullest > it.most, words.clone())
        .that(it.fullest <= it.most, format!("{} keys", it.fullest), format!("at most {}", it.most)),
        claim(
            "cap-costs",
            "With bounded loads, a new node also moves keys between old nodes",
            "no node is full",
        )
        .witness(it.passed_on > 0, words)
        .that(
            it.added.between_others > 0,
            format!("{} keys", it.added.between_others),
            "more than 0 keys",
        ),
    ]
}

/// What the clients of real caches met.
fn served(seen: &Observed) -> Vec<Claim> {
    let (modulo, it) = (&seen.by_modulo, &seen.by_scheme);
    vec![
        claim("clients-agree", "What one client stored, another finds where it looks for it", "the clients differ in hash, seed or list")
            .witness(
                it.first.origin_calls == it.first.asked && it.first.asked > 0 && it.first.pid != it.second.pid,
                format!("{} keys stored by process {}, asked for by {}", it.first.origin_calls, it.first.pid, it.second.pid),
            )
            .that(it.second.origin_calls == 0, format!("{} misses", it.second.origin_calls), "0 misses"),
        claim("few-origin-calls", "After a cache was added, a consistent scheme causes at most half of the origin calls that modulo causes", "the clients place by modulo, or don't agree")
            .witness(modulo.after_adding.origin_calls > 0, format!("{} calls with modulo", modulo.after_adding.origin_calls))
            .that(
                2 * it.after_adding.origin_calls <= modulo.after_adding.origin_calls,
                format!("{} calls instead of {}", it.after_adding.origin_calls, modulo.after_adding.origin_calls),
                "at most half",
            ),
    ]
}
