//! What each address does.

use crate::Site;
use crate::guard::wants_json;
use crate::pages::{self, challenge::Checked, home::Filter, question::Reading};
use crate::refusal::Refusal;
use crate::rendered::{self, Page, once};
use crate::runs::{Run, Wanted};
use axum::Json;
use axum::extract::{Form, OriginalUri, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use backlab_engine::{Erased, Values};
use backlab_questions::Question;
use serde_json::json;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

type Shared = State<Arc<Site>>;
type Pairs = Vec<(String, String)>;
type Answer = Result<Response, Refusal>;

pub(crate) async fn home(State(site): Shared, Query(query): Query<Pairs>, headers: HeaderMap) -> Answer {
    let filter = Filter::read(&query)?;
    let render = async { Ok(pages::home::page(&site.assets, &site.store.progress().await?, &filter)) };
    if filter == Filter::default() {
        return rendered::page(&site, Page::Home, &headers, render).await;
    }
    Ok(once(render.await?, &headers))
}

pub(crate) async fn question(
    State(site): Shared,
    Path(name): Path<String>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<Pairs>,
    headers: HeaderMap,
) -> Answer {
    let question = named(&name)?;
    let path = pages::path(question);
    if uri.path() != path {
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        return Ok(Redirect::temporary(&format!("{path}{query}")).into_response());
    }
    if query.is_empty() {
        let render =
            async { Ok(pages::question::page(&site.assets, &reading(&site, question, None).await?)) };
        return rendered::page(&site, Page::Question(question), &headers, render).await;
    }
    let reading = reading(&site, question, Some(query.into_iter().collect())).await?;
    Ok(once(pages::question::page(&site.assets, &reading), &headers))
}

/// What is asked at other knobs, as a fragment.
pub(crate) async fn predict_card(
    State(site): Shared,
    Path(name): Path<String>,
    Query(query): Query<Pairs>,
) -> Answer {
    let question = named(&name)?;
    let reading = reading(&site, question, Some(query.into_iter().collect())).await?;
    Ok(Html(pages::trial::predict(&reading).into_string()).into_response())
}

pub(crate) async fn predict(
    State(site): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    Form(form): Form<Pairs>,
) -> Answer {
    let question = named(&name)?;
    let (tried, values) = knobs(question, form)?;
    let Some(predicted) = &tried.predicted else {
        return Err(Refusal::bad("No prediction", "The field `predicted` is empty: say what you expect."));
    };
    site.store.record_prediction(question.page.number, &values, *predicted).await?;
    Ok(done(&headers, question, &values, "run"))
}

/// "I'd rather read first", and "I have read it".
pub(crate) async fn read(State(site): Shared, Path(name): Path<String>, headers: HeaderMap) -> Answer {
    let question = named(&name)?;
    site.store.mark_read(question.page.number).await?;
    Ok(done(&headers, question, &Values::new(), "in-30-seconds"))
}

/// Starts a run; a prediction that came with it is kept first.
pub(crate) async fn run(
    State(site): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    Form(form): Form<Pairs>,
) -> Answer {
    let question = named(&name)?;
    let (tried, values) = knobs(question, form)?;
    let params = checked(tried.experiment, &values)?;
    let prediction = match tried.predicted {
        Some(predicted) => {
            let id = site.store.record_prediction(question.page.number, &values, predicted).await?;
            Some((id, predicted))
        }
        None => site
            .store
            .last_prediction(question.page.number)
            .await?
            .filter(|it| tried.experiment.check(&it.params).is_ok_and(|for_these| for_these == params))
            .map(|it| (it.id, it.predicted)),
    };
    let experiment = tried.experiment;
    let wanted = Wanted { question, experiment, values, params, prediction, seed: seed() };
    let run = site.runs.start(wanted).map_err(|crate::runs::Full| full())?;
    let page = format!("/runs/{}", run.id);
    if wants_json(&headers) {
        let started = json!({ "run": run.id, "page": page, "events": format!("{page}/events") });
        return Ok((StatusCode::ACCEPTED, Json(started)).into_response());
    }
    Ok(Redirect::to(&page).into_response())
}

/// The page that waits for a run where there are no scripts.
pub(crate) async fn waiting(State(site): Shared, Path(run): Path<String>, headers: HeaderMap) -> Answer {
    let run = run_named(&site, &run)?;
    match run.ended() {
        Some(ended) if ended.was_kept() => {
            Ok(Redirect::to(&format!("{}#outcome", pages::path(run.question))).into_response())
        }
        ended => {
            let ahead = site.runs.ahead_of(run.id);
            let page = pages::waiting::page(&site.assets, &run, ahead, ended.as_deref());
            let mut response = once(page, &headers);
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Ok(response)
        }
    }
}

pub(crate) async fn cancel(State(site): Shared, Path(run): Path<String>, headers: HeaderMap) -> Answer {
    let run = run_named(&site, &run)?;
    run.cancel.cancel();
    if wants_json(&headers) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(Redirect::to(&format!("/runs/{}", run.id)).into_response())
}

pub(crate) async fn doctor(State(site): Shared, headers: HeaderMap) -> Answer {
    site.parts.looked_up().await;
    Ok(once(pages::doctor::page(&site.assets), &headers))
}

pub(crate) async fn livez() -> &'static str {
    "ok\n"
}

/// Whether what a reader does can be kept.
pub(crate) async fn readyz(State(site): Shared) -> Answer {
    if site.shutdown.is_cancelled() {
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "Ending", "The server is shutting down."));
    }
    site.store.progress().await?;
    Ok("ok\n".into_response())
}

pub(crate) async fn nothing_here(OriginalUri(uri): OriginalUri) -> Refusal {
    Refusal::not_found(
        "Nothing here",
        format!("There is no page `{}`. All questions are on the first page.", uri.path()),
    )
}

/// The run with this id, as an address names it.
pub(crate) fn run_named(site: &Site, id: &str) -> Result<Arc<Run>, Refusal> {
    id.parse().ok().and_then(|id| site.runs.get(id)).ok_or_else(|| {
        Refusal::not_found(
            "No such run",
            format!("Run `{id}` ended long ago or never was; its question shows the last one."),
        )
    })
}

/// The question as an address names it: `7-http-methods`, `7`, `http-methods`.
fn named(name: &str) -> Result<&'static Question, Refusal> {
    let by_number = || backlab_questions::find(name.split_once('-')?.0);
    backlab_questions::find(name).or_else(by_number).ok_or_else(|| {
        Refusal::not_found(
            "No such question",
            format!(
                "`{name}` is neither a number from 1 to {} nor the name of a question.",
                backlab_questions::ALL.len()
            ),
        )
    })
}

/// What a form asks to try.
struct Tried {
    experiment: &'static Erased,
    predicted: Option<u64>,
}

/// Takes a form apart into the prediction and the knobs, and checks both.
fn knobs(question: &'static Question, form: Pairs) -> Result<(Tried, Values), Refusal> {
    let experiment = question.experiment.ok_or_else(|| no_experiment(question))?;
    let mut values: Values = form.into_iter().collect();
    let said = values.remove("predicted").filter(|it| !it.trim().is_empty());
    let ask = (experiment.ask)(&values).map_err(|error| bad_knob(&error))?;
    let predicted = said
        .map(|said| {
            ask.kind
                .parse(&said)
                .map_err(|why| Refusal::bad("Not a prediction", format!("{why}. {}", ask.ask)))
        })
        .transpose()?;
    Ok((Tried { experiment, predicted }, values))
}

fn checked(
    experiment: &Erased,
    values: &Values,
) -> Result<std::collections::BTreeMap<&'static str, serde_json::Value>, Refusal> {
    experiment.check(values).map_err(|error| bad_knob(&error))
}

fn bad_knob(error: &anyhow::Error) -> Refusal {
    Refusal::bad("Not a setting of this experiment", format!("{error:#}."))
}

fn no_experiment(question: &Question) -> Refusal {
    Refusal::not_found(
        "No experiment yet",
        format!("Question {} can't be run yet: its experiment isn't written.", question.page.number),
    )
}

fn full() -> Refusal {
    Refusal::new(
        StatusCode::TOO_MANY_REQUESTS,
        "The line is full",
        format!("One run is under way and {} wait. Try again when one has ended.", crate::runs::WAITING),
    )
}

/// After a form: back to the question's page with the knobs as they were set; a script needs no page.
fn done(headers: &HeaderMap, question: &Question, values: &Values, part: &str) -> Response {
    if wants_json(headers) {
        return StatusCode::NO_CONTENT.into_response();
    }
    let query = pages::query(values.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    Redirect::to(&format!("{}{query}#{part}", pages::path(question))).into_response()
}

/// Gathers what a question's page shows, with the knobs set as given (else as in the last run, else at their defaults).
async fn reading(
    site: &Site,
    question: &'static Question,
    values: Option<Values>,
) -> Result<Reading, Refusal> {
    let number = question.page.number;
    if let (Some(experiment), Some(values)) = (question.experiment, &values) {
        checked(experiment, values)?;
    }
    site.parts.looked_up().await;
    let last = site.store.last_run(number).await?;
    let (mut checked, mut passed) = (None, None);
    if question.challenge.is_some() {
        checked = site.store.last_grade(number).await?.and_then(Checked::read);
        passed = site.store.last_pass(number).await?;
    }
    Ok(Reading {
        question,
        values,
        status: site.store.status(number).await?,
        prediction: site.store.last_prediction(number).await?,
        last: last.and_then(|run| Some((serde_json::from_str(&run.report).ok()?, run))),
        earlier: site.store.runs(number, 11).await?,
        measured: site.store.measured(number).await?,
        checked,
        passed,
        under_way: site.runs.of(number),
    })
}

/// A seed that nobody chose; the report tells it, so that the run can be repeated.
fn seed() -> u64 {
    // The standard library's hash keys are random, fresh for each value.
    RandomState::new().hash_one(0) >> 32
}
