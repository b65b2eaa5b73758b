//! What is drawn of the matrix: the matrix itself, the chosen schedule, and what each level costs.

use super::play::{Level, Said};
use super::schedules::Anomaly;
use super::{Observed, Tried};
use crate::prelude::*;

pub fn matrix(seen: &Observed) -> Figure {
    let cell = |(anomaly, _): &(Anomaly, _)| {
        let cells = Level::ALL.iter().map(|(level, _)| seen.cell(*level, *anomaly));
        cells.map(|cell| Cell { text: cell.verdict().to_owned(), tone: tone(cell) }).collect()
    };
    let matrix = Matrix {
        rows: Anomaly::ALL.iter().map(|(_, word)| (*word).to_owned()).collect(),
        columns: Level::ALL.iter().map(|(_, word)| (*word).to_owned()).collect(),
        cells: Anomaly::ALL.iter().map(cell).collect(),
    };
    Figure::new(
        "isolation matrix",
        "What became of each anomaly at each level: it happens, or a writer had to wait for the other, or the reader's \
         snapshot hid it, or a transaction was refused with error 40001.",
        matrix,
    )
}

fn tone(cell: &Tried) -> Tone {
    match cell.verdict() {
        "happens" => Tone::Refuted,
        "40001" => Tone::Accent,
        _ => Tone::Plain,
    }
}

/// The sessions of the chosen schedule beside each other: transactions, waits, statements.
pub fn lanes(seen: &Observed) -> Figure {
    let sessions = seen.lanes.iter().map(|said| said.session).max().unwrap_or_default();
    let lane = |session| {
        let mine: Vec<&Said> = seen.lanes.iter().filter(|said| said.session == session).collect();
        let waits = mine.iter().filter(|said| !said.waited_for.is_empty()).map(|said| Span {
            from: said.at as f64,
            to: said.answered as f64,
            label: format!("waits for {}", said.waited_for.join(" and ")),
            tone: Tone::Accent,
        });
        let mut spans = transactions(&mine);
        spans.extend(waits);
        Lane { name: format!("T{session}"), spans, moments: mine.iter().map(|said| moment(said)).collect() }
    };
    let marks = seen.retried_at.iter().map(|step| Mark { at: *step as f64 - 0.5, label: "retry".to_owned() });
    Figure::new(
        "lanes",
        "The chosen schedule: how far each transaction reaches, what it reads and writes, and where it waits.",
        Timeline {
            unit: "step".to_owned(),
            lanes: (1..=sessions).map(lane).collect(),
            marks: marks.collect(),
        },
    )
}

/// From the first statement of each transaction to the one that ended it.
fn transactions(said: &[&Said]) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut from = None;
    for it in said {
        let began = *from.get_or_insert(it.at as f64);
        let (label, tone) = match (&*it.statement, &*it.answer) {
            (_, answer) if answer.starts_with("ERROR") => (answer, Tone::Refuted),
            ("COMMIT", _) => ("committed", Tone::Soft),
            ("ROLLBACK", _) => ("rolled back", Tone::Soft),
            _ => continue,
        };
        spans.push(Span { from: began, to: it.answered as f64, label: label.to_owned(), tone });
        from = None;
    }
    spans
}

fn moment(said: &Said) -> Moment {
    let verb = said.statement.split(' ').next().unwrap_or_default();
    let value = said.statement.split_once("value = ").and_then(|(_, rest)| rest.split_once(" WHERE"));
    let (label, tone) = match (verb, value) {
        (_, _) if said.answer.starts_with("ERROR") => (said.answer.clone(), Tone::Refuted),
        ("SELECT", _) => (said.answer.clone(), Tone::Accent),
        (_, Some((value, _))) => (format!("writes {value}"), Tone::Plain),
        (verb, None) => (verb.to_lowercase(), Tone::Plain),
    };
    Moment { at: said.at as f64, label, tone }
}

pub fn statements(seen: &Observed) -> Figure {
    let sessions = seen.lanes.iter().map(|said| said.session).max().unwrap_or_default();
    let row = |said: &Said| {
        let mut row = vec![said.at.to_string()];
        row.extend(
            (1..=sessions)
                .map(|session| if session == said.session { in_words(said) } else { String::new() }),
        );
        row
    };
    let mut columns = vec!["step".to_owned()];
    columns.extend((1..=sessions).map(|session| format!("T{session}")));
    Figure::new(
        "statements",
        "The chosen schedule, word for word, with the server's answers.",
        Table { columns, rows: seen.lanes.iter().map(row).collect() },
    )
}

fn in_words(said: &Said) -> String {
    let Said { statement, answer, answered, waited_for, .. } = said;
    match &waited_for[..] {
        [] if answer == "done" => statement.clone(),
        [] => format!("{statement} → {answer}"),
        others => format!("{statement} → waits for {}; at step {answered}: {answer}", others.join(" and ")),
    }
}

/// What a level lets happen, and what it asks of the program.
pub fn totals(seen: &Observed) -> Figure {
    let row = |(level, word): &(Level, &str)| {
        let count = |counted: fn(&Tried) -> bool| seen.at(*level).filter(|cell| counted(cell)).count() as f64;
        let bars = [
            (count(|cell| cell.happened), Tone::Refuted),
            (count(|cell| !cell.serial), Tone::Soft),
            (count(|cell| cell.outcome.refusals() > 0), Tone::Accent),
        ];
        let bars = bars
            .map(|(value, tone)| Bar { value, tone: if value > 0.0 { tone } else { Tone::Plain } })
            .to_vec();
        BarRow { label: (*word).to_owned(), bars }
    };
    let series = ["the anomaly happens", "no serial order explains it", "one was refused with 40001"];
    Figure::new(
        "what a level costs",
        "Of the 11 schedules at each level: the anomaly happens; what was seen and left, after retries, is what no \
         order of whole transactions gives; a transaction had to be retried.",
        Bars {
            unit: "schedules".to_owned(),
            series: series.map(str::to_owned).to_vec(),
            rows: Level::ALL.iter().map(row).collect(),
            limit: None,
        },
    )
}
