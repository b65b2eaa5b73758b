//! A cache of query results, with tags by which writes remove them.

use crate::prelude::*;

/// What an entry is tagged with, and so what a write removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Tags {
    /// Nothing: entries go when their time is over.
    Nothing,
    /// The rows that are in the result.
    Rows,
    /// The rows, and for lists also the category that they are chosen by.
    Predicates,
    /// The table.
    Table,
}

impl Tags {
    pub const ALL: [Self; 4] = [Self::Nothing, Self::Rows, Self::Predicates, Self::Table];

    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "time to live only",
            Self::Rows => "tags by row",
            Self::Predicates => "by row and predicate",
            Self::Table => "tags by table",
        }
    }
}

/// A parametrised query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    Product { id: i64 },
    Cheapest { category: i64 },
}

/// Rows as they came: id and price.
pub type Rows = Vec<(i64, i64)>;

impl Ask {
    pub fn sql(self) -> (&'static str, i64) {
        match self {
            Self::Product { id } => ("SELECT id, price FROM product WHERE id = $1", id),
            Self::Cheapest { category } => {
                ("SELECT id, price FROM product WHERE category = $1 ORDER BY price, id LIMIT 10", category)
            }
        }
    }

    /// Asks the database itself.
    pub async fn directly(self, db: &Sqlite) -> Result<Rows> {
        let (sql, parameter) = self.sql();
        db.rows(sql, [parameter]).await
    }
}

/// A write, as its author knows it.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    pub id: i64,
    pub category: i64,
}

pub struct Cache {
    tags: Tags,
    entries: BTreeMap<Ask, Entry>,
    /// Reads so far: the clock of entries.
    now: u64,
    pub hits: u64,
}

struct Entry {
    rows: Rows,
    tags: BTreeSet<String>,
    since: u64,
}

/// How many reads an entry lives, where nothing else removes it.
const LIFETIME: u64 = 100;

impl Cache {
    pub fn new(tags: Tags) -> Self {
        Self { tags, entries: BTreeMap::new(), now: 0, hits: 0 }
    }

    pub async fn get(&mut self, db: &Sqlite, ask: Ask) -> Result<Rows> {
        self.now += 1;
        if let Some(rows) = self.look(ask) {
            self.hits += 1;
            return Ok(rows);
        }
        let rows = ask.directly(db).await?;
        self.fill(ask, &rows);
        Ok(rows)
    }

    pub fn look(&self, ask: Ask) -> Option<Rows> {
        let lives = |it: &&Entry| self.tags != Tags::Nothing || self.now - it.since < LIFETIME;
        self.entries.get(&ask).filter(lives).map(|it| it.rows.clone())
    }

    pub fn fill(&mut self, ask: Ask, rows: &Rows) {
        let by_row = rows.iter().map(|(id, _)| format!("product {id}"));
        let tags: BTreeSet<String> = match (self.tags, ask) {
            (Tags::Nothing, _) => BTreeSet::new(),
            (Tags::Table, _) => ["product".to_owned()].into(),
            (Tags::Predicates, Ask::Cheapest { category }) => {
                by_row.chain([format!("category {category}")]).collect()
            }
            (Tags::Rows | Tags::Predicates, _) => by_row.collect(),
        };
        self.entries.insert(ask, Entry { rows: rows.clone(), tags, since: self.now });
    }

    /// Removes what a write may have made wrong; returns how many entries that were.
    pub fn invalidate(&mut self, written: Written) -> u64 {
        let Written { id, category } = written;
        let touched = [format!("product {id}"), format!("category {category}"), "product".to_owned()];
        let before = self.entries.len();
        self.entries.retain(|_, entry| !touched.iter().any(|tag| entry.tags.contains(tag)));
        (before - self.entries.len()) as u64
    }

    /// Lets the time of all entries pass.
    pub fn pass_a_lifetime(&mut self) {
        self.now += LIFETIME;
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }
}
