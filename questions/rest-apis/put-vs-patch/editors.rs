//! Editors who have read the same version of the document, and send their changes back one after the other.

use super::documents::{Documents, JSON_PATCH, MERGE_PATCH};
use super::{Params, change};
use crate::prelude::*;

/// The fields that editors change; the first is the one that all change where they change the same.
pub const FIELDS: [&str; 8] = ["name", "street", "city", "phone", "email", "job", "team", "language"];

/// How an editor sends its change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Writing {
    Put,
    PutIfMatch,
    Merge,
    JsonPatch,
    JsonPatchTest,
}

impl Writing {
    pub const ALL: [Self; 5] =
        [Self::Put, Self::PutIfMatch, Self::Merge, Self::JsonPatch, Self::JsonPatchTest];

    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "PUT",
            Self::PutIfMatch => "PUT with If-Match",
            Self::Merge => "merge patch",
            Self::JsonPatch => "JSON Patch",
            Self::JsonPatchTest => "JSON Patch with test",
        }
    }
}

/// What became of the changes.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Tally {
    /// Requests that wrote or tried to.
    pub sent: u64,
    /// Changes that the document shows in the end.
    pub survived: u64,
    /// Changes that were answered with success, and that it doesn't show.
    pub silent: u64,
    /// Answers that told an editor of another's change: 412 or 409.
    pub told: u64,
}

pub fn own_field(editor: usize) -> &'static str {
    FIELDS[editor % FIELDS.len()]
}

/// Lets all read first and then write in turn, and looks at the document in the end.
pub async fn edit(
    lab: &Lab,
    p: &Params,
    writing: Writing,
    field: fn(usize) -> &'static str,
) -> Result<Tally> {
    let documents = Documents::open(lab, p.server).await?;
    let server = lab.serve("server", documents.router())?;
    let mut editors = Vec::new();
    for number in 0..p.editors as usize {
        let client = lab.client(&format!("editor {}", number + 1), &server);
        let read = client.get("/doc").await?;
        editors.push(Editor {
            client,
            writing,
            field: field(number),
            value: format!("by editor {}", number + 1),
            read,
        });
    }
    let (mut tally, mut believe) = (Tally::default(), Vec::new());
    for editor in &editors {
        let thinks_done = editor.write(&mut tally).await?;
        believe.push(thinks_done);
    }
    let document: Value = lab.client("reader", &server).get("/doc").await?.json()?;
    for (editor, thinks_done) in editors.iter().zip(believe) {
        let there = document[editor.field] == editor.value;
        tally.survived += u64::from(there);
        tally.silent += u64::from(thinks_done && !there);
    }
    Ok(tally)
}

struct Editor {
    client: Client,
    writing: Writing,
    field: &'static str,
    value: String,
    /// The document as it was when all read it.
    read: Reply,
}

impl Editor {
    /// Sends the change. Where the server says that the document has changed meanwhile, reads it again, and sends the
    /// change anew if its own field is as it was; otherwise it gives up, since a person has to decide. Returns whether
    /// the editor was told that the change is stored.
    async fn write(&self, tally: &mut Tally) -> Result<bool> {
        let first: Value = self.read.json()?;
        let mut read = self.read.clone();
        // Nobody else writes while this editor does, so that a second try can't be too late again.
        for _ in 0..2 {
            tally.sent += 1;
            let reply = self.send(&read, &first[self.field]).await?;
            match reply.status {
                StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT => tally.told += 1,
                status => return Ok(status.is_success()),
            }
            read = self.client.get("/doc").await?;
            if read.json::<Value>()?[self.field] != first[self.field] {
                break;
            }
        }
        Ok(false)
    }

    async fn send(&self, read: &Reply, was: &Value) -> Result<Reply> {
        let path = format!("/{}", self.field);
        let replace = json!({"op": "replace", "path": path, "value": self.value});
        Ok(match self.writing {
            Writing::Put => self.put(read)?.await?,
            Writing::PutIfMatch => {
                self.put(read)?.header("if-match", read.header("etag").unwrap_or_default()).await?
            }
            Writing::Merge => change(&self.client, MERGE_PATCH, &json!({self.field: self.value})).await?,
            Writing::JsonPatch => change(&self.client, JSON_PATCH, &json!([replace])).await?,
            Writing::JsonPatchTest => {
                let test = json!({"op": "test", "path": path, "value": was});
                change(&self.client, JSON_PATCH, &json!([test, replace])).await?
            }
        })
    }

    /// The whole document as this editor read it, with its one field changed.
    fn put(&self, read: &Reply) -> Result<backlab_parts::http::Ask> {
        let mut document: Value = read.json()?;
        document[self.field] = json!(self.value);
        Ok(self.client.put("/doc").json(&document))
    }
}
