//! What was counted, as pictures; and what a broken world would count.

use super::measure::{Balance, Capped, Heirs, Measured, Moved, Moves, Second, Taken};
use super::schemes::{Hash, Ring as Circle, Scheme};
use super::{Caches, Observed, Params, SCHEMES, Visit};
use crate::prelude::*;

pub fn figures(p: &Params, seen: &Observed) -> Vec<Figure> {
    let points = format!("{} points each", p.virtual_nodes);
    let one = Circle::new(&seen.names, 1, &Hash::Fixed).arcs();
    let ring = |arcs: &[RingArc], nodes: usize, highlight| Ring {
        owners: seen.names[..nodes].to_vec(),
        arcs: arcs.to_vec(),
        highlight,
    };
    let (old, new) = (seen.names.len() - 1, seen.names.len());
    vec![
        moved(&seen.measured),
        Figure::new(
            format!("ring before, {points}"),
            "The circle as it is shared before the change.",
            ring(&seen.measured.before, old, None),
        ),
        Figure::new(
            format!("ring after, {points}"),
            "The new node takes its slivers out of the others' arcs; everything else keeps its owner.",
            ring(&seen.measured.after, new, Some(old)),
        ),
        Figure::new(
            "ring after, 1 point each",
            "The same nodes with a single point each: the shares differ severalfold, and the new node relieves only one.",
            ring(&one, new, Some(old)),
        ),
        balance(&seen.measured),
        heirs(p, seen),
        calls(p, seen),
    ]
}

fn moved(seen: &Measured) -> Figure {
    let row = |scheme: Scheme, what: &str, moved: Moved| {
        let tone = if moved.between_others > 0 { Tone::Refuted } else { Tone::Plain };
        let bars = vec![
            Bar { value: moved.with_changed as f64, tone: Tone::Accent },
            Bar { value: moved.between_others as f64, tone },
        ];
        BarRow { label: format!("{}, {what}", scheme.word()), bars }
    };
    let came = seen.schemes.iter().map(|it| row(it.scheme, "one added", it.added));
    let left = seen.schemes.iter().map(|it| row(it.scheme, "middle one gone", it.middle_left));
    let capped = row(Scheme::Ring, "1 point, capped, one added", seen.capped.added);
    let bars = Bars {
        unit: "keys".into(),
        series: vec!["to the new node, or from the lost one".into(), "between other nodes".into()],
        rows: came.chain(left).chain([capped]).collect(),
        limit: None,
    };
    let caption = format!(
        "Of {} keys, those that changed their node. The first bar had to move; the second is what a scheme adds to it.",
        seen.keys
    );
    Figure::new("moved keys", caption, bars)
}

fn balance(seen: &Measured) -> Figure {
    let measured = seen.balance.iter().map(|it| (it.points as f64, it.variation)).collect();
    let start = seen.balance.first().map_or(1.0, |it| it.variation);
    let root = seen.balance.iter().map(|it| (it.points as f64, start / (it.points as f64).sqrt())).collect();
    let lines = Lines {
        x: Axis { label: "virtual nodes v for each node".into(), log: true },
        y: Axis { label: "coefficient of variation of the shares".into(), log: true },
        series: vec![
            Series { name: "measured".into(), points: measured, tone: Tone::Accent },
            Series { name: "1 / √v".into(), points: root, tone: Tone::Soft },
        ],
        marks: Vec::new(),
    };
    Figure::new(
        "balance",
        "Four times the points halve the spread: the measured curve follows the square root. Means over 20 sets of names.",
        lines,
    )
}

fn heirs(p: &Params, seen: &Observed) -> Figure {
    let (alone, many) = (&seen.measured.heirs_one_point, &seen.measured.heirs);
    let rows =
        seen.names.iter().zip(alone.inherited.iter().zip(&many.inherited)).map(|(name, (one, many))| {
            let bar = |keys: u64, tone| Bar { value: keys as f64, tone };
            BarRow { label: name.clone(), bars: vec![bar(*one, Tone::Refuted), bar(*many, Tone::Accent)] }
        });
    let bars = Bars {
        unit: "keys inherited".into(),
        series: vec!["1 point each".into(), format!("{} points each", p.virtual_nodes)],
        rows: rows.collect(),
        limit: None,
    };
    let caption = format!(
        "Each ring loses its fullest node ({} with 1 point, {} with {}). Who takes over its keys?",
        seen.names[alone.lost], seen.names[many.lost], p.virtual_nodes
    );
    Figure::new("heirs", caption, bars)
}

fn calls(p: &Params, seen: &Observed) -> Figure {
    let rows = |name: &str, it: &Caches| {
        let row = |what: &str, visit: Visit, tone| BarRow {
            label: format!("{name}, {what}"),
            bars: vec![Bar { value: visit.origin_calls as f64, tone }],
        };
        [
            row("A: empty caches", it.first, Tone::Soft),
            row("B: the same caches", it.second, Tone::Accent),
            row("C: one cache more", it.after_adding, Tone::Accent),
        ]
    };
    let chosen = format!("clients ({})", p.scheme.word());
    let rows = rows("modulo", &seen.by_modulo).into_iter().chain(rows(&chosen, &seen.by_scheme)).collect();
    let bars = Bars { unit: "origin calls".into(), rows, ..Bars::default() };
    let caption = format!(
        "Three client processes, one after the other, ask for the same {} keys. The origin counted what the caches \
         didn't have where the client looked.",
        seen.by_scheme.first.asked
    );
    Figure::new("origin calls", caption, bars)
}

/// A world in which each claim is false.
pub fn broken(p: &Params) -> Observed {
    let nodes = p.nodes as usize;
    let wrong = Moved { on_changed: 5, with_changed: 5, between_others: 5 };
    let tidy = Moved { between_others: 0, ..wrong };
    let moves = |scheme: Scheme| Moves {
        scheme,
        fullest: 2.0,
        added: wrong,
        middle_left: if matches!(scheme, Scheme::Modulo | Scheme::Jump) { tidy } else { wrong },
        last_left: wrong,
    };
    let balance = Balance { points: 1, variation: 0.9, fullest: 1.1 };
    let mut inherited = vec![0; nodes];
    inherited[0] = 9;
    let heirs = Heirs { lost: 1, inherited: inherited.clone() };
    inherited[2] = 1;
    let visit = Visit { pid: 1, asked: 100, origin_calls: 100 };
    let caches = Caches { first: visit, second: Visit { pid: 2, ..visit }, after_adding: visit };
    Observed {
        names: (0..=nodes).map(|node| format!("cache-{node}")).collect(),
        measured: Measured {
            keys: 1_000,
            schemes: SCHEMES.map(moves).to_vec(),
            balance: vec![balance],
            balance_now: balance,
            heirs_one_point: Heirs { lost: 1, inherited },
            heirs,
            taken: Taken { moved: 9, in_arcs: 9, both: 8 },
            second: Second { keys: 9, to_second: 8 },
            capped: Capped { uncapped_fullest: 90, fullest: 80, most: 50, passed_on: 5, added: tidy },
            before: Vec::new(),
            after: Vec::new(),
        },
        by_modulo: caches,
        by_scheme: caches,
    }
}
