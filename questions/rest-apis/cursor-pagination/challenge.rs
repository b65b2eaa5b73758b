//! An endless list that loses nothing.
//!
//! A server on `PORT` keeps items, each of one owner, and lists an owner's items page by page while others come and go.
//!
//! ```text
//! POST   /items       {"ts": 1700000000000, "owner": "ann", "title": "…"}     201 {"id": …}
//!                     an array of up to 1000 of them                          201 {"ids": […]}, in the same order
//! DELETE /items/{id}                                                          204; 404 where there is none
//! GET    /items?owner=ann&limit=20              the newest items              200
//! GET    /items?owner=ann&limit=20&cursor=…     those that follow, or precede 200
//!
//! 200 {"items": [{"id": …, "ts": …, "owner": …, "title": …}, …], "next": "…" or null, "prev": "…" or null}
//! ```
//!
//! **Items.** `ts` is a whole number of milliseconds, and any number of items may share one. Your program picks an `id`,
//! text or a number, that no other item has. Nothing has to be kept on disk.
//!
//! **Order.** Newest first, by `ts`. Which of two items with the same `ts` comes first is yours to decide, but it is the
//! same at every look.
//!
//! **Pages.** `next` is a cursor for the items that follow the last of this page, `prev` one for those that come just
//! before its first: as many as `limit` allows, and again newest first. Where nothing follows, or precedes, it is `null`;
//! so a walk along `next` never ends with an empty page. `limit` may be another one at each request.
//!
//! **Between two pages** anything may be added or deleted, the items of the last page too. Whoever walks along `next` gets
//! each item that was there all the time exactly once. A cursor doesn't age.
//!
//! **Cursors** are text of your own making. One that you didn't make, or that you made for another owner, gets 400 and no
//! items.
//!
//! **Limits** are whole numbers from 1 to 100, written in digits; any other `limit` gets 400.
//!
//! **Depth.** With 200,000 items of one owner, a page from deep inside costs about as much as one from the beginning.

use crate::prelude::*;
use rand::seq::SliceRandom;

#[path = "reference.rs"]
mod reference;
#[path = "walk.rs"]
mod walk;

use walk::{AT_ONCE, Item, Page, add, page, target, titles, walk};

pub struct CursorPagination;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bug {
    SkipsOne,
    EndsWithAnEmptyPage,
    NoTieBreaker,
    NumbersPages,
    LooksUpTheRow,
    ReversesThePage,
    StartsFromTheTop,
    TrustsTheCursor,
    ForgetsTheOwner,
    CountsItsWay,
    ClampsTheLimit,
    FailsOnText,
    ReadsLeadingDigits,
}

const REVERSED: &str = "The page before is read from the cursor towards the newer items, and sent in that order; it has to \
                        be turned round.";
const FROM_THE_TOP: &str =
    "The page before is made of the newest items of all, not of those just before the cursor.";
const TRUSTED: &str = "A cursor is taken as it comes: whoever can decode it can write one.";
const UNBOUND: &str = "A cursor doesn't know for whom it was made: it holds a place alone.";
const CLAMPED: &str = "A limit that isn't allowed is replaced in silence by one that is.";
const UNREAD: &str = "The limit reaches the query as it came, and the query fails.";
const LEADING: &str = "The number is read from the front, and what follows it is ignored.";

impl Challenge for CursorPagination {
    type Bug = Bug;

    fn stages() -> Vec<Stage<Bug>> {
        vec![
            stage("a walk shows all items, newest first, each once, whatever the limit", walks)
                .catches(
                    Bug::SkipsOne,
                    "The cursor is made from the item after the page, and the next page begins after that one.",
                )
                .catches(
                    Bug::EndsWithAnEmptyPage,
                    "A full page is taken for a sign that more follow, and the last one may be full.",
                )
                .hint("Read one item more than the page holds. If it is there, more follow; it isn't shown, and the cursor \
                       names the last item that is."),
            stage("nothing is lost where all items have one timestamp", breaks_ties)
                .catches(
                    Bug::NoTieBreaker,
                    "The cursor holds the timestamp alone: what shares it with the last item is passed over.",
                )
                .hint("Sort by something unique, such as (ts, id), put both into the cursor, and compare both."),
            stage("items that come and go behind the reader don't move what lies ahead", keeps_place)
                .catches(
                    Bug::NumbersPages,
                    "The cursor is a count of items or pages, an OFFSET in disguise: what is added in front moves all \
                     others.",
                )
                .hint("A cursor has to say after which item the page begins, not how many were shown before."),
            stage("a walk goes on after the item that its cursor names is gone", survives_deletion)
                .catches(
                    Bug::LooksUpTheRow,
                    "The cursor holds an id, whose item is looked up to find the place; it is gone.",
                )
                .hint("The cursor has to hold all that the comparison needs, so that no item need be there."),
            stage("prev brings back the page before, in the same order", goes_back)
                .catches(Bug::ReversesThePage, REVERSED)
                .catches(Bug::StartsFromTheTop, FROM_THE_TOP)
                .hint("To find those just before a place, read towards the newer from there; then turn the page round."),
            stage("a cursor that was changed, or made for another owner, gets 400", refuses_cursors)
                .catches(Bug::TrustsTheCursor, TRUSTED)
                .catches(Bug::ForgetsTheOwner, UNBOUND)
                .hint("Sign what the cursor holds together with the owner that it is for, with a key that only the server \
                       knows, and check that before anything else."),
            stage("of 200,000 items, page 1901 costs about as much as page 2", costs_the_same)
                .catches(
                    Bug::CountsItsWay,
                    "The way to a page leads over all items before it: OFFSET, or a loop from the newest on.",
                )
                .hint("Keep an order in which a place can be found at once: an index on (owner, ts, id), a tree, or an array \
                       with binary search."),
            stage("a limit of 0, -1, 101, 7.5 or text gets 400", refuses_limits)
                .catches(Bug::ClampsTheLimit, CLAMPED)
                .catches(Bug::FailsOnText, UNREAD)
                .catches(Bug::ReadsLeadingDigits, LEADING)
                .hint("Match the whole text against digits, then compare with both ends, before anything uses it."),
        ]
    }

    async fn reference(bug: Option<Bug>) -> Result<()> {
        crate::reference::serve(reference::router(bug)).await
    }
}

/// Some moment, in milliseconds.
fn some_time(g: &Grader) -> u64 {
    1_700_000_000_000 + u64::from(g.number(0..1_000_000_000))
}

/// Times of so many items, some milliseconds apart, the newest first.
fn times(g: &Grader, count: usize) -> Vec<u64> {
    let mut ts = some_time(g);
    let earlier = |_| {
        ts -= u64::from(g.number(1..5000));
        ts
    };
    (0..count).map(earlier).collect()
}

/// Adds so many items in no order; returns them in theirs, the newest first.
async fn add_some(g: &Grader, it: &Subject, owner: &str, count: usize) -> Graded<Vec<Item>> {
    let mut times = times(g, count);
    times.shuffle(&mut g.rng_for(owner));
    let mut items = add(g, it, owner, &times).await?;
    items.sort_by_key(|item| std::cmp::Reverse(item.ts));
    Ok(items)
}

/// The program with this many items of an owner, and some of another in between.
async fn started(g: &Grader, count: usize) -> Graded<(Subject, String, Vec<Item>)> {
    let it = g.start(&[]).await?;
    let [owner, other] = g.words();
    add_some(g, &it, &other, 30).await?;
    let items = add_some(g, &it, &owner, count).await?;
    Ok((it, owner, items))
}

async fn walks(g: &Grader) -> Graded {
    let (it, owner, items) = started(g, 1000).await?;
    for limit in [7, 100, 1] {
        walk(&it, &owner, limit, &items).await?;
    }
    Ok(())
}

async fn breaks_ties(g: &Grader) -> Graded {
    let it = g.start(&[]).await?;
    let owner = g.word();
    let items = add(g, &it, &owner, &vec![some_time(g); 120 + g.number(1..30) as usize]).await?;
    let (mut order, mut cursor): (Vec<Item>, Option<String>) = (Vec::new(), None);
    loop {
        let page = page(&it, &owner, 7, cursor.as_deref()).await?;
        if let Some(again) = page.shown.iter().find(|item| order.iter().any(|it| it.id == item.id)) {
            let found = format!("\"{}\" again", again.title);
            return Err(page.answer.wrong("the titles in \"items\"", "items that weren't shown yet", found));
        }
        order.extend(page.shown);
        cursor = page.next;
        if cursor.is_none() {
            let what = "the items of the walk that ends with the answer";
            let all = format!("{}, all with one timestamp", items.len());
            page.answer.expect(what, format!("{}, all with one timestamp", order.len()), all)?;
            break;
        }
    }
    // Whichever order it is, it doesn't depend on the limit.
    walk(&it, &owner, 100, &order).await?;
    walk(&it, &owner, 1, &order).await
}

async fn keeps_place(g: &Grader) -> Graded {
    const LIMIT: usize = 7;
    let (it, owner, items) = started(g, 63).await?;
    let (mut newest, mut cursor) = (items[0].ts, None);
    for (n, expected) in items.chunks(LIMIT).enumerate() {
        let page = page(&it, &owner, LIMIT, cursor.as_deref()).await?;
        page.shows(expected)?;
        match items.len() - (n + 1) * LIMIT {
            0 => page.is_last()?,
            left => cursor = Some(page.onward(left)?.to_owned()),
        }
        // By turns: some are added in front, some of those that were shown go, but not the last of the page.
        if n % 2 == 0 {
            let added: Vec<u64> =
                (1..=3).map(|later| newest + later * u64::from(g.number(1..1000))).collect();
            newest = add(g, &it, &owner, &added).await?.iter().map(|item| item.ts).fold(newest, u64::max);
        } else {
            for gone in &expected[1..3] {
                it.delete(format!("/items/{}", gone.id)).await?.status(204)?;
            }
        }
    }
    Ok(())
}

async fn survives_deletion(g: &Grader) -> Graded {
    const LIMIT: usize = 7;
    let (it, owner, items) = started(g, 50).await?;
    let delete = async |item: &Item| it.delete(format!("/items/{}", item.id)).await?.status(204);
    let mut left = &items[..];
    let mut cursor = None;
    while !left.is_empty() {
        let page = page(&it, &owner, LIMIT, cursor.as_deref()).await?;
        let (expected, after) = left.split_at(LIMIT.min(left.len()));
        page.shows(expected)?;
        left = after;
        if left.is_empty() {
            break;
        }
        cursor = Some(page.onward(left.len())?.to_owned());
        // A cursor may name the last item that was shown, or the first that wasn't.
        if let [.., last] = expected {
            delete(last).await?;
        }
        if let [first, after @ ..] = left {
            delete(first).await?;
            left = after;
        }
    }
    it.delete(format!("/items/{}", items[LIMIT - 1].id)).await?.status(404)?;
    Ok(())
}

async fn goes_back(g: &Grader) -> Graded {
    const LIMIT: usize = 7;
    let (it, owner, items) = started(g, 40).await?;
    let pages: Vec<&[Item]> = items.chunks(LIMIT).collect();
    let mut here = page(&it, &owner, LIMIT, None).await?;
    here.shows(pages[0])?;
    let at_the_top = |page: &Page| match &page.prev {
        None => Ok(()),
        Some(prev) => {
            Err(page.answer.wrong("the member \"prev\"", "null: nothing is newer than this page", prev))
        }
    };
    at_the_top(&here)?;
    for (n, expected) in (1..4).zip(&pages[1..]) {
        here = page(&it, &owner, LIMIT, Some(here.onward(items.len() - n * LIMIT)?)).await?;
        here.shows(expected)?;
    }
    for n in (0..3).rev() {
        let before = page(&it, &owner, LIMIT, Some(here.back()?)).await?;
        is_before(&before, pages[n], pages[0])?;
        let again = page(&it, &owner, LIMIT, Some(before.onward(items.len() - (n + 1) * LIMIT)?)).await?;
        again.shows(pages[n + 1])?;
        here = before;
    }
    at_the_top(&here)?;

    // Newer ones come: they are before the first page, and move nothing.
    let second = page(&it, &owner, LIMIT, Some(here.onward(items.len() - LIMIT)?)).await?;
    let newer: Vec<u64> = (1..=3).rev().map(|later| items[0].ts + later * 10).collect();
    let newer = add(g, &it, &owner, &newer).await?;
    let first = page(&it, &owner, LIMIT, Some(second.back()?)).await?;
    is_before(&first, pages[0], &newer)?;
    let top = page(&it, &owner, LIMIT, Some(first.back()?)).await?;
    is_before(&top, &newer, pages[0])?;
    at_the_top(&top)
}

/// As [`Page::shows`], for a page that `prev` brought.
fn is_before(page: &Page, expected: &[Item], newest: &[Item]) -> Graded {
    let mut reversed = expected.to_vec();
    reversed.reverse();
    let shown = titles(&page.shown);
    page.shows(expected).map_err(|wrong| {
        if shown == titles(&reversed) {
            wrong.because(REVERSED)
        } else if shown.starts_with(&titles(&newest[..1])) {
            wrong.because(FROM_THE_TOP)
        } else {
            wrong
        }
    })
}

async fn refuses_cursors(g: &Grader) -> Graded {
    const LIMIT: usize = 5;
    let (it, owner, items) = started(g, 30).await?;
    let other = g.word();
    let others = add_some(g, &it, &other, 30).await?;
    let refused = async |owner: &str, cursor: &str, cause: &'static str| {
        let answer = it.get(target(owner, LIMIT, Some(cursor))).await?;
        let body = String::from_utf8_lossy(answer.body()).into_owned();
        let leak = items.iter().chain(&others).find(|item| body.contains(&item.title));
        if answer.code() == 200 || leak.is_some() {
            let found = match leak {
                Some(leak) => format!("{} with the item \"{}\"", answer.code(), leak.title),
                None => "200 with an empty page".to_owned(),
            };
            return Err(answer.wrong("the answer", "400 and no items", found).because(cause));
        }
        answer.status(400).map(drop)
    };
    let first = page(&it, &owner, LIMIT, None).await?;
    let second = page(&it, &owner, LIMIT, Some(first.onward(25)?)).await?;
    for cursor in [second.onward(20)?, second.back()?] {
        for changed in changes(cursor) {
            refused(&owner, &changed, TRUSTED).await?;
        }
        refused(&owner, &g.word(), TRUSTED).await?;
        refused(&other, cursor, UNBOUND).await?;
    }
    page(&it, &owner, LIMIT, second.next.as_deref()).await?.shows(&items[10..15])
}

/// The cursor with one letter or digit changed, for each of them, as far as all of their bits count: in base64 those of
/// the last one may not.
fn changes(cursor: &str) -> Vec<String> {
    let bytes = cursor.as_bytes();
    let ends = |at: usize| bytes.get(at + 1).is_none_or(|next| !next.is_ascii_alphanumeric());
    let tail = if bytes.len() < 8 { 0 } else { 3 };
    let counts = |at: &usize| bytes[*at].is_ascii_alphanumeric() && (tail == 0 || !ends(*at));
    let change = |at: usize| {
        let mut changed = bytes.to_vec();
        changed[at] = match bytes[at] {
            b'9' => b'0',
            b'z' => b'a',
            b'Z' => b'A',
            byte => byte + 1,
        };
        String::from_utf8(changed).ok()
    };
    (0..bytes.len() - tail).filter(counts).step_by(bytes.len().div_ceil(64)).filter_map(change).collect()
}

async fn costs_the_same(g: &Grader) -> Graded {
    /// Items, of which the older ones are there before the cursor of the deep page is made.
    const ALL: usize = 200_000;
    const OLD: usize = 10_100;
    const LIMIT: usize = 100;
    const ASKED: usize = 60;
    let it = g.start(&[]).await?;
    let owner = g.word();
    let start = some_time(g);
    let title = |n: usize| format!("{owner}{n}");
    // The nth item, counted from the oldest. As text, since there are so many.
    let item =
        |n| format!("{{\"ts\":{},\"owner\":\"{owner}\",\"title\":\"{}\"}}", start + n as u64 * 3, title(n));
    let add = async |numbers: std::ops::Range<usize>| -> Graded {
        for from in numbers.clone().step_by(AT_ONCE) {
            let some: Vec<String> = (from..numbers.end.min(from + AT_ONCE)).map(item).collect();
            let post = it.post("/items").header("Content-Type", "application/json");
            post.body(format!("[{}]", some.join(",")))
                .deadline(Duration::from_secs(10))
                .await?
                .status(201)?;
        }
        Ok(())
    };
    add(0..OLD).await?;
    let deep = page(&it, &owner, LIMIT, None).await?.onward(OLD - LIMIT)?.to_owned();
    add(OLD..ALL).await?;
    let near = page(&it, &owner, LIMIT, None).await?.onward(ALL - LIMIT)?.to_owned();
    for (cursor, first) in [(&near, ALL - LIMIT - 1), (&deep, OLD - LIMIT - 1)] {
        let page = page(&it, &owner, LIMIT, Some(cursor)).await?;
        let found: Vec<_> = page.shown.iter().map(|item| item.title.clone()).collect();
        let expected: Vec<_> = (0..LIMIT).map(|n| title(first - n)).collect();
        page.answer.expect("the titles in \"items\"", found.join(" "), expected.join(" "))?;
    }
    // One item a page, so that the way to it is most of the cost.
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..ASKED {
        for (cursor, took) in [&near, &deep].into_iter().zip(&mut took) {
            took.push(it.get(target(&owner, 1, Some(cursor))).await?.status(200)?.took());
        }
    }
    // The faster ones tell most on a busy machine, where the others wait for their turn.
    let [near, deep] = took.map(|mut took| {
        took.sort_unstable();
        took[ASKED / 10]
    });
    if deep > near * 4 {
        let ms = |it: Duration| format!("{:.2} ms", it.as_secs_f64() * 1000.0);
        let what = "the time for an item of page 1901 (a tenth of 60 requests were faster)";
        let expected = format!("at most four times as long as for one of page 2, which takes {}", ms(near));
        return Err(g.wrong(what, expected, ms(deep)));
    }
    Ok(())
}

async fn refuses_limits(g: &Grader) -> Graded {
    let (it, owner, items) = started(g, 110).await?;
    let text = g.word();
    for limit in ["0", "-1", "101", &text, "7.5", "5x"] {
        let answer = it.get(format!("/items?owner={owner}&limit={limit}")).await?;
        let (code, is_number) = (answer.code(), limit.parse::<i32>().is_ok());
        answer.status(400).map_err(|wrong| match code {
            500 => wrong.because(UNREAD),
            200 if is_number || limit == text => wrong.because(CLAMPED),
            200 => wrong.because(LEADING),
            _ => wrong,
        })?;
    }
    for limit in [1, 100] {
        page(&it, &owner, limit, None).await?.shows(&items[..limit])?;
    }
    Ok(())
}
