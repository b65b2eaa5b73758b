//! Figures as character cells.

mod bars;
mod grid;
mod plot;
mod screen;
mod sequence;
mod timeline;

use crate::layout::{columns, wrap};
use crate::{Drawing, Figure, Tone};
use screen::{Screen, clean};

/// Narrower terminals get lines of this width all the same.
const NARROWEST: usize = 40;

/// How a terminal wants its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Columns; at least 40.
    pub width: usize,
    /// ANSI colours, where the terminal has them and the reader wants them.
    pub colour: bool,
}

/// Title, drawing and caption, each line ended by a line feed.
pub fn draw(figure: &Figure, look: Look) -> String {
    let width = look.width.max(NARROWEST);
    let mut screen = Screen::new(width);
    screen.paragraph(0, 0, &figure.title, width, Tone::Plain);
    let drawn = Screen::new(width);
    let drawn = match &figure.drawing {
        Drawing::Sequence(it) => sequence::draw(drawn, it),
        Drawing::Bars(it) => bars::bars(drawn, it),
        Drawing::Histogram(it) => bars::histogram(drawn, it),
        Drawing::Ring(it) => bars::ring(drawn, it),
        Drawing::Lines(it) => plot::draw(drawn, it),
        Drawing::HeatMap(it) => grid::heat_map(drawn, it),
        Drawing::Matrix(it) => grid::matrix(drawn, it),
        Drawing::Table(it) => grid::table(drawn, it),
        Drawing::Timeline(it) => timeline::draw(drawn, it),
    };
    if drawn.height() > 0 {
        screen.gap();
        screen.append(drawn);
    }
    if !figure.caption.is_empty() {
        screen.gap();
        let y = screen.height();
        screen.paragraph(0, y, &figure.caption, width, Tone::Soft);
    }
    screen.text(look.colour)
}

/// Columns of `text` as a measure for [`wrap`].
fn measure(text: &str) -> f64 {
    columns(text) as f64
}

/// `text` in lines of at most `room` columns, the last of at most `most` cut.
fn lines(text: &str, room: usize, most: usize) -> Vec<String> {
    wrap(&clean(text), room as f64, most, measure).lines
}

/// `text` cut to `room` columns.
fn cut(text: &str, room: usize) -> String {
    crate::layout::ellipsise(&clean(text), room as f64, measure)
}
