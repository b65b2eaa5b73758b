//! What is drawn: the token in its parts, each token at both verifiers, and the clock around exp.

use super::{Answer, BELIEVER, Moved, Observed, Params, STRICT, Tried};
use crate::prelude::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;

pub fn token_in_parts(seen: &Observed) -> Figure {
    let json = |part: &str| -> String {
        let bytes = BASE64URL.decode(part).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let mut parts = seen.token.split('.');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let (header, payload, signature) = (part(), part(), part());
    let bytes = BASE64URL.decode(&signature).map_or(0, |it| it.len());
    let rows = vec![
        vec!["header".to_owned(), header.clone(), json(&header)],
        vec!["payload".to_owned(), payload.clone(), json(&payload)],
        vec![
            "signature".to_owned(),
            signature,
            format!("{bytes} bytes over the two parts before it, as they were sent"),
        ],
    ];
    let columns = ["Part", "As it was sent", "What it says to anyone"].map(str::to_owned).to_vec();
    Figure::new(
        "token",
        "The genuine token: three parts in base64url, joined by dots.",
        Table { columns, rows },
    )
}

pub fn forgeries_by_verifier(seen: &Observed) -> Figure {
    let rows = seen.tried.iter().map(|it| it.what.to_owned()).collect();
    let cell = |answer: &Answer, genuine: bool| Cell {
        text: if answer.accepts() { "accepted".to_owned() } else { answer.why.clone() },
        tone: match (answer.accepts(), genuine) {
            (true, true) => Tone::Accent,
            (true, false) => Tone::Refuted,
            (false, _) => Tone::Plain,
        },
    };
    let row = |(i, it): (usize, &Tried)| vec![cell(&it.believer, i == 0), cell(&it.strict, i == 0)];
    let cells = seen.tried.iter().enumerate().map(row).collect();
    let columns = vec![BELIEVER.to_owned(), STRICT.to_owned()];
    let caption = "What each verifier says to each token: accepted, or why not.";
    Figure::new("forgeries", caption, Matrix { rows, columns, cells })
}

pub fn clock_strip(p: &Params, seen: &Observed) -> Figure {
    let lane = |name: &str, status: fn(&Moved) -> u16| Lane {
        name: name.to_owned(),
        spans: vec![],
        moments: seen
            .around_exp
            .iter()
            .map(|it| Moment {
                at: it.after_exp_s as f64,
                label: String::new(),
                tone: if status(it) == 200 { Tone::Accent } else { Tone::Refuted },
            })
            .collect(),
    };
    let lanes = vec![lane(BELIEVER, |it| it.believer), lane(STRICT, |it| it.strict)];
    let mark = |at: f64, label: &str| Mark { at, label: label.to_owned() };
    let mut marks = vec![mark(0.0, "exp")];
    if p.leeway_s > 0 {
        marks.push(mark(p.leeway_s as f64, "exp + leeway"));
    }
    let caption =
        "The genuine token as the servers' clock moves past its exp: dots are accepted, crosses refused.";
    Figure::new("around exp", caption, Timeline { unit: "s after exp".to_owned(), lanes, marks })
}
