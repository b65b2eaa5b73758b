//! Messages between lanes, time running down.

use super::WIDEST;
use super::canvas::{Canvas, Path, Type};
use crate::layout::{LINE_PX, with_repeats_counted, with_sign};
use crate::{Sequence, SequenceRow, Tone};

/// Lanes are not drawn further apart than this, however wide the canvas is.
const WIDEST_GAP: f64 = 320.0;
/// Nor nearer than this, while there is room: an arrow has to be seen between them.
const NEAREST_GAP: f64 = 44.0;
const BETWEEN_NAMES: f64 = 8.0;
/// A longer word of a name may be cut.
const LONGEST_WORD: f64 = 110.0;
/// A label may grow this wide before it is wrapped, even where its arrow is shorter.
const LABEL_ROOM: f64 = 300.0;
const SELF_LOOP: f64 = 26.0;

struct Lanes {
    at: Vec<f64>,
    /// How wide each name may be.
    rooms: Vec<f64>,
    width: f64,
}

/// The least width in which every name stands beside its neighbours with all its words whole.
pub fn least_width(names: &[String]) -> f64 {
    Needs::of(names).width()
}

pub fn draw(canvas: &mut Canvas, it: &Sequence) {
    if it.participants.is_empty() && it.rows.is_empty() {
        return;
    }
    // Cut names tell nobody who speaks: with many lanes the drawing is wider than was asked for, and scrolls. Its
    // headings stay within that width, and are read without scrolling.
    let page = canvas.width;
    canvas.width = page.max(least_width(&it.participants).min(WIDEST));
    let lanes = Lanes::over(&it.participants, canvas.width);
    let top = heads(canvas, &lanes, &it.participants);
    let mut rows = Canvas::new(canvas.width);
    let mut y = top;
    let mut gaps = vec![];
    for row in &with_repeats_counted(&it.rows) {
        let start = y;
        y += match row {
            SequenceRow::Message { from, to, label, lost, tone } => {
                match (lanes.get(*from), lanes.get(*to)) {
                    (Some(a), Some(b)) if from == to => {
                        turn(&mut rows, &lanes, (a, b, y), &with_sign(label, *tone), *tone)
                    }
                    (Some(a), Some(b)) => message(&mut rows, &lanes, (a, b, y), label, (*lost, *tone)),
                    _ => note(&mut rows, &lanes, (0.0, y), label, *tone),
                }
            }
            SequenceRow::Step { label } => step(&mut rows, y, label, page),
            SequenceRow::Note { at, label, tone } => {
                note(&mut rows, &lanes, (lanes.get(*at).unwrap_or(0.0), y), label, *tone)
            }
            SequenceRow::Gap { count } => gap(&mut rows, &lanes, y, *count),
        };
        if matches!(row, SequenceRow::Gap { .. }) {
            gaps.push((start + 2.0, y));
        }
    }
    lifelines(canvas, &lanes, (top, y + 8.0), &gaps);
    canvas.append(&rows);
}

/// What the names need of the width.
struct Needs {
    /// Of each name the longest word.
    words: Vec<f64>,
    /// From lane to lane.
    gaps: Vec<f64>,
}

impl Needs {
    fn of(names: &[String]) -> Self {
        let word = |name: &String| {
            let words = name.split_whitespace().map(|word| Type::sans().width(word));
            words.fold(0.0, f64::max).clamp(16.0, LONGEST_WORD)
        };
        let words: Vec<_> = names.iter().map(word).collect();
        let gap = |pair: &[f64]| ((pair[0] + pair[1]) / 2.0 + BETWEEN_NAMES).max(NEAREST_GAP);
        Self { gaps: words.windows(2).map(gap).collect(), words }
    }

    fn width(&self) -> f64 {
        let edges = [self.words.first(), self.words.last()].map(|word| word.map_or(0.0, |word| word / 2.0));
        edges.iter().chain(&self.gaps).sum::<f64>().ceil()
    }
}

impl Lanes {
    /// At equal distances, or where that would cut a name, at such as the names need.
    fn over(participants: &[String], width: f64) -> Self {
        let needs = Needs::of(participants);
        let even = Self::even(participants, width);
        let mut words = needs.words.iter().zip(&even.rooms);
        if words.all(|(word, room)| word <= room) || needs.width() > width {
            return even;
        }
        let spare = (width - needs.width()) / needs.gaps.len() as f64;
        let mut at = vec![needs.words[0] / 2.0];
        at.extend(needs.gaps.iter().scan(at[0], |x, needed| {
            *x += needed + spare;
            Some(*x)
        }));
        Self { at, rooms: needs.words.iter().map(|word| word + spare / 2.0).collect(), width }
    }

    /// Spreads the lanes so that the first and the last head just fit.
    fn even(participants: &[String], width: f64) -> Self {
        let count = participants.len().max(1) as f64;
        let half = |name: Option<&String>| {
            let name = name.map_or(0.0, |name| Type::sans().width(name));
            (name / 2.0).clamp(8.0, (width / (2.0 * count)).max(8.0))
        };
        let (left, right) = (half(participants.first()), half(participants.last()));
        let gap = ((width - left - right) / (count - 1.0).max(1.0)).min(WIDEST_GAP);
        let at: Vec<_> = (0..participants.len()).map(|i| left + i as f64 * gap).collect();
        let between = if at.len() > 1 { gap } else { width };
        // A name that just fits must not be cut by the last bit of a sum.
        let edge = |x: &f64| 2.0 * x.min(width - x) + 0.1;
        let room = |x: &f64| (between - BETWEEN_NAMES).min(edge(x).max(between / 2.0)).max(12.0);
        Self { rooms: at.iter().map(room).collect(), at, width }
    }

    fn get(&self, lane: usize) -> Option<f64> {
        self.at.get(lane).copied()
    }

    fn first(&self) -> f64 {
        self.get(0).unwrap_or(0.0)
    }
}

/// The names above the lanes; returns where the lanes begin.
fn heads(canvas: &mut Canvas, lanes: &Lanes, names: &[String]) -> f64 {
    let how = |room: f64| Type::sans().middle().room(room);
    let lines: Vec<_> =
        names.iter().zip(&lanes.rooms).map(|(name, room)| how(*room).wrap(name, 3).lines.len()).collect();
    let most = lines.iter().max().copied().unwrap_or(0);
    for ((name, (&x, &room)), count) in names.iter().zip(lanes.at.iter().zip(&lanes.rooms)).zip(lines) {
        canvas.paragraph(x, 14.0 + (most - count) as f64 * LINE_PX, name, 3, how(room));
    }
    most as f64 * LINE_PX + 8.0
}

fn lifelines(canvas: &mut Canvas, lanes: &Lanes, (top, bottom): (f64, f64), gaps: &[(f64, f64)]) {
    let (mut solid, mut dotted) = (Path::default(), Path::default());
    for &x in &lanes.at {
        let mut from = top;
        for &(start, end) in gaps {
            solid = solid.vertical(x, from, start);
            dotted = dotted.vertical(x, start, end);
            from = end;
        }
        solid = solid.vertical(x, from, bottom);
    }
    canvas.path("line", Tone::Plain, &solid, "");
    canvas.path("line", Tone::Plain, &dotted, " stroke-dasharray=\"1 4\"");
}

/// An arrow from lane to lane with its label above it; returns the height of the row.
fn message(rows: &mut Canvas, lanes: &Lanes, at: (f64, f64, f64), label: &str, how: (bool, Tone)) -> f64 {
    let ((from, to, top), (lost, tone)) = (at, how);
    let (left, right) = (from.min(to), from.max(to));
    let label = with_sign(label, tone);
    let room = (right - left - 20.0).max(LABEL_ROOM.min(lanes.width - 8.0));
    let text = Type::sans().tone(if tone == Tone::Plain { Tone::Soft } else { tone }).room(room).halo();
    let lines = rows.paragraph(left + 10.0, top + 17.0, &label, 3, text).max(1);
    let y = top + 8.0 + lines as f64 * LINE_PX;
    let way = if to > from { 1.0 } else { -1.0 };
    let dashes = if tone == Tone::Soft { " stroke-dasharray=\"4 3\"" } else { "" };
    if lost {
        let breaks = from + (to - from) * 0.62;
        rows.path("ink", tone, &Path::default().horizontal(from, breaks - 9.0 * way, y), dashes);
        rows.path("ink", tone, &Path::default().cross(breaks, y), "");
        let rest = Path::default().horizontal(breaks + 9.0 * way, to - 6.0 * way, y);
        rows.path("ink", Tone::Soft, &rest, " stroke-dasharray=\"1 4\"");
    } else {
        rows.path("ink", tone, &Path::default().horizontal(from, to - way, y), dashes);
        rows.path("ink", tone, &Path::default().point(to - way, y, way), "");
    }
    y - top + 4.0
}

/// A message of a participant to itself: out and back on one side of its lane.
fn turn(rows: &mut Canvas, lanes: &Lanes, (at, _, top): (f64, f64, f64), label: &str, tone: Tone) -> f64 {
    let (way, room) = side(lanes, at, SELF_LOOP + 8.0 + Type::sans().width(label));
    let x = at + SELF_LOOP * way;
    let (y, back) = (top + 10.0, top + 24.0);
    let path =
        Path::default().to(at, y).line(x, y).line(x, back).line(at + way, back).point(at + way, back, -way);
    rows.path("ink", tone, &path, "");
    let text = Type::sans()
        .tone(if tone == Tone::Plain { Tone::Soft } else { tone })
        .room(room - SELF_LOOP - 8.0)
        .halo();
    let text = if way < 0.0 { text.end() } else { text };
    let lines = rows.paragraph(x + 7.0 * way, top + 21.0, label, 3, text).max(1);
    (21.0 + (lines - 1) as f64 * LINE_PX).max(24.0) + 8.0
}

/// Something a participant did on its own: a square on its lane, and what it was.
fn note(rows: &mut Canvas, lanes: &Lanes, (at, top): (f64, f64), label: &str, tone: Tone) -> f64 {
    let label = with_sign(label, tone);
    let (way, room) = side(lanes, at, 12.0 + Type::sans().width(&label));
    rows.path("mass", tone, &Path::default().rect((at - 3.0).max(0.0), top + 10.0, 6.0, 6.0), "");
    let text = Type::sans().tone(tone).room(room - 12.0).halo();
    let text = if way < 0.0 { text.end() } else { text };
    let lines = rows.paragraph(at + 10.0 * way, top + 17.5, &label, 4, text).max(1);
    8.0 + lines as f64 * LINE_PX + 2.0
}

/// The side of a lane (1 right, −1 left) for something `wanted` wide, and the room there: the right one, unless
/// it only fits on the left, or there is more room.
fn side(lanes: &Lanes, at: f64, wanted: f64) -> (f64, f64) {
    let right = lanes.width - at;
    if right >= wanted || right >= at { (1.0, right) } else { (-1.0, at) }
}

/// A heading across all lanes, its text within `room`.
fn step(rows: &mut Canvas, top: f64, label: &str, room: f64) -> f64 {
    let text = Type::sans().halo().room(room);
    let wrapped = text.wrap(label, 3);
    let last = wrapped.lines.last().map_or(0.0, |line| text.width(line));
    let lines = wrapped.lines.len().max(1) as f64;
    let y = top + 14.0 + lines * LINE_PX;
    rows.path(
        "line",
        Tone::Plain,
        &Path::default().horizontal((last + 10.0).min(rows.width), rows.width, y - 4.0),
        "",
    );
    rows.paragraph(0.0, top + 14.0 + LINE_PX, label, 3, text);
    y - top + 4.0
}

/// Messages that are counted but not drawn.
fn gap(rows: &mut Canvas, lanes: &Lanes, top: f64, count: u64) -> f64 {
    let text = format!("… {} more", crate::layout::number(count as f64));
    rows.text(lanes.first() + 10.0, top + 19.0, &text, Type::sans().tone(Tone::Soft).halo());
    26.0
}
