//! Figures as SVG: thin lines, labels beside what they name, colours only through classes.

mod bars;
mod canvas;
mod grid;
mod heat_map;
mod histogram;
mod lines;
mod plot;
mod ring;
mod sequence;
mod timeline;

use crate::{CSS, Drawing, Figure};
use canvas::{Canvas, Type, escape, n};

/// The widths, in CSS pixels, for which figures are laid out.
const WIDTHS: std::ops::RangeInclusive<u32> = 320..=1200;
const WIDEST: f64 = *WIDTHS.end() as f64;
/// Narrower than this, labels go above what they name instead of beside it.
const NARROW: f64 = 480.0;

/// The colours of a figure that stands alone; a page brings its own.
const FILE_COLOURS: &str = "svg.figure { --ink: #1c1b19; --soft: #6b675f; --line: #e4dfd4; --wash: #f3efe6; \
    --accent: #0d6a66; --refuted: #b23a1e; --paper: #fbfaf6; --sans: system-ui, sans-serif; \
    --mono: ui-monospace, Menlo, Consolas, monospace; background: var(--paper); }
@media (prefers-color-scheme: dark) { svg.figure { --ink: #e7e4dd; --soft: #9a958a; --line: #2c2d33; \
    --wash: #1c1d22; --accent: #5cc3bb; --refuted: #f08a6c; --paper: #15161a; } }";

/// An inline element, laid out for `width` CSS pixels.
pub fn element(figure: &Figure, width: u32) -> String {
    document(figure, width, "")
}

/// What [`crate::Sequence::least_width`] says.
pub fn least_width(it: &crate::Sequence) -> u32 {
    sequence::least_width(&it.participants).min(WIDEST) as u32
}

/// A document of its own, with its style and a margin.
pub fn file(figure: &Figure, width: u32) -> String {
    let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    format!("{head}{}\n", document(figure, width, &format!("<style>{FILE_COLOURS}\n{CSS}</style>")))
}

fn document(figure: &Figure, width: u32, style: &str) -> String {
    let mut canvas = Canvas::new(f64::from(width.clamp(*WIDTHS.start(), *WIDTHS.end())));
    draw(&mut canvas, &figure.drawing);
    if canvas.is_empty() {
        canvas.text(0.0, 18.0, "Nothing to draw.", Type::sans().tone(crate::Tone::Soft));
    }
    let margin = if style.is_empty() { 0.0 } else { 16.0 };
    let width = canvas.width;
    let (height, body) = canvas.finish();
    let (wide, high) = (width + 2.0 * margin, height + 2.0 * margin);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"figure\" role=\"img\" width=\"{}\" height=\"{}\" \
         viewBox=\"{} {} {} {}\"><title>{}</title><desc>{}</desc>{style}{body}</svg>",
        n(wide),
        n(high),
        n(-margin),
        n(-margin),
        n(wide),
        n(high),
        escape(&figure.title),
        escape(&figure.caption),
    )
}

fn draw(canvas: &mut Canvas, drawing: &Drawing) {
    match drawing {
        Drawing::Sequence(it) => sequence::draw(canvas, it),
        Drawing::Bars(it) => bars::draw(canvas, it),
        Drawing::Lines(it) => lines::draw(canvas, it),
        Drawing::Histogram(it) => histogram::draw(canvas, it),
        Drawing::HeatMap(it) => heat_map::draw(canvas, it),
        Drawing::Matrix(it) => grid::matrix(canvas, it),
        Drawing::Ring(it) => ring::draw(canvas, it),
        Drawing::Timeline(it) => timeline::draw(canvas, it),
        Drawing::Table(it) => grid::table(canvas, it),
    }
}
