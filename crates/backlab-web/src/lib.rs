//! The page: the only crate that knows our HTTP, our HTML and our JSON.
//!
//! A request goes through the [guard] (Host, Origin, limits, headers, metrics) to a handler; a handler answers with a
//! page that was rendered once per change of what is kept ([`rendered`]), or with a [refusal] that says what is wrong
//! and what to do. A page that is held already is sent from the [front], past the router. Runs stand in a bounded line
//! ([`runs`]) and are watched [live] over server-sent events.

mod assets;
mod front;
mod guard;
mod handlers;
mod live;
mod metrics;
mod pages;
mod refusal;
mod rendered;
mod runs;
mod server;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use backlab_store::Store;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Bytes of a request's body.
const BODY: usize = 64 * 1024;

/// What the page needs from whoever serves it.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address it is reached at; its IP is an allowed Host unless it is unspecified (`0.0.0.0`).
    pub bind: SocketAddr,
    pub store: Store,
    /// Further names under which browsers may reach it, without port.
    pub allowed_hosts: Vec<String>,
    /// Cancel it to end the runs under way, their processes, and the server.
    pub shutdown: CancellationToken,
}

/// What all requests share.
struct Site {
    store: Store,
    hosts: guard::Hosts,
    assets: assets::Assets,
    rendered: rendered::Rendered,
    runs: Arc<runs::Runs>,
    parts: pages::doctor::Parts,
    metrics: metrics::Metrics,
    shutdown: CancellationToken,
}

impl Site {
    fn new(config: Config) -> Self {
        let metrics = metrics::Metrics::default();
        Self {
            runs: Arc::new(runs::Runs::new(config.store.clone(), config.shutdown.clone())),
            hosts: guard::Hosts::new(config.bind, config.allowed_hosts),
            store: config.store,
            assets: assets::Assets::new(),
            rendered: rendered::Rendered::default(),
            parts: pages::doctor::Parts::default(),
            metrics,
            shutdown: config.shutdown,
        }
    }
}

/// Serves until the shutdown is called for, and returns when every run, child and connection has ended.
///
/// # Errors
/// The listener broke.
pub async fn serve(listener: TcpListener, config: Config) -> std::io::Result<()> {
    let site = Arc::new(Site::new(config));
    let front = front::Front::new(Arc::clone(&site), routes(Arc::clone(&site)));
    server::serve(listener, front, &site).await
}

/// The page as a service of its own, for tests and for other servers.
pub fn router(config: Config) -> Router {
    routes(Arc::new(Site::new(config)))
}

fn routes(site: Arc<Site>) -> Router {
    Router::new()
        .route("/", get(handlers::home))
        .route("/q/{question}", get(handlers::question))
        .route("/q/{question}/predict", get(handlers::predict_card).post(handlers::predict))
        .route("/q/{question}/read", post(handlers::read))
        .route("/q/{question}/run", post(handlers::run))
        .route("/runs/{run}", get(handlers::waiting))
        .route("/runs/{run}/events", get(live::events))
        .route("/runs/{run}/cancel", post(handlers::cancel))
        .route("/doctor", get(handlers::doctor))
        .route("/assets/{name}", get(assets::asset))
        .route("/livez", get(handlers::livez))
        .route("/readyz", get(handlers::readyz))
        .route("/metrics", get(metrics::metrics))
        .fallback(handlers::nothing_here)
        .layer(DefaultBodyLimit::max(BODY))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&site), guard::guard))
        .with_state(site)
}
