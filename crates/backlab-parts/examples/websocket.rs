//! A WebSocket server that sends back each message, for suites from outside: `cargo run -p backlab-parts --example
//! websocket` prints its address and runs until its standard input ends.

use anyhow::Result;
use axum::Router;
use axum::routing::get;
use backlab_parts::websocket::{Handshake, Message, Socket};
use backlab_parts::{Lab, Trace};

#[tokio::main]
async fn main() -> Result<()> {
    let lab = Lab::open(1, Trace::default())?;
    let server = lab.serve("echo", Router::new().route("/", get(async |it: Handshake| it.accept(echo))))?;
    println!("ws://{}/", server.addr());
    tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin())).await??;
    lab.close().await;
    Ok(())
}

async fn echo(mut socket: Socket) {
    while let Some(message) = socket.receive().await {
        let sent = match message {
            Message::Text(text) => socket.send(text).await,
            Message::Binary(bytes) => socket.send_bytes(bytes).await,
            Message::Pong => Ok(()),
        };
        if sent.is_err() {
            break;
        }
    }
}
