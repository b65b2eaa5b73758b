//! The front matter of an answer: its keys, and the form that each must have.

use std::{ops::RangeInclusive, path::Path};

use serde::Deserialize;

use super::{OwnedCard, OwnedFollowUp, OwnedSource, Problem, problem};
use crate::{Level, Track};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Front {
    pub number: u16,
    pub title: String,
    level: String,
    pub asked: String,
    #[serde(default)]
    pub experiment: String,
    pub must_say: Vec<String>,
    #[serde(default)]
    pub cards: Vec<OwnedCard>,
    pub follow_ups: Vec<OwnedFollowUp>,
    pub sources: Vec<OwnedSource>,
    #[serde(default)]
    pub related: Vec<String>,
}

pub(super) fn parse(text: &str) -> Result<Front, Problem> {
    serde_saphyr::from_str(text).map_err(|error| {
        let error = error.without_snippet();
        let line = error.location().map_or(1, |at| at.line() as usize);
        let shown = text
            .lines()
            .nth(line - 1)
            .map(|it| format!(" in `{}`", shortened(it.trim())))
            .unwrap_or_default();
        let what = error.to_string();
        let what = what.rsplit_once(" at line ").map_or(what.as_str(), |(what, _)| what);
        let cure = "it is YAML with the keys of docs/WRITING.md; a text with `: ` or ` #` in it wants quotes";
        // The front matter begins on the file's second line.
        problem(format!("line {}", line + 1), format!("{what}{shown}"), cure)
    })
}

/// Track and slug, from the folders of the file.
pub(super) fn folder(file: &Path, problems: &mut Vec<Problem>) -> (Option<Track>, String) {
    let mut folders = file.ancestors().skip(1).map(|it| it.file_name().unwrap_or_default().to_string_lossy());
    let (slug, track) = (folders.next().unwrap_or_default(), folders.next().unwrap_or_default());
    if !is_slug(&slug) {
        let cure = "lower-case letters and digits, words joined by single hyphens";
        problems.push(problem("folder", format!("`{slug}` is no slug"), cure));
    }
    let track =
        track.parse().map_err(|error| problems.push(problem("folder", format!("{error}"), "move it")));
    (track.ok(), slug.into_owned())
}

/// Whether this can be the name of a question or of a claim.
pub(super) fn is_slug(word: &str) -> bool {
    let lower = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    word.split('-').all(lower)
}

/// Checks every value, and gives the level if it is one.
pub(super) fn check(front: &Front, written: bool, problems: &mut Vec<Problem>) -> Option<Level> {
    let mut check = Check { problems };
    if !(1..=999).contains(&front.number) {
        check.fault("number", format!("it is {}", front.number), "number questions from 1");
    }
    check.text("title", &front.title, 3..=90);
    check.text("asked", &front.asked, 1..=400);
    let words = front.asked.split_whitespace().count();
    if !(12..=45).contains(&words) {
        check.fault("asked", format!("it has {words} words"), "ask in 12 to 45, as one would aloud");
    }
    if !front.experiment.is_empty() {
        check.text("experiment", &front.experiment, 3..=100);
    }
    check.count("must_say", front.must_say.len(), 3..=7);
    for (i, point) in front.must_say.iter().enumerate() {
        check.text(&format!("must_say[{i}]"), point, 10..=400);
    }
    check.count("follow_ups", front.follow_ups.len(), 2..=5);
    for (i, it) in front.follow_ups.iter().enumerate() {
        check.follow_up(i, it, written);
    }
    if written || !front.cards.is_empty() {
        check.count("cards", front.cards.len(), 3..=6);
    }
    for (i, card) in front.cards.iter().enumerate() {
        check.text(&format!("cards[{i}].ask"), &card.ask, 5..=200);
        check.text(&format!("cards[{i}].say"), &card.say, 1..=300);
    }
    check.count("sources", front.sources.len(), if written { 2..=6 } else { 0..=6 });
    for (i, source) in front.sources.iter().enumerate() {
        check.source(i, source);
    }
    check.related(&front.related);
    front.level.parse().map_err(|error| check.fault("level", format!("{error}"), "mind the case")).ok()
}

struct Check<'a> {
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    fn fault(&mut self, key: &str, what: String, cure: &str) {
        self.problems.push(problem(key, what, cure));
    }

    fn count(&mut self, key: &str, count: usize, allowed: RangeInclusive<usize>) {
        if !allowed.contains(&count) {
            let cure = format!("give {} to {}", allowed.start(), allowed.end());
            self.fault(key, format!("it has {count}"), &cure);
        }
    }

    /// One line of plain text, with a length in characters.
    fn text(&mut self, key: &str, text: &str, allowed: RangeInclusive<usize>) {
        let length = text.chars().count();
        if !allowed.contains(&length) {
            let cure = format!("take {} to {}", allowed.start(), allowed.end());
            self.fault(key, format!("`{}` has {length} characters", shortened(text)), &cure);
        }
        if text.trim() != text || text.contains('\n') {
            self.fault(
                key,
                format!("`{}` has blanks at an edge or a line break", shortened(text)),
                "write one line",
            );
        }
        if text.contains('`') {
            self.fault(
                key,
                format!("`{}` has backticks", shortened(text)),
                "it is shown as plain text: drop them",
            );
        }
    }

    fn follow_up(&mut self, i: usize, it: &OwnedFollowUp, written: bool) {
        self.text(&format!("follow_ups[{i}].ask"), &it.ask, 10..=300);
        match &it.say {
            Some(say) => self.text(&format!("follow_ups[{i}].say"), say, 10..=600),
            None if written => {
                self.fault(&format!("follow_ups[{i}]"), format!("`{}` has no `say`", it.ask), "answer it");
            }
            None => {}
        }
    }

    fn source(&mut self, i: usize, source: &OwnedSource) {
        self.text(&format!("sources[{i}].name"), &source.name, 5..=250);
        let Some(url) = &source.url else { return };
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
        if host.is_empty()
            || !url.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte))
        {
            self.fault(
                &format!("sources[{i}].url"),
                format!("`{url}` is no URL"),
                "begin with https://, or leave it out",
            );
        }
    }

    fn related(&mut self, related: &[String]) {
        self.count("related", related.len(), 0..=8);
        for (i, slug) in related.iter().enumerate() {
            if !is_slug(slug) {
                self.fault(
                    &format!("related[{i}]"),
                    format!("`{slug}` is no slug"),
                    "take a question's folder name",
                );
            } else if related[..i].contains(slug) {
                self.fault(&format!("related[{i}]"), format!("`{slug}` is there twice"), "remove one");
            }
        }
    }
}

/// Enough of a text to find it by.
fn shortened(text: &str) -> String {
    let mut start: String = text.chars().take(40).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}
