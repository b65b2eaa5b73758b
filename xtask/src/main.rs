//! Chores of this repository: `cargo xtask new|fmt|tidy`.

use std::process::ExitCode;
use xtask::{format, new, tidy};

const USAGE: &str = "usage: cargo xtask new TRACK/SLUG | fmt [--check] | tidy";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["new", question] => new::question(question),
        ["fmt"] => format::run(false),
        ["fmt", "--check"] => format::run(true),
        ["tidy"] => tidy::run(),
        _ => Err(anyhow::anyhow!(USAGE)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
