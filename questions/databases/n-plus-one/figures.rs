//! What is drawn of the trips: when each statement ran, what the ways cost, and how they grow.

use super::loading::Strategy;
use super::{Growth, NEWEST, Observed, Way};
use crate::prelude::*;

pub fn waterfall(seen: &Observed) -> Figure {
    let lane = |name: &str, way: &Way| {
        let tone = if way.took.len() > 5 { Tone::Accent } else { Tone::Plain };
        let span = |(from, to): &(f64, f64)| Span { from: *from, to: *to, label: String::new(), tone };
        Lane { name: name.to_owned(), spans: way.took.iter().map(span).collect(), moments: Vec::new() }
    };
    let over_wire = Strategy::ALL.iter().map(|(strategy, word)| lane(word, seen.way(*strategy)));
    let mut lanes: Vec<_> = over_wire.collect();
    lanes.push(lane("lazy, SQLite in process", &seen.sqlite));
    Figure::new(
        "waterfall",
        "Each statement from when it was sent until its rows were there. Lazy loading does nothing that is slow; it waits, \
         one trip after the other.",
        Timeline { unit: "ms".to_owned(), lanes, marks: Vec::new() },
    )
}

pub fn costs(seen: &Observed) -> Figure {
    let row = |(strategy, word): &(Strategy, &str)| {
        let Way { counts, ms, .. } = seen.way(*strategy);
        let cells = [counts.statements, counts.round_trips, counts.rows, counts.bytes_down];
        let mut row = vec![(*word).to_owned()];
        row.extend(cells.iter().map(u64::to_string));
        row.push(format!("{ms:.1}"));
        row
    };
    let columns = ["way to load", "statements", "trips", "rows", "bytes received", "ms"];
    Figure::new(
        "what a way to load costs",
        "As the wire counted it. A statement is a trip; a row of a join carries its order once more.",
        Table { columns: columns.map(str::to_owned).to_vec(), rows: Strategy::ALL.iter().map(row).collect() },
    )
}

pub fn rows(seen: &Observed) -> Figure {
    let rows = |strategy| seen.way(strategy).counts.rows;
    let row = |(strategy, word): &(Strategy, &str)| {
        let multiplied = *strategy == Strategy::JoinOfTwo && rows(*strategy) > rows(Strategy::BatchesOfTwo);
        let tone = if multiplied { Tone::Refuted } else { Tone::Plain };
        let value = rows(*strategy) as f64;
        BarRow { label: (*word).to_owned(), bars: vec![Bar { value, tone }] }
    };
    Figure::new(
        "rows",
        "Rows that crossed the wire. The join of two collections pairs each item of an order with each of its payments.",
        Bars { unit: "rows".to_owned(), rows: Strategy::ALL.iter().map(row).collect(), ..Bars::default() },
    )
}

pub fn newest(seen: &Observed) -> Figure {
    let row = |label: &str, value: u64| {
        let tone = if value < NEWEST { Tone::Refuted } else { Tone::Plain };
        BarRow { label: label.to_owned(), bars: vec![Bar { value: value as f64, tone }] }
    };
    Figure::new(
        "the newest ten",
        "Orders that came with all their items, when ten were asked for.",
        Bars {
            unit: "orders".to_owned(),
            rows: vec![
                row("LIMIT 10 on the join", seen.newest.by_limit_on_join),
                row("LIMIT 10 on the orders", seen.newest.by_parents_first),
            ],
            limit: Some((NEWEST as f64, "asked for".to_owned())),
            ..Bars::default()
        },
    )
}

pub fn growth(seen: &Observed) -> Figure {
    let series = |name: &str, tone, ms: fn(&Growth) -> f64| Series {
        name: name.to_owned(),
        points: seen.growth.iter().map(|it| (it.orders as f64, ms(it))).collect(),
        tone,
    };
    let axis = |label: &str| Axis { label: label.to_owned(), log: false };
    Figure::new(
        "time and number of orders",
        "The time of lazy loading grows by a trip with each order; the others' hardly grows.",
        Lines {
            x: axis("orders"),
            y: axis("ms"),
            series: vec![
                series("lazy", Tone::Accent, |it| it.lazy),
                series("join", Tone::Soft, |it| it.join),
                series("batch by keys", Tone::Plain, |it| it.batch),
            ],
            marks: Vec::new(),
        },
    )
}
