//! What is drawn of a replay: who let what pass and when, the fullest second of each, and what each had to keep.

use super::keepers::{Keeper, WINDOW};
use super::{Decided, Fullest, MS, Observed, Params, Replay};
use crate::prelude::*;

/// The most that a gatekeeper promises to let through within one window.
fn promised(p: &Params, by: Keeper) -> u64 {
    match by {
        Keeper::Fixed | Keeper::Log | Keeper::Counter => p.limit,
        Keeper::Bucket | Keeper::Gcra => p.limit + p.burst,
    }
}

/// Dots for the admitted, crosses for the refused, and a frame around the fullest window.
pub fn strips(p: &Params, drawn: &Replay) -> Figure {
    let ms = |ns: u64| ns as f64 / MS as f64;
    let moments = |times: &[u64], tone| -> Vec<Moment> {
        times.iter().map(|&at| Moment { at: ms(at), label: String::new(), tone }).collect()
    };
    let lane = |(by, decided): (Keeper, &Decided)| {
        let Fullest { count, from_ns } = decided.fullest;
        let tone = if count > promised(p, by) { Tone::Refuted } else { Tone::Soft };
        let label = format!("{count} in one second");
        let frame = Span { from: ms(from_ns), to: ms(from_ns + WINDOW), label, tone };
        let mut marks = moments(&decided.admitted_ns, Tone::Accent);
        marks.extend(moments(&decided.refused_ns, Tone::Refuted));
        Lane { name: by.name().to_owned(), spans: vec![frame], moments: marks }
    };
    let lanes = Keeper::ALL.into_iter().zip(&drawn.decided).map(lane).collect();
    let turns =
        drawn.decided.iter().flat_map(|it| it.admitted_ns.last().copied()).max().unwrap_or(0) / WINDOW;
    let marks =
        if turns == 1 { vec![Mark { at: 1000.0, label: "the second turns".to_owned() }] } else { vec![] };
    let caption = format!(
        "Arrivals: {}. Dots passed, crosses were refused; each frame is the fullest second, hatched where it holds more          than its keeper promises.",
        drawn.arrivals
    );
    Figure::new("arrivals", caption, Timeline { unit: "ms".to_owned(), lanes, marks })
}

pub fn fullest_windows(p: &Params, drawn: &Replay) -> Figure {
    let row = |(by, decided): (Keeper, &Decided)| {
        let value = decided.fullest.count;
        let tone = if value > promised(p, by) { Tone::Refuted } else { Tone::Accent };
        BarRow { label: by.name().to_owned(), bars: vec![Bar { value: value as f64, tone }] }
    };
    let rows = Keeper::ALL.into_iter().zip(&drawn.decided).map(row).collect();
    let limit = Some((p.limit as f64, "limit".to_owned()));
    let caption = format!(
        "The fullest second of each on the arrivals “{}”. A bucket promises no window: it may let its burst and a          second's refill pass in one.",
        drawn.arrivals
    );
    Figure::new("fullest second", caption, Bars { unit: "requests".to_owned(), series: vec![], rows, limit })
}

pub fn what_is_kept(seen: &Observed) -> Figure {
    let row = |by: Keeper| {
        let numbers = seen.replays.iter().map(|replay| replay.by(by).numbers).max().unwrap_or(0);
        vec![by.name().to_owned(), numbers.to_string(), (8 * numbers).to_string(), by.keeps().to_owned()]
    };
    let columns = ["Gatekeeper", "Numbers", "Bytes", "What it keeps for one key"].map(str::to_owned).to_vec();
    let rows = Keeper::ALL.into_iter().map(row).collect();
    Figure::new(
        "state",
        "The most that each kept at any time, over all five traces.",
        Table { columns, rows },
    )
}
