//! What was asked for with Authorization: which words let a shared cache give it to somebody else.

use super::origin::Origin;
use super::{Conduct, Params};
use crate::prelude::*;

/// What keeps it apart, then what doesn't (RFC 9111, section 3.5).
const CONTROLS: [&str; 5] =
    ["max-age=60", "private, max-age=60", "public, max-age=60", "s-maxage=60", "max-age=60, must-revalidate"];
const APART: usize = 2;

#[derive(Clone, Serialize)]
pub struct Seen {
    control: &'static str,
    answers: u64,
    /// Answers that were made for the other user.
    pub foreign: u64,
    asked: u64,
}

pub async fn observe(lab: &Lab, p: &Params) -> Result<Vec<Seen>> {
    let mut all = Vec::new();
    for control in CONTROLS {
        lab.step(format_args!("{control}: two users ask for /me, twice each, with tokens of their own"));
        let said = match p.origin {
            Conduct::PublicMe => format!("public, {control}"),
            _ => control.to_owned(),
        };
        let server = lab.serve("origin", Origin::new(p.origin, &said).router())?;
        let cache = lab.http_cache("cache", &server, Clock::frozen())?;
        let reader = lab.client("reader", &cache);
        let (mut answers, mut foreign) = (0, 0);
        for user in ["ada", "bob", "ada", "bob"] {
            let reply = reader.get("/me").header("authorization", format!("Bearer {user}")).await?;
            answers += u64::from(reply.status == StatusCode::OK);
            foreign += u64::from(reply.text() != user);
        }
        all.push(Seen { control, answers, foreign, asked: server.executed_of("GET /me") });
    }
    Ok(all)
}

pub fn claims(all: &[Seen]) -> Vec<Claim> {
    let (apart, open) = all.split_at(APART);
    let words = |part: &[Seen]| {
        let one = |it: &Seen| format!("{}: {} of {} foreign", it.control, it.foreign, it.answers);
        part.iter().map(one).collect::<Vec<_>>().join("; ")
    };
    let of = |id, says, breaks_when, part: &[Seen], holds, expected| {
        claim(id, says, breaks_when)
            .witness(part.iter().all(|it| it.answers == 4), "two tokens, four answers to each")
            .that(holds, words(part), expected)
    };
    vec![
        of(
            "authorization-unshared",
            "What was asked for with Authorization is no other user's, with max-age alone or with private",
            "the answer also says public, s-maxage or must-revalidate",
            apart,
            apart.iter().all(|it| it.foreign == 0 && it.asked == it.answers),
            "none foreign",
        ),
        of(
            "strict-words-share",
            "With public, with s-maxage, and with must-revalidate too, the second user gets the first one's page",
            "the shared cache keeps nothing that was asked for with Authorization",
            open,
            open.iter().all(|it| it.foreign == 2 && it.asked == 1),
            "all of the second user's: 2 of 4 each",
        ),
    ]
}

pub fn figure(all: &[Seen]) -> Figure {
    let row = |seen: &Seen| {
        let got = match seen.foreign {
            0 => Cell { text: "bob's".into(), tone: Tone::Accent },
            _ => Cell { text: "ada's".into(), tone: Tone::Refuted },
        };
        vec![got, Cell { text: seen.asked.to_string(), tone: Tone::Plain }]
    };
    let matrix = Matrix {
        rows: all.iter().map(|it| it.control.to_owned()).collect(),
        columns: vec!["bob gets".into(), "origin asked".into()],
        cells: all.iter().map(row).collect(),
    };
    Figure::new(
        "whose page",
        "Ada asks for /me, then Bob, each with a token, through one shared cache. Authorization keeps their pages apart, \
         until the answer says a word that permits sharing. must-revalidate is such a word, strict as it sounds.",
        matrix,
    )
}

pub fn flawless() -> Vec<Seen> {
    let seen = |(at, control)| {
        let (foreign, asked) = if at < APART { (0, 4) } else { (2, 1) };
        Seen { control, answers: 4, foreign, asked }
    };
    CONTROLS.into_iter().enumerate().map(seen).collect()
}
