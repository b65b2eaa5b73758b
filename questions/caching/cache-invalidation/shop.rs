//! The same with real servers: a shop with a cache, which readers ask, and an office, which writes to the database and has
//! the shop delete its entry. Where the order matters, one of them is held between two of its steps.

use super::{Build, Params};
use crate::prelude::*;
use std::sync::PoisonError;

const SCHEMA: &str = "
    CREATE TABLE item (id INTEGER PRIMARY KEY, price INTEGER NOT NULL);
    CREATE TABLE outbox (id INTEGER PRIMARY KEY, item INTEGER NOT NULL);
    CREATE TRIGGER tell AFTER UPDATE ON item BEGIN INSERT INTO outbox (item) VALUES (new.id); END;
    INSERT INTO item VALUES (1, 100)";
const OLD: i64 = 100;
const NEW: i64 = 120;
/// How long an entry is used at the most, where it has an end.
const TTL: Duration = Duration::from_secs(60);

#[derive(Clone)]
struct Shop {
    db: Sqlite,
    clock: Clock,
    leases: bool,
    ttl: bool,
    entry: Arc<Mutex<Entry>>,
    /// Between reading the database and filling the cache.
    before_fill: Gate,
}

#[derive(Default)]
struct Entry {
    kept: Option<(i64, Duration)>,
    /// How often it was deleted: a lease that was handed out before is void.
    deleted: u64,
}

impl Shop {
    fn new(lab: &Lab, db: &Sqlite, leases: bool, ttl: bool) -> Self {
        let db = db.seen(lab, "shop", "database");
        let (clock, entry) = (Clock::frozen(), Arc::default());
        Self { db, clock, leases, ttl, entry, before_fill: open() }
    }

    fn router(&self) -> Router {
        Router::new().route("/price", get(price)).route("/entry", delete(forget)).with_state(self.clone())
    }

    fn entry(&self) -> std::sync::MutexGuard<'_, Entry> {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept, or a lease for filling it.
    fn look(&self) -> Result<i64, u64> {
        let entry = self.entry();
        let now = self.clock.now();
        let kept = entry.kept.filter(|(_, since)| !self.ttl || now < *since + TTL);
        kept.map(|(price, _)| price).ok_or(entry.deleted)
    }

    fn fill(&self, price: i64, lease: u64) {
        let mut entry = self.entry();
        if !self.leases || entry.deleted == lease {
            entry.kept = Some((price, self.clock.now()));
        }
    }
}

fn open() -> Gate {
    Gate::until(0)
}

async fn price(State(shop): State<Shop>) -> Result<Json<i64>, Failed> {
    let lease = match shop.look() {
        Ok(price) => return Ok(Json(price)),
        Err(lease) => lease,
    };
    let price =
        shop.db.value("SELECT price FROM item WHERE id = 1", ()).await?.context("there is no item 1")?;
    shop.before_fill.pass().await?;
    shop.fill(price, lease);
    Ok(Json(price))
}

async fn forget(State(shop): State<Shop>) -> StatusCode {
    let mut entry = shop.entry();
    entry.kept = None;
    entry.deleted += 1;
    StatusCode::NO_CONTENT
}

/// Writes prices. What it has written stands in the outbox, by the same transaction, until the shop has heard of it.
#[derive(Clone)]
struct Office {
    db: Sqlite,
    shop: Client,
    /// Between writing to the database and telling the shop.
    before_delete: Gate,
}

impl Office {
    async fn tell(&self) -> Result<()> {
        self.shop.delete("/entry").await?;
        self.db.execute("DELETE FROM outbox", ()).await?;
        Ok(())
    }

    /// Tells of what was written before the office was started.
    async fn catch_up(&self) -> Result<u64> {
        let untold = self.db.count("SELECT count(*) FROM outbox", ()).await?;
        if untold > 0 {
            self.tell().await?;
        }
        Ok(untold)
    }
}

async fn write(State(office): State<Office>, Json(price): Json<i64>) -> Result<StatusCode, Failed> {
    office.db.execute("UPDATE item SET price = $1 WHERE id = 1", [price]).await?;
    office.before_delete.pass().await?;
    office.tell().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What readers get after the bad order.
#[derive(Debug, Clone, Serialize)]
pub struct Raced {
    pub old: i64,
    /// What the database has.
    pub now: i64,
    /// Readers who were held between reading and filling when the writer had its answer.
    pub held: u64,
    pub later: Vec<i64>,
}

pub async fn race(lab: &Lab, p: &Params, leases: bool) -> Result<Raced> {
    let with = if leases { "with leases" } else { "without leases" };
    lab.step(format_args!(
        "The bad order on real servers, {with}: a reader is held before its fill, a writer passes"
    ));
    let db = lab.sqlite(SCHEMA).await?;
    let shop = Shop::new(lab, &db, leases && p.build != Build::TakesAnyFill, false);
    let front = lab.serve("shop", shop.router())?;
    let office = office(lab, &db, &front);
    let back = lab.serve("office", Router::new().route("/price", put(write)).with_state(office))?;
    let reader = lab.client("reader", &front);

    shop.before_fill.close();
    let first = tokio::spawn({
        let asking = reader.get("/price");
        async move { asking.await }
    });
    shop.before_fill.arrivals(1).await?;
    lab.client("writer", &back).put("/price").json(&NEW).await?;
    let held = shop.before_fill.waiting();
    shop.before_fill.open();
    let old = first.await??.json()?;
    let mut later = Vec::new();
    for _ in 0..3 {
        later.push(reader.get("/price").await?.json()?);
    }
    Ok(Raced { old, now: present(&db).await?, held, later })
}

/// What readers get when the office died between its write and its delete.
#[derive(Debug, Clone, Serialize)]
pub struct Lost {
    pub old: i64,
    pub now: i64,
    /// Whether the writer got an answer.
    answered: bool,
    /// After the crash; after the office was started again, without an outbox and with one; after the entry's time.
    pub before: i64,
    pub without: i64,
    pub with_outbox: i64,
    pub with_ttl: i64,
    /// Writes that stood in the outbox at the start.
    untold: u64,
}

pub async fn lose(lab: &Lab, p: &Params) -> Result<Lost> {
    lab.step("The office is killed between its write and its delete, and started again without an outbox");
    let mut crash = Crash::new(lab, false).await?;
    let (answered, before) = (crash.answered, crash.read().await?);
    // Without an outbox there is nothing that a new office could know of.
    crash.db.execute("DELETE FROM outbox", ()).await?;
    crash.start(lab).await?;
    let without = crash.read().await?;
    let now = present(&crash.db).await?;

    lab.step("The same, with an outbox");
    let mut crash = Crash::new(lab, false).await?;
    let untold = if p.build == Build::ForgetsOutbox { 0 } else { crash.start(lab).await? };
    let with_outbox = crash.read().await?;

    lab.step("The same without an outbox, and the entry's time passes");
    let crash = Crash::new(lab, true).await?;
    crash.shop.clock.step(TTL);
    let with_ttl = crash.read().await?;
    Ok(Lost { old: OLD, now, answered, before, without, with_outbox, with_ttl, untold })
}

/// A shop whose entry is old, since the office died too early.
struct Crash {
    db: Sqlite,
    shop: Shop,
    front: Server,
    reader: Client,
    answered: bool,
}

impl Crash {
    async fn new(lab: &Lab, ttl: bool) -> Result<Self> {
        let db = lab.sqlite(SCHEMA).await?;
        let shop = Shop::new(lab, &db, true, ttl);
        let front = lab.serve("shop", shop.router())?;
        let reader = lab.client("reader", &front);
        reader.get("/price").await?;
        let office = Office { before_delete: Gate::closed(), ..office(lab, &db, &front) };
        let gate = office.before_delete.clone();
        let mut back = lab.serve("office", Router::new().route("/price", put(write)).with_state(office))?;
        let writing = tokio::spawn({
            let asking = lab.client("writer", &back).put("/price").json(&NEW);
            async move { asking.await.is_ok() }
        });
        gate.arrivals(1).await?;
        back.kill().await?;
        Ok(Self { db, shop, front, reader, answered: writing.await? })
    }

    /// A new office begins with what the old one hasn't told.
    async fn start(&mut self, lab: &Lab) -> Result<u64> {
        office(lab, &self.db, &self.front).catch_up().await
    }

    async fn read(&self) -> Result<i64> {
        self.reader.get("/price").await?.json()
    }
}

fn office(lab: &Lab, db: &Sqlite, shop: &Server) -> Office {
    Office { db: db.seen(lab, "office", "database"), shop: lab.client("office", shop), before_delete: open() }
}

async fn present(db: &Sqlite) -> Result<i64> {
    db.value("SELECT price FROM item WHERE id = 1", ()).await?.context("there is no item 1")
}

pub fn claims(plain: &Raced, leased: &Raced, lost: &Lost) -> Vec<Claim> {
    let raced = |id, says, breaks_when, it: &Raced, expected: i64| {
        claim(id, says, breaks_when)
            .witness(
                it.held == 1 && it.old != it.now,
                format!("{} reader held {} while the database came to {}", it.held, it.old, it.now),
            )
            .equal(prices(&it.later), prices(&[expected; 3]))
    };
    let crashed = |id, says, breaks_when, got: i64, expected: i64| {
        claim(id, says, breaks_when)
            .witness(
                !lost.answered && lost.old != lost.now,
                format!("the office died; the database has {}", lost.now),
            )
            .equal(got, expected)
    };
    vec![
        raced(
            "order-is-real",
            "That order happens on a real server: every later reader gets the old price",
            "the fill is refused",
            plain,
            plain.old,
        ),
        raced(
            "lease-refuses",
            "With leases the late fill is refused there, and later readers get the new price",
            "the lease isn't compared",
            leased,
            leased.now,
        ),
        crashed(
            "lost-delete-stays",
            "When the writer dies between its write and its delete, readers get the old price, and starting it again \
             changes nothing",
            "somebody else deletes the entry",
            if lost.before == lost.without { lost.without } else { lost.now },
            lost.old,
        ),
        crashed(
            "outbox-repairs",
            "With an outbox the new process finds the write and deletes the entry",
            "the outbox isn't read",
            lost.with_outbox,
            lost.now,
        ),
        crashed(
            "ttl-ends-it",
            "With a time to live the old price ends with it",
            "the entry has none",
            lost.with_ttl,
            lost.now,
        ),
    ]
}

fn prices(prices: &[i64]) -> String {
    prices.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
}

pub fn figure(plain: &Raced, leased: &Raced, lost: &Lost) -> Figure {
    let row = |what: &str, got: String, now: i64| vec![what.to_owned(), got, now.to_string()];
    let table = Table {
        columns: ["what happened", "readers get", "the database has"].map(str::to_owned).into(),
        rows: vec![
            row("a late fill", prices(&plain.later), plain.now),
            row("a late fill, with leases", prices(&leased.later), leased.now),
            row("writer dies before its delete", lost.before.to_string(), lost.now),
            row("… and is started again", lost.without.to_string(), lost.now),
            row("… with an outbox", lost.with_outbox.to_string(), lost.now),
            row("… or the entry's time is over", lost.with_ttl.to_string(), lost.now),
        ],
    };
    Figure::new(
        "real servers",
        "What readers of a real shop get afterwards, and what the database has.",
        table,
    )
}

impl Raced {
    pub fn flawless(leases: bool) -> Self {
        let later = vec![if leases { NEW } else { OLD }; 3];
        Self { old: OLD, now: NEW, held: 1, later }
    }
}

impl Lost {
    pub fn flawless() -> Self {
        let (before, without) = (OLD, OLD);
        Self {
            old: OLD,
            now: NEW,
            answered: false,
            before,
            without,
            with_outbox: NEW,
            with_ttl: NEW,
            untold: 1,
        }
    }
}
