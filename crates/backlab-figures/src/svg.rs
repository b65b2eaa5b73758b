//! Figures as SVG.
use crate::Figure;
pub fn element(figure: &Figure, _width: u32) -> String {
    format!("<svg role=\"img\" aria-label=\"{}\"></svg>", figure.title.len())
}
pub fn file(figure: &Figure, width: u32) -> String {
    element(figure, width)
}
