//! A write passes one cache of two. Which copies does it take down?

use super::origin::Origin;
use super::{Conduct, Params};
use crate::prelude::*;

#[derive(Clone, Serialize)]
pub struct Seen {
    /// What readers got before the write, and what the origin has after it.
    pub before: String,
    pub now: String,
    /// What readers get after it through the cache that it passed, and through the other one.
    pub same_way: String,
    pub other_way: String,
    /// What the list says, which quotes the news, through the cache that the write passed.
    pub list: String,
}

pub async fn observe(lab: &Lab, p: &Params) -> Result<Seen> {
    lab.step("A write goes through one of two caches; readers ask through both");
    let server = lab.serve("origin", Origin::new(p.origin, "max-age=60").router())?;
    let clock = Clock::frozen();
    let caches =
        [lab.http_cache("cache", &server, clock.clone())?, lab.http_cache("other cache", &server, clock)?];
    let [here, there] = [lab.client("reader", &caches[0]), lab.client("reader", &caches[1])];
    let before = edition(&here, "/news").await?;
    edition(&there, "/news").await?;
    edition(&here, "/list").await?;
    match p.origin {
        Conduct::OtherUri => here.post("/news/edit").await?,
        _ => here.put("/news").await?,
    };
    Ok(Seen {
        before,
        same_way: edition(&here, "/news").await?,
        other_way: edition(&there, "/news").await?,
        list: edition(&here, "/list").await?,
        now: edition(&lab.client("reader", &server), "/news").await?,
    })
}

async fn edition(client: &Client, target: &str) -> Result<String> {
    let text = client.get(target).await?.text();
    Ok(text.trim().trim_start_matches("newest: ").to_owned())
}

pub fn claims(seen: &Seen) -> Vec<Claim> {
    let of = |id, says, breaks_when, got: &String, expected: &String| {
        claim(id, says, breaks_when)
            .witness(seen.before != seen.now, format!("{} became {}", seen.before, seen.now))
            .equal(got.clone(), expected.clone())
    };
    vec![
        of(
            "write-invalidates",
            "After a PUT the cache that it passed asks again, and has the new",
            "the write goes to another URI than readers ask for",
            &seen.same_way,
            &seen.now,
        ),
        of(
            "write-only-here",
            "Another cache hears nothing of it, and serves the old until it expires",
            "the origin purges it by other means",
            &seen.other_way,
            &seen.before,
        ),
        of(
            "write-not-lists",
            "A list that quotes what was written stays old, in the same cache too",
            "the list isn't kept",
            &seen.list,
            &seen.before,
        ),
    ]
}

pub fn flawless() -> Seen {
    let [old, new] = ["edition 1", "edition 2"].map(str::to_owned);
    Seen { before: old.clone(), now: new.clone(), same_way: new, other_way: old.clone(), list: old }
}
