//! A TCP proxy that does harm at a chosen moment.
