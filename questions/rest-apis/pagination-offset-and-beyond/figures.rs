//! What is drawn of a run.

use super::{Costs, Hostile, Observed, Walk};
use crate::prelude::*;

/// Pages of a walk that are drawn.
const DRAWN: usize = 4;

pub fn all(seen: &Observed) -> Vec<Figure> {
    vec![
        Figure::new(
            "what the reader is given",
            "The list laid out as it was when the reader began, the newest at the left; each lane is a page. By offset, pages \
             overlap while items arrive and leave gaps while items are deleted. After the last key, each begins where the \
             last one ended.",
            strip(seen),
        ),
        Figure::new(
            "depth",
            "Steps that SQLite takes for one page. An offset reads what it skips; a key goes straight to its place.",
            depth(&seen.costs),
        ),
        Figure::new(
            "what an answer costs",
            "Steps for the first page, and for what is often sent along. The exact total costs more than the page it decorates; \
             one row more says almost as much.",
            extras(&seen.costs),
        ),
        Figure::new(
            "odd queries",
            "What nobody has in mind, and what the list answered. In SQLite a LIMIT of -1 means no limit at all.",
            odd(&seen.hostile),
        ),
    ]
}

fn strip(seen: &Observed) -> Timeline {
    let walks = [
        ("arriving", "offset", &seen.arrivals[0]),
        ("arriving", "key", &seen.arrivals[1]),
        ("vanishing", "offset", &seen.deletions[0]),
        ("vanishing", "key", &seen.deletions[1]),
    ];
    let lanes = walks.iter().flat_map(|(change, how, walk)| lanes(&format!("{change}, {how}"), walk));
    Timeline { unit: "places".into(), lanes: lanes.collect(), marks: Vec::new() }
}

/// A lane for each page: which places of the list it gave, and which it gave again.
fn lanes(name: &str, walk: &Walk) -> Vec<Lane> {
    let front = walk.pages.iter().flatten().copied().max().unwrap_or(0);
    let mut before: BTreeSet<i64> = BTreeSet::new();
    let mut all = Vec::new();
    for (number, page) in walk.pages.iter().take(DRAWN).enumerate() {
        let (again, fresh): (Vec<i64>, Vec<i64>) = page.iter().partition(|id| before.contains(*id));
        before.extend(page);
        let spans = [(again, Tone::Refuted, "again"), (fresh, Tone::Accent, "")].into_iter().filter_map(
            |(ids, tone, label)| {
                let (last, first) = (ids.iter().min()?, ids.iter().max()?);
                let (from, to) = ((front - first) as f64, (front - last + 1) as f64);
                Some(Span { from, to, label: label.into(), tone })
            },
        );
        all.push(Lane {
            name: format!("{name} {}", number + 1),
            spans: spans.collect(),
            moments: Vec::new(),
        });
    }
    all
}

fn depth(Costs { first, depths, .. }: &Costs) -> Lines {
    let axis = |label: &str| Axis { label: label.into(), log: false };
    let points = |steps: fn(&super::Depth) -> u64| {
        let deeper = depths.iter().map(|depth| (depth.before as f64, steps(depth) as f64));
        [(0.0, *first as f64)].into_iter().chain(deeper).collect()
    };
    Lines {
        x: axis("items before the page"),
        y: axis("steps for the page"),
        series: vec![
            Series { name: "by offset".into(), points: points(|it| it.offset), tone: Tone::Refuted },
            Series { name: "after the last key".into(), points: points(|it| it.seek), tone: Tone::Accent },
        ],
        marks: Vec::new(),
    }
}

fn extras(costs: &Costs) -> Bars {
    let row = |label: &str, steps: u64, tone| BarRow {
        label: label.into(),
        bars: vec![Bar { value: steps as f64, tone }],
    };
    Bars {
        unit: "steps".into(),
        series: Vec::new(),
        rows: vec![
            row("the first page", costs.first, Tone::Plain),
            row("one row more", costs.one_more, Tone::Accent),
            row("the exact total", costs.total, Tone::Refuted),
        ],
        limit: None,
    }
}

fn odd(hostile: &[Hostile]) -> Table {
    Table {
        columns: ["query", "status", "items"].map(str::to_owned).into(),
        rows: hostile
            .iter()
            .map(|it| vec![it.asked.to_owned(), it.status.to_string(), it.items.to_string()])
            .collect(),
    }
}
