//! One shop behind two faces: resources with HTTP's own methods, and a single endpoint to which calls are posted.

use super::Build;
use crate::prelude::*;

#[derive(Clone)]
pub struct Shop {
    pub db: Sqlite,
    pub build: Build,
    /// Where its resources are.
    pub base: &'static str,
    /// What this replica remembers between two requests: the open basket, and lines that are nowhere else.
    remembers: Arc<Mutex<Memory>>,
}

#[derive(Default)]
struct Memory {
    open: Option<i64>,
    lines: BTreeSet<i64>,
}

pub async fn stock(lab: &Lab) -> Result<Sqlite> {
    let schema = "CREATE TABLE item (id INTEGER PRIMARY KEY, stock INTEGER NOT NULL);
        CREATE TABLE line (basket INTEGER NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (basket, number))";
    let db = lab.sqlite(schema).await?;
    db.execute("INSERT INTO item VALUES (7, 10)", ()).await?;
    Ok(db)
}

impl Shop {
    pub fn new(db: &Sqlite, build: Build, base: &'static str) -> Self {
        Self { db: db.clone(), build, base, remembers: Arc::default() }
    }

    pub fn router(&self) -> Router {
        let at = |path: &str| format!("{}{path}", self.base);
        Router::new()
            .route("/", get(root))
            .route(&at("/items"), get(items))
            .route(&at("/items/{id}"), get(item).put(set_stock))
            .route(&at("/baskets/{id}"), get(basket))
            .route(&at("/baskets/{id}/lines/{number}"), put(put_line))
            .route("/rpc", post(call))
            .with_state(self.clone())
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.remembers.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The start of every link; a build whose links were left behind still names the old place.
    fn links_to(&self, path: &str) -> String {
        let base = if self.build == Build::StaleLinks { "" } else { self.base };
        format!("{base}{path}")
    }

    /// How long an answer may be kept, in both styles.
    fn lives(&self) -> [(&'static str, &'static str); 1] {
        [("cache-control", if self.build == Build::NoLifetime { "" } else { "max-age=60" })]
    }

    async fn in_stock(&self, id: i64) -> Result<Option<i64>> {
        self.db.value("SELECT stock FROM item WHERE id = $1", [id]).await
    }

    async fn add_line(&self, basket: i64, number: i64) -> Result<u64> {
        self.db.execute("INSERT INTO line VALUES ($1, $2) ON CONFLICT DO NOTHING", (basket, number)).await
    }
}

async fn root(State(shop): State<Shop>) -> Json<Value> {
    Json(json!({"links": {"items": shop.links_to("/items")}}))
}

async fn items(State(shop): State<Shop>) -> Json<Value> {
    Json(json!({"items": [{"name": "tea", "links": {"self": shop.links_to("/items/7")}}]}))
}

async fn item(State(shop): State<Shop>, Path(id): Path<i64>) -> Result<Response, Failed> {
    let Some(stock) = shop.in_stock(id).await? else { return Ok(StatusCode::NOT_FOUND.into_response()) };
    Ok((shop.lives(), Json(json!({"name": "tea", "stock": stock}))).into_response())
}

#[derive(Deserialize)]
struct Stock {
    stock: i64,
}

async fn set_stock(
    State(shop): State<Shop>,
    Path(id): Path<i64>,
    Json(sent): Json<Stock>,
) -> Result<StatusCode, Failed> {
    shop.db.execute("UPDATE item SET stock = $2 WHERE id = $1", (id, sent.stock)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn basket(State(shop): State<Shop>, Path(id): Path<i64>) -> Result<Json<Value>, Failed> {
    let mut lines: BTreeSet<i64> = shop.memory().lines.clone();
    lines.extend(shop.db.column::<i64>("SELECT number FROM line WHERE basket = $1", [id]).await?);
    Ok(Json(json!({"lines": lines})))
}

/// The request names the basket and the line, so that any replica can carry it out.
async fn put_line(
    State(shop): State<Shop>,
    Path((basket, number)): Path<(i64, i64)>,
) -> Result<StatusCode, Failed> {
    if shop.build == Build::Remembers {
        shop.memory().lines.insert(number);
    } else {
        shop.add_line(basket, number).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// What is posted to the one endpoint.
#[derive(Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
enum Call {
    GetItem { id: i64 },
    Restock { id: i64 },
    OpenBasket { id: i64 },
    AddLine { number: i64 },
}

async fn call(State(shop): State<Shop>, Json(call): Json<Call>) -> Result<Response, Failed> {
    Ok(match call {
        Call::GetItem { id } => {
            (shop.lives(), Json(json!({"stock": shop.in_stock(id).await?}))).into_response()
        }
        Call::Restock { id } => {
            shop.db.execute("UPDATE item SET stock = stock + 1 WHERE id = $1", [id]).await?;
            StatusCode::OK.into_response()
        }
        Call::OpenBasket { id } => {
            shop.memory().open = Some(id);
            StatusCode::OK.into_response()
        }
        // Which basket? This replica knows only if it was the one that was told.
        Call::AddLine { number } => {
            let open = shop.memory().open;
            match open {
                Some(basket) => drop(shop.add_line(basket, number).await?),
                None => return Ok(StatusCode::CONFLICT.into_response()),
            }
            StatusCode::OK.into_response()
        }
    })
}
