//! `cargo xtask new TRACK/SLUG`: the experiment of a question, as a skeleton that compiles and fails until it is
//! written: its only claim is refuted, and the answer cites nothing yet.

use crate::tree;
use anyhow::{Context, Result, ensure};

const EXPERIMENT: &str = include_str!("experiment.rs.txt");
const SECTIONS: &str = "\n## In 30 seconds\n\nSay it here, in 60 to 90 words.[^unwritten]\n\n## In depth\n\n## Pitfalls\n\n## In production\n";

pub fn question(named: &str) -> Result<()> {
    let (track, slug) = named.split_once('/').context("name it as TRACK/SLUG, such as caching/cdn")?;
    let folder = tree::root().join("questions").join(track).join(slug);
    let answer = folder.join("answer.md");
    let experiment = folder.join("experiment.rs");
    ensure!(
        answer.exists(),
        "there is no questions/{named}/answer.md: all 150 questions have their folder already"
    );
    ensure!(!experiment.exists(), "questions/{named}/experiment.rs is there already");
    std::fs::write(&experiment, EXPERIMENT.replace("Unwritten", &pascal(slug)))?;
    let mut page = std::fs::read_to_string(&answer)?;
    if !page.contains("## In 30 seconds") {
        page.push_str(SECTIONS);
        std::fs::write(&answer, page)?;
    }
    println!("questions/{named}/experiment.rs is yours. Read docs/WRITING.md; then: cargo run -- run {slug}");
    Ok(())
}

/// `http-methods` is `HttpMethods`.
fn pascal(slug: &str) -> String {
    let words = slug.split('-').filter_map(|word| word.split_at_checked(1));
    words.map(|(first, rest)| first.to_uppercase() + rest).collect()
}
