//! Horizontal bars, the figure at the end of each.

use super::NARROW;
use super::canvas::{Canvas, Path, Type};
use crate::layout::{LINE_PX, Scale, number};
use crate::{Bar, BarRow, Bars, Tone};

const THICK: f64 = 14.0;
const PITCH: f64 = 24.0;
/// Between two columns of bars.
const GAP: f64 = 16.0;

pub fn draw(canvas: &mut Canvas, it: &Bars) {
    if it.rows.is_empty() {
        return;
    }
    let most = it.rows.iter().map(|row| row.bars.len()).max().unwrap_or(0);
    let columns = if most > 1 && canvas.width >= NARROW && most <= 3 { most } else { 1 };
    let names = Names::of(it, canvas.width);
    let wide = (canvas.width - names.indent - GAP * (columns - 1) as f64) / columns as f64;
    let left = |column: usize| names.indent + column as f64 * (wide + GAP);
    let areas: Vec<_> = (0..columns).map(|column| Area::new(it, left(column), wide, columns == 1)).collect();
    let top = heads(canvas, it, &areas);
    let mut rows = Canvas::new(canvas.width);
    let mut y = top;
    for (i, row) in it.rows.iter().enumerate() {
        let unit = if i == 0 { it.unit.as_str() } else { "" };
        let start = names.put(&mut rows, row, y);
        let end = if columns == 1 {
            stacked(&mut rows, it, row, &areas[0], (start, unit))
        } else {
            side_by_side(&mut rows, row, &areas, (start, unit))
        };
        y = end.max(start + names.lines(row) as f64 * LINE_PX + 9.0);
    }
    if let Some((value, _)) = it.limit {
        let line = |path: Path, area: &Area| {
            path.vertical(area.scale.at(value).unwrap_or(area.zero), top - 4.0, y - 6.0)
        };
        let line = areas.iter().fold(Path::default(), line);
        canvas.path("ink", Tone::Soft, &line, " stroke-dasharray=\"3 3\"");
    }
    canvas.append(&rows);
}

/// Each bar of a row in the column of its series; returns where the next row begins.
fn side_by_side(canvas: &mut Canvas, row: &BarRow, areas: &[Area], (y, unit): (f64, &str)) -> f64 {
    for (column, (bar, area)) in row.bars.iter().zip(areas).enumerate() {
        area.bar(canvas, y, *bar, if column == 0 { unit } else { "" }, "");
    }
    y + PITCH
}

/// All bars of a row one below the other, each named where there are several; returns where the next row begins.
fn stacked(canvas: &mut Canvas, it: &Bars, row: &BarRow, area: &Area, (mut y, unit): (f64, &str)) -> f64 {
    for (i, bar) in row.bars.iter().enumerate() {
        let name = if row.bars.len() > 1 { it.series.get(i).map_or("", String::as_str) } else { "" };
        area.bar(canvas, y, *bar, if i == 0 { unit } else { "" }, name);
        y += if i + 1 == row.bars.len() { PITCH } else { THICK + 4.0 };
    }
    y
}

/// Names of the columns and of the limit; returns where the rows begin.
fn heads(canvas: &mut Canvas, it: &Bars, areas: &[Area]) -> f64 {
    let mut y: f64 = 4.0;
    if areas.len() > 1 {
        for (area, name) in areas.iter().zip(&it.series) {
            let how = Type::sans().room(area.wide);
            let lines = canvas.paragraph(area.zero, 14.0, name, 2, how);
            y = y.max(6.0 + lines as f64 * LINE_PX);
        }
    }
    if let (Some((value, name)), Some(area)) = (&it.limit, areas.first()) {
        let text = format!("{name} {}", number(*value));
        let x = area.scale.at(*value).unwrap_or(area.zero);
        let how = Type::sans().tone(Tone::Soft).middle();
        canvas.text(x, y + 11.0, &text, how);
        y += LINE_PX + 5.0;
    }
    y + 4.0
}

/// The rows' labels: beside the bars, or above them where the canvas is narrow and the labels are long.
struct Names {
    indent: f64,
    above: bool,
    width: f64,
}

impl Names {
    fn of(it: &Bars, width: f64) -> Self {
        let widest = it.rows.iter().map(|row| Type::sans().width(&row.label)).fold(0.0, f64::max);
        let share = if width < NARROW { 0.3 } else { 0.38 };
        let above = width < NARROW && widest > width * share;
        let indent = if above || widest == 0.0 { 0.0 } else { widest.min(width * share) + 14.0 };
        Self { indent, above, width }
    }

    fn how(&self) -> Type {
        Type::sans().halo().room(if self.above { self.width } else { (self.indent - 14.0).max(1.0) })
    }

    /// Lines of the label that stand beside the bars.
    fn lines(&self, row: &BarRow) -> usize {
        if self.above { 0 } else { self.how().wrap(&row.label, 2).lines.len() }
    }

    /// Writes a row's label; returns where its bars begin.
    fn put(&self, canvas: &mut Canvas, row: &BarRow, y: f64) -> f64 {
        let lines = canvas.paragraph(0.0, y + 11.5, &row.label, 2, self.how());
        if self.above { y + lines as f64 * LINE_PX + 3.0 } else { y }
    }
}

/// Where the bars of one column are drawn.
struct Area {
    left: f64,
    wide: f64,
    scale: Scale,
    zero: f64,
}

impl Area {
    fn new(it: &Bars, left: f64, wide: f64, named: bool) -> Self {
        let bars = || it.rows.iter().flat_map(|row| &row.bars).map(|bar| bar.value);
        let values = || bars().chain(it.limit.iter().map(|limit| limit.0)).chain([0.0]);
        let figure =
            |bar: &Bar, name: &str| Type::mono().width(&number(bar.value)) + Type::sans().width(name);
        let text = |row: &BarRow| {
            let name = |i: usize| {
                if named && row.bars.len() > 1 { it.series.get(i).map_or("", String::as_str) } else { "" }
            };
            row.bars.iter().enumerate().map(|(i, bar)| figure(bar, name(i))).fold(0.0, f64::max)
        };
        let unit = it.rows.first().map_or(0.0, |row| text(row) + Type::sans().width(&it.unit));
        let reserved = it.rows.iter().map(text).fold(unit, f64::max).min(wide * 0.55) + 18.0;
        let before = if values().any(|v| v < 0.0) { (reserved + 4.0).min(wide * 0.3) } else { 0.0 };
        let scale = Scale::over(values(), false, left + before, left + wide - reserved.min(wide * 0.6));
        let zero = scale.at(0.0).unwrap_or(left);
        Self { left, wide, scale, zero }
    }

    /// One bar and its figure, then the unit or the name of the bar.
    fn bar(&self, canvas: &mut Canvas, y: f64, bar: Bar, unit: &str, name: &str) {
        let end = self.scale.at(bar.value).unwrap_or(self.zero);
        let (from, to) = (self.zero.min(end), self.zero.max(end));
        if bar.value != 0.0 && bar.value.is_finite() {
            let (from, to) = if to - from < 2.0 { (from, from + 2.0) } else { (from, to) };
            canvas.bar(from, y, to - from, THICK, bar.tone);
        } else {
            canvas.path("ink", Tone::Soft, &Path::default().vertical(self.zero, y, y + THICK), "");
        }
        let figure = number(bar.value);
        let tone = if bar.tone == Tone::Refuted { Tone::Refuted } else { Tone::Plain };
        let wide = Type::mono().width(&figure);
        let x = if bar.value < 0.0 && from - wide - 6.0 > self.left {
            from - wide - 6.0
        } else {
            to.max(self.zero) + 6.0
        };
        canvas.text(x, y + 11.5, &figure, Type::mono().tone(tone).halo());
        let rest = [unit, name].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join(" · ");
        let after = (x + wide).max(to) + 6.0;
        let room = self.left + self.wide - after;
        if room > 12.0 {
            canvas.text(after, y + 11.5, &rest, Type::sans().tone(Tone::Soft).room(room).halo());
        }
    }
}
