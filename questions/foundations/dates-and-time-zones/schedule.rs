//! Three ways to run a job each day at the same local time, over one year of one zone.

use super::{Fold, Gap, Params};
use crate::prelude::*;
use jiff::civil::{Date, DateTime, Time, date, time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// How often somebody looks at the clock. Every time of a job and every offset of these zones is a multiple of it.
const LOOK: SignedDuration = SignedDuration::from_mins(15);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A zone in one year, found by walking through it in universal time.
pub struct Year {
    pub zone: TimeZone,
    pub first: Date,
    begins: Timestamp,
    ends: Timestamp,
    at: Time,
}

/// A date that doesn't have 24 hours, as counted by looking at the clock.
#[derive(Clone, Serialize)]
pub struct OddDay {
    pub date: String,
    pub hours: f64,
}

/// What one way to schedule does.
#[derive(Clone, Default, Serialize)]
pub struct Schedule {
    /// How often it ran on each date of the year.
    pub runs: BTreeMap<String, u64>,
    /// Day of the year and wall-clock hour of each run.
    pub fired: Vec<(f64, f64)>,
    /// Runs at which the clock on the wall showed another time.
    pub off: u64,
}

impl Year {
    pub fn of(p: &Params) -> Result<Self> {
        let zone = TimeZone::get(p.zone.word())?;
        let first = date(i16::try_from(p.year)?, 1, 1);
        let (hour, minute) = p.local_time.hour_and_minute();
        let begins = zone.to_timestamp(first.to_datetime(Time::midnight()))?;
        let next = date(first.year() + 1, 1, 1);
        let ends = zone.to_timestamp(next.to_datetime(Time::midnight()))?;
        Ok(Self { zone, first, begins, ends, at: time(hour, minute, 0, 0) })
    }

    /// Times at which the clocks are changed, with the offset before and after, as the database lists them.
    pub fn changes(&self) -> Vec<Timestamp> {
        let listed = self.zone.following(self.begins).map(|it| it.timestamp());
        let this_year = listed.take_while(|it| *it < self.ends);
        let before = |it: Timestamp| self.zone.to_offset(it - SignedDuration::from_secs(1));
        this_year.filter(|it| before(*it) != self.zone.to_offset(*it)).collect()
    }

    /// The change in which clocks are put back.
    pub fn fold(&self) -> Option<Timestamp> {
        let before = |it: Timestamp| self.zone.to_offset(it - SignedDuration::from_secs(1));
        self.changes().into_iter().find(|it| self.zone.to_offset(*it) < before(*it))
    }

    /// Dates on which the job's time is in a gap, and those on which it is in a fold.
    pub fn gaps_and_folds(&self) -> (Vec<String>, Vec<String>) {
        let (mut gaps, mut folds) = (Vec::new(), Vec::new());
        for date in self.dates() {
            match self.zone.to_ambiguous_timestamp(date.to_datetime(self.at)).offset() {
                AmbiguousOffset::Gap { .. } => gaps.push(date.to_string()),
                AmbiguousOffset::Fold { .. } => folds.push(date.to_string()),
                AmbiguousOffset::Unambiguous { .. } => {}
            }
        }
        (gaps, folds)
    }

    /// Counts how long each date lasts.
    pub fn odd_days(&self) -> Vec<OddDay> {
        let mut lasted: BTreeMap<Date, u64> = BTreeMap::new();
        for now in self.looks() {
            *lasted.entry(self.clock(now).date()).or_default() += 1;
        }
        let hours = |looks: u64| looks as f64 * LOOK.as_secs_f64() / 3600.0;
        let days =
            lasted.into_iter().map(|(date, looks)| OddDay { date: date.to_string(), hours: hours(looks) });
        days.filter(|day| day.hours != 24.0).collect()
    }

    /// Whoever looks at the clock on the wall, and runs the job when it shows the time.
    pub fn whenever_the_clock_shows_it(&self) -> Schedule {
        self.schedule(self.looks().filter(|now| self.clock(*now).time() == self.at))
    }

    /// The first run at the time, and each further one 24 hours after the last.
    pub fn every_24_hours(&self) -> Result<Schedule> {
        let first = self.zone.to_timestamp(self.first.to_datetime(self.at))?;
        let runs = std::iter::successors(Some(first), |last| Some(*last + DAY));
        Ok(self.schedule(runs.take_while(|now| *now < self.ends)))
    }

    /// For each date the instant at which its clock shows the time; a rule says what to do if none does, or two.
    pub fn by_rule(&self, gap: Gap, fold: Fold) -> Result<Schedule> {
        let mut runs = Vec::new();
        for date in self.dates() {
            let wanted = self.zone.to_ambiguous_timestamp(date.to_datetime(self.at));
            match (wanted.offset(), gap, fold) {
                (AmbiguousOffset::Unambiguous { .. }, ..) => runs.push(wanted.unambiguous()?),
                (AmbiguousOffset::Gap { .. }, Gap::Later, _) => runs.push(wanted.later()?),
                (AmbiguousOffset::Gap { .. }, Gap::Skip, _) => {}
                (AmbiguousOffset::Fold { .. }, _, Fold::First) => runs.push(wanted.earlier()?),
                (AmbiguousOffset::Fold { .. }, _, Fold::Both) => {
                    runs.extend([wanted.earlier()?, wanted.later()?]);
                }
            }
        }
        Ok(self.schedule(runs.into_iter()))
    }

    fn schedule(&self, runs: impl Iterator<Item = Timestamp>) -> Schedule {
        let mut schedule = Schedule {
            runs: self.dates().map(|date| (date.to_string(), 0)).collect(),
            ..Schedule::default()
        };
        for shows in runs.map(|now| self.clock(now)) {
            *schedule.runs.entry(shows.date().to_string()).or_default() += 1;
            schedule.off += u64::from(shows.time() != self.at);
            let hour = f64::from(shows.hour()) + f64::from(shows.minute()) / 60.0;
            schedule.fired.push((f64::from(shows.date().day_of_year()), hour));
        }
        schedule
    }

    fn dates(&self) -> impl Iterator<Item = Date> {
        let year = self.first.year();
        self.first.series(jiff::Span::new().days(1)).take_while(move |date| date.year() == year)
    }

    fn looks(&self) -> impl Iterator<Item = Timestamp> {
        let ends = self.ends;
        std::iter::successors(Some(self.begins), |now| Some(*now + LOOK)).take_while(move |now| *now < ends)
    }

    fn clock(&self, now: Timestamp) -> DateTime {
        self.zone.to_datetime(now)
    }
}

impl Schedule {
    /// Dates with so many runs.
    pub fn dates_with(&self, runs: u64) -> Vec<String> {
        self.runs.iter().filter(|(_, it)| **it == runs).map(|(date, _)| date.clone()).collect()
    }

    /// Dates on which it didn't run exactly once.
    pub fn not_once(&self) -> u64 {
        self.runs.values().filter(|it| **it != 1).count() as u64
    }
}
