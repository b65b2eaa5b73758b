//! Figures as character cells.
use crate::Figure;
/// How a terminal wants its text.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Columns; at least 40.
    pub width: usize,
    /// ANSI colours, where the terminal has them and the reader wants them.
    pub colour: bool,
}
pub fn draw(figure: &Figure, _: Look) -> String {
    figure.caption.clone()
}
