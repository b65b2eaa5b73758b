//! A cache of limited size: which keys it holds, and which one goes when there is no room.

use crate::prelude::*;
use rand::RngExt;
use rand::rngs::StdRng;

choices! {
    pub enum Policy {
        Lru = "LRU",
        Lfu = "LFU",
        Fifo = "FIFO",
        Random = "random",
    }
}

/// Who goes when there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evicts {
    By(Policy),
    /// Whoever is needed last of all, which only somebody who knows the future can tell (Belady, 1966).
    LatestNeeded,
}

/// The keys that are held.
pub struct Shelf {
    places: usize,
    evicts: Evicts,
    held: HashMap<u64, Held>,
    /// Who goes first stands first.
    queue: BTreeSet<(u64, u64)>,
    /// All keys in no order, to draw from.
    drawn: Vec<u64>,
    ticks: u64,
    rng: StdRng,
}

struct Held {
    rank: u64,
    uses: u64,
    /// Where it stands in `drawn`.
    place: usize,
}

/// What became of a key that was asked for.
pub struct Asked {
    pub hit: bool,
    /// The key that had to go for it.
    pub evicted: Option<u64>,
}

impl Shelf {
    pub fn new(places: u64, evicts: Evicts, rng: StdRng) -> Self {
        let (held, queue, drawn) = Default::default();
        Self { places: places as usize, evicts, held, queue, drawn, ticks: 0, rng }
    }

    /// Asks for a key, and holds it from now on. `next` says when it will be asked for again.
    pub fn ask(&mut self, key: u64, next: u64) -> Asked {
        self.ticks += 1;
        if let Some(held) = self.held.get_mut(&key) {
            held.uses += 1;
            let (old, new) = (held.rank, rank(self.evicts, held.rank, held.uses, self.ticks, next));
            held.rank = new;
            self.queue.remove(&(old, key));
            self.queue.insert((new, key));
            return Asked { hit: true, evicted: None };
        }
        if self.places == 0 {
            return Asked { hit: false, evicted: None };
        }
        let evicted = (self.held.len() == self.places).then(|| self.evict()).flatten();
        let rank = rank(self.evicts, self.ticks, 1, self.ticks, next);
        self.held.insert(key, Held { rank, uses: 1, place: self.drawn.len() });
        self.queue.insert((rank, key));
        self.drawn.push(key);
        Asked { hit: false, evicted }
    }

    pub fn holds(&self, key: u64) -> bool {
        self.held.contains_key(&key)
    }

    fn evict(&mut self) -> Option<u64> {
        let key = match self.evicts {
            Evicts::By(Policy::Random) => self.drawn[self.rng.random_range(0..self.drawn.len())],
            _ => self.queue.first()?.1,
        };
        let gone = self.held.remove(&key)?;
        self.queue.remove(&(gone.rank, key));
        self.drawn.swap_remove(gone.place);
        if let Some(moved) = self.drawn.get(gone.place) {
            self.held.entry(*moved).and_modify(|it| it.place = gone.place);
        }
        Some(key)
    }
}

/// The lowest goes first.
fn rank(evicts: Evicts, old: u64, uses: u64, now: u64, next: u64) -> u64 {
    match evicts {
        Evicts::By(Policy::Lru) => now,
        Evicts::By(Policy::Fifo | Policy::Random) => old,
        // Of those that were used equally often, the one that was used longest ago.
        Evicts::By(Policy::Lfu) => (uses << 32) | now,
        Evicts::LatestNeeded => u64::MAX - next,
    }
}
