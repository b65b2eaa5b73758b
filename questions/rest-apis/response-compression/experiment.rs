//! Compressing responses: what shrinks and what grows, which coding a client gets, what a stream needs, and how the length
//! alone gives a secret away. The encoders are the real ones: gzip, Brotli, Zstandard.

use crate::prelude::*;
use axum::body::Bytes;
use axum::http::header;
use rand::RngExt;
use rand::seq::SliceRandom;

#[path = "claims.rs"]
mod claims;
#[path = "coding.rs"]
mod coding;
#[path = "figures.rs"]
mod figures;
#[path = "thief.rs"]
mod thief;

use coding::{Coding, Encoder};
use thief::{Account, Theft};

/// Values of Accept-Encoding, and the one answer to each. `None` is a request without the header, and a body as it is.
const WISHES: [(Option<&str>, Option<Coding>); 17] = [
    (None, None),
    (Some(""), None),
    (Some("identity"), None),
    (Some("gzip"), Some(Coding::Gzip)),
    (Some("GZIP"), Some(Coding::Gzip)),
    (Some("br"), Some(Coding::Brotli)),
    (Some("zstd"), Some(Coding::Zstd)),
    (Some("deflate"), None),
    (Some("notgzip"), None),
    (Some("gzip;q=0"), None),
    (Some("gzip;q=0, br"), Some(Coding::Brotli)),
    (Some("br;q=1.0, gzip;q=0.5"), Some(Coding::Brotli)),
    (Some("br;q=0.5, gzip;q=1.0"), Some(Coding::Gzip)),
    (Some("gzip;q=0.1, zstd;q=0.2"), Some(Coding::Zstd)),
    (Some("*;q=0.1, gzip;q=0.5"), Some(Coding::Gzip)),
    (Some("*, gzip;q=0, br;q=0"), Some(Coding::Zstd)),
    (Some("identity, gzip;q=0.5"), None),
];
/// Bytes of noise, which stand for a picture or a film: they are compressed already.
const NOISE: usize = 64 << 10;
/// Events of a stream.
const EVENTS: usize = 10;
/// Accounts whose secrets the thief is after.
const ACCOUNTS: usize = 3;

choices! {
    pub enum Build {
        Right = "as it should be",
        SearchesWord = "looks for the word gzip",
        CodesTwice = "compresses what is compressed",
        NeverFlushes = "never flushes a stream",
        MasksNothing = "shows the secret as it is",
    }
}

params! {
    /// Rows of the JSON that is compressed.
    rows_of_json: u64 = 1000 in 500..=5000;
    /// Hex digits that each secret has.
    secret_digits: u64 = 10 in 8..=16;
    /// How the server is built.
    server: Build = "as it should be" in ..;
}

pub struct ResponseCompression;

#[derive(Clone, Serialize)]
pub struct Observed {
    sizes: Vec<Size>,
    wishes: Vec<Wished>,
    streams: Vec<Stream>,
    /// From pages that show the secret as it is, and from those that mask it.
    plain: Vec<Theft>,
    masked: Vec<Theft>,
}

/// A body on the wire.
#[derive(Clone, Serialize)]
struct Size {
    body: &'static str,
    coding: &'static str,
    plain: usize,
    coded: usize,
    /// Whether undoing what Content-Encoding names gives the bytes that are sent to those who want none.
    same: bool,
}

#[derive(Clone, Serialize)]
struct Wished {
    accept: &'static str,
    right: &'static str,
    /// What the server sent, and what one sent that searches for a word.
    sent: String,
    searched: String,
}

/// How many events could be read at the other end, after each that was written.
#[derive(Clone, Serialize)]
struct Stream {
    coding: &'static str,
    flushed: bool,
    readable: Vec<usize>,
    /// At the end, when the stream was closed.
    whole: usize,
}

impl Experiment for ResponseCompression {
    type Params = Params;
    type Observed = Observed;

    fn predict(p: &Params) -> Prediction<Observed> {
        let ask = format!(
            "A page holds a secret of {} hex digits and repeats the term that was searched for. A thief chooses the term and \
             sees only the length of the gzipped answer. How many digits does he find by trying?",
            p.secret_digits
        );
        Prediction::choice(ask, &["none", "one or two, by luck", "at least half"], |seen: &Observed| {
            match claims::found(&seen.plain) {
                (0, _) => 0,
                (found, of) if found * 2 < of => 1,
                _ => 2,
            }
        })
        .tempting(
            0,
            "He never sees a byte of the page. But the compressor compares his term with the secret for him, and the length \
             says how well they match.",
        )
    }

    async fn run(lab: &Lab, p: &Params) -> Result<Observed> {
        lab.show_headers(["Accept-Encoding", "Content-Encoding"]);
        let (sizes, wishes) = (sizes(lab, p).await?, wishes(lab, p).await?);
        lab.step("Ten events through each compressor, with a flush behind each and without");
        let mut streams = Vec::new();
        for coding in Coding::ALL {
            for flush in [false, true] {
                streams.push(stream(coding, flush, p.server != Build::NeverFlushes)?);
            }
        }
        lab.step("A thief who sees only lengths, at a page that shows its secret and at one that masks it");
        let steal = |masked: bool| {
            let mut rng = lab.rng("secrets");
            let rob = |_| {
                let secret = thief::secret(&mut rng, p.secret_digits);
                thief::steal(&mut Account { secret, masked, rng: lab.rng("masks") })
            };
            (0..ACCOUNTS).map(rob).collect::<Result<Vec<_>>>()
        };
        let (plain, masked) = (steal(false)?, steal(p.server != Build::MasksNothing)?);
        Ok(Observed { sizes, wishes, streams, plain, masked })
    }

    fn claims(_: &Params, seen: &Observed) -> Vec<Claim> {
        claims::all(seen)
    }

    fn figures(_: &Params, seen: &Observed) -> Vec<Figure> {
        figures::all(seen)
    }

    fn counterexamples(_: &Params) -> Vec<Observed> {
        claims::broken()
    }

    fn faults() -> Vec<Fault> {
        vec![
            Fault {
                label: "look for the word gzip in Accept-Encoding",
                set: &[("server", "looks for the word gzip")],
                refutes: &["weights-choose"],
            },
            Fault {
                label: "compress what a layer below has compressed already",
                set: &[("server", "compresses what is compressed")],
                refutes: &["same-bytes"],
            },
            Fault {
                label: "leave out the flush behind each event",
                set: &[("server", "never flushes a stream")],
                refutes: &["flush-each-event"],
            },
            Fault {
                label: "show the secret as it is",
                set: &[("server", "shows the secret as it is")],
                refutes: &["mask-hides"],
            },
        ]
    }
}

/// The bodies that the server has, by path.
type Bodies = BTreeMap<&'static str, Bytes>;

fn bodies(lab: &Lab, p: &Params) -> Result<Bodies> {
    let mut rng = lab.rng("bodies");
    let row = |id| {
        let (units, cents) = (rng.random_range(1..50_u32), rng.random_range(100..99_999_u32));
        json!({"id": id, "item": format!("article {}", id % 97), "units": units, "cents": cents, "paid": units % 3 == 0})
    };
    let json = Value::from((1..=p.rows_of_json).map(row).collect::<Vec<_>>()).to_string();
    let noise: Vec<u8> = (0..NOISE).map(|_| rng.random()).collect();
    let mut letters: Vec<u8> = (b'a'..=b't').collect();
    letters.shuffle(&mut rng);
    let archive = Coding::Gzip.encode(json.as_bytes())?;
    Ok([
        ("JSON", json.into()),
        ("noise", noise.into()),
        ("20 letters", letters.into()),
        ("a .gz file", archive.into()),
    ]
    .into())
}

fn serve(lab: &Lab, name: &str, build: Build, bodies: &Bodies) -> Result<Server> {
    let bodies = bodies.clone();
    let handler = async move |Path(at): Path<usize>, headers: HeaderMap| -> Result<Response, Failed> {
        let body = bodies.values().nth(at).context("there is no such body")?;
        let accept = headers.get(header::ACCEPT_ENCODING).and_then(|it| it.to_str().ok());
        let coding =
            if build == Build::SearchesWord { coding::search(accept) } else { coding::choose(accept) };
        let vary = [(header::VARY, "Accept-Encoding")];
        let Some(coding) = coding else { return Ok((vary, body.clone()).into_response()) };
        let mut coded = coding.encode(body)?;
        if build == Build::CodesTwice {
            coded = coding.encode(&coded)?;
        }
        Ok((vary, [(header::CONTENT_ENCODING, coding.name())], coded).into_response())
    };
    lab.serve(name, Router::new().route("/{body}", get(handler)))
}

/// Fetches each body as it is and in each coding.
async fn sizes(lab: &Lab, p: &Params) -> Result<Vec<Size>> {
    lab.step("Four bodies, as they are and in each coding");
    let bodies = bodies(lab, p)?;
    // Whoever looks for gzip alone is looked at below; here each coding is to be had.
    let build = if p.server == Build::SearchesWord { Build::Right } else { p.server };
    let server = serve(lab, "server", build, &bodies)?;
    let client = lab.client("client", &server);
    let mut sizes = Vec::new();
    for (at, body) in bodies.keys().enumerate() {
        let plain = client.get(format!("/{at}")).header("Accept-Encoding", "identity").await?;
        for coding in Coding::ALL {
            let reply = client.get(format!("/{at}")).header("Accept-Encoding", coding.name()).await?;
            let named = reply.header("content-encoding") == Some(coding.name());
            let same = named && coding.decode(&reply.body) == plain.body;
            let (plain, coded) = (plain.body.len(), reply.body.len());
            sizes.push(Size { body, coding: coding.name(), plain, coded, same });
        }
    }
    Ok(sizes)
}

async fn wishes(lab: &Lab, p: &Params) -> Result<Vec<Wished>> {
    lab.step("Seventeen values of Accept-Encoding, to the server and to one that looks for the word gzip");
    let bodies: Bodies = [("text", Bytes::from_static(b"one text for all of them"))].into();
    let server = serve(lab, "server", p.server, &bodies)?;
    let searching = serve(lab, "word search", Build::SearchesWord, &bodies)?;
    let client = lab.client("client", &server);
    let mut all = Vec::new();
    for (accept, right) in WISHES {
        let sent = async |client: &Client| -> Result<String> {
            let ask = client.get("/0");
            let reply = match accept {
                Some(accept) => ask.header("Accept-Encoding", accept),
                None => ask,
            }
            .await?;
            Ok(reply.header("content-encoding").unwrap_or("as it is").to_owned())
        };
        all.push(Wished {
            accept: accept.unwrap_or("(no header)"),
            right: right.map_or("as it is", Coding::name),
            sent: sent(&client).await?,
            searched: sent(&client.to(&searching)).await?,
        });
    }
    Ok(all)
}

/// Writes events into a compressor, and after each counts those that can be read from what it has given out.
fn stream(coding: Coding, flushed: bool, does_flush: bool) -> Result<Stream> {
    let readable = |bytes: &[u8]| String::from_utf8_lossy(&coding.decode(bytes)).matches("\n\n").count();
    let mut encoder = Encoder::new(coding)?;
    let mut after_each = Vec::new();
    for event in 1..=EVENTS {
        encoder.write(
            format!("id: {event}\ndata: {{\"order\":{},\"state\":\"packed\"}}\n\n", 700 + event).as_bytes(),
        )?;
        if flushed && does_flush {
            encoder.flush()?;
        }
        after_each.push(readable(encoder.given_out()));
    }
    let whole = readable(&encoder.finish()?);
    Ok(Stream { coding: coding.name(), flushed, readable: after_each, whole })
}
