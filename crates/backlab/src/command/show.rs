//! `backlab show`: an answer in the terminal, with the figures of the reader's last run in its sentences.

use super::check::marked;
use super::new::check_line;
use super::{Home, question};
use crate::args::{Language, Show};
use crate::paper::Paper;
use anyhow::Result;
use backlab_questions::{Challenge, Question};
use backlab_store::Grade;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;

/// The last measured figure of each claim, by its id.
pub type Figures = BTreeMap<String, String>;

pub async fn show(args: &Show, home: &Home) -> Result<ExitCode> {
    let question = question(&args.question)?;
    let paper = Paper::of_stdout();
    let mut measured = Figures::new();
    let (mut last, mut passed) = (None, None);
    if let Some(store) = home.open_or_warn().await {
        let figures = store.measured(question.page.number).await?;
        measured = figures.into_iter().map(|(claim, it)| (claim, it.figure)).collect();
        last = store.last_grade(question.page.number).await?;
        passed = store.last_pass(question.page.number).await?;
        if question.page.answer.is_some() {
            store.mark_read(question.page.number).await?;
        }
    }
    let built = |challenge| build(&paper, question, challenge, last.as_ref(), passed.as_ref());
    let built = question.challenge.as_ref().map(built).unwrap_or_default();
    std::io::stdout().lock().write_all(whole(&paper, question, &measured, &built).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn whole(paper: &Paper, question: &Question, measured: &Figures, built: &str) -> String {
    let page = &question.page;
    let place = format!("{} of 150 · {} · {}", page.number, page.track.title(), page.level.title());
    let mut out = format!("{}\n{}\n\n", paper.soft(place), paper.strong(page.title));
    let _ = writeln!(out, "{}\n", paper.wrapped(page.asked, 0));
    if page.answer.is_none() {
        let _ =
            writeln!(out, "{}\n", paper.soft("This answer isn't written yet. What a strong one must say:"));
    } else {
        out.push_str(&markdown(paper, page.body, measured));
        let _ = writeln!(out, "{}\n", paper.strong("A strong answer says"));
    }
    for point in page.must_say {
        let _ = writeln!(out, "  • {}", paper.wrapped(point, 4).trim_start());
    }
    let _ = writeln!(out, "\n{}\n", paper.strong("Follow-ups"));
    for follow_up in page.follow_ups {
        let _ = writeln!(out, "  {}", paper.wrapped(follow_up.ask, 2).trim_start());
        if let Some(say) = follow_up.say {
            let _ = writeln!(out, "{}", paper.soft(paper.wrapped(say, 4)));
        }
    }
    out.push_str(built);
    let _ = writeln!(out, "\n{}\n", paper.strong("Sources"));
    for source in page.sources {
        let _ = writeln!(out, "  {} {}", source.name, paper.soft(source.url.unwrap_or_default()));
    }
    let next = match question.experiment {
        Some(_) => format!("\nSee it happen: backlab run {}\n", page.number),
        None => "\nIts experiment isn't written yet.\n".to_owned(),
    };
    out + &paper.soft(next)
}

/// What there is to build, how far the reader has come with it, and, once all of it is passed, what we made of it.
fn build(
    paper: &Paper,
    question: &Question,
    challenge: &Challenge,
    last: Option<&Grade>,
    passed: Option<&Grade>,
) -> String {
    let heading = |of: &str| format!("{}\n\n", paper.strong(of));
    let mut out = format!("\n{}", heading(&format!("Build it: {}", challenge.title)));
    out.push_str(&markdown(paper, challenge.contract, &Figures::new()));
    out.push_str(&heading("Stages"));
    let report = last.and_then(|it| serde_json::from_str::<backlab_engine::Grade>(&it.report).ok());
    let of_these = report.filter(|it| it.version == challenge.graded.version);
    for (number, stage) in (1..).zip((challenge.graded.stages)()) {
        let line = format!("{number}. {}", stage.says);
        let stages = of_these.iter().flat_map(|it| &it.stages);
        let mark = stages.into_iter().find(|it| it.says == stage.says).map(|it| it.mark);
        let _ = writeln!(out, "  {}", mark.map_or(line.clone(), |mark| marked(paper, mark, line)));
    }
    out.push('\n');
    for grade in last.into_iter().chain(passed.filter(|pass| last.is_none_or(|it| it.id != pass.id))) {
        let _ = writeln!(out, "{}", paper.wrapped(&checked(challenge, grade), 0));
    }
    if last.is_none() {
        let (new, check) = (
            format!("backlab new {} --language", question.page.slug),
            check_line(question, Language::Python),
        );
        let _ = writeln!(
            out,
            "To begin, in Python (or node, or rust; or with an empty file, in any language):\n"
        );
        let _ = writeln!(out, "    {new} python\n    cd {}\n    {check}", question.page.slug);
    }
    if passed.is_some() {
        let _ = write!(out, "\n{}", heading("How we did it"));
        out.push_str(markdown(paper, challenge.notes, &Figures::new()).trim_end());
        let _ = writeln!(
            out,
            "\n\n{}",
            paper.soft("Our program itself is on the question's page: backlab serve")
        );
    }
    out
}

/// A check in a sentence.
fn checked(challenge: &Challenge, grade: &Grade) -> String {
    let at = jiff::Timestamp::from_millisecond(grade.at).unwrap_or_default().strftime("%-d %b %Y, %H:%M UTC");
    let Grade { passed, stages, version, seed, .. } = grade;
    let mut said = format!("{passed} of {stages} stages of version {version} passed on {at}, seed {seed}.");
    if challenge.graded.version != *version {
        let _ = write!(said, " They are at version {} now: check again.", challenge.graded.version);
    }
    said
}

/// The section that one says first, for the end of a run.
pub fn thirty_seconds(paper: &Paper, question: &Question, measured: &Figures) -> String {
    let body = question.page.body;
    let Some(start) = body.find("## In 30 seconds") else { return String::new() };
    let section = &body[start..];
    let end = section[3..].find("\n## ").map_or(section.len(), |at| at + 3);
    markdown(paper, &section[..end], measured)
}

/// Markdown as wrapped text. A citation becomes the figure that the last run measured.
fn markdown(paper: &Paper, body: &str, measured: &Figures) -> String {
    let mut text = Text {
        paper,
        measured,
        out: String::new(),
        line: String::new(),
        indent: 0,
        items: Vec::new(),
        code: false,
    };
    let options = Options::ENABLE_TABLES;
    for event in Parser::new_ext(&with_marks(body), options) {
        text.take(event);
    }
    text.out
}

/// Marks citations with characters for private use, as Markdown would take them apart.
fn with_marks(body: &str) -> String {
    body.replace("[^", "\u{e000}").split('\u{e000}').enumerate().fold(String::new(), |mut all, (i, part)| {
        match part.split_once(']') {
            Some((id, rest)) if i > 0 => {
                let _ = write!(all, "\u{e000}{id}\u{e001}{rest}");
            }
            _ => all.push_str(part),
        }
        all
    })
}

struct Text<'a> {
    paper: &'a Paper,
    measured: &'a Figures,
    out: String,
    line: String,
    indent: usize,
    /// The next number of each open list; `None` for one with bullets.
    items: Vec<Option<u64>>,
    code: bool,
}

impl Text<'_> {
    fn take(&mut self, event: Event) {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.code => {
                for line in text.lines() {
                    let _ = writeln!(self.out, "    {}", self.paper.soft(line));
                }
            }
            Event::Text(text) => self.line.push_str(&text),
            Event::Code(code) => {
                let _ = write!(self.line, "`{code}`");
            }
            Event::SoftBreak | Event::HardBreak => self.line.push(' '),
            _ => {}
        }
    }

    fn start(&mut self, tag: &Tag) {
        match tag {
            Tag::CodeBlock(kind) => {
                self.code =
                    !matches!(kind, CodeBlockKind::Fenced(language) if language.starts_with("pikchr"));
            }
            Tag::List(first) => {
                self.flush("");
                self.items.push(*first);
            }
            Tag::Item => self.indent += 2,
            Tag::Emphasis => self.line.push('_'),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => {
                let heading = std::mem::take(&mut self.line);
                let _ = writeln!(self.out, "{}\n", self.paper.strong(heading));
            }
            TagEnd::Paragraph => {
                self.flush("");
                self.out.push('\n');
            }
            TagEnd::CodeBlock => {
                self.code = false;
                self.line.clear();
                self.out.push('\n');
            }
            TagEnd::Item => {
                let bullet = match self.items.last_mut() {
                    Some(Some(number)) => {
                        *number += 1;
                        format!("{}.", *number - 1)
                    }
                    _ => "•".to_owned(),
                };
                self.flush(&bullet);
                self.indent -= 2;
            }
            TagEnd::List(_) => {
                self.items.pop();
                self.out.push('\n');
            }
            TagEnd::TableCell => self.line.push_str("  │  "),
            TagEnd::TableRow | TagEnd::TableHead => {
                let row = self.cited();
                let _ = writeln!(self.out, "  {}", row.trim_end_matches("  │  "));
            }
            TagEnd::Table => self.out.push('\n'),
            TagEnd::Emphasis => self.line.push('_'),
            _ => {}
        }
    }

    fn flush(&mut self, bullet: &str) {
        let line = self.cited();
        if line.trim().is_empty() {
            return;
        }
        let hang = if bullet.is_empty() { self.indent } else { self.indent + bullet.chars().count() + 1 };
        let wrapped = self.paper.wrapped(&line, hang);
        let first = if bullet.is_empty() {
            wrapped
        } else {
            format!("{}{bullet} {}", " ".repeat(self.indent), wrapped.trim_start())
        };
        let _ = writeln!(self.out, "{first}");
    }

    /// The line so far, its citations replaced by figures; a figure that no run has measured leaves no trace.
    fn cited(&mut self) -> String {
        let line = std::mem::take(&mut self.line);
        line.split('\u{e000}').enumerate().fold(String::new(), |mut all, (i, part)| {
            match part.split_once('\u{e001}') {
                Some((id, rest)) if i > 0 => {
                    if let Some(figure) = self.measured.get(id) {
                        let _ = write!(all, " [here: {figure}]");
                    }
                    all.push_str(rest);
                }
                _ => all.push_str(part),
            }
            all
        })
    }
}
