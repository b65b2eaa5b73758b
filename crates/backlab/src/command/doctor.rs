//! `backlab doctor`: which parts are on this machine, and the line that installs one that isn't.

use crate::args::Doctor;
use crate::paper::Paper;
use anyhow::Result;
use backlab_engine::inventory::{self, Part};
use backlab_questions::ALL;
use serde::Serialize;
use std::io::Write;
use std::process::ExitCode;

#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    purpose: &'static str,
    version: Option<&'static str>,
    why: Option<String>,
    install: &'static str,
    /// Questions whose experiment can't run without it.
    needed_by: Vec<u16>,
}

pub fn doctor(args: &Doctor) -> Result<ExitCode> {
    let rows: Vec<_> = inventory::ALL.iter().map(|part| row(part)).collect();
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let paper = Paper::of_stdout();
    for row in &rows {
        match (row.version, &row.why) {
            (Some(version), _) => {
                writeln!(
                    out,
                    "{} {:11} {:32} {}",
                    paper.accent("✓"),
                    row.name,
                    version,
                    paper.soft(row.purpose)
                )?;
            }
            (None, why) => {
                let why = why.as_deref().unwrap_or_default();
                writeln!(out, "{} {:11} {why}", paper.refuted("✗"), row.name)?;
                writeln!(out, "  {:11} needed by {}", "", numbers(&row.needed_by))?;
                writeln!(out, "  {:11} {}", "", paper.strong(row.install))?;
            }
        }
    }
    let experiments: Vec<_> = ALL.iter().filter_map(|question| question.experiment).collect();
    let here = experiments.iter().filter(|it| it.lacks().next().is_none()).count();
    let count = format!("{here} of {} experiments can run here.", experiments.len());
    writeln!(out, "{}", paper.soft(count))?;
    Ok(ExitCode::SUCCESS)
}

fn row(part: &'static Part) -> Row {
    let (version, why) = match part.version() {
        Ok(version) => (Some(version), None),
        Err(missing) => (None, Some(missing.why)),
    };
    let needs = |needs: &[&Part]| needs.iter().any(|need| need.name == part.name);
    let needed_by = ALL
        .iter()
        .filter(|question| question.experiment.is_some_and(|it| needs(it.needs)))
        .map(|it| it.page.number);
    Row {
        name: part.name,
        purpose: part.purpose,
        version,
        why,
        install: part.install,
        needed_by: needed_by.collect(),
    }
}

fn numbers(questions: &[u16]) -> String {
    let numbers: Vec<_> = questions.iter().map(u16::to_string).collect();
    if numbers.is_empty() { "no question yet".to_owned() } else { numbers.join(", ") }
}
