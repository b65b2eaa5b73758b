//! Curves in Braille dots: two by four to a cell.

use super::cut;
use super::screen::{Screen, clean};
use crate::layout::{Scale, columns, rows_without_overlap, spread, with_sign};
use crate::{Lines, Series, Tone};

const ROWS: usize = 12;
/// Curves of one tone are told apart by which dots of a stretch are drawn, then by their names.
const DASHES: [&[bool]; 4] = [
    &[true],
    &[true, true, true, true, false, false],
    &[true, false, false],
    &[true, true, true, true, true, false, false, true, false, false],
];

/// The dots and the tone of each cell.
struct Dots {
    wide: usize,
    cells: Vec<(u8, Tone)>,
}

pub fn draw(mut screen: Screen, it: &Lines) -> Screen {
    let points = || it.series.iter().flat_map(|series| &series.points);
    if !points().any(|&(x, y)| x.is_finite() && y.is_finite()) {
        return screen;
    }
    let names: Vec<_> = it.series.iter().map(|s| clean(&with_sign(&s.name, s.tone))).collect();
    let room = names.iter().map(|name| columns(name)).max().unwrap_or(0).min(screen.width * 3 / 10);
    let names: Vec<_> = names.iter().map(|name| cut(name, room)).collect();
    let rows = ROWS.max(names.len());
    let high = (rows * 4) as f64 - 1.0;
    let y = Scale::over(points().map(|point| point.1), it.y.log, high, 0.0);
    let ticks = y.ticks(4);
    let left = ticks.iter().map(|(_, text)| columns(text)).max().unwrap_or(0) + 1;
    let wide = screen.width.saturating_sub(left + 1 + room + 2).max(8);
    let xs = points().map(|point| point.0).chain(it.marks.iter().map(|mark| mark.at));
    let x = Scale::over(xs, it.x.log, 0.0, (wide * 2) as f64 - 1.0);

    screen.put(0, 0, &cut(&it.y.label, screen.width), Tone::Soft);
    let top = 1 + marks(&mut screen, it, &x, left + 1, rows);
    for row in 0..rows {
        screen.put(left, top + row, "│", Tone::Soft);
    }
    for (at, text) in &ticks {
        let row = top + (at / 4.0) as usize;
        screen.put_before(left, row, text, Tone::Soft);
        screen.put(left, row, "┤", Tone::Soft);
    }
    let ends = curves(&mut screen, it, (&x, &y), (left + 1, top, wide, rows));
    let drawn: Vec<_> = (0..names.len()).filter(|&i| ends[i].is_some()).collect();
    let wanted: Vec<_> = drawn.iter().map(|&i| (ends[i].unwrap_or(0.0) / 4.0).floor()).collect();
    for (&i, row) in drawn.iter().zip(spread(&wanted, 1.0, 0.0, rows as f64 - 1.0)) {
        screen.put(left + 1 + wide + 1, top + row as usize, &names[i], it.series[i].tone);
    }
    x_axis(&mut screen, it, &x, (left, top + rows, wide));
    screen
}

/// Labels of marks above the plot and dotted lines down from them; returns how many rows the labels took.
fn marks(screen: &mut Screen, it: &Lines, x: &Scale, left: usize, rows: usize) -> usize {
    let places: Vec<_> = it
        .marks
        .iter()
        .filter_map(|mark| {
            let column = left + (x.at(mark.at)? / 2.0) as usize;
            let text = cut(&format!("┊{}", mark.label), screen.width);
            let start = column.min(screen.width - columns(&text));
            Some((column, start, text))
        })
        .collect();
    let stretch = |place: &(usize, usize, String)| (place.1 as f64, (place.1 + columns(&place.2)) as f64);
    let placed = rows_without_overlap(&places.iter().map(stretch).collect::<Vec<_>>(), 1.0);
    let taken = placed.iter().max().map_or(0, |row| row + 1).min(4);
    for ((column, start, text), row) in places.iter().zip(placed) {
        for y in 1..1 + taken + rows {
            if y > row {
                screen.put(*column, y, "┊", Tone::Soft);
            }
        }
        if row < taken {
            screen.put(*start, 1 + row, text, Tone::Soft);
        }
    }
    taken
}

/// Draws all curves; returns the height (in dots) at which each ends.
fn curves(
    screen: &mut Screen,
    it: &Lines,
    scales: (&Scale, &Scale),
    at: (usize, usize, usize, usize),
) -> Vec<Option<f64>> {
    let (left, top, wide, rows) = at;
    let mut dots = Dots { wide, cells: vec![(0, Tone::Plain); wide * rows] };
    let mut used = [0; 4];
    let mut ends = vec![];
    for series in &it.series {
        let dash = DASHES[used[series.tone as usize] % DASHES.len()];
        used[series.tone as usize] += 1;
        ends.push(dots.curve(series, scales, dash));
    }
    for (i, &(cell, tone)) in dots.cells.iter().enumerate() {
        if let (true, Some(c)) = (cell != 0, char::from_u32(0x2800 + u32::from(cell))) {
            screen.put(left + i % wide, top + i / wide, c.encode_utf8(&mut [0; 4]), tone);
        }
    }
    ends
}

impl Dots {
    fn curve(&mut self, series: &Series, (x, y): (&Scale, &Scale), dash: &[bool]) -> Option<f64> {
        let mut last: Option<(f64, f64)> = None;
        let mut end = None;
        let mut drawn = 0;
        for point in &series.points {
            let Some(to) = x.at(point.0).zip(y.at(point.1)) else {
                last = None;
                continue;
            };
            let from = last.unwrap_or(to);
            let steps = (to.0 - from.0).abs().max((to.1 - from.1).abs()).ceil().max(1.0);
            for step in 0..=steps as usize {
                let share = step as f64 / steps;
                let (px, py) = (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share);
                if dash[drawn % dash.len()] {
                    self.dot(px.round() as usize, py.round() as usize, series.tone);
                }
                drawn += usize::from(step > 0);
            }
            (last, end) = (Some(to), Some(to.1));
        }
        end
    }

    fn dot(&mut self, x: usize, y: usize, tone: Tone) {
        const BITS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
        if let Some(cell) = self.cells.get_mut(y / 4 * self.wide + x / 2) {
            *cell = (cell.0 | BITS[x % 2][y % 4], tone);
        }
    }
}

fn x_axis(screen: &mut Screen, it: &Lines, x: &Scale, (left, y, wide): (usize, usize, usize)) {
    screen.put(left, y, &format!("└{}", "─".repeat(wide)), Tone::Soft);
    let mut free = 0;
    for (at, text) in x.ticks((wide / 12).max(2)) {
        let column = left + 1 + (at / 2.0) as usize;
        let start =
            column.saturating_sub(columns(&text) / 2).min(screen.width - columns(&text).min(screen.width));
        if start >= free {
            screen.put(column, y, "┬", Tone::Soft);
            free = screen.put(start, y + 1, &text, Tone::Soft) + 2;
        }
    }
    if !it.x.label.is_empty() {
        screen.put_before(left + 1 + wide, y + 2, &cut(&it.x.label, left + 1 + wide), Tone::Soft);
    }
}
