//! What is asked: the types of a question's page, and (behind the feature `render`) the reader of `answer.md`.
//!
//! Everything here is `'static` and `Copy`: the pages are rendered when the binary is built and stand in it as
//! constants. Nothing here reads a file, knows an experiment or knows a URL of the page.

use serde::Serialize;

#[cfg(feature = "render")]
pub mod render;
mod words;

pub use words::{Level, Track, UnknownWord, type_name};

/// Style sheet for what `render` emits: the classes of highlighted code and the diagrams of an answer.
///
/// It uses the page's variables `--wash`, `--line`, `--soft`, `--accent`, `--refuted`, `--sans`, `--mono`, and
/// `light-dark()`, so the page must set `color-scheme` on its root.
pub const ANSWER_CSS: &str = include_str!("answer.css");

/// One question: what is asked, what a strong answer says, and the answer where it is written.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Page {
    /// 1 to 150; the order of the list.
    pub number: u16,
    /// Name of its folder: lower-case words joined by hyphens.
    pub slug: &'static str,
    pub title: &'static str,
    pub track: Track,
    pub level: Level,
    /// The question as an interviewer says it aloud.
    pub asked: &'static str,
    /// Title of the experiment that the question is to have; empty where none is planned.
    pub experiment: &'static str,
    /// The interviewer's checklist.
    pub must_say: &'static [&'static str],
    /// Empty as long as the answer isn't written.
    pub cards: &'static [Card],
    pub follow_ups: &'static [FollowUp],
    pub sources: &'static [Source],
    /// Slugs of neighbouring questions.
    pub related: &'static [&'static str],
    /// The answer as Markdown, for a terminal; empty where it isn't written.
    pub body: &'static str,
    /// The answer as HTML, for a page; `None` where it isn't written.
    pub answer: Option<&'static Answer>,
}

/// One fact to recall, answerable in a breath.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Card {
    pub ask: &'static str,
    pub say: &'static str,
}

/// What an interviewer asks next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FollowUp {
    pub ask: &'static str,
    /// `None` only where the answer isn't written.
    pub say: Option<&'static str>,
}

/// What an answer leans on: the work with its section, and where it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Source {
    pub name: &'static str,
    pub url: Option<&'static str>,
}

/// A written answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// In 30 seconds, In depth, Pitfalls, In production: always these four, in this order.
    pub sections: &'static [Section],
}

/// A part of an answer under its own heading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Section {
    /// The title as an HTML id, such as `in-depth`.
    pub id: &'static str,
    pub title: &'static str,
    /// To be written out one after the other.
    pub html: &'static [Piece],
}

/// A stretch of a section: ready HTML, or the place where a claim is cited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    Html(&'static str),
    /// Id of a claim: the page puts the reader's last measured figure here.
    Claim(&'static str),
}

impl Page {
    /// Whether each of these words is in what a reader sees of a question (number, title, what is asked, experiment) or
    /// is its slug, which is seen only in addresses and so counts only whole. Case doesn't matter. The page's own
    /// script, `home.js`, follows the same rule.
    pub fn matches(&self, words: &str) -> bool {
        let seen =
            format!("{} {} {} {}", self.number, self.title, self.asked, self.experiment).to_lowercase();
        words.to_lowercase().split_whitespace().all(|word| seen.contains(word) || word == self.slug)
    }

    pub fn is_written(&self) -> bool {
        self.answer.is_some()
    }

    /// The answer as one says it first, aloud.
    pub fn thirty_seconds(&self) -> Option<&'static Section> {
        self.answer?.sections.first()
    }

    /// Ids of the claims that the answer cites, in the order of the text; an id may come more than once.
    pub fn claims_cited(&self) -> impl Iterator<Item = &'static str> {
        let pieces =
            self.answer.into_iter().flat_map(|answer| answer.sections).flat_map(|section| section.html);
        pieces.filter_map(|piece| match piece {
            Piece::Claim(id) => Some(*id),
            Piece::Html(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: Answer = Answer {
        sections: &[
            Section {
                id: "in-30-seconds",
                title: "In 30 seconds",
                html: &[Piece::Html("<p>"), Piece::Claim("a")],
            },
            Section { id: "in-depth", title: "In depth", html: &[Piece::Claim("b"), Piece::Claim("a")] },
        ],
    };

    fn page(answer: Option<&'static Answer>) -> Page {
        Page {
            number: 1,
            slug: "s",
            title: "",
            track: Track::Caching,
            level: Level::Easy,
            asked: "",
            experiment: "",
            must_say: &[],
            cards: &[],
            follow_ups: &[],
            sources: &[],
            related: &[],
            body: "",
            answer,
        }
    }

    #[test]
    fn a_search_takes_any_word_that_is_seen_and_the_whole_slug() {
        let page = Page {
            number: 58,
            slug: "consistent-hashing",
            title: "Consistent hashing",
            asked: "How many keys move?",
            experiment: "Add a node",
            ..page(None)
        };
        for words in ["58", "HASH", "keys node", "consistent-hashing", "  "] {
            assert!(page.matches(words), "{words}");
        }
        for words in ["consistent-hash", "keys door", "caching"] {
            assert!(!page.matches(words), "{words}");
        }
    }

    #[test]
    fn claims_are_cited_in_the_order_of_the_text() {
        assert_eq!(page(Some(&ANSWER)).claims_cited().collect::<Vec<_>>(), ["a", "b", "a"]);
        assert_eq!(page(Some(&ANSWER)).thirty_seconds().map(|it| it.id), Some("in-30-seconds"));
    }

    #[test]
    fn a_page_without_an_answer_cites_nothing() {
        let bare = page(None);
        assert!(
            !bare.is_written() && bare.thirty_seconds().is_none() && bare.claims_cited().next().is_none()
        );
    }
}
