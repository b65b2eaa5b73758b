//! One URI in two languages: what Vary has to name, and what it had better not.

use super::lifetimes::bodies;
use super::origin::Origin;
use super::{Conduct, Params};
use crate::prelude::*;

const VARIES: [&str; 3] = ["", "Accept-Language", "Accept-Language, User-Agent"];

#[derive(Clone, Serialize)]
pub struct Seen {
    vary: &'static str,
    /// Readers who asked for a language other than the first one's.
    others: u64,
    /// Readers who got another language than they had asked for.
    pub wrong: u64,
    /// Bodies that the origin had to send.
    pub whole: u64,
}

pub async fn observe(lab: &Lab, p: &Params) -> Result<Vec<Seen>> {
    let mut all = Vec::new();
    for vary in VARIES {
        let name = if vary.is_empty() { "no Vary" } else { vary };
        lab.step(format_args!("{name}: readers of two languages, each with a browser of their own"));
        let said = if p.origin == Conduct::ForgetsVary { "" } else { vary };
        let origin = Origin::new(p.origin, "max-age=60").varying(said);
        let server = lab.serve("origin", origin.router())?;
        let cache = lab.http_cache("cache", &server, Clock::frozen())?;
        let reader = lab.client("reader", &cache);
        let (mut others, mut wrong) = (0, 0);
        for n in 0..p.readers {
            let language = if n % 2 == 0 { "de" } else { "en" };
            let asking = reader.get("/greeting").header("accept-language", language);
            let reply = asking.header("user-agent", format!("browser/{n}")).await?;
            others += n % 2;
            wrong += u64::from(!reply.text().starts_with(language));
        }
        all.push(Seen { vary, others, wrong, whole: server.executed_of("GET /greeting") });
    }
    Ok(all)
}

pub fn claims(p: &Params, all: &[Seen]) -> Vec<Claim> {
    let words = |wrong: u64, whole: u64| format!("{wrong} in the wrong language, {}", bodies(whole));
    let of = |id, says, breaks_when, seen: &Seen, expected: String| {
        claim(id, says, breaks_when)
            .witness(
                seen.others > 0,
                format!("{} of {} asked for the other language", seen.others, p.readers),
            )
            .equal(words(seen.wrong, seen.whole), expected)
    };
    vec![
        of(
            "vary-missing",
            "Without Vary whoever wants the other language gets the first reader's",
            "all readers want the same",
            &all[0],
            words(p.readers / 2, 1),
        ),
        of(
            "vary-keeps-apart",
            "With Vary: Accept-Language nobody does, for one body in each language",
            "the answer depends on a field that Vary doesn't name",
            &all[1],
            words(0, 2),
        ),
        of(
            "vary-too-much",
            "With User-Agent in Vary each browser costs a body, and the cache is of no use",
            "all have the same browser",
            &all[2],
            words(0, p.readers),
        ),
    ]
}

pub fn figure(all: &[Seen]) -> Figure {
    let row = |seen: &Seen| {
        let bar = |value: u64, tone| Bar { value: value as f64, tone };
        let label = if seen.vary.is_empty() { "no Vary" } else { seen.vary };
        BarRow {
            label: label.into(),
            bars: vec![bar(seen.wrong, Tone::Refuted), bar(seen.whole, Tone::Accent)],
        }
    };
    let bars = Bars {
        unit: "readers".into(),
        series: vec!["got the wrong language".into(), "cost the origin a body".into()],
        rows: all.iter().map(row).collect(),
        limit: None,
    };
    Figure::new(
        "Vary",
        "Too little in Vary, and readers get what was made for others; too much, and everybody costs a body.",
        bars,
    )
}

pub fn flawless(p: &Params) -> Vec<Seen> {
    let figures = [(p.readers / 2, 1), (0, 2), (0, p.readers)];
    let seen = |(vary, (wrong, whole))| Seen { vary, others: p.readers / 2, wrong, whole };
    VARIES.into_iter().zip(figures).map(seen).collect()
}
