//! What our own programs for challenges share: they are started as a reader's is.

use anyhow::{Context, Result};
use axum::Router;
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
