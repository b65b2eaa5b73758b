//! Programs on Node.js: a script of the experiment's, run by the real `node`, that reports in lines of JSON.
//!
//! A script says what it has to say as an object with one key a line, `{"port":40123}`; [`Node::told`] waits for a key.
//! A short script ends by itself, and its last line is its result: [`Lab::node_result`].

use crate::{Exit, Lab, Process, Spec, inventory};
use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

/// Time that a program has to report its first key, and a short one to come to its end. An empty script takes a tenth
/// of a second of an idle core.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// Programs that [`Lab::node_results`] runs at a time.
const AT_A_TIME: usize = 2;
/// The old generation of a program's heap, in MiB (`--max-old-space-size`), unless said otherwise.
const HEAP_MB: u64 = 256;

/// How Node.js reads a file: its extension decides, and with it how the top level runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleKind {
    CommonJs,
    EsModule,
}

impl ModuleKind {
    /// The extension that settles the kind, whatever `package.json` says.
    pub fn extension(self) -> &'static str {
        match self {
            Self::CommonJs => "cjs",
            Self::EsModule => "mjs",
        }
    }
}

/// A program's file and how it is to be started. Cheap to clone; a clone may differ in arguments and environment.
#[derive(Debug, Clone)]
pub struct Script {
    file: PathBuf,
    args: Vec<String>,
    env: Vec<(&'static str, String)>,
    heap_mb: u64,
}

impl Script {
    /// An argument, from `process.argv[2]` on.
    pub fn arg(mut self, arg: impl Display) -> Self {
        self.args.push(arg.to_string());
        self
    }

    /// An environment variable, such as `UV_THREADPOOL_SIZE`.
    pub fn env(mut self, name: &'static str, value: impl Display) -> Self {
        self.env.push((name, value.to_string()));
        self
    }

    /// How far the heap's old generation may grow, in MiB, before the program ends with "heap out of memory". Address
    /// space is not limited: Node.js reserves gigabytes that it never touches.
    pub fn heap_mb(mut self, limit: u64) -> Self {
        self.heap_mb = limit;
        self
    }

    fn spec(&self, node: PathBuf) -> Spec {
        let spec = Spec::new(node)
            .arg(format!("--max-old-space-size={}", self.heap_mb))
            .arg(&self.file)
            .args(&self.args)
            // The reader's own options and colours would change what the program does and says.
            .env("NODE_OPTIONS", "")
            .env("NODE_NO_WARNINGS", "1")
            .env("NO_COLOR", "1");
        self.env.iter().fold(spec, |spec, (name, value)| spec.env(name, value))
    }
}

/// A running program; killed when dropped.
#[derive(Debug)]
pub struct Node {
    pub process: Process,
}

impl Lab {
    /// Writes a script into the run's directory as `name.cjs` or `name.mjs`.
    ///
    /// # Errors
    /// The file is there already, or can't be written.
    pub fn node_script(&self, name: &str, kind: ModuleKind, source: &str) -> Result<Script> {
        use std::io::Write;
        let file = self.dir().join(format!("{name}.{}", kind.extension()));
        std::fs::File::create_new(&file)
            .and_then(|mut it| it.write_all(source.as_bytes()))
            .with_context(|| format!("write the script {}", file.display()))?;
        Ok(Script { file, args: Vec::new(), env: Vec::new(), heap_mb: HEAP_MB })
    }

    /// Starts a program under a name that the trace shows.
    ///
    /// # Errors
    /// [`Missing`](crate::Missing) where there is no Node.js 20 or newer; otherwise as [`Lab::process`].
    pub async fn node(&self, name: &str, script: &Script) -> Result<Node> {
        let version = inventory::NODE.version()?;
        self.used(inventory::NODE.name, version);
        let program = inventory::on_path("node").map_err(anyhow::Error::msg)?;
        Ok(Node { process: self.process(name, script.spec(program)).await? })
    }

    /// Runs a short program to its end and reads its last line of output as JSON.
    ///
    /// # Errors
    /// It doesn't end within [`DEADLINE`], ends with another code than 0, or its last line isn't such a `T`. The error
    /// holds what it said.
    pub async fn node_result<T: DeserializeOwned>(&self, name: &str, script: &Script) -> Result<T> {
        let node = self.node(name, script).await?;
        let exit = node.process.wait(DEADLINE).await?;
        let said = node.process.lines();
        let newest = || said.iter().rev().take(12).rev().cloned().collect::<Vec<_>>().join("\n");
        ensure!(exit == Exit::Code(0), "{name} ended with {}; it said:\n{}", exit.shell_code(), newest());
        let last = said.last().with_context(|| format!("{name} ended without a result"))?;
        serde_json::from_str(last).with_context(|| format!("the result of {name}, `{last}`"))
    }

    /// Runs a short program a number of times, each in a process of its own, two at a time; results in the order of
    /// the starts.
    ///
    /// # Errors
    /// As [`Lab::node_result`], of the first that fails.
    pub async fn node_results<T: DeserializeOwned>(
        &self,
        name: &str,
        script: &Script,
        times: usize,
    ) -> Result<Vec<T>> {
        let runs = (1..=times).map(|_| self.node_result(name, script));
        stream::iter(runs).buffered(AT_A_TIME).try_collect().await
    }
}

/// The clock of `process.hrtime()` (`CLOCK_MONOTONIC`, clock_gettime(2)) in microseconds, to hold a program's moments
/// against one's own.
pub fn hrtime_us() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map(Duration::from);
    // The clock is there on every Linux.
    now.map_or(0, |it| u64::try_from(it.as_micros()).unwrap_or(u64::MAX))
}

impl Node {
    /// Waits until the program says `key`, and returns what it says about it. Keys that it says more than once are
    /// found at their oldest among its newest 200 lines.
    ///
    /// # Errors
    /// The program ends or `deadline` passes without it, or the value isn't such a `T`.
    pub async fn told<T: DeserializeOwned>(&self, key: &str, deadline: Duration) -> Result<T> {
        let value = self.process.line(deadline, |line| {
            let mut said: Value = serde_json::from_str(line).ok()?;
            said.get_mut(key).map(Value::take)
        });
        let value = value.await.with_context(|| format!("wait for `{key}` from {}", self.process.name()))?;
        serde_json::from_value(value).with_context(|| format!("`{key}` from {}", self.process.name()))
    }

    /// Writes one line of JSON to the program's standard input.
    pub async fn tell(&mut self, what: &Value) -> Result<()> {
        self.process.say(&what.to_string()).await
    }

    /// Closes its standard input, which tells a well-made program to end, and waits until it has.
    ///
    /// # Errors
    /// It ends with another code than 0, or not within 5 seconds.
    pub async fn finish(&mut self) -> Result<()> {
        self.process.close_stdin();
        match self.process.wait(Duration::from_secs(5)).await? {
            Exit::Code(0) => Ok(()),
            exit => bail!("{} ended with {}", self.process.name(), exit.shell_code()),
        }
    }
}
