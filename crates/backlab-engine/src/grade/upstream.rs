//! A server of the grader's own that the program under test calls: it remembers every request, and holds and answers it
//! as the stage says.

use super::finding::Graded;
use super::grader::Grader;
use axum::Router;
use axum::extract::{Request, State};
use backlab_parts::gate::Gate;
use backlab_parts::http::Server;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// Bytes that the content of a request may have; a longer one is taken for empty.
const LARGEST_BODY: usize = 1 << 20;

/// A running server; it ends when it is dropped.
#[derive(Debug)]
pub struct Upstream {
    server: Server,
    desk: Arc<Desk>,
}

/// A request of the program under test.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

type Answer = Box<dyn Fn(&Received) -> (StatusCode, String) + Send + Sync>;
type Wanted = Box<dyn Fn(&Received) -> bool + Send + Sync>;

struct Desk {
    answer: Answer,
    asked: Mutex<Vec<Received>>,
    held: Mutex<Option<(Wanted, Gate)>>,
    arrivals: Gate,
}

impl Grader {
    /// Serves a fresh server under this name. `answer` carries each request out when it arrives and says the answer,
    /// which is sent then, or after a [hold](Upstream::hold).
    pub fn upstream(
        &self,
        name: &str,
        answer: impl Fn(&Received) -> (StatusCode, String) + Send + Sync + 'static,
    ) -> Graded<Upstream> {
        let (asked, held, arrivals) = (Mutex::default(), Mutex::default(), Gate::closed());
        let desk = Arc::new(Desk { answer: Box::new(answer), asked, held, arrivals });
        let server = self.lab().serve(name, Router::new().fallback(take).with_state(desk.clone()))?;
        Ok(Upstream { server, desk })
    }
}

impl Upstream {
    /// Such as `http://127.0.0.1:4711`, without a slash at the end.
    pub fn url(&self) -> String {
        self.server.url("")
    }

    /// All that was asked so far, in order of arrival.
    pub fn asked(&self) -> Vec<Received> {
        self.desk.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many of the requests are such ones.
    pub fn count(&self, wanted: impl Fn(&Received) -> bool) -> usize {
        let asked = self.desk.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter(|it| wanted(it)).count()
    }

    /// Waits until so many requests have come since the beginning, or until the time is over; whoever needs to know
    /// which of both it was counts them. All that came were carried out by then, held or not.
    pub async fn arrivals(&self, enough: usize, within: Duration) {
        let _ = timeout(within, self.desk.arrivals.arrivals(enough as u64)).await;
    }

    /// Waits until so many such requests have come since the beginning, or until the time is over, as
    /// [`arrivals`](Upstream::arrivals) does for all.
    pub async fn arrivals_of(&self, wanted: impl Fn(&Received) -> bool, enough: usize, within: Duration) {
        let came = async {
            loop {
                // Taken before the look: who comes after it ends the wait.
                let next = self.desk.arrivals.arrived() + 1;
                if self.count(&wanted) >= enough {
                    return;
                }
                let _ = self.desk.arrivals.arrivals(next).await;
            }
        };
        let _ = timeout(within, came).await;
    }

    /// Carries out such requests from now on, and keeps their answers back until the gate is opened, or ten seconds at
    /// the longest. There is one hold at a time: a second one takes the place of the first, whose gate stays as it is.
    pub fn hold(&self, wanted: impl Fn(&Received) -> bool + Send + Sync + 'static) -> Gate {
        let gate = Gate::closed();
        let held = Some((Box::new(wanted) as Wanted, gate.clone()));
        *self.desk.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
        gate
    }
}

impl Desk {
    /// Carries a request out; returns its answer and what has to open before it is sent.
    fn carry_out(&self, asked: Received) -> ((StatusCode, String), Option<Gate>) {
        let answer = (self.answer)(&asked);
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = held.as_ref().filter(|(wanted, _)| wanted(&asked)).map(|(_, gate)| gate.clone());
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        self.arrivals.arrive();
        (answer, gate)
    }
}

async fn take(State(desk): State<Arc<Desk>>, request: Request) -> (StatusCode, String) {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, LARGEST_BODY).await.unwrap_or_default();
    let path = head.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let (answer, gate) = desk.carry_out(Received { method: head.method, path, headers: head.headers, body });
    if let Some(gate) = gate {
        // A hold that nobody ended has lasted as long as a hold may.
        let _ = gate.pass().await;
    }
    answer
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("arrivals", &self.arrivals.arrived()).finish_non_exhaustive()
    }
}
