//! Readers of the list: they follow its links and note each id that they are given, while somebody changes the list.

use super::server::MOST;
use crate::prelude::*;

/// Whoever follows links needs a bound.
const MOST_PAGES: u64 = 20;
/// Items at the front that are compared before and after a walk: more than any reader comes to.
const COMPARED: i64 = 2000;

#[derive(Clone)]
pub struct Reader {
    pub client: Client,
    /// For whoever changes the list meanwhile, and to see what was there.
    pub db: Sqlite,
    pub page_size: u64,
}

/// One page's content.
#[derive(Deserialize)]
pub struct Page {
    pub ids: Vec<i64>,
    onward: Option<String>,
}

/// What happens between two pages.
#[derive(Clone, Copy)]
pub enum Change {
    /// So many items arrive at the front.
    Arrive(u64),
    /// So many of the items that the reader was given are deleted, of those that are still there.
    Delete(u64),
    /// The items stay as they are; somebody adds an index.
    Index,
}

/// What a reader was given.
#[derive(Clone, Serialize)]
pub struct Walk {
    /// Ids, page by page. The newest has the highest.
    pub pages: Vec<Vec<i64>>,
    /// Items that arrived or were deleted meanwhile.
    pub changed: u64,
    /// What was there before and after the walk and lies before its end, the newest first.
    pub lasting: Vec<i64>,
}

/// What a reader was given who knows the first URI alone.
#[derive(Clone, Serialize)]
pub struct LinkWalk {
    /// Items in the table.
    pub rows: u64,
    /// Ids along `next`, and along `prev` from the last page, in the order of the list.
    pub forth: Vec<i64>,
    pub back: Vec<i64>,
    pub empty_pages: u64,
}

impl Walk {
    /// Items that the reader was given once more.
    pub fn repeated(&self) -> u64 {
        let given = self.pages.iter().map(Vec::len).sum::<usize>();
        (given - self.seen().len()) as u64
    }

    /// Items that were there all the time and that the reader passed without being given them.
    pub fn skipped(&self) -> u64 {
        let seen = self.seen();
        self.lasting.iter().filter(|id| !seen.contains(id)).count() as u64
    }

    fn seen(&self) -> BTreeSet<i64> {
        self.pages.iter().flatten().copied().collect()
    }

    /// A walk that repeats and skips so much on its way, for counterexamples.
    pub fn as_if(page_size: u64, pages: u64, changed: u64, repeated: u64, skipped: u64) -> Self {
        let given = page_size * pages - repeated;
        let mut ids: Vec<i64> = (1 + skipped as i64..=(given + skipped) as i64).rev().collect();
        let lasting = (1..=(given + skipped) as i64).rev().collect();
        ids.extend(ids.clone().iter().take(repeated as usize));
        Self { pages: ids.chunks(page_size as usize).map(<[_]>::to_vec).collect(), changed, lasting }
    }
}

impl Reader {
    /// The URI of a page by its place, or, as good, after a key that is newer than all.
    pub async fn start(&self, by_key: bool) -> Result<String> {
        let first = format!("/long?limit={}", self.page_size);
        if !by_key {
            return Ok(first);
        }
        // The second page after the last key: whoever begins there has left the front behind, as a reader has.
        self.onward(&first).await
    }

    /// Where the page after this one's last item is.
    pub async fn onward(&self, target: &str) -> Result<String> {
        self.page(target)
            .await?
            .0
            .onward
            .context("a page that isn't empty says what comes after its last item")
    }

    /// Turns pages along `next`, and changes the list between two of them.
    pub async fn walk(&self, first: String, pages: u64, change: Change) -> Result<Walk> {
        let shelf = first.trim_start_matches('/').split('?').next().unwrap_or_default().to_owned();
        let all = "SELECT id FROM item WHERE shelf = $1 ORDER BY created DESC, id DESC LIMIT $2";
        let before: Vec<i64> = self.db.column(all, (shelf.clone(), COMPARED)).await?;
        let mut walk = Walk { pages: Vec::new(), changed: 0, lasting: Vec::new() };
        let mut target = Some(first);
        while let Some(here) = target.take_if(|_| (walk.pages.len() as u64) < pages) {
            if !walk.pages.is_empty() {
                walk.changed += self.change(change, &walk.pages).await?;
            }
            let (page, links) = self.page(&here).await?;
            walk.pages.push(page.ids);
            target = link(&links, "next");
        }
        let after: BTreeSet<i64> = self.db.column(all, (shelf, COMPARED)).await?.into_iter().collect();
        let seen = walk.seen();
        let given = |id: &i64| seen.contains(id);
        let (begin, end) = (before.iter().position(given), before.iter().rposition(given));
        let passed = &before[begin.unwrap_or(0)..end.map_or(0, |end| end + 1)];
        walk.lasting = passed.iter().filter(|id| after.contains(id)).copied().collect();
        Ok(walk)
    }

    /// Returns how much it changed.
    async fn change(&self, change: Change, given: &[Vec<i64>]) -> Result<u64> {
        match change {
            Change::Arrive(0) => Ok(0),
            Change::Arrive(items) => {
                let insert = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
                              INSERT INTO item (shelf, created, title)
                              SELECT 'long', (SELECT max(created) + 1 FROM item WHERE shelf = 'long'), 'new' FROM n";
                self.db.execute(insert, [items as i64]).await
            }
            Change::Delete(items) => {
                let mut deleted = 0;
                for id in given.iter().flatten() {
                    if deleted < items {
                        deleted += self.db.execute("DELETE FROM item WHERE id = $1", [*id]).await?;
                    }
                }
                Ok(deleted)
            }
            Change::Index => {
                let index = "CREATE INDEX IF NOT EXISTS item_by_title ON item (shelf, created, title)";
                self.db.execute(index, ()).await.map(|_| 1)
            }
        }
    }

    /// Reads the short list, which nobody changes; somebody only adds an index after the first page, and drops it again.
    pub async fn walk_while_indexed(&self) -> Result<Walk> {
        let first = format!("/short?limit={}", self.page_size);
        let walk = self.walk(first, MOST_PAGES, Change::Index).await?;
        self.db.execute("DROP INDEX item_by_title", ()).await?;
        Ok(walk)
    }

    /// Reads the short list forth along `next` and back along `prev`, knowing nothing but where it begins.
    pub async fn along_links(&self) -> Result<LinkWalk> {
        let rows = self.db.count("SELECT count(*) FROM item WHERE shelf = 'short'", ()).await?;
        let mut walk = LinkWalk { rows, forth: Vec::new(), back: Vec::new(), empty_pages: 0 };
        let mut target = format!("/short?limit={}", self.page_size);
        for _ in 0..MOST_PAGES {
            let (page, links) = self.page(&target).await?;
            walk.empty_pages += u64::from(page.ids.is_empty());
            walk.forth.extend(page.ids);
            let Some(next) = link(&links, "next") else { break };
            target = next;
        }
        let mut last = Some(target);
        while let Some(target) = last.take_if(|_| walk.back.len() as i64 <= MOST * MOST_PAGES as i64) {
            let (page, links) = self.page(&target).await?;
            walk.back.splice(..0, page.ids);
            last = link(&links, "prev");
        }
        Ok(walk)
    }

    /// A page, with its Link header.
    async fn page(&self, target: &str) -> Result<(Page, String)> {
        let reply = self.client.get(target).await?;
        Ok((reply.json()?, reply.header("link").unwrap_or_default().to_owned()))
    }
}

/// The target of a relation in a Link header; its server writes one relation in each link and no comma in a target.
fn link(header: &str, relation: &str) -> Option<String> {
    let wanted = format!("rel=\"{relation}\"");
    header.split(", ").find_map(|link| {
        let (target, rel) = link.split_once("; ")?;
        (rel == wanted).then(|| target.trim_matches(['<', '>']).to_owned())
    })
}
