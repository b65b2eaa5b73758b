//! What is drawn of it.

use super::histories::{HEAL_US, History, NODES, SPLIT_US, name};
use super::register::PATIENCE_US;
use super::{Observed, Params, Seen, Split};
use crate::prelude::*;
use backlab_parts::linearizability::{Access, Operation, Register};

pub fn all(p: &Params, seen: &Observed) -> Vec<Figure> {
    let mut figures = vec![availability(p, seen), verdicts(seen)];
    figures.extend(contradiction(seen));
    figures.extend([history(p, seen), round_trips(seen)]);
    figures
}

fn availability(p: &Params, seen: &Observed) -> Figure {
    let rows = seen.tested().sides.iter().enumerate().map(|(place, side)| {
        let nodes: Vec<_> = side.nodes.iter().map(|&node| name(node)).collect();
        let kind = if side.is_majority() { "a majority" } else { "no majority" };
        let bars = seen.protocols.iter().map(|it| {
            let side = &it.sides[place];
            Bar { value: percent(side.answered, side.due), tone: tone(seen, it) }
        });
        BarRow { label: format!("{} ({kind})", nodes.join(" ")), bars: bars.collect() }
    });
    let caption = match p.split {
        Split::Whole => {
            "Operations that were answered from second 10 to 20, without a split: all, whatever the protocol."
        }
        _ => {
            "Operations that were answered while the network was split, by side. A majority protocol answers where a \
             majority is; last writer wins answers everywhere."
        }
    };
    let bars = Bars { unit: "% answered".into(), series: names(seen), rows: rows.collect(), limit: None };
    Figure::new("availability", caption, bars)
}

fn verdicts(seen: &Observed) -> Figure {
    let rows = seen.protocols.iter().map(|it| {
        let cell = |count: u64, tone| Cell {
            text: count.to_string(),
            tone: if count > 0 { tone } else { Tone::Soft },
        };
        let verdicts = &it.verdicts;
        vec![
            cell(verdicts.explained, Tone::Plain),
            cell(verdicts.rejected, Tone::Refuted),
            cell(verdicts.unknown, Tone::Accent),
        ]
    });
    let matrix = Matrix {
        rows: names(seen),
        columns: ["explained", "rejected", "gave up"].map(str::to_owned).into(),
        cells: rows.collect(),
    };
    let caption = "The checker's verdicts: the random histories and the directed one. One register in one place could \
                   have given all answers of an explained history; of a rejected one, it could not.";
    Figure::new("verdicts", caption, matrix)
}

/// The operations that no order explains: of the protocol under test, or else of last writer wins.
fn contradiction(seen: &Observed) -> Option<Figure> {
    let from =
        [seen.tested(), &seen.protocols[2]].into_iter().find(|it| !it.verdicts.contradiction.is_empty())?;
    let caption = format!(
        "What no order explains, the smallest part of the first history under \"{}\" that the checker rejected. Try: \
         each operation takes effect at one instant of its span, and a read gets what was written last before it (0 \
         before any write).",
        from.protocol
    );
    Some(Figure::new(
        "contradiction",
        caption,
        timeline(&from.verdicts.contradiction, 0..=u64::MAX, Tone::Accent),
    ))
}

fn history(p: &Params, seen: &Observed) -> Figure {
    let caption = format!(
        "The first random history under \"{}\", from a second before the split to a second after: w 304 writes 304, r \
         304 reads it. What is marked ✗ had no answer in time.",
        seen.tested().protocol
    );
    let around = SPLIT_US - 1_000_000..=HEAL_US + 1_000_000;
    let mut drawn = timeline(&seen.history, around, Tone::Plain);
    if p.split != Split::Whole {
        drawn.marks = [(SPLIT_US, "split"), (HEAL_US, "healed")]
            .map(|(at_us, label)| Mark { at: seconds(at_us), label: label.into() })
            .into();
    }
    Figure::new("history", caption, drawn)
}

fn round_trips(seen: &Observed) -> Figure {
    let row = |label: &str, of: fn(&Seen) -> &Vec<f64>| BarRow {
        label: label.into(),
        bars: seen
            .protocols
            .iter()
            .map(|it| Bar { value: of(it).iter().copied().fold(0.0, f64::max), tone: tone(seen, it) })
            .collect(),
    };
    let rows = vec![row("read", |it| &it.reads), row("write", |it| &it.writes)];
    let bars = Bars { unit: "round trips".into(), series: names(seen), rows, limit: None };
    let caption = "What an operation waits for in calm weather. This price is paid every day, split or not.";
    Figure::new("round-trips", caption, bars)
}

/// Operations by client, from the call to the answer or to the moment when the client gave up.
fn timeline(history: &History, window_us: std::ops::RangeInclusive<u64>, tone: Tone) -> Timeline {
    let lanes = (0..NODES).map(|node| {
        let mut lane = Lane { name: name(node), ..Lane::default() };
        for it in history.iter().filter(|it| it.client == node && window_us.contains(&it.called_us)) {
            let (from, label) = (seconds(it.called_us), label(it));
            let span = |to_us, tone| Span { from, to: seconds(to_us), label: label.clone(), tone };
            match it.answered {
                Some((at_us, _)) if at_us > it.called_us => lane.spans.push(span(at_us, tone)),
                Some(_) => lane.moments.push(Moment { at: from, label, tone }),
                None => lane.spans.push(span(it.called_us + PATIENCE_US, Tone::Refuted)),
            }
        }
        lane
    });
    let lanes = lanes.filter(|it| !(it.spans.is_empty() && it.moments.is_empty())).collect();
    Timeline { unit: "virtual s".into(), lanes, marks: Vec::new() }
}

fn label(operation: &Operation<Register>) -> String {
    match (operation.op, operation.answered) {
        (Access::Write(value), Some(_)) => format!("w {value}"),
        (Access::Read, Some((_, value))) => format!("r {value}"),
        (_, None) => "✗".to_owned(),
    }
}

fn names(seen: &Observed) -> Vec<String> {
    seen.protocols.iter().map(|it| it.protocol.to_owned()).collect()
}

fn tone(seen: &Observed, it: &Seen) -> Tone {
    if it.protocol == seen.tested().protocol { Tone::Accent } else { Tone::Soft }
}

fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

fn seconds(at_us: u64) -> f64 {
    at_us as f64 / 1_000_000.0
}
