//! The pages, as functions from what is known to HTML.

pub(crate) mod challenge;
pub(crate) mod doctor;
pub(crate) mod home;
pub(crate) mod outcome;
pub(crate) mod question;
pub(crate) mod trial;
pub(crate) mod waiting;

use crate::assets::{Asset, Assets};
use backlab_questions::Question;
use backlab_study::Status;
use maud::{DOCTYPE, Markup, html};

/// The address of a question's page.
pub(crate) fn path(question: &Question) -> String {
    format!("/q/{}-{}", question.page.number, question.page.slug)
}

/// A query string with its question mark; empty where there is nothing to ask.
pub(crate) fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = String::new();
    for (name, value) in pairs {
        query.push(if query.is_empty() { '?' } else { '&' });
        encode(name, &mut query);
        query.push('=');
        encode(value, &mut query);
    }
    query
}

fn encode(text: &str, to: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => to.push(char::from(byte)),
            b' ' => to.push('+'),
            _ => to.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// What stands around every page.
struct Frame<'a> {
    assets: &'a Assets,
    title: &'a str,
    /// `home`, `question` or nothing: what the style sheet and the keys go by.
    kind: &'static str,
    script: Option<&'a Asset>,
    /// Seconds after which the page loads itself anew, where there are no scripts.
    again: Option<u8>,
}

impl Frame<'_> {
    fn around(&self, main: &Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) }
                    link rel="stylesheet" href=(self.assets.style.path);
                    link rel="icon" href=(self.assets.icon.path) type="image/svg+xml";
                    script type="module" src=(self.assets.keys.path) {}
                    @if let Some(script) = self.script { script type="module" src=(script.path) {} }
                    @if let Some(seconds) = self.again { meta http-equiv="refresh" content=(seconds); }
                }
                body class=(self.kind) {
                    a.skip href="#main" { "Skip to the content" }
                    header.site {
                        a.brand href="/" { "Backlab" }
                        nav aria-label="Site" {
                            a href="/" aria-current=[(self.kind == "home").then_some("page")] { "Questions" }
                            a href="/doctor" aria-current=[(self.kind == "doctor").then_some("page")] { "Doctor" }
                        }
                        span.grow {}
                        a href=(if self.kind == "home" { "#q" } else { "/#q" }) data-key="/" { "Search " kbd { "/" } }
                        button.plain #keys-button type="button" hidden { "Keys " kbd { "?" } }
                    }
                    main #main tabindex="-1" { (main) }
                    (keys())
                }
            }
        }
    }
}

const KEYS: [(&str, &[(&str, &str)]); 3] = [
    ("Everywhere", &[("?", "show these keys"), ("/", "search"), ("g h", "all questions"), ("g d", "doctor")]),
    (
        "In the list",
        &[
            ("j", "next question"),
            ("k", "the one before"),
            ("Enter", "open it here; again for its answer in 30 seconds"),
            ("o", "go to its page"),
        ],
    ),
    (
        "On a question",
        &[
            ("p", "predict"),
            ("r", "run"),
            (".", "cancel the run"),
            ("[", "the question before"),
            ("]", "the next question"),
        ],
    ),
];

/// The keys, shown by `?`; without scripts nothing opens it and none of them is in force.
fn keys() -> Markup {
    html! {
        dialog #keys aria-labelledby="keys-title" {
            h2 #keys-title { "Keys" }
            @for (title, keys) in KEYS {
                h3 { (title) }
                dl { @for (key, what) in keys { div {
                    dt { @for key in key.split(' ') { kbd { (key) } " " } }
                    dd { (what) }
                } } }
            }
            p { label.check { input #keys-on type="checkbox" checked; " Single keys are in force" } }
            form method="dialog" { button autofocus { "Close" } }
        }
    }
}

/// A page that says what is wrong.
pub(crate) fn refused(assets: &Assets, title: &str, why: &str) -> Markup {
    let frame = Frame { assets, title: &format!("{title} · Backlab"), kind: "", script: None, again: None };
    frame.around(&html! {
        h1 { (title) }
        p.lede { (why) }
        p { a href="/" { "All questions" } }
    })
}

/// A status as sign and word; the sign alone is nothing to a screen reader.
fn status(status: Status) -> Markup {
    let sign = match status {
        Status::New => "○",
        Status::Read => "◔",
        Status::Predicted => "◑",
        Status::Verified => "●",
        Status::Built => "◆",
    };
    html! { i aria-hidden="true" { (sign) } " " span { (status.word()) } }
}

/// A moment, in UTC; a script turns it into the reader's own words.
fn moment(at_ms: i64) -> Markup {
    let Ok(at) = jiff::Timestamp::from_millisecond(at_ms) else { return html! {} };
    html! { time datetime=(at.strftime("%Y-%m-%dT%H:%M:%SZ")) { (utc(at_ms)) } }
}

/// A moment in words, in UTC.
fn utc(at_ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default();
    at.strftime("%-d %b %Y, %H:%M UTC").to_string()
}

/// What a program of the reader's said, with each character to be seen that would else act instead of being shown:
/// control characters as `cat -v` shows them (a terminal's escape is `^[`), and those that turn a line's direction.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => shown.push(c),
            '\0'..='\u{1f}' | '\u{7f}' => shown.extend(['^', char::from((c as u8) ^ 0x40)]),
            '\u{80}'..='\u{9f}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => shown.push('·'),
            _ => shown.push(c),
        }
    }
    shown
}

/// A JSON value as a reader writes it.
fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
