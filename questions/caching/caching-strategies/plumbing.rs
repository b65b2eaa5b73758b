//! Six ways to put Redis and a database together. Values are numbers that grow with each write, so that an old one shows.

use super::{Conduct, Params};
use crate::prelude::*;
use backlab_parts::redis::{Client as Redis, Redis as Server};

/// How long an entry is used, in operations; and from when on refresh-ahead renews it.
/// It is longer than a write may wait for the database: an entry that expires before would take the write with it.
pub const LIFETIME: u64 = 120;
pub const REFRESH_FROM: u64 = 80;
const TOO_SHORT: u64 = 5;
/// Keys that wait for the database, in Redis itself.
const DIRTY: &str = "dirty";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Strategy {
    NoCache,
    Aside,
    Ahead,
    Through,
    Around,
    Behind,
}

impl Strategy {
    pub const ALL: [Self; 6] =
        [Self::NoCache, Self::Aside, Self::Ahead, Self::Through, Self::Around, Self::Behind];

    pub fn name(self) -> &'static str {
        match self {
            Self::NoCache => "no cache",
            Self::Aside => "cache-aside",
            Self::Ahead => "refresh-ahead",
            Self::Through => "write-through",
            Self::Around => "write-around",
            Self::Behind => "write-behind",
        }
    }
}

/// A shop's way to its data, by one strategy.
pub struct Plumbing {
    strategy: Strategy,
    build: Conduct,
    redis: Redis,
    db: Sqlite,
    flush_every: u64,
    /// Operations so far: the clock of entries.
    now: u64,
}

impl Plumbing {
    /// With an empty Redis and a database in which every key is 0.
    pub async fn open(lab: &Lab, p: &Params, redis: &Server, strategy: Strategy) -> Result<Self> {
        // What writes the database counts itself.
        let schema = "
            CREATE TABLE item (id INTEGER PRIMARY KEY, value INTEGER NOT NULL);
            CREATE TABLE written (id INTEGER PRIMARY KEY, item INTEGER NOT NULL);
            CREATE TRIGGER count AFTER UPDATE ON item BEGIN INSERT INTO written (item) VALUES (new.id); END";
        let db = lab.sqlite(schema).await?;
        let fill = "INSERT INTO item WITH RECURSIVE n(id) AS (VALUES (1) UNION ALL SELECT id + 1 FROM n WHERE id < $1)
                    SELECT id, 0 FROM n";
        db.execute(fill, [p.hot_keys as i64]).await?;
        let redis = redis.client("shop").await?;
        redis.run::<()>("FLUSHALL").await?;
        let (build, flush_every) = (p.build, p.flush_every);
        Ok(Self { strategy, build, redis, db: db.seen(lab, "shop", "database"), flush_every, now: 0 })
    }

    /// Connects to a Redis that was started anew.
    pub async fn reconnect(&mut self, redis: &Server) -> Result<()> {
        self.redis = redis.client("shop").await?;
        Ok(())
    }

    /// Lets so many operations pass, for the entries.
    pub fn pass(&mut self, operations: u64) {
        self.now += operations;
    }

    pub async fn read(&mut self, key: u64) -> Result<i64> {
        self.now += 1;
        let value = self.look(key).await?;
        self.tick().await?;
        Ok(value)
    }

    async fn look(&self, key: u64) -> Result<i64> {
        if self.strategy == Strategy::NoCache {
            return self.load(key).await;
        }
        let entry: Option<String> = self.redis.run(&format!("GET item:{key}")).await?;
        let entry = entry.as_deref().and_then(|it| it.split_once('@'));
        if let Some((value, since)) = entry {
            let (value, age) = (value.parse()?, self.now - since.parse::<u64>()?);
            if age < self.lifetime() {
                self.refresh(key, age).await?;
                return Ok(value);
            }
        }
        let value = self.load(key).await?;
        self.keep(key, value).await?;
        Ok(value)
    }

    /// Renews an entry whose time is nearly over. It is done by whoever looks after the cache, not by the reader, who has
    /// the answer already.
    async fn refresh(&self, key: u64, age: u64) -> Result<()> {
        let ahead = self.strategy == Strategy::Ahead && self.build != Conduct::NeverRefreshes;
        if ahead && age >= REFRESH_FROM {
            self.keep(key, self.load(key).await?).await?;
        }
        Ok(())
    }

    /// Writes, and returns when the write is acknowledged.
    pub async fn write(&mut self, key: u64, value: i64) -> Result<()> {
        self.now += 1;
        match self.strategy {
            Strategy::NoCache | Strategy::Around => self.store(key, value).await?,
            Strategy::Aside | Strategy::Ahead => {
                self.store(key, value).await?;
                if self.build != Conduct::ForgetsDelete || self.strategy == Strategy::Ahead {
                    self.redis.run::<()>(&format!("DEL item:{key}")).await?;
                }
            }
            Strategy::Through => {
                self.store(key, value).await?;
                self.keep(key, value).await?;
            }
            Strategy::Behind => {
                let mut both = redis::pipe();
                both.atomic().set(format!("item:{key}"), format!("{value}@{}", self.now)).sadd(DIRTY, key);
                both.query_async::<()>(&mut self.redis).await?;
            }
        }
        self.tick().await
    }

    /// Another operation is over.
    async fn tick(&mut self) -> Result<()> {
        if self.now.is_multiple_of(self.flush_every) {
            self.flush().await?;
        }
        Ok(())
    }

    fn lifetime(&self) -> u64 {
        if self.build == Conduct::ExpiresDirty && self.strategy == Strategy::Behind {
            TOO_SHORT
        } else {
            LIFETIME
        }
    }

    /// Writes what waits for the database: of each key the newest value.
    pub async fn flush(&mut self) -> Result<()> {
        if self.strategy != Strategy::Behind {
            return Ok(());
        }
        let dirty: BTreeSet<u64> = self.redis.run(&format!("SMEMBERS {DIRTY}")).await?;
        for key in dirty {
            let entry: String = self.redis.run(&format!("GET item:{key}")).await?;
            let (value, _) = entry.split_once('@').context("an entry without its time")?;
            self.store(key, value.parse()?).await?;
        }
        self.redis.run::<()>(&format!("DEL {DIRTY}")).await?;
        Ok(())
    }

    async fn keep(&self, key: u64, value: i64) -> Result<()> {
        Ok(self.redis.run::<()>(&format!("SET item:{key} {value}@{}", self.now)).await?)
    }

    async fn load(&self, key: u64) -> Result<i64> {
        let value = self.db.value("SELECT value FROM item WHERE id = $1", [key as i64]).await?;
        value.with_context(|| format!("there is no item {key}"))
    }

    async fn store(&self, key: u64, value: i64) -> Result<()> {
        self.db.execute("UPDATE item SET value = $2 WHERE id = $1", (key as i64, value)).await?;
        Ok(())
    }

    /// Reads and writes of the database so far: the writes as it has counted them itself.
    pub async fn load_of_database(&self) -> Result<(u64, u64)> {
        let all = self.db.statements();
        let writes = self.db.count("SELECT count(*) FROM written", ()).await?;
        Ok((all - writes, writes))
    }

    /// What the database has of each key.
    pub async fn in_database(&self) -> Result<BTreeMap<u64, i64>> {
        let rows = self.db.rows::<(i64, i64)>("SELECT id, value FROM item", ()).await?;
        Ok(rows.into_iter().map(|(key, value)| (key as u64, value)).collect())
    }
}
