//! The reader's side: it adds items, asks for pages, and holds each against what it should show.

use crate::prelude::*;

/// Items in one array.
pub const AT_ONCE: usize = 1000;

/// An item as it was added.
#[derive(Debug, Clone)]
pub struct Item {
    pub ts: u64,
    pub title: String,
    /// As it stands in a path.
    pub id: String,
}

/// One page as it came.
pub struct Page {
    pub answer: Answer,
    pub shown: Vec<Item>,
    pub next: Option<String>,
    pub prev: Option<String>,
}

/// Adds items of one owner with these times, in this order; most in arrays, and the last one by itself.
pub async fn add(g: &Grader, it: &Subject, owner: &str, times: &[u64]) -> Graded<Vec<Item>> {
    let items: Vec<_> = times.iter().map(|ts| (*ts, g.word())).collect();
    let json = |(ts, title): &(u64, String)| json!({ "ts": ts, "owner": owner, "title": title });
    let (last, others) = items.split_last().context("no items to add")?;
    let mut ids = Vec::new();
    for some in others.chunks(AT_ONCE) {
        let answer = it.post("/items").json(&some.iter().map(json).collect::<Vec<_>>()).await?.status(201)?;
        let came = answer.field("ids")?;
        let came = came.as_array().map(Vec::as_slice).unwrap_or_default();
        if came.len() != some.len() {
            return Err(answer.wrong("the member \"ids\"", format!("{} ids", some.len()), came.len()));
        }
        ids.extend(came.iter().map(id_text));
    }
    ids.push(id_text(&it.post("/items").json(&json(last)).await?.status(201)?.field("id")?));
    let made = items.into_iter().zip(ids);
    Ok(made.map(|((ts, title), id)| Item { ts, title, id }).collect())
}

/// An id, text or number, as it stands in a path.
fn id_text(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), escaped)
}

/// Text as it stands in a target (RFC 3986, section 2.3).
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

/// Where a page is.
pub fn target(owner: &str, limit: usize, cursor: Option<&str>) -> String {
    let cursor = cursor.map(|cursor| format!("&cursor={}", escaped(cursor))).unwrap_or_default();
    format!("/items?owner={owner}&limit={limit}{cursor}")
}

pub async fn page(it: &Subject, owner: &str, limit: usize, cursor: Option<&str>) -> Graded<Page> {
    let answer = it.get(target(owner, limit, cursor)).await?.status(200)?;
    let items = answer.field("items")?;
    let Some(items) = items.as_array() else {
        return Err(answer.wrong("the member \"items\"", "an array", items));
    };
    let read = |item: &Value| {
        let (ts, title) = (item["ts"].as_f64()?, item["title"].as_str()?);
        let is_whole = item["owner"] == owner && !item["id"].is_null();
        is_whole.then(|| Item { ts: ts as u64, title: title.to_owned(), id: id_text(&item["id"]) })
    };
    let mut shown = Vec::new();
    for item in items {
        let wrong = || {
            answer.wrong(
                "an item",
                format!("one of {owner}, with \"id\", \"ts\", \"owner\" and \"title\""),
                item,
            )
        };
        shown.push(read(item).ok_or_else(wrong)?);
    }
    let cursor = |name: &str| match answer.field(name)? {
        Value::Null => Ok(None),
        Value::String(cursor) => Ok(Some(cursor)),
        other => Err(answer.wrong(format!("the member \"{name}\""), "text or null", other)),
    };
    let (next, prev) = (cursor("next")?, cursor("prev")?);
    Ok(Page { answer, shown, next, prev })
}

impl Page {
    /// Goes on only if the page shows just these, in this order.
    pub fn shows(&self, expected: &[Item]) -> Graded {
        self.answer.expect("the titles in \"items\"", titles(&self.shown), titles(expected))?;
        for (shown, added) in self.shown.iter().zip(expected) {
            self.answer.expect(format!("the ts of \"{}\"", added.title), shown.ts, added.ts)?;
            self.answer.expect(format!("the id of \"{}\"", added.title), &shown.id, &added.id)?;
        }
        Ok(())
    }

    /// The cursor for what follows, of which there is something.
    pub fn onward(&self, left: usize) -> Graded<&str> {
        let wrong =
            || self.answer.wrong("the member \"next\"", format!("a cursor: {left} more follow"), "null");
        self.next.as_deref().ok_or_else(wrong)
    }

    /// The cursor for what comes before, of which there is something.
    pub fn back(&self) -> Graded<&str> {
        let wrong = || self.answer.wrong("the member \"prev\"", "a cursor: there are newer items", "null");
        self.prev.as_deref().ok_or_else(wrong)
    }

    /// Goes on only if there is no cursor for what follows.
    pub fn is_last(&self) -> Graded {
        let Some(next) = &self.next else { return Ok(()) };
        Err(self.answer.wrong("the member \"next\"", "null: nothing follows this page", next).because(
            "A full page is taken for a sign that more follow; where the last page is full, an empty one comes after it.",
        ))
    }
}

/// Many titles on a line.
pub fn titles(items: &[Item]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items.iter().map(|item| item.title.as_str()).collect::<Vec<_>>().join(" ")
}

/// Walks along `next` from the newest to the oldest, and holds each page against what it should show.
pub async fn walk(it: &Subject, owner: &str, limit: usize, expected: &[Item]) -> Graded {
    let (mut cursor, mut left) = (None, expected.len());
    for expected in expected.chunks(limit) {
        let page = page(it, owner, limit, cursor.as_deref()).await?;
        page.shows(expected)?;
        left -= expected.len();
        match left {
            0 => page.is_last()?,
            _ => cursor = Some(page.onward(left)?.to_owned()),
        }
    }
    Ok(())
}
