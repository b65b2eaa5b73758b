//! SQLite, in memory or in a file of the run.
