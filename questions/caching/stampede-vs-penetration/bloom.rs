//! A Bloom filter (Burton Bloom, 1970): says of a key either "not there", which is certain, or "perhaps there".

/// So many bits for each key, and each key sets some of them.
pub struct Bloom {
    bits: Vec<u64>,
    hashes: u64,
}

impl Bloom {
    /// A filter for so many keys. The number of bits that each key sets is the best one: ln 2 for each bit per key.
    pub fn new(keys: u64, bits_per_key: u64) -> Self {
        let hashes = (bits_per_key as f64 * std::f64::consts::LN_2).round().max(1.0) as u64;
        Self { bits: vec![0; (keys * bits_per_key).div_ceil(64) as usize], hashes }
    }

    pub fn insert(&mut self, key: u64) {
        for place in places(key, self.hashes, self.bits.len()) {
            self.bits[place / 64] |= 1 << (place % 64);
        }
    }

    pub fn may_contain(&self, key: u64) -> bool {
        places(key, self.hashes, self.bits.len())
            .all(|place| self.bits[place / 64] & (1 << (place % 64)) != 0)
    }

    /// The share of absent keys that it takes for present once `keys` are in it: (1 - e^(-hashes * keys / bits))^hashes.
    pub fn expected_share(&self, keys: u64) -> f64 {
        let per_bit = (self.hashes * keys) as f64 / (self.bits.len() * 64) as f64;
        (1.0 - (-per_bit).exp()).powf(self.hashes as f64)
    }
}

/// The bits of a key, by two hash functions (Kirsch and Mitzenmacher, "Less Hashing, Same Performance", 2006).
fn places(key: u64, hashes: u64, words: usize) -> impl Iterator<Item = usize> {
    let (first, second) = (mix(key), mix(!key) | 1);
    (0..hashes).map(move |i| (first.wrapping_add(i.wrapping_mul(second)) % (words as u64 * 64)) as usize)
}

/// The finalizer of SplitMix64: neighbouring keys get unrelated values.
fn mix(key: u64) -> u64 {
    let mut z = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
