//! Seeded randomness: Zipf traces and fresh words.
