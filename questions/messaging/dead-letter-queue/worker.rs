//! The worker: takes a delivery, tries the shop, and answers the server.

use super::orders::{STREAM, SUBJECT, Shop};
use super::{Count, Order};
use crate::prelude::*;
use async_nats::HeaderMap;
use async_nats::jetstream::consumer::pull;
use backlab_parts::nats::{Client, Consumer, Delivery};
use std::sync::PoisonError;

/// Within which a delivery must be answered, else the server delivers again.
const ACK_WAIT: Duration = Duration::from_secs(2);

/// What happens to a message that keeps failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It is delivered until it succeeds.
    Forever,
    /// The server stops delivering it, and that is all.
    MaxDeliver,
    /// The worker puts it aside at its last delivery. The server must go on delivering: a worker that dies on the last
    /// delivery needs a successor who gets the message.
    DeadLetter,
}

impl Policy {
    /// The consumer's name, also the worker's lane in the trace.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forever => "no-limit",
            Self::MaxDeliver => "max-deliver",
            Self::DeadLetter => "dead-letter",
        }
    }

    pub fn consumer(self, in_flight: u64, max_deliveries: u64) -> pull::Config {
        pull::Config {
            durable_name: Some(self.name().into()),
            max_ack_pending: in_flight.cast_signed(),
            max_deliver: if self == Self::MaxDeliver { max_deliveries.cast_signed() } else { -1 },
            ack_wait: if self == Self::DeadLetter { ACK_WAIT } else { Duration::ZERO },
            filter_subject: SUBJECT.into(),
            ..pull::Config::default()
        }
    }
}

pub struct Worker<'a> {
    pub client: Client,
    pub consumer: Consumer,
    pub shop: &'a Shop,
    /// Deliveries after which it puts a message aside; `None` to leave that to the server.
    pub limit: Option<u64>,
    pub order: Order,
    pub counted_by: Count,
    /// Tries by sequence number, for those who count for themselves.
    pub tries: Mutex<BTreeMap<u64, u64>>,
    /// `None` unless it is a process of its own.
    pub process: Option<Stop>,
}

/// Where a worker with a process of its own stops and waits to be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Between the two steps of putting a message aside.
    Between,
    Never,
}

/// What a worker did with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Failed,
    PutAside,
}

impl Worker<'_> {
    pub async fn handle(&self, delivery: &Delivery) -> Result<Outcome> {
        let tries = self.count(delivery);
        // One more than the limit: the last try has never ended, so its worker must have died of it.
        if self.limit.is_some_and(|limit| tries > limit) {
            self.put_aside(delivery, "no worker survived the last try").await?;
            return Ok(Outcome::PutAside);
        }
        match self.shop.handle(delivery.body(), delivery.count) {
            Ok(()) => {
                delivery.ack().await?;
                Ok(Outcome::Done)
            }
            Err(error) => {
                self.tell(format_args!("tried: {error}"));
                if self.limit == Some(tries) {
                    self.put_aside(delivery, &error).await?;
                    return Ok(Outcome::PutAside);
                }
                delivery.nak(None).await?;
                Ok(Outcome::Failed)
            }
        }
    }

    /// How often the message has been tried, this time included.
    fn count(&self, delivery: &Delivery) -> u64 {
        match self.counted_by {
            Count::Server => delivery.count,
            Count::Worker => {
                let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
                let tries = tries.entry(delivery.sequence).or_default();
                *tries += 1;
                *tries
            }
        }
    }

    /// Publishes the message as a dead letter, with all that a redrive needs, and terminates it.
    async fn put_aside(&self, delivery: &Delivery, error: &str) -> Result<()> {
        let mut headers = HeaderMap::new();
        headers.insert("Origin-Subject", delivery.subject());
        headers.insert("Origin-Stream", STREAM);
        headers.insert("Origin-Sequence", delivery.sequence.to_string());
        headers.insert("Deliveries", delivery.count.to_string());
        headers.insert("Error", error);
        let subject = format!("dead.{}", delivery.subject());
        let letter = self.client.publish_with(&subject, headers, delivery.body().clone());
        match self.order {
            Order::LetterFirst => {
                letter.await?;
                self.between().await;
                delivery.term().await?;
            }
            Order::TerminateFirst => {
                delivery.term().await?;
                self.between().await;
                letter.await?;
            }
        }
        Ok(())
    }

    async fn between(&self) {
        if self.process == Some(Stop::Between) {
            self.tell("between");
            role::hear().await;
        }
    }

    fn tell(&self, what: impl std::fmt::Display) {
        if self.process.is_some() {
            role::say(what);
        }
    }
}
