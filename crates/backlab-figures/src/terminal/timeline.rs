//! Lanes of characters over a common time axis.

use super::cut;
use super::screen::{Screen, clean};
use crate::layout::{Scale, columns, number, rows_without_overlap, with_sign};
use crate::{Lane, Timeline, Tone};

const MOST_ROWS: usize = 6;

pub fn draw(mut screen: Screen, it: &Timeline) -> Screen {
    if it.lanes.is_empty() {
        return screen;
    }
    let names = it.lanes.iter().map(|lane| columns(&clean(&lane.name))).max().unwrap_or(0);
    let left = names.min(screen.width / 3) + 1;
    let spans = it.lanes.iter().flat_map(|lane| &lane.spans).flat_map(|span| [span.from, span.to]);
    let moments = it.lanes.iter().flat_map(|lane| &lane.moments).map(|moment| moment.at);
    let times = spans.chain(moments).chain(it.marks.iter().map(|mark| mark.at));
    let x = Scale::over(times, false, left as f64, screen.width as f64 - 1.0);
    for lane in &it.lanes {
        let y = screen.height();
        screen.put(0, y, &cut(&lane.name, left - 1), Tone::Plain);
        draw_lane(&mut screen, lane, &x, y);
    }
    let bottom = screen.height();
    for mark in &it.marks {
        let Some(at) = x.at(mark.at) else { continue };
        let y = screen.height();
        let text = cut(&format!("╵ {} {}", number(mark.at), mark.label), screen.width);
        let start = (at as usize).min(screen.width - columns(&text));
        screen.put(start, y, &text, Tone::Soft);
    }
    screen.reach(bottom);
    axis(&mut screen, it, &x, left);
    screen
}

fn draw_lane(screen: &mut Screen, lane: &Lane, x: &Scale, y: usize) {
    let spans: Vec<_> = lane.spans.iter().filter_map(|s| Some((s, x.at(s.from)?, x.at(s.to)?))).collect();
    let stretches: Vec<_> = spans.iter().map(|&(_, a, b)| (a.min(b), a.max(b))).collect();
    // Spans that follow each other may share a cell.
    let rows = rows_without_overlap(&stretches, -0.5);
    for (&(span, a, b), row) in spans.iter().zip(&rows) {
        let (from, to, y) = (a.min(b) as usize, a.max(b) as usize, y + row.min(&(MOST_ROWS - 1)));
        let fill = if span.tone == Tone::Refuted {
            "╱"
        } else if span.tone == Tone::Soft {
            "─"
        } else {
            "━"
        };
        screen.put(from, y, &fill.repeat(to - from + 1), span.tone);
        let label = with_sign(&span.label, span.tone);
        let room = (to - from).saturating_sub(3);
        if !label.is_empty() && room >= 3 {
            screen.put(from + 1, y, &format!(" {} ", cut(&label, room)), span.tone);
        }
    }
    let line =
        y + if spans.is_empty() { 0 } else { rows.iter().max().map_or(0, |row| (row + 1).min(MOST_ROWS)) };
    screen.reach(y);
    for tone in [Tone::Soft, Tone::Plain, Tone::Accent, Tone::Refuted] {
        let sign = match tone {
            Tone::Soft => "·",
            Tone::Plain => "╷",
            Tone::Accent => "●",
            Tone::Refuted => "✗",
        };
        for at in lane.moments.iter().filter(|m| m.tone == tone).filter_map(|m| x.at(m.at)) {
            screen.put(at as usize, line, sign, tone);
        }
    }
    labels(screen, lane, x, line + 1);
}

/// Labels of the moments in up to two rows below them, the first ones first.
fn labels(screen: &mut Screen, lane: &Lane, x: &Scale, y: usize) {
    let mut labelled: Vec<_> = lane
        .moments
        .iter()
        .filter(|m| !m.label.is_empty())
        .filter_map(|m| Some((x.at(m.at)? as usize, clean(&with_sign(&m.label, m.tone)), m.tone)))
        .collect();
    labelled.sort_by_key(|label| label.0);
    let mut free = [0; 2];
    for (at, text, tone) in labelled {
        let wide = columns(&text);
        let start = at.saturating_sub(wide / 2).min(screen.width.saturating_sub(wide));
        if let Some(row) = (0..2).find(|&row| free[row] <= start) {
            free[row] = screen.put(start, y + row, &text, tone) + 2;
        }
    }
}

fn axis(screen: &mut Screen, it: &Timeline, x: &Scale, left: usize) {
    let y = screen.height();
    screen.put(left, y, &"─".repeat(screen.width - left), Tone::Soft);
    let unit = if it.unit.is_empty() { String::new() } else { format!(" {}", it.unit) };
    let mut free = 0;
    for (at, text) in x.ticks(((screen.width - left) / 12).max(2)) {
        let text = format!("{text}{}", if free == 0 { &unit } else { "" });
        let start =
            (at as usize).saturating_sub(columns(&text) / 2).min(screen.width.saturating_sub(columns(&text)));
        if start >= free {
            screen.put(at as usize, y, "┬", Tone::Soft);
            free = screen.put(start, y + 1, &text, Tone::Soft) + 2;
        }
    }
}
