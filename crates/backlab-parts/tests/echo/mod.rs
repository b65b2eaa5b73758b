//! A WebSocket that says what it hears: for our own test of the protocol and for suites from outside.

use backlab_parts::websocket::{Message, Socket};

/// Sends back each message.
pub async fn echo(mut socket: Socket) {
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
