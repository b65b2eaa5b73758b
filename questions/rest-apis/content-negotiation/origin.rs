//! The origin: one report as JSON, CSV and HTML, in three languages, plain and gzipped, all at one URL.

use super::negotiation::{self, Way};
use super::{Build, Format, Language, Vary};
use crate::prelude::*;
use axum::body::Bytes;
use axum::http::{HeaderName, header};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use std::io::Write;

const MONTHS: [(&str, u32); 3] = [("2026-01", 1204), ("2026-02", 1377), ("2026-03", 990)];

/// How an origin is built.
#[derive(Clone, Copy)]
pub struct Origin {
    pub way: Way,
    pub vary: Vary,
    pub build: Build,
}

pub fn api(origin: Origin) -> Router {
    Router::new().route("/report", get(send).put(take)).with_state(origin)
}

async fn send(State(origin): State<Origin>, headers: HeaderMap) -> Response {
    let wish = |name: HeaderName| headers.get(name).and_then(|it| it.to_str().ok());
    let vary = [("vary", origin.vary.header(origin.build))];
    let vary = if vary[0].1.is_empty() { None } else { Some(vary) };
    let Some(format) = negotiation::format(origin.way, wish(header::ACCEPT)) else {
        return (StatusCode::NOT_ACCEPTABLE, vary, Json(Format::ALL.map(Format::media_type))).into_response();
    };
    let language = negotiation::language(wish(header::ACCEPT_LANGUAGE));
    let gzip = negotiation::gzip(wish(header::ACCEPT_ENCODING));
    let plain = write(format, language);
    let body = if gzip { gzipped(plain.as_bytes()) } else { plain.into_bytes() };
    let tag = match origin.build {
        Build::OneTag => "\"report-7\"".to_owned(),
        _ => format!("\"{}\"", hex(&Sha256::digest(&body)[..4])),
    };
    let told = [("etag", tag.clone()), ("cache-control", "max-age=600".to_owned())];
    if wish(header::IF_NONE_MATCH).is_some_and(|it| it.contains(&tag)) {
        return (StatusCode::NOT_MODIFIED, vary, told).into_response();
    }
    let coding = gzip.then_some([("content-encoding", "gzip")]);
    let kind = [("content-type", format.media_type()), ("content-language", language.tag())];
    (vary, told, kind, coding, body).into_response()
}

/// PUT: what the server can read it takes, and of the rest it says what it could have read.
async fn take(State(origin): State<Origin>, headers: HeaderMap, body: Bytes) -> Response {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let kind = match origin.build {
        Build::ReadsAllAsJson => "application/json",
        _ => kind.split(';').next().unwrap_or_default().trim(),
    };
    let read = match kind {
        "application/json" => serde_json::from_slice::<Value>(&body).is_ok(),
        "text/csv" => body.contains(&b','),
        _ => {
            let accept = [("accept", "application/json, text/csv")];
            return (StatusCode::UNSUPPORTED_MEDIA_TYPE, accept).into_response();
        }
    };
    if read { StatusCode::NO_CONTENT.into_response() } else { StatusCode::BAD_REQUEST.into_response() }
}

fn write(format: Format, language: Language) -> String {
    let title = language.title();
    let (columns, rows): (Value, Vec<String>) =
        (json!(["month", "units"]), MONTHS.map(|(month, units)| format!("{month},{units}")).into());
    match format {
        Format::Json => json!({"title": title, "columns": columns, "rows": MONTHS}).to_string(),
        Format::Csv => format!("month,{title}\n{}\n", rows.join("\n")),
        Format::Html => {
            let tag = language.tag();
            format!(
                "<!doctype html><html lang={tag}><title>{title}</title><pre>{}</pre></html>",
                rows.join("\n")
            )
        }
    }
}

fn gzipped(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to memory can't fail.
    let _ = encoder.write_all(plain);
    encoder.finish().unwrap_or_default()
}
