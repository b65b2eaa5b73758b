//! A connection that remembers how an answer began, for when it turns out to be none.

use super::Why;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes that are remembered.
const REMEMBERED: usize = 120;

/// The first bytes that came since they were last forgotten.
#[derive(Debug, Clone, Default)]
pub(super) struct Came(Arc<Mutex<Vec<u8>>>);

impl Came {
    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What an error of the connection means, given what came.
    pub fn why(&self, error: &(dyn std::error::Error + 'static)) -> Why {
        let garbled = error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse);
        if !garbled {
            return Why::Closed;
        }
        let came = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Why::Garbled { why: error.to_string(), began: came.escape_ascii().to_string() }
    }

    fn add(&self, bytes: &[u8]) {
        let mut came = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = REMEMBERED - came.len();
        came.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// A stream whose first bytes are remembered.
#[derive(Debug)]
pub(super) struct Watched {
    pub stream: TcpStream,
    pub came: Came,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = to.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, to);
        self.came.add(&to.filled()[before..]);
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
