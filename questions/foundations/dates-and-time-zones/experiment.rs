//! Dates and time zones: one daily job through a real year, by three schedulers.
//!
//! The rules are those of the IANA database that the library carries; the year is walked through in universal time,
//! looking at the clock on the wall.

use crate::prelude::*;
use jiff::civil::date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

#[path = "figures.rs"]
mod figures;
#[path = "schedule.rs"]
mod schedule;

use schedule::{OddDay, Schedule, Year};

/// The rule for Mexico City until October 2022, as POSIX writes it: summer time from April to October.
const MEXICO_2021: &str = "CST6CDT,M4.1.0,M10.5.0";
/// Instants that are stored around the change in autumn: one a minute.
const STORED_MINUTES: i64 = 180;

choices! {
    pub enum Zone {
        Berlin = "Europe/Berlin",
        NewYork = "America/New_York",
        LordHowe = "Australia/Lord_Howe",
        Kathmandu = "Asia/Kathmandu",
    }
}

choices! {
    pub enum LocalTime { HalfPastOne = "01:30", HalfPastTwo = "02:30", Nine = "09:00" }
}

choices! {
    pub enum Gap { Later = "run later by the gap", Skip = "don't run" }
}

choices! {
    pub enum Fold { First = "run the first time", Both = "run both times" }
}

choices! {
    pub enum Rules { Current = "in force", Old = "of 2021" }
}

params! {
    /// Where the clock hangs.
    zone: Zone = "Europe/Berlin" in ..;
    /// Which year is walked through.
    year: u64 = 2024 in 2008..=2025;
    /// When the job is to run each day.
    local_time: LocalTime = "02:30" in ..;
    /// What the scheduler with a rule does when the time doesn't exist.
    in_a_gap: Gap = "run later by the gap" in ..;
    /// What it does when the time exists twice.
    in_a_fold: Fold = "run the first time" in ..;
    /// Which rules of Mexico City the appointment is read by.
    read_by_rules: Rules = "in force" in ..;
}

pub struct DatesAndTimeZones;

#[derive(Clone, Serialize)]
pub struct Observed {
    /// Clock changes in the year, as the database lists them.
    changes: u64,
    odd_days: Vec<OddDay>,
    /// Dates on which the job's time doesn't exist, and on which it exists twice, by asking the database for the instant.
    gaps: Vec<String>,
    folds: Vec<String>,
    clock: Schedule,
    hours: Schedule,
    rule: Schedule,
    stored: Option<Stored>,
    appointment: Appointment,
}

/// One event a minute around the change in autumn, stored in three ways.
#[derive(Clone, Serialize)]
struct Stored {
    events: u64,
    local: Column,
    with_offset: Column,
    utc: Column,
}

#[derive(Clone, Copy, Serialize)]
struct Column {
    distinct: u64,
    /// Events that the column's order puts before one that happened earlier.
    out_of_order: u64,
}

/// 1 May 2023 at 9 in Mexico City, booked in 2021, read when the day comes.
#[derive(Clone, Serialize)]
struct Appointment {
    booked_as: String,
    due_at: String,
    utc_shows: String,
    local_shows: String,
}

impl Experiment for DatesAndTimeZones {
    type Params = Params;
    type Observed = Observed;

    const NEEDS: &'static [&'static Part] = &[&inventory::SQLITE];

    fn predict(p: &Params) -> Prediction<Observed> {
        let ask = format!(
            "A job in {} runs whenever the clock on the wall shows {}, all through {}. On how many days does it not run \
             exactly once?",
            p.zone.word(),
            p.local_time.word(),
            p.year
        );
        Prediction::number(ask, "days", |seen: &Observed| seen.clock.not_once()).tempting(
            0,
            "Each day has one of each time, on every clock that one has ever seen. But a clock that is put forward jumps \
             over some times, and one that is put back shows some twice.",
        )
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        lab.step(format_args!("The year {} in {}, a quarter of an hour at a time", p.year, p.zone.word()));
        let year = Year::of(p)?;
        let (gaps, folds) = year.gaps_and_folds();
        let stored = match year.fold() {
            Some(fold) => Some(stored(lab, &year.zone, fold).await?),
            None => None,
        };
        Ok(Observed {
            changes: year.changes().len() as u64,
            odd_days: year.odd_days(),
            gaps,
            folds,
            clock: year.whenever_the_clock_shows_it(),
            hours: year.every_24_hours()?,
            rule: year.by_rule(p.in_a_gap, p.in_a_fold)?,
            stored,
            appointment: appointment(lab, p)?,
        })
    }

    fn claims(p: &Params, seen: &Observed) -> Vec<Claim> {
        let mut claims = on_schedules(p, seen);
        claims.extend(on_what_is_stored(seen));
        claims
    }

    fn figures(p: &Params, seen: &Observed) -> Vec<Figure> {
        figures::all(p, seen)
    }

    fn counterexamples(_: &Params) -> Vec<Observed> {
        let broken: [fn(&mut Observed); 9] = [
            |it| it.odd_days.clear(),
            |it| _ = it.clock.runs.insert("2024-03-31".into(), 1),
            |it| _ = it.clock.runs.insert("2024-10-27".into(), 1),
            |it| _ = it.rule.runs.insert("2024-03-31".into(), 0),
            |it| it.hours.off = 0,
            |it| it.stored = it.stored.take().map(|stored| Stored { local: stored.utc, ..stored }),
            |it| it.stored = it.stored.take().map(|stored| Stored { with_offset: stored.utc, ..stored }),
            |it| it.appointment.utc_shows = "09:00".into(),
            |it| it.appointment.local_shows = "08:00".into(),
        ];
        each_broken(broken, as_expected)
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "let the scheduler with a rule skip a time that doesn't exist",
                set: &[("in_a_gap", "don't run")],
                refutes: &["rule-runs-once"],
            },
            Fault {
                label: "let it run both times that the clock shows the time",
                set: &[("in_a_fold", "run both times")],
                refutes: &["rule-runs-once"],
            },
            Fault {
                label: "read the appointment by the time zone rules of 2021",
                set: &[("read_by_rules", "of 2021")],
                refutes: &["utc-appointment-moves"],
            },
        ]
    }
}

fn on_schedules(p: &Params, seen: &Observed) -> Vec<Claim> {
    let changes = format!("the database lists {} changes of the clocks", seen.changes);
    vec![
        claim(
            "days-of-other-lengths",
            "As many days of the year don't have 24 hours as there are changes of the clocks",
            "two changes fall on one day, or one moves the clock by a whole day",
        )
        .witness(seen.changes > 0, changes.clone())
        .equal(days(seen.odd_days.len() as u64), days(seen.changes)),
        claim(
            "clock-skips",
            "A job that runs whenever the clock shows the time doesn't run on the day whose gap holds it",
            "the gap holds another time",
        )
        .witness(!seen.gaps.is_empty(), format!("{} doesn't exist on {}", p.local_time.word(), seen.gaps.join(", ")))
        .equal(words(&seen.clock.dates_with(0)), words(&seen.gaps)),
        claim(
            "clock-repeats",
            "It runs twice on the day whose fold holds the time",
            "the fold holds another time",
        )
        .witness(!seen.folds.is_empty(), format!("{} comes twice on {}", p.local_time.word(), seen.folds.join(", ")))
        .equal(words(&seen.clock.dates_with(2)), words(&seen.folds)),
        claim(
            "rule-runs-once",
            "A scheduler that computes each date's instant, with a rule for gap and fold, runs once on every date",
            "its rule is to skip what doesn't exist, or to run twice",
        )
        .witness(
            !seen.gaps.is_empty() || !seen.folds.is_empty(),
            format!("{} gaps and {} folds hold the time", seen.gaps.len(), seen.folds.len()),
        )
        .equal(format!("{} dates not once", seen.rule.not_once()), "0 dates not once".into()),
        claim(
            "hours-drift",
            "A job that runs 24 hours after the last run shows another time on at least 100 days",
            "the zone never changes its clocks",
        )
        .witness(seen.changes == 2, changes)
        .at_least(seen.hours.off, 100),
    ]
}

fn on_what_is_stored(seen: &Observed) -> Vec<Claim> {
    let none = Column { distinct: 0, out_of_order: 0 };
    let Stored { events, local, with_offset, utc } =
        seen.stored.clone().unwrap_or(Stored { events: 0, local: none, with_offset: none, utc: none });
    let stored = |id, says, breaks_when| {
        claim(id, says, breaks_when)
            .witness(events > 0, format!("{events} events around the change in autumn"))
    };
    let booked = &seen.appointment;
    let read = |id, says, breaks_when| {
        claim(id, says, breaks_when).witness(
            booked.booked_as != booked.due_at || booked.utc_shows == "09:00",
            format!("09:00 was {} when it was booked, and is {}", booked.booked_as, booked.due_at),
        )
    };
    vec![
        stored(
            "local-text-collides",
            "Around the change in autumn, local times without an offset have fewer values than there were events; with an \
             offset, or in UTC, there are as many",
            "the zone has no fold, or the events lie outside it",
        )
        .that(
            local.distinct < events && with_offset.distinct == events && utc.distinct == events,
            format!("{} of {events} values; {} and {}", local.distinct, with_offset.distinct, utc.distinct),
            format!("fewer than {events}; {events} and {events}"),
        ),
        stored(
            "offset-text-sorts-wrong",
            "Text with an offset tells all events apart and still sorts them wrongly; text in UTC sorts them as they happened",
            "it is compared as instants, not as text",
        )
        .that(
            with_offset.out_of_order > 0 && utc.out_of_order == 0,
            format!("{} events out of order, in UTC {}", with_offset.out_of_order, utc.out_of_order),
            "more than 0, in UTC 0",
        ),
        read(
            "utc-appointment-moves",
            "An appointment at 9 that was stored as UTC is read at 8 after the government has abolished summer time",
            "the reader's time zone database is as old as the booking",
        )
        .equal(booked.utc_shows.as_str(), "08:00"),
        read(
            "local-appointment-stays",
            "Stored as local time with its zone, it is still at 9",
            "the zone is stored as an offset",
        )
        .equal(booked.local_shows.as_str(), "09:00"),
    ]
}

/// Stores an event a minute, half of them before the clocks are put back and half after.
async fn stored(lab: &Lab, zone: &TimeZone, fold: Timestamp) -> Result<Stored> {
    lab.step(format_args!("{STORED_MINUTES} events around the change in autumn"));
    let db = lab
        .sqlite("CREATE TABLE event (nth INTEGER PRIMARY KEY, local TEXT, with_offset TEXT, utc TEXT)")
        .await?;
    for nth in 0..STORED_MINUTES {
        let at = fold + SignedDuration::from_mins(nth - STORED_MINUTES / 2);
        let local = at.to_zoned_datetime(zone.clone());
        let texts = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M%:z"].map(|form| local.strftime(form).to_string());
        let [plain, offset] = texts;
        db.execute("INSERT INTO event VALUES ($1, $2, $3, $4)", (nth, plain, offset, at.to_string())).await?;
    }
    let column = async |name: &str| -> Result<Column> {
        let distinct = db.count(&format!("SELECT count(DISTINCT {name}) FROM event"), ()).await?;
        let earlier = format!(
            "SELECT count(*) FROM (SELECT nth, lead(nth) OVER (ORDER BY {name}, nth) AS next FROM event) WHERE next < nth"
        );
        Ok(Column { distinct, out_of_order: db.count(&earlier, ()).await? })
    };
    Ok(Stored {
        events: db.count("SELECT count(*) FROM event", ()).await?,
        local: column("local").await?,
        with_offset: column("with_offset").await?,
        utc: column("utc").await?,
    })
}

/// Books by the rules of 2021, and reads by those of the knob.
fn appointment(lab: &Lab, p: &Params) -> Result<Appointment> {
    lab.step("An appointment in Mexico City, booked before summer time was abolished");
    let nine = date(2023, 5, 1).at(9, 0, 0, 0);
    let old = TimeZone::posix(MEXICO_2021)?;
    let now = match p.read_by_rules {
        Rules::Current => TimeZone::get("America/Mexico_City")?,
        Rules::Old => old.clone(),
    };
    let (booked, due) = (old.to_timestamp(nine)?, now.to_timestamp(nine)?);
    let shows = |at: Timestamp| now.to_datetime(at).strftime("%H:%M").to_string();
    Ok(Appointment {
        booked_as: booked.to_string(),
        due_at: due.to_string(),
        utc_shows: shows(booked),
        local_shows: shows(due),
    })
}

impl LocalTime {
    fn hour_and_minute(self) -> (i8, i8) {
        match self {
            Self::HalfPastOne => (1, 30),
            Self::HalfPastTwo => (2, 30),
            Self::Nine => (9, 0),
        }
    }
}

fn days(count: u64) -> String {
    format!("{count} days")
}

fn words(dates: &[String]) -> String {
    match dates {
        [] => "no day".to_owned(),
        some => some.join(", "),
    }
}

/// What a run shows in Berlin, if all goes as the answer says.
fn as_expected() -> Observed {
    let (spring, autumn) = ("2024-03-31".to_owned(), "2024-10-27".to_owned());
    let schedule = |in_spring, in_autumn, off| Schedule {
        runs: [(spring.clone(), in_spring), (autumn.clone(), in_autumn)].into(),
        fired: Vec::new(),
        off,
    };
    let column = |distinct, out_of_order| Column { distinct, out_of_order };
    Observed {
        changes: 2,
        odd_days: vec![
            OddDay { date: spring.clone(), hours: 23.0 },
            OddDay { date: autumn.clone(), hours: 25.0 },
        ],
        gaps: vec![spring.clone()],
        folds: vec![autumn.clone()],
        clock: schedule(0, 2, 0),
        hours: schedule(1, 1, 210),
        rule: schedule(1, 1, 1),
        stored: Some(Stored {
            events: 180,
            local: column(120, 0),
            with_offset: column(180, 60),
            utc: column(180, 0),
        }),
        appointment: Appointment {
            booked_as: "2023-05-01T14:00:00Z".into(),
            due_at: "2023-05-01T15:00:00Z".into(),
            utc_shows: "08:00".into(),
            local_shows: "09:00".into(),
        },
    }
}
