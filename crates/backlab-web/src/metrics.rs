//! What the server counts about itself, for `/metrics`.

use crate::Site;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use backlab_engine::Verdict;
use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use std::sync::Arc;
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
pub(crate) struct Metrics(Arc<PrometheusRecorder>);

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
        Self(Arc::new(recorder))
    }
}

impl Metrics {
    pub(crate) fn answered(&self, route: &str, status: StatusCode, took: Duration) {
        let route = Label::new("route", route.to_owned());
        let status = Label::new("status", status.as_str().to_owned());
        self.0.register_counter(&Key::from_parts(REQUESTS, vec![route.clone(), status]), &META).increment(1);
        self.0.register_histogram(&Key::from_parts(SECONDS, vec![route]), &META).record(took.as_secs_f64());
    }

    /// Empties the histograms' buffers from time to time.
    pub(crate) fn upkeep(&self) -> JoinHandle<()> {
        let handle = self.0.handle();
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
    let recorder = &site.metrics.0;
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
