//! The first reader after the expiry: who waits for the origin?

use super::origin::Origin;
use super::{Conduct, Params};
use crate::prelude::*;

/// While one reader's answer is awaited, another asks so often for something that isn't held.
const MEANWHILE: u64 = 30;

#[derive(Clone, Serialize)]
pub struct Seen {
    /// With stale-while-revalidate, and with max-age alone.
    pub granted: First,
    pub plain: First,
}

#[derive(Clone, Serialize)]
pub struct First {
    /// Requests that waited at the origin meanwhile.
    held: u64,
    /// Whether the reader had an answer while the origin still held its own.
    pub early: bool,
    /// What that reader got, and what the next one does.
    got: String,
    next: String,
}

pub async fn observe(lab: &Lab, p: &Params) -> Result<Seen> {
    let grace = if p.origin == Conduct::NoGrace { "" } else { ", stale-while-revalidate=50" };
    Ok(Seen {
        granted: first(lab, p, &format!("max-age=10{grace}")).await?,
        plain: first(lab, p, "max-age=10").await?,
    })
}

async fn first(lab: &Lab, p: &Params, control: &str) -> Result<First> {
    lab.step(format_args!("{control}: two seconds after the expiry, and the origin is slow"));
    let origin = Origin::new(p.origin, control);
    let server = lab.serve("origin", origin.router())?;
    let clock = Clock::frozen();
    let cache = lab.http_cache("cache", &server, clock.clone())?;
    let reader = lab.client("reader", &cache);
    reader.get("/news").await?;

    clock.step(Duration::from_secs(12));
    origin.next_edition();
    origin.gate.close();
    let before = origin.gate.arrived();
    let mut asking =
        std::pin::pin!(async { anyhow::Ok(reader.get("/news").await?.text().trim().to_owned()) });
    // Either the answer comes while the origin holds its own, or it is still awaited after many others.
    let meanwhile = async {
        origin.gate.arrivals(before + 1).await?;
        for n in 0..MEANWHILE {
            reader.get(format!("/list?{n}")).await?;
        }
        anyhow::Ok(())
    };
    let got = tokio::select! {
        biased;
        got = asking.as_mut() => Some(got?),
        others = meanwhile => { others?; None }
    };
    origin.gate.arrivals(before + 1).await?;
    let (early, held) = (got.is_some(), origin.gate.waiting());
    origin.gate.open();
    let got = match got {
        Some(got) => got,
        None => asking.await?,
    };
    cache.cache().settled().await?;
    let next = reader.get("/news").await?.text().trim().to_owned();
    Ok(First { held, early, got, next })
}

pub fn claims(seen: &Seen) -> Vec<Claim> {
    let words = |it: &First| {
        let when = if it.early { "while" } else { "after" };
        format!("{} {when} the origin held it; then {}", it.got, it.next)
    };
    let of = |id, says, breaks_when, it: &First, expected: &str| {
        claim(id, says, breaks_when)
            .witness(it.held == 1, format!("{} request waited at the origin", it.held))
            .equal(words(it), expected.to_owned())
    };
    vec![
        of(
            "stale-at-once",
            "stale-while-revalidate: the first reader after the expiry has the old before the origin has answered, and the \
             next one has the new",
            "it is older than the directive permits",
            &seen.granted,
            "edition 1 while the origin held it; then edition 2",
        ),
        of(
            "expiry-waits",
            "With max-age alone that reader waits for the origin",
            "something permits staleness",
            &seen.plain,
            "edition 2 after the origin held it; then edition 2",
        ),
    ]
}

pub fn flawless() -> Seen {
    let first = |early, got: &str| First { held: 1, early, got: got.into(), next: "edition 2".into() };
    Seen { granted: first(true, "edition 1"), plain: first(false, "edition 2") }
}
