//! A simulated network with a virtual clock.
