//! What our own programs for challenges share: they are started as a reader's is.

use anyhow::{Context, Result};
use axum::Router;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::net::Ipv4Addr;
use std::str::FromStr;
use tokio::net::TcpListener;

/// Serves a router on `PORT` until the process is ended.
///
/// # Errors
/// `PORT` isn't set, or is taken.
pub async fn serve(router: Router) -> Result<()> {
    Ok(axum::serve(listener().await?, router).await?)
}

/// Listens on `PORT`.
///
/// # Errors
/// As [`serve`].
pub async fn listener() -> Result<TcpListener> {
    let port: u16 = env("PORT")?;
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.with_context(|| format!("listen on port {port}"))
}

/// What the contract puts into the environment.
///
/// # Errors
/// It isn't there, or isn't what it should be.
pub fn env<T: FromStr>(name: &str) -> Result<T> {
    let value = std::env::var(name).with_context(|| format!("{name} isn't set"))?;
    value.parse().ok().with_context(|| format!("{name} is `{value}`"))
}

/// Calls servers that the contract names in the environment. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Caller(Client<HttpConnector, Full<Bytes>>);

impl Default for Caller {
    fn default() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }
}

impl Caller {
    /// The status and the whole content of the answer. It may take as long as it likes: the caller knows the limit.
    ///
    /// # Errors
    /// No whole answer came.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes)> {
        let (head, body) = self.0.request(request).await?.into_parts();
        Ok((head.status, body.collect().await?.to_bytes()))
    }
}
