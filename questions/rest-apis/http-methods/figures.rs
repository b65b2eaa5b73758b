//! What is drawn of a run.

use super::{Observed, Tally, Writes};
use crate::prelude::*;

pub fn all(seen: &Observed) -> Vec<Figure> {
    vec![
        Figure::new(
            "effects",
            "Each order was meant to be made, set, changed or deleted once, by a client that repeats everything. POST and \
             PATCH do it again with each repetition; PUT and DELETE don't.",
            effects(&seen.eager),
        ),
        Figure::new(
            "what each client saw",
            "A client that doesn't repeat POST makes no order twice. The price: it ends without an answer, and the \
             order is there.",
            outcomes(seen),
        ),
        Figure::new(
            "properties",
            "Safe and idempotent, as measured here and not looked up.",
            properties(seen),
        ),
    ]
}

fn effects(writes: &Writes) -> Bars {
    let bar = |value: u64, tone| Bar { value: value as f64, tone };
    let row = |(method, tally): (&str, &Tally)| {
        let tone = if tally.effects > tally.meant { Tone::Refuted } else { Tone::Accent };
        let bars = [bar(tally.meant, Tone::Soft), bar(tally.executed, Tone::Plain), bar(tally.effects, tone)];
        BarRow { label: method.into(), bars: bars.into() }
    };
    Bars {
        unit: "times".into(),
        series: ["meant", "carried out", "effects"].map(str::to_owned).into(),
        rows: writes.by_method().map(row).into(),
        limit: None,
    }
}

fn outcomes(seen: &Observed) -> Table {
    let clients = [("everything", &seen.eager), ("what is idempotent", &seen.careful)];
    let rows = clients.iter().flat_map(|(client, writes)| {
        writes.by_method().map(|(method, it)| {
            let figures = [it.meant, it.executed, it.effects].map(|figure| figure.to_string());
            [vec![(*client).to_owned(), method.to_owned()], figures.into(), vec![it.saw()]].concat()
        })
    });
    let columns = ["client repeats", "method", "meant", "carried out", "effects", "client saw"];
    Table { columns: columns.map(str::to_owned).into(), rows: rows.collect() }
}

fn properties(seen: &Observed) -> Matrix {
    let yes = |is_so| match is_so {
        true => Cell { text: "yes".into(), tone: Tone::Accent },
        false => Cell { text: "no".into(), tone: Tone::Plain },
    };
    let if_tried =
        |lost, cell| if lost > 0 { cell } else { Cell { text: "untried".into(), tone: Tone::Soft } };
    let unchanged = yes(seen.reads.before == seen.reads.after);
    let mut rows = vec!["GET, HEAD".to_owned()];
    let mut cells = vec![vec![unchanged.clone(), if_tried(seen.reads.lost, unchanged)]];
    for (method, it) in seen.eager.by_method() {
        rows.push(method.to_owned());
        cells.push(vec![yes(it.effects == 0), if_tried(it.lost, yes(it.effects == it.meant))]);
    }
    Matrix { rows, columns: ["safe", "idempotent"].map(str::to_owned).into(), cells }
}

impl Writes {
    fn by_method(&self) -> [(&'static str, &Tally); 4] {
        [("POST", &self.post), ("PUT", &self.put), ("PATCH", &self.patch), ("DELETE", &self.delete)]
    }
}
