//! One connection of a load: HTTP/1.1 (RFC 9112) written and read by hand, into one buffer, without keeping bodies.

use super::Failure;
use http::HeaderName;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes that a head may have.
const BUFFER: usize = 16 << 10;

pub struct Line {
    stream: TcpStream,
    buffer: Box<[u8]>,
    /// What has been read and not used yet.
    start: usize,
    end: usize,
}

pub struct Answer {
    pub status: u16,
    /// The connection can't be used for another request.
    pub closes: bool,
    pub kept: Option<Box<str>>,
}

/// How long the body is (RFC 9112, section 6.3).
enum Length {
    Exactly(usize),
    Chunked,
    UntilClose,
}

impl Line {
    pub async fn open(to: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(to).await.map_err(|_| Failure::Unreachable)?;
        stream.set_nodelay(true).map_err(|_| Failure::Unreachable)?;
        Ok(Self { stream, buffer: vec![0; BUFFER].into(), start: 0, end: 0 })
    }

    /// Sends a request and reads its answer to the end; `bodiless` says that the request is a HEAD, whose answer has no
    /// body whatever its head says.
    pub async fn exchange(
        &mut self,
        request: &[u8],
        bodiless: bool,
        keep: Option<&HeaderName>,
    ) -> Result<Answer, Failure> {
        self.stream.write_all(request).await.map_err(|_| Failure::Closed)?;
        loop {
            let head = self.head().await?;
            let (mut answer, length) = read_head(&self.buffer[self.start..head], keep)?;
            self.start = head;
            match (answer.status, length) {
                // An interim answer: the final one follows.
                (100..=199, _) => continue,
                (204 | 304, _) => {}
                _ if bodiless => {}
                (_, Length::Exactly(bytes)) => self.skip(bytes).await?,
                (_, Length::Chunked) => self.skip_chunks().await?,
                (_, Length::UntilClose) => {
                    answer.closes = true;
                    while self.fill().await.is_ok() {
                        self.start = self.end;
                    }
                }
            }
            return Ok(answer);
        }
    }

    /// Reads until a whole head is there; returns where it ends.
    async fn head(&mut self) -> Result<usize, Failure> {
        let mut searched = self.start;
        loop {
            while let Some(at) = self.buffer[searched..self.end].iter().position(|byte| *byte == b'\n') {
                searched += at + 1;
                if self.buffer[self.start..searched].ends_with(b"\r\n\r\n") {
                    return Ok(searched);
                }
            }
            let read = self.end - self.start;
            self.fill().await?;
            searched = self.start + read;
        }
    }

    async fn skip(&mut self, mut bytes: usize) -> Result<(), Failure> {
        loop {
            let here = bytes.min(self.end - self.start);
            self.start += here;
            bytes -= here;
            if bytes == 0 {
                return Ok(());
            }
            self.fill().await?;
        }
    }

    /// RFC 9112, section 7.1: chunks with their sizes in hexadecimal, one of size 0, trailers, an empty line.
    async fn skip_chunks(&mut self) -> Result<(), Failure> {
        loop {
            let size = self.text_line().await?;
            let size = size.split(';').next().unwrap_or_default().trim();
            match usize::from_str_radix(size, 16).map_err(|_| Failure::Unreadable)? {
                0 => break,
                size => self.skip(size + 2).await?,
            }
        }
        while !self.text_line().await?.is_empty() {}
        Ok(())
    }

    async fn text_line(&mut self) -> Result<String, Failure> {
        loop {
            let unused = &self.buffer[self.start..self.end];
            if let Some(at) = unused.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&unused[..at]).trim_end().to_owned();
                self.start += at + 1;
                return Ok(line);
            }
            self.fill().await?;
        }
    }

    /// Reads more, behind what is unused.
    async fn fill(&mut self) -> Result<(), Failure> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            return Err(Failure::Unreadable);
        }
        match self.stream.read(&mut self.buffer[self.end..]).await {
            Ok(0) | Err(_) => Err(Failure::Closed),
            Ok(count) => {
                self.end += count;
                Ok(())
            }
        }
    }
}

fn read_head(head: &[u8], keep: Option<&HeaderName>) -> Result<(Answer, Length), Failure> {
    let text = str::from_utf8(head).map_err(|_| Failure::Unreadable)?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let mut answer = Answer { status: status.ok_or(Failure::Unreadable)?, closes: false, kept: None };
    let mut length = Length::UntilClose;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = Length::Exactly(value.parse().map_err(|_| Failure::Unreadable)?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            length = Length::Chunked;
        } else if name.eq_ignore_ascii_case("connection") {
            answer.closes = value.eq_ignore_ascii_case("close");
        }
        if keep.is_some_and(|keep| name.eq_ignore_ascii_case(keep.as_str())) {
            answer.kept = Some(value.into());
        }
    }
    Ok((answer, length))
}
