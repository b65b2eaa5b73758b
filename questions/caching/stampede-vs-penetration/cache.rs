//! A cache before a database, with one medicine at a time.

use super::bloom::Bloom;
use super::{Build, Medicine};
use crate::prelude::*;
use std::sync::{MutexGuard, OnceLock, PoisonError};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

/// How long an item is fresh, how long after that it may still be served, and how long an absence is remembered.
pub const FRESH: Duration = Duration::from_secs(300);
const STALE: Duration = Duration::from_secs(60);
const ABSENT: Duration = Duration::from_secs(30);

/// What is known of an item: its price, or that there is no such item.
pub type Found = Option<i64>;

/// The database. It answers nobody before the whole crowd has looked into the cache: so a crowd is one on any machine.
pub struct Source {
    pub db: Sqlite,
    crowd: Mutex<Arc<Crowd>>,
}

struct Crowd {
    /// Whoever has looked into the cache, and decided what to do.
    looked: Gate,
    expected: u64,
    at_first_answer: OnceLock<u64>,
}

impl Source {
    pub fn new(db: Sqlite) -> Self {
        Self { db, crowd: Mutex::new(Crowd::of(0)) }
    }

    /// Begins a wave of so many requests.
    pub fn expect(&self, requests: u64) {
        *self.crowd.lock().unwrap_or_else(PoisonError::into_inner) = Crowd::of(requests);
    }

    /// How many had looked into the cache when the first query of this wave was answered; 0 if none was.
    pub fn crowd_at_first_answer(&self) -> u64 {
        self.crowd().at_first_answer.get().copied().unwrap_or(0)
    }

    async fn item(&self, id: u64) -> Result<Found> {
        let crowd = self.crowd();
        crowd.looked.arrivals(crowd.expected).await?;
        crowd.at_first_answer.get_or_init(|| crowd.looked.arrived());
        self.db.value("SELECT price FROM item WHERE id = $1", [id as i64]).await
    }

    fn crowd(&self) -> Arc<Crowd> {
        self.crowd.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Crowd {
    fn of(expected: u64) -> Arc<Self> {
        Arc::new(Self { looked: Gate::closed(), expected, at_first_answer: OnceLock::new() })
    }
}

pub struct Cache {
    pub clock: Clock,
    medicine: Medicine,
    build: Build,
    source: Arc<Source>,
    filter: Arc<Bloom>,
    shelf: Mutex<Shelf>,
    refreshes: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct Shelf {
    entries: HashMap<u64, Entry>,
    flights: HashMap<u64, Flight>,
}

struct Entry {
    found: Found,
    fresh_until: Duration,
    refreshing: bool,
}

/// A query that is under way, and whose answer all who wait for it share.
type Flight = Arc<OnceCell<Found>>;

/// What a request does after one look into the cache.
enum Next {
    Answer(Found),
    /// Answer with what is old; the first one to do so also has it loaded anew.
    AnswerOld {
        old: Found,
        refresh: bool,
    },
    Load,
    Join(Flight),
}

impl Cache {
    pub fn new(medicine: Medicine, build: Build, source: &Arc<Source>, filter: &Arc<Bloom>) -> Arc<Self> {
        Arc::new(Self {
            clock: Clock::frozen(),
            medicine,
            build,
            source: source.clone(),
            filter: filter.clone(),
            shelf: Mutex::default(),
            refreshes: Mutex::default(),
        })
    }

    pub async fn get(self: &Arc<Self>, id: u64) -> Result<Found> {
        let next = self.decide(id);
        self.source.crowd().looked.arrive();
        match next {
            Next::Answer(found) => Ok(found),
            Next::AnswerOld { old, refresh } => {
                if refresh {
                    self.refresh(id);
                }
                Ok(old)
            }
            Next::Load => self.load(id).await,
            Next::Join(flight) => {
                // Whoever is first loads; should that fail, the next one tries.
                let found = *flight.get_or_try_init(|| self.load(id)).await?;
                self.land(id, &flight);
                Ok(found)
            }
        }
    }

    /// One look, under one lock: between looking and deciding nobody else can come in.
    fn decide(&self, id: u64) -> Next {
        let mut shelf = self.shelf();
        let now = self.clock.now();
        if let Some(entry) = shelf.entries.get_mut(&id) {
            if now < entry.fresh_until {
                return Next::Answer(entry.found);
            }
            let may_be_old = self.medicine == Medicine::Stale && self.build != Build::DropsExpired;
            if may_be_old && now < entry.fresh_until + STALE {
                let refresh = !std::mem::replace(&mut entry.refreshing, true);
                return Next::AnswerOld { old: entry.found, refresh };
            }
        }
        match self.medicine {
            Medicine::Bloom if !self.filter.may_contain(id) => Next::Answer(None),
            Medicine::SingleFlight if self.build == Build::FlightPerRequest => Next::Join(Flight::default()),
            Medicine::SingleFlight => Next::Join(shelf.flights.entry(id).or_default().clone()),
            _ => Next::Load,
        }
    }

    async fn load(&self, id: u64) -> Result<Found> {
        let found = self.source.item(id).await?;
        let remembers_absence = self.medicine == Medicine::Negative && self.build != Build::DropsAbsence;
        let lifetime = if found.is_some() { FRESH } else { ABSENT };
        if found.is_some() || remembers_absence {
            let entry = Entry { found, fresh_until: self.clock.now() + lifetime, refreshing: false };
            self.shelf().entries.insert(id, entry);
        }
        Ok(found)
    }

    /// Ends a flight, unless another one has begun under its key meanwhile.
    fn land(&self, id: u64, flight: &Flight) {
        let mut shelf = self.shelf();
        if shelf.flights.get(&id).is_some_and(|it| Arc::ptr_eq(it, flight)) {
            shelf.flights.remove(&id);
        }
    }

    /// Loads an item behind the back of those who are served the old one.
    fn refresh(self: &Arc<Self>, id: u64) {
        let cache = self.clone();
        self.refreshes.lock().unwrap_or_else(PoisonError::into_inner).spawn(async move {
            // Should it fail, the old one stays until it is too old to be served.
            if cache.load(id).await.is_err() {
                cache.shelf().entries.entry(id).and_modify(|entry| entry.refreshing = false);
            }
        });
    }

    /// Waits until nothing is loaded in the background any more.
    pub async fn settled(&self) {
        let refreshes = std::mem::take(&mut *self.refreshes.lock().unwrap_or_else(PoisonError::into_inner));
        refreshes.join_all().await;
    }

    /// Entries that say that there is nothing.
    pub fn absences(&self) -> u64 {
        self.shelf().entries.values().filter(|entry| entry.found.is_none()).count() as u64
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The shop that asks the cache: an item with its price as entity tag, or 404.
pub fn shop(cache: Arc<Cache>) -> Router {
    Router::new().route("/items/{id}", get(item)).with_state(cache)
}

async fn item(State(cache): State<Arc<Cache>>, Path(id): Path<u64>) -> Result<Response, Failed> {
    Ok(match cache.get(id).await? {
        Some(price) => {
            ([("etag", format!("\"{price}\""))], Json(json!({"id": id, "price": price}))).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    })
}
