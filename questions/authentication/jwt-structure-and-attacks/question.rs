//! A token put to the program under test, and its verdict held against the right one.

use super::issuer;
use crate::prelude::*;

/// All that the program is told besides the token.
#[derive(Clone)]
pub struct Rules {
    pub keys: Vec<Value>,
    pub algs: Vec<&'static str>,
    pub iss: Value,
    pub aud: Value,
    pub now: u64,
    pub leeway: u64,
}

impl Rules {
    pub fn new(g: &Grader, keys: Vec<Value>) -> Self {
        Self {
            keys,
            algs: vec!["HS256", "RS256", "ES256", "EdDSA"],
            iss: format!("https://{}.example", g.word()).into(),
            aud: g.word().into(),
            now: 1_700_000_000 + u64::from(g.number(0..90_000_000)),
            leeway: g.number(5..60).into(),
        }
    }

    /// What the right issuer would say now, to the right audience.
    pub fn claims(&self, g: &Grader) -> Value {
        json!({
            "iss": self.iss, "sub": g.word(), "aud": self.aud, "jti": g.word(),
            "nbf": self.now - 60, "exp": self.now + 600,
        })
    }

    /// The program has to find the token valid, which is "a token of two parts" in words, or else this is the cause
    /// (empty: what the stage catches).
    pub async fn accept(
        &self,
        g: &Grader,
        what: &str,
        token: &str,
        cause: impl Into<&'static str>,
    ) -> Graded {
        let expected = json!({ "valid": true, "claims": issuer::claims(token)? });
        self.ask(g, what, token, &expected, cause.into()).await
    }

    /// The program has to refuse it for this reason.
    pub async fn refuse(
        &self,
        g: &Grader,
        what: &str,
        token: &str,
        reason: &str,
        cause: impl Into<&'static str>,
    ) -> Graded {
        let expected = json!({ "valid": false, "reason": reason });
        self.ask(g, what, token, &expected, cause.into()).await
    }

    /// The verdict has to be "valid", or this reason.
    pub async fn judge(
        &self,
        g: &Grader,
        what: &str,
        token: &str,
        verdict: &str,
        cause: &'static str,
    ) -> Graded {
        match verdict {
            "valid" => self.accept(g, what, token, cause).await,
            reason => self.refuse(g, what, token, reason, cause).await,
        }
    }

    async fn ask(&self, g: &Grader, what: &str, token: &str, expected: &Value, cause: &str) -> Graded {
        let Self { keys, algs, iss, aud, now, leeway } = self;
        let input = json!({
            "token": token, "jwks": { "keys": keys }, "algs": algs,
            "iss": iss, "aud": aud, "now": now, "leeway": leeway,
        });
        let said = g.ask(&input.to_string()).await?;
        let found = said.json().because(NO_VERDICT)?;
        if ["valid", "reason", "claims"].iter().all(|name| same_json(&found[*name], &expected[*name])) {
            return Ok(());
        }
        let wrong = said.wrong(format!("the verdict on {what}"), shown(expected), shown(&found));
        Err(if cause.is_empty() { wrong } else { wrong.because(cause) })
    }
}

const NO_VERDICT: &str = "Your program ends without a verdict, or prints something beside it. Whatever a token is made of, \
                          it has to get one.";

/// A verdict in the contract's order, or whatever else it is.
fn shown(verdict: &Value) -> String {
    let member = |name: &str| verdict.get(name).map(|it| format!("\"{name}\": {it}"));
    let members: Vec<_> = ["valid", "reason", "claims"].into_iter().filter_map(member).collect();
    if members.is_empty() { verdict.to_string() } else { format!("{{{}}}", members.join(", ")) }
}
