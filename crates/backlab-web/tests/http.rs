//! The page over HTTP: what it answers, what it refuses and how, and that no input makes it fail.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use backlab_engine::{Failure, Grade, Mark, StageGrade};
use backlab_questions::{ALL, Challenge, Question};
use backlab_store::Store;
use backlab_web::Config;
use http_body_util::BodyExt;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

struct Served {
    router: Router,
    store: Store,
    dir: tempfile::TempDir,
}

struct Got {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

async fn served() -> Served {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("backlab.db")).await.unwrap();
    let config = Config {
        bind: "127.0.0.1:8150".parse().unwrap(),
        store: store.clone(),
        allowed_hosts: vec!["Team.Example".to_owned()],
        shutdown: CancellationToken::new(),
    };
    Served { router: backlab_web::router(config), store, dir }
}

impl Served {
    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Got {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header(header::HOST, "127.0.0.1:8150");
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        let answer = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        Got { status, headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    async fn get(&self, path: &str) -> Got {
        self.send(Method::GET, path, &[], "").await
    }

    async fn post(&self, path: &str, form: &str) -> Got {
        self.send(Method::POST, path, &[FORM], form.to_owned()).await
    }
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("accept", "application/json");

impl Got {
    fn header(&self, name: impl header::AsHeaderName) -> &str {
        self.headers.get(name).map(|it| it.to_str().unwrap()).unwrap_or_default()
    }
}

#[tokio::test]
async fn every_page_is_there_whole_and_without_inline_script_or_style() {
    let site = served().await;
    let questions = ALL.iter().map(|it| format!("/q/{}-{}", it.page.number, it.page.slug));
    let paths: Vec<_> = ["/".to_owned(), "/doctor".to_owned()].into_iter().chain(questions).collect();
    assert_eq!(paths.len(), 152);
    for path in paths {
        let page = site.get(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(page.text.ends_with("</html>") && page.text.contains("<h1>"), "{path} is cut");
        assert!(page.header(header::CONTENT_SECURITY_POLICY).contains("default-src 'none'"), "{path}");
        assert!(!page.text.contains(" style=\""), "{path} has an inline style, which the policy forbids");
        let scripts = page.text.matches("<script").count();
        assert_eq!(scripts, page.text.matches("<script type=\"module\" src=\"/assets/").count(), "{path}");
        let ids: Vec<_> = page.text.split(" id=\"").skip(1).map(|it| it.split('"').next().unwrap()).collect();
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len(), "{path} has an id twice");
    }
}

#[tokio::test]
async fn the_list_counts_honestly_and_filters_as_its_address_says() {
    let site = served().await;
    site.store.mark_read(8).await.unwrap();
    let shown = |page: &Got| 150 - page.text.matches(" hidden data-track=").count();
    let home = site.get("/").await;
    let runnable = ALL.iter().filter(|it| it.experiment.is_some()).count();
    assert!(runnable == 150 || home.text.contains(&format!("<b>{runnable}</b> of 150 run today")));
    assert!(home.text.contains("<b>1</b> read") && home.text.contains("<b>0</b> of 150 verified"));
    assert_eq!(shown(&home), 150);

    let in_track = |slug: &str| ALL.iter().filter(|it| it.page.track.slug() == slug).count();
    assert_eq!(shown(&site.get("/?track=caching").await), in_track("caching"));
    assert_eq!(shown(&site.get("/?runs=yes").await), runnable);
    assert_eq!(shown(&site.get("/?status=read").await), 1);
    let build = challenges().count();
    assert_eq!(shown(&site.get("/?build=yes").await), build);
    assert!(home.text.contains(&format!("<b>{build}</b> to build")));
    assert_eq!(home.text.matches(">to build</span>").count(), build, "each is marked");
    assert_eq!(shown(&site.get("/?q=idempotency+KEYS+113").await), 1);
    assert_eq!(shown(&site.get("/?q=consistent-hashing").await), 1, "by its slug");
    assert_eq!(shown(&site.get("/?track=caching&q=idempotency+keys&level=&status=&runs=").await), 0);
}

#[tokio::test]
async fn a_question_is_found_by_number_by_name_and_by_an_old_name() {
    let site = served().await;
    for name in ["7", "http-methods", "7-an-older-name", "07"] {
        let answer = site.get(&format!("/q/{name}?requests=3")).await;
        assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT, "{name}");
        assert_eq!(answer.header(header::LOCATION), "/q/7-http-methods?requests=3");
    }
}

#[tokio::test]
async fn a_page_is_sent_once_per_change() {
    let site = served().await;
    let first = site.get("/q/8-http-status-codes").await;
    let tag = first.header(header::ETAG).to_owned();
    let again = site.send(Method::GET, "/q/8-http-status-codes", &[("if-none-match", &tag)], "").await;
    assert_eq!(
        (again.status, again.text.as_str(), again.header(header::ETAG)),
        (StatusCode::NOT_MODIFIED, "", &*tag)
    );
    let head = site.send(Method::HEAD, "/q/8-http-status-codes", &[], "").await;
    assert_eq!((head.status, head.text.as_str()), (StatusCode::OK, ""));

    let read = site.post("/q/8/read", "").await;
    assert_eq!(read.status, StatusCode::SEE_OTHER);
    let changed = site.send(Method::GET, "/q/8-http-status-codes", &[("if-none-match", &tag)], "").await;
    assert_eq!(changed.status, StatusCode::OK);
    assert!(changed.text.contains("<span>read</span>"));
}

#[tokio::test]
async fn assets_are_kept_for_ever() {
    let site = served().await;
    let page = site.get("/").await.text;
    let paths: Vec<_> = page.split('"').filter(|it| it.starts_with("/assets/")).collect();
    assert!(paths.len() >= 4, "{paths:?}");
    for path in paths {
        let asset = site.get(path).await;
        assert_eq!(asset.status, StatusCode::OK, "{path}");
        assert!(asset.header(header::CACHE_CONTROL).contains("immutable"), "{path}");
    }
    assert_eq!(site.get("/assets/page.000000000000.css").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn only_our_own_names_are_answered() {
    let site = served().await;
    for host in ["localhost:8150", "127.0.0.1", "[::1]:8150", "TEAM.example"] {
        assert_eq!(
            site.send(Method::GET, "/livez", &[("host", host)], "").await.status,
            StatusCode::OK,
            "{host}"
        );
    }
    for host in
        ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8150", "0.0.0.0", "10.0.0.1"]
    {
        let answer = site.send(Method::GET, "/", &[("host", host)], "").await;
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{host}");
        assert!(answer.text.contains("--host"), "it says how to allow a name");
    }
    for host in ["", "user@127.0.0.1", "127.0.0.1 evil"] {
        assert_eq!(
            site.send(Method::GET, "/", &[("host", host)], "").await.status,
            StatusCode::BAD_REQUEST,
            "{host}"
        );
    }
    let absolute = site.send(Method::GET, "http://evil.example/", &[], "").await;
    assert_eq!(absolute.status, StatusCode::MISDIRECTED_REQUEST, "the first line goes before Host");
}

#[tokio::test]
async fn only_our_own_pages_may_change_something() {
    let site = served().await;
    let ours = "http://127.0.0.1:8150";
    for headers in [
        vec![("sec-fetch-site", "cross-site")],
        vec![("sec-fetch-site", "same-site"), ("origin", ours)],
        vec![("origin", "http://evil.example")],
        vec![("origin", "null")],
        vec![("origin", "http://127.0.0.1:9999")],
    ] {
        let answer = site.send(Method::POST, "/q/8/read", &headers, "").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{headers:?}");
    }
    assert_eq!(site.store.status(8).await.unwrap().word(), "new");
    for headers in [vec![("sec-fetch-site", "same-origin")], vec![("origin", ours)], vec![]] {
        let answer = site.send(Method::POST, "/q/8/read", &headers, "").await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{headers:?}");
    }
}

#[tokio::test]
async fn bad_input_is_refused_in_words_and_never_breaks_anything() {
    let site = served().await;
    let bare = ALL.iter().find(|it| it.experiment.is_none()).map(|it| format!("/q/{}/run", it.page.number));
    let long = format!("/?q={}", "x".repeat(3000));
    let search = format!("/?q={}", "x".repeat(300));
    let (get, post) = (Method::GET, Method::POST);
    let cases = [
        (&get, "/nothing", "", 404),
        (&get, "/q/0", "", 404),
        (&get, "/q/151", "", 404),
        (&get, "/q/99999999999999999999", "", 404),
        (&get, "/q/-7", "", 404),
        (&get, "/q/%00", "", 404),
        (&get, "/q/%ff", "", 400),
        (&get, "/q/..%2f..%2fetc%2fpasswd", "", 404),
        (&get, "/?track=kitchen", "", 400),
        (&get, "/?level=HARD", "", 400),
        (&get, "/?status=done", "", 400),
        (&get, "/?runs=maybe", "", 400),
        (&get, "/?build=maybe", "", 400),
        (&get, &search, "", 400),
        (&get, &long, "", 414),
        (&get, "/runs/1", "", 404),
        (&get, "/runs/x/events", "", 404),
        (&post, "/runs/1/cancel", "", 404),
        (&post, "/q/nothing/read", "", 404),
        (&post, "/", "", 405),
        (&Method::DELETE, "/q/7-http-methods", "", 405),
        (&get, "/q/7/run", "", 405),
    ];
    let bare = bare.iter().map(|path| (&post, path.as_str(), "", 404));
    for (method, path, form, status) in cases.into_iter().chain(bare) {
        let page = site.send(method.clone(), path, &[FORM], form).await;
        assert_eq!(page.status.as_u16(), status, "{method} {path}");
        assert!(
            page.text.contains("<h1>") && page.text.contains("class=\"lede\""),
            "{method} {path} says why"
        );
        let json = site.send(method.clone(), path, &[FORM, JSON], form).await;
        let said: serde_json::Value = serde_json::from_str(&json.text).unwrap();
        assert!(said["error"].is_string() && said["why"].is_string(), "{method} {path}: {said}");
    }
}

#[tokio::test]
async fn every_experiment_refuses_wrong_knobs_and_predictions() {
    let site = served().await;
    for question in ALL.iter().filter(|it| it.experiment.is_some()) {
        let path = format!("/q/{}", question.page.number);
        for form in ["nonsense=1", "predicted=maybe", "predicted=-1"] {
            for action in ["run", "predict"] {
                let answer = site.post(&format!("{path}/{action}"), form).await;
                assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}/{action} {form}");
            }
        }
        assert_eq!(site.post(&format!("{path}/predict"), "").await.status, StatusCode::BAD_REQUEST);
        let page = site.get(&format!("{path}-{}?nonsense=1", question.page.slug)).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST);
        let experiment = question.experiment.unwrap();
        for spec in (experiment.specs)() {
            let answer = site.post(&format!("{path}/run"), &format!("{}=%00", spec.name)).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path} {}", spec.name);
            assert!(answer.text.contains(spec.name), "it names the knob");
        }
        assert_eq!(site.store.status(question.page.number).await.unwrap().word(), "new");
    }
}

fn challenges() -> impl Iterator<Item = (&'static Question, &'static Challenge)> {
    ALL.iter().filter_map(|it| Some((it, it.challenge.as_ref()?)))
}

/// A check of these stages that passed the first few, and failed at the next where there is one.
fn checked(challenge: &Challenge, version: u16, passed: usize, failure: Option<Failure>) -> Grade {
    let mark = |at: usize| match at.cmp(&passed) {
        std::cmp::Ordering::Less => Mark::Passed,
        std::cmp::Ordering::Equal => Mark::Failed,
        std::cmp::Ordering::Greater => Mark::NotRun,
    };
    let stages = (challenge.graded.stages)().into_iter().enumerate().map(|(at, stage)| StageGrade {
        says: stage.says.to_owned(),
        mark: mark(at),
        seconds: 0.1,
        failure: failure.clone().filter(|_| at == passed),
        unsure: None,
    });
    let stages: Vec<_> = stages.collect();
    let verdict = if passed == stages.len() { Mark::Passed } else { Mark::Failed };
    Grade { version, seed: 4242, command: "node <main>.mjs".into(), stages, verdict, seconds: 0.7 }
}

/// What a hostile program might have said.
fn failure() -> Failure {
    Failure {
        what: "the body".into(),
        expected: "{\"kind\":\"<b>\"}".into(),
        found: "{\"kind\":\"<script>alert(1)</script>\"}".into(),
        script: vec!["curl -i http://127.0.0.1:$PORT/docs/<i>".into()],
        came: Some("HTTP/1.1 200 OK\n\n<script>alert(2)</script>\0".into()),
        output: vec!["\u{1b}[31m<script>alert(3)</script>\u{1b}[0m \u{202e}drow".into()],
        causes: vec!["It merges.".into()],
        hint: "Replace it.".into(),
    }
}

const OURS: [&str; 2] = ["How we did it", "Our program, line by line"];

#[tokio::test]
async fn before_any_check_the_page_says_what_to_build_and_how_to_begin() {
    let site = served().await;
    for (question, challenge) in challenges() {
        let page = site.get(&format!("/q/{}-{}", question.page.number, question.page.slug)).await.text;
        let (slug, stages) = (question.page.slug, (challenge.graded.stages)());
        assert!(page.contains("<section id=\"build\"") && page.contains(challenge.contract_html), "{slug}");
        assert_eq!(page.matches("<span class=\"n\" aria-hidden=\"true\">").count(), stages.len(), "{slug}");
        assert!(!page.contains("data-mark="), "{slug} has a state before any check");
        for language in ["python", "node", "rust"] {
            assert!(
                page.contains(&format!("backlab new {slug} --language {language}<")),
                "{slug} {language}"
            );
        }
        let hidden = [challenge.notes_html, challenge.reference_source];
        assert!(OURS.iter().chain(&hidden).all(|it| !page.contains(it)), "{slug} gives our program away");
        for bug in stages.iter().flat_map(|it| &it.bugs) {
            assert!(!page.contains(bug.probably), "{slug} tells the causes before there is an effect");
        }
    }
    let without = ALL.iter().find(|it| it.challenge.is_none()).unwrap();
    let page = site.get(&format!("/q/{}-{}", without.page.number, without.page.slug)).await.text;
    assert!(!page.contains("id=\"build\""));
}

#[tokio::test]
async fn a_failed_check_is_told_and_all_that_a_program_said_is_text() {
    let site = served().await;
    let (question, challenge) = challenges().next().unwrap();
    let path = format!("/q/{}-{}", question.page.number, question.page.slug);
    let tag = site.get(&path).await.header(header::ETAG).to_owned();
    let grade = checked(challenge, challenge.graded.version, 2, Some(failure()));
    site.store.record_grade(question.page.number, &grade).await.unwrap();
    let page = site.send(Method::GET, &path, &[("if-none-match", &tag)], "").await;
    assert_eq!(page.status, StatusCode::OK, "the page that was held is of before");
    let page = page.text;

    let marks = |mark: &str| page.matches(&format!("data-mark=\"{mark}\"")).count();
    assert_eq!((marks("passed"), marks("failed"), marks("not run")), (2, 1, grade.stages.len() - 3));
    assert!(page.contains(&format!("2 of {} stages passed.", grade.stages.len())));
    assert!(page.contains("The likely cause: </span>It merges.") && page.contains("<p>Replace it.</p>"));
    let again = format!("backlab check {} --seed 4242 -- node &lt;main&gt;.mjs", question.page.slug);
    assert!(page.contains(&again), "the line that checks again");
    assert!(page.contains(
        "<span class=\"common\">{&quot;kind&quot;:&quot;&lt;</span><mark>s</mark>cript&gt;alert(1)"
    ));
    assert!(
        page.contains("^[[31m&lt;script&gt;alert(3)&lt;/script&gt;^[[0m ·drow")
            && page.contains("&lt;/script&gt;^@")
    );
    for raw in ["<script>alert", "\u{1b}", "\0", "\u{202e}", "docs/<i>"] {
        assert!(!page.contains(raw), "{raw:?} came through");
    }
    assert!(OURS.iter().all(|it| !page.contains(it)));
}

#[tokio::test]
async fn what_the_grader_could_not_tell_is_no_fault_of_the_program() {
    let site = served().await;
    let (question, challenge) = challenges().next().unwrap();
    let mut grade = checked(challenge, challenge.graded.version, 1, None);
    (grade.stages[1].mark, grade.verdict) = (Mark::Unsure, Mark::Unsure);
    grade.stages[1].unsure = Some("there is no <namespace>".into());
    site.store.record_grade(question.page.number, &grade).await.unwrap();
    let page = site.get(&format!("/q/{}-{}", question.page.number, question.page.slug)).await.text;
    assert!(page.contains("data-mark=\"couldn't tell\"") && page.contains("class=\"verdict-line unsure\""));
    assert!(page.contains("says nothing about your program: there is no &lt;namespace&gt;."));
    assert!(!page.contains("data-mark=\"failed\"") && !page.contains("The likely cause"));
}

#[tokio::test]
async fn a_pass_opens_our_program_and_stays_in_sight() {
    let site = served().await;
    let (question, challenge) = challenges().next().unwrap();
    let (number, version) = (question.page.number, challenge.graded.version);
    let path = format!("/q/{number}-{}", question.page.slug);
    let all = (challenge.graded.stages)().len();
    site.store.record_grade(number, &checked(challenge, version, all, None)).await.unwrap();
    let page = site.get(&path).await.text;
    assert!(page.contains("<span>built</span>") && page.contains(&format!("All {all} stages passed.")));
    assert!(OURS.iter().all(|it| page.contains(it)) && page.contains(challenge.reference_source));
    assert!(!page.contains("class=\"outgrown\""));
    let home = site.get("/").await.text;
    assert!(
        home.contains("<b>1</b> built") && home.contains("1 of 150 verified, 1 of them built"),
        "the bar says so"
    );
    assert!(
        home.contains("<rect class=\"built\" x=\"0\" width=\"1\"") && home.contains("data-status=\"built\"")
    );

    site.store.record_grade(number, &checked(challenge, version, 1, Some(failure()))).await.unwrap();
    let page = site.get(&path).await.text;
    assert!(page.contains(&format!("Passed all {all} stages of version {version} on <time")));
    assert!(page.contains(", seed 4242.") && page.contains(&format!("1 of {all} stages passed.")));
    assert!(page.contains("<span>built</span>") && OURS.iter().all(|it| page.contains(it)));
}

#[tokio::test]
async fn a_check_of_older_stages_says_so_and_marks_none_of_todays() {
    let site = served().await;
    let (question, challenge) = challenges().next().unwrap();
    let (number, now) = (question.page.number, challenge.graded.version);
    let path = format!("/q/{number}-{}", question.page.slug);
    let all = (challenge.graded.stages)().len();
    site.store.record_grade(number, &checked(challenge, now - 1, all, None)).await.unwrap();
    let page = site.get(&path).await.text;
    let said =
        format!("That was version {} of the stages. They are at version {now} now: check again.", now - 1);
    assert_eq!(page.matches(&said).count(), 1);
    assert!(!page.contains("data-mark=") && OURS.iter().all(|it| page.contains(it)));

    site.store.record_grade(number, &checked(challenge, now, 1, Some(failure()))).await.unwrap();
    let page = site.get(&path).await.text;
    assert_eq!(page.matches(&said).count(), 1, "of the earlier pass");
    assert_eq!(page.matches("data-mark=\"passed\"").count(), 1);

    let other = Store::open(&site.dir.path().join("backlab.db")).await.unwrap();
    other.record_grade(number, &serde_json::json!({
        "version": now, "seed": 1, "command": "x", "seconds": 1.0, "stages": [{ "mark": "failed", "of": "another Backlab" }],
    })).await.unwrap();
    assert_eq!(site.get(&path).await.status, StatusCode::OK, "a report that can't be read breaks nothing");
}

#[tokio::test]
async fn bodies_have_an_end_and_a_kind() {
    let site = served().await;
    let question = "/q/7/predict";
    let big = site.post(question, &format!("predicted={}", "1".repeat(65 * 1024))).await;
    assert_eq!(big.status, StatusCode::PAYLOAD_TOO_LARGE);
    let json = site.send(Method::POST, question, &[("content-type", "application/json")], "{}").await;
    assert_eq!(json.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn the_server_tells_of_itself() {
    let site = served().await;
    site.get("/q/8").await;
    assert_eq!(site.get("/livez").await.text, "ok\n");
    assert_eq!(site.get("/readyz").await.text, "ok\n");
    let metrics = site.get("/metrics").await.text;
    for line in [
        "backlab_requests_total{route=\"/q/{question}\",status=\"307\"} 1",
        "backlab_request_seconds_count{route=\"/livez\"} 1",
        "backlab_runs_under_way 0",
    ] {
        assert!(metrics.contains(line), "no `{line}` in:\n{metrics}");
    }
    site.store.close().await;
    assert_eq!(site.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
}
