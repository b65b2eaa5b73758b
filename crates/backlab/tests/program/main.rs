//! The program, tested where people use it: its experiments, its command line, and what it leaves behind. One binary,
//! since each links the whole house.

#![allow(clippy::unwrap_used, reason = "what fails in a test's own preparation fails the test")]

mod challenges;
mod command_line;
mod common;
mod experiments;
mod leftovers;
mod page;
mod subjects;
