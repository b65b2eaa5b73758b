//! The ledgers as pictures.

use super::router::Router as Switch;
use super::{Deploy, Observed};
use crate::prelude::*;

/// What became of each request, and when, for drawing.
#[derive(Debug, Clone, Default)]
pub struct Story {
    answers: Vec<Seen>,
    marks: Vec<(f64, String)>,
}

#[derive(Debug, Clone)]
struct Seen {
    at_ms: f64,
    lane: usize,
}

const LANES: [&str; 3] = ["answered by v1", "answered by v2", "failed"];

impl Story {
    pub fn tell(loaded: &Loaded, switch: &Switch) -> Self {
        let first_ns = loaded.shots.first().map_or(0, |shot| shot.sent_ns);
        let answers = loaded.shots.iter().map(|shot| Seen {
            at_ms: shot.sent_ns.saturating_sub(first_ns) as f64 / 1e6,
            lane: match (shot.outcome, shot.kept.as_deref()) {
                (Ok(200), Some("v1")) => 0,
                (Ok(200), Some("v2")) => 1,
                _ => 2,
            },
        });
        Self { answers: answers.collect(), marks: switch.ledger().marks_ms() }
    }

    fn figure(&self, title: &str, caption: &str) -> Figure {
        let lane = |(lane, name): (usize, &&str)| {
            let tone = [Tone::Soft, Tone::Accent, Tone::Refuted][lane];
            let moments = self.answers.iter().filter(|seen| seen.lane == lane);
            let moments = moments.map(|seen| Moment { at: seen.at_ms, label: String::new(), tone });
            Lane { name: (*name).to_owned(), spans: Vec::new(), moments: moments.collect() }
        };
        let marks = self.marks.iter().map(|(at, label)| Mark { at: *at, label: label.clone() }).collect();
        let lanes = LANES.iter().enumerate().map(lane).collect();
        Figure::new(title, caption, Timeline { unit: "ms".into(), lanes, marks })
    }
}

pub fn figures(seen: &Observed) -> Vec<Figure> {
    vec![
        bars(seen),
        seen.switch_and_kill.story.figure(
            "killed at the switch",
            "Each request at the moment at which it was sent. The failures stand before the switch: they were already \
             with the old side when it was killed.",
        ),
        seen.switch_and_back.story.figure(
            "drained, and rolled back",
            "The same switch, but the old side is stopped only when it has nothing left to do. Then back again, in the \
             same way: the lane of failures stays empty.",
        ),
        seen.per_connection.story.figure(
            "a router that chooses for each connection",
            "After the switch, requests on connections that were opened before it still go to the old version.",
        ),
        ledger(seen),
    ]
}

fn named(seen: &Observed) -> [(&'static str, &Deploy); 5] {
    [
        ("A stop, then start", &seen.stop_then_start),
        ("B switch, kill at once", &seen.switch_and_kill),
        ("C switch, drain, and back", &seen.switch_and_back),
        ("C per connection", &seen.per_connection),
        ("D with a schema change", &seen.schema),
    ]
}

fn bars(seen: &Observed) -> Figure {
    let rows = named(seen).into_iter().map(|(name, deploy)| {
        let tone = if deploy.failed > 0 { Tone::Refuted } else { Tone::Accent };
        BarRow { label: name.into(), bars: vec![Bar { value: deploy.failed as f64, tone }] }
    });
    let bars = Bars { unit: "failed requests".into(), rows: rows.collect(), ..Bars::default() };
    Figure::new("failures", "Failed requests of each way to deploy, under the same load.", bars)
}

fn ledger(seen: &Observed) -> Figure {
    let columns = [
        "deploy",
        "requests",
        "failed",
        "by v1",
        "by v2",
        "in flight at the switch",
        "to the old side after it",
    ];
    let rows = named(seen).into_iter().map(|(name, it)| {
        let counts = [
            it.requests,
            it.failed,
            it.answered_by_v1,
            it.answered_by_v2,
            it.in_flight_at_switch,
            it.to_old_after_switch,
        ];
        std::iter::once(name.to_owned()).chain(counts.iter().map(u64::to_string)).collect()
    });
    let table = Table { columns: columns.map(str::to_owned).to_vec(), rows: rows.collect() };
    Figure::new(
        "ledger",
        "Every request of every deploy. Where the router switches twice, the smaller number in flight.",
        table,
    )
}
