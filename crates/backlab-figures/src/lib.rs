//! Drawing: one description of a figure, drawn as SVG for a page and as character cells for a terminal,
//! and always readable as a plain [`Table`] as well (for a screen reader, or for copying).
//!
//! Nothing here knows where a figure comes from: experiments describe, this crate draws.

use serde::{Deserialize, Serialize};

mod layout;
mod svg;
mod table;
mod terminal;

pub use terminal::Look;

/// The rules that a page's style sheet needs for inline figures. They take their colours and fonts from the
/// page's variables `--ink --soft --line --accent --refuted --paper --sans --mono`.
pub const CSS: &str = include_str!("figures.css");

/// A drawing with the sentence that says what to see in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Short name, unique in a report: the file name of `--svg`, the heading of the table.
    pub title: String,
    /// What to see, in a sentence or two.
    pub caption: String,
    pub drawing: Drawing,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Drawing {
    Sequence(Sequence),
    Bars(Bars),
    Lines(Lines),
    Histogram(Histogram),
    HeatMap(HeatMap),
    Matrix(Matrix),
    Ring(Ring),
    Timeline(Timeline),
    Table(Table),
}

/// What a mark means; never told by colour alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    /// Ordinary ink.
    #[default]
    Plain,
    /// What one should look at.
    Accent,
    /// What went wrong, was lost, was refuted.
    Refuted,
    /// What is there for context only.
    Soft,
}

/// Messages between participants, in the order in which they happened, time running down.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sequence {
    pub participants: Vec<String>,
    pub rows: Vec<SequenceRow>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "row", rename_all = "snake_case")]
pub enum SequenceRow {
    /// `from` and `to` are indices into `participants`. A lost message is a broken arrow with a cross.
    Message { from: usize, to: usize, label: String, lost: bool, tone: Tone },
    /// A heading across all lanes.
    Step { label: String },
    /// Something one participant did on its own.
    Note { at: usize, label: String, tone: Tone },
    /// `count` messages that are counted but not drawn.
    Gap { count: u64 },
}

/// Horizontal bars: a label, one bar or several per row, the figure at the end of each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Bars {
    /// What the figures count, such as `queries`; may be empty.
    pub unit: String,
    /// Names of the bars within one row; empty or one name where each row has one bar.
    pub series: Vec<String>,
    pub rows: Vec<BarRow>,
    /// A line across all rows, such as a limit: its value and its name.
    pub limit: Option<(f64, String)>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BarRow {
    pub label: String,
    /// One for each of the series, in their order.
    pub bars: Vec<Bar>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    pub value: f64,
    pub tone: Tone,
}

/// Curves over a common x axis.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Lines {
    pub x: Axis,
    pub y: Axis,
    pub series: Vec<Series>,
    /// Vertical lines at x positions, such as the moment of a switch.
    pub marks: Vec<Mark>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    pub label: String,
    pub log: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
    pub tone: Tone,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    pub at: f64,
    pub label: String,
}

/// How often a value fell into each bucket.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    pub x: Axis,
    pub buckets: Vec<Bucket>,
    pub marks: Vec<Mark>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    pub from: f64,
    pub to: f64,
    pub count: u64,
}

/// A grid of magnitudes; every cell also carries its figure.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HeatMap {
    pub unit: String,
    pub rows: Vec<String>,
    pub columns: Vec<String>,
    /// `cells[row][column]`.
    pub cells: Vec<Vec<f64>>,
}

/// A grid of verdicts: a word or a sign per cell, told apart by text and by tone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Matrix {
    pub rows: Vec<String>,
    pub columns: Vec<String>,
    /// `cells[row][column]`.
    pub cells: Vec<Vec<Cell>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// At most about twelve characters.
    pub text: String,
    pub tone: Tone,
}

/// A circle of arcs, each with an owner; the circle runs clockwise from 0.0 (top) to 1.0.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ring {
    /// Names of the owners; an arc names its owner by index.
    pub owners: Vec<String>,
    pub arcs: Vec<Arc>,
    /// The owner to look at, such as the node that has just been added.
    pub highlight: Option<usize>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Arc {
    pub from: f64,
    pub to: f64,
    pub owner: usize,
}

/// Lanes over a common time axis, with spans and single moments.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// Unit of all times, such as `ms` or `virtual s`.
    pub unit: String,
    pub lanes: Vec<Lane>,
    /// Moments that concern all lanes.
    pub marks: Vec<Mark>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    pub name: String,
    pub spans: Vec<Span>,
    pub moments: Vec<Moment>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Span {
    pub from: f64,
    pub to: f64,
    pub label: String,
    pub tone: Tone,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    pub at: f64,
    pub label: String,
    pub tone: Tone,
}

/// Rows of text under column heads; numbers are aligned to the right when drawn.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Sequence {
    /// The lane of a participant; a new one to the right of the others where it has none yet.
    pub fn lane(&mut self, name: &str) -> usize {
        self.participants.iter().position(|it| it == name).unwrap_or_else(|| {
            self.participants.push(name.to_owned());
            self.participants.len() - 1
        })
    }

    /// The width in CSS pixels below which names would have to be cut; it isn't drawn narrower.
    pub fn least_width(&self) -> u32 {
        svg::least_width(self)
    }
}

impl Figure {
    /// A figure from any of the drawings: `Figure::new("queries", "What to see.", bars)`.
    pub fn new(title: impl Into<String>, caption: impl Into<String>, drawing: impl Into<Drawing>) -> Self {
        Self { title: title.into(), caption: caption.into(), drawing: drawing.into() }
    }

    /// The same content as rows and columns.
    pub fn table(&self) -> Table {
        table::table(&self.drawing)
    }

    /// An inline `<svg>` element without scripts and without inline styles: tones are classes (`tone-accent` …)
    /// that the page's style sheet colours, so one drawing serves light and dark. `width` is the width in CSS
    /// pixels for which it is laid out (320 to 1200): a narrow one is laid out anew, not shrunk. A sequence is wider
    /// than that where it has to be: [`Sequence::least_width`].
    pub fn svg(&self, width: u32) -> String {
        svg::element(self, width)
    }

    /// A stand-alone SVG document for a file, with its own style for light and dark.
    pub fn svg_file(&self, width: u32) -> String {
        svg::file(self, width)
    }

    /// Lines of text for a terminal, each at most `look.width` columns wide.
    pub fn terminal(&self, look: Look) -> String {
        terminal::draw(self, look)
    }
}

macro_rules! drawing_from {
    ($($kind:ident)+) => { $(impl From<$kind> for Drawing { fn from(it: $kind) -> Self { Self::$kind(it) } })+ };
}
drawing_from!(Sequence Bars Lines Histogram HeatMap Matrix Ring Timeline Table);
