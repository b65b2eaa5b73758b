//! Tables and matrices: text in columns between thin rules; turned, or one record below the other, where
//! the canvas is too narrow.

use super::canvas::{Canvas, Path, Type};
use crate::layout::{LINE_PX, is_number, turned, with_sign};
use crate::{Cell, Matrix, Table, Tone};

const GAP: f64 = 18.0;
/// A column of text is not made narrower than this.
const NARROWEST: f64 = 64.0;
const MOST_LINES: usize = 4;

struct Grid {
    heads: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

pub fn table(canvas: &mut Canvas, it: &Table) {
    let whole = crate::table::table(&crate::Drawing::Table(it.clone()));
    let cell = |text: String| Cell { text, tone: Tone::Plain };
    let rows = whole.rows.into_iter().map(|row| row.into_iter().map(cell).collect()).collect();
    let grid = Grid { heads: whole.columns, rows };
    match grid.columns(canvas.width) {
        Some(widths) => grid.draw(canvas, &widths),
        None => grid.records(canvas),
    }
}

pub fn matrix(canvas: &mut Canvas, it: &Matrix) {
    let grid = Grid::of(it);
    let turned = grid.turned();
    match (grid.columns(canvas.width), turned.columns(canvas.width)) {
        (Some(widths), _) => grid.draw(canvas, &widths),
        (None, Some(widths)) => turned.draw(canvas, &widths),
        (None, None) => grid.records(canvas),
    }
}

impl Grid {
    /// A matrix with its rows' names as the first column, and a sign in front of what was refuted.
    fn of(it: &Matrix) -> Self {
        let wide = it.cells.iter().map(Vec::len).chain([it.columns.len()]).max().unwrap_or(0);
        let high = it.cells.len().max(it.rows.len());
        let plain = |text: String| Cell { text, tone: Tone::Plain };
        let cell = |row: usize, column: usize| {
            let cell = it.cells.get(row).and_then(|row| row.get(column)).cloned().unwrap_or_default();
            Cell { text: with_sign(&cell.text, cell.tone), tone: cell.tone }
        };
        let name = |row: usize| plain(it.rows.get(row).cloned().unwrap_or_default());
        let mut heads = vec![String::new()];
        heads.extend((0..wide).map(|column| it.columns.get(column).cloned().unwrap_or_default()));
        let rows =
            (0..high).map(|row| std::iter::once(name(row)).chain((0..wide).map(|c| cell(row, c))).collect());
        Self { heads, rows: rows.collect() }
    }

    fn turned(&self) -> Self {
        let (heads, rows) = turned(&self.heads, &self.rows);
        Self { heads, rows }
    }

    fn numeric(&self, column: usize) -> bool {
        let mut cells =
            self.rows.iter().map(|row| row[column].text.as_str()).filter(|t| !t.is_empty()).peekable();
        cells.peek().is_some() && cells.all(is_number)
    }

    fn how(&self, column: usize) -> Type {
        if self.numeric(column) { Type::mono() } else { Type::sans() }
    }

    /// Widths of the columns where all of them fit, the widest narrowed first; `None` where they don't.
    fn columns(&self, width: f64) -> Option<Vec<f64>> {
        let natural = |column: usize| {
            let how = self.how(column);
            let cells = self.rows.iter().map(|row| how.width(&row[column].text)).fold(0.0, f64::max);
            let word =
                self.heads[column].split_whitespace().map(|w| Type::sans().width(w)).fold(0.0, f64::max);
            let head = Type::sans().width(&self.heads[column]).min(word.max(90.0));
            (
                cells.max(head),
                if self.numeric(column) { cells.max(word) } else { word.max(NARROWEST).min(cells.max(head)) },
            )
        };
        let wanted: Vec<_> = (0..self.heads.len()).map(natural).collect();
        let available = width - GAP * self.heads.len().saturating_sub(1) as f64;
        let narrowed = |most: f64| wanted.iter().map(move |&(wish, least)| wish.min(most.max(least)));
        if narrowed(0.0).sum::<f64>() > available {
            return None;
        }
        let (mut low, mut high) = (0.0, wanted.iter().map(|w| w.0).fold(width, f64::max));
        for _ in 0..30 {
            let middle = (low + high) / 2.0;
            if narrowed(middle).sum::<f64>() > available { high = middle } else { low = middle }
        }
        Some(narrowed(low).map(|wide| wide.min(width)).collect())
    }

    fn draw(&self, canvas: &mut Canvas, widths: &[f64]) {
        let left = |column: usize| widths[..column].iter().map(|w| w + GAP).sum::<f64>();
        let right = widths.iter().sum::<f64>() + GAP * widths.len().saturating_sub(1) as f64;
        let heads: Vec<_> =
            self.heads.iter().map(|text| Cell { text: text.clone(), tone: Tone::Soft }).collect();
        let mut y = 0.0;
        for (i, row) in std::iter::once(&heads).chain(&self.rows).enumerate() {
            let mut lines = 1;
            for (column, cell) in row.iter().enumerate() {
                let numeric = self.numeric(column);
                let how = if i == 0 { Type::sans() } else { self.how(column) };
                let how = how.tone(cell.tone).room(widths[column] + 0.5);
                let x = left(column) + if numeric { widths[column] } else { 0.0 };
                let how = if numeric { how.end() } else { how };
                lines = lines.max(canvas.paragraph(x, y + 15.0, &cell.text, MOST_LINES, how));
            }
            y += lines as f64 * LINE_PX + 7.0;
            let rule = Path::default().horizontal(0.0, right, y);
            let class = if i == 0 { "ink thin" } else { "line" };
            canvas.path(class, Tone::Soft, &rule, "");
        }
    }

    /// Each row on its own: its first cell as a heading, then a line for each further column.
    fn records(&self, canvas: &mut Canvas) {
        let heads = self.heads.iter().skip(1).map(|head| Type::sans().width(head)).fold(0.0, f64::max);
        let indent = (heads + 14.0).min(canvas.width * 0.5);
        let mut y = 0.0;
        for row in &self.rows {
            let how = Type::sans().room(canvas.width);
            let lines = canvas.paragraph(0.0, y + 15.0, &row[0].text, MOST_LINES, how).max(1);
            y += lines as f64 * LINE_PX + 4.0;
            canvas.path("line", Tone::Plain, &Path::default().horizontal(0.0, canvas.width, y), "");
            for (column, cell) in row.iter().enumerate().skip(1) {
                let head = Type::sans().tone(Tone::Soft).room(indent - 14.0);
                let how = self.how(column).tone(cell.tone).room(canvas.width - indent);
                let lines = canvas.paragraph(0.0, y + 15.0, &self.heads[column], 2, head);
                let lines = lines.max(canvas.paragraph(indent, y + 15.0, &cell.text, MOST_LINES, how)).max(1);
                y += lines as f64 * LINE_PX + 3.0;
            }
            y += 12.0;
        }
    }
}
