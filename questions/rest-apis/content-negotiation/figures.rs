//! What is drawn of a run.

use super::cached::Setting;
use super::readers::Sight;
use super::wishes::{PREDICTED, Rule};
use super::{Observed, Wished};
use crate::prelude::*;

/// Clients that are drawn, the first that asked.
const DRAWN: usize = 8;

pub fn all(seen: &Observed) -> Vec<Figure> {
    vec![
        Figure::new(
            "who got what",
            "The first clients, in the order in which they asked, and what the cache gave each. Without Vary the first one \
             decides for all. A ✗ can't be read by the one who got it.",
            who_got_what(seen),
        ),
        Figure::new(
            "price",
            "Requests that reached the origin, and clients that got what they can't read. Right and cheap go together only \
             when the headers are spelled alike before the cache sees them.",
            price(seen),
        ),
        Figure::new(
            "weights",
            format!(
                "How “{PREDICTED}” is read: each format takes its weight from one range, the most specific that fits it."
            ),
            weights(seen),
        ),
        Figure::new(
            "short cuts",
            "Forty Accept headers with one right answer each, by the rule that decides: how many the origin and two common \
             short cuts get right.",
            short_cuts(seen),
        ),
    ]
}

fn who_got_what(seen: &Observed) -> Matrix {
    let rows: Vec<String> =
        seen.deliveries[&Setting::Full].got.iter().take(DRAWN).map(|it| it.reader.clone()).collect();
    let cell = |client: usize, setting: Setting| {
        let got = &seen.deliveries[&setting].got[client];
        match got.sight {
            Sight::Fine => Cell { text: got.what.clone(), tone: Tone::Plain },
            _ => Cell { text: format!("✗ {}", got.what), tone: Tone::Refuted },
        }
    };
    let cells = (0..rows.len()).map(|client| Setting::ALL.map(|it| cell(client, it)).into()).collect();
    Matrix { rows, columns: Setting::ALL.map(|it| it.words().to_owned()).into(), cells }
}

fn price(seen: &Observed) -> Bars {
    let row = |setting: Setting| {
        let it = &seen.deliveries[&setting];
        let bar = |value: u64, tone| Bar { value: value as f64, tone };
        BarRow {
            label: setting.words().to_owned(),
            bars: vec![bar(it.asked, Tone::Accent), bar(it.wrong(), Tone::Refuted)],
        }
    };
    Bars {
        unit: String::new(),
        series: ["origin asked", "can't read it"].map(str::to_owned).into(),
        rows: Setting::ALL.map(row).into(),
        limit: None,
    }
}

fn weights(seen: &Observed) -> Table {
    let sent = seen.wishes.iter().find(|it| it.accept == PREDICTED).map_or("", |it| it.origin);
    let row = |it: &super::Weighed| {
        let weight = f64::from(it.thousandths) / 1000.0;
        let mark = if it.format == sent { "sent" } else { "" };
        vec![it.format.to_owned(), it.range.clone(), weight.to_string(), mark.to_owned()]
    };
    Table {
        columns: ["format", "range that decides", "weight", ""].map(str::to_owned).into(),
        rows: seen.weights.iter().map(row).collect(),
    }
}

fn short_cuts(seen: &Observed) -> Matrix {
    let cell = |rule, sent: fn(&Wished) -> &str| {
        let of: Vec<_> = seen.wishes.iter().filter(|it| it.rule == rule).collect();
        let right = of.iter().filter(|it| sent(it) == it.right).count();
        let tone = if right == of.len() { Tone::Accent } else { Tone::Refuted };
        Cell { text: format!("{right} of {}", of.len()), tone }
    };
    let row = |rule| {
        vec![cell(rule, |it| it.origin), cell(rule, |it| it.first_name), cell(rule, |it| it.highest_weight)]
    };
    Matrix {
        rows: Rule::ALL.map(|it| it.words().to_owned()).into(),
        columns: ["origin", "first name", "highest weight"].map(str::to_owned).into(),
        cells: Rule::ALL.map(row).into(),
    }
}
