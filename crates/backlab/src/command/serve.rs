//! `backlab serve`: the page, until somebody stops it.

use super::Home;
use crate::args::Serve;
use anyhow::{Context, Result};
use std::process::ExitCode;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub async fn serve(args: Serve, home: Home) -> Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| "warn,sqlx=error".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    let listener = TcpListener::bind(args.bind).await.with_context(|| {
        format!("listen on {} (another port: --bind 127.0.0.1:0 takes any free one)", args.bind)
    })?;
    backlab_engine::sweep();
    let store = home.open().await?;
    let shutdown = CancellationToken::new();
    tokio::spawn(end_on_signal(shutdown.clone()));
    println!("Backlab is at http://{}/", listener.local_addr()?);
    let config =
        backlab_web::Config { bind: listener.local_addr()?, store, allowed_hosts: args.host, shutdown };
    backlab_web::serve(listener, config).await?;
    Ok(ExitCode::SUCCESS)
}

/// The first signal asks everything to end; a second one doesn't wait for it.
async fn end_on_signal(shutdown: CancellationToken) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    shutdown.cancel();
    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    std::process::exit(130);
}
