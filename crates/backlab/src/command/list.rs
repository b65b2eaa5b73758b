//! `backlab list`: the questions, with what is known of each.

use super::Home;
use crate::args::List;
use crate::json::Row;
use crate::paper::Paper;
use anyhow::Result;
use backlab_questions::{ALL, Question};
use backlab_study::{Progress, Status};
use std::io::Write;
use std::process::ExitCode;

pub async fn list(args: &List, home: &Home) -> Result<ExitCode> {
    let progress = match home.open_or_warn().await {
        Some(store) => store.progress().await?,
        None => Progress::default(),
    };
    let rows: Vec<_> = ALL
        .iter()
        .map(|question| (question, progress.of(question.page.number)))
        .filter(|(question, status)| wanted(args, question, *status))
        .collect();
    let mut out = std::io::stdout().lock();
    if args.json {
        let rows: Vec<_> = rows.iter().map(|(question, status)| Row::new(question, *status)).collect();
        serde_json::to_writer_pretty(&mut out, &rows)?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let paper = Paper::of_stdout();
    for (question, status) in &rows {
        writeln!(out, "{}", line(&paper, question, *status))?;
    }
    let runs = rows.iter().filter(|(question, _)| question.experiment.is_some()).count();
    let build = rows.iter().filter(|(question, _)| question.challenge.is_some()).count();
    let verified = rows.iter().filter(|(_, status)| *status >= Status::Verified).count();
    let summary =
        format!("{} questions, {runs} run today, {build} to build, {verified} verified by you", rows.len());
    writeln!(out, "{}", paper.soft(summary))?;
    Ok(ExitCode::SUCCESS)
}

fn wanted(args: &List, question: &Question, status: Status) -> bool {
    let page = &question.page;
    args.track.is_none_or(|track| track == page.track)
        && args.level.is_none_or(|level| level == page.level)
        && args.status.is_none_or(|wanted| wanted == status)
        && (!args.runs || question.experiment.is_some())
        && (!args.build || question.challenge.is_some())
        && args.search.as_deref().is_none_or(|words| page.matches(words))
}

fn line(paper: &Paper, question: &Question, status: Status) -> String {
    let page = &question.page;
    let mark = match status {
        Status::New => paper.soft("○"),
        Status::Read => paper.soft("◔"),
        Status::Predicted => paper.accent("◑"),
        Status::Verified => paper.accent("●"),
        Status::Built => paper.accent("◆"),
    };
    let room = paper.look.width.saturating_sub(38).max(20);
    let title: String = if page.title.chars().count() > room {
        page.title.chars().take(room - 1).chain(['…']).collect()
    } else {
        page.title.to_owned()
    };
    let rest = match (question.experiment.is_some(), page.answer.is_some()) {
        (true, _) => paper.accent("runs"),
        (false, true) => paper.soft("text only"),
        (false, false) => paper.soft("not yet written"),
    };
    let build = if question.challenge.is_some() { paper.accent(" · build") } else { String::new() };
    format!("{:>3} {mark} {title:room$} {:6} {rest}{build}", page.number, page.level.slug())
}
