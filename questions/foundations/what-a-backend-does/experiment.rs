//! What a backend does: a ticket office with all its duties, and four more that lack one each.
//!
//! Each office is a process over a file. It is asked by somebody without a token, then for minus three tickets, then by
//! a crowd at once; then it is killed and started again. Four things must be true of it afterwards.

use crate::prelude::*;
use axum::http::header;

#[path = "figures.rs"]
mod figures;
#[path = "office.rs"]
mod office;

use office::{CROWD, Order, Wish};

/// What somebody orders who has found out that nobody looks.
const NONSENSE: i64 = -3;

choices! {
    pub enum Duty {
        Nothing = "nothing",
        Authentication = "authentication",
        Validation = "validation",
        Atomicity = "atomicity",
        Durability = "durability",
    }
}

choices! {
    pub enum Writes {
        Back = "what it read, less one",
        Less = "the stock, less one",
    }
}

params! {
    /// Buyers who ask for one ticket at the same moment.
    buyers: u64 = 20 in 4..=40;
    /// Seats that there are to sell.
    seats: u64 = 5 in 1..=20;
    /// What the office without atomicity writes back after it has looked.
    writes: Writes = "what it read, less one" in ..;
    /// A duty that the complete office lacks without anybody knowing.
    complete_lacks: Duty = "nothing" in ..;
}

pub struct WhatABackendDoes;

#[derive(Clone, Serialize)]
pub struct Observed {
    complete: Audit,
    no_authentication: Audit,
    no_validation: Audit,
    no_atomicity: Audit,
    no_durability: Audit,
}

/// What the auditor finds out about one office by asking it, before it is killed and after.
#[derive(Clone, Serialize)]
struct Audit {
    seats: u64,
    /// The answer to an order without a token.
    to_nobody: u16,
    /// The answer to an order of minus three tickets, and the seats left before it and after it.
    to_nonsense: u16,
    left_before_nonsense: i64,
    left_after_nonsense: i64,
    /// Orders of the crowd that were answered 201, and 409.
    acknowledged: u64,
    sold_out: u64,
    /// How many of the listed orders were decided on each figure of the stock.
    decided_on: BTreeMap<i64, u64>,
    /// What the list of orders shows: tickets that somebody holds, orders of nobody, orders of no or less than no tickets.
    tickets: u64,
    ownerless: u64,
    senseless: u64,
    /// What the stock says is left.
    left: i64,
    /// How it ended, as a shell would say: 137 is SIGKILL.
    ended: i32,
    /// Acknowledged orders that are listed after the restart.
    found: u64,
}

impl Experiment for WhatABackendDoes {
    type Params = Params;
    type Observed = Observed;

    const ROLES: &'static [Role] = &[office::OFFICE];

    fn predict(p: &Params) -> Prediction<Observed> {
        let ask = format!(
            "{} buyers ask at once for one of {} seats. In one office each handler looks whether a seat is left, \
             and only then writes; all have looked before the first one writes. How many tickets does it sell?",
            p.buyers, p.seats
        );
        Prediction::number(ask, "tickets", |seen: &Observed| seen.no_atomicity.tickets).tempting(
            p.seats,
            "Every handler checks the stock, and the check is right. But it is right about the moment in which it was \
             made, and all of them decided on the same moment.",
        )
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        lab.cast(["somebody", "buyers", "auditor", "office"]);
        Ok(Observed {
            complete: audit(lab, p, "complete", p.complete_lacks).await?,
            no_authentication: audit(lab, p, "without authentication", Duty::Authentication).await?,
            no_validation: audit(lab, p, "without validation", Duty::Validation).await?,
            no_atomicity: audit(lab, p, "without atomicity", Duty::Atomicity).await?,
            no_durability: audit(lab, p, "without durability", Duty::Durability).await?,
        })
    }

    fn claims(p: &Params, seen: &Observed) -> Vec<Claim> {
        let mut claims = on_the_complete_one(p, &seen.complete);
        claims.extend(on_the_others(p, seen));
        claims
    }

    fn figures(_: &Params, seen: &Observed) -> Vec<Figure> {
        figures::all(seen)
    }

    fn counterexamples(p: &Params) -> Vec<Observed> {
        let broken: [fn(&mut Observed); 9] = [
            |it| it.complete.tickets += 1,
            |it| it.complete.ownerless = 1,
            |it| it.complete.left_after_nonsense += 3,
            |it| it.complete.found -= 1,
            |it| it.no_authentication.ownerless = 0,
            |it| it.no_validation.tickets = it.no_validation.seats,
            |it| it.no_atomicity.tickets = it.no_atomicity.seats,
            |it| it.no_atomicity.left = 0,
            |it| it.no_durability.found = it.no_durability.acknowledged,
        ];
        each_broken(broken, || as_expected(p))
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "let the complete office look at the stock first and write afterwards",
                set: &[("complete_lacks", "atomicity")],
                refutes: &["complete-sells-each-seat-once"],
            },
            Fault {
                label: "let the complete office keep its orders in memory",
                set: &[("complete_lacks", "durability")],
                refutes: &["complete-keeps-its-word"],
            },
            Fault {
                label: "let the complete office take any quantity",
                set: &[("complete_lacks", "validation")],
                refutes: &["complete-refuses-nonsense", "complete-sells-each-seat-once"],
            },
            Fault {
                label: "let the complete office serve anybody",
                set: &[("complete_lacks", "authentication")],
                refutes: &["complete-knows-its-buyers"],
            },
            Fault {
                label: "subtract from the stock in SQL, instead of writing back what was read",
                set: &[("writes", "the stock, less one")],
                refutes: &["stock-looks-healthy"],
            },
        ]
    }
}

fn on_the_complete_one(p: &Params, it: &Audit) -> Vec<Claim> {
    vec![
        claim(
            "complete-sells-each-seat-once",
            "With all duties done, a crowd that asks at once gets as many tickets as there are seats",
            "the check and the write are two steps, or a quantity below zero makes new seats",
        )
        .witness(p.buyers > p.seats && it.asked() == p.buyers, format!("{} buyers asked at once", it.asked()))
        .equal(tickets(it.tickets), tickets(p.seats)),
        claim(
            "complete-knows-its-buyers",
            "An order without a token is answered 401, and no order is without its buyer",
            "the office trusts the page to have asked for a password",
        )
        .witness(it.to_nobody > 0, format!("an order without a token was answered {}", it.to_nobody))
        .equal(
            format!("{}, {} without a buyer", it.to_nobody, it.ownerless),
            "401, 0 without a buyer".into(),
        ),
        claim(
            "complete-refuses-nonsense",
            "An order of minus three tickets is answered 422 and leaves the stock as it was",
            "the office relies on the page's form to allow only sensible quantities",
        )
        .witness(it.to_nonsense > 0, format!("it was answered {}", it.to_nonsense))
        .equal(
            format!("{}, {} seats left", it.to_nonsense, it.left_after_nonsense),
            format!("422, {} seats left", it.left_before_nonsense),
        ),
        survives(
            "complete-keeps-its-word",
            "Every order that was answered 201 is there after SIGKILL and a restart",
            "the answer leaves before the order is on the disk",
            it,
            it.acknowledged,
        ),
    ]
}

fn on_the_others(p: &Params, seen: &Observed) -> Vec<Claim> {
    let (raced, forgetful) = (&seen.no_atomicity, &seen.no_durability);
    let on_one = raced.decided_on.get(&(p.seats as i64)).copied().unwrap_or(0);
    let together = |id, says, breaks_when| {
        claim(id, says, breaks_when)
            .witness(on_one == p.buyers, format!("{on_one} orders were decided on a stock of {}", p.seats))
    };
    vec![
        claim(
            "nobody-may-order",
            "Without authentication an order is stored that belongs to nobody",
            "something before the office, such as a gateway, asks for the token",
        )
        .witness(seen.no_authentication.to_nobody > 0, format!("answered {}", seen.no_authentication.to_nobody))
        .equal(seen.no_authentication.ownerless, 1),
        claim(
            "nonsense-makes-seats",
            "Without validation an order of minus three makes three seats that don't exist, and the crowd buys them",
            "the table itself refuses it, by CHECK (quantity > 0)",
        )
        .witness(
            p.buyers > p.seats && seen.no_validation.left_after_nonsense > seen.no_validation.left_before_nonsense,
            format!(
                "the stock went from {} to {}",
                seen.no_validation.left_before_nonsense, seen.no_validation.left_after_nonsense
            ),
        )
        .equal(
            tickets(seen.no_validation.tickets),
            tickets(p.buyers.min(p.seats + NONSENSE.unsigned_abs())),
        ),
        together(
            "check-then-write-oversells",
            "Where all look at the stock before the first one writes, every buyer gets a ticket",
            "the check is part of the write, or a lock spans both",
        )
        .equal(tickets(raced.tickets), tickets(p.buyers)),
        together(
            "stock-looks-healthy",
            "After that the stock says that one ticket was sold, since all wrote the same figure",
            "each subtracts from the stock as it stands, and so drives it below zero",
        )
        .equal(format!("{} of {} seats gone", raced.gone(), p.seats), format!("1 of {} seats gone", p.seats)),
        survives(
            "memory-forgets",
            "Orders that were answered 201 out of memory are all gone after SIGKILL and a restart",
            "they are written to disk before the answer",
            forgetful,
            0,
        ),
    ]
}

/// What is left of the acknowledged orders; witnessed by the kill.
fn survives(id: &'static str, says: &str, breaks_when: &str, it: &Audit, expected: u64) -> Claim {
    let told = it.acknowledged;
    claim(id, says, breaks_when)
        .witness(it.ended == 137 && told > 0, format!("{told} orders were answered 201, then SIGKILL"))
        .equal(format!("{} of {told} there", it.found), format!("{expected} of {told} there"))
}

/// Opens an office, does to it what the world does to backends, and looks.
async fn audit(lab: &Lab, p: &Params, which: &str, lacks: Duty) -> Result<Audit> {
    lab.step(format_args!("The office {which}"));
    let file = format!("{which}.sqlite");
    let (process, addr) = office::open(lab, &file, p.seats, lacks, p.writes).await?;
    let (somebody, auditor) = (lab.client("somebody", addr), lab.client("auditor", addr));

    let to_nobody = somebody.post("/orders").json(&Wish { quantity: 1 }).await?.status.as_u16();
    let left_before_nonsense = left(&auditor).await?;
    let nonsense = somebody.post("/orders").header("authorization", "Bearer ticket-mallory");
    let to_nonsense = nonsense.json(&Wish { quantity: NONSENSE }).await?.status.as_u16();
    let left_after_nonsense = left(&auditor).await?;

    // All at once, each over a connection of its own.
    let crowd =
        Load::closed(p.buyers).at_most(p.buyers).during(Duration::from_secs(10)).keeping(header::LOCATION);
    let crowd = crowd.request(Method::POST, "/orders").header("content-type", "application/json");
    let crowd = crowd.header("authorization", "Bearer ticket-buyer").header(CROWD, p.buyers);
    let answers = lab.load("buyers", addr, &crowd.body(serde_json::to_vec(&Wish { quantity: 1 })?)).await?;
    let sold: Vec<i64> = answers.shots.iter().filter_map(|it| office::id(it.kept.as_deref()?)).collect();

    let listed = orders(&auditor).await?;
    let left = left(&auditor).await?;
    let ended = process.kill().await?.shell_code();

    let (_again, addr) = office::open(lab, &file, p.seats, lacks, p.writes).await?;
    let after = orders(&auditor.to(addr)).await?;
    let after: BTreeSet<i64> = after.iter().map(|order| order.id).collect();
    Ok(Audit {
        seats: p.seats,
        to_nobody,
        to_nonsense,
        left_before_nonsense,
        left_after_nonsense,
        acknowledged: sold.len() as u64,
        sold_out: answers.answered(409),
        decided_on: listed.iter().filter_map(|it| it.saw).fold(BTreeMap::new(), |mut counts, saw| {
            *counts.entry(saw).or_default() += 1;
            counts
        }),
        tickets: listed.iter().filter_map(|it| u64::try_from(it.quantity).ok()).sum(),
        ownerless: listed.iter().filter(|it| it.buyer.is_none()).count() as u64,
        senseless: listed.iter().filter(|it| it.quantity < 1).count() as u64,
        left,
        ended,
        found: sold.iter().filter(|id| after.contains(id)).count() as u64,
    })
}

async fn left(auditor: &Client) -> Result<i64> {
    Ok(serde_json::from_slice(&auditor.get("/stock").await?.body)?)
}

async fn orders(auditor: &Client) -> Result<Vec<Order>> {
    Ok(serde_json::from_slice(&auditor.get("/orders").await?.body)?)
}

impl Audit {
    /// Buyers of the crowd who got an answer.
    fn asked(&self) -> u64 {
        self.acknowledged + self.sold_out
    }

    /// Tickets that are gone by what the stock says.
    fn gone(&self) -> i64 {
        self.seats as i64 - self.left
    }
}

fn tickets(count: u64) -> String {
    format!("{count} tickets")
}

/// What a run shows that goes as the answer says.
fn as_expected(p: &Params) -> Observed {
    let (seats, sold) = (p.seats as i64, p.seats.min(p.buyers));
    let complete = Audit {
        seats: p.seats,
        to_nobody: 401,
        to_nonsense: 422,
        left_before_nonsense: seats,
        left_after_nonsense: seats,
        acknowledged: sold,
        sold_out: p.buyers - sold,
        decided_on: BTreeMap::new(),
        tickets: sold,
        ownerless: 0,
        senseless: 0,
        left: seats - sold as i64,
        ended: 137,
        found: sold,
    };
    let more = p.buyers.min(p.seats + NONSENSE.unsigned_abs());
    Observed {
        no_authentication: Audit { to_nobody: 201, ownerless: 1, ..complete.clone() },
        no_validation: Audit {
            to_nonsense: 201,
            left_after_nonsense: seats - NONSENSE,
            senseless: 1,
            tickets: more,
            ..complete.clone()
        },
        no_atomicity: Audit {
            acknowledged: p.buyers,
            sold_out: 0,
            decided_on: [(seats, p.buyers)].into(),
            tickets: p.buyers,
            left: seats - 1,
            found: p.buyers,
            ..complete.clone()
        },
        no_durability: Audit { found: 0, ..complete.clone() },
        complete,
    }
}
