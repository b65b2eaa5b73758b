//! The five gatekeepers, each for one key: what it remembers, and how that decides.

use super::Params;
use crate::prelude::*;
use rand::{Rng, RngExt};
use std::collections::VecDeque;

choices! {
    /// How a token bucket turns elapsed time into tokens.
    pub enum Refill {
        Exact = "exact, in fractions of a token",
        Down = "whole tokens, rounded down",
        Up = "whole tokens, rounded up",
    }
}

/// One window, in nanoseconds. One token is as many units, too: then a nanosecond brings exactly `limit` of them.
pub const WINDOW: u64 = 1_000_000_000;
/// Arrivals of a random trace.
const RANDOM_ARRIVALS: usize = 60;

/// One key's limiter. Times are nanoseconds and never go back.
pub trait Gatekeeper {
    fn admits(&mut self, now: u64) -> bool;
    /// Numbers that it keeps for one key at this moment.
    fn numbers(&self) -> u64;
}

/// Counts in windows that begin at whole seconds.
struct FixedWindow {
    limit: u64,
    window: u64,
    count: u64,
}

impl Gatekeeper for FixedWindow {
    fn admits(&mut self, now: u64) -> bool {
        if now / WINDOW != self.window {
            (self.window, self.count) = (now / WINDOW, 0);
        }
        let admitted = self.count < self.limit;
        self.count += u64::from(admitted);
        admitted
    }

    fn numbers(&self) -> u64 {
        2
    }
}

/// Remembers when it admitted what.
struct SlidingLog {
    limit: u64,
    admitted: VecDeque<u64>,
}

impl Gatekeeper for SlidingLog {
    fn admits(&mut self, now: u64) -> bool {
        while self.admitted.front().is_some_and(|&at| at + WINDOW <= now) {
            self.admitted.pop_front();
        }
        let admitted = (self.admitted.len() as u64) < self.limit;
        if admitted {
            self.admitted.push_back(now);
        }
        admitted
    }

    fn numbers(&self) -> u64 {
        self.admitted.len() as u64
    }
}

/// Takes the part of the previous window that the sliding one still covers, as if its requests had been spread evenly.
struct SlidingCounter {
    limit: u64,
    window: u64,
    previous: u64,
    current: u64,
}

impl Gatekeeper for SlidingCounter {
    fn admits(&mut self, now: u64) -> bool {
        let window = now / WINDOW;
        if window != self.window {
            self.previous = if window == self.window + 1 { self.current } else { 0 };
            (self.window, self.current) = (window, 0);
        }
        let covered = WINDOW - now % WINDOW;
        let admitted = self.previous * covered + (self.current + 1) * WINDOW <= self.limit * WINDOW;
        self.current += u64::from(admitted);
        admitted
    }

    fn numbers(&self) -> u64 {
        3
    }
}

/// Starts full, is refilled at the rate, never holds more than the burst; a request takes one token.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    limit: u64,
    burst: u64,
    refill: Refill,
    /// In units of a `WINDOW`th of a token.
    level: u64,
    refilled_at: u64,
}

/// A token, or the nanoseconds until there is one.
pub type Taken = std::result::Result<(), u64>;

impl TokenBucket {
    pub fn new(limit: u64, burst: u64, refill: Refill) -> Self {
        Self { limit, burst, refill, level: burst * WINDOW, refilled_at: 0 }
    }

    /// Takes a token if there is one now.
    pub fn take(&mut self, now: u64) -> Taken {
        let brought = (now - self.refilled_at).saturating_mul(self.limit);
        let brought = match self.refill {
            Refill::Exact => brought,
            // Both forget the time that made no whole token.
            Refill::Down => brought / WINDOW * WINDOW,
            Refill::Up => brought.div_ceil(WINDOW).saturating_mul(WINDOW),
        };
        self.level = self.level.saturating_add(brought).min(self.burst * WINDOW);
        self.refilled_at = now;
        match self.level.checked_sub(WINDOW) {
            Some(left) => {
                self.level = left;
                Ok(())
            }
            None => Err((WINDOW - self.level).div_ceil(self.limit)),
        }
    }
}

impl Gatekeeper for TokenBucket {
    fn admits(&mut self, now: u64) -> bool {
        self.take(now).is_ok()
    }

    fn numbers(&self) -> u64 {
        2
    }
}

/// The generic cell rate algorithm: one number, the theoretical arrival time of the next request if all had come as
/// evenly as the rate says. Its unit is a `limit`th of a nanosecond, in which requests are exactly `WINDOW` apart.
pub struct Gcra {
    limit: u64,
    burst: u64,
    theoretical: u64,
}

impl Gcra {
    pub fn new(limit: u64, burst: u64) -> Self {
        Self { limit, burst, theoretical: 0 }
    }
}

impl Gatekeeper for Gcra {
    fn admits(&mut self, now: u64) -> bool {
        let now = now * self.limit;
        let admitted = self.theoretical <= now + (self.burst - 1) * WINDOW;
        if admitted {
            self.theoretical = self.theoretical.max(now) + WINDOW;
        }
        admitted
    }

    fn numbers(&self) -> u64 {
        1
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    Fixed,
    Log,
    Counter,
    Bucket,
    Gcra,
}

impl Keeper {
    pub const ALL: [Self; 5] = [Self::Fixed, Self::Log, Self::Counter, Self::Bucket, Self::Gcra];

    pub fn keeper(self, p: &Params) -> Box<dyn Gatekeeper> {
        let Params { limit, burst, refill, .. } = *p;
        match self {
            Self::Fixed => Box::new(FixedWindow { limit, window: 0, count: 0 }),
            Self::Log => Box::new(SlidingLog { limit, admitted: VecDeque::new() }),
            Self::Counter => Box::new(SlidingCounter { limit, window: 0, previous: 0, current: 0 }),
            Self::Bucket => Box::new(TokenBucket::new(limit, burst, refill)),
            Self::Gcra => Box::new(Gcra::new(limit, burst)),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed window",
            Self::Log => "sliding log",
            Self::Counter => "sliding counter",
            Self::Bucket => "token bucket",
            Self::Gcra => "GCRA",
        }
    }

    pub fn keeps(self) -> &'static str {
        match self {
            Self::Fixed => "which window it is, and a count",
            Self::Log => "the time of each request of the last window",
            Self::Counter => "which window it is, its count and the one before",
            Self::Bucket => "the level, and when it was refilled",
            Self::Gcra => "the theoretical arrival time",
        }
    }
}

/// Bursts, pauses, and gaps of just one token's time, where a rounding error would show.
pub fn random_times(limit: u64, burst: u64, rng: &mut impl Rng) -> Vec<u64> {
    let token = WINDOW / limit;
    let mut now = 0;
    let step = |_| {
        now += match rng.random_range(0..5) {
            0 | 1 => 0,
            2 => token + rng.random_range(0..2),
            3 => rng.random_range(0..=2 * token),
            _ => rng.random_range(0..=burst * token / 2),
        };
        now
    };
    (0..RANDOM_ARRIVALS).map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    /// Admits a request exactly if no interval that ends with it would then hold more than burst + rate × length: the
    /// promise itself, without a bucket and without a theoretical arrival time.
    fn by_the_promise(times: &[u64], limit: u64, burst: u64) -> Vec<bool> {
        let mut admitted: Vec<u64> = vec![];
        let decide = |&now: &u64| {
            let kept = (1u64..).zip(admitted.iter().rev()).all(|(later, &from)| {
                u128::from(later + 1) * u128::from(WINDOW)
                    <= u128::from(burst) * u128::from(WINDOW) + u128::from(limit) * u128::from(now - from)
            });
            if kept {
                admitted.push(now);
            }
            kept
        };
        times.iter().map(decide).collect()
    }

    #[test]
    fn bucket_and_gcra_admit_just_what_the_promise_allows() {
        let mut rng = StdRng::seed_from_u64(14);
        for _ in 0..1000 {
            let (limit, burst) = (rng.random_range(1..=50), rng.random_range(1..=20));
            let times = random_times(limit, burst, &mut rng);
            let wanted = by_the_promise(&times, limit, burst);
            let mut bucket = TokenBucket::new(limit, burst, Refill::Exact);
            let mut gcra = Gcra::new(limit, burst);
            assert_eq!(times.iter().map(|&now| bucket.admits(now)).collect::<Vec<_>>(), wanted);
            assert_eq!(times.iter().map(|&now| gcra.admits(now)).collect::<Vec<_>>(), wanted);
            assert!(wanted.contains(&true) || burst == 0);
        }
    }

    #[test]
    fn a_refused_request_is_told_the_nanosecond_at_which_the_next_token_is_there() {
        let mut bucket = TokenBucket::new(3, 1, Refill::Exact);
        assert_eq!(bucket.take(0), Ok(()));
        assert_eq!(bucket.take(0), Err(333_333_334));
        assert_eq!(bucket.clone().take(333_333_333), Err(1));
        assert_eq!(bucket.take(333_333_334), Ok(()));
    }
}
