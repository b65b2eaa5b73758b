//! Chores of this repository: scaffolding, formatting, and its rules.

pub mod format;
pub mod new;
pub mod tidy;
mod tree;
