//! `cargo xtask fmt`: `cargo fmt` doesn't reach the files of `questions/`, which a build script names.

use crate::tree;
use anyhow::{Result, ensure};
use std::process::Command;

pub fn run(check: bool) -> Result<()> {
    let check = if check { &["--check"][..] } else { &[] };
    let cargo =
        Command::new("cargo").arg("fmt").arg("--all").args(check).current_dir(tree::root()).status()?;
    let questions: Vec<_> =
        tree::files("questions")?.into_iter().filter(|file| tree::is_rust(file)).collect();
    let mut rustfmt = Command::new("rustfmt");
    rustfmt.args(["--edition", "2024"]).args(check).args(&questions).current_dir(tree::root());
    let questions = questions.is_empty() || rustfmt.status()?.success();
    ensure!(cargo.success() && questions, "not formatted; `cargo xtask fmt` does it");
    Ok(())
}
