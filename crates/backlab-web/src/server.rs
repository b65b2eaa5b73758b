//! The accept loop: HTTP/1.1 with deadlines, a bound on connections, and an orderly end.

use crate::Site;
use crate::front::Front;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections at a time; more wait to be accepted.
const CONNECTIONS: usize = 512;
/// How long a client may take over the head of a request, and how long a connection may idle.
const HEAD: Duration = Duration::from_secs(30);
/// Bytes of a head, and of what is read ahead.
const BUFFER: usize = 64 * 1024;
/// How long the end may take before what is left is cut off.
const ENDING: Duration = Duration::from_secs(8);

pub(crate) async fn serve(listener: TcpListener, front: Front, site: &Site) -> std::io::Result<()> {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let upkeep = site.metrics.upkeep();
    loop {
        let accepted = tokio::select! {
            () = site.shutdown.cancelled() => break,
            accepted = accept(&listener, &free) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => connect(stream, permit, front.clone(), &graceful),
            // The client is gone, or the process is out of descriptors; neither ends the server.
            Err(error) => {
                tracing::warn!(%error, "a connection couldn't be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    upkeep.abort();
    let ended = async { tokio::join!(site.runs.ended(), graceful.shutdown()) };
    if tokio::time::timeout(ENDING, ended).await.is_err() {
        tracing::warn!(
            "connections were still open {} seconds after the shutdown; they are cut",
            ENDING.as_secs()
        );
    }
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    free: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(free).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

fn connect(stream: TcpStream, permit: OwnedSemaphorePermit, front: Front, graceful: &GracefulShutdown) {
    // Answers are written whole; holding back their last segment would only delay them.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let front = front.clone();
        async move { Ok::<_, Infallible>(front.answer(request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_header_size(BUFFER)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        // A connection that breaks concerns nobody but its client.
        let _ = connection.await;
        drop(permit);
    });
}
