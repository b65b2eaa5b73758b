//! `backlab reference`: our own program for a challenge, through the same door as a reader's.

use super::challenge;
use crate::args::Reference;
use anyhow::Result;
use std::process::ExitCode;

pub async fn reference(args: Reference) -> Result<ExitCode> {
    let (_, challenge) = challenge(&args.question)?;
    (challenge.graded.reference)(args.bug).await?;
    Ok(ExitCode::SUCCESS)
}
