//! What each scheme does with the same keys: counted key by key.

use super::schemes::{Hash, Placement, Ring, Scheme, bounded, highest, turn};
use super::{Params, SCHEMES};
use crate::prelude::*;

/// Keys whose places are compared.
pub const KEYS: usize = 20_000;
/// Sets of node names over which the balance of a ring is averaged.
const NAME_SETS: u64 = 20;
/// Head room of bounded loads, in percent of the mean.
const HEAD_ROOM: usize = 25;

/// Everything that is measured without a process.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    pub keys: u64,
    pub schemes: Vec<Moves>,
    /// Balance of the ring by points for each node, ascending.
    pub balance: Vec<Balance>,
    pub balance_now: Balance,
    pub heirs_one_point: Heirs,
    pub heirs: Heirs,
    pub taken: Taken,
    pub second: Second,
    pub capped: Capped,
    #[serde(skip)]
    pub before: Vec<RingArc>,
    #[serde(skip)]
    pub after: Vec<RingArc>,
}

/// What one scheme moves.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Moves {
    pub scheme: Scheme,
    /// Keys on the fullest node over the mean, before any change.
    pub fullest: f64,
    /// One node is added at the end of the list.
    pub added: Moved,
    /// The node in the middle of the list leaves.
    pub middle_left: Moved,
    /// The node at the end of the list leaves.
    pub last_left: Moved,
}

/// Keys that changed their node.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Moved {
    /// Keys that live on the node that came or went.
    pub on_changed: u64,
    /// To the node that came, or from the node that left.
    pub with_changed: u64,
    /// Between nodes that were there before and after.
    pub between_others: u64,
}

impl Moved {
    pub fn all(self) -> u64 {
        self.with_changed + self.between_others
    }
}

/// How even the shares of a ring are, over sets of node names.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Balance {
    pub points: u64,
    /// Standard deviation of the shares over their mean, averaged over the sets.
    pub variation: f64,
    /// The largest share over the mean, averaged over the sets.
    pub fullest: f64,
}

/// Who gets the keys of the fullest node when it is lost.
#[derive(Debug, Clone, Serialize)]
pub struct Heirs {
    pub lost: usize,
    /// By node, the lost one included.
    pub inherited: Vec<u64>,
}

impl Heirs {
    pub fn keys(&self) -> u64 {
        self.inherited.iter().sum()
    }

    pub fn count(&self) -> usize {
        self.inherited.iter().filter(|keys| **keys > 0).count()
    }

    pub fn largest_percent(&self) -> u64 {
        self.inherited.iter().max().map_or(0, |most| most * 100 / self.keys().max(1))
    }
}

/// What a new node takes from a ring.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Taken {
    /// Keys that moved.
    pub moved: u64,
    /// Keys in the arcs that are the new node's, looked up in the circle as it is drawn.
    pub in_arcs: u64,
    /// Keys that are both.
    pub both: u64,
}

/// Where the keys of a lost node go under rendezvous hashing.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Second {
    pub keys: u64,
    /// To the node that had the second highest score before.
    pub to_second: u64,
}

/// A ring with one point for each node, without and with a cap.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Capped {
    pub uncapped_fullest: u64,
    pub fullest: u64,
    /// Keys that a node may have.
    pub most: u64,
    /// Keys that are not where the ring alone would put them.
    pub passed_on: u64,
    /// When one node is added.
    pub added: Moved,
}

pub fn measure(p: &Params, names: &[String], run: u64) -> Measured {
    let n = p.nodes as usize;
    let (old, hash) = (&names[..n], Hash::Fixed);
    let keys: Vec<u64> = (0..KEYS).map(|number| hash.of(&format!("{run:x}/key/{number}"))).collect();
    let ring = |nodes: &[String], points| Ring::new(nodes, points, &hash);
    let (now, grown) = (ring(old, p.virtual_nodes), ring(names, p.virtual_nodes));
    Measured {
        keys: KEYS as u64,
        schemes: SCHEMES.iter().map(|scheme| moves(*scheme, names, p.virtual_nodes, &keys)).collect(),
        balance: [1, 3, 10, 30, 100, 300].map(|points| balance(n, points)).to_vec(),
        balance_now: balance(n, p.virtual_nodes),
        heirs_one_point: heirs(old, 1, &keys),
        heirs: heirs(old, p.virtual_nodes, &keys),
        taken: taken(&now, &grown, n, &keys),
        second: second(old, &keys),
        capped: capped(&ring(old, 1), &ring(names, 1), n, &keys),
        before: now.arcs(),
        after: grown.arcs(),
    }
}

/// `names` holds the nodes, and behind them the one that is added.
fn moves(scheme: Scheme, names: &[String], points: u64, keys: &[u64]) -> Moves {
    let n = names.len() - 1;
    let old = &names[..n];
    let before = owners(scheme, old, points, keys);
    let without = |gone: usize| {
        let left: Vec<String> = old.iter().filter(|name| **name != old[gone]).cloned().collect();
        // Places in the shorter list, as places in the old one.
        let after = owners(scheme, &left, points, keys);
        let after: Vec<_> = after.into_iter().map(|node| node + usize::from(node >= gone)).collect();
        moved(&before, &after, gone)
    };
    Moves {
        scheme,
        fullest: largest(&counts(&before, n)) as f64 * n as f64 / keys.len() as f64,
        added: moved(&before, &owners(scheme, names, points, keys), n),
        middle_left: without(n / 2),
        last_left: without(n - 1),
    }
}

fn owners(scheme: Scheme, nodes: &[String], points: u64, keys: &[u64]) -> Vec<usize> {
    let placement = Placement::new(scheme, nodes, points, &Hash::Fixed);
    keys.iter().map(|key| placement.owner(*key)).collect()
}

fn moved(before: &[usize], after: &[usize], changed: usize) -> Moved {
    let mut moved = Moved::default();
    for (from, to) in before.iter().zip(after) {
        let with_changed = *from == changed || *to == changed;
        moved.on_changed += u64::from(with_changed);
        moved.with_changed += u64::from(from != to && with_changed);
        moved.between_others += u64::from(from != to && !with_changed);
    }
    moved
}

fn counts(owners: &[usize], nodes: usize) -> Vec<u64> {
    let mut counts = vec![0; nodes];
    owners.iter().for_each(|node| counts[*node] += 1);
    counts
}

fn largest(counts: &[u64]) -> u64 {
    counts.iter().copied().max().unwrap_or_default()
}

fn balance(nodes: usize, points: u64) -> Balance {
    let (mut variation, mut fullest) = (0.0, 0.0);
    for set in 0..NAME_SETS {
        let names: Vec<_> = (0..nodes).map(|node| format!("set-{set}-cache-{node}")).collect();
        let shares = Ring::new(&names, points, &Hash::Fixed).shares(nodes);
        let fair = 1.0 / nodes as f64;
        let squares = shares.iter().map(|share| (share / fair - 1.0).powi(2)).sum::<f64>();
        variation += (squares / nodes as f64).sqrt() / NAME_SETS as f64;
        fullest += shares.iter().fold(0.0, |most: f64, share| most.max(*share)) / fair / NAME_SETS as f64;
    }
    Balance { points, variation, fullest }
}

fn heirs(nodes: &[String], points: u64, keys: &[u64]) -> Heirs {
    let before = owners(Scheme::Ring, nodes, points, keys);
    let counts = counts(&before, nodes.len());
    let lost = (0..nodes.len()).max_by_key(|node| counts[*node]).unwrap_or_default();
    let left: Vec<String> = nodes.iter().filter(|name| **name != nodes[lost]).cloned().collect();
    let after = owners(Scheme::Ring, &left, points, keys);
    let mut inherited = vec![0; nodes.len()];
    for (_, to) in before.iter().zip(after).filter(|(from, _)| **from == lost) {
        inherited[to + usize::from(to >= lost)] += 1;
    }
    Heirs { lost, inherited }
}

fn taken(old: &Ring, grown: &Ring, new: usize, keys: &[u64]) -> Taken {
    let arcs: Vec<RingArc> = grown.arcs().into_iter().filter(|arc| arc.owner == new).collect();
    let mut taken = Taken { moved: 0, in_arcs: 0, both: 0 };
    for key in keys {
        let moved = old.owner(*key) != grown.owner(*key);
        let in_arcs = arcs.iter().any(|arc| holds(arc, turn(*key)));
        taken.moved += u64::from(moved);
        taken.in_arcs += u64::from(in_arcs);
        taken.both += u64::from(moved && in_arcs);
    }
    taken
}

/// An arc holds its end and not its start; the first one runs through the top of the circle.
fn holds(arc: &RingArc, place: f64) -> bool {
    if arc.from < arc.to { arc.from < place && place <= arc.to } else { arc.from < place || place <= arc.to }
}

fn second(nodes: &[String], keys: &[u64]) -> Second {
    let gone = nodes.len() / 2;
    let left: Vec<String> = nodes.iter().filter(|name| **name != nodes[gone]).cloned().collect();
    let scores: Vec<u64> = nodes.iter().map(|name| Hash::Fixed.of(name)).collect();
    let after = Placement::new(Scheme::Rendezvous, &left, 1, &Hash::Fixed);
    let orphans: Vec<u64> = keys.iter().copied().filter(|key| highest(&scores, *key, None) == gone).collect();
    let to_second = |key: &&u64| nodes[highest(&scores, **key, Some(gone))] == left[after.owner(**key)];
    Second { keys: orphans.len() as u64, to_second: orphans.iter().filter(to_second).count() as u64 }
}

fn capped(old: &Ring, grown: &Ring, nodes: usize, keys: &[u64]) -> Capped {
    let most = |nodes: usize| (keys.len() * (100 + HEAD_ROOM)).div_ceil(100 * nodes);
    let plain: Vec<_> = keys.iter().map(|key| old.owner(*key)).collect();
    let before = bounded(old, keys, nodes, most(nodes));
    let after = bounded(grown, keys, nodes + 1, most(nodes + 1));
    Capped {
        uncapped_fullest: largest(&counts(&plain, nodes)),
        fullest: largest(&counts(&before, nodes)),
        most: most(nodes) as u64,
        passed_on: plain.iter().zip(&before).filter(|(alone, capped)| alone != capped).count() as u64,
        added: moved(&before, &after, nodes),
    }
}
