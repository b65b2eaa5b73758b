//! A token bucket in front of a real HTTP endpoint, asked by more requests at once than it has tokens.

use super::keepers::{Taken, TokenBucket, WINDOW};
use super::{Params, TOO_MANY, Update};
use crate::prelude::*;
use axum::http::header::RETRY_AFTER;
use std::sync::{MutexGuard, OnceLock, PoisonError};

/// What the guarded endpoint answered to requests that came at once.
#[derive(Debug, Clone, Serialize)]
pub struct Answered {
    /// Requests that were inside the server before the first of them was decided.
    pub at_once: u64,
    pub passed: u64,
    pub refused: u64,
    /// Those refused with a Retry-After of a whole number of seconds.
    pub told_when: u64,
    pub retry_after_s: u64,
    /// The status of one request at just that time.
    pub after_the_wait: u16,
}

/// What the handlers of the guarded endpoint share.
struct Guard {
    clock: Clock,
    bucket: Mutex<TokenBucket>,
    update: Update,
    /// Holds requests until all that are to come at once are inside; later ones walk through.
    door: Gate,
    /// Holds those who have read the bucket until all have.
    round_trip: Gate,
    inside_at_first_decision: OnceLock<u64>,
}

pub async fn guard_an_endpoint(lab: &Lab, p: &Params) -> Result<Answered> {
    let at_once = p.burst + TOO_MANY;
    let guard = Arc::new(Guard {
        clock: Clock::frozen(),
        bucket: Mutex::new(TokenBucket::new(p.limit, p.burst, p.refill)),
        update: p.update,
        door: Gate::until(at_once),
        round_trip: Gate::until(at_once),
        inside_at_first_decision: OnceLock::new(),
    });
    let api = lab.serve("api", Router::new().route("/", get(guarded)).with_state(guard.clone()))?;
    lab.show_headers(["Retry-After"]);
    let client = lab.client("client", &api);

    lab.step(format_args!("{at_once} requests at once; the server's clock stands still"));
    let replies = try_join_all((0..at_once).map(|_| client.get("/").into_future())).await?;
    let with = |status| replies.iter().filter(|it| it.status == status).count() as u64;
    let waits: Vec<u64> =
        replies.iter().filter_map(|it| it.header(RETRY_AFTER.as_str())?.parse().ok()).collect();
    let retry_after_s = waits.iter().copied().max().unwrap_or(0);

    lab.step(format_args!("{retry_after_s} s later, by the server's clock"));
    guard.clock.step(Duration::from_secs(retry_after_s));
    let later = client.get("/").await?;
    Ok(Answered {
        at_once: guard.inside_at_first_decision.get().copied().unwrap_or(0),
        passed: with(StatusCode::OK),
        refused: with(StatusCode::TOO_MANY_REQUESTS),
        told_when: waits.len() as u64,
        retry_after_s,
        after_the_wait: later.status.as_u16(),
    })
}

async fn guarded(State(guard): State<Arc<Guard>>) -> Response {
    match guard.decide().await {
        Ok(Ok(())) => StatusCode::OK.into_response(),
        Ok(Err(wait_ns)) => {
            let seconds = wait_ns.div_ceil(WINDOW).to_string();
            (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, seconds)]).into_response()
        }
        Err(stuck) => (StatusCode::INTERNAL_SERVER_ERROR, stuck.to_string()).into_response(),
    }
}

impl Guard {
    async fn decide(&self) -> Result<Taken> {
        self.door.pass().await?;
        self.inside_at_first_decision.get_or_init(|| self.door.arrived());
        let now = self.clock.now().as_nanos() as u64;
        Ok(match self.update {
            Update::Atomic => self.bucket().take(now),
            Update::ReadThenWrite => {
                let mut read = self.bucket().clone();
                self.round_trip.pass().await?;
                let taken = read.take(now);
                *self.bucket() = read;
                taken
            }
        })
    }

    fn bucket(&self) -> MutexGuard<'_, TokenBucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
