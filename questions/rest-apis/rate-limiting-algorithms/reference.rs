//! Tokens are counted in millionths: with three digits after the point of the rate, each millisecond brings a whole number
//! of them, so that nothing is rounded but what is shown. One lock serves all keys, held for a little arithmetic. Full
//! buckets are dropped when the map has doubled since the last time, which costs each call a constant amount on average.
//!
//! It believes the caller's clock: a single call from the far future fills every bucket. A limiter that faces the world
//! reads a monotonic clock of its own. Behind several instances the bucket moves to a shared store, and the step that
//! mustn't be torn moves with it: Redis runs a script as one, and the key can expire when its bucket would be full.
//!
//! NGINX's `limit_req` keeps for each key a time and an excess in thousandths of a request, in shared memory of a fixed
//! size; it counts negative time as none, and drops states that have run empty, or, when memory is out, the one unused
//! for longest. Go's `x/time/rate` counts in `float64`: a hair's breadth doesn't matter if nobody was promised a
//! millisecond.

use super::Bug;
use crate::prelude::*;

/// Parts of a token.
const TOKEN: i64 = 1_000_000;

#[derive(Clone, Copy)]
struct Bucket {
    /// In millionths of a token.
    level: i64,
    /// When that was so, in milliseconds.
    at: i64,
}

struct Limiter {
    bug: Option<Bug>,
    /// Millionths of a token that a millisecond brings.
    rate: i64,
    /// Tokens.
    burst: i64,
    buckets: HashMap<String, Bucket>,
    newest: i64,
    /// How many buckets are enough to look through all of them.
    many: usize,
}

#[derive(Deserialize)]
struct Take {
    key: String,
    cost: i64,
    now_ms: i64,
}

#[derive(Serialize)]
struct Taken {
    allowed: bool,
    remaining: i64,
    retry_after_ms: Option<i64>,
}

pub async fn run(bug: Option<Bug>) -> Result<()> {
    let rate: f64 = crate::reference::env("RATE")?;
    let limiter = Limiter {
        bug,
        rate: (rate * 1000.0).round() as i64,
        burst: crate::reference::env("BURST")?,
        buckets: HashMap::new(),
        newest: 0,
        many: 1000,
    };
    let routes = Router::new().route("/take", post(answer)).route("/stats", get(stats));
    crate::reference::serve(routes.with_state(Arc::new(Mutex::new(limiter)))).await
}

type Shared = State<Arc<Mutex<Limiter>>>;

fn locked(limiter: &Mutex<Limiter>) -> std::sync::MutexGuard<'_, Limiter> {
    limiter.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

async fn answer(State(limiter): Shared, Json(take): Json<Take>) -> Json<Taken> {
    let mut read_before = None;
    if locked(&limiter).bug == Some(Bug::ReadsThenWrites) {
        read_before = Some(locked(&limiter).bucket(&take));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut limiter = locked(&limiter);
    let mut bucket = read_before.unwrap_or_else(|| limiter.bucket(&take));
    let taken = limiter.take(&mut bucket, take.cost);
    limiter.keep(take.key, bucket);
    Json(taken)
}

async fn stats(State(limiter): Shared) -> Json<Value> {
    let mut limiter = locked(&limiter);
    limiter.forget_the_full();
    Json(json!({ "keys": limiter.buckets.len() }))
}

impl Limiter {
    /// The key's bucket as it is at the time of the call.
    fn bucket(&mut self, take: &Take) -> Bucket {
        self.newest = self.newest.max(take.now_ms);
        match self.buckets.get(&take.key) {
            Some(bucket) => self.filled(*bucket, take.now_ms),
            None if self.bug == Some(Bug::StartsEmpty) => Bucket { level: 0, at: take.now_ms },
            None => Bucket { level: self.burst * TOKEN, at: take.now_ms },
        }
    }

    /// The bucket as it will be at that time; at an earlier one it is as it was.
    fn filled(&self, bucket: Bucket, now: i64) -> Bucket {
        let at = match self.bug {
            Some(Bug::NegativeTime | Bug::TurnsTheClockBack) => now,
            _ => now.max(bucket.at),
        };
        let elapsed = match self.bug {
            Some(Bug::TurnsTheClockBack) => (at - bucket.at).max(0),
            _ => at - bucket.at,
        };
        let level = match self.bug {
            Some(Bug::RoundsEachStep) => bucket.level + elapsed.saturating_mul(self.rate) / TOKEN * TOKEN,
            Some(Bug::AddsFractions) => {
                let tokens = bucket.level as f64 / 1e6 + elapsed as f64 / 1e3 * (self.rate as f64 / 1e3);
                (tokens * 1e6) as i64
            }
            _ => bucket.level.saturating_add(elapsed.saturating_mul(self.rate)),
        };
        let full = if self.bug == Some(Bug::FillsWithoutEnd) { i64::MAX } else { self.burst * TOKEN };
        Bucket { level: level.min(full), at }
    }

    fn take(&self, bucket: &mut Bucket, cost: i64) -> Taken {
        let wanted = cost.saturating_mul(TOKEN);
        let missing = wanted - bucket.level;
        let allowed = missing <= 0;
        if allowed {
            bucket.level -= wanted;
        } else if self.bug == Some(Bug::TakesPart) {
            bucket.level %= TOKEN;
        }
        let wait = match self.bug {
            _ if allowed => 0,
            Some(Bug::ConstantWait) => TOKEN / self.rate + 1,
            Some(Bug::RoundsTheWaitDown) => missing / self.rate,
            _ => (missing + self.rate - 1) / self.rate,
        };
        let ever = cost <= self.burst || self.bug == Some(Bug::PromisesTheImpossible);
        Taken { allowed, remaining: bucket.level.div_euclid(TOKEN), retry_after_ms: ever.then_some(wait) }
    }

    fn keep(&mut self, key: String, bucket: Bucket) {
        self.buckets.insert(key, bucket);
        if self.buckets.len() >= self.many {
            self.forget_the_full();
            self.many = (self.buckets.len() * 2).max(1000);
        }
    }

    /// Drops the buckets that are as good as new.
    fn forget_the_full(&mut self) {
        const LONG: i64 = 1_800_000;
        let mut buckets = std::mem::take(&mut self.buckets);
        buckets.retain(|_, bucket| match self.bug {
            Some(Bug::ForgetsNothing) => true,
            Some(Bug::ForgetsTheDrained) => self.newest - bucket.at < LONG,
            _ => self.filled(*bucket, self.newest).level < self.burst * TOKEN,
        });
        self.buckets = buckets;
    }
}
