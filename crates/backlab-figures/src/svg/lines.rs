//! Curves, each named at its right end.

use super::NARROW;
use super::canvas::{Canvas, Path, Type};
use super::plot::{self, Area};
use crate::layout::{LINE_PX, Scale, spread, with_sign};
use crate::{Lines, Series, Tone};

/// Curves of one tone are told apart by these dashes, then by their names alone.
const DASHES: [&str; 5] = ["", "6 3", "1.5 3", "9 3 1.5 3", "14 4"];
/// Single points are drawn where a curve has no more than this many.
const DOTTED: usize = 16;

pub fn draw(canvas: &mut Canvas, it: &Lines) {
    let points = || it.series.iter().flat_map(|series| &series.points);
    if !points().any(|&(x, y)| x.is_finite() && y.is_finite()) {
        return;
    }
    let names: Vec<_> = it.series.iter().map(|series| with_sign(&series.name, series.tone)).collect();
    let widest = names.iter().map(|name| Type::sans().width(name)).fold(0.0, f64::max);
    let room = widest.min(canvas.width * if canvas.width < NARROW { 0.3 } else { 0.28 });
    let lines: Vec<_> = names.iter().map(|name| Type::sans().room(room).wrap(name, 2).lines.len()).collect();
    let height =
        (lines.iter().sum::<usize>() as f64 * LINE_PX).max(if canvas.width > 900.0 { 260.0 } else { 210.0 });

    let y_values = points().map(|point| point.1).chain(floor(it));
    let probe = Scale::over(y_values.clone(), it.y.log, height, 0.0);
    let (left, right) =
        (plot::y_figures(&probe, height), canvas.width - if room > 0.0 { room + 20.0 } else { 8.0 });
    let xs = points().map(|point| point.0).chain(it.marks.iter().map(|mark| mark.at));
    let x = Scale::over(xs, it.x.log, left + 2.0, right);
    let label = if it.y.label.is_empty() { 4.0 } else { 22.0 };
    let top = label + plot::mark_rows(&it.marks, |v| x.at(v), canvas.width) + 4.0;
    let area = Area { left, right, top, bottom: top + height };
    let y = Scale::over(y_values, it.y.log, area.bottom, area.top);

    plot::y_axis(canvas, area, &y, &it.y.label);
    plot::x_axis(canvas, area, &x, &it.x.label);
    plot::marks(canvas, &it.marks, |v| x.at(v), area.top - 2.0, area.bottom);
    let mut used = [0; 4];
    let mut ends = vec![];
    for series in &it.series {
        let dashes = DASHES[used[series.tone as usize] % DASHES.len()];
        used[series.tone as usize] += 1;
        ends.push(curve(canvas, series, (&x, &y), dashes));
    }
    labels(canvas, it, &names, &ends, (area, room));
}

/// Zero, where it is near enough to the figures to be the honest foot of the axis.
fn floor(it: &Lines) -> Option<f64> {
    let ys = || it.series.iter().flat_map(|s| &s.points).map(|p| p.1).filter(|y| y.is_finite());
    let (low, high) = (ys().fold(f64::INFINITY, f64::min), ys().fold(f64::NEG_INFINITY, f64::max));
    (!it.y.log && low >= 0.0 && low <= high * 0.7).then_some(0.0)
}

/// One curve; returns where it ends. What isn't finite breaks it.
fn curve(canvas: &mut Canvas, series: &Series, (x, y): (&Scale, &Scale), dashes: &str) -> Option<(f64, f64)> {
    let mut path = Path::default();
    let mut dots = Path::default();
    let mut last = None;
    let mut down = false;
    for &point in &thinned(series, x, y) {
        let Some((px, py)) = point else {
            down = false;
            continue;
        };
        path = if down { path.line(px, py) } else { path.to(px, py) };
        if series.points.len() <= DOTTED {
            dots = dots.dot(px, py);
        }
        (down, last) = (true, Some((px, py)));
    }
    let dashes = if dashes.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dashes}\"") };
    canvas.path("ink", series.tone, &path, &dashes);
    canvas.path("dots", series.tone, &dots, "");
    if let (Some((px, py)), Tone::Refuted) = (last, series.tone) {
        canvas.path("ink", Tone::Refuted, &Path::default().cross(px, py), "");
    }
    last
}

/// Positions of the points, with at most four in a column of pixels: its first, lowest, highest and last.
fn thinned(series: &Series, x: &Scale, y: &Scale) -> Vec<Option<(f64, f64)>> {
    let positions: Vec<_> = series.points.iter().map(|p| x.at(p.0).zip(y.at(p.1))).collect();
    if positions.len() < 400 {
        return positions;
    }
    let column = |p: &Option<(f64, f64)>| p.map(|p| p.0.round() as i64);
    let mut thin = vec![];
    for same in positions.chunk_by(|a, b| column(a) == column(b)) {
        let height = |i: usize| same[i].map_or(0.0, |p| p.1);
        let mut kept = vec![0, same.len() - 1];
        kept.extend((0..same.len()).min_by(|&a, &b| height(a).total_cmp(&height(b))));
        kept.extend((0..same.len()).max_by(|&a, &b| height(a).total_cmp(&height(b))));
        kept.sort_unstable();
        kept.dedup();
        thin.extend(kept.into_iter().map(|i| same[i]));
    }
    thin
}

/// Names at the curves' ends, moved apart where they would touch, with a thin leader to the end.
fn labels(canvas: &mut Canvas, it: &Lines, names: &[String], ends: &[Option<(f64, f64)>], at: (Area, f64)) {
    let (area, room) = at;
    let how = |tone| Type::sans().tone(tone).room(room).halo();
    let drawn: Vec<_> = (0..names.len()).filter(|&i| !names[i].is_empty() && ends[i].is_some()).collect();
    let tall =
        drawn.iter().map(|&i| how(Tone::Plain).wrap(&names[i], 2).lines.len()).max().unwrap_or(1) as f64;
    let wanted: Vec<_> = drawn.iter().map(|&i| ends[i].map_or(0.0, |end| end.1)).collect();
    let placed = spread(&wanted, tall * LINE_PX, area.top + 2.0, area.bottom - (tall - 1.0) * LINE_PX);
    for (&i, y) in drawn.iter().zip(placed) {
        let Some((end_x, end_y)) = ends[i] else { continue };
        let x = area.right + 14.0;
        if (y - end_y).abs() > 5.0 || area.right - end_x > 4.0 {
            let leader = Path::default().to(end_x + 4.0, end_y).line(x - 4.0, y);
            canvas.path("ink thin", Tone::Soft, &leader, " stroke-dasharray=\"1 2\"");
        }
        canvas.paragraph(x, y + 4.0, &names[i], 2, how(it.series[i].tone));
    }
}
