//! What is drawn of a run.

use super::{Observed, Params};
use crate::prelude::*;

pub fn all(p: &Params, seen: &Observed) -> Vec<Figure> {
    vec![
        Figure::new(
            "what the stranger can do",
            "The same shop behind the same strangers, with the constraints kept and broken: calls in a sealed box, a conversation \
             in one replica's memory, URIs built into the client.",
            strangers(p, seen),
        ),
        Figure::new(
            "reads that reach the shop",
            "The same item, read again and again through a cache that knows HTTP and nothing else.",
            reads(p, seen),
        ),
    ]
}

fn strangers(p: &Params, seen: &Observed) -> Matrix {
    let cell =
        |text: String, good: bool| Cell { text, tone: if good { Tone::Accent } else { Tone::Refuted } };
    let of = |count: u64, all: u64| cell(format!("{count} of {all}"), count == all);
    let saved = |reached: u64| cell(format!("spares {}", p.reads - reached.min(p.reads)), reached < p.reads);
    let status = |status: u16| cell(status.to_string(), status == 200);
    let rows = [
        ("cache: reads that it answers", [saved(seen.reads[0]), saved(seen.reads[1])]),
        ("retrier: lost answers repaired", [of(seen.put.well, p.lost), of(seen.call.well, p.lost)]),
        ("balancer: lines kept", [of(seen.self_contained, p.reads), of(seen.conversation, p.reads)]),
        ("client after the move", [status(seen.after[0]), status(seen.after[1])]),
    ];
    Matrix {
        rows: rows.iter().map(|(row, _)| (*row).to_owned()).collect(),
        columns: ["kept", "broken"].map(str::to_owned).into(),
        cells: rows.into_iter().map(|(_, cells)| cells.into()).collect(),
    }
}

fn reads(p: &Params, seen: &Observed) -> Bars {
    let row = |label: &str, value: u64, tone| BarRow {
        label: label.to_owned(),
        bars: vec![Bar { value: value as f64, tone }],
    };
    Bars {
        unit: format!("of {}", p.reads),
        series: Vec::new(),
        rows: vec![
            row("GET /items/7", seen.reads[0], Tone::Accent),
            row("POST /rpc", seen.reads[1], Tone::Refuted),
        ],
        limit: None,
    }
}
