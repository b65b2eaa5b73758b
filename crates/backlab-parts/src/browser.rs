//! A real browser: headless Chromium, spoken to over its DevTools protocol.
//!
//! It has a profile of its own in the run's directory, and loads nothing but what a page of the run's asks for.

use crate::{Lab, Process, Spec, inventory};
use anyhow::{Context, Result, anyhow, bail};
use futures::{SinkExt, StreamExt};
use nix::sys::signal::Signal;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Time that it has to start, on a busy machine.
const START: Duration = Duration::from_secs(30);
/// Time that it has to answer a command, and a page's script to come to its end.
const ANSWER: Duration = Duration::from_secs(15);

/// A running Chromium; killed with all its processes when dropped.
#[derive(Debug)]
pub struct Browser {
    _process: Process,
    talk: Arc<Mutex<Talk>>,
}

/// A page in a tab of its own.
#[derive(Debug)]
pub struct Page {
    talk: Arc<Mutex<Talk>>,
    session: String,
}

#[derive(Debug)]
struct Talk {
    stream: WebSocketStream<TcpStream>,
    last: u64,
}

impl Lab {
    /// Starts Chromium under a name that the trace shows.
    ///
    /// # Errors
    /// [`Missing`](crate::Missing) where there is none; or it doesn't listen within 30 seconds.
    pub async fn browser(&self, name: &str) -> Result<Browser> {
        let version = inventory::CHROMIUM.version()?;
        self.used(inventory::CHROMIUM.name, version);
        let program = inventory::chromium().map_err(anyhow::Error::msg)?;
        let profile = self.dir().join(format!("{name}-profile"));
        let mut spec = Spec::new(program)
            .arg("--headless")
            .arg("--remote-debugging-port=0")
            .arg(format!("--user-data-dir={}", profile.display()))
            .args(["--no-first-run", "--no-default-browser-check", "--disable-gpu", "--disable-extensions"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--password-store=basic", "--no-proxy-server"])
            .arg("about:blank")
            .stop_signal(Signal::SIGKILL);
        if nix::unistd::geteuid().is_root() {
            // Chromium's sandbox refuses to be set up by root.
            spec = spec.arg("--no-sandbox");
        }
        let process = self.process(name, spec).await?;
        let address =
            process.line(START, |line| line.strip_prefix("DevTools listening on ").map(str::to_owned));
        let address = address.await.context("Chromium says where it listens")?;
        let host = address.trim_start_matches("ws://").split('/').next().unwrap_or_default().to_owned();
        let stream =
            TcpStream::connect(&host).await.with_context(|| format!("connect to Chromium at {host}"))?;
        let (stream, _) = tokio_tungstenite::client_async(address, stream).await?;
        Ok(Browser { _process: process, talk: Arc::new(Mutex::new(Talk { stream, last: 0 })) })
    }
}

impl Browser {
    /// Opens a page, and waits until it has loaded.
    ///
    /// # Errors
    /// It doesn't load within fifteen seconds.
    pub async fn open(&self, url: &str) -> Result<Page> {
        let mut talk = self.talk.lock().await;
        let target = talk.ask("Target.createTarget", json!({"url": "about:blank"}), None).await?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = talk.ask("Target.attachToTarget", attach, None).await?;
        let session = attached["sessionId"].as_str().context("Chromium gives a session")?.to_owned();
        talk.ask("Page.enable", json!({}), Some(&session)).await?;
        let navigated = talk.ask("Page.navigate", json!({"url": url}), Some(&session)).await?;
        if let Some(error) = navigated.get("errorText") {
            bail!("Chromium can't open {url}: {error}");
        }
        let loaded =
            |event: &Value| event["method"] == "Page.loadEventFired" && event["sessionId"] == *session;
        talk.until(loaded).await.with_context(|| format!("load {url}"))?;
        drop(talk);
        Ok(Page { talk: self.talk.clone(), session })
    }
}

impl Page {
    /// Evaluates an expression of JavaScript in the page, awaits it where it is a promise, and returns its value.
    ///
    /// # Errors
    /// It throws, its value isn't such a `T`, or it takes more than fifteen seconds.
    pub async fn evaluate<T: DeserializeOwned>(&self, expression: &str) -> Result<T> {
        let ask = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut answer = self.talk.lock().await.ask("Runtime.evaluate", ask, Some(&self.session)).await?;
        if let Some(thrown) = answer.get("exceptionDetails") {
            bail!("the page's script threw: {thrown}");
        }
        Ok(serde_json::from_value(answer["result"]["value"].take())?)
    }
}

impl Talk {
    /// Sends a command and waits for its answer; events that come before it are dropped.
    async fn ask(&mut self, method: &str, params: Value, session: Option<&str>) -> Result<Value> {
        self.last += 1;
        let id = self.last;
        let mut command = json!({"id": id, "method": method, "params": params});
        if let Some(session) = session {
            command["sessionId"] = session.into();
        }
        self.stream.send(Message::text(command.to_string())).await?;
        let mut answer = self.until(|it| it["id"] == id).await.with_context(|| method.to_owned())?;
        match answer.get("error") {
            Some(error) => Err(anyhow!("Chromium refuses {method}: {error}")),
            None => Ok(answer["result"].take()),
        }
    }

    async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let reads = async {
            while let Some(message) = self.stream.next().await {
                let Message::Text(text) = message? else { continue };
                let said: Value = serde_json::from_str(&text)?;
                if wanted(&said) {
                    return Ok(said);
                }
            }
            bail!("Chromium has closed the connection")
        };
        timeout(ANSWER, reads).await.with_context(|| format!("no answer within {ANSWER:?}"))?
    }
}
