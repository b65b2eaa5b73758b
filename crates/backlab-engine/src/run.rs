//! One run, from the order to the report.

use crate::experiment::Seen;
use crate::{Claim, Erased, PartUsed, Report, State, Values};
use anyhow::Result;
use backlab_figures::{Figure, Sequence, SequenceRow, Tone};
use backlab_parts::{Event, Fate, Lab, Missing, Trace};
use serde_json::Value;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use futures::FutureExt;

/// Memory that all processes of a run together may have resident.
pub const MOST_MEMORY_MIB: u64 = 2048;

/// What a reader asks for.
#[derive(Debug, Clone)]
pub struct Order {
    pub values: Values,
    /// As [`AskKind::parse`](crate::AskKind::parse) read it.
    pub predicted: Option<u64>,
    pub seed: u64,
    /// Where the run's messages go; keep a clone to watch it live.
    pub trace: Trace,
    /// Cancel it to end the run early; everything it started is then ended too.
    pub cancel: CancellationToken,
    /// Memory that all its processes together may have, in MiB; at most [`MOST_MEMORY_MIB`].
    pub memory_mib: u64,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            values: Values::new(),
            predicted: None,
            seed: 0,
            trace: Trace::default(),
            cancel: CancellationToken::new(),
            memory_mib: MOST_MEMORY_MIB,
        }
    }
}

impl Erased {
    /// The values in force as JSON, for showing them; also the check of a reader's values.
    ///
    /// # Errors
    /// As [`Params::from_values`](crate::Params::from_values).
    pub fn check(&self, values: &Values) -> Result<std::collections::BTreeMap<&'static str, Value>> {
        (self.params)(values)
    }

    /// The parts that it needs and that aren't on this machine.
    pub fn lacks(&self) -> impl Iterator<Item = Missing> {
        self.needs.iter().filter_map(|part| part.version().err())
    }

    /// The claims that a run at the defaults had to put to the test and didn't.
    pub fn left_untried<'a>(&self, report: &'a Report) -> Vec<&'a Claim> {
        let excused = |claim: &Claim| self.may_be_untried.contains(&claim.id.as_str());
        report.claims.iter().filter(|it| it.state == State::Untried && !excused(it)).collect()
    }

    /// Runs it. However the run ends, all that it started has ended when this returns.
    ///
    /// # Errors
    /// The values aren't allowed. A run that breaks, or can't even begin, is no error but a report that says so.
    pub async fn run(&self, order: Order) -> Result<Report> {
        let params = self.check(&order.values)?;
        let began = Instant::now();
        let mut report = Report::unrun(order.seed, params);
        if let Some(missing) = self.lacks().next() {
            report.missing(&missing);
            return Ok(report);
        }
        let lab = match Lab::open(order.seed, order.trace.clone()) {
            Ok(lab) => lab,
            Err(error) => {
                report.error = Some(format!("{error:#}"));
                return Ok(report);
            }
        };
        let outcome = self.within_limits(&lab, &order).await;
        report.parts = lab
            .parts()
            .into_iter()
            .map(|(name, version)| PartUsed { name: name.to_owned(), version })
            .collect();
        lab.close().await;
        match outcome {
            Ok(seen) => report.fill(seen),
            Err(error) => match error.downcast_ref::<Missing>() {
                Some(missing) => report.missing(missing),
                None => report.error = Some(format!("{error:#}")),
            },
        }
        report.figures.splice(0..0, sequence(&order.trace));
        report.seconds = (began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        Ok(report)
    }

    async fn within_limits(&self, lab: &Lab, order: &Order) -> Result<Seen> {
        let run = AssertUnwindSafe((self.seen)(lab, &order.values, order.predicted)).catch_unwind();
        tokio::select! {
            biased;
            () = order.cancel.cancelled() => anyhow::bail!("cancelled"),
            used = more_memory_than(order.memory_mib.min(MOST_MEMORY_MIB), lab) => {
                anyhow::bail!("its processes had {used} MiB of memory, more than a run may have; it was stopped")
            }
            ended = tokio::time::timeout(self.deadline, run) => match ended {
                Ok(Ok(seen)) => seen,
                Ok(Err(panic)) => {
                    let why = panic.downcast_ref::<String>().map(String::as_str);
                    let why = why.or_else(|| panic.downcast_ref::<&str>().copied());
                    anyhow::bail!("the experiment panicked: {}", why.unwrap_or("no message"))
                }
                Err(_) => anyhow::bail!("no end after {} seconds; it was stopped", self.deadline.as_secs_f32()),
            },
        }
    }
}

/// Waits until the run's processes have more memory than that; returns how much, in MiB.
async fn more_memory_than(mib: u64, lab: &Lab) -> u64 {
    let mut looks = tokio::time::interval(Duration::from_millis(200));
    loop {
        looks.tick().await;
        let used = lab.resident_kib() >> 10;
        if used > mib {
            return used;
        }
    }
}

impl Report {
    fn fill(&mut self, seen: Seen) {
        (self.verdict, self.error) = Self::judge(&seen.claims);
        self.observed = seen.observed;
        self.prediction = Some(seen.prediction);
        self.claims = seen.claims;
        self.figures = seen.figures;
    }
}

/// The trace as a figure; none where nobody said anything.
pub fn sequence(trace: &Trace) -> Option<Figure> {
    let events = trace.whole();
    let mut drawn = Sequence { participants: trace.parts(), ..Sequence::default() };
    for event in &events {
        let row = match event {
            Event::Step { what } => SequenceRow::Step { label: what.clone() },
            Event::Gap { count } => SequenceRow::Gap { count: *count },
            Event::Note { at, what, fate, .. } => {
                SequenceRow::Note { at: drawn.lane(at), label: what.clone(), tone: tone(*fate) }
            }
            Event::Message { from, to, what, fate, .. } => SequenceRow::Message {
                from: drawn.lane(from),
                to: drawn.lane(to),
                label: what.clone(),
                lost: *fate == Fate::Lost,
                tone: tone(*fate),
            },
        };
        drawn.rows.push(row);
    }
    let total = trace.total();
    let caption =
        format!("Every message between the parts, in the order in which it happened: {total} in all.");
    (!drawn.participants.is_empty()).then(|| Figure::new("messages", caption, drawn))
}

fn tone(fate: Fate) -> Tone {
    if fate == Fate::Arrived { Tone::Plain } else { Tone::Refuted }
}
