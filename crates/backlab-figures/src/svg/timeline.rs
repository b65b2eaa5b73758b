//! Lanes over a common time axis.

use super::NARROW;
use super::canvas::{Canvas, Path, Type, hatch};
use super::plot::{self, Area};
use crate::layout::{LINE_PX, Scale, rows_without_overlap, with_sign};
use crate::{Lane, Span, Timeline, Tone};

const BAR: f64 = 16.0;
const ROW: f64 = 22.0;
/// A lane with more spans than this in one place draws them on top of each other.
const MOST_ROWS: usize = 6;
/// A span at least this wide has its label within, if need be cut.
const LEAST_LABEL: f64 = 48.0;
/// Labels of moments are tried in lanes with at most this many of them.
const LABELLED: usize = 60;

pub fn draw(canvas: &mut Canvas, it: &Timeline) {
    if it.lanes.is_empty() {
        return;
    }
    let widest = it.lanes.iter().map(|lane| Type::sans().width(&lane.name)).fold(0.0, f64::max);
    let above = canvas.width < NARROW && widest > 70.0;
    let indent = if above || widest == 0.0 { 4.0 } else { widest.min(canvas.width * 0.28) + 14.0 };
    let spans = || it.lanes.iter().flat_map(|lane| &lane.spans);
    let moments = it.lanes.iter().flat_map(|lane| &lane.moments).map(|moment| moment.at);
    let times = moments.chain(spans().flat_map(|s| [s.from, s.to])).chain(it.marks.iter().map(|m| m.at));
    let x = Scale::over(times, false, indent + 4.0, canvas.width - 8.0);

    let top = 4.0 + plot::mark_rows(&it.marks, |v| x.at(v), canvas.width);
    let mut lanes = Canvas::new(canvas.width);
    let mut y = top;
    for lane in &it.lanes {
        y += 4.0;
        // Half a pixel more than the widest name, which else would be wrapped by a rounding error.
        let how = Type::sans().room(if above { canvas.width } else { indent - 13.5 }.max(1.0));
        let base = if above { y + 12.0 } else { y + 14.0 };
        let lines = lanes.paragraph(0.0, base, &lane.name, 2, how.halo());
        if above {
            y += lines as f64 * LINE_PX + 2.0;
        }
        let high = draw_lane(&mut lanes, lane, &x, y);
        y += if above { high } else { high.max(lines as f64 * LINE_PX + 4.0) } + 4.0;
    }
    let area = Area { left: indent, right: canvas.width - 8.0, top, bottom: y + 4.0 };
    plot::marks(canvas, &it.marks, |v| x.at(v), area.top - 2.0, area.bottom);
    canvas.append(&lanes);
    plot::x_axis(canvas, area, &x, &it.unit);
}

/// Spans in as many rows as they need, moments on the base line of the first row; returns the height.
fn draw_lane(canvas: &mut Canvas, lane: &Lane, x: &Scale, top: f64) -> f64 {
    let spans: Vec<_> = lane.spans.iter().filter_map(|s| Some((s, x.at(s.from)?, x.at(s.to)?))).collect();
    let stretches: Vec<_> = spans.iter().map(|&(_, from, to)| (from.min(to), from.max(to))).collect();
    let rows: Vec<_> =
        rows_without_overlap(&stretches, -0.5).iter().map(|&row| row.min(MOST_ROWS - 1)).collect();
    let high = rows.iter().max().map_or(1, |row| row + 1) as f64 * ROW;
    let has_labels = lane.moments.len() <= LABELLED && lane.moments.iter().any(|m| !m.label.is_empty());
    let line = if spans.is_empty() || lane.moments.is_empty() { 0.0 } else { high };
    let base = top + line + ROW / 2.0;
    for row in 0..(high / ROW) as usize {
        draw_spans(canvas, &spans, &rows, row, top + row as f64 * ROW);
    }
    if spans.is_empty() || !lane.moments.is_empty() {
        let (from, to) = (x.at(f64::MIN).unwrap_or(0.0), x.at(f64::MAX).unwrap_or(0.0));
        canvas.path("line", Tone::Plain, &Path::default().horizontal(from, to, base), "");
    }
    draw_moments(canvas, lane, x, base);
    let labels = if has_labels { draw_labels(canvas, lane, x, base + 22.0) } else { 0.0 };
    if lane.moments.is_empty() { high } else { line + ROW + labels }
}

/// The spans of one row, merged where they would be drawn on the same pixel, with the labels that fit.
fn draw_spans(canvas: &mut Canvas, spans: &[(&Span, f64, f64)], rows: &[usize], row: usize, top: f64) {
    let mut mine: Vec<_> = spans.iter().zip(rows).filter(|it| *it.1 == row).map(|it| *it.0).collect();
    mine.sort_by(|a, b| a.1.min(a.2).total_cmp(&b.1.min(b.2)));
    let mut drawn: Option<(i64, Tone)> = None;
    for (i, &(span, from, to)) in mine.iter().enumerate() {
        let (from, to) = (from.min(to), from.max(to).max(from.min(to) + 1.5));
        let pixel = Some((to as i64, span.tone));
        if to - from < 2.0 && drawn == pixel {
            continue;
        }
        drawn = pixel;
        let next = mine.get(i + 1).map_or(canvas.width, |next| next.1.min(next.2));
        draw_span(canvas, span, (from, to, next), top + 2.0);
    }
}

/// A light bar, so that its label can stand within; what was refuted is hatched where no label is.
fn draw_span(canvas: &mut Canvas, span: &Span, (from, to, next): (f64, f64, f64), top: f64) {
    let label = with_sign(&span.label, span.tone);
    let wide = Type::sans().width(&label);
    let beside = wide <= next - to - 10.0;
    let inside = !label.is_empty() && (wide <= to - from - 8.0 || !beside && to - from > LEAST_LABEL);
    let bar = Path::default().rect(from, top, to - from, BAR);
    let opacity = match span.tone {
        Tone::Accent => " fill-opacity=\".28\"",
        Tone::Soft => " fill-opacity=\".12\"",
        _ => " fill-opacity=\".16\"",
    };
    canvas.path_with_title("mass", span.tone, &bar, opacity, &label);
    canvas.path("ink", span.tone, &Path::default().horizontal(from, to, top + BAR), "");
    if span.tone == Tone::Refuted {
        let free = if inside { (from + wide + 8.0).min(to) } else { from };
        canvas.path("ink thin", span.tone, &hatch(free, top, to - free, BAR), "");
    }
    if inside {
        canvas.text(from + 4.0, top + 12.0, &label, Type::sans().room(to - from - 6.0));
    } else if beside {
        canvas.text(to + 5.0, top + 12.0, &label, Type::sans().tone(span.tone).halo());
    }
}

/// Moments as strokes on the line, accents as dots above it, what went wrong as crosses below it; one mark of a
/// tone where several would be drawn on the same place.
fn draw_moments(canvas: &mut Canvas, lane: &Lane, x: &Scale, y: f64) {
    for tone in [Tone::Soft, Tone::Plain, Tone::Accent, Tone::Refuted] {
        let apart = match tone {
            Tone::Plain | Tone::Soft => 1.5,
            Tone::Accent => 3.0,
            Tone::Refuted => 4.5,
        };
        let mut places: Vec<_> =
            lane.moments.iter().filter(|m| m.tone == tone).filter_map(|m| x.at(m.at)).collect();
        places.sort_by(f64::total_cmp);
        places.dedup_by(|later, kept| *later - *kept < apart);
        let path = places.into_iter().fold(Path::default(), |path, x| match tone {
            Tone::Plain | Tone::Soft => path.vertical(x, y - 9.0, y),
            Tone::Accent => path.dot(x, y - 4.0),
            Tone::Refuted => path.cross(x, y + 6.0),
        });
        canvas.path(if tone == Tone::Accent { "dots" } else { "ink" }, tone, &path, "");
    }
}

/// Labels of moments below their line in up to three rows; returns the height that they took.
fn draw_labels(canvas: &mut Canvas, lane: &Lane, x: &Scale, y: f64) -> f64 {
    let labelled: Vec<_> = lane
        .moments
        .iter()
        .filter(|m| !m.label.is_empty())
        .filter_map(|m| Some((with_sign(&m.label, m.tone), m.tone, x.at(m.at)?)))
        .collect();
    let stretch = |(text, _, x): &(String, Tone, f64)| {
        let half = Type::sans().width(text) / 2.0;
        let start = (x - half).min(canvas.width - 2.0 * half).max(0.0);
        (start, start + 2.0 * half)
    };
    let rows = rows_without_overlap(&labelled.iter().map(stretch).collect::<Vec<_>>(), 8.0);
    let mut most = 0;
    for ((text, tone, x), row) in labelled.iter().zip(rows).filter(|it| it.1 < 3) {
        canvas.text(*x, y + row as f64 * LINE_PX, text, Type::sans().tone(*tone).middle().halo());
        most = most.max(row + 1);
    }
    most as f64 * LINE_PX
}
