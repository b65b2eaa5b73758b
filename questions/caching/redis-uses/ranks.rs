//! A leaderboard: a sorted set keeps itself in order while scores change.

use crate::prelude::*;
use backlab_parts::redis::Redis;
use rand::RngExt;

const MEMBERS: usize = 200;
const CHANGES: usize = 300;
/// Small, so that members tie.
const HIGHEST: i64 = 60;
const TOP: usize = 8;

#[derive(Debug, Clone, Serialize)]
pub struct Seen {
    pub members: u64,
    /// Members that share their score with another.
    pub tied: u64,
    /// Members whose rank by Redis isn't their place in the client's own sort.
    pub differ: u64,
    pub top: Vec<Place>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Place {
    pub member: String,
    pub score: i64,
    /// Counted from 0, as Redis does.
    pub by_redis: u64,
    pub by_client: u64,
}

pub async fn observe(lab: &Lab, redis: &Redis) -> Result<Seen> {
    lab.step("Leaderboard: scores by ZADD and ZINCRBY, the rank of each member by ZREVRANK");
    let mut a = redis.client("A").await?;
    let mut rng = lab.rng("scores");
    let mut scores = BTreeMap::new();
    let mut changes = redis::pipe();
    for member in 0..MEMBERS {
        let (member, score) = (format!("player-{member:03}"), rng.random_range(0..HIGHEST));
        changes.cmd("ZADD").arg("board").arg(score).arg(&member).ignore();
        scores.insert(member, score);
    }
    for _ in 0..CHANGES {
        let (member, more) =
            (format!("player-{:03}", rng.random_range(0..MEMBERS)), rng.random_range(-9..=9));
        changes.cmd("ZINCRBY").arg("board").arg(more).arg(&member).ignore();
        *scores.entry(member).or_default() += more;
    }
    changes.query_async::<()>(&mut a).await?;

    let mut ask = redis::pipe();
    for member in scores.keys() {
        ask.cmd("ZREVRANK").arg("board").arg(member);
    }
    let ranks: Vec<u64> = ask.query_async(&mut a).await?;
    let mut places: Vec<_> = std::iter::zip(&scores, ranks)
        .map(|((member, score), by_redis)| Place {
            member: member.clone(),
            score: *score,
            by_redis,
            by_client: 0,
        })
        .collect();
    // The highest score first; of equal scores, the member that comes last in the order of bytes.
    places.sort_by(|one, two| (two.score, &two.member).cmp(&(one.score, &one.member)));
    places.iter_mut().zip(0..).for_each(|(place, n)| place.by_client = n);

    let tied = places.chunk_by(|one, two| one.score == two.score).filter(|it| it.len() > 1).map(<[_]>::len);
    Ok(Seen {
        members: places.len() as u64,
        tied: tied.sum::<usize>() as u64,
        differ: places.iter().filter(|place| place.by_redis != place.by_client).count() as u64,
        top: places.into_iter().take(TOP).collect(),
    })
}

pub fn claims(seen: &Seen) -> Vec<Claim> {
    vec![
        claim(
            "ranks-agree",
            "A sorted set ranks as a sort by score and then by member does, both descending",
            "members of one score are ranked in the order of their arrival",
        )
        .witness(seen.tied > 0, format!("{} of {} members share their score", seen.tied, seen.members))
        .equal(format!("{} ranks differ", seen.differ), "0 ranks differ".to_owned()),
    ]
}

pub fn figure(seen: &Seen) -> Figure {
    let row = |place: &Place| {
        [
            place.by_redis.to_string(),
            place.by_client.to_string(),
            place.member.clone(),
            place.score.to_string(),
        ]
        .to_vec()
    };
    let table = Table {
        columns: ["ZREVRANK", "own sort", "member", "score"].map(str::to_owned).to_vec(),
        rows: seen.top.iter().map(row).collect(),
    };
    let caption = format!(
        "The top of {} members after {CHANGES} changes. No sort was asked for: the set is in order after every \
         change. Of equal scores the member that is last in the order of bytes comes first.",
        seen.members
    );
    Figure::new("leaderboard", caption, table)
}

impl Seen {
    pub fn as_claimed() -> Self {
        Self { members: 200, tied: 180, differ: 0, top: Vec::new() }
    }
}
