//! A WebSocket server that sends back each message, for suites from outside: `cargo run -p backlab-parts --example
//! websocket` prints its address and runs until its standard input ends.

#[path = "../tests/echo/mod.rs"]
mod echo;

use anyhow::Result;
use axum::Router;
use axum::routing::get;
use backlab_parts::websocket::Handshake;
use backlab_parts::{Lab, Trace};

#[tokio::main]
async fn main() -> Result<()> {
    let lab = Lab::open(1, Trace::default())?;
    let server =
        lab.serve("echo", Router::new().route("/", get(async |it: Handshake| it.accept(echo::echo))))?;
    println!("ws://{}/", server.addr());
    tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin())).await??;
    lab.close().await;
    Ok(())
}
