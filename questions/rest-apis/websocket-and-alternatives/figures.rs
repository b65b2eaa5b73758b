//! What is drawn of a run.

use super::clients::Transport;
use super::{Observed, Wrong};
use crate::prelude::*;

pub fn all(seen: &Observed) -> Vec<Figure> {
    vec![
        Figure::new(
            "bytes per price",
            "What one price of 60 bytes costs on the connection, both ways, once it is open. HTTP's own ways pay for heads \
             again and again; an event pays for its field names, and a frame 2 bytes.",
            bytes(seen),
        ),
        Figure::new(
            "four ways, and one done badly",
            "Requests in peace, prices that came late, and what every cut did. Whoever says where it was misses nothing, over \
             any of them; a WebSocket says nothing of the kind by itself.",
            ways(seen),
        ),
        Figure::new(
            "wrong frames",
            "Sent byte by byte, each on a connection of its own, with the code that the server closed with.",
            wrong(&seen.wrong),
        ),
    ]
}

fn bytes(seen: &Observed) -> Bars {
    let four = Transport::ALL.into_iter().filter(|it| *it != Transport::NaiveSocket);
    let in_peace = |it: &super::Carried| it.published - 2 * seen.while_cut;
    let row = |transport: Transport| {
        let it = &seen.carried[&transport];
        let each = (10 * it.bytes / in_peace(it).max(1)) as f64 / 10.0;
        let tone = if transport == Transport::Socket { Tone::Accent } else { Tone::Plain };
        BarRow { label: transport.name().into(), bars: vec![Bar { value: each, tone }] }
    };
    Bars {
        unit: "bytes per price".into(),
        series: Vec::new(),
        rows: four.map(row).collect(),
        limit: Some((seen.frame.payload as f64, "the price itself".into())),
    }
}

fn ways(seen: &Observed) -> Matrix {
    let cell = |count: u64, bad| Cell {
        text: count.to_string(),
        tone: if count > 0 && bad { Tone::Refuted } else { Tone::Plain },
    };
    let row = |transport| {
        let it = &seen.carried[&transport];
        vec![cell(it.requests, false), cell(it.late, true), cell(it.missed, true), cell(it.repeated, true)]
    };
    Matrix {
        rows: Transport::ALL.map(|it| it.name().to_owned()).into(),
        columns: ["requests", "late", "missed", "twice"].map(str::to_owned).into(),
        cells: Transport::ALL.map(row).into(),
    }
}

fn wrong(wrong: &[Wrong]) -> Table {
    let row = |it: &Wrong| vec![it.what.to_owned(), it.code.to_string(), meaning(it.code).to_owned()];
    Table {
        columns: ["the client sends", "closed with", "which means"].map(str::to_owned).into(),
        rows: wrong.iter().map(row).collect(),
    }
}

/// RFC 6455, section 7.4.1.
fn meaning(code: u16) -> &'static str {
    match code {
        1002 => "protocol error",
        1006 => "no close frame came",
        1007 => "not what its type says",
        1009 => "too large",
        _ => "something else",
    }
}
