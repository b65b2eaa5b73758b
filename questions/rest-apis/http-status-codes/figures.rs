//! What is drawn of a run.

use super::{Observed, Outcomes, Params};
use crate::prelude::*;

pub fn all(p: &Params, seen: &Observed) -> Vec<Figure> {
    let mut all = vec![
        Figure::new(
            "what the machines miss",
            "The same failures before the same four machines. Where the code says what happened, they deal with it; under 200 \
             nobody but the user notices.",
            missed(p, seen),
        ),
        Figure::new(
            "causes",
            "What was done, the code that came of it, and the header that says what to do next.",
            causes(seen),
        ),
        Figure::new(
            "behind a gateway",
            "Four ways in which an upstream fails, and what the gateway's client is told.",
            upstreams(seen),
        ),
    ];
    if !seen.redirects.is_empty() {
        all.push(Figure::new(
            "a POST that is redirected",
            "What arrives at the new place when a browser's fetch follows. Three of the five codes lose the content.",
            redirects(seen),
        ));
    }
    all
}

fn missed(p: &Params, seen: &Observed) -> Bars {
    type Missed = fn(&Outcomes) -> u64;
    let rows: [(&str, Missed); 4] = [
        ("failures without an alarm", |it| it.failed_posts - it.alarmed.min(it.failed_posts)),
        ("reads that fail behind the balancer", |it| it.failed_reads),
        ("reads served a cached error", |it| it.cached_errors),
        ("notes that the retrier loses", |it| it.meant - it.saved.min(it.meant)),
    ];
    let row = |(label, missed): (&str, Missed)| {
        let bar = |outcomes, tone| Bar { value: missed(outcomes) as f64, tone };
        let bars = vec![bar(&seen.codes, Tone::Accent), bar(&seen.always_200, Tone::Refuted)];
        BarRow { label: label.to_owned(), bars }
    };
    Bars {
        unit: format!("of {}", p.requests),
        series: ["by codes", "under 200"].map(str::to_owned).into(),
        rows: rows.map(row).into(),
        limit: None,
    }
}

fn causes(seen: &Observed) -> Table {
    let row = |it: &super::Cause| {
        let mark = if it.code == it.defined { String::new() } else { format!(" (should be {})", it.defined) };
        vec![it.what.to_owned(), format!("{}{mark}", it.code), it.header.clone()]
    };
    Table {
        columns: ["cause", "code", "header"].map(str::to_owned).into(),
        rows: seen.causes.iter().map(row).collect(),
    }
}

fn upstreams(seen: &Observed) -> Matrix {
    let cell = |it: &super::Upstream, code: u16| {
        let tone = if code == it.defined { Tone::Accent } else { Tone::Refuted };
        let blank = Cell { text: "·".into(), tone: Tone::Soft };
        if it.code == code { Cell { text: code.to_string(), tone } } else { blank }
    };
    let codes = [500, 502, 503, 504];
    Matrix {
        rows: seen.upstreams.iter().map(|it| it.what.to_owned()).collect(),
        columns: codes.map(|it| it.to_string()).into(),
        cells: seen.upstreams.iter().map(|it| codes.map(|code| cell(it, code)).into()).collect(),
    }
}

fn redirects(seen: &Observed) -> Matrix {
    let row = |it: &super::Landed| {
        let kept = it.method == "POST" && it.content == super::redirects::CONTENT;
        let tone = if kept { Tone::Accent } else { Tone::Plain };
        let content = if it.content.is_empty() { "none" } else { "the same" };
        [it.method.as_str(), content].map(|text| Cell { text: text.to_owned(), tone }).into()
    };
    Matrix {
        rows: seen.redirects.iter().map(|it| it.code.to_string()).collect(),
        columns: ["arrives as", "content"].map(str::to_owned).into(),
        cells: seen.redirects.iter().map(row).collect(),
    }
}
