//! PostgreSQL as a private cluster.
