//! The trips to the database: orders with their items, loaded one order at a time, by a join, and by keys.
//!
//! `loading.rs` is the page's code. Here it runs against PostgreSQL behind a wire of a chosen length, which counts what
//! crosses it, and against SQLite, which has no wire. `claims.rs` says what must come out.

use crate::prelude::*;
use backlab_parts::postgres::{Counts, Wire};
use loading::{Embedded, Order, Page, Shop, Strategy, Took, Watch, lazy, load};
use sqlx::query_as;

#[path = "claims.rs"]
mod claims;
#[path = "figures.rs"]
mod figures;
#[path = "loading.rs"]
mod loading;

params! {
    /// Orders that the page lists.
    parents: u64 = 50 in 1..=200;
    /// Items of each order.
    children_each: u64 = 5 in 1..=20;
    /// Milliseconds that the way to PostgreSQL and back adds.
    round_trip_ms: u64 = 2 in 0..=10;
    /// The way to load whose messages are shown; all are measured.
    strategy: Strategy = "lazy" in ..;
    /// What the page shows of each order. The name came later, by another hand.
    page: Page = "its items" in ..;
}

/// Payments of each order.
const PAYMENTS_EACH: u64 = 3;
/// Orders on the page of the newest.
const NEWEST: u64 = 10;
/// A loading is timed up to three times, as long as the times so far are shorter; the fastest counts.
const LONG_ENOUGH_MS: f64 = 1000.0;

pub struct NPlusOne;

#[derive(Debug, Default, Serialize)]
pub struct Observed {
    /// Orders that lazy loading brought.
    listed: u64,
    /// A `SELECT 1` over the wire, in milliseconds, the fastest of five.
    trip_ms: f64,
    /// In the order of the strategies.
    ways: Vec<Way>,
    /// Lazy loading from SQLite.
    sqlite: Way,
    /// Orders that another way brought otherwise than lazy loading.
    differing: usize,
    newest: Newest,
    sums: Sums,
    growth: Vec<Growth>,
}

/// What one way to load cost.
#[derive(Debug, Clone, Default, Serialize)]
struct Way {
    #[serde(flatten)]
    counts: Counts,
    /// The fastest loading in milliseconds, and its statements.
    ms: f64,
    took: Vec<Took>,
}

impl Way {
    fn quickest_ms(&self) -> f64 {
        self.took.iter().map(|(sent, answered)| answered - sent).fold(f64::MAX, f64::min)
    }
}

/// Of the newest ten orders, those that came with all their items.
#[derive(Debug, Clone, Default, Serialize)]
struct Newest {
    by_limit_on_join: u64,
    by_parents_first: u64,
}

/// All payments in cents.
#[derive(Debug, Clone, Default, Serialize)]
struct Sums {
    over_join: i64,
    over_payments: i64,
}

/// How long the ways take for so many orders, in milliseconds.
#[derive(Debug, Clone, Default, Serialize)]
struct Growth {
    orders: u64,
    lazy: f64,
    join: f64,
    batch: f64,
}

impl Experiment for NPlusOne {
    type Params = Params;
    type Observed = Observed;

    const NEEDS: &'static [&'static Part] = &[&inventory::POSTGRES];

    fn predict(p: &Params) -> Prediction<Observed> {
        let (n, a, b) = (p.parents, p.children_each, PAYMENTS_EACH);
        let ask = format!(
            "To save the trips, one statement joins {n} orders with their items ({a} each) and their payments ({b} each). \
             How many rows does PostgreSQL send?"
        );
        Prediction::number(ask, "rows", |seen: &Observed| seen.way(Strategy::JoinOfTwo).counts.rows).tempting(
            n * (a + b),
            "one adds the collections up, but a join pairs each item of an order with each of its payments",
        )
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        let postgres = lab.postgres("postgres").await?;
        postgres.session("setup").await?.unseen().execute(&shop(p)).await?;
        let wire = postgres.wire("page", Duration::from_millis(p.round_trip_ms)).await?;
        let mut page = Shop::over(&wire).await?;

        lab.step(format_args!("{} orders with {}, loaded {}", p.parents, p.page.word(), p.strategy.word()));
        load(&mut page, p.strategy, p.parents.cast_signed(), p.page).await?;
        lab.step("the newest 10 orders with their items: LIMIT on the join, then LIMIT on the orders");
        let newest = Newest {
            by_limit_on_join: complete(&mut page, LIMIT_ON_JOIN, p).await?,
            by_parents_first: complete(&mut page, PARENTS_FIRST, p).await?,
        };
        lab.step("the sum of all payments: over the join, then over the payments alone");
        let sums = Sums {
            over_join: sum(&mut page, SUM_OVER_JOIN).await?,
            over_payments: sum(&mut page, SUM_OVER_PAYMENTS).await?,
        };

        lab.step("every way to load, counted and timed");
        wire.hush();
        let mut meter = Meter { wire, page, shown: p.page };
        let (mut ways, mut loaded) = (Vec::new(), Vec::new());
        for (strategy, word) in Strategy::ALL {
            let (way, orders) = meter.measure(*strategy, p.parents).await?;
            lab.trace()
                .note("page", format_args!("{word}: {} statements, {:.1} ms", way.counts.statements, way.ms));
            ways.push(way);
            loaded.push(orders);
        }
        let (sqlite, embedded) = in_process(lab, p).await?;
        lab.trace().note(
            "page",
            format_args!("SQLite: {} statements, {:.1} ms", sqlite.counts.statements, sqlite.ms),
        );
        let [one_by_one, joined, batched, both_joined, both_batched] = &loaded[..] else {
            bail!("five ways")
        };
        let pairs = [
            (one_by_one, joined),
            (one_by_one, batched),
            (one_by_one, &embedded),
            (both_joined, both_batched),
        ];
        Ok(Observed {
            listed: one_by_one.len() as u64,
            differing: pairs.iter().map(|(one, other)| differing(one, other)).sum(),
            trip_ms: meter.trip().await?,
            growth: meter.growth(p.parents, &ways).await?,
            ways,
            sqlite,
            newest,
            sums,
        })
    }

    fn claims(p: &Params, seen: &Observed) -> Vec<Claim> {
        let statements = seen.claims_about_statements(p).into_iter();
        statements.chain(seen.claims_about_joins(p)).chain(seen.claims_about_distance(p)).collect()
    }

    fn figures(_: &Params, seen: &Observed) -> Vec<Figure> {
        vec![
            figures::waterfall(seen),
            figures::costs(seen),
            figures::rows(seen),
            figures::newest(seen),
            figures::growth(seen),
        ]
    }

    fn counterexamples(p: &Params) -> Vec<Observed> {
        claims::broken_systems(p)
    }

    fn faults() -> Vec<Fault> {
        vec![Fault {
            label: "show the customer's name too, by a lazy relation",
            set: &[("page", "its items and the customer's name")],
            refutes: &["n-plus-one", "one-or-two"],
        }]
    }
}

/// The page behind its wire, and what is read off it.
struct Meter {
    wire: Wire,
    page: Shop,
    shown: Page,
}

impl Meter {
    async fn measure(&mut self, strategy: Strategy, orders: u64) -> Result<(Way, Vec<Order>)> {
        // So that every statement is prepared: that takes a trip of its own, the first time.
        load(&mut self.page, strategy, 1, self.shown).await?;
        let (mut fastest, mut loaded, mut spent) = (Way { ms: f64::MAX, ..Way::default() }, Vec::new(), 0.0);
        for _ in 0..3 {
            let before = self.wire.counts();
            self.page.watch = Watch::start();
            loaded = load(&mut self.page, strategy, orders.cast_signed(), self.shown).await?;
            let took = self.page.watch.ms();
            spent += took;
            if took < fastest.ms {
                let counts = self.wire.counts() - before;
                fastest = Way { counts, ms: took, took: self.page.watch.took.clone() };
            }
            if spent > LONG_ENOUGH_MS {
                break;
            }
        }
        Ok((fastest, loaded))
    }

    /// How long the ways take for fewer orders, beside the times that were measured for all.
    async fn growth(&mut self, orders: u64, ways: &[Way]) -> Result<Vec<Growth>> {
        let fewer = BTreeSet::from([1, orders / 2]).into_iter().filter(|it| (1..orders).contains(it));
        let mut growth = Vec::new();
        for orders in fewer {
            let mut times = Vec::new();
            for strategy in [Strategy::Lazy, Strategy::Join, Strategy::Batch] {
                self.page.watch = Watch::start();
                load(&mut self.page, strategy, orders.cast_signed(), self.shown).await?;
                times.push(self.page.watch.ms());
            }
            growth.push(Growth { orders, lazy: times[0], join: times[1], batch: times[2] });
        }
        growth.push(Growth { orders, lazy: ways[0].ms, join: ways[1].ms, batch: ways[2].ms });
        Ok(growth)
    }

    async fn trip(&mut self) -> Result<f64> {
        let mut fastest = f64::MAX;
        for _ in 0..5 {
            self.page.watch = Watch::start();
            self.page.ask::<(i32,)>(query_as("SELECT 1")).await?;
            fastest = fastest.min(self.page.watch.ms());
        }
        Ok(fastest)
    }
}

/// The lazy page once more, on the same rows, without a wire.
async fn in_process(lab: &Lab, p: &Params) -> Result<(Way, Vec<Order>)> {
    let database = lab.sqlite(&shop(p)).await?;
    let mut page = Embedded::new(database.clone());
    let (mut fastest, mut loaded) = (Way { ms: f64::MAX, ..Way::default() }, Vec::new());
    for _ in 0..3 {
        let before = database.statements();
        page.watch = Watch::start();
        loaded = lazy(&mut page, p.parents.cast_signed(), p.page).await?;
        let took = page.watch.ms();
        if took < fastest.ms {
            let counts = Counts { statements: database.statements() - before, ..Counts::default() };
            fastest = Way { counts, ms: took, took: page.watch.took.clone() };
        }
    }
    Ok((fastest, loaded))
}

fn differing(one: &[Order], other: &[Order]) -> usize {
    one.len().abs_diff(other.len()) + one.iter().zip(other).filter(|(one, other)| one != other).count()
}

/// Tables and rows of the shop, in SQL that PostgreSQL and SQLite both understand.
fn shop(p: &Params) -> String {
    let (orders, items, payments) = (p.parents, p.parents * p.children_each, p.parents * PAYMENTS_EACH);
    let fill = |table, count, columns: &str| {
        format!(
            "INSERT INTO {table} WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
             SELECT i, {columns} FROM n;"
        )
    };
    [
        "CREATE TABLE customer (id bigint PRIMARY KEY, name text NOT NULL);".to_owned(),
        "CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint NOT NULL);".to_owned(),
        "CREATE TABLE item (id bigint PRIMARY KEY, order_id bigint NOT NULL, name text NOT NULL);".to_owned(),
        "CREATE TABLE payment (id bigint PRIMARY KEY, order_id bigint NOT NULL, cents bigint NOT NULL);"
            .to_owned(),
        "CREATE INDEX item_order ON item (order_id);".to_owned(),
        "CREATE INDEX payment_order ON payment (order_id);".to_owned(),
        fill("customer", 7, "'customer ' || i"),
        fill("orders", orders, "i % 7 + 1"),
        fill("item", items, &format!("(i - 1) / {} + 1, 'item ' || i", p.children_each)),
        fill("payment", payments, &format!("(i - 1) / {PAYMENTS_EACH} + 1, 500")),
    ]
    .concat()
}

const LIMIT_ON_JOIN: &str = "SELECT o.id, i.id FROM orders o LEFT JOIN item i ON i.order_id = o.id
    ORDER BY o.id DESC, i.id LIMIT 10";
const PARENTS_FIRST: &str = "SELECT o.id, i.id FROM (SELECT * FROM orders ORDER BY id DESC LIMIT 10) o
    LEFT JOIN item i ON i.order_id = o.id ORDER BY o.id DESC, i.id";
const SUM_OVER_JOIN: &str = "SELECT sum(p.cents)::bigint FROM orders o
    JOIN item i ON i.order_id = o.id JOIN payment p ON p.order_id = o.id";
const SUM_OVER_PAYMENTS: &str = "SELECT sum(cents)::bigint FROM payment";

/// How many orders a statement brings with all their items.
async fn complete(page: &mut Shop, sql: &'static str, p: &Params) -> Result<u64> {
    let rows: Vec<(i64, Option<i64>)> = page.ask(query_as(sql)).await?;
    let mut items = BTreeMap::<i64, u64>::new();
    for (order, item) in rows {
        *items.entry(order).or_default() += u64::from(item.is_some());
    }
    Ok(items.values().filter(|count| **count == p.children_each).count() as u64)
}

async fn sum(page: &mut Shop, sql: &'static str) -> Result<i64> {
    let rows: Vec<(i64,)> = page.ask(query_as(sql)).await?;
    rows.first().map(|row| row.0).context("a sum is one row")
}

impl Observed {
    fn way(&self, strategy: Strategy) -> &Way {
        // All are there, in the order of the choices.
        &self.ways[strategy as usize]
    }
}
