//! `cargo xtask new TRACK/SLUG`: the experiment of a question, as a skeleton that compiles and fails until it is
//! written: its only claim is refuted, and the answer cites nothing yet.

use crate::tree;
use anyhow::{Context, Result, ensure};
use backlab_catalogue::type_name;

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
    std::fs::write(&experiment, EXPERIMENT.replace("Unwritten", &type_name(slug)))?;
    let mut page = std::fs::read_to_string(&answer)?;
    if !page.contains("## In 30 seconds") {
        page.push_str(SECTIONS);
        std::fs::write(&answer, page)?;
    }
    println!("questions/{named}/experiment.rs is yours. Read docs/WRITING.md; then: cargo run -- run {slug}");
    Ok(())
}
