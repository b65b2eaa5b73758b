//! A crowd of programs that asks for the report through a shared cache, which follows RFC 9111.

use super::origin::{self, Origin};
use super::readers::{Reader, Sight};
use super::{Format, Params, Vary, negotiation};
use crate::prelude::*;
use axum::http::header;

/// What the responses say in Vary, and whether an edge spells the requests' headers anew before the cache sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Setting {
    NoVary,
    AcceptAlone,
    Full,
    FullNormalised,
}

impl Setting {
    pub const ALL: [Self; 4] = [Self::NoVary, Self::AcceptAlone, Self::Full, Self::FullNormalised];

    pub fn words(self) -> &'static str {
        match self {
            Self::NoVary => "no Vary",
            Self::AcceptAlone => "Vary: Accept",
            Self::Full => "all in Vary",
            Self::FullNormalised => "all, normalised",
        }
    }

    fn vary(self) -> Vary {
        match self {
            Self::NoVary => Vary::Missing,
            Self::AcceptAlone => Vary::AcceptAlone,
            Self::Full | Self::FullNormalised => Vary::Complete,
        }
    }
}

/// What came of a crowd.
#[derive(Clone, Serialize)]
pub struct Delivery {
    /// In the order in which they asked.
    pub got: Vec<Got>,
    /// Different spellings of the three headers, among all that asked.
    pub spellings: u64,
    /// Requests that reached the origin.
    pub asked: u64,
}

#[derive(Clone, Serialize)]
pub struct Got {
    pub reader: String,
    /// Format, language and coding, as the bytes show them.
    pub what: String,
    pub sight: Sight,
}

impl Delivery {
    pub fn wrong(&self) -> u64 {
        self.got.iter().filter(|it| it.sight != Sight::Fine).count() as u64
    }

    pub fn saw(&self, sight: Sight) -> u64 {
        self.got.iter().filter(|it| it.sight == sight).count() as u64
    }

    /// Different representations that were handed out.
    pub fn representations(&self) -> u64 {
        self.got.iter().map(|it| it.what.as_str()).collect::<BTreeSet<_>>().len() as u64
    }
}

pub async fn deliver(lab: &Lab, p: &Params, setting: Setting, readers: &[Reader]) -> Result<Delivery> {
    lab.step(format_args!("{} clients through a shared cache: {}", readers.len(), setting.words()));
    let built = Origin { way: p.origin.way(), vary: setting.vary(), build: p.origin };
    let origin = lab.serve("origin", origin::api(built))?;
    let cache = lab.http_cache("cache", &origin, Clock::frozen())?;
    let edge = lab.serve("edge", edge(lab.client("edge", &cache)))?;
    let client = match setting {
        Setting::FullNormalised => lab.client("client", &edge),
        _ => lab.client("client", &cache),
    };
    let mut got = Vec::new();
    for reader in readers {
        let mut ask = client.get("/report");
        for (name, value) in reader.wishes() {
            if let Some(value) = value {
                ask = ask.header(name, value);
            }
        }
        let (what, sight) = reader.look(&ask.await?.body);
        got.push(Got { reader: reader.name.clone(), what, sight });
    }
    let spellings = readers.iter().map(Reader::wishes).collect::<BTreeSet<_>>().len() as u64;
    Ok(Delivery { got, spellings, asked: origin.executed_of("GET /report") })
}

/// Maps every spelling of the three headers to the one word that it comes to, and asks the cache with that.
fn edge(cache: Client) -> Router {
    let handler = async move |headers: HeaderMap| -> Result<Response, Failed> {
        let wish = |name| headers.get(name).and_then(|it| it.to_str().ok());
        let format = negotiation::format(negotiation::Way::Rules, wish(header::ACCEPT));
        let coding = if negotiation::gzip(wish(header::ACCEPT_ENCODING)) { "gzip" } else { "identity" };
        let ask = cache.get("/report").header("accept", format.map_or("image/png", Format::media_type));
        let language = negotiation::language(wish(header::ACCEPT_LANGUAGE));
        let ask = ask.header("accept-language", language.tag()).header("accept-encoding", coding);
        let reply = ask.await?;
        Ok((reply.status, reply.headers, reply.body).into_response())
    };
    Router::new().route("/report", get(handler))
}
