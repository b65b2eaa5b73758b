//! What is drawn of a run.

use super::{Audit, Observed};
use crate::prelude::*;

pub fn all(seen: &Observed) -> Vec<Figure> {
    vec![
        Figure::new(
            "duties and what they hold up",
            "Each row is an office that lacks one duty, each column something that must be true of it. Leave out validation, \
             and two things fall: an order of minus three makes seats, and the crowd buys them.",
            invariants(seen),
        ),
        Figure::new(
            "two stories",
            "Tickets that buyers hold, and tickets that are gone by what the stock says. Without atomicity all handlers write \
             the same figure back, so that the stock tells of one sale and looks healthy.",
            stories(seen),
        ),
        Figure::new(
            "after the restart",
            "Orders of the crowd that were answered 201, and those that are there after SIGKILL and a restart.",
            kept(seen),
        ),
    ]
}

fn invariants(seen: &Observed) -> Matrix {
    let cell =
        |sound: bool, text: String| Cell { text, tone: if sound { Tone::Accent } else { Tone::Refuted } };
    let row = |it: &Audit| {
        let lost = it.acknowledged - it.found;
        let none = |count: u64, what: &str| match count {
            0 => cell(true, "✓".into()),
            some => cell(false, format!("✗ {some} {what}")),
        };
        vec![
            cell(
                it.tickets <= it.seats,
                format!("{}{} of {}", mark(it.tickets <= it.seats), it.tickets, it.seats),
            ),
            none(it.ownerless, "nobody's"),
            none(it.senseless, "senseless"),
            none(lost, "lost"),
        ]
    };
    Matrix {
        rows: seen.offices().map(|(name, _)| name.to_owned()).into(),
        columns: ["tickets ≤ seats", "has a buyer", "quantity > 0", "201 is kept"].map(str::to_owned).into(),
        cells: seen.offices().map(|(_, it)| row(it)).into(),
    }
}

fn mark(sound: bool) -> &'static str {
    if sound { "✓ " } else { "✗ " }
}

fn stories(seen: &Observed) -> Bars {
    let row = |(name, it): (&str, &Audit)| {
        let tone = if it.tickets > it.seats { Tone::Refuted } else { Tone::Accent };
        let gone = Bar { value: it.gone() as f64, tone: Tone::Plain };
        let bars = vec![Bar { value: it.tickets as f64, tone }, gone];
        BarRow { label: name.to_owned(), bars }
    };
    Bars {
        unit: "tickets".into(),
        series: ["buyers hold", "gone by the stock"].map(str::to_owned).into(),
        rows: seen.offices().map(row).into(),
        limit: Some((seen.complete.seats as f64, "seats".into())),
    }
}

fn kept(seen: &Observed) -> Bars {
    let row = |(name, it): (&str, &Audit)| {
        let tone = if it.found < it.acknowledged { Tone::Refuted } else { Tone::Accent };
        let told = Bar { value: it.acknowledged as f64, tone: Tone::Soft };
        BarRow { label: name.to_owned(), bars: vec![told, Bar { value: it.found as f64, tone }] }
    };
    Bars {
        unit: "orders".into(),
        series: ["answered 201", "there afterwards"].map(str::to_owned).into(),
        rows: seen.offices().map(row).into(),
        limit: None,
    }
}

impl Observed {
    fn offices(&self) -> [(&'static str, &Audit); 5] {
        [
            ("complete", &self.complete),
            ("no authentication", &self.no_authentication),
            ("no validation", &self.no_validation),
            ("no atomicity", &self.no_atomicity),
            ("no durability", &self.no_durability),
        ]
    }
}
