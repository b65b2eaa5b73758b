//! What is drawn of a run.

use super::{Column, Observed, Params, Schedule};
use crate::prelude::*;

pub fn all(p: &Params, seen: &Observed) -> Vec<Figure> {
    let mut figures = vec![
        Figure::new(
            "the clock at each run",
            "What the clock on the wall shows when the job runs, day by day. A job that counts 24 hours steps aside for \
             months; one that computes each date's instant leaves its time only where that time doesn't exist.",
            lines(p, seen),
        ),
        Figure::new(
            "runs on the days that matter",
            "How often the job runs on each day that doesn't have 24 hours, and on all the others.",
            runs(seen),
        ),
    ];
    if let Some(stored) = &seen.stored {
        let columns = [
            ("local text", stored.local),
            ("text with offset", stored.with_offset),
            ("text in UTC", stored.utc),
        ];
        let row = |(name, it): (&str, Column)| {
            [name.to_owned(), stored.events.to_string(), it.distinct.to_string(), it.out_of_order.to_string()]
                .into()
        };
        let heads = ["stored as", "events", "values", "sorted wrongly"];
        figures.push(Figure::new(
            "events around the change in autumn",
            "One event a minute. Only text in UTC is both unique and in order.",
            Table { columns: heads.map(str::to_owned).into(), rows: columns.map(row).into() },
        ));
    }
    figures
}

fn lines(p: &Params, seen: &Observed) -> Lines {
    let series =
        |name: &str, it: &Schedule, tone| Series { name: name.into(), points: it.fired.clone(), tone };
    let axis = |label: &str| Axis { label: label.into(), log: false };
    Lines {
        x: axis(&format!("day of {}", p.year)),
        y: axis("hour on the wall"),
        series: vec![
            series("24 hours after the last", &seen.hours, Tone::Refuted),
            series("each date's instant", &seen.rule, Tone::Accent),
        ],
        marks: Vec::new(),
    }
}

fn runs(seen: &Observed) -> Matrix {
    let odd: BTreeSet<&String> = seen.odd_days.iter().map(|it| &it.date).collect();
    let cell = |runs: &[u64]| {
        let (least, most) =
            (runs.iter().min().copied().unwrap_or(0), runs.iter().max().copied().unwrap_or(0));
        let text = if least == most { least.to_string() } else { format!("{least} to {most}") };
        let tone = if (least, most) == (1, 1) { Tone::Accent } else { Tone::Refuted };
        Cell { text, tone }
    };
    let row = |it: &Schedule| {
        let on = |date: &String| cell(&[it.runs.get(date).copied().unwrap_or(0)]);
        let others: Vec<u64> =
            it.runs.iter().filter(|(date, _)| !odd.contains(date)).map(|(_, runs)| *runs).collect();
        seen.odd_days.iter().map(|day| on(&day.date)).chain([cell(&others)]).collect()
    };
    let heads = seen.odd_days.iter().map(|day| format!("{} ({} h)", day.date, day.hours));
    Matrix {
        rows: ["clock shows it", "24 hours later", "date's instant"].map(str::to_owned).into(),
        columns: heads.chain(["all others".to_owned()]).collect(),
        cells: [&seen.clock, &seen.hours, &seen.rule].map(row).into(),
    }
}
