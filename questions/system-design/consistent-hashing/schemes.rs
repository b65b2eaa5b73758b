//! Four ways to say on which node a key lives.

use crate::prelude::*;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

choices! {
    /// A rule that places keys.
    #[derive(Serialize)]
    pub enum Scheme { Ring = "ring", Rendezvous = "rendezvous", Jump = "jump", Modulo = "modulo" }
}
choices! {
    /// The hash function that all clients have to share.
    pub enum HashKind {
        Fixed = "written down: the same everywhere",
        Own = "the language's own: seeded anew in each process",
    }
}

/// A hash function from text to 64 bits.
#[derive(Clone)]
pub enum Hash {
    Fixed,
    /// What `HashMap` of Rust's standard library uses: its keys are random in each process, against crafted collisions.
    Own(RandomState),
}

impl Hash {
    pub fn of_kind(kind: HashKind) -> Self {
        match kind {
            HashKind::Fixed => Self::Fixed,
            HashKind::Own => Self::Own(RandomState::new()),
        }
    }

    pub fn of(&self, text: &str) -> u64 {
        match self {
            Self::Fixed => mixed(fnv_1a(text)),
            Self::Own(seeded) => seeded.hash_one(text),
        }
    }
}

/// FNV-1a, 64 bits (RFC 9923): the same in every language, in two lines.
fn fnv_1a(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The finalizer of MurmurHash3 (`fmix64`): each bit of the input turns half of the output's. FNV-1a alone leaves names
/// that differ in their last digit close together on the ring.
fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ (bits >> 33)
}

/// A scheme over a list of nodes. Owners are places in that list.
pub enum Placement {
    Modulo(u64),
    Ring(Ring),
    /// The hash of each node's name.
    Rendezvous(Vec<u64>),
    Jump(u64),
}

impl Placement {
    pub fn new(scheme: Scheme, nodes: &[String], points: u64, hash: &Hash) -> Self {
        match scheme {
            Scheme::Modulo => Self::Modulo(nodes.len() as u64),
            Scheme::Ring => Self::Ring(Ring::new(nodes, points, hash)),
            Scheme::Rendezvous => Self::Rendezvous(nodes.iter().map(|name| hash.of(name)).collect()),
            Scheme::Jump => Self::Jump(nodes.len() as u64),
        }
    }

    /// The node of the key with this hash.
    pub fn owner(&self, key: u64) -> usize {
        match self {
            Self::Modulo(nodes) => (key % nodes) as usize,
            Self::Ring(ring) => ring.owner(key),
            Self::Rendezvous(nodes) => highest(nodes, key, None),
            Self::Jump(nodes) => jump(key, *nodes),
        }
    }
}

/// Points on a circle of 2^64 places; a key belongs to the next point clockwise.
pub struct Ring {
    /// Sorted by place.
    points: Vec<(u64, usize)>,
}

impl Ring {
    /// `points` for each node: its virtual nodes, hashed from the node's name and a number.
    pub fn new(nodes: &[String], points: u64, hash: &Hash) -> Self {
        let of_node = |(node, name): (usize, &String)| {
            (0..points).map(|point| (hash.of(&format!("{name}#{point}")), node)).collect::<Vec<_>>()
        };
        let mut points: Vec<_> = nodes.iter().enumerate().flat_map(of_node).collect();
        points.sort_unstable();
        Self { points }
    }

    pub fn owner(&self, key: u64) -> usize {
        self.clockwise(key).next().unwrap_or_default()
    }

    /// The owners of all points from `key` on, once around. One node may come many times.
    pub fn clockwise(&self, key: u64) -> impl Iterator<Item = usize> {
        let next = self.points.partition_point(|(place, _)| *place < key);
        let (before, after) = self.points.split_at(next);
        after.iter().chain(before).map(|(_, node)| *node)
    }

    /// The stretches of the circle, each up to the point that owns it.
    pub fn arcs(&self) -> Vec<RingArc> {
        let last = self.points.last().map_or(0, |(place, _)| *place);
        let starts = std::iter::once(last).chain(self.points.iter().map(|(place, _)| *place));
        let arc = |(from, (to, owner)): (u64, &(u64, usize))| RingArc {
            from: turn(from),
            to: turn(*to),
            owner: *owner,
        };
        starts.zip(&self.points).map(arc).collect()
    }

    /// How much of the circle each of so many nodes holds, in fractions of it.
    pub fn shares(&self, nodes: usize) -> Vec<f64> {
        let mut shares = vec![0.0; nodes];
        for arc in self.arcs() {
            shares[arc.owner] += (arc.to - arc.from).rem_euclid(1.0);
        }
        shares
    }
}

/// A place on the circle, in fractions of it.
pub fn turn(place: u64) -> f64 {
    place as f64 / 2f64.powi(64)
}

/// Rendezvous hashing: the node whose score with this key is the highest, `except` one.
pub fn highest(nodes: &[u64], key: u64, except: Option<usize>) -> usize {
    let others = (0..nodes.len()).filter(|node| Some(*node) != except);
    others.max_by_key(|node| mixed(nodes[*node] ^ key)).unwrap_or_default()
}

/// Jump hash, as Lamping and Veach give it: from bucket to bucket, at each step to the next size at which this key moves.
pub fn jump(mut key: u64, buckets: u64) -> usize {
    let (mut at, mut next) = (0, 0);
    while next < buckets {
        at = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = ((at + 1) as f64 * ((1u64 << 31) as f64 / ((key >> 33) + 1) as f64)) as u64;
    }
    at as usize
}

/// Bounded loads on a ring: each key in turn goes to the first node clockwise that has less than `most` keys.
pub fn bounded(ring: &Ring, keys: &[u64], nodes: usize, most: usize) -> Vec<usize> {
    let mut held = vec![0; nodes];
    let place = |key: &u64| {
        let node = ring.clockwise(*key).find(|node| held[*node] < most).unwrap_or_default();
        held[node] += 1;
        node
    };
    keys.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::{Hash, Ring, jump};

    /// Read off the definition: of all points, the one to which the way clockwise is the shortest.
    #[test]
    fn a_key_belongs_to_the_next_point_clockwise_also_across_the_top() {
        for nodes in [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"]] {
            let ring = Ring::new(&nodes.map(str::to_owned), 4, &Hash::Fixed);
            let way = |key: u64| move |(place, _): &&(u64, usize)| place.wrapping_sub(key);
            let next = |key| ring.points.iter().min_by_key(way(key)).unwrap().1;
            let at_points = ring.points.iter().flat_map(|(place, _)| [place - 1, *place, place + 1]);
            for key in at_points.chain([0, u64::MAX]) {
                assert_eq!(ring.owner(key), next(key), "the key at {key} among {nodes:?}");
            }
        }
    }

    /// The paper gives code and no outputs: these are what its C++ prints (arXiv:1406.2294, figure 1, compiled by gcc
    /// 12). All but the last also stand in the tests of other libraries.
    #[test]
    fn jump_gives_what_the_code_of_its_paper_gives() {
        let known = [
            (1, 1, 0),
            (42, 57, 43),
            (0xdead_10cc, 1, 0),
            (0xdead_10cc, 666, 361),
            (256, 1024, 520),
            (10_863_919_174_838_991, 11, 6),
            (2_016_238_256_797_177_309, 11, 3),
            (u64::MAX, 1_000_000, 589_430),
        ];
        for (key, buckets, bucket) in known {
            assert_eq!(jump(key, buckets), bucket, "key {key} in {buckets} buckets");
        }
    }
}
