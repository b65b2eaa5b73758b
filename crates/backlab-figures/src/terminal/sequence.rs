//! Messages between lanes of characters.

use super::screen::{Screen, clean};
use super::{cut, lines};
use crate::layout::{columns, number, with_repeats_counted, with_sign};
use crate::{Sequence, SequenceRow, Tone};

/// Lanes are not drawn further apart than this.
const WIDEST_GAP: usize = 36;

pub fn draw(mut screen: Screen, it: &Sequence) -> Screen {
    if it.participants.is_empty() && it.rows.is_empty() {
        return screen;
    }
    let lanes = lanes(&it.participants, screen.width);
    heads(&mut screen, &lanes, &it.participants);
    for row in &with_repeats_counted(&it.rows) {
        match row {
            SequenceRow::Message { from, to, label, lost, tone } => {
                match (lanes.get(*from), lanes.get(*to)) {
                    (Some(&at), Some(_)) if from == to => {
                        turn(&mut screen, &lanes, at, &with_sign(label, *tone), *tone);
                    }
                    (Some(&a), Some(&b)) => message(&mut screen, &lanes, (a, b), label, (*lost, *tone)),
                    _ => note(&mut screen, &lanes, 0, label, *tone),
                }
            }
            SequenceRow::Step { label } => step(&mut screen, &lanes, label),
            SequenceRow::Note { at, label, tone } => {
                note(&mut screen, &lanes, lanes.get(*at).copied().unwrap_or(0), label, *tone);
            }
            SequenceRow::Gap { count } => gap(&mut screen, &lanes, *count),
        }
    }
    screen
}

fn lanes(names: &[String], width: usize) -> Vec<usize> {
    let count = names.len().max(1);
    let half =
        |name: Option<&String>| (name.map_or(0, |name| columns(&clean(name))) / 2).min(width / (2 * count));
    let (left, right) = (half(names.first()), half(names.last()));
    let gap = (width - 1 - left - right) as f64 / count.saturating_sub(1).max(1) as f64;
    let gap = gap.min(WIDEST_GAP as f64);
    (0..names.len()).map(|i| (left + (i as f64 * gap) as usize).min(width - 1)).collect()
}

fn heads(screen: &mut Screen, lanes: &[usize], names: &[String]) {
    let gap = if lanes.len() > 1 { lanes[1] - lanes[0] } else { screen.width };
    let wrapped: Vec<_> = names.iter().map(|name| lines(name, gap.saturating_sub(1).max(1), 3)).collect();
    let most = wrapped.iter().map(Vec::len).max().unwrap_or(0);
    for (lines, &at) in wrapped.iter().zip(lanes) {
        for (i, line) in lines.iter().enumerate() {
            let wide = columns(line);
            let x = at.saturating_sub(wide / 2).min(screen.width.saturating_sub(wide));
            screen.put(x, i + most - lines.len(), line, Tone::Plain);
        }
    }
}

/// A new row with all lifelines in it; returns its number.
fn row(screen: &mut Screen, lanes: &[usize], sign: &str) -> usize {
    let y = screen.height();
    screen.reach(y);
    for &x in lanes {
        screen.put(x, y, sign, Tone::Soft);
    }
    y
}

/// `text` at `x` with a space on either side, moved left where it would leave the screen.
fn beside(screen: &mut Screen, lanes: &[usize], x: usize, text: &str, tone: Tone) {
    let room = screen.width - 2;
    let wanted = screen.width.saturating_sub(x).max(room.min(28));
    for line in lines(text, wanted, 4) {
        let x = x.min(screen.width.saturating_sub(columns(&line)));
        let y = row(screen, lanes, "│");
        screen.put(x.saturating_sub(1), y, &format!(" {line} ")[usize::from(x == 0)..], tone);
    }
}

fn message(screen: &mut Screen, lanes: &[usize], (from, to): (usize, usize), label: &str, how: (bool, Tone)) {
    let (lost, tone) = how;
    let label = clean(&with_sign(label, tone));
    let (left, right) = (from.min(to), from.max(to));
    let inside = !label.is_empty() && columns(&label) + 7 < right - left;
    if !inside && !label.is_empty() {
        beside(screen, lanes, left + 2, &label, tone);
    }
    let y = row(screen, lanes, "│");
    let dash = if tone == Tone::Soft { "╌" } else { "─" };
    for x in left + 1..right {
        screen.put(x, y, dash, tone);
    }
    screen.put(from, y, if to > from { "├" } else { "┤" }, tone);
    let (head, way): (&str, isize) = if to > from { ("▶", -1) } else { ("◀", 1) };
    if right > left + 1 && !lost {
        screen.put(to.saturating_add_signed(way), y, head, tone);
    }
    if inside {
        screen.put(left + 3, y, &format!(" {label} "), tone);
    }
    if lost && right > left + 3 {
        lose(screen, y, (from, to), if inside { columns(&label) + 6 } else { 2 }, tone);
    }
}

/// Breaks an arrow: a cross, and dots where it never came.
fn lose(screen: &mut Screen, y: usize, (from, to): (usize, usize), label: usize, tone: Tone) {
    let (left, right) = (from.min(to), from.max(to));
    let middle = (left + (right - left) * 2 / 3).max(left + label).min(right - 1);
    if to > from {
        (middle + 1..right).for_each(|x| _ = screen.put(x, y, "·", Tone::Soft));
        screen.put(middle, y, "╳", tone);
    } else {
        let cross = (left + 2).min(right - 1);
        (left + 1..cross).for_each(|x| _ = screen.put(x, y, "·", Tone::Soft));
        screen.put(cross, y, "╳", tone);
    }
}

fn turn(screen: &mut Screen, lanes: &[usize], at: usize, label: &str, tone: Tone) {
    let to_right = screen.width - at > 16;
    let y = row(screen, lanes, "│");
    let back = row(screen, lanes, "│");
    if to_right {
        screen.put(at, y, "├──╮", tone);
        let label = cut(label, screen.width - at - 6);
        screen.put(at + 4, y, &format!(" {label} "), tone);
        screen.put(at + 1, back, "◀─╯", tone);
    } else {
        screen.put(at.saturating_sub(3), y, "╭──┤", tone);
        screen.put_before(at.saturating_sub(3), y, &format!(" {} ", cut(label, at.saturating_sub(6))), tone);
        screen.put(at.saturating_sub(3), back, "╰─▶", tone);
    }
}

fn note(screen: &mut Screen, lanes: &[usize], at: usize, label: &str, tone: Tone) {
    let first = screen.height();
    if screen.width - at > 20 || label.is_empty() {
        beside(screen, lanes, at + 2, &with_sign(label, tone), tone);
    } else {
        for line in lines(&with_sign(label, tone), at.saturating_sub(2).max(8), 4) {
            let y = row(screen, lanes, "│");
            screen.put_before(at.saturating_sub(1), y, &format!(" {line}"), tone);
        }
    }
    if screen.height() > first {
        screen.put(at, first, "■", tone);
    }
}

fn step(screen: &mut Screen, lanes: &[usize], label: &str) {
    let y = row(screen, lanes, "│") + 1;
    let text = cut(label, screen.width - 4);
    screen.put(0, y, &"─".repeat(screen.width), Tone::Soft);
    screen.put(0, y, &format!("{text} "), Tone::Plain);
}

fn gap(screen: &mut Screen, lanes: &[usize], count: u64) {
    let y = row(screen, lanes, "┊");
    let at = lanes.first().map_or(0, |at| at + 2);
    screen.put(at, y, &format!("… {} more ", number(count as f64)), Tone::Soft);
}
