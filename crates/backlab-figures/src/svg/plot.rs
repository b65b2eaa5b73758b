//! The frame that curves and histograms share: two axes with few ticks, and labelled vertical marks.

use super::canvas::{Canvas, Path, Type};
use crate::layout::{LINE_PX, Scale, rows_without_overlap};
use crate::{Mark, Tone};

/// Labels of marks take at most this many lines above the plot; further marks are lines with a title.
const MARK_ROWS: usize = 5;

/// The rectangle within the axes.
#[derive(Debug, Clone, Copy)]
pub struct Area {
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
}

/// How much room marks need above the plot.
pub fn mark_rows(marks: &[Mark], x: impl Fn(f64) -> Option<f64>, width: f64) -> f64 {
    let rows = places(marks, x, width).into_iter().filter_map(|place| place.row).max();
    rows.map_or(0.0, |row| (row + 1) as f64 * LINE_PX + 4.0)
}

struct Place<'a> {
    mark: &'a Mark,
    x: f64,
    /// Where the label starts.
    start: f64,
    row: Option<usize>,
}

fn places<'a>(marks: &'a [Mark], x: impl Fn(f64) -> Option<f64>, width: f64) -> Vec<Place<'a>> {
    let mut found: Vec<_> = marks
        .iter()
        .filter_map(|mark| {
            let (x, wide) = (x(mark.at)?, Type::sans().width(&mark.label).min(width));
            let start = if x + 4.0 + wide > width { (x - 4.0 - wide).max(0.0) } else { x + 4.0 };
            Some(Place { mark, x, start, row: None })
        })
        .collect();
    found.dedup_by(|a, b| (a.x - b.x).abs() < 0.5 && a.mark.label == b.mark.label);
    let stretch = |place: &Place| {
        let end = place.start + Type::sans().width(&place.mark.label).min(width);
        (place.start.min(place.x), end.max(place.x))
    };
    let stretches: Vec<_> = found.iter().map(stretch).collect();
    for (place, row) in found.iter_mut().zip(rows_without_overlap(&stretches, 8.0)) {
        place.row = (row < MARK_ROWS && !place.mark.label.is_empty()).then_some(row);
    }
    found
}

/// Vertical lines with their labels on top, from `top` down to `bottom`.
pub fn marks(canvas: &mut Canvas, marks: &[Mark], x: impl Fn(f64) -> Option<f64>, top: f64, bottom: f64) {
    let places = places(marks, x, canvas.width);
    let rows = places.iter().filter_map(|place| place.row).max().map_or(0, |row| row + 1);
    for place in places {
        let row = place.row.unwrap_or(rows);
        let start = top - (rows - row.min(rows)) as f64 * LINE_PX;
        let line = Path::default().vertical(place.x, start, bottom);
        canvas.path_with_title("ink thin", Tone::Soft, &line, " stroke-dasharray=\"3 3\"", &place.mark.label);
        if place.row.is_some() {
            let how = Type::sans().tone(Tone::Soft).halo();
            canvas.text(place.start, start + 9.0, &place.mark.label, how);
        }
    }
}

/// The base line, the ticks below it, and the axis' label at the right end.
pub fn x_axis(canvas: &mut Canvas, area: Area, scale: &Scale, label: &str) {
    let base = Path::default().horizontal(area.left, area.right, area.bottom);
    canvas.path("ink thin", Tone::Soft, &base, "");
    let ticks = scale.ticks(((area.right - area.left) / 60.0) as usize);
    let mut strokes = Path::default();
    let mut free = f64::NEG_INFINITY;
    for (x, text) in &ticks {
        strokes = strokes.vertical(*x, area.bottom, area.bottom + 4.0);
        let half = Type::mono().width(text) / 2.0;
        if x - half > free {
            canvas.text(*x, area.bottom + 16.0, text, Type::mono().tone(Tone::Soft).middle());
            free = x + half + 6.0;
        }
    }
    canvas.path("ink thin", Tone::Soft, &strokes, "");
    canvas.reach(area.bottom + 21.0);
    if !label.is_empty() {
        let how = Type::sans().tone(Tone::Soft).end();
        canvas.text(area.right, area.bottom + 32.0, label, how);
    }
}

/// Faint lines across, their figures at the left, and the axis' label above.
pub fn y_axis(canvas: &mut Canvas, area: Area, scale: &Scale, label: &str) {
    let mut grid = Path::default();
    for (y, text) in scale.ticks(((area.bottom - area.top) / 45.0) as usize) {
        if y < area.bottom - 1.0 {
            grid = grid.horizontal(area.left, area.right, y);
        }
        canvas.text(area.left - 7.0, y + 4.0, &text, Type::mono().tone(Tone::Soft).end());
    }
    canvas.path("line", Tone::Plain, &grid, "");
    canvas.text(0.0, 12.0, label, Type::sans().tone(Tone::Soft));
}

/// Room that the figures of a y axis take at the left.
pub fn y_figures(scale: &Scale, height: f64) -> f64 {
    let ticks = scale.ticks((height / 45.0) as usize);
    ticks.iter().map(|(_, text)| Type::mono().width(text)).fold(0.0, f64::max) + 8.0
}
