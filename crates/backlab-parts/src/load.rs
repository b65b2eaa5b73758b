//! Load, closed loop and open loop.
