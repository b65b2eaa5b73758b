//! What experiments and challenges share, so that each starts with its own subject.

pub use crate::json::same_json;
pub use anyhow::{Context, anyhow, bail, ensure};
pub use axum::extract::{Path, Query, State};
pub use axum::http::{HeaderMap, Method, StatusCode};
pub use axum::response::{IntoResponse, Response};
pub use axum::routing::{any, delete, get, options, patch, post, put};
pub use axum::{Json, Router};
pub use backlab_engine::{
    Answer, Because, Call, Challenge, Door, Finding, Graded, Grader, Received, Said, Stage, Subject,
    Upstream, stage,
};
pub use backlab_engine::{
    Choice, Claim, Experiment, Fault, Prediction, Result, choices, claim, each_broken, params,
};
pub use backlab_figures::{
    Arc as RingArc, Axis, Bar, BarRow, Bars, Bucket, Cell, Drawing, Figure, HeatMap, Histogram, Lane, Lines,
    Mark, Matrix, Moment, Ring, Sequence, SequenceRow, Series, Span, Table, Timeline, Tone,
};
pub use backlab_parts::clock::Clock;
pub use backlab_parts::gate::{Barrier, Gate};
pub use backlab_parts::http::{Client, Failed, NoAnswer, Reply, Server, Why};
pub use backlab_parts::load::{Load, Loaded};
pub use backlab_parts::proxy::{self, Proxy, Way};
pub use backlab_parts::sqlite::Sqlite;
pub use backlab_parts::{Lab, Part, Role, inventory, role};
pub use futures::future::{join_all, try_join_all};
pub use serde::{Deserialize, Serialize};
pub use serde_json::{Value, json};
pub use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
pub use std::sync::{Arc, Mutex};
pub use std::time::Duration;

/// Two digits of hexadecimal for each byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
