//! Holds what a client sends to RFC 6455, byte by byte, before the library reads it.
//!
//! tungstenite 0.29 refuses what the RFC forbids, with these exceptions, which is why this stands before it. It accepts
//! a length that isn't written in the fewest bytes (section 5.2), and takes one with the highest bit set for too long a
//! message instead of for a broken frame. It looks at a header only when the whole payload is there, so that a frame
//! that is wrong from its first byte keeps a connection open, and at UTF-8 only where a frame ends. And it accepts the
//! close codes 1012 and 1013, which aren't RFC 6455's.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a client did that ends the connection: the close code that it is told (section 7.4.1), and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub(super) struct Violation {
    pub code: u16,
    pub why: &'static str,
}

const fn broken(why: &'static str) -> Violation {
    Violation { code: 1002, why }
}
const NOT_UTF8: Violation = Violation { code: 1007, why: "text that isn't UTF-8" };
const TOO_LARGE: Violation = Violation { code: 1009, why: "message too large" };

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const LARGEST_CONTROL: u64 = 125;

/// A stream of frames from a client. It gives out the bytes before the first one that is wrong, then an error that
/// holds the [`Violation`].
#[derive(Debug)]
pub(super) struct Guarded<S> {
    stream: S,
    frames: Frames,
    violated: Option<Violation>,
}

impl<S> Guarded<S> {
    pub fn new(stream: S, largest_message: usize) -> Self {
        Self { stream, frames: Frames::new(largest_message as u64), violated: None }
    }

    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(violation) = self.violated {
            return Poll::Ready(Err(io::Error::other(violation)));
        }
        let before = to.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, to))?;
        if let Err((good, violation)) = self.frames.read(&to.filled()[before..]) {
            self.violated = Some(violation);
            to.set_filled(before + good);
            // Nothing at all would look like the end of the stream.
            if good == 0 {
                return Poll::Ready(Err(io::Error::other(violation)));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Where in the sequence of a client's frames the next byte stands.
#[derive(Debug)]
struct Frames {
    largest_message: u64,
    /// The bytes of a header that isn't complete.
    header: Vec<u8>,
    /// The frame whose payload is being read.
    payload: Option<Payload>,
    /// The message whose frames are being read: whether it is text, and its bytes so far.
    message: Option<(bool, u64)>,
    text: Utf8,
    closed: bool,
}

#[derive(Debug)]
struct Payload {
    left: u64,
    mask: [u8; 4],
    /// Where in the mask the next byte stands.
    turn: usize,
    last: bool,
    opcode: u8,
    /// What a close frame says.
    close: Vec<u8>,
}

impl Frames {
    fn new(largest_message: u64) -> Self {
        Self {
            largest_message,
            header: Vec::with_capacity(14),
            payload: None,
            message: None,
            text: Utf8::default(),
            closed: false,
        }
    }

    /// Reads on. An error says how many of the bytes come before the one that is wrong.
    fn read(&mut self, bytes: &[u8]) -> Result<(), (usize, Violation)> {
        let mut at = 0;
        // What follows a close frame isn't read (section 5.5.1).
        while at < bytes.len() && !self.closed {
            let read = match self.payload.take() {
                Some(payload) => self.payload(payload, &bytes[at..]),
                None => self.header(bytes[at]).map(|()| 1),
            };
            at += read.map_err(|violation| (at, violation))?;
        }
        Ok(())
    }

    fn header(&mut self, byte: u8) -> Result<(), Violation> {
        self.header.push(byte);
        match self.header.len() {
            1 => self.first_byte(byte),
            2 => self.second_byte(byte),
            _ => Ok(()),
        }?;
        let Some(length) = self.length()? else { return Ok(()) };
        let (first, mask_at) = (self.header[0], self.header.len() - 4);
        let mut mask = [0; 4];
        mask.copy_from_slice(&self.header[mask_at..]);
        self.header.clear();
        let (opcode, last) = (first & 0x0f, first & 0x80 != 0);
        let payload = Payload { left: length, mask, turn: 0, last, opcode, close: Vec::new() };
        // An empty frame ends here; any other with its last byte.
        if length == 0 {
            self.ends(&payload)
        } else {
            self.payload = Some(payload);
            Ok(())
        }
    }

    /// FIN, the reserved bits and the opcode.
    fn first_byte(&mut self, byte: u8) -> Result<(), Violation> {
        let (last, opcode) = (byte & 0x80 != 0, byte & 0x0f);
        if byte & 0x70 != 0 {
            return Err(broken("reserved bit set, without an extension"));
        }
        match (opcode, self.message) {
            (0, None) => Err(broken("continuation of nothing")),
            (1 | 2, Some(_)) => Err(broken("new message before the last one ended")),
            (1 | 2, None) => {
                self.message = Some((opcode == TEXT, 0));
                Ok(())
            }
            (8..=10, _) if !last => Err(broken("fragmented control frame")),
            (0, Some(_)) | (8..=10, _) => Ok(()),
            _ => Err(broken("unknown opcode")),
        }
    }

    /// The mask bit, and the length or which form it has.
    fn second_byte(&self, byte: u8) -> Result<(), Violation> {
        if byte & 0x80 == 0 {
            return Err(broken("unmasked frame from a client"));
        }
        if self.header[0] & 0x08 != 0 && u64::from(byte & 0x7f) > LARGEST_CONTROL {
            return Err(broken("control frame of more than 125 bytes"));
        }
        Ok(())
    }

    /// The payload's length, once the header is complete.
    fn length(&mut self) -> Result<Option<u64>, Violation> {
        let Some(&second) = self.header.get(1) else { return Ok(None) };
        let width = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(written) = self.header.get(2..2 + width) else { return Ok(None) };
        let wide = written.iter().fold(0, |length, &byte| length << 8 | u64::from(byte));
        let length = if width == 0 { u64::from(second & 0x7f) } else { wide };
        match width {
            2 if length < 126 => return Err(broken("length not in the fewest bytes")),
            8 if length < 1 << 16 => return Err(broken("length not in the fewest bytes")),
            8 if length >> 63 != 0 => return Err(broken("length with the highest bit set")),
            _ => {}
        }
        let is_control = self.header[0] & 0x08 != 0;
        if self.header.len() == 2 + width
            && let Some((_, so_far)) = self.message.as_mut().filter(|_| !is_control)
        {
            *so_far = so_far.saturating_add(length);
            if *so_far > self.largest_message {
                return Err(TOO_LARGE);
            }
        }
        Ok((self.header.len() == 2 + width + 4).then_some(length))
    }

    /// Reads what there is of a payload, and returns how much that was.
    fn payload(&mut self, mut payload: Payload, bytes: &[u8]) -> Result<usize, Violation> {
        let count = bytes.len().min(usize::try_from(payload.left).unwrap_or(usize::MAX));
        let is_text = payload.opcode < CLOSE && self.message.is_some_and(|(is_text, _)| is_text);
        if is_text || payload.opcode == CLOSE {
            let clear = bytes[..count].iter().enumerate();
            let clear: Vec<u8> =
                clear.map(|(at, byte)| byte ^ payload.mask[(payload.turn + at) % 4]).collect();
            if is_text {
                self.text.read(&clear)?;
            } else {
                payload.close.extend(clear);
            }
        }
        payload.turn = (payload.turn + count) % 4;
        payload.left -= count as u64;
        if payload.left == 0 {
            self.ends(&payload)?;
        } else {
            self.payload = Some(payload);
        }
        Ok(count)
    }

    fn ends(&mut self, frame: &Payload) -> Result<(), Violation> {
        if frame.opcode == CLOSE {
            self.closed = true;
            return closes(&frame.close);
        }
        if frame.opcode < CLOSE && frame.last {
            self.message = None;
            return std::mem::take(&mut self.text).end();
        }
        Ok(())
    }
}

/// What a close frame may say (sections 5.5.1 and 7.4).
fn closes(says: &[u8]) -> Result<(), Violation> {
    match says {
        [] => Ok(()),
        [_] => Err(broken("close code of one byte")),
        [high, low, reason @ ..] => match u16::from_be_bytes([*high, *low]) {
            1000..=1003 | 1007..=1011 | 3000..=4999 if std::str::from_utf8(reason).is_ok() => Ok(()),
            1000..=1003 | 1007..=1011 | 3000..=4999 => Err(NOT_UTF8),
            _ => Err(broken("close code that must not be sent")),
        },
    }
}

/// Text that comes in pieces, which may end within a character.
#[derive(Debug, Default)]
struct Utf8 {
    /// The beginning of a character, at most three bytes.
    begun: Vec<u8>,
}

impl Utf8 {
    fn read(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let all = [&std::mem::take(&mut self.begun), bytes].concat();
        match std::str::from_utf8(&all) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_none() => {
                self.begun = all[error.valid_up_to()..].to_vec();
                Ok(())
            }
            Err(_) => Err(NOT_UTF8),
        }
    }

    fn end(self) -> Result<(), Violation> {
        if self.begun.is_empty() { Ok(()) } else { Err(NOT_UTF8) }
    }
}
