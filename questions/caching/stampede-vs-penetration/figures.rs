//! What is drawn of a run.

use super::{Avalanche, Medicine, Observed, Wave};
use crate::prelude::*;

pub fn all(seen: &Observed) -> Vec<Figure> {
    vec![
        Figure::new(
            "queries",
            "Queries that reach the database, medicine by disease. Each medicine helps against one disease and does nothing \
             against the other. Where one missing item is asked for in two waves, both are counted.",
            queries(seen),
        ),
        Figure::new(
            "stampede",
            "What the clients of the stampede did: sent a query and waited for it, waited for another one's query, or got the \
             old price at once.",
            stampede(seen),
        ),
        Figure::new(
            "avalanche",
            "Queries in the busiest of each ten seconds, of 1000 entries that were filled together. With equal lifetimes they \
             expire together for ever; jitter spreads them from the first expiry on.",
            avalanche(&seen.avalanche),
        ),
        Figure::new(
            "Bloom filter",
            "No item that exists is denied; of those that don't, as many get through as the formula says.",
            filter(seen),
        ),
    ]
}

fn queries(seen: &Observed) -> Matrix {
    let cell = |waves: &[Wave]| {
        let through = waves.iter().filter(|wave| wave.queries == wave.requests).count();
        let tone = match through {
            0 => Tone::Accent,
            some if some == waves.len() => Tone::Refuted,
            _ => Tone::Plain,
        };
        let queries: Vec<_> = waves.iter().map(|wave| wave.queries.to_string()).collect();
        Cell { text: queries.join(" + "), tone }
    };
    let row = |medicine| {
        let tried = seen.of(medicine);
        vec![cell(&[tried.stampede]), cell(&[tried.different]), cell(&tried.repeated)]
    };
    Matrix {
        rows: Medicine::ALL.map(|it| it.name().to_owned()).into(),
        columns: ["stampede", "many missing", "one missing, twice"].map(str::to_owned).into(),
        cells: Medicine::ALL.map(row).into(),
    }
}

fn stampede(seen: &Observed) -> Bars {
    let row = |medicine: Medicine| {
        let wave = seen.of(medicine).stampede;
        let queried = wave.queries.min(wave.new);
        let bar = |value: u64, tone| Bar { value: value as f64, tone };
        let bars =
            [bar(queried, Tone::Refuted), bar(wave.new - queried, Tone::Plain), bar(wave.old, Tone::Accent)];
        BarRow { label: medicine.name().to_owned(), bars: bars.into() }
    };
    Bars {
        unit: "clients".into(),
        series: ["sent a query", "waited for another's", "got the old price"].map(str::to_owned).into(),
        rows: Medicine::ALL.map(row).into(),
        limit: None,
    }
}

fn avalanche(Avalanche { equal, jittered }: &Avalanche) -> Lines {
    let points = |busiest: &[u64]| {
        busiest.iter().enumerate().map(|(ten, queries)| (ten as f64 * 10.0, *queries as f64)).collect()
    };
    let axis = |label: &str| Axis { label: label.into(), log: false };
    Lines {
        x: axis("virtual s"),
        y: axis("queries in one second"),
        series: vec![
            Series { name: "equal lifetimes".into(), points: points(equal), tone: Tone::Refuted },
            Series { name: "jittered".into(), points: points(jittered), tone: Tone::Accent },
        ],
        marks: Vec::new(),
    }
}

fn filter(seen: &Observed) -> Table {
    let it = &seen.filter;
    let row = |what: &str, asked: u64, wrong: u64, expected: String| {
        vec![what.to_owned(), asked.to_string(), wrong.to_string(), expected]
    };
    Table {
        columns: ["items", "asked", "wrong answers", "by the formula"].map(str::to_owned).into(),
        rows: vec![
            row("that exist", it.asked_present, it.false_negatives, "0".into()),
            row("that don't", it.asked_absent, it.false_positives, format!("{:.1}", it.expected)),
        ],
    }
}
