//! Shared arithmetic: axes, ticks, text widths.
