//! Figures as rows and columns, every figure with all its digits.

use crate::layout::{exact, share, with_sign};
use crate::{
    Bars, Drawing, HeatMap, Histogram, Lines, Mark, Matrix, Ring, Sequence, SequenceRow, Table, Timeline,
    Tone,
};
use std::collections::BTreeMap;

/// The content of `drawing` with as many cells in each row as there are columns.
pub fn table(drawing: &Drawing) -> Table {
    match drawing {
        Drawing::Sequence(it) => sequence(it),
        Drawing::Bars(it) => bars(it),
        Drawing::Lines(it) => lines(it),
        Drawing::Histogram(it) => histogram(it),
        Drawing::HeatMap(it) => heat_map(it),
        Drawing::Matrix(it) => matrix(it),
        Drawing::Ring(it) => ring(it),
        Drawing::Timeline(it) => timeline(it),
        Drawing::Table(it) => even(it.columns.clone(), it.rows.clone()),
    }
}

/// A table whose rows are filled up, and whose columns are counted up, to the longest of all.
fn even(mut columns: Vec<String>, mut rows: Vec<Vec<String>>) -> Table {
    let width = rows.iter().map(Vec::len).chain([columns.len()]).max().unwrap_or(0);
    columns.resize(width, String::new());
    rows.iter_mut().for_each(|row| row.resize(width, String::new()));
    Table { columns, rows }
}

fn heads(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn or(text: &str, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text.to_owned() }
}

fn sequence(it: &Sequence) -> Table {
    let name = |i: usize| it.participants.get(i).cloned().unwrap_or_else(|| format!("participant {i}"));
    let row = |row: &SequenceRow| match row {
        SequenceRow::Message { from, to, label, lost, tone } => {
            let outcome = match (lost, tone) {
                (true, _) => "lost",
                (false, Tone::Refuted) => "went wrong",
                _ => "",
            };
            vec![name(*from), name(*to), label.clone(), outcome.to_owned()]
        }
        SequenceRow::Step { label } => vec![String::new(), String::new(), format!("{label}:"), String::new()],
        SequenceRow::Note { at, label, tone } => {
            vec![name(*at), String::new(), with_sign(label, *tone), String::new()]
        }
        SequenceRow::Gap { count } => {
            vec![String::new(), String::new(), format!("… {count} more"), String::new()]
        }
    };
    even(heads(&["From", "To", "What", "Outcome"]), it.rows.iter().map(row).collect())
}

fn bars(it: &Bars) -> Table {
    let most = it.rows.iter().map(|row| row.bars.len()).chain([it.series.len(), 1]).max().unwrap_or(1);
    let unit = |name: &str| match (name.is_empty(), it.unit.is_empty()) {
        (true, _) => or(&it.unit, "Value"),
        (false, true) => name.to_owned(),
        (false, false) => format!("{name} ({})", it.unit),
    };
    let mut columns = heads(&["Row"]);
    columns.extend((0..most).map(|i| unit(it.series.get(i).map_or("", String::as_str))));
    let mut rows: Vec<Vec<String>> = it
        .rows
        .iter()
        .map(|row| {
            let figures = row.bars.iter().map(|bar| with_sign(&exact(bar.value), bar.tone));
            std::iter::once(row.label.clone()).chain(figures).collect()
        })
        .collect();
    if let Some((value, name)) = &it.limit {
        rows.push(vec![format!("Limit: {name}"), exact(*value)]);
    }
    even(columns, rows)
}

fn lines(it: &Lines) -> Table {
    let mut by_x: BTreeMap<Ordered, Vec<String>> = BTreeMap::new();
    let columns_after_x = it.series.len() + usize::from(!it.marks.is_empty());
    let mut put = |x: f64, column: usize, text: String| {
        let cells = by_x.entry(Ordered(x)).or_insert_with(|| vec![String::new(); columns_after_x]);
        let joint = if cells[column].is_empty() { text } else { format!("{}; {text}", cells[column]) };
        cells[column] = joint;
    };
    for (column, series) in it.series.iter().enumerate() {
        series.points.iter().for_each(|&(x, y)| put(x, column, exact(y)));
    }
    it.marks.iter().for_each(|mark| put(mark.at, it.series.len(), mark.label.clone()));
    let mut columns = vec![or(&it.x.label, "x")];
    columns.extend(it.series.iter().map(|series| with_sign(&or(&series.name, &it.y.label), series.tone)));
    columns.extend((!it.marks.is_empty()).then(|| "Mark".to_owned()));
    let rows = by_x.into_iter().map(|(x, cells)| std::iter::once(exact(x.0)).chain(cells).collect());
    even(columns, rows.collect())
}

fn histogram(it: &Histogram) -> Table {
    let within = |bucket: &crate::Bucket, mark: &&Mark| bucket.from <= mark.at && mark.at < bucket.to;
    let row = |bucket: &crate::Bucket| {
        let marks: Vec<_> =
            it.marks.iter().filter(|mark| within(bucket, mark)).map(|m| m.label.as_str()).collect();
        let mut row = vec![exact(bucket.from), exact(bucket.to), bucket.count.to_string()];
        row.extend((!it.marks.is_empty()).then(|| marks.join(", ")));
        row
    };
    let from = if it.x.label.is_empty() { "From".to_owned() } else { format!("{} from", it.x.label) };
    let mut columns = vec![from, "to (exclusive)".to_owned(), "Count".to_owned()];
    columns.extend((!it.marks.is_empty()).then(|| "Mark".to_owned()));
    even(columns, it.buckets.iter().map(row).collect())
}

/// Rows with a label of their own under columns with heads: what a heat map and a matrix have in common.
fn grid(
    corner: &str,
    columns: &[String],
    rows: &[String],
    cells: impl Fn(usize) -> Vec<String>,
    count: usize,
) -> Table {
    let heads = std::iter::once(corner.to_owned()).chain(columns.iter().cloned()).collect();
    let row = |i: usize| std::iter::once(rows.get(i).cloned().unwrap_or_default()).chain(cells(i)).collect();
    even(heads, (0..count.max(rows.len())).map(row).collect())
}

fn heat_map(it: &HeatMap) -> Table {
    let cells =
        |i: usize| it.cells.get(i).map(|row| row.iter().map(|&v| exact(v)).collect()).unwrap_or_default();
    grid(&it.unit, &it.columns, &it.rows, cells, it.cells.len())
}

fn matrix(it: &Matrix) -> Table {
    let written = |row: &Vec<crate::Cell>| row.iter().map(|cell| with_sign(&cell.text, cell.tone)).collect();
    grid("", &it.columns, &it.rows, |i| it.cells.get(i).map(written).unwrap_or_default(), it.cells.len())
}

fn ring(it: &Ring) -> Table {
    let row = |owner: usize| {
        let (share, arcs) = share(&it.arcs, owner);
        let mark = if it.highlight == Some(owner) { "look here" } else { "" };
        vec![it.owners[owner].clone(), format!("{:.2} %", share * 100.0), arcs.to_string(), mark.to_owned()]
    };
    even(heads(&["Owner", "Share of the circle", "Arcs", "Note"]), (0..it.owners.len()).map(row).collect())
}

fn timeline(it: &Timeline) -> Table {
    let mut rows: Vec<(f64, Vec<String>)> = vec![];
    for lane in &it.lanes {
        rows.extend(lane.spans.iter().map(|span| {
            let what = with_sign(&span.label, span.tone);
            (span.from, vec![lane.name.clone(), exact(span.from), exact(span.to), what])
        }));
        rows.extend(lane.moments.iter().map(|moment| {
            let what = with_sign(&moment.label, moment.tone);
            (moment.at, vec![lane.name.clone(), exact(moment.at), String::new(), what])
        }));
    }
    rows.extend(
        it.marks
            .iter()
            .map(|mark| (mark.at, vec!["all".to_owned(), exact(mark.at), String::new(), mark.label.clone()])),
    );
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let from = if it.unit.is_empty() { "From".to_owned() } else { format!("From ({})", it.unit) };
    let columns = vec!["Lane".to_owned(), from, "To".to_owned(), "What".to_owned()];
    even(columns, rows.into_iter().map(|row| row.1).collect())
}

/// A figure that can be a key: ordered as `total_cmp` says.
#[derive(Clone, Copy)]
struct Ordered(f64);

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Ordered {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Ordered {}
