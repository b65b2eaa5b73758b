//! Programs on Node.js.
