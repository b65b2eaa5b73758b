//! The ticket office: a process of its own, over one SQLite file, that does its duties in the order in which they stand
//! in [`order`] and leaves out the one that it is told to.

use super::{Duty, Writes};
use crate::prelude::*;
use backlab_parts::Process;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
use std::net::SocketAddr;
use std::sync::OnceLock;

pub const OFFICE: Role = Role { name: "what-a-backend-does/office", play: |args| Box::pin(serve(args)) };

/// Says how many buyers ask at once: each handler then waits for that many, at the worst moment that there is.
pub const CROWD: &str = "x-crowd";
/// What an order's URI begins with.
const PATH: &str = "/orders/";
/// Who may buy, by the token that a request brings.
const KNOWN: &str = "Bearer ticket-";

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS stock (seats_left INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, buyer TEXT, quantity INTEGER NOT NULL, saw INTEGER);";

/// Starts it on a file of this name and waits until it listens.
pub async fn open(
    lab: &Lab,
    file: &str,
    seats: u64,
    lacks: Duty,
    writes: Writes,
) -> Result<(Process, SocketAddr)> {
    let file = lab.dir().join(file).display().to_string();
    let args = [file, seats.to_string(), lacks.word().to_owned(), writes.word().to_owned()];
    let office = lab.role("office", &OFFICE, args).await?;
    let ready = |line: &str| line.strip_prefix("ready port=")?.parse::<u16>().ok();
    let port = office.line(Duration::from_secs(10), ready).await?;
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    lab.name_address(addr, "office");
    Ok((office, addr))
}

#[derive(Clone)]
struct Office {
    lacks: Duty,
    writes: Writes,
    db: SqlitePool,
    crowd: Arc<OnceLock<Gate>>,
}

async fn serve(args: Vec<String>) -> Result<()> {
    let [file, seats, lacks, writes] = args.try_into().map_err(|args| anyhow!("four words, not {args:?}"))?;
    let (lacks, writes) = (chosen::<Duty>(&lacks)?, chosen::<Writes>(&writes)?);
    // Without durability the same tables stand in this process's memory, and that is the only difference.
    let options = match lacks {
        Duty::Durability => SqliteConnectOptions::new().in_memory(true),
        _ => SqliteConnectOptions::new().filename(file).create_if_missing(true),
    };
    let options = options.synchronous(SqliteSynchronous::Full);
    let one = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    let db = one.connect_with(options).await?;
    sqlx::raw_sql(SCHEMA).execute(&db).await?;
    let first = "INSERT INTO stock SELECT $1 WHERE NOT EXISTS (SELECT * FROM stock)";
    sqlx::query(first).bind(seats.parse::<i64>()?).execute(&db).await?;
    let router = Router::new()
        .route("/orders", get(orders).post(order))
        .route("/stock", get(stock))
        .with_state(Office { lacks, writes, db, crowd: Arc::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    role::say(format_args!("ready port={}", listener.local_addr()?.port()));
    axum::serve(listener, router).await?;
    Ok(())
}

#[derive(Serialize, Deserialize)]
pub struct Wish {
    pub quantity: i64,
}

/// The order that a `Location` names.
pub fn id(location: &str) -> Option<i64> {
    location.strip_prefix(PATH)?.parse().ok()
}

/// What the list shows.
#[derive(Serialize, Deserialize)]
pub struct Order {
    pub id: i64,
    pub buyer: Option<String>,
    pub quantity: i64,
    /// The stock on which it was decided, if the handler looked at it before it wrote.
    pub saw: Option<i64>,
}

async fn order(
    State(office): State<Office>,
    headers: HeaderMap,
    Json(Wish { quantity }): Json<Wish>,
) -> Result<Response, Failed> {
    // Authentication: who asks?
    let token = headers.get("authorization").and_then(|it| it.to_str().ok());
    let buyer = token.and_then(|it| it.strip_prefix(KNOWN));
    if buyer.is_none() && office.lacks != Duty::Authentication {
        return Ok(StatusCode::UNAUTHORIZED.into_response());
    }
    // Validation: does it make sense?
    if quantity < 1 && office.lacks != Duty::Validation {
        return Ok(StatusCode::UNPROCESSABLE_ENTITY.into_response());
    }
    // The rule, as one step with the write, and on the disk before the answer leaves.
    let crowd = headers.get(CROWD).and_then(|it| it.to_str().ok()?.parse().ok()).unwrap_or(0);
    let sold = match office.lacks {
        Duty::Atomicity => office.check_then_write(buyer, quantity, crowd).await?,
        _ => office.check_and_write(buyer, quantity, crowd).await?,
    };
    Ok(match sold {
        Some(id) => (StatusCode::CREATED, [("location", format!("{PATH}{id}"))]).into_response(),
        None => StatusCode::CONFLICT.into_response(),
    })
}

impl Office {
    /// The check is part of the write: between them there is no moment at all. Gives the order's id if it is sold.
    async fn check_and_write(&self, buyer: Option<&str>, quantity: i64, crowd: u64) -> Result<Option<i64>> {
        self.gather(crowd).await?;
        let mut step = self.db.begin().await?;
        let take = "UPDATE stock SET seats_left = seats_left - $1 WHERE seats_left >= $1";
        if sqlx::query(take).bind(quantity).execute(&mut *step).await?.rows_affected() == 0 {
            return Ok(None);
        }
        let id = sqlx::query_scalar("INSERT INTO orders (buyer, quantity) VALUES ($1, $2) RETURNING id");
        let id = id.bind(buyer).bind(quantity).fetch_one(&mut *step).await?;
        step.commit().await?;
        Ok(Some(id))
    }

    /// Between the check and the write others come in. That the write is a transaction doesn't help.
    async fn check_then_write(&self, buyer: Option<&str>, quantity: i64, crowd: u64) -> Result<Option<i64>> {
        let saw: i64 = sqlx::query_scalar("SELECT seats_left FROM stock").fetch_one(&self.db).await?;
        self.gather(crowd).await?;
        if saw < quantity {
            return Ok(None);
        }
        let mut step = self.db.begin().await?;
        let take = match self.writes {
            Writes::Back => sqlx::query("UPDATE stock SET seats_left = $1").bind(saw - quantity),
            Writes::Less => sqlx::query("UPDATE stock SET seats_left = seats_left - $1").bind(quantity),
        };
        take.execute(&mut *step).await?;
        let insert = "INSERT INTO orders (buyer, quantity, saw) VALUES ($1, $2, $3) RETURNING id";
        let id = sqlx::query_scalar(insert).bind(buyer).bind(quantity).bind(saw);
        let id = id.fetch_one(&mut *step).await?;
        step.commit().await?;
        Ok(Some(id))
    }

    /// Waits until the whole crowd is here: the worst moment that there is.
    async fn gather(&self, crowd: u64) -> Result<()> {
        if crowd == 0 {
            return Ok(());
        }
        self.crowd.get_or_init(|| Gate::until(crowd)).pass().await
    }
}

async fn orders(State(office): State<Office>) -> Result<Json<Vec<Order>>, Failed> {
    let list = sqlx::query_as("SELECT id, buyer, quantity, saw FROM orders ORDER BY id");
    let rows: Vec<(i64, Option<String>, i64, Option<i64>)> = list.fetch_all(&office.db).await?;
    let order = |(id, buyer, quantity, saw)| Order { id, buyer, quantity, saw };
    Ok(Json(rows.into_iter().map(order).collect()))
}

async fn stock(State(office): State<Office>) -> Result<Json<i64>, Failed> {
    Ok(Json(sqlx::query_scalar("SELECT seats_left FROM stock").fetch_one(&office.db).await?))
}

fn chosen<C: Choice>(word: &str) -> Result<C> {
    let found = C::ALL.iter().find(|(_, it)| *it == word);
    found.map(|(it, _)| *it).with_context(|| format!("`{word}` is no choice"))
}
