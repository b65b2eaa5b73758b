//! A clock that the experiment turns.
