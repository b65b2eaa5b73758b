//! `backlab new`: a small project for a challenge, that starts and fails the first stage.

use super::challenge;
use crate::args::{Language, New};
use anyhow::{Context, Result, ensure};
use backlab_engine::Door;
use backlab_questions::{Challenge, Question};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

/// A file of a starter: where it goes, and what stands in it.
type File = (&'static str, &'static str);

const README: &str = include_str!("../../starters/README.md");
const CARGO: &str = include_str!("../../starters/rust/Cargo.toml.txt");

impl Language {
    /// Its files; the first is where the work begins.
    fn files(self, door: Door) -> &'static [File] {
        match (self, door) {
            (Self::Rust, Door::Listens) => {
                &[("src/main.rs", include_str!("../../starters/rust/listens.rs")), ("Cargo.toml", CARGO)]
            }
            (Self::Rust, Door::Reads) => {
                &[("src/main.rs", include_str!("../../starters/rust/reads.rs")), ("Cargo.toml", CARGO)]
            }
            (Self::Node, Door::Listens) => &[("main.mjs", include_str!("../../starters/node/listens.mjs"))],
            (Self::Node, Door::Reads) => &[("main.mjs", include_str!("../../starters/node/reads.mjs"))],
            (Self::Python, Door::Listens) => &[("main.py", include_str!("../../starters/python/listens.py"))],
            (Self::Python, Door::Reads) => &[("main.py", include_str!("../../starters/python/reads.py"))],
        }
    }

    /// What starts it.
    fn command(self) -> &'static str {
        match self {
            Self::Rust => "cargo run --quiet",
            Self::Node => "node main.mjs",
            Self::Python => "python3 main.py",
        }
    }
}

pub fn new(args: &New) -> Result<ExitCode> {
    let (question, challenge) = challenge(&args.question)?;
    let dir = args.dir.clone().unwrap_or_else(|| question.page.slug.into());
    let files = args.language.files(challenge.graded.door);
    let texts = files.iter().chain(&[("README.md", README)]);
    let texts: Vec<_> = texts
        .map(|(name, text)| (dir.join(name), filled(text, question, challenge, args.language)))
        .collect();
    for (path, _) in &texts {
        ensure!(
            !path.exists(),
            "{} is there already, and is left as it is: name another directory",
            path.display()
        );
    }
    for (path, text) in &texts {
        write(path, text)?;
    }
    let check = check_line(question, args.language);
    writeln!(
        std::io::stdout(),
        "{} stands in {}. It starts, and fails the first stage. Go on:\n\n  cd {}\n  {check}\n\nYour work begins in {}; README.md says what to build.",
        challenge.title,
        dir.display(),
        dir.display(),
        files[0].0,
    )?;
    Ok(ExitCode::SUCCESS)
}

pub fn check_line(question: &Question, language: Language) -> String {
    format!("backlab check {} -- {}", question.page.slug, language.command())
}

/// The contract goes where a starter wants it, with what stands before the mark before each of its lines.
fn filled(text: &str, question: &Question, challenge: &Challenge, language: Language) -> String {
    let mut filled = String::new();
    for line in text.lines() {
        match line.strip_suffix("{{contract}}") {
            Some(before) => {
                for line in challenge.contract.lines() {
                    filled.push_str(format!("{before}{line}").trim_end());
                    filled.push('\n');
                }
            }
            None => {
                filled.push_str(line);
                filled.push('\n');
            }
        }
    }
    filled
        .replace("{{title}}", challenge.title)
        .replace("{{slug}}", question.page.slug)
        .replace("{{question}}", question.page.title)
        .replace("{{command}}", language.command())
        .replace("{{check}}", &check_line(question, language))
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    }
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
