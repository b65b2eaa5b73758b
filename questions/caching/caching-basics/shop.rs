//! A shop with a cache in its process, before a real database: what reaches the database, when the cache is warm, when a job
//! has read everything through it, and when the process is new.

use super::policy::{Evicts, Shelf};
use super::trace::Popularity;
use super::{Conduct, Params, Skew};
use crate::prelude::*;
use axum::http::HeaderName;
use std::sync::PoisonError;

/// Requests that are counted together.
pub const WINDOW: u64 = 100;
/// Windows until the cache counts as warm, and after each event.
const WARMING: usize = 6;
const AFTER_SCAN: usize = 4;
const AFTER_RESTART: usize = 2;
/// So many times the cache's places are read by the job.
const JOB: u64 = 5;
const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// The shop's products, and what it keeps of them.
struct Shop {
    db: Sqlite,
    conduct: Conduct,
    kept: Mutex<Kept>,
}

struct Kept {
    shelf: Shelf,
    products: HashMap<u64, String>,
}

impl Shop {
    fn new(lab: &Lab, db: &Sqlite, p: &Params, places: u64) -> Arc<Self> {
        let shelf = Shelf::new(places, Evicts::By(p.policy), lab.rng("shop"));
        let kept = Mutex::new(Kept { shelf, products: HashMap::new() });
        Arc::new(Self { db: db.clone(), conduct: p.server, kept })
    }

    /// A product's name, and whether it was there already.
    async fn product(&self, id: u64) -> Result<(String, bool)> {
        let here = self.kept().look(id);
        if let Some(name) = here {
            if self.conduct == Conduct::AsksAnyway {
                self.load(id).await?;
            }
            return Ok((name, true));
        }
        let name = self.load(id).await?;
        self.kept().keep(id, &name);
        Ok((name, false))
    }

    async fn load(&self, id: u64) -> Result<String> {
        let name = self.db.value("SELECT name FROM product WHERE id = $1", [id as i64]).await?;
        name.with_context(|| format!("there is no product {id}"))
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn keep(&mut self, id: u64, name: &str) {
        // Another request may have pushed it out while it was loaded.
        if self.shelf.holds(id) {
            self.products.insert(id, name.to_owned());
        }
    }

    fn look(&mut self, id: u64) -> Option<String> {
        let asked = self.shelf.ask(id, 0);
        if let Some(gone) = asked.evicted {
            self.products.remove(&gone);
        }
        if asked.hit { self.products.get(&id).cloned() } else { None }
    }
}

async fn answer(State(shop): State<Arc<Shop>>, Path(id): Path<u64>) -> Result<Response, Failed> {
    let (name, hit) = shop.product(id).await?;
    Ok(([(X_CACHE, if hit { "hit" } else { "miss" })], Json(json!({"id": id, "name": name}))).into_response())
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct Window {
    pub requests: u64,
    /// What the shop says of its answers.
    pub hits: u64,
    pub misses: u64,
    /// What the database counts.
    pub statements: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Seen {
    pub places: u64,
    /// Requests to the same shop without a cache.
    pub without: Window,
    pub warming: Vec<Window>,
    /// Keys that a job read through the cache.
    pub scanned: u64,
    pub scan: Vec<Window>,
    pub restart: Vec<Window>,
}

/// Customers, who ask for what is popular.
struct Customers<'a> {
    lab: &'a Lab,
    db: &'a Sqlite,
    popularity: Popularity,
    rng: rand::rngs::StdRng,
    /// What they asked for in the last window.
    asked: Vec<u64>,
}

pub async fn observe(lab: &Lab, p: &Params) -> Result<Seen> {
    let db = lab.sqlite("CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT NOT NULL)").await?;
    let fill = "INSERT INTO product WITH RECURSIVE n(id) AS (VALUES (1) UNION ALL SELECT id + 1 FROM n WHERE id < $1)
                SELECT id, 'product ' || id FROM n";
    db.execute(fill, [p.keys as i64]).await?;
    let mut rng = lab.rng("customers");
    let popularity = Popularity::new(p.keys, p.skew, &mut rng);
    let mut customers = Customers { lab, db: &db, popularity, rng, asked: Vec::new() };
    let places = p.keys * p.cache_percent / 100;

    lab.step(format_args!("{WINDOW} requests to a shop without a cache"));
    let without = customers.ask(&Shop::new(lab, &db, p, 0), 1, &[]).await?[0];

    lab.step(format_args!("A new shop whose cache holds {places} of {} products", p.keys));
    let shop = Shop::new(lab, &db, p, places);
    let warming = customers.ask(&shop, WARMING, &[]).await?;

    lab.step("A job reads many products once, through the same cache; then customers go on");
    let (same, before) = (customers.asked.clone(), db.statements());
    for id in 1..=p.keys.min(JOB * places) {
        shop.product(id).await?;
    }
    let scanned = db.statements() - before;
    let scan = customers.ask(&shop, AFTER_SCAN, &same).await?;

    lab.step("The shop's process is started anew");
    let same = customers.asked.clone();
    let anew = if p.server == Conduct::StartsWarm { shop } else { Shop::new(lab, &db, p, places) };
    let restart = customers.ask(&anew, AFTER_RESTART, &same).await?;
    Ok(Seen { places, without, warming, scanned, scan, restart })
}

impl Customers<'_> {
    /// Asks in windows, the first of which is for the same as was asked for before, if that is given.
    async fn ask(&mut self, shop: &Arc<Shop>, windows: usize, same: &[u64]) -> Result<Vec<Window>> {
        let router = Router::new().route("/products/{id}", get(answer)).with_state(shop.clone());
        let server = self.lab.serve("shop", router)?;
        let mut all = Vec::new();
        for window in 0..windows {
            let drawn: Vec<u64> = (0..WINDOW).map(|_| self.popularity.draw(&mut self.rng)).collect();
            self.asked = if window == 0 && !same.is_empty() { same.to_vec() } else { drawn };
            let before = self.db.statements();
            let load = Load::closed(1).at_most(WINDOW).during(Duration::from_secs(10)).keeping(X_CACHE);
            let load = self.asked.iter().fold(load, |load, id| load.get(format!("/products/{id}")));
            let loaded = self.lab.load("customers", &server, &load).await?;
            let said =
                |word| loaded.shots.iter().filter(|it| it.kept.as_deref() == Some(word)).count() as u64;
            all.push(Window {
                requests: loaded.answered(200),
                hits: said("hit"),
                misses: said("miss"),
                statements: self.db.statements() - before,
            });
        }
        Ok(all)
    }
}

impl Window {
    fn percent(&self) -> f64 {
        100.0 * self.hits as f64 / self.requests.max(1) as f64
    }
}

impl Seen {
    /// The windows before and after the scan, and before and after the restart.
    fn around(&self) -> [Window; 4] {
        let last = |windows: &[Window]| windows[windows.len() - 1];
        [last(&self.warming), self.scan[0], last(&self.scan), self.restart[0]]
    }

    fn all(&self) -> impl Iterator<Item = &Window> {
        self.warming.iter().chain(&self.scan).chain(&self.restart)
    }
}

pub fn claims(p: &Params, seen: &Seen) -> Vec<Claim> {
    let (hits, misses) = seen.all().fold((0, 0), |sum, it| (sum.0 + it.hits, sum.1 + it.misses));
    let requests: u64 = seen.all().map(|it| it.requests).sum();
    let statements: u64 = seen.all().map(|it| it.statements).sum();
    let [warm, scan, before, cold] = seen.around();
    // What happens within one window shows only where the cache is larger than that, and requests prefer some keys.
    let shows = p.skew != Skew::Uniform && seen.places >= WINDOW;
    let percent = |it: Window| format!("{:.0} percent", it.percent());
    vec![
        claim(
            "misses-are-load",
            "Every miss is one statement at the database, and no hit is",
            "hits ask it too, as by checking that they are still right",
        )
        .witness(hits > 0 && misses > 0, format!("{hits} hits and {misses} misses, {requests} requests"))
        .equal(
            format!("{statements} statements for {misses} misses"),
            format!("{} statements for {misses} misses", requests - hits),
        ),
        claim(
            "no-cache-all-load",
            "Without a cache every request is a statement",
            "something else remembers",
        )
        .witness(seen.without.requests > 0, format!("{} requests", seen.without.requests))
        .equal(seen.without.statements, seen.without.requests),
        claim(
            "scan-flushes",
            "A job that reads many keys once pushes out what customers want: the same requests have fewer hits after it",
            "what goes is chosen by how often it was used, or the job goes past the cache",
        )
        .witness(
            shows && seen.scanned > 0 && p.keys >= JOB * seen.places,
            format!("{} statements of the job, {} places", seen.scanned, seen.places),
        )
        .that(
            scan.hits * 10 <= warm.hits * 9,
            format!("{} hits, {} before", percent(scan), percent(warm)),
            "at most nine tenths",
        ),
        claim(
            "restart-is-load",
            "After a restart the same requests send the database more statements than before it",
            "the new process starts with the old one's entries",
        )
        .witness(shows, format!("{} statements in the window before", before.statements))
        .that(
            cold.statements * 10 >= before.statements * 11,
            format!("{} statements, {} before", cold.statements, before.statements),
            "at least a tenth more",
        ),
    ]
}

pub fn figure(seen: &Seen) -> Figure {
    let points = |of: fn(&Window) -> f64| {
        seen.all().enumerate().map(|(n, it)| ((n + 1) as f64 * WINDOW as f64, of(it))).collect()
    };
    let series = |name: &str, of, tone| Series { name: name.into(), points: points(of), tone };
    let at = |windows: usize| windows as f64 * WINDOW as f64;
    let lines = Lines {
        x: Axis { label: "requests".into(), log: false },
        y: Axis { label: "percent".into(), log: false },
        series: vec![
            series("hits", Window::percent, Tone::Accent),
            series(
                "reach the database",
                |it| 100.0 * it.statements as f64 / it.requests.max(1) as f64,
                Tone::Refuted,
            ),
        ],
        marks: vec![
            Mark { at: at(WARMING), label: "a job".into() },
            Mark { at: at(WARMING + AFTER_SCAN), label: "restart".into() },
        ],
    };
    Figure::new(
        "shop",
        "The shop over its life: it warms up, a job reads many products once, it is started anew. What the cache keeps off the \
         database in good times comes all at once in bad ones.",
        lines,
    )
}

pub fn flawless(p: &Params) -> Seen {
    let window = |hits| Window { requests: WINDOW, hits, misses: WINDOW - hits, statements: WINDOW - hits };
    let places = p.keys * p.cache_percent / 100;
    Seen {
        places,
        without: window(0),
        warming: vec![window(60)],
        scanned: p.keys,
        scan: vec![window(30), window(60)],
        restart: vec![window(30)],
    }
}
