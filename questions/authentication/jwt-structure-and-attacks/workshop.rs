//! The servers that the tokens are sent to: one for each verifier, on one clock, and the forger's own site.

use super::forger::{Jwks, LIFETIME, Pair, START};
use super::verifiers::{Believer, KID, RsaKey, Strict, Verdict};
use super::{Answer, BELIEVER, Moved, Params, STRICT, Tried, Which};
use crate::prelude::*;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use futures::future::BoxFuture;
use jsonwebtoken::DecodingKey;

/// Both servers, the forger's own site, and a client for each server.
pub struct Workshop {
    pub clock: Clock,
    pub issuer: Pair,
    pub forger: Pair,
    pub believer: Believer,
    pub strict: Arc<Strict>,
    /// Where the forger publishes its own key.
    pub site: Server,
    to_believer: Client,
    to_strict: Client,
    believer_first: bool,
    _servers: [Server; 2],
}

impl Workshop {
    pub async fn open(lab: &Lab, p: &Params) -> Result<Self> {
        let (issuer_rng, forger_rng) = (lab.rng("issuer's key"), lab.rng("forger's key"));
        let pairs = tokio::task::spawn_blocking(move || {
            Ok::<_, anyhow::Error>((Pair::generate(issuer_rng, 2048)?, Pair::generate(forger_rng, 1024)?))
        });
        let (issuer, forger) = pairs.await??;
        let key = RsaKey {
            key: DecodingKey::from_rsa_pem(issuer.public_pem.as_bytes())?,
            pem: issuer.public_pem.clone(),
        };
        let strict =
            Strict { keys: [(KID.to_owned(), key)].into(), leeway_s: p.leeway_s, forgets: p.forgets };
        let strict = Arc::new(strict);
        let believer = Believer { keys: lab.dir().join("keys") };
        std::fs::create_dir_all(&believer.keys)?;
        std::fs::write(believer.keys.join(KID), &issuer.public_pem)?;

        let clock = Clock::frozen();
        lab.show_headers([WWW_AUTHENTICATE.as_str()]);
        let believing = {
            let (believer, owned) = (believer.clone(), lab.clone());
            serve(lab, BELIEVER, &clock, move |token, _| {
                let (believer, lab) = (believer.clone(), owned.clone());
                Box::pin(async move { believer.verify(&token, &lab).await })
            })?
        };
        let strictly = {
            let strict = strict.clone();
            serve(lab, STRICT, &clock, move |token, now| {
                let verdict = strict.verify(&token, now);
                Box::pin(async move { verdict })
            })?
        };
        let jwks = Jwks { keys: vec![forger.jwk.clone()] };
        let site =
            lab.serve("forger's site", Router::new().route("/jwks.json", get(|| async { Json(jwks) })))?;
        Ok(Self {
            clock,
            issuer,
            forger,
            believer,
            strict,
            site,
            to_believer: lab.client("client", &believing),
            to_strict: lab.client("client", &strictly),
            believer_first: p.verifier == Which::Believer,
            _servers: [believing, strictly],
        })
    }

    pub async fn try_both(&self, what: &'static str, token: &str) -> Result<Tried> {
        let (believer, strict) = if self.believer_first {
            let believer = send(&self.to_believer, token).await?;
            (believer, send(&self.to_strict, token).await?)
        } else {
            let strict = send(&self.to_strict, token).await?;
            (send(&self.to_believer, token).await?, strict)
        };
        Ok(Tried { what, believer, strict })
    }

    /// The genuine token's fate as the clock passes its `exp`.
    pub async fn around_exp(&self, lab: &Lab, token: &str, leeway_s: u64) -> Result<Vec<Moved>> {
        let leeway = leeway_s as i64;
        let offsets: BTreeSet<i64> = [-60, -1, 1, leeway - 1, leeway + 1, leeway + 60].into();
        let mut answers = vec![];
        for after_exp_s in offsets {
            let at = LIFETIME.saturating_add_signed(after_exp_s);
            self.clock.step(Duration::from_secs(at).saturating_sub(self.clock.now()));
            lab.step(format_args!("The clock is at {}", relative(after_exp_s)));
            let Tried { believer, strict, .. } = self.try_both("around exp", token).await?;
            answers.push(Moved { after_exp_s, believer: believer.status, strict: strict.status });
        }
        Ok(answers)
    }
}

fn relative(after_exp_s: i64) -> String {
    let sign = if after_exp_s < 0 { '−' } else { '+' };
    format!("exp {sign} {} s", after_exp_s.unsigned_abs())
}

type Verify = Arc<dyn Fn(String, u64) -> BoxFuture<'static, Verdict> + Send + Sync>;

/// A server whose `/orders` is for those with a token that `verify` believes.
pub fn serve(
    lab: &Lab,
    name: &str,
    clock: &Clock,
    verify: impl Fn(String, u64) -> BoxFuture<'static, Verdict> + Send + Sync + 'static,
) -> Result<Server> {
    let state: (Clock, Verify) = (clock.clone(), Arc::new(verify));
    lab.serve(name, Router::new().route("/orders", get(orders)).with_state(state))
}

/// Refuses as RFC 6750, section 3 wants it.
async fn orders(State((clock, verify)): State<(Clock, Verify)>, headers: HeaderMap) -> Response {
    let token = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok()?.strip_prefix("Bearer "));
    let now = START + clock.now().as_secs();
    match verify(token.unwrap_or_default().to_owned(), now).await {
        Ok(payload) => Json(json!({"for": payload.sub, "role": payload.role})).into_response(),
        Err(why) => {
            let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{why}\"");
            (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, challenge)]).into_response()
        }
    }
}

pub async fn send(client: &Client, token: &str) -> Result<Answer> {
    let reply = client.get("/orders").header(AUTHORIZATION.as_str(), format!("Bearer {token}")).await?;
    let challenge = reply.header(WWW_AUTHENTICATE.as_str()).unwrap_or_default();
    let why = challenge.rsplit_once("error_description=\"").map_or("", |it| it.1.trim_end_matches('"'));
    Ok(Answer { status: reply.status.as_u16(), why: why.to_owned() })
}
