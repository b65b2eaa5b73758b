//! Reads with writes among them, for each kind of tags: what the cache saves, and which of its answers are wrong.

use super::cache::{Ask, Cache, Tags, Written};
use super::{Conduct, Params};
use crate::prelude::*;
use rand::RngExt;

pub const SCHEMA: &str = "
    CREATE TABLE product (id INTEGER PRIMARY KEY, category INTEGER NOT NULL, price INTEGER NOT NULL);
    CREATE INDEX by_price ON product (category, price)";
/// Products for each category at first.
const SHELF: i64 = 20;

/// Reads without any write.
#[derive(Debug, Clone, Serialize)]
pub struct Quiet {
    pub reads: u64,
    pub distinct: u64,
    /// Statements that the database ran, without a cache and with one.
    pub without: u64,
    pub with: u64,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Seen {
    pub reads: u64,
    pub writes: u64,
    pub hits: u64,
    pub statements: u64,
    /// Answers that differ from what the database says at that moment.
    pub stale: u64,
    /// Entries that writes removed.
    pub removed: u64,
}

/// A product is inserted that belongs into a cached list.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Inserted {
    pub was_cached: bool,
    /// Whether the next reader gets the list as it was.
    pub is_old: bool,
}

/// The shop's products, in a file, so that others can write to it too.
pub async fn products(lab: &Lab, name: &str, categories: i64) -> Result<Sqlite> {
    let db = lab.sqlite_file(name, SCHEMA).await?;
    let fill = "INSERT INTO product WITH RECURSIVE n(id) AS (VALUES (1) UNION ALL SELECT id + 1 FROM n WHERE id < $1)
                SELECT id, id % $2, 1000 + id FROM n";
    db.execute(fill, (categories * SHELF, categories)).await?;
    Ok(db)
}

/// All queries that are asked: every third for a list.
fn asks(p: &Params) -> Vec<Ask> {
    let ask = |n| match n % 3 {
        0 => Ask::Cheapest { category: n / 3 },
        _ => Ask::Product { id: n },
    };
    (0..p.queries.cast_signed()).map(ask).collect()
}

fn categories(p: &Params) -> i64 {
    p.queries.cast_signed() / 3 + 1
}

/// Reads by Zipf's law: the k-th query is asked 1/k as often as the first.
fn trace(lab: &Lab, p: &Params) -> Vec<Ask> {
    let (mut rng, asks) = (lab.rng("reads"), asks(p));
    let sums: Vec<f64> = (1..=asks.len())
        .scan(0.0, |sum, rank| {
            *sum += 1.0 / rank as f64;
            Some(*sum)
        })
        .collect();
    let mut draw = || {
        let at = rng.random_range(0.0..sums[sums.len() - 1]);
        asks[sums.partition_point(|sum| *sum <= at).min(asks.len() - 1)]
    };
    (0..p.reads).map(|_| draw()).collect()
}

pub async fn quiet(lab: &Lab, p: &Params) -> Result<Quiet> {
    lab.step(format_args!("{} reads without a write: directly, and through the cache", p.reads));
    let db = products(lab, "quiet", categories(p)).await?;
    let (trace, mut cache) = (trace(lab, p), Cache::new(Tags::Table));
    let start = db.statements();
    for ask in &trace {
        ask.directly(&db).await?;
    }
    let between = db.statements();
    for ask in &trace {
        cache.get(&db, *ask).await?;
    }
    let distinct = trace.iter().collect::<BTreeSet<_>>().len() as u64;
    Ok(Quiet { reads: p.reads, distinct, without: between - start, with: db.statements() - between })
}

pub async fn observe(lab: &Lab, p: &Params, tags: Tags) -> Result<Seen> {
    lab.step(format_args!("{}: {} reads with writes among them", tags.name(), p.reads));
    let db = products(lab, &format!("traffic {}", tags.name()), categories(p)).await?;
    let (mut rng, mut cache) = (lab.rng("writes"), Cache::new(built(p, tags)));
    let mut seen = Seen { reads: p.reads, ..Seen::default() };
    for ask in trace(lab, p) {
        if rng.random_range(0..100) < p.writes_percent {
            let written = write(&db, p, &mut rng, seen.writes).await?;
            seen.removed += cache.invalidate(written);
            seen.writes += 1;
        }
        let before = db.statements();
        let rows = cache.get(&db, ask).await?;
        seen.statements += db.statements() - before;
        seen.stale += u64::from(rows != ask.directly(&db).await?);
    }
    seen.hits = cache.hits;
    Ok(seen)
}

fn built(p: &Params, tags: Tags) -> Tags {
    match (p.build, tags) {
        (Conduct::ForgetsPredicates, Tags::Predicates) => Tags::Rows,
        _ => tags,
    }
}

/// A new price for a product, or a new product, in turns. Either may change which are the ten cheapest.
async fn write(db: &Sqlite, p: &Params, rng: &mut rand::rngs::StdRng, before: u64) -> Result<Written> {
    let (categories, price) = (categories(p), rng.random_range(1..1000_i64));
    if before.is_multiple_of(2) {
        // The lists that are asked for most are those of the first categories.
        let category = rng.random_range(0..categories.min(5));
        let sql = "INSERT INTO product (category, price) VALUES ($1, $2) RETURNING id";
        let id: Option<i64> = db.value(sql, (category, price)).await?;
        return Ok(Written { id: id.context("an insert without a row")?, category });
    }
    let id = rng.random_range(1..=categories * SHELF);
    db.execute("UPDATE product SET price = $2 WHERE id = $1", (id, price)).await?;
    Ok(Written { id, category: id % categories })
}

pub async fn insert(lab: &Lab, p: &Params, tags: Tags) -> Result<Inserted> {
    let db = products(lab, &format!("insert {}", tags.name()), 2).await?;
    let (mut cache, list) = (Cache::new(built(p, tags)), Ask::Cheapest { category: 1 });
    let old = cache.get(&db, list).await?;
    let was_cached = cache.look(list).is_some();
    let id: Option<i64> =
        db.value("INSERT INTO product (category, price) VALUES (1, 1) RETURNING id", ()).await?;
    cache.invalidate(Written { id: id.context("an insert without a row")?, category: 1 });
    let is_old = cache.get(&db, list).await? == old;
    Ok(Inserted { was_cached, is_old })
}

type All = BTreeMap<Tags, Seen>;

pub fn claims(quiet: &Quiet, all: &All, inserted: &BTreeMap<Tags, Inserted>) -> Vec<Claim> {
    let [rows, predicates, table] = [Tags::Rows, Tags::Predicates, Tags::Table].map(|it| &all[&it]);
    let words = |it: &Seen| format!("{} old, {} hits", it.stale, it.hits);
    let mixed = |id, says, breaks_when| {
        claim(id, says, breaks_when)
            .witness(table.writes > 0, format!("{} writes among {} reads", table.writes, table.reads))
    };
    let by_row = &inserted[&Tags::Rows];
    vec![
        claim(
            "once-each",
            "Without writes the database runs each query once, and without the cache once for each read",
            "an entry goes before it is asked for again",
        )
        .witness(quiet.distinct < quiet.reads, format!("{} reads of {} queries", quiet.reads, quiet.distinct))
        .equal(
            format!("{} statements, {} without the cache", quiet.with, quiet.without),
            format!("{} statements, {} without the cache", quiet.distinct, quiet.reads),
        ),
        claim(
            "rows-blind",
            "With tags by row a list stays old after an insert that belongs into it",
            "the list has a tag for what could come into it",
        )
        .witness(by_row.was_cached, "the list was cached when the row was inserted")
        .equal(if by_row.is_old { "the old list" } else { "the new list" }, "the old list"),
        mixed(
            "table-safe",
            "Tags by table give no old answer, and have fewer hits than tags by row",
            "a write goes past the cache",
        )
        .that(
            table.stale == 0 && table.hits < rows.hits,
            format!("{}; by row {}", words(table), words(rows)),
            "0 old, and fewer hits",
        ),
        mixed(
            "predicates-precise",
            "A tag for each list's predicate gives no old answer either, and more hits than tags by table",
            "lists are tagged by their rows only",
        )
        .that(
            predicates.stale == 0 && predicates.hits > table.hits,
            format!("{}; by table {}", words(predicates), words(table)),
            "0 old, and more hits",
        ),
    ]
}

pub fn figure(all: &All) -> Figure {
    let bar = |value: u64, tone| Bar { value: value as f64, tone };
    let rows = all.iter().map(|(tags, it)| BarRow {
        label: tags.name().into(),
        bars: vec![bar(it.hits, Tone::Accent), bar(it.statements, Tone::Plain), bar(it.stale, Tone::Refuted)],
    });
    let bars = Bars {
        unit: "reads".into(),
        series: ["hits", "reach the database", "answered wrongly"].map(str::to_owned).into(),
        rows: rows.collect(),
        limit: None,
    };
    Figure::new(
        "tags",
        "The same reads and writes, with each kind of tags. By row the cache keeps most and is wrong; by table it is right and \
         keeps least; a tag for what could come into a list has most of both.",
        bars,
    )
}

pub fn matrix(all: &All, inserted: &BTreeMap<Tags, Inserted>) -> Figure {
    let row = |tags: &Tags| {
        let it = &all[tags];
        let list = match inserted[tags].is_old {
            true => Cell { text: "old".into(), tone: Tone::Refuted },
            false => Cell { text: "new".into(), tone: Tone::Accent },
        };
        let removed = it.removed as f64 / it.writes.max(1) as f64;
        vec![Cell { text: format!("{removed:.1}"), tone: Tone::Plain }, list]
    };
    let matrix = Matrix {
        rows: all.keys().map(|it| it.name().to_owned()).collect(),
        columns: vec!["a write removes".into(), "list after insert".into()],
        cells: all.keys().map(row).collect(),
    };
    Figure::new(
        "writes",
        "How many entries a write removes on average, and whether a list shows the product that was just inserted into it.",
        matrix,
    )
}

pub fn flawless() -> (Quiet, All, BTreeMap<Tags, Inserted>) {
    let seen = |tags| {
        let (hits, stale) = match tags {
            Tags::Nothing => (350, 40),
            Tags::Rows => (340, 20),
            Tags::Predicates => (320, 0),
            Tags::Table => (200, 0),
        };
        Seen { reads: 400, writes: 20, hits, statements: 400 - hits, stale, removed: 40 }
    };
    let inserted = |tags| Inserted { was_cached: true, is_old: matches!(tags, Tags::Nothing | Tags::Rows) };
    let quiet = Quiet { reads: 400, distinct: 50, without: 400, with: 50 };
    (quiet, Tags::ALL.map(|it| (it, seen(it))).into(), Tags::ALL.map(|it| (it, inserted(it))).into())
}
