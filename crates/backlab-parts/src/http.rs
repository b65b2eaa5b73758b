//! HTTP servers and clients whose messages stand in the trace.
