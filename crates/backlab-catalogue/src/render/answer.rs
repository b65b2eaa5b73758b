//! The answer below the front matter: Markdown in four fixed sections, rendered to HTML and places of claims.

use std::{mem, ops::RangeInclusive};

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, LinkType, Options, Parser, Tag, TagEnd, html};

use super::{OwnedPiece, OwnedSection, Problem, code, diagram, front::is_slug, problem};
use crate::Level;

/// Ids and titles, in the order in which an answer has them.
const SECTIONS: [(&str, &str); 4] = [
    ("in-30-seconds", "In 30 seconds"),
    ("in-depth", "In depth"),
    ("pitfalls", "Pitfalls"),
    ("in-production", "In production"),
];

/// Stands around the id of a claim in rendered HTML until it is cut there. A file with a control character is refused,
/// so it can't come from the text.
const CLAIM: char = '\u{1}';

#[derive(Default)]
pub(super) struct Rendered {
    pub sections: Vec<OwnedSection>,
    pub links: Vec<String>,
}

/// Renders `body`, whose first line is line `first_line` of its file. An empty body is an answer not yet written.
/// Without a known level the length of the section In depth isn't checked.
pub(super) fn render(
    body: &str,
    first_line: usize,
    level: Option<Level>,
    problems: &mut Vec<Problem>,
) -> Rendered {
    if body.is_empty() {
        return Rendered::default();
    }
    let mut walk =
        Walk { body, first_line, level, problems, sections: Vec::new(), links: Vec::new(), part: None };
    let options = Options::ENABLE_TABLES | Options::ENABLE_OLD_FOOTNOTES | Options::ENABLE_SMART_PUNCTUATION;
    let mut events = Parser::new_ext(body, options).into_offset_iter();
    let mut depth = 0_usize;
    while let Some((event, range)) = events.next() {
        match &event {
            Event::Start(Tag::Heading { level: HeadingLevel::H2, .. }) if depth == 0 => {
                let mut title = String::new();
                for (event, _) in
                    events.by_ref().take_while(|(it, _)| !matches!(it, Event::End(TagEnd::Heading(_))))
                {
                    match event {
                        Event::Text(text) | Event::Code(text) => title.push_str(&text),
                        _ => title.push('?'),
                    }
                }
                walk.begin(&title, range.start);
                continue;
            }
            Event::Start(_) => depth += 1,
            Event::End(_) => depth -= 1,
            _ => {}
        }
        walk.take(event, range.start, depth);
    }
    walk.finish();
    Rendered { sections: walk.sections, links: walk.links }
}

struct Walk<'a> {
    body: &'a str,
    first_line: usize,
    level: Option<Level>,
    problems: &'a mut Vec<Problem>,
    sections: Vec<OwnedSection>,
    links: Vec<String>,
    part: Option<Part<'a>>,
}

/// The section that is being read.
#[derive(Default)]
struct Part<'a> {
    id: &'static str,
    title: &'static str,
    start: usize,
    events: Vec<Event<'a>>,
    /// The text to read, without code blocks, tables and diagrams: its words are counted.
    prose: String,
    in_table: bool,
    /// The code block being collected: where it starts, its info string, its text.
    block: Option<(usize, String, String)>,
    /// Top-level blocks that are neither paragraph nor list.
    others: usize,
    paragraphs: usize,
    /// Items of top-level lists.
    items: usize,
}

impl<'a> Walk<'a> {
    fn fault(&mut self, at: usize, what: impl Into<String>, cure: impl Into<String>) {
        let line = self.first_line + self.body[..at].matches('\n').count();
        self.problems.push(problem(format!("line {line}"), what, cure));
    }

    fn begin(&mut self, title: &str, at: usize) {
        self.end();
        let next = SECTIONS.get(self.sections.len()).copied();
        if next.is_none_or(|(_, expected)| expected != title) {
            let cure = format!(
                "the headings are, in this order: {}",
                SECTIONS.map(|(_, it)| format!("## {it}")).join(", ")
            );
            self.fault(at, format!("heading `{title}`"), cure);
        }
        let (id, title) = next.unwrap_or_default();
        self.part = Some(Part { id, title, start: at, ..Part::default() });
    }

    fn finish(&mut self) {
        self.end();
        if let Some((_, missing)) = SECTIONS.get(self.sections.len()) {
            let cure = "an answer has all four sections, an unwritten one has no text at all";
            self.fault(self.body.len(), format!("the section `## {missing}` is missing"), cure);
        }
    }

    fn take(&mut self, event: Event<'a>, at: usize, depth: usize) {
        let Some(part) = &mut self.part else {
            if depth <= 1 && matches!(event, Event::Start(_)) {
                self.fault(at, "text before the first heading", "begin with `## In 30 seconds`");
            }
            return;
        };
        part.tally(&event, depth);
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                let info = match kind {
                    CodeBlockKind::Fenced(info) => info.to_string(),
                    CodeBlockKind::Indented => String::new(),
                };
                part.block = Some((at, info, String::new()));
            }
            Event::Text(text) if part.block.is_some() => {
                if let Some((_, _, collected)) = &mut part.block {
                    collected.push_str(&text);
                }
            }
            Event::End(TagEnd::CodeBlock) => {
                if let Some((at, info, text)) = part.block.take() {
                    self.block(at, &info, &text);
                }
            }
            Event::FootnoteReference(id) => self.claim(&id, at),
            Event::Start(Tag::Link { link_type, dest_url, .. }) => self.link(link_type, &dest_url, at),
            Event::End(TagEnd::Link) => part.events.push(Event::InlineHtml("</a>".into())),
            Event::Start(Tag::Table(_)) => {
                // It scrolls by itself on a narrow page, so a keyboard must be able to reach it.
                part.events.push(Event::Html("<div class=\"table\" tabindex=\"0\">".into()));
                part.events.push(event);
            }
            Event::End(TagEnd::Table) => part.events.extend([event, Event::Html("</div>\n".into())]),
            event => {
                self.refuse(&event, at);
                if let Some(part) = &mut self.part {
                    part.events.push(event);
                }
            }
        }
    }

    /// Faults for the Markdown that an answer doesn't use.
    fn refuse(&mut self, event: &Event, at: usize) {
        match event {
            Event::Html(html) | Event::InlineHtml(html) => {
                let cure = "write Markdown; put code such as `Vec<u8>` in backticks";
                self.fault(at, format!("raw HTML `{}`", html.trim()), cure);
            }
            Event::Start(Tag::Image { .. }) => {
                self.fault(at, "an image", "draw it: a fenced block of the language pikchr");
            }
            Event::Start(Tag::FootnoteDefinition(id)) => {
                self.fault(
                    at,
                    format!("a footnote text for `{id}`"),
                    "a footnote cites a claim, whose text is in the experiment",
                );
            }
            Event::Start(Tag::Heading { level, .. })
                if *level != HeadingLevel::H3
                    || self.part.as_ref().is_some_and(|part| part.id != "in-depth") =>
            {
                let cure = "## for the four sections, ### within In depth, no other";
                self.fault(at, format!("a heading of level {}", *level as u8), cure);
            }
            _ => {}
        }
    }

    fn block(&mut self, at: usize, info: &str, text: &str) {
        let html = if info == "pikchr" {
            diagram::html(text)
        } else {
            match code::Language::named(info) {
                Some(language) => Ok(code::block(language, text)),
                None => Err((format!("a code block of the language `{info}`"), code::Language::allowed())),
            }
        };
        match html {
            Ok(html) => self.push(Event::Html(html.into())),
            Err((what, cure)) => self.fault(at, what, cure),
        }
    }

    fn claim(&mut self, id: &str, at: usize) {
        if is_slug(id) {
            self.push(Event::InlineHtml(format!("{CLAIM}{id}{CLAIM}").into()));
        } else {
            let cure = "cite a claim by its id: lower-case words joined by hyphens";
            self.fault(at, format!("the footnote `[^{id}]`"), cure);
        }
    }

    /// A link leads to a source on the web or, by its slug, to another question.
    fn link(&mut self, link_type: LinkType, url: &str, at: usize) {
        if is_slug(url) {
            self.links.push(url.to_owned());
        } else if !url.starts_with("https://") || link_type == LinkType::Email {
            self.fault(at, format!("a link to `{url}`"), "link to https://… or to a question by its slug");
        }
        self.push(Event::InlineHtml(format!("<a href=\"{}\" rel=\"noopener\">", escaped(url)).into()));
    }

    fn push(&mut self, event: Event<'a>) {
        if let Some(part) = &mut self.part {
            part.events.push(event);
        }
    }

    fn end(&mut self) {
        let Some(mut part) = self.part.take() else { return };
        self.check(&part);
        let mut rendered = String::new();
        html::push_html(&mut rendered, mem::take(&mut part.events).into_iter());
        // The page's policy forbids inline styles. A text can't hold these: its quotes are escaped.
        let rendered = rendered
            .replace(" style=\"text-align: left\"", "")
            .replace(" style=\"text-align: center\"", " class=\"center\"")
            .replace(" style=\"text-align: right\"", " class=\"right\"");
        self.sections.push(OwnedSection { id: part.id, title: part.title, html: pieces(&rendered) });
    }

    fn check(&mut self, part: &Part) {
        let start = part.start;
        match part.id {
            "in-30-seconds" => {
                self.words(part, 60..=90);
                if part.items > 0 || part.others > 0 {
                    self.fault(
                        start,
                        "`In 30 seconds` has more than paragraphs",
                        "write it as one says it: no list, no code",
                    );
                }
            }
            "in-depth" => match self.level {
                Some(Level::Easy) => self.words(part, 250..=500),
                Some(Level::Medium | Level::Hard) => self.words(part, 400..=900),
                None => {}
            },
            "pitfalls" if part.paragraphs > 0 || part.others > 0 || !(3..=6).contains(&part.items) => {
                let what = format!(
                    "`Pitfalls` has {} points and {} other blocks",
                    part.items,
                    part.paragraphs + part.others
                );
                self.fault(
                    start,
                    what,
                    "write one list of 3 to 6 points, each the mistake and its consequence",
                );
            }
            _ if part.prose.trim().is_empty() => {
                self.fault(start, format!("`{}` is empty", part.title), "write it");
            }
            _ => {}
        }
    }

    fn words(&mut self, part: &Part, allowed: RangeInclusive<usize>) {
        let words = part.prose.split_whitespace().count();
        if !allowed.contains(&words) {
            let cure = format!("say it in {} to {}", allowed.start(), allowed.end());
            self.fault(part.start, format!("`{}` has {words} words", part.title), cure);
        }
    }
}

impl Part<'_> {
    /// Notes what the checks of a section count.
    fn tally(&mut self, event: &Event, depth: usize) {
        match event {
            Event::Start(Tag::Item) if depth == 2 => self.items += 1,
            Event::Start(Tag::Paragraph) if depth == 1 => self.paragraphs += 1,
            Event::Start(Tag::List(_)) => {}
            Event::Start(_) if depth == 1 => self.others += 1,
            _ => {}
        }
        match event {
            Event::Start(Tag::Table(_)) => self.in_table = true,
            Event::End(TagEnd::Table) => self.in_table = false,
            Event::Text(text) | Event::Code(text) if self.block.is_none() && !self.in_table => {
                self.prose.push_str(text);
            }
            Event::SoftBreak
            | Event::HardBreak
            | Event::End(TagEnd::Paragraph | TagEnd::Item | TagEnd::Heading(_)) => {
                self.prose.push(' ');
            }
            _ => {}
        }
    }
}

/// Cuts rendered HTML at the claims.
fn pieces(rendered: &str) -> Vec<OwnedPiece> {
    let parts = rendered.split(CLAIM).enumerate().filter(|(_, part)| !part.is_empty());
    parts
        .map(|(i, part)| match i % 2 {
            0 => OwnedPiece::Html(part.to_owned()),
            _ => OwnedPiece::Claim(part.to_owned()),
        })
        .collect()
}

/// Text as HTML, also within quotes.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
