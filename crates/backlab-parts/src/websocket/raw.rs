//! A client that speaks WebSocket byte by byte, also wrongly.

use crate::Lab;
use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(10);
/// The key of RFC 6455, section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The mask of the frames that are built here.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const LARGEST_HEAD: usize = 16 << 10;

/// A connection on which a handshake went through, and nothing is done by itself.
#[derive(Debug)]
pub struct RawSocket {
    stream: tokio::net::TcpStream,
    /// The head of the answer to the handshake.
    pub answer: String,
}

/// A frame as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFrame {
    /// FIN, the reserved bits and the opcode.
    pub first: u8,
    pub payload: Vec<u8>,
    /// Bytes that the frame took, with its header.
    pub bytes: usize,
    pub masked: bool,
}

impl Lab {
    /// Opens a connection and sends the handshake with which RFC 6455 explains it, in section 1.3.
    ///
    /// # Errors
    /// Nothing listens there, or no head of an answer comes within ten seconds.
    pub async fn raw_websocket(&self, to: impl Into<SocketAddr>, target: &str) -> Result<RawSocket> {
        let addr = to.into();
        let headers = format!(
            "Host: {addr}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\n\
             Sec-WebSocket-Version: 13\r\n"
        );
        let request = format!("GET {target} HTTP/1.1\r\n{headers}\r\n");
        RawSocket::open(addr, None, request.as_bytes()).await
    }
}

impl RawSocket {
    /// Opens a connection, sends these bytes for a handshake, and reads the head of the answer, whatever it is.
    /// `receive_buffer` is the size of the socket's in bytes, for a client that reads slowly (socket(7), `SO_RCVBUF`).
    ///
    /// # Errors
    /// Nothing listens there, or no head of an answer comes within ten seconds.
    pub async fn open(addr: SocketAddr, receive_buffer: Option<u32>, request: &[u8]) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if let Some(size) = receive_buffer {
            socket.set_recv_buffer_size(size)?;
        }
        let mut stream = socket.connect(addr).await.with_context(|| format!("connect to {addr}"))?;
        stream.set_nodelay(true)?;
        stream.write_all(request).await?;
        let head = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                ensure!(head.len() < LARGEST_HEAD, "the head of the answer has no end");
                head.push(stream.read_u8().await.context("the answer to the handshake ends in its head")?);
            }
            Ok(String::from_utf8_lossy(&head).into_owned())
        };
        let answer = timeout(DEADLINE, head).await.context("no answer to the handshake")??;
        Ok(Self { stream, answer })
    }

    /// The status of the answer to the handshake; 0 where there is none in it.
    pub fn status(&self) -> u16 {
        self.answer.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or(0)
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// The next frame; `None` once the connection is closed.
    ///
    /// # Errors
    /// Nothing comes within ten seconds, the connection is reset, or it ends within a frame.
    pub async fn frame(&mut self) -> Result<Option<RawFrame>> {
        timeout(DEADLINE, self.read_frame()).await.context("no frame came within ten seconds")?
    }

    async fn read_frame(&mut self) -> Result<Option<RawFrame>> {
        let mut first = [0];
        if self.stream.read(&mut first).await.context("read a frame")? == 0 {
            return Ok(None);
        }
        let second = self.stream.read_u8().await?;
        let (length, extended) = match second & 0x7f {
            126 => (u64::from(self.stream.read_u16().await?), 2),
            127 => (self.stream.read_u64().await?, 8),
            short => (u64::from(short), 0),
        };
        let masked = second & 0x80 != 0;
        let mask = if masked { self.stream.read_u32().await? } else { 0 }.to_be_bytes();
        let mut payload = Vec::new();
        (&mut self.stream).take(length).read_to_end(&mut payload).await?;
        ensure!(payload.len() as u64 == length, "the connection ends within a frame");
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        let bytes = 2 + extended + if masked { 4 } else { 0 } + payload.len();
        Ok(Some(RawFrame { first: first[0], payload, bytes, masked }))
    }
}

impl RawFrame {
    /// A masked frame as a client sends it: `first` is FIN (0x80), the reserved bits and the opcode.
    pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            short @ 0..126 => frame.push(0x80 | short as u8),
            wide @ 126..0x1_0000 => {
                frame.push(0x80 | 126);
                frame.extend((wide as u16).to_be_bytes());
            }
            long => {
                frame.push(0x80 | 127);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    /// A close frame with this code and reason.
    pub fn close(code: u16, reason: &[u8]) -> Vec<u8> {
        Self::masked(0x88, &[&code.to_be_bytes(), reason].concat())
    }

    /// The code of a close frame; 1005 where it has none (section 7.1.5). `None` of any other frame.
    pub fn close_code(&self) -> Option<u16> {
        match (self.first, self.payload.as_slice()) {
            (0x88, [high, low, ..]) => Some(u16::from_be_bytes([*high, *low])),
            (0x88, _) => Some(1005),
            _ => None,
        }
    }
}
