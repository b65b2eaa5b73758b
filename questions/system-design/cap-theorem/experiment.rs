//! CAP: five replicas of one register, and what each protocol gives up while the network between them is split.
//!
//! Three protocols (`register.rs`) serve the same clients through the same weather (`histories.rs`). A checker then
//! looks, for each history of calls and answers, for an order in which one single register could have given these
//! answers: that is the C. Calls that got an answer are counted by side of the split: that is the A.

use crate::prelude::*;
use histories::{Directed, History, NODES, Verdicts, is_within_split, racing};

#[path = "histories.rs"]
mod histories;
#[path = "pictures.rs"]
mod pictures;
#[path = "register.rs"]
mod register;

choices! {
    /// Who must have heard of an operation before its client gets the answer.
    pub enum Protocol {
        WithWriteBack = "majority with write-back",
        WithoutWriteBack = "majority without write-back",
        LastWriterWins = "any node, last writer wins",
    }
}

choices! {
    /// Which nodes can reach each other from second 10 to 20.
    pub enum Split { Whole = "none", TwoThree = "2 | 3", OneFour = "1 | 4", TwoTwoOne = "2 | 2 | 1" }
}

params! {
    /// The protocol that is put to the test; the others run beside it.
    protocol: Protocol = "majority with write-back" in ..;
    /// How the network is split, from virtual second 10 to 20.
    split: Split = "2 | 3" in ..;
    /// Random histories under each protocol: 100 operations in 30 virtual seconds each.
    histories: u64 = 200 in 50..=500;
}

impl Split {
    fn sides(self) -> &'static [&'static [usize]] {
        match self {
            Self::Whole => &[&[0, 1, 2, 3, 4]],
            Self::TwoThree => &[&[0, 1], &[2, 3, 4]],
            Self::OneFour => &[&[0], &[1, 2, 3, 4]],
            Self::TwoTwoOne => &[&[0, 1], &[2, 3], &[4]],
        }
    }
}

pub struct CapTheorem;

#[derive(Debug, Clone, Serialize)]
pub struct Observed {
    /// All three, in the order of the knob, under the same calls in the same weather.
    protocols: [Seen; 3],
    /// Which of them is put to the test.
    tested: usize,
    /// Its first random history.
    history: History,
}

/// What one protocol showed.
#[derive(Debug, Clone, Serialize)]
struct Seen {
    protocol: &'static str,
    /// The checker's, on all random histories and the directed one.
    verdicts: Verdicts,
    /// Pairs of calls in the random histories too close for either to know of the other.
    racing: u64,
    /// Messages in them that the split cut.
    cut: u64,
    /// Operations in them that start and fall due while the network is split.
    sides: Vec<Side>,
    directed: Directed,
    /// What a read, and a write, takes at each node in calm weather, in round trips.
    reads: Vec<f64>,
    writes: Vec<f64>,
}

#[derive(Debug, Clone, Default, Serialize)]
struct Side {
    nodes: &'static [usize],
    due: u64,
    answered: u64,
}

const SHARES: [&str; 5] = ["all of them", "80 percent", "60 percent", "40 percent", "none of them"];

impl Experiment for CapTheorem {
    type Params = Params;
    type Observed = Observed;

    fn predict(p: &Params) -> Prediction<Observed> {
        let ask = format!(
            "Five nodes, split {}, a client at each, all equally busy, under \"{}\". How many of the operations that \
             start and fall due from second 10 to 20 are answered?",
            p.split.word(),
            p.protocol.word()
        );
        let (wrong, because) = match (p.protocol, p.split) {
            (Protocol::LastWriterWins, _) => {
                (2, "That is the share of a majority's side. Here nobody asks anybody.")
            }
            (_, Split::Whole) => {
                (4, "A protocol that can refuse has no reason to while every node is in reach.")
            }
            (_, Split::TwoTwoOne) => {
                (3, "Two of five nodes are the largest side, but no majority: nobody has one.")
            }
            _ => {
                (4, "\"Consistent\" is often heard as \"down while split\". A side with a majority goes on.")
            }
        };
        Prediction::choice(ask, &SHARES, |seen: &Observed| nearest_share(&seen.tested().sides))
            .tempting(wrong, because)
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        let mut seen = Vec::new();
        for (protocol, _) in Protocol::ALL {
            seen.push(observe(lab, p, *protocol).await?);
        }
        let protocols = seen.try_into().map_err(|_| anyhow!("there are three protocols"))?;
        let tested =
            Protocol::ALL.iter().position(|(it, _)| *it == p.protocol).context("no such protocol")?;
        let history = histories::random(p.protocol, p.split, lab.rng("history 0"), None)?.history;
        Ok(Observed { protocols, tested, history })
    }

    fn claims(p: &Params, seen: &Observed) -> Vec<Claim> {
        let mut claims = consistency(p, seen);
        claims.extend(availability(seen));
        claims.extend(a_read_meets_an_unfinished_write(seen));
        claims.extend(latency(seen));
        claims
    }

    fn figures(p: &Params, seen: &Observed) -> Vec<Figure> {
        pictures::all(p, seen)
    }

    fn counterexamples(_: &Params) -> Vec<Observed> {
        let broken: [fn(&mut [Seen; 3]); 11] = [
            |[tested, ..]| tested.verdicts.rejected = 1,
            |[tested, ..]| tested.verdicts = Verdicts { explained: 200, unknown: 1, ..Verdicts::default() },
            |[.., last_writer]| last_writer.verdicts = Verdicts { explained: 201, ..Verdicts::default() },
            |[tested, ..]| tested.sides[1].answered = 149,
            |[tested, ..]| tested.sides[0].answered = 1,
            |[.., last_writer]| last_writer.sides[0].answered = 99,
            |[tested, ..]| tested.directed.second = Some(0),
            |[tested, ..]| tested.directed.second = None,
            |[_, no_write_back, _]| no_write_back.directed.second = Some(101),
            |[tested, ..]| tested.reads = vec![0.0],
            |[.., last_writer]| last_writer.writes = vec![1.0],
        ];
        let seen = |break_it: fn(&mut [Seen; 3])| {
            let mut seen = flawless();
            break_it(&mut seen.protocols);
            seen
        };
        broken.map(seen).into()
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "let a read answer what a majority holds, and not write it back",
                set: &[("protocol", "majority without write-back")],
                refutes: &["every-history-explained", "no-going-back"],
            },
            Fault {
                label: "let any node answer from its own copy",
                set: &[("protocol", "any node, last writer wins")],
                refutes: &[
                    "every-history-explained",
                    "minority-side-refuses",
                    "no-going-back",
                    "costs-a-round-trip",
                ],
            },
        ]
    }
}

/// What the checker says of all histories.
fn consistency(p: &Params, seen: &Observed) -> Vec<Claim> {
    let (tested, last_writer) = (seen.tested(), &seen.protocols[2]);
    let witness = |of: &Seen| format!("{} pairs of calls raced, {} messages were cut", of.racing, of.cut);
    let verdicts = &tested.verdicts;
    let as_one = "One register in one place could have given all answers";
    let breaks = "a node answers without a majority, or a read doesn't write back what it found";
    let rejected = "Where any node answers, no order explains some histories with a split";
    let never = "no client reads on one side what was overwritten on another";
    vec![
        claim("every-history-explained", as_one, breaks)
            .witness(tested.racing > 0 && (tested.cut > 0 || p.split == Split::Whole), witness(tested))
            .that(
                verdicts.explained == verdicts.all(),
                format_args!("{} of {} histories explained", verdicts.explained, verdicts.all()),
                "all",
            ),
        claim("last-writer-rejected", rejected, never)
            .witness(last_writer.cut > 0, witness(last_writer))
            .that(
                last_writer.verdicts.rejected > 0,
                format_args!(
                    "{} of {} histories rejected",
                    last_writer.verdicts.rejected,
                    last_writer.verdicts.all()
                ),
                "at least 1",
            ),
    ]
}

/// Who gets an answer while the network is split.
fn availability(seen: &Observed) -> Vec<Claim> {
    let (tested, last_writer) = (seen.tested(), &seen.protocols[2]);
    let large = tested.sides(Side::is_majority);
    let small = tested.sides(|side| !side.is_majority());
    let everywhere = last_writer.sides(|_| true);
    let witness =
        |of: &Seen, side: &Side| format!("{} operations fell due, {} messages were cut", side.due, of.cut);
    let goes_on = "Every operation on the side with a majority is answered";
    let refuses = "No operation on a side without a majority is answered, reads included";
    let answers = "Under last writer wins every operation on every side is answered";
    let waits = "a node waits for another before it answers";
    vec![
        claim("majority-side-goes-on", goes_on, "an operation waits for every node, not for a majority")
            .witness(large.due > 0 && tested.cut > 0, witness(tested, &large))
            .that(large.answered == large.due, large.words(), "all"),
        claim(
            "minority-side-refuses",
            refuses,
            "a node that can't reach a majority answers from its own copy",
        )
        .witness(small.due > 0 && tested.cut > 0, witness(tested, &small))
        .that(small.answered == 0, small.words(), "none"),
        claim("last-writer-answers", answers, waits)
            .witness(everywhere.due > 0 && last_writer.cut > 0, witness(last_writer, &everywhere))
            .that(everywhere.answered == everywhere.due, everywhere.words(), "all"),
    ]
}

/// The directed schedule: two reads, one after the other, beside a write that has reached two of five replicas.
fn a_read_meets_an_unfinished_write(seen: &Observed) -> Vec<Claim> {
    let claim = |id, says, breaks_when, of: &Seen, expected| {
        let Directed { first, second, held, .. } = &of.directed;
        let words = |it: &Option<u64>| it.map_or_else(|| "no answer".to_owned(), |value| value.to_string());
        claim(id, says, breaks_when)
            .witness(
                *held > 0 && *first == Some(101),
                format!("{held} messages held, the first read got {}", words(first)),
            )
            .that(
                *second == Some(expected),
                format_args!("{}, then {}", words(first), words(second)),
                format_args!("101, then {expected}"),
            )
    };
    let says = "Once a read has returned an unfinished write, so does the next";
    let contrast = "Without the write-back, the next read returns the older value";
    let breaks = "a read answers without having stored what it found with a majority";
    vec![
        claim("no-going-back", says, breaks, seen.tested(), 101),
        claim("overlap-is-not-enough", contrast, "overlapping quorums were enough", &seen.protocols[1], 0),
    ]
}

/// What an operation waits for while nothing is wrong.
fn latency(seen: &Observed) -> Vec<Claim> {
    let (tested, last_writer) = (seen.tested(), &seen.protocols[2]);
    let witness = |of: &Seen| format!("{} operations in calm weather", of.reads.len() + of.writes.len());
    let (fewest, most) = (tested.round_trips().0, last_writer.round_trips().1);
    let waits = "With no split at all, every operation waits for at least one round trip";
    let none = "Under last writer wins, none waits for any";
    vec![
        claim("costs-a-round-trip", waits, "a node answers before it has heard from another")
            .witness(!tested.reads.is_empty(), witness(tested))
            .that(fewest >= 1.0, format_args!("{fewest} round trips or more"), "1 or more"),
        claim("last-writer-costs-none", none, "a node waits for another before it answers")
            .witness(!last_writer.reads.is_empty(), witness(last_writer))
            .that(most == 0.0, format_args!("{most} round trips"), "0 round trips"),
    ]
}

/// Puts one protocol through everything.
async fn observe(lab: &Lab, p: &Params, protocol: Protocol) -> Result<Seen> {
    let shown_to = (protocol == p.protocol).then_some(lab);
    let sides = p.split.sides().iter().map(|&nodes| Side { nodes, due: 0, answered: 0 }).collect();
    let directed = histories::directed(protocol, shown_to)?;
    let (reads, writes) = histories::calm(protocol)?;
    let mut seen = Seen {
        protocol: protocol.word(),
        verdicts: Verdicts::default(),
        racing: 0,
        cut: 0,
        sides,
        directed,
        reads,
        writes,
    };
    for number in 0..p.histories {
        // The same for each protocol, which therefore get the same calls.
        let rng = lab.rng(&format!("history {number}"));
        let random = histories::random(protocol, p.split, rng, shown_to.filter(|_| number == 0))?;
        seen.racing += racing(&random.history);
        seen.cut += random.cut;
        seen.verdicts.judge(&random.history);
        for operation in random.history.iter().filter(|it| is_within_split(it)) {
            let Some(side) = seen.sides.iter_mut().find(|it| it.nodes.contains(&operation.client)) else {
                continue;
            };
            side.due += 1;
            side.answered += u64::from(operation.answered.is_some());
        }
        tokio::task::yield_now().await; // So that the run can be cancelled.
    }
    seen.verdicts.judge(&seen.directed.history);
    Ok(seen)
}

impl Observed {
    fn tested(&self) -> &Seen {
        &self.protocols[self.tested]
    }
}

impl Seen {
    /// Some sides taken together.
    fn sides(&self, which: impl Fn(&Side) -> bool) -> Side {
        let sides = self.sides.iter().filter(|&side| which(side));
        sides.fold(Side::default(), |sum, side| Side {
            nodes: &[],
            due: sum.due + side.due,
            answered: sum.answered + side.answered,
        })
    }

    /// The fewest and the most that any operation takes in calm weather.
    fn round_trips(&self) -> (f64, f64) {
        let all = || self.reads.iter().chain(&self.writes).copied();
        (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max))
    }
}

impl Side {
    fn is_majority(&self) -> bool {
        2 * self.nodes.len() > NODES
    }

    fn words(&self) -> String {
        format!("{} of {} answered", self.answered, self.due)
    }
}

/// The option that is nearest to the share of operations that were answered.
fn nearest_share(sides: &[Side]) -> usize {
    let (answered, due) = sides.iter().fold((0, 0), |sum, it| (sum.0 + it.answered, sum.1 + it.due));
    let percent = 100 * answered / due.max(1);
    let distance = |option: &u64| option.abs_diff(percent);
    [100, 80, 60, 40, 0]
        .iter()
        .enumerate()
        .min_by_key(|(_, option)| distance(option))
        .map_or(0, |(place, _)| place)
}

/// What the default knobs show, at its shortest; each counterexample spoils one thing in it.
fn flawless() -> Observed {
    let seen = |protocol: Protocol, rejected, small, second, round_trips| Seen {
        protocol: protocol.word(),
        verdicts: Verdicts { explained: 201 - rejected, rejected, ..Verdicts::default() },
        racing: 1000,
        cut: 1000,
        sides: vec![
            Side { nodes: &[0, 1], due: 100, answered: small },
            Side { nodes: &[2, 3, 4], due: 150, answered: 150 },
        ],
        directed: Directed { first: Some(101), second: Some(second), held: 9, history: Vec::new() },
        reads: vec![round_trips],
        writes: vec![round_trips],
    };
    Observed {
        protocols: [
            seen(Protocol::WithWriteBack, 0, 0, 101, 2.0),
            seen(Protocol::WithoutWriteBack, 1, 0, 0, 1.0),
            seen(Protocol::LastWriterWins, 201, 100, 0, 0.0),
        ],
        tested: 0,
        history: Vec::new(),
    }
}
