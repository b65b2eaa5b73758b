//! One thread executes: a slow script makes everybody wait, unless it is cut into short ones.

use crate::prelude::*;
use backlab_parts::redis::{Client, Redis};
use std::time::Instant;
use tokio::sync::Notify;

/// Scripts into which the slow one is cut.
pub const PIECES: u64 = 50;
const SOON: Duration = Duration::from_secs(10);

/// Says in the server's log that it runs, counts, and takes a turn.
const SCRIPT: &str = "
    redis.log(redis.LOG_WARNING, ARGV[2])
    local sum = 0
    for i = 1, tonumber(ARGV[1]) do sum = sum + i end
    return redis.call('INCR', KEYS[1])";

#[derive(Debug, Clone, Serialize)]
pub struct Seen {
    pub scripts: Vec<Asked>,
    pub other: Asked,
}

/// A request that takes a turn, in milliseconds since the first was sent.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Asked {
    pub asked: f64,
    pub answered: f64,
    pub turn: u64,
}

pub async fn observe(lab: &Lab, redis: &Redis, pieces: u64, millions: u64) -> Result<Seen> {
    let (a, b) = (redis.client("A").await?, redis.client("B").await?);
    let what =
        if pieces == 1 { "One long script".into() } else { format!("The same loop in {pieces} scripts") };
    lab.step(format_args!("{what} by A; while the first runs, B sends INCR"));
    a.run::<()>("DEL turn").await?;
    // Else every other client gets BUSY after 5 seconds.
    a.run::<()>("CONFIG SET busy-reply-threshold 600000").await?;

    let began = Instant::now();
    let b_asks = Notify::new();
    let scripts = async {
        let mut scripts = Vec::new();
        for piece in 1..=pieces {
            scripts.push(script(&a, began, millions * 1_000_000 / pieces, &mark(pieces, piece)).await?);
            if piece == 1 && pieces > 1 {
                b_asks.notified().await;
            }
        }
        Ok(scripts)
    };
    let other = async {
        let running = mark(pieces, 1);
        redis.process().line(SOON, |line| line.ends_with(&running).then_some(())).await?;
        let asked = ms(began);
        b_asks.notify_one();
        let turn = b.run("INCR turn").await?;
        Ok::<_, anyhow::Error>(Asked { asked, answered: ms(began), turn })
    };
    let (scripts, other) = tokio::try_join!(scripts, other)?;
    Ok(Seen { scripts, other })
}

fn mark(pieces: u64, piece: u64) -> String {
    format!("script {piece} of {pieces} runs")
}

fn ms(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1000.0
}

async fn script(client: &Client, began: Instant, rounds: u64, mark: &str) -> Result<Asked> {
    let asked = ms(began);
    let mut script = redis::cmd("EVAL");
    script.arg(SCRIPT).arg(1).arg("turn").arg(rounds).arg(mark);
    let turn = script.query_async(&mut client.clone()).await?;
    Ok(Asked { asked, answered: ms(began), turn })
}

impl Seen {
    fn last(&self) -> Asked {
        self.scripts.last().copied().unwrap_or(self.other)
    }

    /// How long before the last script's answer the other client had asked.
    fn ahead(&self) -> f64 {
        self.last().answered - self.other.asked
    }
}

pub fn claims(whole: &Seen, cut: &Seen) -> Vec<Claim> {
    let ahead = |seen: &Seen| {
        let words = format!("B asked {:.0} ms before the last answer to A", seen.ahead());
        (seen.ahead() > 0.0, words)
    };
    let turns = |a, b| format!("A's last script gets turn {a}, B turn {b}");
    let ((waited, whole_words), (overtook, cut_words)) = (ahead(whole), ahead(cut));
    vec![
        claim(
            "script-blocks",
            "A command that comes while a script runs is executed after it",
            "another thread executes commands meanwhile",
        )
        .witness(waited, whole_words)
        .equal(turns(whole.last().turn, whole.other.turn), turns(1, 2)),
        claim(
            "cut-lets-in",
            "Cut into short scripts, the same work lets the other client in between",
            "the pieces are sent as one",
        )
        .witness(overtook, cut_words)
        .that(
            cut.other.turn < cut.last().turn,
            turns(cut.last().turn, cut.other.turn),
            "B before A's last script",
        ),
    ]
}

pub fn figure(whole: &Seen, cut: &Seen) -> Figure {
    let mut timeline = Timeline { unit: "ms".into(), ..Timeline::default() };
    for (seen, how) in [(whole, "one script"), (cut, "in pieces")] {
        let span = |it: &Asked, label: String, tone| Span { from: it.asked, to: it.answered, label, tone };
        let lane = |name, spans| Lane { name: format!("{name}, {how}"), spans, moments: Vec::new() };
        let label =
            |it: &Asked| if seen.scripts.len() == 1 { format!("turn {}", it.turn) } else { String::new() };
        let scripts = seen.scripts.iter().map(|it| span(it, label(it), Tone::Plain)).collect();
        timeline.lanes.push(lane("A", scripts));
        let tone = if seen.other.turn > seen.last().turn { Tone::Refuted } else { Tone::Accent };
        let waits = span(&seen.other, format!("waits, turn {}", seen.other.turn), tone);
        timeline.lanes.push(lane("B", vec![waits]));
    }
    let caption = "From request to answer. Behind the long script B's INCR, a matter of microseconds, waits for the \
                   whole of it. The same loop in pieces takes as long, and B is served after a piece or two.";
    Figure::new("one thread", caption, timeline)
}

impl Seen {
    /// One script with turn 1, and the other client with turn 2.
    pub fn whole() -> Self {
        let asked = |asked, answered, turn| Asked { asked, answered, turn };
        Self { scripts: vec![asked(0.0, 100.0, 1)], other: asked(5.0, 101.0, 2) }
    }

    /// The other client is served while the one script runs.
    pub fn overtaken() -> Self {
        let asked = |asked, answered, turn| Asked { asked, answered, turn };
        Self { scripts: vec![asked(0.0, 100.0, 2)], other: asked(5.0, 6.0, 1) }
    }

    /// Three scripts, the other client after the first.
    pub fn cut() -> Self {
        let asked = |asked, answered, turn| Asked { asked, answered, turn };
        let scripts = vec![asked(0.0, 10.0, 1), asked(10.0, 20.0, 3), asked(20.0, 30.0, 4)];
        Self { scripts, other: asked(5.0, 11.0, 2) }
    }

    /// Three scripts, the other client after the last.
    pub fn starved() -> Self {
        let asked = |asked, answered, turn| Asked { asked, answered, turn };
        let scripts = vec![asked(0.0, 10.0, 1), asked(10.0, 20.0, 2), asked(20.0, 30.0, 3)];
        Self { scripts, other: asked(5.0, 31.0, 4) }
    }
}
