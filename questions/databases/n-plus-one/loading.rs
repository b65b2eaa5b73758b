//! The page's own code: four ways to load orders with what belongs to them.

use crate::prelude::*;
use backlab_parts::postgres::Wire;
use sqlx::PgConnection;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::QueryAs;
use sqlx::{FromRow, Postgres, query_as};
use std::time::Instant;

choices! {
    pub enum Strategy {
        Lazy = "lazy",
        Join = "join",
        Batch = "batch by keys",
        JoinOfTwo = "join of two collections",
        BatchesOfTwo = "two collections by keys",
    }
}

choices! {
    /// What the page shows of each order.
    pub enum Page {
        Items = "its items",
        Customer = "its items and the customer's name",
    }
}

/// An order as the page holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order {
    pub id: i64,
    customer: i64,
    /// Empty on a page that doesn't show it.
    customer_name: String,
    pub items: Vec<(i64, String)>,
    payments: Vec<(i64, i64)>,
}

/// When a statement was sent and when its rows were there, in milliseconds since the loading began.
pub type Took = (f64, f64);

/// What a mapper with lazy relations asks a database for.
pub trait Database {
    async fn orders(&mut self, most: i64) -> Result<Vec<Order>>;
    async fn items_of(&mut self, order: i64) -> Result<Vec<(i64, String)>>;
    async fn name_of(&mut self, customer: i64) -> Result<String>;
}

/// Loads so many orders with what the page shows of them. The ways for two collections load payments too, and no names.
pub async fn load(shop: &mut Shop, strategy: Strategy, most: i64, page: Page) -> Result<Vec<Order>> {
    let orders = match strategy {
        Strategy::Lazy => return lazy(shop, most, page).await,
        Strategy::Join => join(shop, most).await?,
        Strategy::Batch => batch(shop, most).await?,
        Strategy::JoinOfTwo => return join_of_two(shop, most).await,
        Strategy::BatchesOfTwo => return batches_of_two(shop, most).await,
    };
    with_names(shop, orders, page).await
}

/// One statement for the list; then each `order.items` that the page touches is another.
pub async fn lazy(shop: &mut impl Database, most: i64, page: Page) -> Result<Vec<Order>> {
    let mut orders = shop.orders(most).await?;
    for order in &mut orders {
        order.items = shop.items_of(order.id).await?;
    }
    with_names(shop, orders, page).await
}

/// What a later change of the template does, whatever care was taken with the items.
async fn with_names(shop: &mut impl Database, mut orders: Vec<Order>, page: Page) -> Result<Vec<Order>> {
    if page == Page::Customer {
        for order in &mut orders {
            order.customer_name = shop.name_of(order.customer).await?;
        }
    }
    Ok(orders)
}

/// One statement: each row brings an item, and repeats its order.
async fn join(shop: &mut Shop, most: i64) -> Result<Vec<Order>> {
    let rows: Vec<(i64, i64, Option<i64>, Option<String>)> = shop
        .ask(
            query_as(
                "SELECT o.id, o.customer_id, i.id, i.name
                 FROM (SELECT * FROM orders ORDER BY id LIMIT $1) o
                 LEFT JOIN item i ON i.order_id = o.id
                 ORDER BY o.id, i.id",
            )
            .bind(most),
        )
        .await?;
    let mut orders: Vec<Order> = Vec::new();
    for (id, customer, item, name) in rows {
        if orders.last().is_none_or(|order| order.id != id) {
            orders.push(Order { id, customer, ..Order::default() });
        }
        if let (Some(order), Some(item), Some(name)) = (orders.last_mut(), item, name) {
            order.items.push((item, name));
        }
    }
    Ok(orders)
}

/// One statement for the list, one for all items of all its orders.
async fn batch(shop: &mut Shop, most: i64) -> Result<Vec<Order>> {
    let mut orders = shop.orders(most).await?;
    let items = "SELECT order_id, id, name FROM item WHERE order_id = ANY($1) ORDER BY id";
    let items: Vec<(i64, i64, String)> = shop.ask(query_as(items).bind(keys(&orders))).await?;
    let mut by_order = HashMap::<i64, Vec<(i64, String)>>::new();
    for (order, id, name) in items {
        by_order.entry(order).or_default().push((id, name));
    }
    for order in &mut orders {
        order.items = by_order.remove(&order.id).unwrap_or_default();
    }
    Ok(orders)
}

/// One statement for two collections: each item of an order comes with each of its payments.
async fn join_of_two(shop: &mut Shop, most: i64) -> Result<Vec<Order>> {
    type Row = (i64, i64, Option<i64>, Option<String>, Option<i64>, Option<i64>);
    let rows: Vec<Row> = shop
        .ask(
            query_as(
                "SELECT o.id, o.customer_id, i.id, i.name, p.id, p.cents
                 FROM (SELECT * FROM orders ORDER BY id LIMIT $1) o
                 LEFT JOIN item i ON i.order_id = o.id
                 LEFT JOIN payment p ON p.order_id = o.id
                 ORDER BY o.id, i.id, p.id",
            )
            .bind(most),
        )
        .await?;
    let mut orders = BTreeMap::<i64, (i64, BTreeMap<i64, String>, BTreeMap<i64, i64>)>::new();
    for (id, customer, item, name, payment, cents) in rows {
        let (_, items, payments) = orders.entry(id).or_insert((customer, BTreeMap::new(), BTreeMap::new()));
        items.extend(item.zip(name));
        payments.extend(payment.zip(cents));
    }
    let order = |(id, (customer, items, payments)): (i64, (i64, BTreeMap<_, _>, BTreeMap<_, _>))| Order {
        id,
        customer,
        items: items.into_iter().collect(),
        payments: payments.into_iter().collect(),
        ..Order::default()
    };
    Ok(orders.into_iter().map(order).collect())
}

/// One statement for the list, and one for each collection.
async fn batches_of_two(shop: &mut Shop, most: i64) -> Result<Vec<Order>> {
    let mut orders = batch(shop, most).await?;
    let payments = "SELECT order_id, id, cents FROM payment WHERE order_id = ANY($1) ORDER BY id";
    let payments: Vec<(i64, i64, i64)> = shop.ask(query_as(payments).bind(keys(&orders))).await?;
    let mut by_order = HashMap::<i64, Vec<(i64, i64)>>::new();
    for (order, id, cents) in payments {
        by_order.entry(order).or_default().push((id, cents));
    }
    for order in &mut orders {
        order.payments = by_order.remove(&order.id).unwrap_or_default();
    }
    Ok(orders)
}

fn keys(orders: &[Order]) -> Vec<i64> {
    orders.iter().map(|order| order.id).collect()
}

/// Times a loading and each of its statements.
pub struct Watch {
    began: Instant,
    pub took: Vec<Took>,
}

impl Watch {
    pub fn start() -> Self {
        Self { began: Instant::now(), took: Vec::new() }
    }

    /// Milliseconds since it was started.
    pub fn ms(&self) -> f64 {
        self.began.elapsed().as_secs_f64() * 1000.0
    }

    async fn time<T, E>(&mut self, asked: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let sent = self.ms();
        let answer = asked.await;
        self.took.push((sent, self.ms()));
        answer
    }
}

/// The page's connection to PostgreSQL.
pub struct Shop {
    connection: PgConnection,
    pub watch: Watch,
}

impl Shop {
    pub async fn over(wire: &Wire) -> Result<Self> {
        Ok(Self { connection: wire.connect().await?, watch: Watch::start() })
    }

    pub async fn ask<R>(&mut self, query: QueryAs<'_, Postgres, R, PgArguments>) -> Result<Vec<R>>
    where
        R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        Ok(self.watch.time(query.fetch_all(&mut self.connection)).await?)
    }
}

const ORDERS: &str = "SELECT id, customer_id FROM orders ORDER BY id LIMIT $1";
const ITEMS_OF: &str = "SELECT id, name FROM item WHERE order_id = $1 ORDER BY id";
const NAME_OF: &str = "SELECT name FROM customer WHERE id = $1";

fn order((id, customer): (i64, i64)) -> Order {
    Order { id, customer, ..Order::default() }
}

impl Database for Shop {
    async fn orders(&mut self, most: i64) -> Result<Vec<Order>> {
        Ok(self.ask(query_as(ORDERS).bind(most)).await?.into_iter().map(order).collect())
    }

    async fn items_of(&mut self, order: i64) -> Result<Vec<(i64, String)>> {
        self.ask(query_as(ITEMS_OF).bind(order)).await
    }

    async fn name_of(&mut self, customer: i64) -> Result<String> {
        let names = self.ask(query_as(NAME_OF).bind(customer)).await?;
        names.into_iter().next().map(|(name,)| name).context("an order has a customer")
    }
}

/// The same page on a database within its own process.
pub struct Embedded {
    database: Sqlite,
    pub watch: Watch,
}

impl Embedded {
    pub fn new(database: Sqlite) -> Self {
        Self { database, watch: Watch::start() }
    }
}

impl Database for Embedded {
    async fn orders(&mut self, most: i64) -> Result<Vec<Order>> {
        let orders = self.watch.time(self.database.rows(ORDERS, (most,))).await?;
        Ok(orders.into_iter().map(order).collect())
    }

    async fn items_of(&mut self, order: i64) -> Result<Vec<(i64, String)>> {
        self.watch.time(self.database.rows(ITEMS_OF, (order,))).await
    }

    async fn name_of(&mut self, customer: i64) -> Result<String> {
        let name = self.watch.time(self.database.value(NAME_OF, (customer,))).await?;
        name.context("an order has a customer")
    }
}
