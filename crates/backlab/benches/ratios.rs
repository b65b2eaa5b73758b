//! `make bench`: what matters about speed, each figure as a ratio against its limit or its rival, taken in one run.
//!
//! Absolute times say little on a busy machine; a ratio of two things measured in turn says more. The server under
//! test is pinned to one core and the load comes from another; runs alternate, and medians are compared.

use anyhow::{Context, Result, ensure};
use backlab_parts::load::Load;
use backlab_parts::{Lab, Trace};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BACKLAB: &str = env!("CARGO_BIN_EXE_backlab");
const PAGE: &str = "/q/7-http-methods";
const ROUNDS: usize = 5;
const SECONDS: u64 = 2;

fn main() -> Result<()> {
    let home = tempfile::tempdir()?;
    let runtime = tokio::runtime::Runtime::new()?;
    println!("{:44} {:>12} {:>12} {:>8}  aim", "", "ours", "limit", "ratio");
    page_against_nginx(home.path())?;
    first_answer(home.path())?;
    runtime.block_on(load_against_wrk(home.path()))?;
    runtime.block_on(postgres_ready())?;
    first_failure(home.path())?;
    challenges(home.path())?;
    verify_all(home.path())
}

fn row(what: &str, ours: f64, limit: f64, unit: &str, aim: &str) {
    println!("{what:44} {ours:>9.1} {unit:2} {limit:>9.1} {unit:2} {:>8.2}  {aim}", ours / limit);
}

/// The question page against nginx serving the same bytes.
fn page_against_nginx(home: &Path) -> Result<()> {
    let ours = Server::backlab(home, true)?;
    let bytes = get(ours.address, PAGE)?;
    let files = home.join("files");
    std::fs::create_dir_all(files.join("q"))?;
    std::fs::write(files.join(&PAGE[1..]), body(&bytes)?)?;
    let rival = Server::nginx(&files)?;
    ensure!(body(&get(rival.address, PAGE)?)? == body(&bytes)?, "nginx doesn't serve the same bytes");
    let (mut ours_rates, mut rival_rates) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours_rates.push(wrk(ours.address, PAGE)?);
        rival_rates.push(wrk(rival.address, PAGE)?);
    }
    row(
        "page, thousand a second, against nginx",
        median(ours_rates) / 1e3,
        median(rival_rates) / 1e3,
        "k",
        ">= 0.8",
    );
    Ok(())
}

/// From exec to the first 200.
fn first_answer(home: &Path) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..20 {
        let began = Instant::now();
        let server = Server::backlab(home, false)?;
        ensure!(get(server.address, "/")?.starts_with(b"HTTP/1.1 200"), "the home page isn't served");
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    row("exec to first 200, against 50 ms", median(times), 50.0, "ms", "<= 1.0");
    Ok(())
}

/// Our load generator in closed loop against wrk, on one nginx.
async fn load_against_wrk(home: &Path) -> Result<()> {
    let files = home.join("files");
    std::fs::write(files.join("small"), "ok")?;
    let server = Server::nginx(&files)?;
    let (mut ours, mut rival) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(closed_loop(server.address).await?);
        rival.push(wrk(server.address, "/small")?);
    }
    row("load, thousand a second, against wrk", median(ours) / 1e3, median(rival) / 1e3, "k", ">= 0.8");
    Ok(())
}

/// PostgreSQL from ask to ready, the first query answered.
async fn postgres_ready() -> Result<()> {
    let mut times = Vec::new();
    for seed in 0..12 {
        let lab = Lab::open(seed, Trace::default())?;
        let began = Instant::now();
        let postgres = lab.postgres("postgres").await?;
        postgres.session("bench").await?.execute("SELECT 1").await?;
        // The first one may have to make the template.
        if seed > 0 {
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        drop(postgres);
        lab.close().await;
    }
    row("PostgreSQL, ask to ready, against 300 ms", median(times), 300.0, "ms", "<= 1.0");
    Ok(())
}

/// A check whose first stage fails, from exec to exit: our own program starts, listens, and is told what is wrong.
fn first_failure(home: &Path) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..20 {
        let began = Instant::now();
        let code = check(home, "http-methods", Some("merges-fields"))?.code();
        ensure!(code == Some(1), "the check ended with {code:?}");
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    row("first failure of a check, against 50 ms", median(times), 50.0, "ms", "<= 1.0");
    Ok(())
}

/// The challenge that takes longest with our own program.
fn challenges(home: &Path) -> Result<()> {
    let mut slowest = ("", 0.0);
    for question in backlab_questions::ALL.iter().filter(|it| it.challenge.is_some()) {
        let began = Instant::now();
        let status = check(home, question.page.slug, None)?;
        ensure!(status.success(), "our own program doesn't pass {}", question.page.slug);
        let seconds = began.elapsed().as_secs_f64();
        if seconds > slowest.1 {
            slowest = (question.page.slug, seconds);
        }
    }
    row(&format!("slowest challenge ({}), 10 s", slowest.0), slowest.1, 10.0, "s", "<= 1.0");
    Ok(())
}

/// Grades our own program, right or with a bug.
fn check(home: &Path, slug: &str, bug: Option<&str>) -> Result<std::process::ExitStatus> {
    let mut command = Command::new(BACKLAB);
    command.args(["check", slug, "--", BACKLAB, "reference", slug]);
    command.args(bug.map(|bug| ["--bug", bug]).into_iter().flatten());
    Ok(command.env("BACKLAB_DATA", home).stdout(Stdio::null()).status()?)
}

/// All experiments at their defaults, one after another.
fn verify_all(home: &Path) -> Result<()> {
    let output = Command::new(BACKLAB).args(["verify", "--json"]).env("BACKLAB_DATA", home).output()?;
    let verified: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    ensure!(verified["verdict"] == "holds", "verify: {verified}");
    let questions = verified["questions"].as_array().context("questions")?;
    // Three seconds each, and ten where a real server has to start (docs/WRITING.md).
    let limit: f64 = questions.iter().map(|it| if server_runs(it) { 10.0 } else { 3.0 }).sum();
    row(
        "verify of all, against their limits",
        verified["seconds"].as_f64().unwrap_or_default(),
        limit,
        "s",
        "<= 1.0",
    );
    println!("the slowest ten of them:");
    let mut times: Vec<_> =
        questions.iter().filter_map(|it| Some((it["seconds"].as_f64()?, it["slug"].as_str()?))).collect();
    times.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    for (seconds, slug) in times.iter().take(10) {
        println!("  {slug:42} {seconds:>9.1} s");
    }
    Ok(())
}

fn server_runs(question: &serde_json::Value) -> bool {
    let parts = question["parts"].as_array().into_iter().flatten();
    parts.filter_map(|part| part["name"].as_str()).any(|name| name != "sqlite")
}

/// Requests a second of our closed loop, from one core as wrk's, over as many connections.
async fn closed_loop(address: SocketAddr) -> Result<f64> {
    let lab = Lab::open(1, Trace::default())?;
    let load = Load::closed(16).get("/small").during(Duration::from_secs(SECONDS));
    let loaded = lab.load("crowd", address, &load).await?;
    ensure!(loaded.failures().is_empty(), "{:?}", loaded.failures());
    lab.close().await;
    Ok(loaded.per_second())
}

/// A server that ends with this.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn backlab(home: &Path, pinned: bool) -> Result<Self> {
        let args = ["serve", "--bind", "127.0.0.1:0"];
        let mut command = if pinned { on_core(0, BACKLAB) } else { Command::new(BACKLAB) };
        let mut child = command.args(args).env("BACKLAB_DATA", home).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("stdout")?).read_line(&mut line)?;
        let address = line.trim().trim_end_matches('/').rsplit('/').next().context("no address")?.parse();
        Ok(Self { child, address: address.with_context(|| format!("no address in `{line}`"))? })
    }

    fn nginx(files: &Path) -> Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let root = files.display();
        let config = format!(
            "daemon off; worker_processes 1; pid {root}/nginx.pid; error_log stderr crit;\n\
             events {{ worker_connections 512; }}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; default_type text/html; \
             open_file_cache max=100; client_body_temp_path {root}; proxy_temp_path {root}; fastcgi_temp_path {root}; \
             uwsgi_temp_path {root}; scgi_temp_path {root};\n\
             server {{ listen 127.0.0.1:{port}; root {root}; }} }}\n"
        );
        let file = files.join("nginx.conf");
        std::fs::write(&file, config)?;
        let mut command = on_core(0, "nginx");
        let child = command.arg("-p").arg(files).arg("-c").arg(&file).spawn().context("start nginx")?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let server = Self { child, address };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            ensure!(began.elapsed() < Duration::from_secs(5), "nginx doesn't listen on {address}");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

fn on_core(core: u8, program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &core.to_string(), program]);
    command
}

fn get(address: SocketAddr, path: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn body(answer: &[u8]) -> Result<&[u8]> {
    ensure!(
        answer.starts_with(b"HTTP/1.1 200"),
        "not a 200: {}",
        String::from_utf8_lossy(&answer[..80.min(answer.len())])
    );
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n").context("no end of the head")?;
    Ok(&answer[end + 4..])
}

/// Requests a second, as wrk counts them.
fn wrk(address: SocketAddr, path: &str) -> Result<f64> {
    let url = format!("http://{address}{path}");
    let mut command = on_core(1, "wrk");
    let output =
        command.args(["-t1", "-c16", &format!("-d{SECONDS}s"), &url]).output().context("start wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(!text.contains("Non-2xx"), "{text}");
    let rate = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    rate.and_then(|it| it.trim().parse().ok()).with_context(|| text.to_string())
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(f64::NAN)
}
