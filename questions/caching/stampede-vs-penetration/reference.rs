//! Two maps under one lock: what is remembered, and the calls that are under way. The lock is held for a look and never
//! for a wait; a call is a task of its own, so that no client's end is its end.
//!
//! It is one process with its memory: fifty of them make fifty calls, which is mostly fine, or a lease from a shared
//! cache makes them one, as memcached's leases did at Facebook (Nishtala et al., 2013). Everybody who waits for a call
//! that hangs waits for the whole limit; nginx lets them go to the source after a while instead
//! (`proxy_cache_lock_timeout`). Absences go in order of arrival. A Bloom filter of the ids that exist would answer most
//! of a flood without a call at all, and has to be kept up to date.

use super::Bug;
use crate::prelude::*;
use crate::reference::{Caller, env};
use axum::http::Request;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// Absences that are remembered.
const MOST_ABSENT: usize = 200;

#[derive(Clone)]
struct Cache(Arc<Inner>);

struct Inner {
    bug: Option<Bug>,
    source: String,
    caller: Caller,
    ttl: Duration,
    stale: Duration,
    neg: Duration,
    limit: Duration,
    known: Mutex<Known>,
    /// For a bug: held by everybody.
    queue: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    entries: HashMap<String, Entry>,
    /// The ids of absences, oldest first.
    absent: VecDeque<String>,
    calls: HashMap<String, Call>,
}

#[derive(Clone)]
struct Entry {
    status: StatusCode,
    body: Bytes,
    since: Instant,
}

/// What a call brings: an answer, or the status of its failure.
type Brought = Result<Entry, StatusCode>;

/// A call under way, with all who wait for it.
type Call = Arc<watch::Sender<Option<Brought>>>;

/// What a look into the maps says.
enum Look {
    Have(Entry, &'static str),
    Await(watch::Receiver<Option<Brought>>, &'static str),
}

pub fn router(bug: Option<Bug>) -> Result<Router> {
    let time = |name| Ok::<_, anyhow::Error>(Duration::from_millis(env(name)?));
    let cache = Cache(Arc::new(Inner {
        bug,
        source: env("SOURCE")?,
        caller: Caller::default(),
        ttl: time("TTL_MS")?,
        stale: time("STALE_MS")?,
        neg: time("NEG_MS")?,
        limit: time("LIMIT_MS")?,
        known: Mutex::default(),
        queue: tokio::sync::Mutex::default(),
    }));
    Ok(Router::new().route("/item/{id}", get(item)).with_state(cache))
}

async fn item(State(cache): State<Cache>, Path(id): Path<String>) -> Response {
    let _queue = match cache.has(Bug::OneGlobalLock) {
        true => Some(cache.0.queue.lock().await),
        false => None,
    };
    let (brought, from) = match cache.look(&id) {
        Look::Have(entry, from) => (Ok(entry), from),
        Look::Await(mut call, from) => {
            if cache.has(Bug::EndsWithTheFirst) && from == "miss" {
                let call = cache.known().calls.get(&id).cloned();
                cache.call(id, call.unwrap_or_default()).await;
            }
            let brought = call.wait_for(Option::is_some).await.ok().and_then(|it| it.clone());
            (brought.unwrap_or(Err(StatusCode::BAD_GATEWAY)), from)
        }
    };
    match brought {
        Ok(entry) => (entry.status, [("X-Cache", from)], entry.body).into_response(),
        Err(status) => status.into_response(),
    }
}

impl Cache {
    fn has(&self, bug: Bug) -> bool {
        self.0.bug == Some(bug)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides where the answer is from; begins the call that is needed.
    fn look(&self, id: &str) -> Look {
        let mut known = self.known();
        let entry = known.entries.get(id).cloned();
        match entry.map(|entry| (self.age(&entry), entry)) {
            Some((Age::Fresh, entry)) => Look::Have(entry, "hit"),
            Some((Age::Stale, entry)) if !self.has(Bug::WaitsForTheRefresh) => {
                if !known.calls.contains_key(id) || self.has(Bug::EveryReaderRefreshes) {
                    self.begin(&mut known, id, true);
                }
                Look::Have(entry, "stale")
            }
            _ => match known.calls.get(id) {
                Some(call) if !self.has(Bug::EveryMissCalls) => Look::Await(call.subscribe(), "wait"),
                _ => Look::Await(self.begin(&mut known, id, false), "miss"),
            },
        }
    }

    fn age(&self, entry: &Entry) -> Age {
        let Inner { ttl, stale, neg, .. } = *self.0;
        let absent = entry.status == StatusCode::NOT_FOUND;
        let age = entry.since.elapsed();
        let for_ever = match absent {
            true => self.has(Bug::NegativeForEver),
            false => self.has(Bug::NoExpiry),
        };
        let stale_for_ever = self.has(Bug::StaleForEver) && !stale.is_zero();
        match age {
            _ if for_ever || age < if absent { neg } else { ttl } => Age::Fresh,
            _ if !absent && (stale_for_ever || age < ttl + stale) => Age::Stale,
            _ => Age::Over,
        }
    }

    /// Begins a call, which goes on without whoever wanted it: for a request that waits, or behind one that doesn't.
    fn begin(&self, known: &mut Known, id: &str, behind: bool) -> watch::Receiver<Option<Brought>> {
        let (cache, id, call) = (self.clone(), id.to_owned(), Call::default());
        let brought = call.subscribe();
        known.calls.insert(id.clone(), call.clone());
        if behind || !self.has(Bug::EndsWithTheFirst) {
            tokio::spawn(async move { cache.call(id, call).await });
        }
        brought
    }

    async fn call(&self, id: String, call: Call) {
        let patience = if self.has(Bug::WaitsWithoutLimit) { Duration::from_secs(60) } else { self.0.limit };
        let called = tokio::time::timeout(patience, self.ask(&id)).await;
        let brought = match called {
            Ok(Ok((status @ (StatusCode::OK | StatusCode::NOT_FOUND), body))) => {
                Ok(Entry { status, body, since: Instant::now() })
            }
            Ok(_) => Err(StatusCode::BAD_GATEWAY),
            Err(_) => Err(StatusCode::GATEWAY_TIMEOUT),
        };
        let mut known = self.known();
        known.calls.remove(&id);
        self.keep(&mut known, id, &brought);
        call.send_replace(Some(brought));
    }

    async fn ask(&self, id: &str) -> Result<(StatusCode, Bytes)> {
        let request = Request::get(format!("{}/item/{id}", self.0.source)).body(Bytes::new().into())?;
        self.0.caller.send(request).await
    }

    fn keep(&self, known: &mut Known, id: String, brought: &Brought) {
        let entry = match brought {
            Ok(entry) if entry.status == StatusCode::NOT_FOUND && self.has(Bug::AbsenceIsForgotten) => return,
            Ok(entry) => entry.clone(),
            Err(_) if self.has(Bug::ErrorDropsTheOld) => return drop(known.entries.remove(&id)),
            Err(_) if self.has(Bug::LockThatStays) => {
                return drop(known.calls.insert(id, Call::default()));
            }
            Err(status) if self.has(Bug::CachesTheError) => {
                Entry { status: *status, body: Bytes::new(), since: Instant::now() }
            }
            Err(_) => return,
        };
        if entry.status == StatusCode::NOT_FOUND || self.has(Bug::AbsencePushesOutItems) {
            known.absent.push_back(id.clone());
        }
        known.entries.insert(id, entry);
        if known.absent.len() > MOST_ABSENT && !self.has(Bug::RemembersEveryAbsence) {
            known.forget_one(self.has(Bug::AbsencePushesOutItems));
        }
    }
}

enum Age {
    Fresh,
    Stale,
    Over,
}

impl Known {
    /// Forgets the oldest absence, unless the item exists by now.
    fn forget_one(&mut self, even_an_item: bool) {
        let Some(oldest) = self.absent.pop_front() else { return };
        let absent = |it: &Entry| it.status == StatusCode::NOT_FOUND;
        if even_an_item || self.entries.get(&oldest).is_some_and(absent) {
            self.entries.remove(&oldest);
        }
    }
}
