//! Reads one `answer.md` and renders it. Used when the binary is built, never while it runs.
//!
//! Strict on purpose: 150 pages by many hands read as by one because whatever strays from the form of
//! `docs/WRITING.md` fails the build, with a message that names the place and the cure.

use std::{collections::HashMap, fmt, path::Path};

use crate::{Level, Track};

mod answer;
mod code;
mod diagram;
mod front;
mod literal;

pub use literal::rust_literal;

/// A page as it was read: what [`rust_literal`] turns into a [`crate::Page`]. The fields mean the same.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnedPage {
    /// Where it was read from, for messages.
    pub file: String,
    pub number: u16,
    pub slug: String,
    pub title: String,
    pub track: Track,
    pub level: Level,
    pub asked: String,
    pub experiment: String,
    pub must_say: Vec<String>,
    pub cards: Vec<OwnedCard>,
    pub follow_ups: Vec<OwnedFollowUp>,
    pub sources: Vec<OwnedSource>,
    pub related: Vec<String>,
    pub body: String,
    /// Empty where the answer isn't written.
    pub sections: Vec<OwnedSection>,
    /// Slugs of the questions that the answer links to.
    pub links: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnedCard {
    pub ask: String,
    pub say: String,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnedFollowUp {
    pub ask: String,
    pub say: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnedSource {
    pub name: String,
    pub url: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedSection {
    pub id: &'static str,
    pub title: &'static str,
    pub html: Vec<OwnedPiece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnedPiece {
    Html(String),
    Claim(String),
}

/// What is wrong with a page, in one line: the file, the place in it, what stands there, and the cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct Fault {
    pub file: String,
    pub problem: Problem,
}

/// A fault before it is known in which file it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `line 12`, or a key such as `must_say[2]`.
    pub place: String,
    pub what: String,
    pub cure: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, what, cure } = self;
        let line = format!("{place}: {what}; {cure}");
        // One line each, also where a parser's message has several.
        write!(to, "{}", line.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

fn problem(place: impl Into<String>, what: impl Into<String>, cure: impl Into<String>) -> Problem {
    Problem { place: place.into(), what: what.into(), cure: cure.into() }
}

/// Reads and renders the page at `file`, whose folders say its track and its slug
/// (`…/<track>/<slug>/answer.md`). The file isn't opened: `text` is its content.
///
/// # Errors
/// All that is wrong with the page, not only the first.
pub fn page(file: &Path, text: &str) -> Result<OwnedPage, Vec<Fault>> {
    let name = file.display().to_string();
    read(file, &name, text).map_err(|problems| {
        problems.into_iter().map(|problem| Fault { file: name.clone(), problem }).collect()
    })
}

fn read(file: &Path, name: &str, text: &str) -> Result<OwnedPage, Vec<Problem>> {
    let text = text.replace("\r\n", "\n");
    let (front, body, body_line) = split(&text).map_err(|problem| vec![problem])?;
    let front = front::parse(front).map_err(|problem| vec![problem])?;
    let mut problems = Vec::new();
    let (track, slug) = front::folder(file, &mut problems);
    let level = front::check(&front, !body.is_empty(), &mut problems);
    let answer = answer::render(body, body_line, level, &mut problems);
    // `folder` and `check` give nothing only where they have found a fault.
    let (Some(track), Some(level), true) = (track, level, problems.is_empty()) else { return Err(problems) };
    Ok(OwnedPage {
        file: name.to_owned(),
        number: front.number,
        slug,
        title: front.title,
        track,
        level,
        asked: front.asked,
        experiment: front.experiment,
        must_say: front.must_say,
        cards: front.cards,
        follow_ups: front.follow_ups,
        sources: front.sources,
        related: front.related,
        body: body.to_owned(),
        sections: answer.sections,
        links: answer.links,
    })
}

/// Front matter, body without blank edges, and the number of the body's first line.
fn split(text: &str) -> Result<(&str, &str, usize), Problem> {
    if let Some(at) = text.find(|c: char| c.is_control() && c != '\n') {
        let line = 1 + text[..at].matches('\n').count();
        let what = format!(
            "a control character ({})",
            text[at..].chars().take(1).collect::<String>().escape_default()
        );
        return Err(problem(format!("line {line}"), what, "remove it; indent with spaces"));
    }
    let opened = text.strip_prefix("---\n").ok_or_else(|| {
        problem(
            "line 1",
            "no front matter",
            "begin the file with a line `---`, the keys, and another line `---`",
        )
    })?;
    let (front, rest) = match opened.strip_prefix("---\n") {
        Some(rest) => ("", rest),
        None => opened
            .split_once("\n---\n")
            .or_else(|| opened.strip_suffix("\n---").map(|front| (front, "")))
            .ok_or_else(|| problem("line 1", "the front matter doesn't end", "close it with a line `---`"))?,
    };
    let body = rest.trim_start();
    let line = 1 + text[..text.len() - body.len()].matches('\n').count();
    Ok((front, body.trim_end(), line))
}

/// Checks what only all pages together can show: numbers and titles that are taken, neighbours that don't exist.
pub fn faults_between(pages: &[OwnedPage]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let (mut numbers, mut titles, mut asked) = (HashMap::new(), HashMap::new(), HashMap::new());
    let slugs: HashMap<&str, &OwnedPage> = pages.iter().map(|page| (page.slug.as_str(), page)).collect();
    for page in pages {
        let mut report = |place: &str, what: String, cure: &str| {
            faults.push(Fault { file: page.file.clone(), problem: problem(place, what, cure) });
        };
        if let Some(other) = numbers.insert(page.number, &page.file) {
            report("number", format!("{} is the number of {other} too", page.number), "give each its own");
        }
        if let Some(other) = titles.insert(page.title.to_lowercase(), &page.file) {
            report("title", format!("`{}` is the title of {other} too", page.title), "tell them apart");
        }
        if let Some(other) = asked.insert(page.asked.to_lowercase(), &page.file) {
            report("asked", format!("{other} asks just the same"), "tell them apart");
        }
        if slugs.get(page.slug.as_str()).is_some_and(|other| other.file != page.file) {
            report("folder", format!("`{}` is there in two tracks", page.slug), "rename one");
        }
        for slug in &page.related {
            if *slug == page.slug {
                report("related", format!("`{slug}` is this question itself"), "remove it");
            } else if !slugs.contains_key(slug.as_str()) {
                report(
                    "related",
                    format!("there is no question `{slug}`"),
                    "take the name of a folder in questions/",
                );
            }
        }
        for slug in page.links.iter().filter(|slug| !slugs.contains_key(slug.as_str())) {
            report(
                "answer",
                format!("it links to `{slug}`, which is no question"),
                "take the name of a folder in questions/",
            );
        }
    }
    faults
}

/// An experiment's own source as HTML, for the inside of a `<code>`.
pub fn highlight_rust(source: &str) -> String {
    code::html(code::Language::Rust, source)
}

/// Markdown of our own that is no answer (a contract, what is said of a reference) as HTML.
pub fn markdown(text: &str) -> String {
    use pulldown_cmark::{Options, Parser, html};
    let options = Options::ENABLE_TABLES | Options::ENABLE_SMART_PUNCTUATION;
    let mut page = String::new();
    html::push_html(&mut page, Parser::new_ext(text, options));
    // What may be wider than the page scrolls by itself, by keys too.
    page.replace("<pre>", "<pre tabindex=\"0\">")
        .replace("<table>", "<div class=\"table\" tabindex=\"0\"><table>")
        .replace("</table>", "</table></div>")
}
