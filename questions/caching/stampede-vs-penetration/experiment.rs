//! Stampede and penetration: two ways in which everybody gets past a cache, and what helps against which.
//!
//! A crowd asks a shop for items; the shop has a cache before its database. In a stampede all want one item that has
//! just expired; in a penetration all want items that don't exist. Each medicine is tried against both.

use crate::prelude::*;
use axum::http::header;
use rand::RngExt;

#[path = "bloom.rs"]
mod bloom;
#[path = "cache.rs"]
mod cache;
#[path = "claims.rs"]
mod claims;
#[path = "figures.rs"]
mod figures;

use bloom::Bloom;
use cache::{Cache, FRESH, Source, shop};

/// Items that exist, numbered from 1; as many numbers behind them are asked for and don't exist.
const ITEMS: u64 = 20_000;
/// Items that came last, and that a filter which isn't told of new ones misses.
const NEWEST: u64 = 200;
/// The avalanche: items that are filled together, and how long they are watched.
const TOGETHER: usize = 1000;
const HOUR_SECONDS: u64 = 3600;

/// What helps, or doesn't.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
enum Medicine {
    Nothing,
    SingleFlight,
    Stale,
    Negative,
    Bloom,
}

impl Medicine {
    const ALL: [Self; 5] = [Self::Nothing, Self::SingleFlight, Self::Stale, Self::Negative, Self::Bloom];

    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "no medicine",
            Self::SingleFlight => "single flight",
            Self::Stale => "stale while revalidating",
            Self::Negative => "negative entries",
            Self::Bloom => "Bloom filter",
        }
    }
}

choices! {
    pub enum Build {
        Right = "as it should be",
        FlightPerRequest = "each request flies alone",
        DropsExpired = "expired entries are dropped",
        DropsAbsence = "absence isn't stored",
        FilterLags = "the filter isn't told of new items",
    }
}

params! {
    /// Clients that ask at the same moment.
    clients: u64 = 20 in 5..=100;
    /// Bits that the Bloom filter has for each item.
    bits_per_item: u64 = 10 in 2..=20;
    /// By how much the lifetime of an entry is shortened at random, in percent of 300 seconds.
    jitter_percent: u64 = 20 in 0..=90;
    /// How the cache is built.
    cache: Build = "as it should be" in ..;
}

pub struct StampedeVsPenetration;

#[derive(Serialize)]
pub struct Observed {
    tried: BTreeMap<Medicine, Tried>,
    filter: Filter,
    avalanche: Avalanche,
}

/// What one medicine does against each disease.
#[derive(Clone, Copy, Serialize)]
struct Tried {
    /// All ask for one item, which has just expired.
    stampede: Wave,
    /// Each asks for another item that doesn't exist.
    different: Wave,
    /// All ask for the same item that doesn't exist, and later once more.
    repeated: [Wave; 2],
    /// Entries that say "there is nothing", after the wave of different items.
    absences: u64,
}

/// What came of one wave of requests.
#[derive(Clone, Copy, Serialize)]
struct Wave {
    requests: u64,
    /// Requests that had looked into the cache when the database answered the first query.
    crowd: u64,
    /// Queries that reached the database.
    queries: u64,
    /// Answers with the price before the expiry, with the present one, and that there is no such item.
    old: u64,
    new: u64,
    absent: u64,
}

#[derive(Clone, Serialize)]
struct Filter {
    asked_present: u64,
    /// Items that exist and that the filter denies.
    false_negatives: u64,
    asked_absent: u64,
    /// Items that don't exist and that the filter lets through.
    false_positives: u64,
    /// How many those should be by the formula.
    expected: f64,
}

/// Queries in the busiest of each ten seconds after the filling, with equal lifetimes and with jittered ones.
#[derive(Clone, Serialize)]
struct Avalanche {
    equal: Vec<u64>,
    jittered: Vec<u64>,
}

impl Experiment for StampedeVsPenetration {
    type Params = Params;
    type Observed = Observed;

    fn predict(p: &Params) -> Prediction<Observed> {
        let ask = format!(
            "{0} clients ask at once for {0} different items that don't exist. Single flight is on, nothing else. How many \
             queries reach the database?",
            p.clients
        );
        Prediction::number(ask, "queries", |seen: &Observed| seen.of(Medicine::SingleFlight).different.queries).tempting(
            1,
            "Single flight sounds like one query at a time. It is one query for each key, and here no two keys are equal.",
        )
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        let db = lab.sqlite("CREATE TABLE item (id INTEGER PRIMARY KEY, price INTEGER NOT NULL)").await?;
        let items = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
                     INSERT INTO item SELECT i, 100 FROM n";
        db.execute(items, [ITEMS as i64]).await?;
        let filter = Arc::new(filled_filter(p));
        let mut tried = BTreeMap::new();
        for medicine in Medicine::ALL {
            tried.insert(medicine, try_medicine(lab, p, medicine, &db, &filter).await?);
        }
        let avalanche = Avalanche { equal: hour(lab, 0), jittered: hour(lab, p.jitter_percent) };
        Ok(Observed { tried, filter: ask_filter(&filter), avalanche })
    }

    fn claims(p: &Params, seen: &Observed) -> Vec<Claim> {
        [
            claims::on_stampede(p, seen),
            claims::on_penetration(p, seen),
            claims::on_filter_and_avalanche(p, seen),
        ]
        .concat()
    }

    fn figures(_: &Params, seen: &Observed) -> Vec<Figure> {
        figures::all(seen)
    }

    fn counterexamples(p: &Params) -> Vec<Observed> {
        type Break = fn(&mut Tried);
        let broken: [(Medicine, Break); 9] = [
            (Medicine::Nothing, |it| it.stampede.queries = 1),
            (Medicine::SingleFlight, |it| it.stampede.queries = 2),
            (Medicine::Negative, |it| it.stampede.queries = 1),
            (Medicine::Stale, |it| (it.stampede.old, it.stampede.new) = (it.stampede.old - 1, 1)),
            (Medicine::SingleFlight, |it| it.different.queries = 1),
            (Medicine::Negative, |it| it.absences = 0),
            (Medicine::Nothing, |it| it.repeated[1].queries = 0),
            (Medicine::SingleFlight, |it| it.repeated[1].queries = 0),
            (Medicine::Negative, |it| it.repeated[1].queries = 1),
        ];
        let mut all: Vec<Observed> = broken
            .map(|(medicine, break_it)| {
                let mut seen = flawless(p);
                seen.tried.entry(medicine).and_modify(break_it);
                seen
            })
            .into();
        let filter = flawless(p).filter;
        for filter in [
            Filter { false_negatives: 1, ..filter.clone() },
            Filter { false_positives: ITEMS / 10, ..filter.clone() },
            Filter { false_positives: 0, ..filter },
        ] {
            all.push(Observed { filter, ..flawless(p) });
        }
        let Avalanche { equal, .. } = flawless(p).avalanche;
        all.push(Observed { avalanche: Avalanche { jittered: equal.clone(), equal }, ..flawless(p) });
        all
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "give each request a single flight of its own",
                set: &[("cache", "each request flies alone")],
                refutes: &["stampede-one-query", "flight-shares-absence"],
            },
            Fault {
                label: "drop entries as soon as they expire",
                set: &[("cache", "expired entries are dropped")],
                refutes: &["stampede-one-query", "stale-nobody-waits"],
            },
            Fault {
                label: "store only what was found",
                set: &[("cache", "absence isn't stored")],
                refutes: &["negative-second-wave", "negative-fills-up"],
            },
            Fault {
                label: "forget to tell the filter of new items",
                set: &[("cache", "the filter isn't told of new items")],
                refutes: &["filter-denies-none"],
            },
            Fault {
                label: "save on the filter's bits",
                set: &[("bits_per_item", "2")],
                refutes: &["filter-keeps-out"],
            },
            Fault {
                label: "give all entries the same lifetime",
                set: &[("jitter_percent", "0")],
                refutes: &["jitter-halves"],
            },
        ]
    }
}

/// Tries one medicine against both diseases, each time with an empty cache.
async fn try_medicine(
    lab: &Lab,
    p: &Params,
    medicine: Medicine,
    db: &Sqlite,
    filter: &Arc<Bloom>,
) -> Result<Tried> {
    let (name, clients) = (medicine.name(), p.clients);
    let empty_shop = || Shop::open(lab, p, medicine, db, filter);

    lab.step(format_args!(
        "Stampede, with {name}: item 1 has just expired, and {clients} clients ask for it"
    ));
    let shop = empty_shop()?;
    shop.wave(1, &[1]).await?;
    shop.cache.clock.step(FRESH);
    db.execute("UPDATE item SET price = price + 1 WHERE id = 1", ()).await?;
    let stampede = shop.wave(clients, &[1]).await?;

    lab.step(format_args!(
        "Penetration, with {name}: {clients} clients ask for different items that don't exist"
    ));
    let shop = empty_shop()?;
    let items: Vec<u64> = (1..=clients).map(|client| ITEMS + client).collect();
    let different = shop.wave(clients, &items).await?;
    let absences = shop.cache.absences();

    let shop = empty_shop()?;
    lab.step(format_args!("Penetration, with {name}: {clients} clients ask for one item that doesn't exist"));
    let first = shop.wave(clients, &[ITEMS + 1]).await?;
    lab.step(format_args!("Penetration, with {name}: and they ask for it once more"));
    let second = shop.wave(clients, &[ITEMS + 1]).await?;
    Ok(Tried { stampede, different, repeated: [first, second], absences })
}

/// A shop with an empty cache.
struct Shop {
    lab: Lab,
    server: Server,
    cache: Arc<Cache>,
    source: Arc<Source>,
    db: Sqlite,
}

impl Shop {
    fn open(lab: &Lab, p: &Params, medicine: Medicine, db: &Sqlite, filter: &Arc<Bloom>) -> Result<Self> {
        let source = Arc::new(Source::new(db.seen(lab, "shop", "database")));
        let cache = Cache::new(medicine, p.cache, &source, filter);
        let server = lab.serve("shop", shop(cache.clone()))?;
        Ok(Self { lab: lab.clone(), server, cache, source, db: db.clone() })
    }

    /// Lets clients ask at once, each for one of the items in turn; the database answers nobody before all of them have
    /// looked into the cache.
    async fn wave(&self, clients: u64, items: &[u64]) -> Result<Wave> {
        self.source.expect(clients);
        let price = self.db.value::<i64>("SELECT price FROM item WHERE id = 1", ()).await?;
        let statements = self.db.statements();
        let load =
            Load::closed(clients).at_most(clients).during(Duration::from_secs(10)).keeping(header::ETAG);
        let load = items.iter().fold(load, |load, item| load.get(format!("/items/{item}")));
        let loaded = self.lab.load("clients", &self.server, &load).await?;
        self.cache.settled().await;
        let prices = loaded
            .shots
            .iter()
            .filter_map(|shot| shot.kept.as_deref()?.trim_matches('"').parse::<i64>().ok());
        let (new, old): (Vec<_>, Vec<_>) = prices.partition(|it| Some(*it) == price);
        Ok(Wave {
            requests: loaded.shots.len() as u64,
            crowd: self.source.crowd_at_first_answer(),
            queries: self.db.statements() - statements,
            old: old.len() as u64,
            new: new.len() as u64,
            absent: loaded.answered(404),
        })
    }
}

fn filled_filter(p: &Params) -> Bloom {
    let mut filter = Bloom::new(ITEMS, p.bits_per_item);
    let known = if p.cache == Build::FilterLags { ITEMS - NEWEST } else { ITEMS };
    (1..=known).for_each(|item| filter.insert(item));
    filter
}

fn ask_filter(filter: &Bloom) -> Filter {
    let let_through =
        |items: std::ops::Range<u64>| items.filter(|item| filter.may_contain(*item)).count() as u64;
    Filter {
        asked_present: ITEMS,
        false_negatives: ITEMS - let_through(1..ITEMS + 1),
        asked_absent: ITEMS,
        false_positives: let_through(ITEMS + 1..2 * ITEMS + 1),
        expected: ITEMS as f64 * filter.expected_share(ITEMS),
    }
}

/// Fills entries at second 0, reads each of them in every second of an hour, and loads it when it has expired. Returns
/// how many are loaded in the busiest of each ten seconds.
fn hour(lab: &Lab, jitter_percent: u64) -> Vec<u64> {
    let mut rng = lab.rng("lifetimes");
    let fresh = FRESH.as_secs();
    let mut lifetime = || fresh - rng.random_range(0..=fresh * jitter_percent / 100);
    let mut expires: Vec<u64> = (0..TOGETHER).map(|_| lifetime()).collect();
    let mut busiest = vec![0; HOUR_SECONDS as usize / 10];
    for second in 1..=HOUR_SECONDS {
        let mut loaded = 0;
        for expiry in expires.iter_mut().filter(|expiry| **expiry <= second) {
            *expiry = second + lifetime();
            loaded += 1;
        }
        let ten = &mut busiest[(second as usize - 1) / 10];
        *ten = loaded.max(*ten);
    }
    busiest
}

impl Observed {
    fn of(&self, medicine: Medicine) -> Tried {
        self.tried[&medicine]
    }
}

/// What a run shows in which every medicine does what it can.
fn flawless(p: &Params) -> Observed {
    let clients = p.clients;
    let wave =
        |queries, old, new, absent| Wave { requests: clients, crowd: clients, queries, old, new, absent };
    let tried = |medicine| {
        let (stampede, different, repeated) = match medicine {
            Medicine::Nothing => (wave(clients, 0, clients, 0), clients, [clients, clients]),
            Medicine::SingleFlight => (wave(1, 0, clients, 0), clients, [1, 1]),
            Medicine::Stale => (wave(1, clients, 0, 0), clients, [clients, clients]),
            Medicine::Negative => (wave(clients, 0, clients, 0), clients, [clients, 0]),
            Medicine::Bloom => (wave(clients, 0, clients, 0), 0, [0, 0]),
        };
        let absent = |queries| wave(queries, 0, 0, clients);
        let absences = if medicine == Medicine::Negative { clients } else { 0 };
        Tried { stampede, different: absent(different), repeated: repeated.map(absent), absences }
    };
    let filter = Filter {
        asked_present: ITEMS,
        false_negatives: 0,
        asked_absent: ITEMS,
        false_positives: 160,
        expected: 163.9,
    };
    let mut equal = vec![0; 60];
    (equal[29], equal[59]) = (TOGETHER as u64, TOGETHER as u64);
    Observed {
        tried: Medicine::ALL.map(|medicine| (medicine, tried(medicine))).into(),
        filter,
        avalanche: Avalanche { equal, jittered: vec![TOGETHER as u64 / 300; 60] },
    }
}
