//! Moments in which a cache of query results goes wrong: a transaction that fills it, two tenants, and a write from elsewhere.

use super::cache::{Ask, Cache, Rows, Tags, Written};
use super::traffic::{SCHEMA, products};
use super::{Conduct, Params};
use crate::prelude::*;

const PRODUCT: Ask = Ask::Product { id: 1 };
const WRITTEN: Written = Written { id: 1, category: 1 };

/// What transactions leave behind that touch the cache before their end, or after it.
#[derive(Debug, Clone, Serialize)]
pub struct Transaction {
    pub before: i64,
    /// The price that was written and rolled back, and what every later reader gets.
    rolled_back: i64,
    pub later: i64,
    /// Entries that the rolled-back request removed.
    pub removed: u64,
    /// The price that another request committed, and what readers get after it, one of them having come before the commit.
    pub committed: i64,
    pub raced: i64,
}

pub async fn transaction(lab: &Lab, name: &str, inside: bool) -> Result<Transaction> {
    let when = if inside { "inside it" } else { "after its end" };
    lab.step(format_args!(
        "A transaction that fills and invalidates the cache {when}: rolled back, then committed"
    ));
    let db = products(lab, name, 2).await?.seen(lab, "shop", "database");
    let mut cache = Cache::new(Tags::Rows);
    let before = price(&cache.get(&db, PRODUCT).await?)?;

    let mut request = db.pool().begin().await?;
    let rolled_back = before / 10;
    sqlx::query("UPDATE product SET price = $1 WHERE id = 1")
        .bind(rolled_back)
        .execute(&mut *request)
        .await?;
    let mut removed = 0;
    if inside {
        removed = cache.invalidate(WRITTEN);
        let (sql, id) = PRODUCT.sql();
        let rows: Rows = sqlx::query_as(sql).bind(id).fetch_all(&mut *request).await?;
        cache.fill(PRODUCT, &rows);
    }
    request.rollback().await?;
    let later = price(&cache.get(&db, PRODUCT).await?)?;

    cache.clear();
    cache.get(&db, PRODUCT).await?;
    let mut request = db.pool().begin().await?;
    let committed = before * 2;
    sqlx::query("UPDATE product SET price = $1 WHERE id = 1").bind(committed).execute(&mut *request).await?;
    if inside {
        cache.invalidate(WRITTEN);
    }
    // Somebody reads before the commit, on a connection of their own: what is committed is the old price.
    cache.get(&db, PRODUCT).await?;
    request.commit().await?;
    if !inside {
        cache.invalidate(WRITTEN);
    }
    let raced = price(&cache.get(&db, PRODUCT).await?)?;
    Ok(Transaction { before, rolled_back, later, removed, committed, raced })
}

fn price(rows: &Rows) -> Result<i64> {
    Ok(rows.first().context("there is no such product")?.1)
}

/// Answers that belong to another tenant, without the tenant in the key and with it.
#[derive(Debug, Clone, Serialize)]
pub struct Tenants {
    asked: u64,
    pub without: u64,
    pub with: u64,
}

pub async fn tenants(lab: &Lab, p: &Params) -> Result<Tenants> {
    lab.step("Two tenants ask the same query, each of their own rows");
    let schema = "CREATE TABLE product (tenant TEXT, id INTEGER, name TEXT, PRIMARY KEY (tenant, id));
                  INSERT INTO product VALUES ('ada', 1, 'of ada'), ('bob', 1, 'of bob')";
    let db = lab.sqlite(schema).await?.seen(lab, "shop", "database");
    let sql = "SELECT name FROM product WHERE id = $1 AND tenant = current_tenant";
    let mut wrong = [0, 0];
    let asked = ["ada", "bob", "ada", "bob"];
    for (wrong, in_key) in wrong.iter_mut().zip([false, p.build != Conduct::ForgetsTenant]) {
        let mut cache: HashMap<(&str, i64, Option<&str>), String> = HashMap::new();
        for tenant in asked {
            // As with row-level security: who asks isn't in the statement, but a setting of the connection.
            let key = (sql, 1, in_key.then_some(tenant));
            let name = match cache.get(&key) {
                Some(name) => name.clone(),
                None => {
                    let here = sql.replace("current_tenant", "$2");
                    let name: Option<String> = db.value(&here, (1, tenant)).await?;
                    cache.entry(key).or_insert(name.context("no such product")?).clone()
                }
            };
            *wrong += u64::from(name != format!("of {tenant}"));
        }
    }
    Ok(Tenants { asked: asked.len() as u64, without: wrong[0], with: wrong[1] })
}

/// What readers get after another program has written.
#[derive(Debug, Clone, Serialize)]
pub struct Foreign {
    pub before: i64,
    pub now: i64,
    pub by_tags: i64,
    pub after_ttl: i64,
    pub by_version: i64,
}

pub async fn foreign(lab: &Lab, p: &Params) -> Result<Foreign> {
    lab.step("Another program writes to the same file; it knows nothing of the cache");
    let db = products(lab, "foreign", 2).await?.seen(lab, "shop", "database");
    let (mut by_tags, mut by_time, mut by_version) =
        (Cache::new(Tags::Rows), Cache::new(Tags::Nothing), Cache::new(Tags::Rows));
    let before = price(&by_tags.get(&db, PRODUCT).await?)?;
    by_time.get(&db, PRODUCT).await?;
    by_version.get(&db, PRODUCT).await?;
    // The number is a connection's own view: it says that another one has committed.
    let mut watching = db.pool().acquire().await?;
    let version = "PRAGMA data_version";
    let seen: i64 = sqlx::query_scalar(version).fetch_one(&mut *watching).await?;

    let other = lab
        .sqlite_file(
            "foreign",
            &SCHEMA
                .replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS")
                .replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS"),
        )
        .await?;
    let now = before * 3;
    other
        .seen(lab, "other program", "database")
        .execute("UPDATE product SET price = $1 WHERE id = 1", [now])
        .await?;

    let stale = price(&by_tags.get(&db, PRODUCT).await?)?;
    by_time.pass_a_lifetime();
    let after_ttl = price(&by_time.get(&db, PRODUCT).await?)?;
    let there: i64 = sqlx::query_scalar(version).fetch_one(&mut *watching).await?;
    if there != seen && p.build != Conduct::LooksAway {
        by_version.clear();
    }
    let noticed = price(&by_version.get(&db, PRODUCT).await?)?;
    Ok(Foreign { before, now, by_tags: stale, after_ttl, by_version: noticed })
}

pub fn claims(inside: &Transaction, after: &Transaction) -> Vec<Claim> {
    let rolled_back = |id, says, breaks_when, it: &Transaction| {
        claim(id, says, breaks_when)
            .witness(it.rolled_back != it.before, format!("{} was written and rolled back", it.rolled_back))
    };
    let committed = |id, says, breaks_when, it: &Transaction| {
        claim(id, says, breaks_when).witness(
            it.committed != it.before,
            format!("{} became {}, with a reader before the commit", it.before, it.committed),
        )
    };
    vec![
        rolled_back(
            "never-committed",
            "A fill from inside a transaction that is rolled back leaves a price that was never committed, and later readers \
             get it",
            "a transaction that has written reads past the cache",
            inside,
        )
        .equal(inside.later, inside.rolled_back),
        rolled_back(
            "after-end-clean",
            "With the cache left alone until the end the rolled-back request leaves nothing and removes nothing",
            "it fills or invalidates before the end",
            after,
        )
        .equal(
            format!("{}, {} entries removed", after.later, after.removed),
            format!("{}, 0 entries removed", after.before),
        ),
        committed(
            "early-invalidation",
            "Invalidating before the commit lets a reader put the old price back, where it stays",
            "nobody reads between the two",
            inside,
        )
        .equal(inside.raced, inside.before),
        committed(
            "after-commit-right",
            "Invalidating after the commit removes what that reader left",
            "the reader fills after the invalidation",
            after,
        )
        .equal(after.raced, after.committed),
    ]
}

pub fn claims_on_others(tenants: &Tenants, foreign: &Foreign) -> Vec<Claim> {
    let asked = |id, says, breaks_when| {
        claim(id, says, breaks_when)
            .witness(tenants.asked > 1, format!("{} reads of two tenants", tenants.asked))
    };
    let wrote = |id, says, breaks_when| {
        claim(id, says, breaks_when).witness(
            foreign.before != foreign.now,
            format!("another program made {} of {}", foreign.now, foreign.before),
        )
    };
    vec![
        asked(
            "tenant-missing",
            "Without the tenant in the key a tenant gets another's row",
            "their rows are the same",
        )
        .more(tenants.without, 0),
        asked(
            "tenant-in-key",
            "With the tenant in the key no tenant gets the other's row",
            "the key lacks it",
        )
        .equal(tenants.with, 0),
        wrote(
            "foreign-unseen",
            "Tags don't see a write from elsewhere; a time to live ends what it left",
            "the other program tells the cache",
        )
        .equal(
            format!("{}, {} after the entry's time", foreign.by_tags, foreign.after_ttl),
            format!("{}, {} after the entry's time", foreign.before, foreign.now),
        ),
        wrote(
            "version-notices",
            "SQLite's data_version shows it at the next read",
            "nobody looks at it, or the write comes from the same connection",
        )
        .equal(foreign.by_version, foreign.now),
    ]
}

pub fn figure(inside: &Transaction, after: &Transaction) -> Figure {
    let row = |what: &str, of: fn(&Transaction) -> i64, right: fn(&Transaction) -> i64| {
        let cell = |it: &Transaction| Cell {
            text: of(it).to_string(),
            tone: if of(it) == right(it) { Tone::Accent } else { Tone::Refuted },
        };
        (what.to_owned(), vec![cell(inside), cell(after)])
    };
    let (rows, cells) = [
        row("read after a rollback", |it| it.later, |it| it.before),
        row("entries it removed", |it| it.removed.cast_signed(), |_| 0),
        row("read after a commit", |it| it.raced, |it| it.committed),
    ]
    .into_iter()
    .unzip();
    let matrix = Matrix { rows, columns: vec!["inside".into(), "after its end".into()], cells };
    let caption = format!(
        "A price of {}. One transaction writes {} and is rolled back, another writes {} and commits, with a reader before the \
         commit. What readers get later, when the cache is touched inside the transaction, or after its end.",
        inside.before, inside.rolled_back, inside.committed
    );
    Figure::new("transaction", caption, matrix)
}

impl Transaction {
    pub fn flawless() -> (Self, Self) {
        let (before, rolled_back, committed) = (1000, 100, 2000);
        let inside = Self { before, rolled_back, later: rolled_back, removed: 1, committed, raced: before };
        (inside, Self { before, rolled_back, later: before, removed: 0, committed, raced: committed })
    }
}

impl Tenants {
    pub fn flawless() -> Self {
        Self { asked: 4, without: 2, with: 0 }
    }
}

impl Foreign {
    pub fn flawless() -> Self {
        Self { before: 1000, now: 3000, by_tags: 1000, after_ttl: 3000, by_version: 3000 }
    }
}
