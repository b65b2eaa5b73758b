//! The server under test: a collection of orders and its members, with the methods of RFC 9110, section 9.3 and
//! RFC 5789.

use super::Conduct;
use crate::prelude::*;
use sha2::{Digest, Sha256};

/// A database with so many orders, numbered from 1.
pub async fn orders(lab: &Lab, count: u64) -> Result<Sqlite> {
    let schema = "CREATE TABLE orders (
        id INTEGER PRIMARY KEY,
        item TEXT NOT NULL,
        units INTEGER NOT NULL,
        readers INTEGER NOT NULL DEFAULT 0
    )";
    let db = lab.sqlite(schema).await?;
    for id in 1..=count as i64 {
        db.execute("INSERT INTO orders (id, item, units) VALUES ($1, 'tea', 1)", [id]).await?;
    }
    Ok(db)
}

pub fn api(db: &Sqlite, conduct: Conduct) -> Router {
    let collection = get(list).post(create).options(|| allow("GET,HEAD,POST,OPTIONS"));
    let member = get(read)
        .put(replace)
        .patch(change)
        .delete(remove)
        .options(|| allow("GET,HEAD,PUT,PATCH,DELETE,OPTIONS"));
    Router::new()
        .route("/orders", collection)
        .route("/orders/{id}", member)
        .with_state(Orders { db: db.clone(), conduct })
}

#[derive(Clone)]
struct Orders {
    db: Sqlite,
    conduct: Conduct,
}

#[derive(Deserialize)]
struct Order {
    item: String,
    units: i64,
}

#[derive(Deserialize)]
struct Change {
    more: i64,
}

async fn allow(methods: &'static str) -> impl IntoResponse {
    (StatusCode::NO_CONTENT, [("allow", methods)])
}

async fn list(State(orders): State<Orders>) -> Result<Json<Vec<i64>>, Failed> {
    Ok(Json(orders.db.column("SELECT id FROM orders ORDER BY id", ()).await?))
}

/// GET. HEAD comes here too: the router then leaves the content out.
async fn read(State(orders): State<Orders>, Path(id): Path<i64>) -> Result<Response, Failed> {
    if orders.conduct == Conduct::GetWrites {
        orders.db.execute("UPDATE orders SET readers = readers + 1 WHERE id = $1", [id]).await?;
    }
    let found: Vec<(String, i64)> =
        orders.db.rows("SELECT item, units FROM orders WHERE id = $1", [id]).await?;
    let Some((item, units)) = found.into_iter().next() else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    let order = json!({"id": id, "item": item, "units": units});
    let digest = Sha256::digest(order.to_string());
    let tag = hex(&digest[..4]);
    Ok(([("etag", format!("\"{tag}\""))], Json(order)).into_response())
}

/// POST: the server picks the URI, so that nothing ties a second request to the order of the first.
async fn create(State(orders): State<Orders>, Json(order): Json<Order>) -> Result<Response, Failed> {
    let insert = "INSERT INTO orders (item, units) VALUES ($1, $2) RETURNING id";
    let id: Option<i64> = orders.db.value(insert, (order.item, order.units)).await?;
    let location = format!("/orders/{}", id.context("RETURNING gives a row")?);
    Ok((StatusCode::CREATED, [("location", location)]).into_response())
}

/// PUT: the client names the URI, and the state that shall be there.
async fn replace(state: State<Orders>, Path(id): Path<i64>, order: Json<Order>) -> Result<Response, Failed> {
    if state.conduct == Conduct::PutInserts {
        return create(state, order).await;
    }
    let (State(orders), Json(Order { item, units })) = (state, order);
    let insert = "INSERT INTO orders (id, item, units) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    if orders.db.execute(insert, (id, item.clone(), units)).await? == 1 {
        return Ok(StatusCode::CREATED.into_response());
    }
    orders.db.execute("UPDATE orders SET item = $2, units = $3 WHERE id = $1", (id, item, units)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// PATCH: this one says what to do to the state, not what shall be.
async fn change(
    State(orders): State<Orders>,
    Path(id): Path<i64>,
    Json(change): Json<Change>,
) -> Result<StatusCode, Failed> {
    found(orders.db.execute("UPDATE orders SET units = units + $2 WHERE id = $1", (id, change.more)).await?)
}

async fn remove(State(orders): State<Orders>, Path(id): Path<i64>) -> Result<StatusCode, Failed> {
    if orders.conduct == Conduct::DeletesOldest {
        return found(
            orders.db.execute("DELETE FROM orders WHERE id = (SELECT min(id) FROM orders)", ()).await?,
        );
    }
    found(orders.db.execute("DELETE FROM orders WHERE id = $1", [id]).await?)
}

fn found(rows: u64) -> Result<StatusCode, Failed> {
    Ok(if rows == 0 { StatusCode::NOT_FOUND } else { StatusCode::NO_CONTENT })
}
