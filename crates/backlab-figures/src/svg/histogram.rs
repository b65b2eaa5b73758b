//! How often a value fell into each bucket.

use super::canvas::{Canvas, Path, Type};
use super::plot::{self, Area};
use crate::layout::{Scale, number};
use crate::{Bucket, Histogram, Tone};

pub fn draw(canvas: &mut Canvas, it: &Histogram) {
    let positive = it.buckets.iter().flat_map(|b| [b.from, b.to]).filter(|&v| v > 0.0 && v.is_finite());
    let foot = positive.fold(f64::INFINITY, f64::min) / 2.0;
    let edges = |b: &Bucket| (if it.x.log { b.from.max(foot) } else { b.from }, b.to);
    let drawn = |b: &&Bucket| edges(b).0 < b.to && edges(b).0.is_finite() && b.to.is_finite();
    let buckets: Vec<_> = it.buckets.iter().filter(drawn).collect();
    let Some(most) = buckets.iter().map(|b| b.count).max() else { return };

    let height = 170.0;
    let probe = Scale::over([0.0, (most as f64).max(1.0)], false, height, 0.0);
    let (left, right) = (plot::y_figures(&probe, height), canvas.width - 8.0);
    let values = buckets.iter().flat_map(|b| [edges(b).0, b.to]).chain(it.marks.iter().map(|m| m.at));
    let x = Scale::over(values, it.x.log, left + 2.0, right);
    let top = 24.0 + plot::mark_rows(&it.marks, |v| x.at(v), canvas.width);
    let area = Area { left, right, top, bottom: top + height };
    let y = Scale::over([0.0, (most as f64).max(1.0)], false, area.bottom, area.top);

    plot::y_axis(canvas, area, &y, "count");
    let spans = buckets.iter().filter_map(|b| Some((x.at(edges(b).0)?, x.at(b.to)?, y.at(b.count as f64)?)));
    let spans: Vec<_> = spans.collect();
    canvas.path("mass", Tone::Plain, &skyline(&spans, area.bottom), " fill-opacity=\".6\"");
    plot::x_axis(canvas, area, &x, &it.x.label);
    plot::marks(canvas, &it.marks, |v| x.at(v), area.top - 14.0, area.bottom);
    counts(canvas, &buckets, &spans);
}

/// All bars as one path: with gaps between them where they are wide, one outline where they are narrow.
fn skyline(spans: &[(f64, f64, f64)], bottom: f64) -> Path {
    let mut path = Path::default();
    let mut pixel: Option<(f64, f64)> = None;
    for &(from, to, top) in spans {
        if to - from >= 2.0 {
            let gap = if to - from > 6.0 { 1.0 } else { 0.0 };
            path = path.rect(from, top, to - from - gap, bottom - top);
            continue;
        }
        pixel = match pixel {
            Some((x, highest)) if from.round() == x => Some((x, highest.min(top))),
            _ => {
                if let Some((x, highest)) = pixel {
                    path = path.rect(x, highest, 1.0, bottom - highest);
                }
                Some((from.round(), top))
            }
        };
    }
    match pixel {
        Some((x, highest)) => path.rect(x, highest, 1.0, bottom - highest),
        None => path,
    }
}

/// The count above each bar, where all of them fit.
fn counts(canvas: &mut Canvas, buckets: &[&Bucket], spans: &[(f64, f64, f64)]) {
    let texts: Vec<_> = buckets.iter().map(|b| number(b.count as f64)).collect();
    let fits = |(text, span): (&String, &(f64, f64, f64))| Type::mono().width(text) < span.1 - span.0 - 2.0;
    if spans.len() == texts.len() && texts.iter().zip(spans).all(fits) {
        for (text, (from, to, top)) in texts.iter().zip(spans) {
            canvas.text((from + to) / 2.0, top - 4.0, text, Type::mono().middle().halo());
        }
    }
}
