//! A page of character cells that knows how wide each character is.

use crate::Tone;
use std::fmt::Write;
use unicode_width::UnicodeWidthChar;

/// Stands in the second cell of a character that is two columns wide.
const SECOND_HALF: char = '\0';

pub struct Screen {
    pub width: usize,
    rows: Vec<Vec<(char, Tone)>>,
}

/// `text` without what has no place in a cell: control characters become spaces, and marks that have no width
/// of their own (joiners, variation selectors, combining marks) are dropped, since terminals disagree on them.
pub fn clean(text: &str) -> String {
    let shown = |c: char| match c.width() {
        None => Some(' '),
        Some(0) => None,
        Some(_) => Some(c),
    };
    text.chars().filter_map(shown).collect()
}

impl Screen {
    pub fn new(width: usize) -> Self {
        Self { width, rows: vec![] }
    }

    pub fn height(&self) -> usize {
        self.rows.len()
    }

    /// Makes sure that row `y` exists.
    pub fn reach(&mut self, y: usize) {
        while self.rows.len() <= y {
            self.rows.push(vec![(' ', Tone::Plain); self.width]);
        }
    }

    /// An empty row at the end.
    pub fn gap(&mut self) {
        self.reach(self.rows.len());
    }

    pub fn append(&mut self, other: Screen) {
        self.rows.extend(other.rows);
    }

    /// Writes `text` from column `x` on, cut at the right edge; returns the column after it.
    pub fn put(&mut self, x: usize, y: usize, text: &str, tone: Tone) -> usize {
        self.reach(y);
        let mut x = x;
        for c in clean(text).chars() {
            let wide = c.width().unwrap_or(1);
            if x + wide > self.width {
                break;
            }
            for column in x..x + wide {
                self.clear(column, y);
            }
            self.rows[y][x] = (c, tone);
            if wide == 2 {
                self.rows[y][x + 1] = (SECOND_HALF, tone);
            }
            x += wide;
        }
        x
    }

    /// Empties a cell, and the other half where it belonged to a wide character.
    fn clear(&mut self, x: usize, y: usize) {
        let row = &mut self.rows[y];
        if row[x].0 == SECOND_HALF && x > 0 {
            row[x - 1].0 = ' ';
        }
        if row.get(x + 1).is_some_and(|next| next.0 == SECOND_HALF) {
            row[x + 1].0 = ' ';
        }
        row[x].0 = ' ';
    }

    /// Writes `text` so that it ends before column `end`.
    pub fn put_before(&mut self, end: usize, y: usize, text: &str, tone: Tone) {
        let start = end.saturating_sub(crate::layout::columns(&clean(text)));
        self.put(start, y, text, tone);
    }

    /// Writes `text` wrapped to `room` columns from row `y` on; returns how many rows it took.
    pub fn paragraph(&mut self, x: usize, y: usize, text: &str, room: usize, tone: Tone) -> usize {
        let lines = super::lines(text, room, 12);
        for (i, line) in lines.iter().enumerate() {
            self.put(x, y + i, line, tone);
        }
        lines.len()
    }

    /// The rows without trailing blanks, each ended by a line feed.
    pub fn text(&self, colour: bool) -> String {
        let mut out = String::new();
        for row in &self.rows {
            let end = row.iter().rposition(|cell| cell.0 != ' ').map_or(0, |last| last + 1);
            for same in row[..end].chunk_by(|a, b| a.1 == b.1) {
                let text: String = same.iter().map(|cell| cell.0).filter(|&c| c != SECOND_HALF).collect();
                let code = match same[0].1 {
                    Tone::Plain => "",
                    Tone::Accent => "36",
                    Tone::Refuted => "31",
                    Tone::Soft => "2",
                };
                if colour && !code.is_empty() && !text.trim().is_empty() {
                    write!(out, "\x1b[{code}m{text}\x1b[0m").ok();
                } else {
                    out.push_str(&text);
                }
            }
            out.push('\n');
        }
        out
    }
}
