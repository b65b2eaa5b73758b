//! Gates and barriers: they make a race happen instead of hoping for it.
