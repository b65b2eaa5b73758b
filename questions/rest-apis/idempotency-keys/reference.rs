//! One row for each account and key, in SQLite. It is written before the bank is asked, with a key for the bank that
//! every attempt uses, and with the process that holds the claim; the payment and the answer come later, in one
//! transaction. A claim of a process that is gone is free: there is one process at a time.
//!
//! With twenty instances a claim needs a lease instead, a time after which it is free, and whoever was only slow must
//! not be able to record any more. Stripe keeps status and body of the first answer for at least 24 hours, also when it
//! was a 500, and compares the parameters of a repeat. Nothing is deleted here; a real table needs an expiry, which is
//! then part of the contract.

use super::Bug;
use crate::prelude::*;
use crate::reference::{Caller, env};
use axum::http::Request;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS keys (
        account TEXT, key TEXT, amount INTEGER, bank_key TEXT, holder TEXT, status INTEGER, body TEXT,
        PRIMARY KEY (account, key)
    );
    CREATE TABLE IF NOT EXISTS payments (id INTEGER PRIMARY KEY, account TEXT, amount INTEGER);
    CREATE INDEX IF NOT EXISTS payments_of ON payments (account);
";
/// Takes a key that nobody holds and that has no answer; one statement, so that one request wins.
const CLAIM: &str = "
    INSERT INTO keys (account, key, amount, bank_key, holder) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (account, key) DO UPDATE SET holder = excluded.holder
    WHERE status IS NULL AND amount = excluded.amount AND holder IS NOT excluded.holder
";
/// The longest that the bank may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for a request, or a signal, to come in between.
const SLOW: Duration = Duration::from_millis(40);

#[derive(Clone)]
struct Till {
    bug: Option<Bug>,
    db: SqlitePool,
    bank: String,
    caller: Caller,
    /// Names this process, and no other one.
    me: String,
}

#[derive(Deserialize)]
struct Payment {
    account: String,
    amount: i64,
}

/// What a key stands for: amount, the bank's key, status and body.
type Kept = (i64, String, Option<u16>, Option<String>);
const KEPT: &str = "SELECT amount, bank_key, status, body FROM keys WHERE account = $1 AND key = $2";

pub async fn router(bug: Option<Bug>) -> Result<Router> {
    let file = std::path::Path::new(&env::<String>("DATA_DIR")?).join("payments.sqlite");
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(5));
    let db = SqlitePoolOptions::new().max_connections(4).connect_with(options).await?;
    sqlx::raw_sql(SCHEMA).execute(&db).await?;
    if bug == Some(Bug::KeysInMemory) {
        sqlx::query("DELETE FROM keys").execute(&db).await?;
    }
    let till = Till { bug, db, bank: env("BANK")?, caller: Caller::default(), me: random() };
    Ok(Router::new().route("/payments", post(pay).get(list)).with_state(till))
}

async fn pay(
    State(till): State<Till>,
    headers: HeaderMap,
    Json(payment): Json<Payment>,
) -> Result<Response, Failed> {
    let key = headers.get("Idempotency-Key").map(|key| String::from_utf8_lossy(key.as_bytes()).into_owned());
    let key = match key {
        Some(key) => key,
        None if till.bug == Some(Bug::GoesWithoutKey) => random(),
        None => return Ok(StatusCode::BAD_REQUEST.into_response()),
    };
    // A client that hangs up doesn't end what it began.
    tokio::spawn(async move { till.pay(&key, payment).await }).await?
}

impl Till {
    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    async fn pay(&self, key: &str, payment: Payment) -> Result<Response, Failed> {
        let scope = if self.has(Bug::KeyWithoutScope) { "" } else { &payment.account };
        let mut won = self.claim(scope, key, &payment).await?;
        let kept = sqlx::query_as(KEPT).bind(scope).bind(key);
        let (amount, bank_key, status, body): Kept = kept.fetch_one(&self.db).await?;
        if self.has(Bug::ChecksThenInserts) && status.is_none() {
            tokio::time::sleep(SLOW).await;
            won = true;
        }
        if amount != payment.amount && !self.has(Bug::IgnoresThePayload) {
            return Ok(StatusCode::UNPROCESSABLE_ENTITY.into_response());
        }
        if let (Some(status), Some(mut body)) = (status, body) {
            if self.has(Bug::FreshIdInTheReplay) && status == 201 {
                body = json!({ "id": random(), "amount": payment.amount }).to_string();
            }
            return Ok(answer(StatusCode::from_u16(status)?, body));
        }
        if !won {
            return Ok(StatusCode::CONFLICT.into_response());
        }
        let status = self.charge(&bank_key, &payment).await;
        let kept_anyway = self.has(Bug::KeepsFailures)
            || !self.has(Bug::KeepsOnlySuccess) && status == StatusCode::PAYMENT_REQUIRED;
        if status == StatusCode::CREATED || kept_anyway {
            let body = self.record(scope, key, status, &payment).await?;
            return Ok(answer(status, body));
        }
        if !self.has(Bug::FailureLeavesTheClaim) {
            let release = "UPDATE keys SET holder = NULL WHERE account = $1 AND key = $2";
            sqlx::query(release).bind(scope).bind(key).execute(&self.db).await?;
        }
        Ok(answer(status, json!({ "error": "the bank didn't charge it" }).to_string()))
    }

    async fn claim(&self, scope: &str, key: &str, payment: &Payment) -> Result<bool> {
        let holder = if self.has(Bug::ClaimOutlivesTheProcess) { "somebody" } else { &self.me };
        let claim = sqlx::query(CLAIM).bind(scope).bind(key).bind(payment.amount).bind(random()).bind(holder);
        Ok(claim.execute(&self.db).await?.rows_affected() == 1)
    }

    /// Asks the bank; whatever is neither booked nor declined is a failure on the way.
    async fn charge(&self, bank_key: &str, payment: &Payment) -> StatusCode {
        let bank_key = if self.has(Bug::NewBankKeyPerAttempt) { random() } else { bank_key.to_owned() };
        let content = json!({ "account": payment.account, "amount": payment.amount }).to_string();
        let request = Request::post(format!("{}/charge", self.bank))
            .header("Idempotency-Key", bank_key)
            .header("Content-Type", "application/json")
            .body(content.into());
        let Ok(request) = request else { return StatusCode::BAD_GATEWAY };
        match tokio::time::timeout(PATIENCE, self.caller.send(request)).await {
            Ok(Ok((status @ (StatusCode::CREATED | StatusCode::PAYMENT_REQUIRED), _))) => status,
            _ => StatusCode::BAD_GATEWAY,
        }
    }

    /// The payment and its answer, both or neither.
    async fn record(&self, scope: &str, key: &str, status: StatusCode, payment: &Payment) -> Result<String> {
        let mut all = self.db.begin().await?;
        let mut body = json!({ "error": "the bank declines" }).to_string();
        if status == StatusCode::CREATED {
            let insert = sqlx::query("INSERT INTO payments (account, amount) VALUES ($1, $2)");
            let done = insert.bind(&payment.account).bind(payment.amount).execute(&mut *all).await?;
            body = json!({ "id": done.last_insert_rowid(), "amount": payment.amount }).to_string();
        }
        if self.has(Bug::RecordsInASecondTransaction) {
            all.commit().await?;
            tokio::time::sleep(SLOW).await;
            all = self.db.begin().await?;
        }
        sqlx::query("UPDATE keys SET status = $1, body = $2 WHERE account = $3 AND key = $4")
            .bind(status.as_u16())
            .bind(&body)
            .bind(scope)
            .bind(key)
            .execute(&mut *all)
            .await?;
        all.commit().await?;
        Ok(body)
    }
}

#[derive(Deserialize)]
struct Of {
    account: String,
}

async fn list(State(till): State<Till>, Query(of): Query<Of>) -> Result<Json<Vec<Value>>, Failed> {
    let rows: Vec<(i64, i64)> =
        sqlx::query_as("SELECT id, amount FROM payments WHERE account = $1 ORDER BY id")
            .bind(of.account)
            .fetch_all(&till.db)
            .await?;
    Ok(Json(rows.into_iter().map(|(id, amount)| json!({ "id": id, "amount": amount })).collect()))
}

fn answer(status: StatusCode, body: String) -> Response {
    (status, [("Content-Type", "application/json")], body).into_response()
}

fn random() -> String {
    format!("{:032x}", rand::random::<u128>())
}
