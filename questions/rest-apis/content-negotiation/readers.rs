//! Clients, and what each can read. Whether it was served well is judged by the bytes it got, never by their headers.

use super::{Format, Language};
use crate::prelude::*;
use axum::body::Bytes;
use flate2::read::GzDecoder;
use rand::RngExt;
use rand::rngs::StdRng;
use std::io::Read;

/// A program: its name, its Accept, the formats that it reads, its Accept-Encoding, and whether it can undo gzip.
type Program = (&'static str, &'static str, &'static [Format], Option<&'static str>, bool);

const PROGRAMS: [Program; 8] = [
    (
        "browser",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
        &[Format::Html],
        Some("gzip, deflate, br, zstd"),
        true,
    ),
    (
        "browser 2",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        &[Format::Html],
        Some("gzip, deflate, br"),
        true,
    ),
    ("app", "application/json", &[Format::Json], Some("gzip, deflate, br"), true),
    ("job", "application/json", &[Format::Json], Some("gzip;q=0"), false),
    ("sheet", "text/csv", &[Format::Csv], Some("gzip"), true),
    ("import", "text/csv", &[Format::Csv], Some("identity"), false),
    ("fetch", "*/*", &Format::ALL, Some("gzip, deflate"), true),
    ("curl", "*/*", &Format::ALL, None, false),
];

/// What people's programs send for the language that they read.
const TONGUES: [(Option<&str>, Language); 9] = [
    (Some("en-US,en;q=0.9"), Language::English),
    (Some("en-US,en;q=0.5"), Language::English),
    (Some("en-GB,en;q=0.9,en-US;q=0.8"), Language::English),
    (Some("de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7"), Language::German),
    (Some("de,en-US;q=0.7,en;q=0.3"), Language::German),
    (Some("de-AT"), Language::German),
    (Some("fr-FR,fr;q=0.9,en-US;q=0.8,en;q=0.7"), Language::French),
    (Some("fr,fr-FR;q=0.8,en-US;q=0.5,en;q=0.3"), Language::French),
    (Some("fr-CA"), Language::French),
];

/// A client with what it says and what it can read.
#[derive(Clone)]
pub struct Reader {
    pub name: String,
    program: Program,
    tongue: (Option<&'static str>, Language),
}

/// What a client makes of the bytes that it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Sight {
    Fine,
    StillCompressed,
    OtherFormat,
    OtherLanguage,
}

pub fn draw(rng: &mut StdRng, count: u64) -> Vec<Reader> {
    let reader = |_| {
        let program = PROGRAMS[rng.random_range(0..PROGRAMS.len())];
        let tongue = TONGUES[rng.random_range(0..TONGUES.len())];
        Reader { name: format!("{}, {}", program.0, tongue.1.tag()), program, tongue }
    };
    (0..count).map(reader).collect()
}

impl Reader {
    /// Accept, Accept-Language and Accept-Encoding, as it spells them.
    pub fn wishes(&self) -> [(&'static str, Option<&'static str>); 3] {
        let (_, accept, _, encoding, _) = self.program;
        [("accept", Some(accept)), ("accept-language", self.tongue.0), ("accept-encoding", encoding)]
    }

    /// What it got, in words, and what it makes of that.
    pub fn look(&self, body: &Bytes) -> (String, Sight) {
        let (_, _, formats, _, gunzips) = self.program;
        let compressed = body.starts_with(&[0x1f, 0x8b]);
        let plain = if compressed { gunzipped(body) } else { String::from_utf8_lossy(body).into_owned() };
        let (format, language) = recognise(&plain);
        let words = format!(
            "{} {}{}",
            format.map_or("?", Format::word),
            language.map_or("?", Language::tag),
            if compressed { " gz" } else { "" }
        );
        let sight = if compressed && !gunzips {
            Sight::StillCompressed
        } else if !format.is_some_and(|it| formats.contains(&it)) {
            Sight::OtherFormat
        } else if language != Some(self.tongue.1) {
            Sight::OtherLanguage
        } else {
            Sight::Fine
        };
        (words, sight)
    }
}

/// Finds out what a text is by reading it.
pub fn recognise(text: &str) -> (Option<Format>, Option<Language>) {
    let columns = |line: &str| line.split(',').count();
    let mut lines = text.lines();
    let format = if serde_json::from_str::<Value>(text).is_ok() {
        Some(Format::Json)
    } else if text.starts_with("<!doctype html>") {
        Some(Format::Html)
    } else if lines.next().is_some_and(|head| columns(head) == 2 && lines.all(|it| columns(it) == 2)) {
        Some(Format::Csv)
    } else {
        None
    };
    (format, Language::ALL.into_iter().find(|it| text.contains(it.title())))
}

fn gunzipped(body: &[u8]) -> String {
    let mut text = String::new();
    // What can't be undone stays empty, and is recognised as nothing.
    let _ = GzDecoder::new(body).read_to_string(&mut text);
    text
}
