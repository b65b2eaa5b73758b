//! What the server counts about itself, for `/metrics`.

use crate::Site;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use backlab_engine::Verdict;
use metrics::{Counter, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Upper bounds of the buckets, in seconds.
const BUCKETS: [f64; 8] = [0.0001, 0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5];
const REQUESTS: &str = "backlab_requests_total";
const SECONDS: &str = "backlab_request_seconds";
const RUNS: &str = "backlab_runs_total";
const LINE: &str = "backlab_runs_under_way";

const META: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// A recorder of this server's own, not the process's: two servers in one process count apart.
pub(crate) struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    /// By route. To ask the recorder by name and labels costs ten times what counting does.
    routes: Mutex<HashMap<String, Route>>,
}

/// Where the answers of a route are counted.
struct Route {
    seconds: Histogram,
    answers: HashMap<StatusCode, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let builder = PrometheusBuilder::new();
        let builder = builder.set_buckets(&BUCKETS).unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        recorder.describe_counter(REQUESTS.into(), None, "Requests answered, by route and status.".into());
        recorder.describe_histogram(
            SECONDS.into(),
            None,
            "Seconds until an answer's head was ready, by route.".into(),
        );
        recorder.describe_counter(RUNS.into(), None, "Runs that ended, by verdict.".into());
        recorder.describe_gauge(LINE.into(), None, "Runs that wait or run.".into());
        Self { recorder: Arc::new(recorder), routes: Mutex::default() }
    }
}

impl Metrics {
    pub(crate) fn answered(&self, route: &str, status: StatusCode, took: Duration) {
        let label = || Label::new("route", route.to_owned());
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = match routes.get_mut(route) {
            Some(counted) => counted,
            None => routes.entry(route.to_owned()).or_insert_with(|| Route {
                seconds: self.recorder.register_histogram(&Key::from_parts(SECONDS, vec![label()]), &META),
                answers: HashMap::new(),
            }),
        };
        counted.seconds.record(took.as_secs_f64());
        let answers = counted.answers.entry(status).or_insert_with(|| {
            let status = Label::new("status", status.as_str().to_owned());
            self.recorder.register_counter(&Key::from_parts(REQUESTS, vec![label(), status]), &META)
        });
        answers.increment(1);
    }

    /// Empties the histograms' buffers from time to time.
    pub(crate) fn upkeep(&self) -> JoinHandle<()> {
        let handle = self.recorder.handle();
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_secs(5));
            loop {
                tick.tick().await;
                handle.run_upkeep();
            }
        })
    }
}

pub(crate) async fn metrics(State(site): State<Arc<Site>>) -> impl IntoResponse {
    let recorder = &site.metrics.recorder;
    for (verdict, count) in site.runs.verdicts() {
        let key = Key::from_parts(RUNS, vec![Label::new("verdict", verdict)]);
        recorder.register_counter(&key, &META).absolute(count);
    }
    recorder.register_gauge(&Key::from_name(LINE), &META).set(site.runs.under_way() as f64);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], recorder.handle().render())
}

/// The words by which runs are counted.
pub(crate) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "holds",
        Verdict::Refuted => "refuted",
        Verdict::Unavailable => "unavailable",
        Verdict::Failed => "failed",
    }
}
