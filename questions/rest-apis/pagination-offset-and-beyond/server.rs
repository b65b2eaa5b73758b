//! The list under test: one shelf's items, newest first, in bounded pages. A page begins at an offset or after a key,
//! and its Link header (RFC 8288) leads to the others.

use super::Build;
use crate::prelude::*;

/// Items on a page, unless asked otherwise, and at the most.
pub const DEFAULT: i64 = 20;
pub const MOST: i64 = 100;

/// Items that share one date, as they do when they were imported together.
const SAME_DATE: u64 = 7;

/// A database with two shelves: `long`, where dates are shared by a few, and `short`, where all items have one date.
pub async fn shelves(lab: &Lab, long: u64, short: u64) -> Result<Sqlite> {
    let schema = "CREATE TABLE item (id INTEGER PRIMARY KEY, shelf TEXT NOT NULL, created INTEGER NOT NULL, title TEXT NOT NULL);
                  CREATE INDEX item_by_age ON item (shelf, created, id)";
    let db = lab.sqlite(schema).await?;
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2)
                INSERT INTO item (shelf, created, title)
                SELECT $1, i / $3, format('%05d', i * 40503 % 65536) FROM n";
    db.execute(fill, ("short", short as i64, 1_000_000)).await?;
    db.execute(fill, ("long", long as i64, SAME_DATE as i64)).await?;
    Ok(db)
}

pub fn api(db: &Sqlite, build: Build) -> Router {
    Router::new().route("/{shelf}", get(list)).with_state(Shelves { db: db.clone(), build })
}

#[derive(Clone)]
struct Shelves {
    db: Sqlite,
    build: Build,
}

#[derive(Deserialize)]
struct Asked {
    limit: Option<String>,
    offset: Option<String>,
    after: Option<String>,
    count: Option<String>,
}

/// Where a page begins.
#[derive(Clone, Copy)]
enum From {
    Offset(i64),
    /// Behind the item with this date and id.
    After(i64, i64),
}

type Item = (i64, i64, String);

async fn list(
    State(shelves): State<Shelves>,
    Path(shelf): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failed> {
    let Some((limit, from)) = asked.read(shelves.build) else {
        return Ok((StatusCode::BAD_REQUEST, "limit is 1 to 100, offset is 0 or more").into_response());
    };
    // One more than asked: whether there is a next page is seen by that, without a count.
    let mut items = shelves.page(&shelf, limit + 1, from).await?;
    let has_more = match shelves.build {
        Build::FullMeansMore => items.len() as i64 >= limit,
        _ => items.len() as i64 > limit,
    };
    items.truncate(limit as usize);
    let total = match asked.count.as_deref() {
        Some("exact") => Some(shelves.total(&shelf).await?),
        _ => None,
    };
    let onward = items.last().map(|(id, created, _)| match (shelves.build, from) {
        (Build::SeekCounts, From::Offset(passed) | From::After(passed, _)) => {
            format!("/{shelf}?limit={limit}&after={}.0", passed + limit)
        }
        _ => format!("/{shelf}?limit={limit}&after={created}.{id}"),
    });
    let at = |offset: i64| format!("/{shelf}?limit={limit}&offset={offset}");
    let next = match from {
        From::Offset(offset) => Some(at(offset + limit)),
        From::After(..) => onward.clone(),
    };
    let mut links = vec![("first", at(0)), ("next", next.unwrap_or_default())];
    links.retain(|(rel, _)| *rel != "next" || has_more);
    if let From::Offset(offset @ 1..) = from {
        links.push(("prev", at((offset - limit).max(0))));
    }
    if let Some(total) = total {
        // Only who has counted can name the last page.
        links.push(("last", at((total - 1).max(0) / limit * limit)));
    }
    let links: Vec<_> = links.iter().map(|(rel, to)| format!("<{to}>; rel=\"{rel}\"")).collect();
    let page =
        json!({"ids": items.iter().map(|(id, ..)| id).collect::<Vec<_>>(), "onward": onward, "total": total});
    Ok(([("link", links.join(", "))], Json(page)).into_response())
}

impl Asked {
    /// How many items from where; nothing where it isn't within the bounds.
    fn read(&self, build: Build) -> Option<(i64, From)> {
        let number = |text: &Option<String>, otherwise| match text {
            Some(text) => text.parse::<i64>().ok(),
            None => Some(otherwise),
        };
        let most = if build == Build::NoCap { i64::MAX - 1 } else { MOST };
        let limit = number(&self.limit, DEFAULT).filter(|limit| (1..=most).contains(limit))?;
        let from = match &self.after {
            Some(after) => {
                let (created, id) = after.split_once('.')?;
                From::After(created.parse().ok()?, id.parse().ok()?)
            }
            None => From::Offset(number(&self.offset, 0).filter(|offset| *offset >= 0)?),
        };
        Some((limit, from))
    }
}

impl Shelves {
    async fn page(&self, shelf: &str, limit: i64, from: From) -> Result<Vec<Item>> {
        let by_offset = async |offset: i64| {
            let order = match self.build {
                Build::NoTieBreaker => "created DESC",
                _ => "created DESC, id DESC",
            };
            let page = format!(
                "SELECT id, created, title FROM item WHERE shelf = $1 ORDER BY {order} LIMIT $2 OFFSET $3"
            );
            self.db.rows(&page, (shelf.to_owned(), limit, offset)).await
        };
        match from {
            From::Offset(offset) => by_offset(offset).await,
            From::After(passed, _) if self.build == Build::SeekCounts => by_offset(passed).await,
            From::After(created, id) => {
                let page = "SELECT id, created, title FROM item WHERE shelf = $1 AND (created, id) < ($2, $3)
                            ORDER BY created DESC, id DESC LIMIT $4";
                self.db.rows(page, (shelf.to_owned(), created, id, limit)).await
            }
        }
    }

    async fn total(&self, shelf: &str) -> Result<i64> {
        let total = self.db.count("SELECT count(*) FROM item WHERE shelf = $1", [shelf.to_owned()]).await?;
        Ok(total as i64)
    }
}
