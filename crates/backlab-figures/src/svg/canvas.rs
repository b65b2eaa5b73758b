//! What all drawings are made of: paths and text that keep within the canvas.

use crate::Tone;
use crate::layout::{Font, LINE_PX, Wrapped, ellipsise, text_width, wrap};
use std::fmt::Write;

/// Collects elements; grows downwards with what is drawn.
pub struct Canvas {
    pub width: f64,
    height: f64,
    body: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text is set.
#[derive(Debug, Clone, Copy)]
pub struct Type {
    font: Font,
    tone: Tone,
    anchor: Anchor,
    room: f64,
    halo: bool,
}

impl Type {
    pub fn sans() -> Self {
        Self { font: Font::Sans, tone: Tone::Plain, anchor: Anchor::Start, room: f64::INFINITY, halo: false }
    }

    pub fn mono() -> Self {
        Self { font: Font::Mono, ..Self::sans() }
    }

    pub fn tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    pub fn middle(self) -> Self {
        Self { anchor: Anchor::Middle, ..self }
    }

    pub fn end(self) -> Self {
        Self { anchor: Anchor::End, ..self }
    }

    /// The most that the text may take, in CSS pixels.
    pub fn room(self, room: f64) -> Self {
        Self { room, ..self }
    }

    /// Clears a rim around the letters, for text that crosses lines.
    pub fn halo(self) -> Self {
        Self { halo: true, ..self }
    }

    pub fn width(self, text: &str) -> f64 {
        text_width(text, self.font)
    }

    pub fn wrap(self, text: &str, most: usize) -> Wrapped {
        wrap(text, self.room, most, |s| self.width(s))
    }
}

impl Canvas {
    pub fn new(width: f64) -> Self {
        Self { width, height: 0.0, body: String::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Makes sure that the canvas reaches down to `y`.
    pub fn reach(&mut self, y: f64) {
        self.height = self.height.max(y);
    }

    /// The height and the elements.
    pub fn finish(self) -> (f64, String) {
        (self.height.ceil(), self.body)
    }

    /// Puts what another canvas holds on top of this one.
    pub fn append(&mut self, other: &Canvas) {
        self.reach(other.height);
        self.body.push_str(&other.body);
    }

    /// One line of text with its baseline at `y`, cut to its room (the whole of it then is its `<title>`) and
    /// moved sideways where it would leave the canvas.
    pub fn text(&mut self, x: f64, y: f64, text: &str, how: Type) {
        let shown = ellipsise(text, how.room.min(self.width), |s| how.width(s));
        let whole = (shown != text).then_some(text);
        self.put_text(x, y, &shown, whole, how);
    }

    /// A text wrapped to `how.room` in at most `most` lines, the first baseline at `y`; returns how many lines
    /// it took.
    pub fn paragraph(&mut self, x: f64, y: f64, text: &str, most: usize, how: Type) -> usize {
        let wrapped = how.wrap(text, most);
        let widest = wrapped.lines.iter().map(|line| how.width(line)).fold(0.0, f64::max);
        let x = if how.anchor == Anchor::Start { x.min(self.width - widest).max(0.0) } else { x };
        for (i, line) in wrapped.lines.iter().enumerate() {
            let whole = (wrapped.cut && i + 1 == wrapped.lines.len()).then_some(text);
            self.put_text(x, y + i as f64 * LINE_PX, line, whole, how);
        }
        wrapped.lines.len()
    }

    fn put_text(&mut self, x: f64, y: f64, shown: &str, whole: Option<&str>, how: Type) {
        if shown.is_empty() {
            return;
        }
        let width = how.width(shown);
        let (before, anchor) = match how.anchor {
            Anchor::Start => (0.0, ""),
            Anchor::Middle => (width / 2.0, " text-anchor=\"middle\""),
            Anchor::End => (width, " text-anchor=\"end\""),
        };
        let start = (x - before).min(self.width - width).max(0.0);
        let mono = if how.font == Font::Mono { "num" } else { "" };
        let halo = if how.halo { "halo" } else { "" };
        let class = class(&[mono, halo, tone(how.tone)]);
        let title = whole.map(|text| format!("<title>{}</title>", escape(text))).unwrap_or_default();
        let (x, y, shown) = (n(start + before), n(y), escape(shown));
        write!(self.body, "<text x=\"{x}\" y=\"{y}\"{class}{anchor}>{title}{shown}</text>").ok();
        self.reach(y.parse::<f64>().unwrap_or(0.0) + 5.0);
    }

    /// A path; `attributes` are further presentation attributes, as ` name="value"`.
    pub fn path(&mut self, classes: &str, it: Tone, path: &Path, attributes: &str) {
        if !path.d.is_empty() {
            let class = class(&[classes, tone(it)]);
            write!(self.body, "<path{class}{attributes} d=\"{}\"/>", path.d).ok();
            self.reach(path.bottom + 1.0);
        }
    }

    /// As [`Canvas::path`], with a text that shows when one points at it.
    pub fn path_with_title(&mut self, classes: &str, it: Tone, path: &Path, attributes: &str, title: &str) {
        if !path.d.is_empty() {
            let (class, title) = (class(&[classes, tone(it)]), escape(title));
            write!(self.body, "<path{class}{attributes} d=\"{}\"><title>{title}</title></path>", path.d).ok();
            self.reach(path.bottom + 1.0);
        }
    }

    /// A bar: filled, or outlined and hatched where its tone is *refuted*.
    pub fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, it: Tone) {
        if it == Tone::Refuted {
            self.path("mass", it, &Path::default().rect(x, y, width, height), " fill-opacity=\".18\"");
            self.path("ink thin", it, &hatch(x, y, width, height).rect(x, y, width, height), "");
        } else {
            let opacity = match it {
                Tone::Soft => " fill-opacity=\".45\"",
                Tone::Plain => " fill-opacity=\".75\"",
                _ => "",
            };
            self.path("mass", it, &Path::default().rect(x, y, width, height), opacity);
        }
    }

    /// Dashes along a circle. `dashes` alternates gap and dash in pixels, clockwise from the top, and ends with a
    /// gap: thousands of arcs in one short attribute.
    pub fn dashed_circle(&mut self, at: (f64, f64), r: f64, dashes: &[f64], it: Tone, attributes: &str) {
        let pattern = dashes.iter().map(|&d| n(d)).collect::<Vec<_>>().join(" ");
        let (class, x, y) = (class(&["band", tone(it)]), n(at.0), n(at.1));
        write!(
            self.body,
            "<circle{class}{attributes} cx=\"{x}\" cy=\"{y}\" r=\"{r:.4}\" stroke-dasharray=\"0 {pattern}\" \
             transform=\"rotate(-90 {x} {y})\"/>"
        )
        .ok();
        self.reach(at.1 + r);
    }
}

/// Diagonal lines across a rectangle, each cut at its edges.
pub fn hatch(x: f64, y: f64, width: f64, height: f64) -> Path {
    let mut path = Path::default();
    let mut start = 4.0 - height;
    while start < width {
        let (left, right) = (start.max(0.0), (start + height).min(width));
        if right - left > 0.5 {
            path =
                path.to(x + left, y + height - (left - start)).line(x + right, y + height - (right - start));
        }
        start += 5.0;
    }
    path
}

/// The outline of something, in SVG's path language.
#[derive(Debug, Clone, Default)]
pub struct Path {
    d: String,
    bottom: f64,
}

impl Path {
    pub fn to(self, x: f64, y: f64) -> Self {
        self.push('M', x, y)
    }

    pub fn line(self, x: f64, y: f64) -> Self {
        self.push('L', x, y)
    }

    fn push(mut self, command: char, x: f64, y: f64) -> Self {
        write!(self.d, "{command}{} {}", n(x), n(y)).ok();
        self.bottom = self.bottom.max(y);
        self
    }

    pub fn horizontal(self, from: f64, to: f64, y: f64) -> Self {
        self.to(from, y).line(to, y)
    }

    pub fn vertical(self, x: f64, from: f64, to: f64) -> Self {
        self.to(x, from).line(x, to)
    }

    pub fn rect(mut self, x: f64, y: f64, width: f64, height: f64) -> Self {
        write!(self.d, "M{} {}h{}v{}h{}z", n(x), n(y), n(width), n(height), n(-width)).ok();
        self.bottom = self.bottom.max(y + height);
        self
    }

    /// A cross of the size of a small letter around a point.
    pub fn cross(self, x: f64, y: f64) -> Self {
        let mut path = self.to(x - 3.5, y - 3.5);
        path.d.push_str("l7 7m0-7-7 7");
        path.bottom = path.bottom.max(y + 3.5);
        path
    }

    /// A dot, for paths of class `dots`.
    pub fn dot(mut self, x: f64, y: f64) -> Self {
        self = self.to(x, y);
        self.d.push_str("h0");
        self
    }

    /// Two strokes that make an arrow's point at (`x`, `y`); `way` is 1 for one that flies to the right and −1
    /// for one to the left.
    pub fn point(self, x: f64, y: f64, way: f64) -> Self {
        self.to(x - 7.0 * way, y - 4.0).line(x, y).line(x - 7.0 * way, y + 4.0)
    }
}

fn tone(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "tone-plain",
        Tone::Accent => "tone-accent",
        Tone::Refuted => "tone-refuted",
        Tone::Soft => "tone-soft",
    }
}

fn class(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().filter(|name| !name.is_empty()).copied().collect();
    format!(" class=\"{}\"", names.join(" "))
}

/// A coordinate with at most one decimal.
pub fn n(value: f64) -> String {
    let rounded = if value.is_finite() { (value * 10.0).round() / 10.0 } else { 0.0 };
    if rounded == 0.0 { "0".to_owned() } else { rounded.to_string() }
}

/// `text` for an element's content or an attribute; characters that XML doesn't know become U+FFFD.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(' '),
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
    out
}
