//! The codings: chosen by Accept-Encoding (RFC 9110, section 12.5.3), done by the encoders that servers use.

use crate::prelude::*;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use std::io::{Read, Write};

/// Levels for what is made anew for each request.
const GZIP_LEVEL: u32 = 6;
const BROTLI_LEVEL: u32 = 5;
const ZSTD_LEVEL: i32 = 3;
/// Brotli's buffer, and the binary logarithm of its window.
const BUFFER: usize = 4096;
const WINDOW: u32 = 22;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Coding {
    Brotli,
    Zstd,
    Gzip,
}

impl Coding {
    /// In the server's own order, which breaks ties.
    pub const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    pub fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    pub fn encode(self, plain: &[u8]) -> Result<Vec<u8>> {
        let mut encoder = Encoder::new(self)?;
        encoder.write(plain)?;
        encoder.finish()
    }

    /// What can be read of these bytes, which may be the beginning of a stream that isn't over.
    pub fn decode(self, coded: &[u8]) -> Vec<u8> {
        let mut source: Box<dyn Read + '_> = match self {
            Self::Brotli => Box::new(brotli::Decompressor::new(coded, BUFFER)),
            Self::Gzip => Box::new(GzDecoder::new(coded)),
            Self::Zstd => match zstd::Decoder::new(coded) {
                Ok(decoder) => Box::new(decoder),
                Err(_) => return Vec::new(),
            },
        };
        let (mut plain, mut buffer) = (Vec::new(), [0; BUFFER]);
        while let Ok(read @ 1..) = source.read(&mut buffer) {
            plain.extend_from_slice(&buffer[..read]);
        }
        plain
    }
}

/// A compressor at work, with what it has given out so far.
pub enum Encoder {
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Encoder {
    pub fn new(coding: Coding) -> Result<Self> {
        let out = Vec::new();
        Ok(match coding {
            Coding::Brotli => {
                Self::Brotli(Box::new(brotli::CompressorWriter::new(out, BUFFER, BROTLI_LEVEL, WINDOW)))
            }
            Coding::Zstd => Self::Zstd(zstd::Encoder::new(out, ZSTD_LEVEL)?),
            Coding::Gzip => Self::Gzip(GzEncoder::new(out, Compression::new(GZIP_LEVEL))),
        })
    }

    pub fn write(&mut self, plain: &[u8]) -> Result<()> {
        Ok(match self {
            Self::Brotli(it) => it.write_all(plain),
            Self::Zstd(it) => it.write_all(plain),
            Self::Gzip(it) => it.write_all(plain),
        }?)
    }

    /// Gives out all that was written, so that it can be read at the other end.
    pub fn flush(&mut self) -> Result<()> {
        Ok(match self {
            Self::Brotli(it) => it.flush(),
            Self::Zstd(it) => it.flush(),
            Self::Gzip(it) => it.flush(),
        }?)
    }

    pub fn given_out(&self) -> &[u8] {
        match self {
            Self::Brotli(it) => it.get_ref(),
            Self::Zstd(it) => it.get_ref(),
            Self::Gzip(it) => it.get_ref(),
        }
    }

    pub fn finish(self) -> Result<Vec<u8>> {
        Ok(match self {
            Self::Brotli(it) => it.into_inner(),
            Self::Zstd(it) => it.finish()?,
            Self::Gzip(it) => it.finish()?,
        })
    }
}

/// The coding to use, or none. Without the header any would be allowed; a client that doesn't send it more likely can't
/// undo one.
pub fn choose(accept: Option<&str>) -> Option<Coding> {
    let wishes: Vec<_> = accept.unwrap_or_default().split(',').filter_map(member).collect();
    let named = |name: &str| wishes.iter().find(|(it, _)| it == name).map(|(_, weight)| *weight);
    let weight = |it: &Coding| named(it.name()).or_else(|| named("*")).unwrap_or(0);
    let best = Coding::ALL.into_iter().rev().filter(|it| weight(it) > 0).max_by_key(weight)?;
    // Sent as it is unless that is wished for less: a body without a coding is acceptable by default.
    (weight(&best) >= named("identity").unwrap_or(0)).then_some(best)
}

/// What many servers do in its place.
pub fn search(accept: Option<&str>) -> Option<Coding> {
    accept?.contains("gzip").then_some(Coding::Gzip)
}

/// A member of the list: its name, and its weight in thousandths.
fn member(text: &str) -> Option<(String, u16)> {
    let (name, weight) = text.split_once(';').unwrap_or((text, "q=1"));
    let weight: f64 = weight.trim().strip_prefix("q=")?.parse().ok()?;
    (0.0..=1.0)
        .contains(&weight)
        .then(|| (name.trim().to_ascii_lowercase(), (weight * 1000.0).round() as u16))
}
