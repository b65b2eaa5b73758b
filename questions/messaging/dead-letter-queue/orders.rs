//! What lies on the belt, and the shop that handles it.

use super::{Params, Twice};
use crate::prelude::*;
use backlab_parts::nats::Nats;
use std::sync::PoisonError;

pub const STREAM: &str = "orders";
pub const SUBJECT: &str = "orders.new";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Good,
    /// Fails on its first delivery, and succeeds on the second.
    Slow,
    /// Fails on every delivery.
    Poison,
    /// Ends the process that handles it.
    Explosive,
}

/// An order as it was published.
#[derive(Debug, Clone)]
pub struct Published {
    /// Its sequence number in the stream.
    pub sequence: u64,
    pub kind: Kind,
    pub body: String,
}

/// What the body of a message says.
#[derive(Debug, Deserialize)]
pub struct Body {
    pub order: u64,
    pub article: String,
}

impl Body {
    pub fn of(order: u64, kind: Kind) -> String {
        let word = match kind {
            Kind::Good => "book",
            Kind::Slow => "rarity",
            Kind::Poison => "unpriced",
            Kind::Explosive => "explosive",
        };
        format!(r#"{{"order":{order},"article":"{word}-{order}"}}"#)
    }
}

/// Publishes the orders: poison from the fourth on, two of three; slow ones at the second place and at the last.
pub async fn publish(lab: &Lab, nats: &Nats, p: &Params) -> Result<Vec<Published>> {
    lab.step(format_args!("{} orders are published, {} of them have no price", p.messages, p.poison));
    let publisher = nats.client("publisher").await?;
    publisher.stream(STREAM, &["orders.>"]).await?;
    let poison: BTreeSet<_> = (0..p.poison).map(|n| 4 + n * 3 / 2).collect();
    let mut published = Vec::new();
    for order in 1..=p.messages {
        let kind = match order {
            _ if poison.contains(&order) => Kind::Poison,
            _ if order == 2 || order == p.messages => Kind::Slow,
            _ => Kind::Good,
        };
        let body = Body::of(order, kind);
        let sequence = publisher.publish(SUBJECT, body.clone()).await?;
        published.push(Published { sequence, kind, body });
    }
    Ok(published)
}

/// Looks up the price of an order and ships it.
#[derive(Debug)]
pub struct Shop {
    before: Twice,
    priced: bool,
    /// Whether the process is the worker's own, so that it may die.
    mortal: bool,
    shipped: Mutex<BTreeMap<u64, u64>>,
}

impl Shop {
    pub fn new(before: Twice) -> Self {
        Self { before, priced: false, mortal: false, shipped: Mutex::default() }
    }

    /// The shop of a worker that is a process of its own.
    pub fn mortal() -> Self {
        Self { mortal: true, ..Self::new(Twice::Once) }
    }

    /// Gives every article a price.
    pub fn fix(&mut self) {
        self.priced = true;
    }

    /// Handles an order on its `delivery`th delivery.
    ///
    /// # Errors
    /// It has no price, or the price list is slow. The shop can't tell which of these will pass.
    pub fn handle(&self, body: &[u8], delivery: u64) -> std::result::Result<(), String> {
        let Body { order, article } = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        if article.starts_with("explosive") && self.mortal {
            std::process::abort();
        }
        if article.starts_with("rarity") && delivery == 1 {
            return Err(format!("price list: {article} timed out"));
        }
        if article.starts_with("unpriced") && !self.priced {
            return Err(format!("price list: 500 for {article}"));
        }
        let mut shipped = self.shipped.lock().unwrap_or_else(PoisonError::into_inner);
        let times = shipped.entry(order).or_default();
        if *times == 0 || self.before == Twice::Again {
            *times += 1;
        }
        Ok(())
    }

    /// How often each order was shipped.
    pub fn shipped(&self) -> BTreeMap<u64, u64> {
        self.shipped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
