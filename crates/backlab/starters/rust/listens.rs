//! {{title}}
//!
//! {{contract}}

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(8080);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(port))
}

async fn serve(port: u16) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, Router::new().fallback(answer)).await
}

/// Your work begins here. Every request comes by; axum's `Router::route` can sort them for you.
async fn answer(_method: Method, _uri: Uri, _headers: HeaderMap, _body: Bytes) -> Response {
    StatusCode::NOT_IMPLEMENTED.into_response()
}
