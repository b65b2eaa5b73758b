//! A private NATS server with JetStream, and clients whose messages appear in the trace.
//!
//! The wrappers here are thin: [`Client::context`] is the `async_nats` context for whatever they don't cover. Debian 12
//! has nats-server 2.9, which ignores what it doesn't know: a consumer's `filter_subjects`, `metadata` or `pause_until`
//! (2.10 and later) have no effect there, and no error says so.

use crate::{Exit, Lab, Process, Spec, Trace, inventory};
use anyhow::{Context as _, Result, anyhow, ensure};
use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::{self, AckKind, message::PublishMessage, stream};
use async_nats::{HeaderMap, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use std::path::PathBuf;
use std::time::Duration;

/// How long a server may take to start, or to load what it had stored.
const START: Duration = Duration::from_secs(10);
/// How long a request to the server may take.
const REPLY: Duration = Duration::from_secs(10);
/// Messages that a stream may hold, so that it has a bound.
const STREAM_MESSAGES: i64 = 200_000;
/// Characters of a message's body that the trace shows.
const SHOWN: usize = 40;

/// A running server, which ends with its run. Streams are kept in the run's directory.
#[derive(Debug)]
pub struct Nats {
    lab: Lab,
    name: String,
    dir: PathBuf,
    port: u16,
    process: Process,
}

impl Lab {
    /// Starts a NATS server with JetStream and without streams; `name` is its lane in the trace.
    ///
    /// # Errors
    /// [`Missing`](crate::Missing), or the server doesn't start.
    pub async fn nats(&self, name: &str) -> Result<Nats> {
        self.used(inventory::NATS.name, inventory::NATS.version()?);
        let dir = self.dir().join(name);
        std::fs::create_dir(&dir).with_context(|| format!("make {} for {name}", dir.display()))?;
        let settings =
            "host: 127.0.0.1\njetstream { store_dir: \"store\", max_mem: 64MB, max_file: 256MB }\n";
        std::fs::write(dir.join("nats.conf"), settings)?;
        let any_port = "-1";
        let (process, port) = start(self, name, &dir, any_port).await?;
        Ok(Nats { lab: self.clone(), name: name.into(), dir, port, process })
    }
}

/// The server's process, and the port that it got.
async fn start(lab: &Lab, name: &str, dir: &PathBuf, port: &str) -> Result<(Process, u16)> {
    let spec = Spec::new("nats-server").args(["--config", "nats.conf", "--port", port]).dir(dir);
    let process = lab.process(name, spec).await?;
    let listens = |line: &str| line.split_once("client connections on 127.0.0.1:")?.1.trim().parse().ok();
    let port = process.line(START, listens).await?;
    process.line(START, |line| line.ends_with("Server is ready").then_some(())).await?;
    Ok((process, port))
}

impl Nats {
    /// Connects a client; `name` is its lane in the trace.
    pub async fn client(&self, name: &str) -> Result<Client> {
        Client::connect(&self.url(), name, &self.name, self.lab.trace()).await
    }

    /// Where clients of other kinds, and those in other processes, connect.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// `SIGKILL`. Clients try to connect again until it has been restarted.
    pub async fn kill(&self) -> Result<Exit> {
        self.process.kill().await
    }

    /// Starts it again on the same port and with the streams that it had stored.
    ///
    /// # Errors
    /// It still runs, or it doesn't start.
    pub async fn restart(&mut self) -> Result<()> {
        ensure!(self.process.exit().is_some(), "{} still runs: kill it before the restart", self.name);
        (self.process, self.port) = start(&self.lab, &self.name, &self.dir, &self.port.to_string()).await?;
        Ok(())
    }

    /// The server's process, for signals and for its memory.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// A connection whose publications, deliveries and acknowledgements appear in the trace. Clones share it.
#[derive(Debug, Clone)]
pub struct Client {
    name: String,
    server: String,
    trace: Trace,
    context: jetstream::Context,
}

impl Client {
    /// Connects to a server that another process started, as the processes of a [`Role`](crate::Role) do.
    pub async fn connect(url: &str, name: &str, server: &str, trace: &Trace) -> Result<Self> {
        let options = async_nats::ConnectOptions::new()
            .name(name)
            .connection_timeout(Duration::from_secs(5))
            .request_timeout(Some(REPLY));
        let client =
            options.connect(url).await.with_context(|| format!("{name} connects to {server} at {url}"))?;
        let context = jetstream::new(client);
        Ok(Self { name: name.into(), server: server.into(), trace: trace.clone(), context })
    }

    /// Makes a stream that stores what is published to the subjects.
    pub async fn stream(&self, name: &str, subjects: &[&str]) -> Result<stream::Stream> {
        self.stream_with(stream::Config {
            name: name.into(),
            subjects: subjects.iter().map(|&it| it.into()).collect(),
            ..Default::default()
        })
        .await
    }

    /// As [`Client::stream`], with all of JetStream's settings.
    pub async fn stream_with(&self, mut config: stream::Config) -> Result<stream::Stream> {
        if config.max_messages == 0 {
            config.max_messages = STREAM_MESSAGES;
        }
        let what = format!("stream {} on {}", config.name, config.subjects.join(", "));
        self.asks(&what);
        self.context.create_stream(config).await.with_context(|| format!("make the {what}"))
    }

    /// Publishes and waits until the message is stored; gives its sequence number in the stream.
    ///
    /// # Errors
    /// No stream takes the subject, or the server refuses, or it doesn't answer in time.
    pub async fn publish(&self, subject: &str, body: impl Into<Bytes>) -> Result<u64> {
        Ok(self.publish_with(subject, HeaderMap::new(), body).await?.sequence)
    }

    /// As [`Client::publish`], with headers. With a header `Nats-Msg-Id` the server stores a message once however often
    /// it is published (within the stream's duplicate window, 2 minutes unless set), and the answer says so.
    pub async fn publish_with(
        &self,
        subject: &str,
        headers: HeaderMap,
        body: impl Into<Bytes>,
    ) -> Result<jetstream::publish::PublishAck> {
        let body = body.into();
        self.asks(format_args!("publish {subject} {}", cut(&body)));
        let message = PublishMessage::build().headers(headers).payload(body);
        let stored = match self.context.send_publish(subject.to_owned(), message).await {
            Ok(stored) => stored.await,
            Err(error) => Err(error),
        };
        match &stored {
            Ok(ack) if ack.duplicate => {
                self.gets(format_args!("already stored, #{} of {}", ack.sequence, ack.stream));
            }
            Ok(ack) => self.gets(format_args!("stored, #{} of {}", ack.sequence, ack.stream)),
            Err(error) => self.trace.refused(&self.server, &self.name, error),
        }
        stored.with_context(|| format!("{} publishes to {subject}", self.name))
    }

    /// Makes a pull consumer of a stream, or finds the one that is there under the same name and with the same settings.
    pub async fn consumer(&self, stream: &str, config: pull::Config) -> Result<Consumer> {
        let name = config.durable_name.as_ref().or(config.name.as_ref()).cloned().unwrap_or_default();
        let what = format!("consumer {name} of {stream}");
        self.asks(&what);
        let pull = self.context.create_consumer_on_stream(config, stream).await;
        Ok(Consumer { client: self.clone(), pull: pull.with_context(|| format!("make the {what}"))? })
    }

    /// Subscribes without JetStream: gets what is published from now on, and only while it is connected. For the
    /// server's advisories subscribe to `$JS.EVENT.ADVISORY.>`.
    pub async fn subscribe(&self, subject: &str) -> Result<Subscription> {
        self.asks(format_args!("subscribe {subject}"));
        let client = self.context.client();
        let messages = client.subscribe(subject.to_owned()).await?;
        // Or what another client publishes next might overtake it.
        client.flush().await?;
        Ok(Subscription { client: self.clone(), messages })
    }

    /// The `async_nats` context, whose messages don't appear in the trace.
    pub fn context(&self) -> &jetstream::Context {
        &self.context
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    fn asks(&self, what: impl std::fmt::Display) {
        self.trace.message(&self.name, &self.server, what);
    }

    fn gets(&self, what: impl std::fmt::Display) {
        self.trace.message(&self.server, &self.name, what);
    }
}

/// Messages of a subject as they are published.
#[derive(Debug)]
pub struct Subscription {
    client: Client,
    messages: Subscriber,
}

impl Subscription {
    /// The next message, or `None` when none comes within `wait`.
    pub async fn next(&mut self, wait: Duration) -> Option<async_nats::Message> {
        let message = tokio::time::timeout(wait, self.messages.next()).await.ok()??;
        self.client.gets(format_args!("{} {}", message.subject, cut(&message.payload)));
        Some(message)
    }
}

/// A pull consumer: the server counts its deliveries and keeps its place.
#[derive(Debug, Clone)]
pub struct Consumer {
    client: Client,
    pull: PullConsumer,
}

impl Consumer {
    /// Asks for one message; `None` when the server has none to deliver within `wait`.
    pub async fn next(&self, wait: Duration) -> Result<Option<Delivery>> {
        Ok(self.next_many(1, wait).await?.pop())
    }

    /// Asks for up to `most` messages: those that the server delivers within `wait`, at once when it has `most`.
    pub async fn next_many(&self, most: usize, wait: Duration) -> Result<Vec<Delivery>> {
        let asked = self.pull.batch().max_messages(most).expires(wait).messages().await?;
        // The server ends the request when `wait` is over; the second limit is for a server that is gone.
        let got: Vec<_> = tokio::time::timeout(wait + REPLY, asked.collect())
            .await
            .with_context(|| format!("{} doesn't answer {}", self.client.server, self.client.name))?;
        got.into_iter()
            .map(|message| Delivery::new(&self.client, message.map_err(|it| anyhow!(it))?))
            .collect()
    }

    /// What the server knows of this consumer: pending and redelivered messages, its settings.
    pub async fn info(&self) -> Result<jetstream::consumer::Info> {
        Ok(self.pull.get_info().await?)
    }
}

/// A message as it was delivered; the server waits for [`ack`](Self::ack), [`nak`](Self::nak) or
/// [`term`](Self::term), and delivers it again when none comes within the consumer's `ack_wait`.
#[derive(Debug)]
pub struct Delivery {
    /// How often it has been delivered, this time included, by the server's count.
    pub count: u64,
    /// Its sequence number in the stream.
    pub sequence: u64,
    client: Client,
    message: jetstream::Message,
}

impl Delivery {
    fn new(client: &Client, message: jetstream::Message) -> Result<Self> {
        let (count, sequence) = {
            let info = message.info().map_err(|it| anyhow!(it))?;
            (info.delivered.unsigned_abs(), info.stream_sequence)
        };
        let body = cut(&message.payload);
        let times = if count > 1 { format!(", delivery {count}") } else { String::new() };
        client.gets(format_args!("{} #{sequence}{times} {body}", message.subject));
        Ok(Self { count, sequence, client: client.clone(), message })
    }

    pub fn subject(&self) -> &str {
        &self.message.subject
    }

    pub fn body(&self) -> &Bytes {
        &self.message.payload
    }

    pub fn headers(&self) -> Option<&HeaderMap> {
        self.message.headers.as_ref()
    }

    /// It is done.
    ///
    /// # Errors
    /// The server doesn't confirm. It may have heard all the same.
    pub async fn ack(&self) -> Result<()> {
        self.answer(AckKind::Ack, "ack").await
    }

    /// It failed: deliver it again, at once or after `delay`.
    ///
    /// # Errors
    /// As [`Delivery::ack`].
    pub async fn nak(&self, delay: Option<Duration>) -> Result<()> {
        self.answer(AckKind::Nak(delay), "nak").await
    }

    /// Never deliver it again, although it isn't done.
    ///
    /// # Errors
    /// As [`Delivery::ack`].
    pub async fn term(&self) -> Result<()> {
        self.answer(AckKind::Term, "term").await
    }

    async fn answer(&self, kind: AckKind, word: &str) -> Result<()> {
        self.client.asks(format_args!("{word} #{}", self.sequence));
        let confirmed = self.message.double_ack_with(kind).await;
        confirmed.map_err(|it| anyhow!(it)).with_context(|| format!("{word} of message #{}", self.sequence))
    }
}

fn cut(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}
