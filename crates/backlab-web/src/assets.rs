//! Style sheet and scripts, embedded; their names carry a hash of their content, so that a browser keeps them for ever.

use crate::Site;
use crate::refusal::Refusal;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The files that pages name; each stands alone (no module imports another).
pub(crate) struct Assets {
    pub style: Asset,
    pub keys: Asset,
    pub home: Asset,
    pub question: Asset,
    pub icon: Asset,
}

pub(crate) struct Asset {
    /// Where it is: `/assets/home.3f2a91bc04d1.js`.
    pub path: String,
    kind: &'static str,
    bytes: Bytes,
}

impl Assets {
    pub(crate) fn new() -> Self {
        let style = [include_str!("../assets/page.css"), backlab_catalogue::ANSWER_CSS, backlab_figures::CSS]
            .join("\n");
        Self {
            style: Asset::new("page", "css", style),
            keys: Asset::new("keys", "js", include_str!("../assets/keys.js")),
            home: Asset::new("home", "js", include_str!("../assets/home.js")),
            question: Asset::new("question", "js", include_str!("../assets/question.js")),
            icon: Asset::new("icon", "svg", include_str!("../assets/icon.svg")),
        }
    }

    fn at(&self, name: &str) -> Option<&Asset> {
        let all = [&self.style, &self.keys, &self.home, &self.question, &self.icon];
        all.into_iter().find(|asset| asset.path.strip_prefix("/assets/") == Some(name))
    }
}

impl Asset {
    fn new(name: &str, extension: &'static str, text: impl Into<String>) -> Self {
        let bytes = Bytes::from(text.into());
        let hash: String = Sha256::digest(&bytes).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let kind = match extension {
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            _ => "image/svg+xml",
        };
        Self { path: format!("/assets/{name}.{hash}.{extension}"), kind, bytes }
    }
}

pub(crate) async fn asset(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let asset = site.assets.at(&name).ok_or_else(|| {
        Refusal::not_found(
            "No such file",
            "The page that named it is older than this Backlab: load it again.",
        )
    })?;
    let mut response = Response::new(Body::from(asset.bytes.clone()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    Ok(response)
}
