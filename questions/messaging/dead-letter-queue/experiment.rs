//! Dead letters: what becomes of messages that can't be processed, on a real NATS JetStream.
//!
//! One stream of orders, a few of them rotten, is read by three consumers that differ in their policy only. Then
//! workers die: one while it puts a message aside, some by the message itself. In the end what was put aside is sent
//! again.

use crate::prelude::*;

#[path = "belt.rs"]
mod belt;
#[path = "crash.rs"]
mod crash;
#[path = "orders.rs"]
mod orders;
#[path = "tray.rs"]
mod tray;
#[path = "worker.rs"]
mod worker;

choices! {
    /// How many messages a consumer may hold without an acknowledgement.
    pub enum InFlight { One = "one at a time", Ten = "ten in flight" }
}
choices! {
    /// In which order a worker puts a message aside.
    pub enum Order {
        LetterFirst = "publish the letter, then terminate",
        TerminateFirst = "terminate, then publish the letter",
    }
}
choices! {
    /// Who counts how often a message was tried.
    pub enum Count { Server = "the server", Worker = "the worker's memory" }
}
choices! {
    /// What the shop does with an order that it has shipped before.
    pub enum Twice { Once = "nothing", Again = "ships it again" }
}

params! {
    /// Orders in the stream.
    messages: u64 = 100 in 20..=500;
    /// Rotten ones among them, near the front.
    poison: u64 = 3 in 1..=10;
    /// Deliveries after which a message is given up.
    max_deliveries: u64 = 3 in 2..=6;
    /// How many messages a consumer may hold without an acknowledgement.
    consumer: InFlight = "one at a time" in ..;
    /// In which order a worker puts a message aside.
    order: Order = "publish the letter, then terminate" in ..;
    /// Who counts how often a message was tried.
    counted_by: Count = "the server" in ..;
    /// What the shop does with an order that it has shipped before.
    shipped_before: Twice = "nothing" in ..;
}

pub struct DeadLetterQueue;

#[derive(Debug, Clone, Serialize)]
pub struct Observed {
    forever: belt::Belt,
    limited: belt::Belt,
    letters: belt::Belt,
    tray: tray::Tray,
    kill: crash::Kill,
    explosion: crash::Explosion,
    unfixed: tray::Redriven,
    fixed: tray::Redriven,
}

impl Experiment for DeadLetterQueue {
    type Params = Params;
    type Observed = Observed;

    const NEEDS: &'static [&'static Part] = &[&inventory::NATS];
    const ROLES: &'static [Role] = &[crash::WORKER];

    fn predict(p: &Params) -> Prediction<Observed> {
        let ask = format!(
            "A JetStream consumer has MaxDeliver {}, and nothing else is provided. What has become of a poison \
             message after its last failed delivery?",
            p.max_deliveries
        );
        let options = &[
            "it is deleted",
            "it goes to a dead letter stream",
            "it stays in the stream and is not delivered again",
            "it is delivered for ever",
        ];
        Prediction::choice(ask, options, |seen: &Observed| seen.limited.fate_of_poison()).tempting(
            1,
            "SQS and RabbitMQ move a message by policy, so people expect it of every broker; JetStream only stops \
             and tells",
        )
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        let nats = lab.nats("nats").await?;
        let orders = orders::publish(lab, &nats, p).await?;
        let forever = belt::run(lab, &nats, p, &orders, worker::Policy::Forever).await?;
        let limited = belt::run(lab, &nats, p, &orders, worker::Policy::MaxDeliver).await?;

        let mut tray = tray::Dead::open(&nats).await?;
        let mut shop = orders::Shop::new(p.shipped_before);
        let letters = belt::run_with(lab, &nats, p, &orders, worker::Policy::DeadLetter, &shop).await?;
        let tray_seen = tray.read(&orders, p.max_deliveries).await?;
        let kill = crash::kill(lab, &nats, p, &mut tray).await?;
        let explosion = crash::explode(lab, &nats, p, &mut tray).await?;
        let unfixed = tray.redrive(lab, &nats, p, &shop).await?;
        shop.fix();
        let fixed = tray.redrive(lab, &nats, p, &shop).await?;
        Ok(Observed { forever, limited, letters, tray: tray_seen, kill, explosion, unfixed, fixed })
    }

    fn claims(p: &Params, seen: &Observed) -> Vec<Claim> {
        let mut claims = belt::claims(p, seen);
        claims.push(tray::claim_exact(p, &seen.tray, &seen.letters));
        claims.extend(crash::claims(p, &seen.kill, &seen.explosion));
        claims.extend(tray::claims_redrive(p, &seen.unfixed, &seen.fixed));
        claims
    }

    fn figures(_: &Params, seen: &Observed) -> Vec<Figure> {
        vec![
            belt::figure_belts(seen),
            belt::figure_deliveries(seen),
            tray::figure_letters(&seen.tray),
            tray::figure_redrive(&seen.unfixed, &seen.fixed),
        ]
    }

    fn counterexamples(p: &Params) -> Vec<Observed> {
        let as_claimed = Observed {
            forever: belt::Belt::blocked(p),
            limited: belt::Belt::limited(p),
            letters: belt::Belt::limited(p),
            tray: tray::Tray::exact(p),
            kill: crash::Kill::as_claimed(p),
            explosion: crash::Explosion::as_claimed(p),
            unfixed: tray::Redriven::returned(p),
            fixed: tray::Redriven::cleared(p),
        };
        let broken = |change: fn(&mut Observed)| {
            let mut seen = as_claimed.clone();
            change(&mut seen);
            seen
        };
        vec![
            broken(|it| it.forever.behind_done = 1),
            broken(|it| it.limited.told = 0),
            broken(|it| it.limited.done -= 1),
            broken(|it| it.letters.done -= 1),
            broken(|it| it.tray.intact -= 1),
            broken(|it| it.kill.letters = 0),
            broken(|it| it.kill.tried *= 2),
            broken(|it| it.explosion.letters = 0),
            broken(|it| it.unfixed.left = 0),
            broken(|it| it.fixed.not_once = 1),
        ]
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "terminate the message before its letter is published, and be killed in between",
                set: &[("order", "terminate, then publish the letter")],
                refutes: &["kill-keeps-letter", "redrive-clears"],
            },
            Fault {
                label: "count the deliveries in the worker's memory, and die",
                set: &[("counted_by", "the worker's memory")],
                refutes: &["count-survives", "crash-put-aside"],
            },
            Fault {
                label: "let the shop ship whatever comes",
                set: &[("shipped_before", "ships it again")],
                refutes: &["redrive-clears"],
            },
        ]
    }
}

impl InFlight {
    fn slots(self) -> u64 {
        match self {
            Self::One => 1,
            Self::Ten => 10,
        }
    }
}
