//! The server under test: one document in SQLite, with GET, PUT and PATCH in two languages (RFC 7396 and RFC 6902).

use super::{Build, editors::FIELDS, patch};
use crate::prelude::*;
use bytes::Bytes;

pub const MERGE_PATCH: &str = "application/merge-patch+json";
pub const JSON_PATCH: &str = "application/json-patch+json";

#[derive(Clone)]
pub struct Documents {
    db: Sqlite,
    build: Build,
    /// Who has been checked waits here until all are.
    checked: Gate,
}

impl Documents {
    /// A database with the one document: every field filled, a tag, and a member that was introduced last.
    pub async fn open(lab: &Lab, build: Build) -> Result<Self> {
        let db = lab.sqlite("CREATE TABLE document (body TEXT NOT NULL, version INTEGER NOT NULL)").await?;
        let mut document = json!({"tags": ["first"], "newest": "only new clients know it"});
        for field in FIELDS {
            document[field] = json!("as it was");
        }
        db.execute("INSERT INTO document VALUES ($1, 1)", [document.to_string()]).await?;
        Ok(Self { db, build, checked: Gate::until(0) })
    }

    /// Lets so many requests be checked before the first of them is written.
    pub fn checked_together(self, requests: u64) -> Self {
        Self { checked: Gate::until(requests), ..self }
    }

    pub fn router(&self) -> Router {
        Router::new().route("/doc", get(read).put(replace).patch(change)).with_state(self.clone())
    }

    async fn current(&self) -> Result<(Value, i64)> {
        let rows: Vec<(String, i64)> = self.db.rows("SELECT body, version FROM document", ()).await?;
        let (body, version) = rows.into_iter().next().context("there is one document")?;
        Ok((serde_json::from_str(&body)?, version))
    }

    /// Reads, changes and writes. What is written must still be based on the version that was read: the statement says so
    /// itself, so that nobody can come between.
    async fn write(
        &self,
        headers: &HeaderMap,
        change: impl Fn(Value) -> Result<Value, patch::Inapplicable>,
    ) -> Result<StatusCode, Failed> {
        loop {
            let (document, version) = self.current().await?;
            if headers.get("if-match").is_some_and(|tag| tag != tag_of(version).as_str()) {
                return Ok(StatusCode::PRECONDITION_FAILED);
            }
            self.checked.pass().await?;
            let Ok(changed) = change(document) else { return Ok(StatusCode::CONFLICT) };
            let (sql, based_on) = match self.build {
                Build::ChecksThenWrites => ("WHERE version >= $2", 0),
                _ => ("WHERE version = $2", version),
            };
            let update = format!("UPDATE document SET body = $1, version = version + 1 {sql}");
            if self.db.execute(&update, (changed.to_string(), based_on)).await? == 1 {
                return Ok(StatusCode::NO_CONTENT);
            }
            // Somebody was faster. Who named a version learns that from the next round; others are applied to the new one.
        }
    }
}

async fn read(State(documents): State<Documents>) -> Result<Response, Failed> {
    let (document, version) = documents.current().await?;
    Ok(([("etag", tag_of(version))], Json(document)).into_response())
}

async fn replace(
    State(documents): State<Documents>,
    headers: HeaderMap,
    Json(sent): Json<Value>,
) -> Result<StatusCode, Failed> {
    let merges = documents.build == Build::PutMerges;
    documents
        .write(&headers, |document| {
            Ok(if merges { patch::merge(document, sent.clone(), false) } else { sent.clone() })
        })
        .await
}

async fn change(
    State(documents): State<Documents>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failed> {
    let kind = headers.get("content-type").and_then(|it| it.to_str().ok()).unwrap_or_default();
    if ![MERGE_PATCH, JSON_PATCH].contains(&kind) {
        let accept = [("accept-patch", format!("{MERGE_PATCH}, {JSON_PATCH}"))];
        return Ok((StatusCode::UNSUPPORTED_MEDIA_TYPE, accept).into_response());
    }
    let Ok(sent) = serde_json::from_slice::<Value>(&body) else {
        return Ok(StatusCode::BAD_REQUEST.into_response());
    };
    let stores_null = documents.build == Build::StoresNull;
    let status = match (kind, documents.build, &sent) {
        (MERGE_PATCH, ..) => {
            documents
                .write(&headers, |document| Ok(patch::merge(document, sent.clone(), stores_null)))
                .await?
        }
        (_, Build::StepByStep, Value::Array(operations)) => {
            let mut status = StatusCode::NO_CONTENT;
            for operation in operations {
                status =
                    documents.write(&headers, |document| patch::apply(document, &json!([operation]))).await?;
                if !status.is_success() {
                    break;
                }
            }
            status
        }
        _ => documents.write(&headers, |document| patch::apply(document, &sent)).await?,
    };
    Ok(status.into_response())
}

fn tag_of(version: i64) -> String {
    format!("\"{version}\"")
}
