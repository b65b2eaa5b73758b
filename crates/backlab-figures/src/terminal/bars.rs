//! Bars of characters: bars, histograms, and the shares of a ring.

use super::screen::{Screen, clean};
use super::{cut, lines};
use crate::layout::{columns, number, share, with_sign};
use crate::{Bars, Histogram, Ring, Tone};

const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
/// A histogram of more buckets than this is drawn with neighbours added up.
const MOST_BUCKETS: usize = 24;

/// A bar of `share` (0 to 1) of `room` columns; hatched where its tone is *refuted*.
fn bar(share: f64, room: usize, tone: Tone) -> String {
    let eighths = (share.clamp(0.0, 1.0) * room as f64 * 8.0).round() as usize;
    let eighths = if share > 0.0 { eighths.max(1) } else { eighths };
    if tone == Tone::Refuted {
        "▒".repeat(eighths.div_ceil(8))
    } else {
        "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
    }
}

fn finite(value: f64) -> f64 {
    if value.is_finite() { value.clamp(-1e15, 1e15) } else { 0.0 }
}

fn widest<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| columns(&clean(text))).max().unwrap_or(0)
}

pub fn bars(mut screen: Screen, it: &Bars) -> Screen {
    let several = it.rows.iter().any(|row| row.bars.len() > 1);
    let label = widest(it.rows.iter().map(|row| row.label.as_str())).min(screen.width * 2 / 5);
    let named = if several { widest(it.series.iter().map(String::as_str)).min(screen.width / 2) } else { 0 };
    let above = named > 0 && label + named > screen.width / 2;
    let label = if above { 1 } else { label };
    let left = label + 1 + if named > 0 { named + 1 } else { 0 };
    let all = || it.rows.iter().flat_map(|row| &row.bars);
    let figure = |value: f64| columns(&number(value));
    let figures =
        all().map(|bar| figure(bar.value) + 2).max().unwrap_or(0) + columns(&clean(&it.unit)).min(14) + 2;
    let room = screen.width.saturating_sub(left + figures).max(4);
    let limit = it.limit.iter().map(|limit| limit.0);
    let largest = all().map(|bar| bar.value).chain(limit).map(|v| finite(v).abs()).fold(0.0, f64::max);
    let share = |value: f64| if largest > 0.0 { finite(value).abs() / largest } else { 0.0 };

    for (r, row) in it.rows.iter().enumerate() {
        let y = screen.height();
        let label_lines = lines(&row.label, if above { screen.width } else { label.max(1) }, 2);
        label_lines.iter().enumerate().for_each(|(i, line)| _ = screen.put(0, y + i, line, Tone::Plain));
        let y = if above { screen.height() } else { y };
        for (i, bar_) in row.bars.iter().enumerate() {
            let y = y + i;
            if several {
                let name = cut(it.series.get(i).map_or("", String::as_str), named);
                screen.put(label + 1, y, &name, Tone::Soft);
            }
            let drawn = bar(share(bar_.value), room, bar_.tone);
            let end = screen.put(left, y, &drawn, bar_.tone);
            let unit = if r + i == 0 { cut(&it.unit, 14) } else { String::new() };
            let after = screen.put(end + 1, y, &with_sign(&number(bar_.value), bar_.tone), bar_.tone);
            screen.put(after + 1, y, &unit, Tone::Soft);
        }
        screen.reach(y);
    }
    if let (Some((value, name)), false) = (&it.limit, it.rows.is_empty()) {
        let (x, y) = (left + (share(*value) * room as f64) as usize, screen.height());
        let text = cut(&format!("{name} {}", number(*value)), screen.width - 2);
        let start = x.min(screen.width.saturating_sub(columns(&text) + 2));
        screen.put(start, y, &format!("╵ {text}"), Tone::Soft);
    }
    screen
}

pub fn histogram(mut screen: Screen, it: &Histogram) -> Screen {
    let step = it.buckets.len().div_ceil(MOST_BUCKETS).max(1);
    let groups: Vec<_> = it.buckets.chunks(step).collect();
    let span =
        |group: &&[crate::Bucket]| format!("{}–{}", number(group[0].from), number(group[group.len() - 1].to));
    let count =
        |group: &&[crate::Bucket]| group.iter().fold(0u64, |sum, bucket| sum.saturating_add(bucket.count));
    let spans: Vec<_> = groups.iter().map(span).collect();
    let most = groups.iter().map(count).max().unwrap_or(0);
    let label = widest(spans.iter().map(String::as_str));
    let marks = it.marks.iter().map(|mark| columns(&clean(&mark.label)) + 3).max().unwrap_or(0).min(20);
    let room = screen.width.saturating_sub(label + 3 + columns(&number(most as f64)) + marks).max(4);
    if !it.x.label.is_empty() && !groups.is_empty() {
        screen.put(0, 0, &cut(&it.x.label, screen.width), Tone::Soft);
    }
    for (group, span) in groups.iter().zip(&spans) {
        let y = screen.height();
        screen.put_before(label, y, span, Tone::Plain);
        let share = if most > 0 { count(group) as f64 / most as f64 } else { 0.0 };
        let end = screen.put(label + 1, y, &bar(share, room, Tone::Plain), Tone::Plain);
        let mut end = screen.put(end + 1, y, &number(count(group) as f64), Tone::Plain);
        let (from, to) = (group[0].from, group[group.len() - 1].to);
        for mark in it.marks.iter().filter(|mark| from <= mark.at && mark.at < to) {
            end = screen.put(end + 1, y, &format!("◂ {}", mark.label), Tone::Soft);
        }
    }
    screen
}

/// A bar for each owner's share, and where a fair one would end.
pub fn ring(mut screen: Screen, it: &Ring) -> Screen {
    let label = widest(it.owners.iter().map(String::as_str)).min(screen.width / 3);
    let room = screen.width.saturating_sub(label + 12).max(8);
    let shares: Vec<_> = (0..it.owners.len()).map(|owner| share(&it.arcs, owner).0).collect();
    let fair = 1.0 / it.owners.len().max(1) as f64;
    let largest = shares.iter().copied().fold(fair, f64::max);
    for (owner, (name, held)) in it.owners.iter().zip(&shares).enumerate() {
        let tone = if it.highlight == Some(owner) { Tone::Accent } else { Tone::Plain };
        screen.put(0, owner, &cut(name, label), tone);
        let end = screen.put(label + 1, owner, &bar(held / largest, room, tone), tone);
        let sign = if tone == Tone::Accent { " ◂" } else { "" };
        screen.put(end + 1, owner, &format!("{:.1} %{sign}", held * 100.0), tone);
    }
    if !it.owners.is_empty() {
        let (x, y) = (label + 1 + (fair / largest * room as f64) as usize, screen.height());
        let text = format!("╵ fair share {} %", number(fair * 100.0));
        screen.put(x.min(screen.width.saturating_sub(columns(&text))), y, &text, Tone::Soft);
    }
    screen
}
