//! A grid of magnitudes: the darker, the more.

use super::canvas::{Canvas, Path, Type};
use crate::layout::{LINE_PX, Scale, number};
use crate::{HeatMap, Tone};

/// Cells are never darker than this, so that the figures in them stay readable.
const DARKEST: f64 = 0.5;
const HIGH: f64 = 24.0;
const GAP: f64 = 2.0;

pub fn draw(canvas: &mut Canvas, it: &HeatMap) {
    let grid = Grid::of(it);
    if grid.wide == 0 || grid.high == 0 {
        return;
    }
    if !grid.fits(canvas.width) && grid.high < grid.wide {
        grid.turned().draw(canvas, &it.unit);
    } else {
        grid.draw(canvas, &it.unit);
    }
}

struct Grid {
    rows: Vec<String>,
    columns: Vec<String>,
    /// `cells[row][column]`, every row as long as the others.
    cells: Vec<Vec<Option<f64>>>,
    wide: usize,
    high: usize,
}

impl Grid {
    fn of(it: &HeatMap) -> Self {
        let wide = it.cells.iter().map(Vec::len).chain([it.columns.len()]).max().unwrap_or(0);
        let high = it.cells.len().max(it.rows.len());
        let name = |names: &[String], i: usize| names.get(i).cloned().unwrap_or_default();
        Self {
            rows: (0..high).map(|i| name(&it.rows, i)).collect(),
            columns: (0..wide).map(|i| name(&it.columns, i)).collect(),
            cells: (0..high)
                .map(|row| (0..wide).map(|column| it.cells.get(row)?.get(column).copied()).collect())
                .collect(),
            wide,
            high,
        }
    }

    fn turned(self) -> Self {
        let cells = (0..self.wide).map(|c| (0..self.high).map(|r| self.cells[r][c]).collect()).collect();
        Self { rows: self.columns, columns: self.rows, cells, wide: self.high, high: self.wide }
    }

    fn indent(&self, width: f64) -> f64 {
        let widest = self.rows.iter().map(|name| Type::sans().width(name)).fold(0.0, f64::max);
        if widest == 0.0 { 0.0 } else { widest.min(width * 0.3) + 12.0 }
    }

    /// Width of one cell.
    fn room(&self, width: f64) -> f64 {
        ((width - self.indent(width)) / self.wide as f64 - GAP).min(96.0)
    }

    fn widest_figure(&self) -> f64 {
        let figures = self.cells.iter().flatten().flatten();
        figures.map(|&v| Type::mono().width(&number(v))).fold(0.0, f64::max) + 6.0
    }

    /// Whether each cell has room for its figure and each column for its name.
    fn fits(&self, width: f64) -> bool {
        let room = self.room(width);
        self.widest_figure() <= room && self.name_every(room) == 1
    }

    /// Only each of so many columns is named, where the names would touch.
    fn name_every(&self, room: f64) -> usize {
        let words = self.columns.iter().flat_map(|name| name.split_whitespace());
        let widest = words.map(|word| Type::sans().width(word)).fold(0.0, f64::max);
        ((widest.min(60.0) + 4.0) / (room + GAP)).ceil().max(1.0) as usize
    }

    fn draw(&self, canvas: &mut Canvas, unit: &str) {
        let (indent, room) = (self.indent(canvas.width), self.room(canvas.width).max(0.5));
        let shade =
            Scale::over(self.cells.iter().flatten().flatten().copied().chain([0.0]), false, 0.0, DARKEST);
        let mut top = if unit.is_empty() { 0.0 } else { LINE_PX + 4.0 };
        canvas.text(0.0, 12.0, unit, Type::sans().tone(Tone::Soft));
        top += self.heads(canvas, (indent, room), top);
        for (row, name) in self.rows.iter().enumerate() {
            let y = top + row as f64 * (HIGH + GAP);
            canvas.text(0.0, y + 16.0, name, Type::sans().room((indent - 12.0).max(1.0)));
            for (column, value) in self.cells[row].iter().enumerate() {
                let Some(value) = value else { continue };
                let x = indent + column as f64 * (room + GAP);
                let opacity = format!(" fill-opacity=\"{:.2}\"", shade.at(*value).unwrap_or(0.0));
                let cell = Path::default().rect(x, y, room, HIGH);
                let figure = number(*value);
                if Type::mono().width(&figure) <= room - 2.0 {
                    canvas.path("mass", Tone::Accent, &cell, &opacity);
                    canvas.text(x + room / 2.0, y + 16.0, &figure, Type::mono().middle());
                } else {
                    let title = format!("{name} · {}: {figure}", self.columns[column]);
                    canvas.path_with_title("mass", Tone::Accent, &cell, &opacity, &title);
                }
            }
        }
        canvas.reach(top + self.high as f64 * (HIGH + GAP));
    }

    /// The columns' names; returns how much room they took.
    fn heads(&self, canvas: &mut Canvas, (indent, room): (f64, f64), top: f64) -> f64 {
        let every = self.name_every(room);
        let how = Type::sans().tone(Tone::Soft).middle().room((room + GAP) * every as f64 - 4.0);
        let shown = || self.columns.iter().enumerate().step_by(every);
        let most = shown().map(|(_, name)| how.wrap(name, 2).lines.len()).max().unwrap_or(0);
        for (column, name) in shown() {
            let lines = how.wrap(name, 2).lines.len();
            let x = indent + column as f64 * (room + GAP) + room / 2.0;
            canvas.paragraph(x, top + 12.0 + (most - lines) as f64 * LINE_PX, name, 2, how);
        }
        most as f64 * LINE_PX + if most > 0 { 5.0 } else { 0.0 }
    }
}
