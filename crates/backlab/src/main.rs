//! The program: arguments, exit codes, the terminal, and the wiring of the other crates.

mod args;
mod command;
mod json;
mod paper;

use std::process::ExitCode;

/// Exit code for a claim or a stage that failed.
const REFUTED: u8 = 1;
/// Exit code for wrong usage, or for something that the environment lacks.
const CANNOT: u8 = 2;

fn main() -> ExitCode {
    backlab_questions::play_role_if_asked();
    let args = args::parse();
    match command::dispatch(args) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("backlab: {error:#}");
            ExitCode::from(CANNOT)
        }
    }
}

/// `backlab list | head` ends the pipe early, which is no error of anybody's.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}
