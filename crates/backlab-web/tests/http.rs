//! The page over HTTP: what it answers, what it refuses and how, and that no input makes it fail.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use backlab_questions::ALL;
use backlab_store::Store;
use backlab_web::Config;
use http_body_util::BodyExt;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

struct Served {
    router: Router,
    store: Store,
    _dir: tempfile::TempDir,
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
    Served { router: backlab_web::router(config), store, _dir: dir }
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
    assert_eq!(shown(&site.get("/?q=idempotency+KEYS+113").await), 1);
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
