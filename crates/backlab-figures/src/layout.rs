//! Shared arithmetic: how wide text is, how it wraps, how figures are written, where ticks stand.

use crate::{Cell, SequenceRow, Tone};

/// Size of sans text in CSS pixels; the style sheet says the same.
pub const SANS_PX: f64 = 12.0;
/// Size of mono text in CSS pixels; the style sheet says the same.
pub const MONO_PX: f64 = 11.5;
/// Distance between two lines of one wrapped label.
pub const LINE_PX: f64 = 15.0;

/// Larger figures are drawn as if they were this large, so that no sum of two overflows.
const LARGEST: f64 = 1e15;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Font {
    Sans,
    Mono,
}

/// Advance widths of U+0020 to U+007E in DejaVu Sans, in thousandths of an em. It is the widest of the faces
/// that a browser may choose for `--sans`, so what fits by this table fits in all of them.
const SANS_ADVANCE: [u16; 95] = [
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636, 636, 636,
    636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632, 575, 775, 752, 295,
    295, 656, 557, 863, 748, 787, 603, 787, 695, 635, 611, 732, 684, 989, 685, 611, 685, 390, 337, 390, 838,
    500, 500, 613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579, 278, 974, 634, 612, 635, 635, 411, 521,
    392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838,
];
/// Every character of DejaVu Sans Mono, in thousandths of an em.
const MONO_ADVANCE: u16 = 602;

/// Width of `text` in CSS pixels, rather too wide than too narrow.
pub fn text_width(text: &str, font: Font) -> f64 {
    let advance = |c: char| match (font, c) {
        (_, '\u{1100}'..) if unicode_width::UnicodeWidthChar::width(c) == Some(2) => 1100,
        (Font::Mono, _) => MONO_ADVANCE,
        (Font::Sans, ' '..='~') => SANS_ADVANCE[c as usize - ' ' as usize],
        (Font::Sans, '\u{a0}' | '·') => 318,
        (Font::Sans, '…' | '—' | '\u{2100}'..) => 1000,
        (Font::Sans, _) => 850,
    };
    let size = if font == Font::Sans { SANS_PX } else { MONO_PX };
    text.chars().map(|c| f64::from(advance(c))).sum::<f64>() * size / 1000.0
}

/// Columns that `text` takes in a terminal.
pub fn columns(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

/// `text` cut to `room` with an ellipsis at its end, where it is wider.
pub fn ellipsise(text: &str, room: f64, measure: impl Fn(&str) -> f64) -> String {
    if measure(text) <= room {
        return text.to_owned();
    }
    let mut kept = text.to_owned();
    while kept.pop().is_some() {
        let cut = format!("{}…", kept.trim_end());
        if measure(&cut) <= room {
            return cut;
        }
    }
    String::new()
}

/// Lines of a text, and whether something had to be left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Wrapped {
    pub lines: Vec<String>,
    pub cut: bool,
}

/// Breaks `text` between words into at most `most` lines, each at most `room` wide; the last one ends in an
/// ellipsis where text is left over. A word wider than a line is broken within.
pub fn wrap(text: &str, room: f64, most: usize, measure: impl Fn(&str) -> f64) -> Wrapped {
    let mut lines: Vec<String> = vec![];
    for word in text.split_whitespace() {
        for part in pieces(word, room, &measure) {
            match lines.last_mut() {
                Some(line) if measure(&format!("{line} {part}")) <= room => *line = format!("{line} {part}"),
                _ => lines.push(part),
            }
        }
    }
    let cut = lines.len() > most || lines.iter().any(|line| measure(line) > room);
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            *last = ellipsise(&format!("{last}…"), room, &measure);
        }
    }
    let lines = lines.iter().map(|line| ellipsise(line, room, &measure)).collect();
    Wrapped { lines, cut }
}

/// `word` in parts that fit into a line, broken after a sign such as `/` where one is near.
fn pieces(word: &str, room: f64, measure: &impl Fn(&str) -> f64) -> Vec<String> {
    let mut parts = vec![];
    let mut part = String::new();
    for c in word.chars() {
        part.push(c);
        if measure(&part) > room && part.chars().count() > 1 {
            let end = part.len() - c.len_utf8();
            let signs = |c: char| matches!(c, '/' | '-' | '_' | '.' | ',' | ':' | '&' | '?' | '=');
            let at = part[..end].rfind(signs).map_or(end, |i| i + 1);
            let at = if at * 2 < end { end } else { at };
            let tail = part.split_off(at);
            parts.push(std::mem::replace(&mut part, tail));
        }
    }
    parts.push(part);
    parts
}

/// `text` with a cross in front where the tone says *refuted*: colour alone never tells.
pub fn with_sign(text: &str, tone: Tone) -> String {
    let has_sign = text.starts_with(['✗', '✘', '×', '✕']);
    if tone == Tone::Refuted && !has_sign {
        format!("✗ {text}").trim_end().to_owned()
    } else {
        text.to_owned()
    }
}

/// The figure as it is drawn: about four significant digits, thousands parted by commas.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        return "–".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "∞".to_owned() } else { "−∞".to_owned() };
    }
    if size >= 1e12 || (size < 1e-4 && size > 0.0) {
        return format!("{value:.1e}").replace(".0e", "e").replace('-', "−");
    }
    if value.fract() == 0.0 || size >= 1000.0 {
        return thousands(&format!("{value:.0}"));
    }
    let digits = if size >= 100.0 {
        1
    } else if size >= 10.0 {
        2
    } else if size >= 0.1 {
        3
    } else {
        5
    };
    let plain = format!("{value:.digits$}");
    plain.trim_end_matches('0').trim_end_matches('.').replace('-', "−")
}

fn thousands(whole: &str) -> String {
    let digits = whole.trim_start_matches('-');
    let mut out = if whole.len() > digits.len() && digits != "0" { "−".to_owned() } else { String::new() };
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) && digits.len() > 4 {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// The figure as it is copied: every digit, no separators.
pub fn exact(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && value.is_finite() && !(1e-6..1e15).contains(&size) {
        format!("{value:e}")
    } else {
        value.to_string()
    }
}

/// Whether a cell of a table reads as a figure, and so stands at the right of its column.
pub fn is_number(text: &str) -> bool {
    let text = text.trim_start_matches("✗ ").trim_start_matches(['-', '−', '+', '<', '>', '≤', '≥']).trim();
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || " .,%×x:/eµnmskKMGB".contains(c))
        || matches!(text, "–" | "∞")
}

/// Maps figures to positions: linear, or by the logarithm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Scale {
    /// A scale over all finite `values`, from position `from` to position `to`. On a logarithmic scale only
    /// figures above zero count; one value, or none, still makes a scale with some breadth.
    pub fn over(values: impl IntoIterator<Item = f64>, log: bool, from: f64, to: f64) -> Self {
        let usable = values.into_iter().filter_map(|v| usable(v, log));
        let bounds = usable.fold(None, |seen: Option<(f64, f64)>, v| {
            Some(seen.map_or((v, v), |(low, high)| (low.min(v), high.max(v))))
        });
        let (mut low, mut high) = bounds.unwrap_or((0.0, 1.0));
        if high - low <= 1e-9 * high.abs().max(low.abs()) {
            let around = if log { 0.5 } else { (high.abs() * 0.1).max(0.5) };
            (low, high) = (low - around, high + around);
        }
        Self { low, high, from, to, log }
    }

    /// The position of `value`, kept within the scale; `None` where it has none (not finite; not above zero on
    /// a logarithmic scale).
    pub fn at(&self, value: f64) -> Option<f64> {
        let share = (usable(value, self.log)? - self.low) / (self.high - self.low);
        Some(self.from + share.clamp(0.0, 1.0) * (self.to - self.from))
    }

    /// At most `most` (and at least two) round figures with their positions.
    pub fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        let most = most.max(2);
        let values =
            if self.log && self.high - self.low >= 1.0 { self.powers(most) } else { self.rounds(most) };
        values.into_iter().filter_map(|v| Some((self.at(v)?, number(v)))).collect()
    }

    fn powers(&self, most: usize) -> Vec<f64> {
        let (first, last) = (self.low.ceil() as i32, self.high.floor() as i32);
        let step = ((last - first) as usize / most + 1) as i32;
        (first..=last).step_by(step as usize).map(|power| 10f64.powi(power)).collect()
    }

    fn rounds(&self, most: usize) -> Vec<f64> {
        let value = |v: f64| if self.log { 10f64.powf(v) } else { v };
        let (low, high) = (value(self.low), value(self.high));
        let rough = (high - low) / most as f64;
        let power = 10f64.powf(rough.log10().floor());
        let fits = |step: &f64| (high / step).floor() - (low / step).ceil() < most as f64;
        let step =
            [1.0, 2.0, 5.0, 10.0, 20.0].map(|m| m * power).into_iter().find(fits).unwrap_or(20.0 * power);
        let (first, last) = ((low / step).ceil(), (high / step).floor());
        (0..=((last - first).max(0.0) as usize).min(most)).map(|i| (first + i as f64) * step).collect()
    }
}

fn usable(value: f64, log: bool) -> Option<f64> {
    match (value.is_finite(), log) {
        (false, _) => None,
        (true, false) => Some(value.clamp(-LARGEST, LARGEST)),
        (true, true) => (value > 0.0).then(|| value.log10()),
    }
}

/// Moves `wanted` positions apart, in their order from top to bottom, so that neighbours keep `gap` and all
/// stay between `top` and `bottom` as far as there is room. Returns them in the order given.
pub fn spread(wanted: &[f64], gap: f64, top: f64, bottom: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));
    let mut placed = wanted.to_vec();
    let mut free = top;
    for &i in &order {
        placed[i] = placed[i].max(free);
        free = placed[i] + gap;
    }
    let mut free = bottom;
    for &i in order.iter().rev() {
        placed[i] = placed[i].min(free).max(top);
        free = placed[i] - gap;
    }
    placed
}

/// Puts each stretch into the first row where it fits, so that no two of one row overlap.
pub fn rows_without_overlap(stretches: &[(f64, f64)], gap: f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..stretches.len()).collect();
    order.sort_by(|&a, &b| stretches[a].0.total_cmp(&stretches[b].0));
    let mut ends: Vec<f64> = vec![];
    let mut rows = vec![0; stretches.len()];
    for i in order {
        let (from, to) = stretches[i];
        let row = ends.iter().position(|&end| end + gap <= from).unwrap_or(ends.len());
        if row == ends.len() {
            ends.push(to);
        }
        ends[row] = to;
        rows[i] = row;
    }
    rows
}

/// Stretches of a circle or line of `slots` equal slots, each given to the owner who holds most of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    pub from: usize,
    pub to: usize,
    pub owner: usize,
}

/// Reduces arcs (fractions of the circle) to runs of whole slots: neighbours of one owner are merged, and what
/// is smaller than a slot goes to the largest owner within it. Arcs that are not finite are left out.
pub fn runs(arcs: &[crate::Arc], slots: usize) -> Vec<Run> {
    let mut shares: Vec<(usize, usize, f64)> = vec![];
    let mut add = |from: f64, to: f64, owner: usize| {
        let (from, to) = (from.clamp(0.0, 1.0) * slots as f64, to.clamp(0.0, 1.0) * slots as f64);
        for slot in from as usize..(to.ceil() as usize).min(slots) {
            let held = to.min(slot as f64 + 1.0) - from.max(slot as f64);
            shares.push((slot, owner, held));
        }
    };
    for arc in arcs.iter().filter(|arc| arc.from.is_finite() && arc.to.is_finite()) {
        if arc.from <= arc.to {
            add(arc.from, arc.to, arc.owner);
        } else {
            add(arc.from, 1.0, arc.owner);
            add(0.0, arc.to, arc.owner);
        }
    }
    shares.sort_by_key(|&(slot, owner, _)| (slot, owner));
    let mut winners: Vec<(usize, usize, f64)> = vec![];
    for held in shares.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let (slot, owner, _) = held[0];
        let sum = held.iter().map(|h| h.2).sum();
        match winners.last_mut() {
            Some(last) if last.0 == slot && last.2 >= sum => {}
            Some(last) if last.0 == slot => *last = (slot, owner, sum),
            _ => winners.push((slot, owner, sum)),
        }
    }
    let mut runs: Vec<Run> = vec![];
    for (slot, owner, held) in winners {
        match runs.last_mut() {
            Some(run) if run.to == slot && run.owner == owner => run.to = slot + 1,
            _ if held > 0.0 => runs.push(Run { from: slot, to: slot + 1, owner }),
            _ => {}
        }
    }
    runs
}

/// A grid with its rows as columns: the heads but for the corner become the names in the first column, and those names
/// the heads.
pub fn turned(heads: &[String], rows: &[Vec<Cell>]) -> (Vec<String>, Vec<Vec<Cell>>) {
    let corner = heads.first().cloned().unwrap_or_default();
    let names = std::iter::once(corner).chain(rows.iter().map(|row| row[0].text.clone())).collect();
    let row = |column: usize| {
        let name = Cell { text: heads[column].clone(), tone: Tone::Plain };
        std::iter::once(name).chain(rows.iter().map(|row| row[column].clone())).collect()
    };
    (names, (1..heads.len()).map(row).collect())
}

/// Rows as they are drawn: the same message or note three times or more in a row becomes one, with the count in its
/// label.
pub fn with_repeats_counted(rows: &[SequenceRow]) -> Vec<SequenceRow> {
    let drawn = |rows: &[SequenceRow]| match rows {
        [SequenceRow::Message { .. } | SequenceRow::Note { .. }, _, _, ..] => {
            let mut row = rows[0].clone();
            if let SequenceRow::Message { label, .. } | SequenceRow::Note { label, .. } = &mut row {
                *label = format!("{label} × {}", rows.len()).trim_start().to_owned();
            }
            vec![row]
        }
        _ => rows.to_vec(),
    };
    rows.chunk_by(|a, b| a == b).flat_map(drawn).collect()
}

/// What an owner holds of a ring: the share of the circle and the number of arcs after merging neighbours.
pub fn share(arcs: &[crate::Arc], owner: usize) -> (f64, usize) {
    let held = arcs.iter().filter(|a| a.owner == owner && a.from.is_finite() && a.to.is_finite());
    held.fold((0.0, 0), |(sum, count), arc| {
        let (from, to) = (arc.from.clamp(0.0, 1.0), arc.to.clamp(0.0, 1.0));
        (sum + if from <= to { to - from } else { 1.0 - from + to }, count + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arc;

    #[test]
    fn figures_are_written_short_and_exact() {
        let short =
            [0.0, 7.0, 1234.0, 12345.0, -1234567.0, 0.1, 1.0 / 3.0, 99.95, 1234.5, 1e-7, 3e14, f64::NAN];
        let written: Vec<_> = short.into_iter().map(number).collect();
        let wanted =
            ["0", "7", "1234", "12,345", "−1,234,567", "0.1", "0.333", "99.95", "1234", "1e−7", "3e14", "–"];
        assert_eq!(written, wanted);
        assert_eq!([exact(0.1), exact(1e300), exact(12345.0)], ["0.1", "1e300", "12345"]);
    }

    #[test]
    fn text_wraps_between_words_and_says_when_it_was_cut() {
        let measure = |s: &str| s.chars().count() as f64;
        assert_eq!(
            wrap("one two three", 7.0, 2, measure),
            Wrapped { lines: vec!["one two".into(), "three".into()], cut: false }
        );
        assert_eq!(
            wrap("one two three four", 7.0, 2, measure),
            Wrapped { lines: vec!["one two".into(), "three…".into()], cut: true }
        );
        assert_eq!(wrap("/accounts/77", 10.0, 3, measure).lines, ["/accounts/", "77"]);
    }

    #[test]
    fn ticks_are_round_and_within_the_scale() {
        let labels = |scale: Scale, most| scale.ticks(most).into_iter().map(|t| t.1).collect::<Vec<_>>();
        assert_eq!(labels(Scale::over([0.0, 97.0], false, 0.0, 1.0), 5), ["0", "20", "40", "60", "80"]);
        assert_eq!(labels(Scale::over([1.0, 1e6], true, 0.0, 1.0), 4), ["1", "100", "10,000", "1,000,000"]);
        assert_eq!(labels(Scale::over([5.0], false, 0.0, 1.0), 3), ["4.5", "5", "5.5"]);
        assert!(Scale::over([], true, 0.0, 1.0).at(f64::INFINITY).is_none());
    }

    #[test]
    fn labels_are_moved_apart_but_keep_their_order() {
        assert_eq!(spread(&[50.0, 52.0, 10.0], 15.0, 0.0, 60.0), [45.0, 60.0, 10.0]);
    }

    #[test]
    fn the_same_message_or_note_in_a_row_is_drawn_once_with_its_count() {
        let message = |label: &str| SequenceRow::Message {
            from: 0,
            to: 1,
            label: label.to_owned(),
            lost: false,
            tone: Tone::Plain,
        };
        let [a, b] = ["a", "b"].map(message);
        let rows = [a.clone(), a.clone(), b.clone(), a.clone(), a.clone(), a.clone()];
        assert_eq!(with_repeats_counted(&rows), [a.clone(), a, b, message("a × 3")]);
        let note = |label: &str| SequenceRow::Note { at: 0, label: label.to_owned(), tone: Tone::Refuted };
        assert_eq!(with_repeats_counted(&vec![note("closed"); 4]), [note("closed × 4")]);
    }

    #[test]
    fn small_arcs_go_to_the_largest_owner_of_their_slot() {
        let arc = |from, to, owner| Arc { from, to, owner };
        let arcs = [arc(0.9, 0.05, 1), arc(0.05, 0.07, 2), arc(0.07, 0.2, 0), arc(0.2, 0.9, 0)];
        let wanted = [
            Run { from: 0, to: 1, owner: 1 },
            Run { from: 1, to: 9, owner: 0 },
            Run { from: 9, to: 10, owner: 1 },
        ];
        assert_eq!(runs(&arcs, 10), wanted);
    }
}
