//! What is drawn of a run.

use super::{Observed, Trial};
use crate::prelude::*;

pub fn all(seen: &Observed) -> Vec<Figure> {
    vec![
        Figure::new(
            "one thread",
            "The server's only thread waits for the silent client. All others are connected at once, since the kernel does \
             that alone; what follows the connection is waiting, until the silent client leaves.",
            timeline(&seen.one_thread),
        ),
        Figure::new(
            "event loop",
            "The same clients at an event loop, which also has one thread: nobody waits for the silent client.",
            timeline(&seen.event_loop),
        ),
        Figure::new(
            "where they were",
            "What had become of the clients while the silent ones stayed. The queue is the kernel's: connected, and not \
             yet accepted by any program.",
            places(seen),
        ),
    ]
}

fn timeline(trial: &Trial) -> Timeline {
    let end = trial.clients.iter().filter_map(|it| it.answered_ms).fold(trial.left_ms, f64::max);
    let silent = Span { from: 0.0, to: trial.left_ms, label: "says nothing".into(), tone: Tone::Refuted };
    let mut lanes = vec![Lane { name: "silent".into(), spans: vec![silent], moments: Vec::new() }];
    for (nth, client) in trial.clients.iter().take(8).enumerate() {
        let Some(connected) = client.connected_ms else { continue };
        let to = client.answered_ms.unwrap_or(end);
        let served = to < trial.left_ms;
        let (label, tone) = if served { ("served", Tone::Accent) } else { ("connected, waits", Tone::Soft) };
        let span = Span { from: connected, to, label: label.into(), tone };
        let name = format!("client {}", nth + 1);
        lanes.push(Lane { name, spans: vec![span], moments: Vec::new() });
    }
    let marks = vec![Mark { at: trial.left_ms, label: "silent client leaves".into() }];
    Timeline { unit: "ms".into(), lanes, marks }
}

fn places(seen: &Observed) -> Table {
    let trials =
        [&seen.one_thread, &seen.pool_with_one_free, &seen.pool_full, &seen.many_threads, &seen.event_loop];
    let row = |it: &&Trial| {
        let figures = [it.silent, it.connected, it.queued, it.bytes_waiting, it.answered_meanwhile];
        let figures = figures.map(|figure| figure.to_string());
        [vec![it.name.to_owned()], figures.into()].concat()
    };
    let columns = ["server", "silent", "connected", "in the queue", "bytes unread", "answered"];
    Table { columns: columns.map(str::to_owned).into(), rows: trials.iter().map(row).collect() }
}
