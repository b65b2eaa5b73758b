//! What is drawn of a run.

use super::coding::Coding;
use super::{Observed, Size, Stream};
use crate::prelude::*;

pub fn all(seen: &Observed) -> Vec<Figure> {
    vec![
        Figure::new(
            "what the thief sees",
            "Bytes that each digit saves in the first place of a secret, over six requests and their counterparts. All that \
             he knows are these lengths; one digit stands out, and it is the right one.",
            lengths(seen),
        ),
        Figure::new(
            "what he makes of it",
            "The secret of each account, what he read off a page that shows it as it is, and off one that masks it anew in \
             every answer.",
            thefts(seen),
        ),
        Figure::new(
            "sizes",
            "Bytes on the wire, in percent of the body as it is. At the line and beyond it, compression costs work and \
             saves nothing.",
            sizes(seen),
        ),
        Figure::new(
            "events",
            "How many of ten events could be read at the other end after each was written. Without a flush nothing comes \
             before the end.",
            events(seen),
        ),
        Figure::new(
            "Accept-Encoding",
            "What the server sends for each value, and what one sends that looks for the word gzip.",
            wishes(seen),
        ),
    ]
}

fn lengths(seen: &Observed) -> Bars {
    let Some(theft) = seen.plain.first() else { return Bars::default() };
    let right = theft.secret.chars().next();
    let row = |(digit, saved): &(char, i64)| {
        let is_right = Some(*digit) == right;
        let label = if is_right { format!("{digit} ✓") } else { digit.to_string() };
        let tone = if is_right { Tone::Accent } else { Tone::Soft };
        BarRow { label, bars: vec![Bar { value: (*saved).max(0) as f64, tone }] }
    };
    Bars {
        unit: "bytes saved".into(),
        series: Vec::new(),
        rows: theft.saved.iter().map(row).collect(),
        limit: None,
    }
}

fn thefts(seen: &Observed) -> Table {
    let row = |(plain, masked): (&super::Theft, &super::Theft)| {
        let told = |it: &super::Theft| format!("{} ({} right)", it.guessed, it.found());
        vec![plain.secret.clone(), told(plain), told(masked)]
    };
    Table {
        columns: ["secret", "read off as it is", "read off masked"].map(str::to_owned).into(),
        rows: seen.plain.iter().zip(&seen.masked).map(row).collect(),
    }
}

fn sizes(seen: &Observed) -> Bars {
    let percent = |it: &Size| (it.coded as f64 * 1000.0 / it.plain as f64).round() / 10.0;
    let bar = |it: &Size| Bar {
        value: percent(it),
        tone: if it.coded > it.plain { Tone::Refuted } else { Tone::Accent },
    };
    let names: Vec<&str> = seen.sizes.iter().map(|it| it.body).collect::<BTreeSet<_>>().into_iter().collect();
    let row = |name: &&str| BarRow {
        label: (*name).to_owned(),
        bars: seen.sizes.iter().filter(|it| it.body == *name).map(bar).collect(),
    };
    Bars {
        unit: "%".into(),
        series: Coding::ALL.map(|it| it.name().to_owned()).into(),
        rows: names.iter().map(row).collect(),
        limit: Some((100.0, "as it is".into())),
    }
}

fn events(seen: &Observed) -> Matrix {
    let row = |it: &Stream| {
        let flush = if it.flushed { "flush each" } else { "no flush" };
        format!("{}, {flush}", it.coding)
    };
    let cells = |it: &Stream| {
        let at = |after: usize| it.readable.get(after - 1).copied().unwrap_or(0);
        let cell = |count: usize, of: usize| Cell {
            text: count.to_string(),
            tone: if count == of { Tone::Accent } else { Tone::Refuted },
        };
        vec![cell(at(1), 1), cell(at(5), 5), cell(at(10), 10), cell(it.whole, 10)]
    };
    Matrix {
        rows: seen.streams.iter().map(row).collect(),
        columns: ["after 1", "after 5", "after 10", "at the end"].map(str::to_owned).into(),
        cells: seen.streams.iter().map(cells).collect(),
    }
}

fn wishes(seen: &Observed) -> Matrix {
    let cell = |sent: &str, right: &str| Cell {
        text: sent.to_owned(),
        tone: if sent == right { Tone::Plain } else { Tone::Refuted },
    };
    let shown = |accept: &str| if accept.is_empty() { "(empty)".to_owned() } else { accept.to_owned() };
    Matrix {
        rows: seen.wishes.iter().map(|it| shown(it.accept)).collect(),
        columns: ["server", "word search"].map(str::to_owned).into(),
        cells: seen
            .wishes
            .iter()
            .map(|it| vec![cell(&it.sent, it.right), cell(&it.searched, it.right)])
            .collect(),
    }
}
