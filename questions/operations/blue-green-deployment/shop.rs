//! The shop that is deployed: a process that works a while on each purchase and writes it to the shared database.

use crate::prelude::*;
use backlab_parts::Process;
use nix::sys::signal::Signal;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use std::net::SocketAddr;

/// How an operator stops a process. The shop has no handler for it, so it ends at once, whatever it is working on.
pub const TERM: Signal = Signal::SIGTERM;

/// Which columns a version writes.
pub const CUSTOMER: &str = "INSERT INTO purchase (customer) VALUES ('ada')";
pub const BOTH: &str = "INSERT INTO purchase (customer, buyer) VALUES ('ada', 'ada')";
pub const BUYER: &str = "INSERT INTO purchase (buyer) VALUES ('ada')";

pub const SHOP: Role = Role { name: "blue-green-deployment/shop", play: |args| Box::pin(serve(args)) };

/// Starts one version and waits until it listens.
pub async fn start(
    lab: &Lab,
    name: &str,
    version: &str,
    database: &str,
    statement: &str,
    work_ms: u64,
) -> Result<(Process, SocketAddr)> {
    let shop = lab.role(name, &SHOP, [version, database, statement, &work_ms.to_string()]).await?;
    let port = shop.line(super::SOON, |line| line.strip_prefix("ready port=")?.parse::<u16>().ok()).await?;
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    lab.name_address(addr, name);
    Ok((shop, addr))
}

#[derive(Clone)]
struct Shop {
    version: String,
    database: SqlitePool,
    statement: String,
    work: Duration,
}

async fn serve(args: Vec<String>) -> Result<()> {
    let [version, file, statement, work_ms] =
        args.try_into().map_err(|args| anyhow!("four words, not {args:?}"))?;
    let options = SqliteConnectOptions::new().filename(file).synchronous(SqliteSynchronous::Off);
    let database = SqlitePool::connect_with(options.busy_timeout(Duration::from_secs(5))).await?;
    let shop = Shop { version, database, statement, work: Duration::from_millis(work_ms.parse()?) };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    role::say(format_args!("ready port={}", listener.local_addr()?.port()));
    axum::serve(listener, Router::new().route("/purchases", post(buy)).with_state(shop)).await?;
    Ok(())
}

async fn buy(State(shop): State<Shop>) -> Response {
    tokio::time::sleep(shop.work).await;
    let written = sqlx::query(sqlx::AssertSqlSafe(shop.statement)).execute(&shop.database).await;
    let status = if written.is_ok() { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    (status, [("x-served", shop.version)]).into_response()
}
