//! A circle of arcs, and beside it a bar for each owner: its share of the circle against a fair one.

use super::NARROW;
use super::canvas::{Canvas, Path, Type};
use crate::layout::{LINE_PX, Run, Scale, number, runs, share};
use crate::{Ring, Tone};

/// Arcs are drawn in steps of half a pixel; what is smaller is given to the largest within the step.
const STEP: f64 = 0.5;
const THICK: f64 = 16.0;
const PITCH: f64 = 21.0;
/// Up to this many stretches are named around the circle.
const NAMED: usize = 24;
/// Shades of neighbouring owners differ.
const SHADES: [&str; 5] = [".85", ".3", ".6", ".14", ".44"];

pub fn draw(canvas: &mut Canvas, it: &Ring) {
    if it.owners.is_empty() {
        return;
    }
    let narrow = canvas.width < NARROW;
    let radius = if narrow { 84.0 } else { 104.0 };
    let slots = (2.0 * std::f64::consts::PI * radius / STEP) as usize;
    let r = slots as f64 * STEP / (2.0 * std::f64::consts::PI);
    let found = runs(&it.arcs, slots);
    let named = found.len() <= NAMED;
    let around = if named { 2.0 * LINE_PX } else { 4.0 };
    let side = if named { (widest(it) + 14.0).min(if narrow { 74.0 } else { 96.0 }) } else { 4.0 };
    let reach = r + THICK / 2.0;
    let x = if narrow { canvas.width / 2.0 } else { side + reach };
    let y = around + reach;

    circle(canvas, it, &found, (x, y, r));
    if named {
        names(canvas, it, &found, (x, y, reach, slots, side));
    }
    let high = it.owners.len() as f64 * PITCH;
    let (left, top) = if narrow {
        (0.0, y + reach + around + 28.0)
    } else {
        (x + reach + side + 24.0, (y - high / 2.0).max(22.0))
    };
    canvas.reach(y + reach + around);
    owners(canvas, it, (left, top));
}

fn widest(it: &Ring) -> f64 {
    it.owners.iter().map(|name| Type::sans().width(name)).fold(0.0, f64::max)
}

/// The tone and the shade in which an owner is drawn.
fn paint(it: &Ring, owner: usize) -> (Tone, &'static str) {
    match it.highlight {
        Some(seen) if seen == owner => (Tone::Accent, "1"),
        Some(_) => (Tone::Plain, [".3", ".14", ".22"][owner % 3]),
        None => (Tone::Plain, SHADES[owner % SHADES.len()]),
    }
}

fn circle(canvas: &mut Canvas, it: &Ring, found: &[Run], (x, y, r): (f64, f64, f64)) {
    let around = (2.0 * std::f64::consts::PI * r / STEP).round() as usize;
    for owner in 0..it.owners.len() {
        let (tone, opacity) = paint(it, owner);
        let (mut dashes, mut at) = (vec![], 0);
        for run in found.iter().filter(|run| run.owner == owner) {
            dashes.push((run.from - at) as f64 * STEP);
            dashes.push((run.to - run.from) as f64 * STEP);
            at = run.to;
        }
        if !dashes.is_empty() {
            dashes.push(around.saturating_sub(at) as f64 * STEP);
            let how = format!(" stroke-width=\"{THICK}\" stroke-opacity=\"{opacity}\"");
            canvas.dashed_circle((x, y), r, &dashes, tone, &how);
        }
    }
    let top = Path::default().vertical(x, y - r - THICK / 2.0 - 4.0, y - r + THICK / 2.0 + 4.0);
    canvas.path("ink thin", Tone::Plain, &top, "");
}

/// Owners' names outside the circle, at the middle of their stretches; the larger stretch wins where two
/// names would touch.
fn names(canvas: &mut Canvas, it: &Ring, found: &[Run], at: (f64, f64, f64, usize, f64)) {
    let (x, y, reach, slots, side) = at;
    let mut placed: Vec<(f64, f64, f64)> = vec![];
    let mut by_size: Vec<_> = found.iter().collect();
    by_size.sort_by_key(|run| std::cmp::Reverse(run.to - run.from));
    for run in by_size {
        let Some(name) = it.owners.get(run.owner) else { continue };
        let turn = (run.from + run.to) as f64 / (2.0 * slots as f64) * 2.0 * std::f64::consts::PI;
        let (dx, dy) = (turn.sin(), -turn.cos());
        let how = Type::sans().tone(paint(it, run.owner).0).room(side - 10.0);
        let wide = how.width(name).min(side - 10.0);
        let middle = x + dx * (reach + 8.0) + dx * wide / 2.0;
        let (left, base) = (middle - wide / 2.0, y + dy * (reach + 11.0) + 4.0);
        let free = |&(l, w, b): &(f64, f64, f64)| {
            (base - b).abs() >= LINE_PX - 1.0 || left > l + w + 4.0 || l > left + wide + 4.0
        };
        if placed.iter().all(free) {
            placed.push((left, wide, base));
            canvas.text(middle, base, name, how.middle());
        }
    }
}

/// One row per owner: its name, its share as a bar, and a line where all shares would be equal.
fn owners(canvas: &mut Canvas, it: &Ring, (left, top): (f64, f64)) {
    let name_room = widest(it).min((canvas.width - left) * 0.35).max(1.0);
    let figure_room = Type::mono().width("100.0 %") + 12.0;
    let from = left + name_room + 12.0;
    let shares: Vec<_> = (0..it.owners.len()).map(|owner| share(&it.arcs, owner).0).collect();
    let fair = 1.0 / it.owners.len() as f64;
    let scale =
        Scale::over(shares.iter().copied().chain([0.0, fair]), false, from, canvas.width - figure_room);
    let at = |value: f64| scale.at(value).unwrap_or(from);
    let bottom = top + it.owners.len() as f64 * PITCH - 4.0;
    for (owner, (name, held)) in it.owners.iter().zip(&shares).enumerate() {
        let y = top + owner as f64 * PITCH;
        let (tone, _) = paint(it, owner);
        canvas.text(left, y + 12.0, name, Type::sans().tone(tone).room(name_room));
        let shade = if tone == Tone::Plain { Tone::Soft } else { tone };
        canvas.bar(from, y + 2.0, at(*held) - from, 12.0, shade);
        let figure = format!("{:.1} %", held * 100.0);
        canvas.text(canvas.width, y + 12.0, &figure, Type::mono().tone(tone).end());
    }
    let line = Path::default().vertical(at(fair), top - 4.0, bottom);
    canvas.path("ink thin", Tone::Plain, &line, " stroke-dasharray=\"3 3\"");
    let figure = format!("fair share {} %", number(fair * 100.0));
    canvas.text(at(fair), top - 8.0, &figure, Type::sans().tone(Tone::Soft).middle());
}
