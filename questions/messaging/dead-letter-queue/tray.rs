//! The tray: the stream of dead letters, what is in it, and the way back.

use super::Params;
use super::belt::{self, Belt, work};
use super::orders::{Kind, Published, SUBJECT, Shop};
use super::worker::Policy;
use crate::prelude::*;
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream;
use backlab_parts::nats::{Client, Nats};

const DEAD: &str = "dead";
const PATIENCE: Duration = Duration::from_millis(100);

/// The stream of dead letters. A letter leaves it when a redrive acknowledges it.
pub struct Dead {
    client: Client,
    stream: stream::Stream,
}

/// What is in the tray.
#[derive(Debug, Clone, Serialize)]
pub struct Tray {
    pub letters: Vec<Letter>,
    /// Letters with the bytes, the subject, the count and an error of a poison order.
    pub intact: u64,
    /// Letters of orders that only failed once.
    pub of_slow: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Letter {
    pub body: String,
    pub subject: String,
    /// Where it stood in the stream of orders.
    pub sequence: u64,
    pub deliveries: u64,
    pub error: String,
}

/// What came of sending all letters again.
#[derive(Debug, Clone, Serialize)]
pub struct Redriven {
    pub sent: u64,
    /// Letters in the tray afterwards.
    pub left: u64,
    /// Orders, the one of the crash included, that were shipped exactly once, and those that were not.
    pub once: u64,
    pub not_once: u64,
}

impl Dead {
    pub async fn open(nats: &Nats) -> Result<Self> {
        let client = nats.client("tray").await?;
        let config = stream::Config {
            name: DEAD.into(),
            subjects: vec!["dead.>".into()],
            retention: stream::RetentionPolicy::WorkQueue,
            ..stream::Config::default()
        };
        Ok(Self { stream: client.stream_with(config).await?, client })
    }

    /// How many letters there are.
    pub async fn count(&mut self) -> Result<u64> {
        Ok(self.stream.info().await?.state.messages)
    }

    /// All letters, without taking one out.
    async fn letters(&mut self) -> Result<Vec<Letter>> {
        let state = self.stream.info().await?.state.clone();
        let mut letters = Vec::new();
        // Of an empty stream the first is 0, or lies behind the last.
        for sequence in state.first_sequence.max(1)..=state.last_sequence {
            let message = self.stream.get_raw_message(sequence).await?;
            let header =
                |name: &str| message.headers.get(name).map(|it| it.as_str().to_owned()).unwrap_or_default();
            letters.push(Letter {
                body: String::from_utf8_lossy(&message.payload).into_owned(),
                subject: header("Origin-Subject"),
                sequence: header("Origin-Sequence").parse().unwrap_or_default(),
                deliveries: header("Deliveries").parse().unwrap_or_default(),
                error: header("Error"),
            });
        }
        Ok(letters)
    }

    /// Holds the letters against the orders.
    pub async fn read(&mut self, orders: &[Published], max_deliveries: u64) -> Result<Tray> {
        let letters = self.letters().await?;
        let of = |letter: &Letter, kind| {
            orders
                .iter()
                .any(|it| it.kind == kind && it.sequence == letter.sequence && it.body == letter.body)
        };
        let intact = |it: &&Letter| {
            of(it, Kind::Poison)
                && it.subject == SUBJECT
                && it.deliveries == max_deliveries
                && it.error.starts_with("price list: 500")
        };
        Ok(Tray {
            intact: letters.iter().filter(intact).count() as u64,
            of_slow: letters.iter().filter(|it| of(it, Kind::Slow)).count() as u64,
            letters,
        })
    }

    /// Throws away the letters of one order, as somebody does who has looked at them. Returns how many those were.
    pub async fn discard(&mut self, order: u64) -> Result<u64> {
        let first = self.stream.info().await?.state.first_sequence;
        let letters = std::iter::zip(first.., self.letters().await?);
        let mut discarded = 0;
        for (sequence, _) in letters.filter(|(_, letter)| letter.sequence == order) {
            self.stream.delete_message(sequence).await?;
            discarded += 1;
        }
        Ok(discarded)
    }

    /// Sends every letter back to where it came from, lets the worker work, and looks what came of it.
    pub async fn redrive(&mut self, lab: &Lab, nats: &Nats, p: &Params, shop: &Shop) -> Result<Redriven> {
        let waiting = self.count().await?;
        lab.step(format_args!("Redrive of {waiting} letters"));
        let config = pull::Config { durable_name: Some("redrive".into()), ..pull::Config::default() };
        let letters = self.client.consumer(DEAD, config).await?;
        let mut sent = 0;
        while sent < waiting {
            let letter = letters.next(PATIENCE * 50).await?.context("the tray holds a letter back")?;
            let subject = letter.headers().and_then(|it| it.get("Origin-Subject"));
            let subject = subject.context("a letter without its origin")?.as_str();
            // In this order, for the same reason as before: a crash in between doubles the message, and loses none.
            self.client.publish(subject, letter.body().clone()).await?;
            letter.ack().await?;
            sent += 1;
        }
        let worker = belt::worker(nats, p, Policy::DeadLetter, shop).await?;
        work(&worker, p, &[]).await?;

        let shipped = shop.shipped();
        let all = p.messages + 1;
        let once = (1..=all).filter(|order| shipped.get(order) == Some(&1)).count() as u64;
        Ok(Redriven { sent, left: self.count().await?, once, not_once: all - once })
    }
}

pub fn claim_exact(p: &Params, seen: &Tray, letters: &Belt) -> Claim {
    let words = |all, intact, slow| format!("{all} letters, {intact} complete, {slow} of slow orders");
    let failed: u64 = letters.poison.values().sum();
    claim(
        "letters-exact",
        "The tray holds exactly the poison messages, each with its bytes, subject, count and error",
        "the letter is written anew instead of copied, or slow ones are put aside as well",
    )
    .witness(failed > 0, format!("{failed} deliveries of poison failed"))
    .equal(words(seen.letters.len() as u64, seen.intact, seen.of_slow), words(p.poison, p.poison, 0))
}

pub fn claims_redrive(p: &Params, unfixed: &Redriven, fixed: &Redriven) -> Vec<Claim> {
    let all = p.messages + 1;
    let words = |left, not_once| format!("{left} letters left, {not_once} of {all} orders not shipped once");
    let sent = |it: &Redriven| format!("{} letters sent again", it.sent);
    vec![
        claim(
            "redrive-returns",
            "Redriven without the fix, every letter comes back",
            "a redrive bypasses the limit, or loses what fails again",
        )
        .witness(unfixed.sent > 0, sent(unfixed))
        .equal(format!("{} came back", unfixed.left), format!("{} came back", unfixed.sent)),
        claim(
            "redrive-clears",
            "Redriven with the fix, the tray is empty and every order has been shipped exactly once",
            "a letter was lost, or the handler ships an order twice that comes twice",
        )
        .witness(fixed.sent > 0, sent(fixed))
        .equal(words(fixed.left, fixed.not_once), words(0, 0)),
    ]
}

pub fn figure_letters(seen: &Tray) -> Figure {
    let row = |it: &Letter| {
        vec![
            it.sequence.to_string(),
            it.subject.clone(),
            it.body.clone(),
            it.deliveries.to_string(),
            it.error.clone(),
        ]
    };
    let table = Table {
        columns: ["order", "subject", "bytes", "deliveries", "error"].map(str::to_owned).to_vec(),
        rows: seen.letters.iter().map(row).collect(),
    };
    let caption = "The dead letters after the third consumer. Bytes and subject are the originals, so that a letter \
                   can be sent again; count and error say why it lies here.";
    Figure::new("dead letters", caption, table)
}

pub fn figure_redrive(unfixed: &Redriven, fixed: &Redriven) -> Figure {
    let row = |label: &str, it: &Redriven| BarRow {
        label: label.into(),
        bars: vec![
            Bar { value: it.sent as f64, tone: Tone::Soft },
            Bar { value: it.left as f64, tone: if it.left > 0 { Tone::Refuted } else { Tone::Plain } },
        ],
    };
    let bars = Bars {
        unit: "letters".into(),
        series: vec!["sent again".into(), "in the tray afterwards".into()],
        rows: vec![row("without the fix", unfixed), row("with the fix", fixed)],
        limit: None,
    };
    let caption = format!(
        "A redrive before the cause is removed only makes work. With the fix the tray empties; {} orders were then \
         shipped exactly once, {} were not.",
        fixed.once, fixed.not_once
    );
    Figure::new("redrive", caption, bars)
}

impl Tray {
    pub fn exact(p: &Params) -> Self {
        let letter = Letter {
            body: String::new(),
            subject: SUBJECT.into(),
            sequence: 4,
            deliveries: p.max_deliveries,
            error: String::new(),
        };
        Self { letters: vec![letter; p.poison as usize], intact: p.poison, of_slow: 0 }
    }
}

impl Redriven {
    pub fn returned(p: &Params) -> Self {
        let sent = p.poison + 2;
        Self { sent, left: sent, once: p.messages - p.poison, not_once: p.poison + 1 }
    }

    pub fn cleared(p: &Params) -> Self {
        Self { sent: p.poison + 2, left: 0, once: p.messages + 1, not_once: 0 }
    }
}
