//! What is drawn of a run.

use super::{Observed, Params, Tally, Writing};
use crate::prelude::*;

pub fn all(p: &Params, seen: &Observed) -> Vec<Figure> {
    vec![
        Figure::new(
            "each another field",
            "What became of the changes when each editor changed a field of its own. Only PUT without a precondition loses \
             any, and nobody is told.",
            fates(p, &seen.different),
        ),
        Figure::new(
            "all the same field",
            "The same when all changed one field. Now a patch loses as much as PUT does: what helps is the precondition.",
            fates(p, &seen.same),
        ),
        Figure::new(
            "what each way can do",
            "Measured on one document: what survives, what repeats, what can be said.",
            abilities(seen),
        ),
    ]
}

fn fates(p: &Params, of: &BTreeMap<Writing, Tally>) -> Bars {
    let row = |(writing, it): (&Writing, &Tally)| {
        let bar = |value: u64, tone| Bar { value: value as f64, tone };
        let told = p.editors - it.survived.min(p.editors) - it.silent;
        let bars = [bar(it.survived, Tone::Accent), bar(told, Tone::Plain), bar(it.silent, Tone::Refuted)];
        BarRow { label: writing.name().to_owned(), bars: bars.into() }
    };
    Bars {
        unit: String::new(),
        series: ["kept", "refused, editor told", "lost unnoticed"].map(str::to_owned).into(),
        rows: of.iter().map(row).collect(),
        limit: None,
    }
}

fn abilities(seen: &Observed) -> Matrix {
    let cell = |text: &str, tone| Cell { text: text.to_owned(), tone };
    let good =
        |is_so, yes: &str, no: &str| if is_so { cell(yes, Tone::Accent) } else { cell(no, Tone::Plain) };
    let open = || cell("·", Tone::Soft);
    let rows = [
        (
            "unknown field",
            [
                good(seen.old.after_put, "kept", "removed"),
                good(seen.old.after_merge, "kept", "removed"),
                open(),
            ],
        ),
        (
            "sent twice",
            [
                good(seen.twice.put == 2, "same", "other"),
                good(seen.twice.merge == 2, "same", "other"),
                good(seen.twice.append == 2, "same", "tag added twice"),
            ],
        ),
        (
            "set to null",
            [
                open(),
                good(seen.null.merge == "null", "null", "removed"),
                good(seen.null.json_patch == "null", "null", "removed"),
            ],
        ),
    ];
    Matrix {
        rows: rows.iter().map(|(row, _)| (*row).to_owned()).collect(),
        columns: ["PUT", "merge patch", "JSON Patch"].map(str::to_owned).into(),
        cells: rows.into_iter().map(|(_, cells)| cells.into()).collect(),
    }
}
