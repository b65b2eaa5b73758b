//! Serves the page from a directory that it is told, for trying the look: `serve DIR [ADDRESS]`.

use backlab_store::Store;
use backlab_web::Config;
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().ok_or("usage: serve DIR [ADDRESS]")?);
    let listener = tokio::net::TcpListener::bind(args.next().as_deref().unwrap_or("127.0.0.1:0")).await?;
    let bind = listener.local_addr()?;
    println!("http://{bind}");
    let store = Store::open(&dir.join("backlab.db")).await?;
    let config = Config { bind, store, allowed_hosts: Vec::new(), shutdown: CancellationToken::new() };
    Ok(backlab_web::serve(listener, config).await?)
}
