//! A client for each way of carrying the prices. Each notes the numbers that it gets, and reconnects when it may.

use crate::prelude::*;
use backlab_parts::websocket::Message;
use std::net::SocketAddr;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long anything is waited for.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// How a client hears of prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Transport {
    Polling,
    LongPolling,
    Events,
    Socket,
    /// A WebSocket whose client doesn't say where it was.
    NaiveSocket,
}

impl Transport {
    pub const ALL: [Self; 5] =
        [Self::Polling, Self::LongPolling, Self::Events, Self::Socket, Self::NaiveSocket];
    /// Those over which the server speaks when it has something to say.
    pub const PUSHED: [Self; 4] = [Self::LongPolling, Self::Events, Self::Socket, Self::NaiveSocket];

    pub fn name(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::LongPolling => "long polling",
            Self::Events => "server-sent events",
            Self::Socket => "WebSocket",
            Self::NaiveSocket => "WebSocket, no place",
        }
    }
}

/// What a client has got.
#[derive(Debug, Clone, Default)]
pub struct Inbox {
    /// Numbers in the order of their arrival.
    pub numbers: Vec<usize>,
    /// How often it was connected, and how often it lost the connection.
    pub connected: u64,
    pub lost: u64,
}

/// A client that runs by itself; it ends when it is dropped.
pub struct Listening {
    pub inbox: watch::Receiver<Inbox>,
    may_connect: watch::Sender<u64>,
    task: JoinHandle<Result<()>>,
}

impl Listening {
    pub fn begin(lab: &Lab, transport: Transport, to: SocketAddr) -> Self {
        let (notes, inbox) = watch::channel(Inbox::default());
        let may_connect = watch::Sender::new(1);
        let ear = Ear { lab: lab.clone(), to, notes, may_connect: may_connect.subscribe() };
        let task = tokio::spawn(async move {
            match transport {
                Transport::Polling => bail!("polling is done by hand"),
                Transport::LongPolling => ear.long_poll().await,
                Transport::Events => ear.events().await,
                Transport::Socket => ear.socket(true).await,
                Transport::NaiveSocket => ear.socket(false).await,
            }
        });
        Self { inbox, may_connect, task }
    }

    /// Lets it connect once more.
    pub fn reconnect(&self) {
        self.may_connect.send_modify(|times| *times += 1);
    }

    /// Waits until its inbox is as wanted.
    pub async fn until(&mut self, what: &str, wanted: impl FnMut(&Inbox) -> bool) -> Result<()> {
        let waited = tokio::time::timeout(DEADLINE, self.inbox.wait_for(wanted)).await;
        waited
            .with_context(|| format!("{what}: not within {DEADLINE:?}"))?
            .with_context(|| what.to_owned())?;
        Ok(())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Ear {
    lab: Lab,
    to: SocketAddr,
    notes: watch::Sender<Inbox>,
    may_connect: watch::Receiver<u64>,
}

impl Ear {
    async fn long_poll(mut self) -> Result<()> {
        let client = self.lab.client(Transport::LongPolling.name(), self.to).deadline(3 * DEADLINE);
        loop {
            self.may_connect().await?;
            while let Ok(reply) = client.get(format!("/long-poll?since={}", self.last())).await {
                for price in reply.json::<Vec<String>>()? {
                    self.note(&price)?;
                }
            }
            self.lost();
        }
    }

    async fn events(mut self) -> Result<()> {
        let mut source = self.lab.event_source(Transport::Events.name(), self.to, "/events");
        loop {
            self.may_connect().await?;
            source.connect().await?;
            self.connected();
            while let Some(event) = source.next().await {
                self.note(&event.data)?;
            }
            self.lost();
        }
    }

    async fn socket(mut self, says_place: bool) -> Result<()> {
        let (name, fresh) = match says_place {
            true => (Transport::Socket.name(), "/socket?since=0"),
            false => (Transport::NaiveSocket.name(), "/socket"),
        };
        loop {
            self.may_connect().await?;
            let target = match self.last() {
                last if says_place && last > 0 => format!("/socket?since={last}"),
                _ => fresh.to_owned(),
            };
            let mut socket = self.lab.websocket(name, self.to, &target, &[]).await??;
            self.connected();
            while let Some(message) = socket.receive().await {
                if let Message::Text(price) = message {
                    self.note(&price)?;
                }
            }
            self.lost();
        }
    }

    /// Waits until it may connect once more than it did.
    async fn may_connect(&mut self) -> Result<()> {
        let lost = self.notes.borrow().lost;
        self.may_connect.wait_for(|times| *times > lost).await?;
        Ok(())
    }

    fn last(&self) -> usize {
        self.notes.borrow().numbers.last().copied().unwrap_or(0)
    }

    fn note(&self, price: &str) -> Result<()> {
        let number = number(price)?;
        self.notes.send_modify(|inbox| inbox.numbers.push(number));
        Ok(())
    }

    fn connected(&self) {
        self.notes.send_modify(|inbox| inbox.connected += 1);
    }

    fn lost(&self) {
        self.notes.send_modify(|inbox| inbox.lost += 1);
    }
}

/// The number with which a price begins.
pub fn number(price: &str) -> Result<usize> {
    let digits = price.get(..5).with_context(|| format!("`{price}` is no price"))?;
    Ok(digits.parse()?)
}
