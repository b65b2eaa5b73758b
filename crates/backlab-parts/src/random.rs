//! Seeded randomness that experiments share: skewed popularity, arrivals, fresh words. All of it is decided by the
//! generator that is handed in, which is [`Lab::rng`](crate::Lab::rng) of some purpose.

use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::BTreeSet;
use std::time::Duration;

/// Items whose popularity follows Zipf's law: the item of rank r (from 1) is asked for in proportion to 1 / r^exponent.
#[derive(Debug, Clone)]
pub struct Zipf {
    /// For each item, the chance of it or of a more popular one; the last is 1.
    up_to: Vec<f64>,
}

impl Zipf {
    /// `items` of at least 1, numbered from 0, the most popular first. With the exponent 0 all are equal; 1 is the
    /// classic law; web and cache traces have been found from 0.6 to 1.2.
    pub fn new(items: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let mut up_to: Vec<f64> = (1..=items.max(1))
            .map(|rank| {
                sum += (rank as f64).powf(-exponent);
                sum
            })
            .collect();
        up_to.iter_mut().for_each(|it| *it /= sum);
        Self { up_to }
    }

    pub fn draw(&self, rng: &mut StdRng) -> usize {
        let chance: f64 = rng.random();
        self.up_to.partition_point(|&up_to| up_to <= chance).min(self.up_to.len() - 1)
    }

    /// The exact share of the draws that an item gets, from 0 to 1; 0 for an item that isn't there.
    pub fn share(&self, item: usize) -> f64 {
        let before = item.checked_sub(1).map_or(0.0, |before| self.up_to.get(before).copied().unwrap_or(1.0));
        self.up_to.get(item).map_or(0.0, |up_to| up_to - before)
    }
}

/// The gap until the next of independent arrivals with this mean rate: gaps of a Poisson process, exponentially
/// distributed.
pub fn gap(rng: &mut StdRng, per_second: f64) -> Duration {
    let chance: f64 = rng.random();
    Duration::try_from_secs_f64(-(1.0 - chance).ln() / per_second).unwrap_or(Duration::MAX)
}

/// Words that can be pronounced and that mean nothing, none of them twice: names and values that no program can have
/// been prepared for.
#[derive(Debug)]
pub struct Words {
    rng: StdRng,
    given: BTreeSet<String>,
}

impl Words {
    pub fn new(rng: StdRng) -> Self {
        Self { rng, given: BTreeSet::new() }
    }

    /// A word of six to eight letters, and longer once those run short.
    pub fn fresh(&mut self) -> String {
        let mut word = String::new();
        loop {
            let syllables = if word.is_empty() { 3 } else { 1 };
            for _ in 0..syllables {
                word.push(self.letter("bdfgklmnprstvz"));
                word.push(self.letter("aeiou"));
            }
            if self.rng.random() {
                word.push(self.letter("lnrs"));
            }
            if self.given.insert(word.clone()) {
                return word;
            }
        }
    }

    fn letter(&mut self, of: &str) -> char {
        char::from(of.as_bytes()[self.rng.random_range(0..of.len())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    const DRAWS: usize = 200_000;

    fn rng() -> StdRng {
        StdRng::seed_from_u64(55)
    }

    #[test]
    fn zipf_draws_have_their_exact_frequencies() {
        for (items, exponent) in [(1, 1.0), (7, 0.0), (100, 1.0), (1000, 0.8), (30, 1.5)] {
            let zipf = Zipf::new(items, exponent);
            let sum: f64 = (1..=items).map(|rank| (rank as f64).powf(-exponent)).sum();
            let mut counts = vec![0; items];
            let mut rng = rng();
            (0..DRAWS).for_each(|_| counts[zipf.draw(&mut rng)] += 1);
            for (item, count) in counts.into_iter().enumerate() {
                let exact = ((item + 1) as f64).powf(-exponent) / sum;
                assert!((zipf.share(item) - exact).abs() < 1e-12);
                // Five standard deviations of a binomial count: the seed is fixed, and no lucky one was looked for.
                let slack = 5.0 * (DRAWS as f64 * exact * (1.0 - exact)).sqrt() + 1e-9;
                let off = f64::from(count) - DRAWS as f64 * exact;
                assert!(off.abs() <= slack, "item {item} of {items}: {count} is {off} off");
            }
            assert_eq!(zipf.share(items), 0.0);
        }
    }

    #[test]
    fn gaps_are_exponential() {
        let mut rng = rng();
        let gaps: Vec<f64> = (0..DRAWS).map(|_| gap(&mut rng, 50.0).as_secs_f64()).collect();
        let share_above =
            |seconds: f64| gaps.iter().filter(|&&it| it > seconds).count() as f64 / DRAWS as f64;
        for seconds in [0.005_f64, 0.02, 0.05] {
            assert!((share_above(seconds) - (-50.0 * seconds).exp()).abs() < 0.006);
        }
        let mean = gaps.iter().sum::<f64>() / DRAWS as f64;
        assert!((mean - 0.02).abs() < 0.0003, "{mean}");
    }

    #[test]
    fn words_are_fresh_and_follow_from_the_seed() {
        let words = |count| {
            let mut words = Words::new(rng());
            (0..count).map(|_| words.fresh()).collect::<Vec<_>>()
        };
        let many = words(20_000);
        assert_eq!(many.iter().collect::<BTreeSet<_>>().len(), many.len());
        assert!(many.iter().all(|word| word.len() >= 6 && word.bytes().all(|it| it.is_ascii_lowercase())));
        assert_eq!(words(50), many[..50]);
    }
}
