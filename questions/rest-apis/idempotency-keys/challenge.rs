//! Payments that can be retried.
//!
//! A server on `PORT` takes payments and has a bank charge them. It keeps what it has to remember in the directory
//! `DATA_DIR`, and asks the bank at the URL `BANK`, such as `http://127.0.0.1:4711`.
//!
//! ```text
//! POST /payments  Idempotency-Key: <key>  {"account": "anna", "amount": 5}
//!     201  {"id": …, "amount": 5}  the bank has booked it; the id is yours to choose
//!     402  the bank declines
//!     502  the bank answered with a status of 500 or above, or not at all
//!     400  there is no Idempotency-Key; the bank isn't asked
//!     422  this account used this key before, with another amount; the bank isn't asked
//!     409  a request with this account and key is still being carried out
//! GET /payments?account=anna
//!     200  [{"id": …, "amount": 5}]  the payments of this account that were answered with 201, or would have been
//! ```
//!
//! A key belongs to its account: two accounts may use the same one. A request whose account and key came before is a
//! repeat. It gets the status and the body of the first answer, to the byte, and the bank isn't asked again. That holds
//! for 201 and 402; a 502 is not kept, and the repeat tries again. Instead of answering 409, a repeat may also wait for
//! the first answer and get that.
//!
//! The bank has one method, and keys of its own:
//!
//! ```text
//! POST /charge  Idempotency-Key: <a key of your choice>  {"account": "anna", "amount": 5}
//!     201  {"charge": "…"}  booked
//!     402  declined, nothing is booked
//!     500  nothing is booked this time
//!     422  this key came before with another account or amount
//! ```
//!
//! To the bank you are one customer, whatever the account: its keys are all in one space. A key that comes again with
//! the same content gets the first answer of 201 or 402 again, and nothing is booked anew. It is slow at times.
//!
//! Your program may be killed (SIGKILL) at any moment and started again on the same `DATA_DIR`, one process at a time.
//! It doesn't go on with anything by itself then: it waits for the repeat, carries that out (a 409 would be wrong,
//! since nothing is being carried out any more), and whatever happened before, there is one charge and one payment.

use crate::prelude::*;

#[path = "bank.rs"]
mod bank;
#[path = "reference.rs"]
mod reference;

use bank::{Bank, Mood};

/// How long the bank keeps answers back for a crowd, from the moment when the crowd is sent.
const CROWD: Duration = Duration::from_millis(400);
/// How long the program may take until it asks the bank.
const ASKS_WITHIN: Duration = Duration::from_secs(5);
/// How long it may take from the bank's answers to its own writes; it is killed then in any case.
const WRITES_WITHIN: Duration = Duration::from_millis(300);

pub struct IdempotencyKeys;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bug {
    FreshIdInTheReplay,
    GoesWithoutKey,
    IgnoresThePayload,
    ChecksThenInserts,
    KeyWithoutScope,
    KeepsFailures,
    FailureLeavesTheClaim,
    KeysInMemory,
    NewBankKeyPerAttempt,
    ClaimOutlivesTheProcess,
    RecordsInASecondTransaction,
    KeepsOnlySuccess,
}

impl Challenge for IdempotencyKeys {
    type Bug = Bug;

    fn stages() -> Vec<Stage<Bug>> {
        vec![
            stage("a repeat gets the same bytes, and the bank is asked once", repeats)
                .catches(Bug::FreshIdInTheReplay, "The repeat is recognised, and its answer is made anew with another id.")
                .hint("Keep status and body as they were sent, under the account and the key, and send them again."),
            stage("without a key it is 400, and with another amount 422; neither is charged", refuses)
                .catches(Bug::GoesWithoutKey, "A request without Idempotency-Key is carried out like any other.")
                .catches(
                    Bug::IgnoresThePayload,
                    "The key alone decides: another amount under it gets the answer of the first.",
                )
                .hint("Keep the amount, or a hash of the content, with the key, and compare before you replay."),
            stage("twenty at once with one key are one payment", twenty_at_once)
                .catches(
                    Bug::ChecksThenInserts,
                    "The key is looked up first and stored later: requests that come in between find nothing.",
                )
                .hint(
                    "Claim the key before you ask the bank, in one step: an insert under a unique constraint has one \
                     winner.",
                ),
            stage("two accounts may use the same key", two_accounts)
                .catches(
                    Bug::KeyWithoutScope,
                    "The key is looked up without its account, here or at the bank, which has one space for all keys.",
                )
                .hint("The unique constraint is over account and key; the bank's key is one that you draw, or has both in it."),
            stage("after the bank's 500 the repeat goes through, once", bank_breaks)
                .catches(Bug::KeepsFailures, "The 502 is kept under the key, and replayed for ever.")
                .catches(
                    Bug::FailureLeavesTheClaim,
                    "The claim on the key stays when the bank fails, so that each repeat takes it for running.",
                )
                .hint("A failure that another attempt may cure isn't an answer to keep: give the claim back."),
            stage("killed while the bank is being asked: the repeat finds one charge", killed_asking)
                .catches(Bug::KeysInMemory, "Keys and answers are only in memory, and a new process knows none of them.")
                .catches(
                    Bug::NewBankKeyPerAttempt,
                    "Each attempt goes to the bank under a new key, so that the bank can't know it for a repeat.",
                )
                .catches(
                    Bug::ClaimOutlivesTheProcess,
                    "The claim of the process that was killed is on disk, and the new one takes it for running.",
                )
                .hint(
                    "Store the claim together with the bank's key before you ask; a claim says which process holds it, \
                     and a new process takes over what a dead one held.",
                ),
            stage("killed between the bank's answer and its own: one charge, one payment", killed_recording)
                .catches(
                    Bug::RecordsInASecondTransaction,
                    "Payment and answer are stored one after the other: after a crash in between the repeat stores a \
                     second payment.",
                )
                .hint("One transaction for both, the payment and the answer under its key."),
            stage("a decline is an answer: it is replayed, and the bank isn't asked again", declines)
                .catches(Bug::KeepsOnlySuccess, "Only a 201 is kept under the key; after a 402 the bank is asked again.")
                .hint("Ask of each answer whether a repeat could get another one: a decline is final, as a success is."),
        ]
    }

    async fn reference(bug: Option<Bug>) -> Result<()> {
        crate::reference::serve(reference::router(bug).await?).await
    }
}

/// What a client wants to pay, and sends until it knows.
struct Intent {
    account: String,
    key: String,
    amount: u32,
}

impl Intent {
    fn new(g: &Grader) -> Self {
        let [account, key] = g.words();
        Self { account, key, amount: g.number(2..100_000) }
    }

    fn pay(&self, it: &Subject) -> Call {
        it.post("/payments")
            .header("Idempotency-Key", &self.key)
            .json(&json!({ "account": self.account, "amount": self.amount }))
    }

    /// Pays for the first time, in peace.
    async fn pay_first(&self, it: &Subject) -> Graded<Answer> {
        let first = self.pay(it).await?.status(201)?.has("amount", self.amount)?;
        first.field("id")?;
        Ok(first)
    }

    /// The account has just this payment, as it was answered.
    async fn is_listed_once(&self, it: &Subject, paid: &Answer) -> Graded {
        let expected = json!([{ "id": paid.field("id")?, "amount": self.amount }]);
        self.is_listed(it, expected).await
    }

    async fn is_listed(&self, it: &Subject, expected: Value) -> Graded {
        let listed = it.get(format!("/payments?account={}", self.account)).await?.status(200)?;
        let json = listed.json()?;
        let payments = json.as_array().ok_or_else(|| listed.wrong("the body", "an array", &json))?;
        let whole = |it: &Value| it.as_i64().or(it.as_f64().map(|it| it as i64));
        let payment = |it: &Value| json!({ "id": it["id"], "amount": whole(&it["amount"]) });
        let found: Value = payments.iter().map(payment).collect();
        listed.expect("the payments", found, expected)
    }

    /// The bank was asked so often, whatever it answered.
    fn is_asked(&self, g: &Grader, bank: &Bank, times: usize) -> Graded {
        let what = format!("requests to BANK for account {}", self.account);
        g.expect(what, bank.asked(&self.account), times)
    }

    fn is_booked_once(&self, g: &Grader, bank: &Bank) -> Graded {
        g.expect(format!("charges at BANK for account {}", self.account), bank.booked(&self.account), 1)
    }
}

async fn start(g: &Grader, bank: &Bank) -> Graded<Subject> {
    let dir = g.dir("store")?;
    g.start(&[("BANK", &bank.server.url()), ("DATA_DIR", &dir.display().to_string())]).await
}

async fn repeats(g: &Grader) -> Graded {
    let bank = Bank::open(g)?;
    let it = start(g, &bank).await?;
    let intent = Intent::new(g);
    let first = intent.pay_first(&it).await?;
    if bank.asked(&intent.account) == 0 {
        return Err(first
            .wrong("the way to BANK", "one POST /charge before the 201", "none")
            .because("Your program answers 201 and doesn't ask the bank."));
    }
    intent.is_asked(g, &bank, 1)?;
    let again = intent.pay(&it).await?;
    intent
        .is_asked(g, &bank, 1)
        .because("The repeat is carried out like a new request: its key isn't looked up.")?;
    again.same_as(&first)?;
    intent.is_booked_once(g, &bank)?;
    intent.is_listed_once(&it, &first).await?;
    Intent::new(g).is_listed(&it, json!([])).await
}

async fn refuses(g: &Grader) -> Graded {
    let bank = Bank::open(g)?;
    let it = start(g, &bank).await?;
    let keyless = Intent::new(g);
    let content = json!({ "account": keyless.account, "amount": keyless.amount });
    it.post("/payments")
        .json(&content)
        .await?
        .status(400)
        .because("A request without Idempotency-Key is carried out like any other.")?;
    keyless.is_asked(g, &bank, 0)?;

    let intent = Intent::new(g);
    let first = intent.pay_first(&it).await?;
    let other =
        Intent { account: intent.account.clone(), key: intent.key.clone(), amount: intent.amount + 1 };
    other
        .pay(&it)
        .await?
        .status(422)
        .because("The key alone decides: another amount under it gets the answer of the first.")?;
    intent.is_asked(g, &bank, 1)?;
    intent.pay(&it).await?.same_as(&first)?;
    intent.is_listed_once(&it, &first).await
}

async fn twenty_at_once(g: &Grader) -> Graded {
    const CLIENTS: usize = 20;
    let bank = Bank::open(g)?;
    let it = start(g, &bank).await?;
    let intent = Intent::new(g);
    g.note("BANK keeps its answers back while twenty requests come in");
    let held = bank.server.hold(|_| true);
    let crowd = join_all((0..CLIENTS).map(|_| intent.pay(&it).into_future()));
    let (answers, ()) = tokio::join!(crowd, async {
        bank.server.arrivals(CLIENTS, CROWD).await;
        held.open();
    });
    let answers = answers.into_iter().collect::<Graded<Vec<_>>>()?;
    intent.is_asked(g, &bank, 1)?;
    for answer in &answers {
        answer.clone().one_of(&[201, 409])?;
    }
    let paid = answers.iter().find(|it| it.code() == 201);
    let paid =
        paid.ok_or_else(|| g.wrong("the statuses of twenty at once", "a 201 among them", "409 each time"))?;
    for answer in answers.iter().filter(|it| it.code() == 201) {
        answer.same_as(paid)?;
    }
    intent.pay(&it).await?.same_as(paid)?;
    intent.is_listed_once(&it, paid).await
}

async fn two_accounts(g: &Grader) -> Graded {
    let bank = Bank::open(g)?;
    let it = start(g, &bank).await?;
    let one = Intent::new(g);
    let other = Intent { account: g.word(), key: one.key.clone(), amount: one.amount };
    let ones = one.pay_first(&it).await?;
    let others = other.pay_first(&it).await?;
    for intent in [&one, &other] {
        intent.is_asked(g, &bank, 1)?;
        intent.is_booked_once(g, &bank)?;
    }
    other.is_listed_once(&it, &others).await?;
    one.is_listed_once(&it, &ones).await?;
    one.pay(&it).await?.same_as(&ones)?;
    other.pay(&it).await?.same_as(&others)
}

async fn bank_breaks(g: &Grader) -> Graded {
    let bank = Bank::open(g)?;
    let it = start(g, &bank).await?;
    let intent = Intent::new(g);
    bank.turns(g, Mood::Breaks);
    intent.pay(&it).await?.status(502)?;
    intent.is_listed(&it, json!([])).await?;
    bank.turns(g, Mood::Books);
    let again = intent.pay(&it).await?;
    let cause = match again.code() {
        409 => "The claim on the key stays when the bank fails, so that each repeat takes it for running.",
        _ => "The 502 is kept under the key, and replayed for ever.",
    };
    let paid = again.status(201).because(cause)?.has("amount", intent.amount)?;
    intent.pay(&it).await?.same_as(&paid)?;
    intent.is_booked_once(g, &bank)?;
    intent.is_listed_once(&it, &paid).await
}

async fn killed_asking(g: &Grader) -> Graded {
    let bank = Bank::open(g)?;
    let it = start(g, &bank).await?;
    let (done, cut) = (Intent::new(g), Intent::new(g));
    let first = done.pay_first(&it).await?;
    g.note("BANK books the next charge and keeps its answer back; meanwhile your program is killed");
    let before = bank.server.count(|_| true);
    let held = bank.server.hold(|_| true);
    let (_, killed) = tokio::join!(cut.pay(&it).outcome(), async {
        bank.server.arrivals(before + 1, ASKS_WITHIN).await;
        let asked = cut.is_asked(g, &bank, 1);
        it.kill().await?;
        asked
    });
    killed?;
    held.open();

    let it = g.start_again(&it).await?;
    done.pay(&it).await?.same_as(&first).because(
        "A payment that was answered before the crash isn't known after it: keys and answers are only in memory.",
    )?;
    let again = cut.pay(&it).await?;
    let running = again.code() == 409;
    let paid = again.status(201).map_err(|wrong| match running {
        true => wrong.because(
            "The claim of the process that was killed is on disk, and the new one takes it for running.",
        ),
        false => wrong,
    })?;
    cut.is_booked_once(g, &bank).because(
        "Each attempt goes to the bank under a new key, so that the bank can't know it for a repeat.",
    )?;
    cut.is_listed_once(&it, &paid).await?;
    done.is_listed_once(&it, &first).await?;
    cut.pay(&it).await?.same_as(&paid)
}

/// Many payments are on their way from the bank at once, and the process ends right after one of the writes that follow:
/// the first or a later one, so that it ends in each place where it may have stored one thing and not yet the other.
async fn killed_recording(g: &Grader) -> Graded {
    const PAYMENTS: usize = 8;
    const WRITES: [usize; 8] = [1, 1, 1, 2, 3, 5, 8, 13];
    let (bank, dir) = (Bank::open(g)?, g.dir("store")?);
    let mut it = start(g, &bank).await?;
    for writes in WRITES {
        g.note(format_args!(
            "BANK books {PAYMENTS} charges, then answers all at once; your program is killed after about {writes} \
             writes to DATA_DIR"
        ));
        let intents: Vec<Intent> = (0..PAYMENTS).map(|_| Intent::new(g)).collect();
        let before = bank.server.count(|_| true);
        let held = bank.server.hold(|_| true);
        let pays = join_all(intents.iter().map(|intent| intent.pay(&it).outcome()));
        let (outcomes, killed) = tokio::join!(pays, async {
            bank.server.arrivals(before + PAYMENTS, CROWD).await;
            let killed = it.kill_at_write(&dir, writes, WRITES_WITHIN)?;
            held.open();
            killed.await
        });
        killed?;
        it = g.start_again(&it).await?;
        for (intent, outcome) in intents.iter().zip(outcomes) {
            let paid = intent.pay(&it).await?.status(201)?;
            if let Ok(first) = outcome {
                first.clone().status(201)?;
                paid.same_as(&first)?;
            }
            intent.is_booked_once(g, &bank)?;
            intent.is_listed_once(&it, &paid).await?;
        }
    }
    Ok(())
}

async fn declines(g: &Grader) -> Graded {
    let bank = Bank::open(g)?;
    let it = start(g, &bank).await?;
    let intent = Intent::new(g);
    bank.turns(g, Mood::Declines);
    let declined = intent.pay(&it).await?.status(402)?;
    bank.turns(g, Mood::Books);
    intent.pay(&it).await?.same_as(&declined)?;
    intent.is_asked(g, &bank, 1)?;
    intent.is_listed(&it, json!([])).await
}
