//! Tables, matrices and heat maps in columns; turned, or one record below the other, where they don't fit.

use super::screen::{Screen, clean};
use super::{cut, lines};
use crate::layout::{Scale, columns, is_number, turned};
use crate::{Cell, Drawing, HeatMap, Matrix, Table, Tone};

/// A column of text is not made narrower than this.
const NARROWEST: usize = 9;
const MOST_LINES: usize = 4;

struct Grid {
    heads: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

pub fn table(screen: Screen, it: &Table) -> Screen {
    let grid = Grid::of(crate::table::table(&Drawing::Table(it.clone())), |_, _| Tone::Plain);
    match grid.widths(screen.width) {
        Some(widths) => grid.draw(screen, &widths),
        None => grid.records(screen),
    }
}

pub fn matrix(screen: Screen, it: &Matrix) -> Screen {
    let tone = |row: usize, column: usize| {
        it.cells.get(row).and_then(|row| row.get(column)).map_or(Tone::Plain, |c| c.tone)
    };
    Grid::of(crate::table::table(&Drawing::Matrix(it.clone())), tone).draw_either_way(screen)
}

/// Each figure behind a character as dark as it is large.
pub fn heat_map(screen: Screen, it: &HeatMap) -> Screen {
    let all = it.cells.iter().flatten().copied().chain([0.0]);
    let shade = Scale::over(all, false, 0.0, 4.0);
    let text = |value: f64| {
        let dark = shade.at(value).map_or(0, |at| at.round() as usize);
        format!("{} {}", [' ', '░', '▒', '▓', '█'][dark.min(4)], crate::layout::number(value))
    };
    let mut whole = crate::table::table(&Drawing::HeatMap(it.clone()));
    for (row, cells) in whole.rows.iter_mut().zip(&it.cells) {
        row.iter_mut().skip(1).zip(cells).for_each(|(cell, &value)| *cell = text(value));
    }
    Grid::of(whole, |_, _| Tone::Plain).draw_either_way(screen)
}

impl Grid {
    /// `tone` is asked for each cell after a row's name.
    fn of(table: Table, tone: impl Fn(usize, usize) -> Tone) -> Self {
        let cell = |row: usize, column: usize, text: String| Cell {
            text: clean(&text),
            tone: if column == 0 { Tone::Plain } else { tone(row, column - 1) },
        };
        let row = |(r, row): (usize, Vec<String>)| {
            row.into_iter().enumerate().map(|(c, text)| cell(r, c, text)).collect()
        };
        Self { heads: table.columns, rows: table.rows.into_iter().enumerate().map(row).collect() }
    }

    fn draw_either_way(&self, screen: Screen) -> Screen {
        if let Some(widths) = self.widths(screen.width) {
            return self.draw(screen, &widths);
        }
        let turned = self.turned();
        match turned.widths(screen.width) {
            Some(widths) => turned.draw(screen, &widths),
            None => self.records(screen),
        }
    }

    fn turned(&self) -> Self {
        let (heads, rows) = turned(&self.heads, &self.rows);
        Self { heads, rows }
    }

    fn numeric(&self, column: usize) -> bool {
        let mut cells =
            self.rows.iter().map(|row| row[column].text.as_str()).filter(|t| !t.is_empty()).peekable();
        let figure = |text: &str| is_number(text.trim_start_matches([' ', '░', '▒', '▓', '█']));
        cells.peek().is_some() && cells.all(figure)
    }

    /// Widths of the columns where all of them fit, two spaces apart.
    fn widths(&self, width: usize) -> Option<Vec<usize>> {
        let wanted = |column: usize| {
            let cells = self.rows.iter().map(|row| columns(&row[column].text)).max().unwrap_or(0);
            let head = clean(&self.heads[column]);
            let word = head.split_whitespace().map(columns).max().unwrap_or(0);
            let wish = cells.max(columns(&head).min(word.max(14)));
            (wish, if self.numeric(column) { cells.max(word) } else { word.max(NARROWEST).min(wish) })
        };
        let wanted: Vec<_> = (0..self.heads.len()).map(wanted).collect();
        let available = width.checked_sub(2 * self.heads.len().saturating_sub(1))?;
        let narrowed = |most: usize| wanted.iter().map(move |&(wish, least)| wish.min(most.max(least)));
        let most = (0..=width).rev().find(|&most| narrowed(most).sum::<usize>() <= available)?;
        Some(narrowed(most).collect())
    }

    fn draw(&self, mut screen: Screen, widths: &[usize]) -> Screen {
        let heads: Vec<_> =
            self.heads.iter().map(|text| Cell { text: clean(text), tone: Tone::Soft }).collect();
        let right = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
        for (i, row) in std::iter::once(&heads).chain(&self.rows).enumerate() {
            let y = screen.height();
            let mut x = 0;
            for (column, (cell, &wide)) in row.iter().zip(widths).enumerate() {
                for (line, text) in lines(&cell.text, wide.max(1), MOST_LINES).iter().enumerate() {
                    if self.numeric(column) {
                        screen.put_before(x + wide, y + line, text, cell.tone);
                    } else {
                        screen.put(x, y + line, text, cell.tone);
                    }
                }
                x += wide + 2;
            }
            screen.reach(y);
            if i == 0 {
                let y = screen.height();
                screen.put(0, y, &"─".repeat(right), Tone::Soft);
            }
        }
        screen
    }

    fn records(&self, mut screen: Screen) -> Screen {
        let heads = self.heads.iter().skip(1).map(|head| columns(&clean(head))).max().unwrap_or(0);
        let indent = (heads + 4).min(screen.width / 2);
        for row in &self.rows {
            let y = screen.height();
            screen.paragraph(0, y, &row[0].text, screen.width, Tone::Plain);
            for (head, cell) in self.heads.iter().zip(row).skip(1) {
                let y = screen.height();
                screen.put(2, y, &cut(head, indent - 4), Tone::Soft);
                screen.paragraph(indent, y, &cell.text, screen.width - indent, cell.tone);
            }
        }
        screen
    }
}
