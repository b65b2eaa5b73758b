//! Each rule of RFC 9111 that the cache follows, with its section.

mod stale;

use super::*;
use http::Method;

/// The moment at which the clocks of these tests begin: httpdate's "Thu, 01 Jan 2026 00:00:00 GMT".
const BEGAN: u64 = 1_767_225_600;

type Answer = Result<Response<Bytes>, Why>;

/// A cache with a turnable clock, before an origin that answers what it was told to.
struct Bench {
    cache: Cache,
    clock: Clock,
    asked: Arc<Mutex<Vec<Request<Bytes>>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

/// A request or an answer in a line: "GET /a; Accept: x", "200 body; ETag: \"a\"".
fn split(line: &str) -> (Vec<&str>, Vec<(&str, &str)>) {
    let mut parts = line.split("; ");
    let first = parts.next().unwrap().splitn(2, ' ').collect();
    (first, parts.map(|it| it.split_once(": ").unwrap()).collect())
}

fn answer(line: &str) -> Answer {
    let (first, headers) = split(line);
    let body = first.get(1).copied().unwrap_or_default().to_owned();
    let mut answer = Response::builder().status(match first[0] {
        "none" => return Err(Why::Unreachable),
        "late" => return Err(Why::Deadline(Duration::from_secs(1))),
        status => status,
    });
    for (name, value) in headers {
        answer = answer.header(name, value);
    }
    Ok(answer.body(Bytes::from(body)).unwrap())
}

/// A date so many seconds after the beginning.
fn date(seconds: i64) -> String {
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(BEGAN.saturating_add_signed(seconds)))
}

impl Bench {
    fn new() -> Self {
        Self::with(true)
    }

    fn with(shared: bool) -> Self {
        let clock = Clock::frozen_at(std::time::UNIX_EPOCH + Duration::from_secs(BEGAN));
        let asked: Arc<Mutex<Vec<Request<Bytes>>>> = Arc::default();
        let answers: Arc<Mutex<VecDeque<_>>> = Arc::default();
        let (all, next) = (asked.clone(), answers.clone());
        let origin = move |request| {
            all.lock().unwrap().push(request);
            let answer = next.lock().unwrap().pop_front().expect("one more answer");
            async move { answer }
        };
        let cache = match shared {
            true => Cache::new("test", clock.clone(), origin),
            false => Cache::of_one_user("test", clock.clone(), origin),
        };
        Self { cache, clock, asked, answers }
    }

    /// What the origin answers next.
    fn origin(&self, line: &str) -> &Self {
        self.answers.lock().unwrap().push_back(answer(line));
        self
    }

    async fn ask(&self, line: &str) -> Response<Bytes> {
        let (first, headers) = split(line);
        let mut request = Request::builder().method(first[0]).uri(first[1]).header("host", "here");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        self.cache.answer(request.body(Bytes::new()).unwrap()).await.0
    }

    /// Verdict, status and body in a line.
    async fn says(&self, line: &str) -> String {
        let answer = self.ask(line).await;
        let verdict = self.cache.handled().pop().unwrap().verdict;
        format!("{verdict} {} {}", answer.status().as_u16(), String::from_utf8_lossy(answer.body()))
            .trim_end()
            .to_owned()
    }

    fn later(&self, seconds: u64) -> &Self {
        self.clock.step(Duration::from_secs(seconds));
        self
    }

    fn last_asked(&self, header: &str) -> Option<String> {
        let asked = self.asked.lock().unwrap();
        asked.last()?.headers().get(header).map(|it| it.to_str().unwrap().to_owned())
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

/// Whether a second request for `/a` is served without asking, after the origin gave this answer to the first.
async fn is_reused(first: &str, answer: &str, after: u64) -> bool {
    let bench = Bench::new();
    bench.origin(answer).origin("200 other; Cache-Control: no-store");
    bench.ask(first).await;
    bench.later(after).ask("GET /a").await;
    bench.asked() == 1
}

/// Section 3: what may be stored.
#[tokio::test]
async fn stores_what_the_response_permits() {
    let kept = [
        "200 x; Cache-Control: max-age=60",
        "200 x; Cache-Control: MaX-aGe=60",
        "200 x; Cache-Control: max-age=\"60\"",
        "200 x; Cache-Control: s-maxage=60",
        "200 x; Cache-Control: foo, max-age=60, bar=\"a, no-store\"",
        "404 x; Cache-Control: max-age=60",
        "302 ; Cache-Control: max-age=60",
        "499 x; Cache-Control: max-age=60",
        "599 x; Cache-Control: max-age=60",
        "204 ; Cache-Control: max-age=60",
        "200 x; Cache-Control: max-age=60; Set-Cookie: a=b",
        // Section 5.2.2.3: the no-store is for those who don't know must-understand.
        "200 x; Cache-Control: max-age=60, must-understand, no-store",
        // Sections 5.2.2.4 and 5.2.2.7, the qualified forms.
        "200 x; Cache-Control: max-age=60, private=\"set-cookie\"",
        "200 x; Cache-Control: max-age=60, no-cache=\"set-cookie\"",
    ];
    for answer in kept {
        assert!(is_reused("GET /a", answer, 1).await, "{answer}");
    }
    let not_kept = [
        "200 x",
        "200 x; Cache-Control: max-age=60, no-store",
        "200 x; Cache-Control: max-age=60, No-StOrE",
        "200 x; Cache-Control: private, max-age=60",
        "200 x; Cache-Control: max-age=60; Cache-Control: no-store",
        "299 x; Cache-Control: max-age=60, must-understand",
        "206 x; Cache-Control: max-age=60; Content-Range: bytes 0-0/9",
        "200 x; Cache-Control: max-age=60; Vary: *",
        "200 x; Cache-Control: max-age=60; Vary: a, *",
    ];
    for answer in not_kept {
        assert!(!is_reused("GET /a", answer, 1).await, "{answer}");
    }
    // What may be kept only by its status: not even to be validated later.
    for (status, kept) in [("200", 1), ("404", 1), ("201", 0), ("500", 0)] {
        let bench = Bench::new();
        bench.origin(&format!("{status} x; ETag: \"a\"")).ask("GET /a").await;
        assert_eq!(bench.cache.kept(), kept, "{status}");
    }
    // Section 5.2.1.5.
    assert!(!is_reused("GET /a; Cache-Control: no-store", "200 x; Cache-Control: max-age=60", 1).await);
    assert!(!is_reused("POST /a", "200 x; Cache-Control: max-age=60", 1).await);
    assert!(
        !is_reused("GET /a?b", "200 x; Cache-Control: max-age=60", 1).await,
        "the query belongs to the target"
    );
}

/// Section 3.5: a response to a request with Authorization.
#[tokio::test]
async fn shares_what_was_authorized_only_where_the_response_says_so() {
    for (control, shared) in [
        ("max-age=60", false),
        ("private, max-age=60", false),
        ("public, max-age=60", true),
        ("max-age=60, must-revalidate", true),
        ("s-maxage=60", true),
    ] {
        let answer = format!("200 mine; Cache-Control: {control}");
        assert_eq!(is_reused("GET /a; Authorization: Bearer 1", &answer, 1).await, shared, "{control}");
    }
}

/// Sections 3, 5.2.2.7, 5.2.2.8 and 5.2.2.10: what doesn't hold for the cache of one user.
#[tokio::test]
async fn the_cache_of_one_user_keeps_what_is_private() {
    for (control, seconds) in
        [("private, max-age=60", 60), ("max-age=60, s-maxage=90", 60), ("max-age=60, private=\"a\"", 60)]
    {
        let bench = Bench::with(false);
        bench
            .origin(&format!("200 x; Cache-Control: {control}; A: 1"))
            .origin("200 y; Cache-Control: no-store");
        bench.ask("GET /a; Authorization: Bearer 1").await;
        let again = bench.later(seconds - 1).ask("GET /a; Authorization: Bearer 1").await;
        assert_eq!((again.body(), again.headers().contains_key("a")), (&Bytes::from("x"), true), "{control}");
        assert_eq!(bench.later(1).says("GET /a").await, "miss 200 y", "{control}");
    }
    let bench = Bench::with(false);
    bench
        .origin("200 x; Cache-Control: max-age=10, s-maxage=9, proxy-revalidate, stale-if-error=60")
        .origin("none");
    bench.ask("GET /a").await;
    assert_eq!(bench.later(20).says("GET /a").await, "stale 200 x");
}

/// Sections 3.1, 5.2.2.4 and 5.2.2.7: fields that aren't for the next client.
#[tokio::test]
async fn leaves_out_fields_of_the_hop_and_those_that_are_withheld() {
    let bench = Bench::new();
    bench.origin(
        "200 x; Cache-Control: max-age=60, private=\"p\", no-cache=\"n, m\"; Connection: a, close; A: 1; B: 2; P: 3; N: 4; \
         M: 5; Keep-Alive: 1",
    );
    let first = bench.ask("GET /a").await;
    assert!(
        first.headers().contains_key("p") && first.headers().contains_key("n"),
        "the first client has them"
    );
    let second = bench.ask("GET /a").await;
    for gone in ["connection", "a", "p", "n", "m", "keep-alive"] {
        assert!(!second.headers().contains_key(gone), "{gone}");
    }
    assert_eq!(second.headers()["b"], "2");
}

/// Section 4.1.
#[tokio::test]
async fn keeps_a_variant_for_each_value_of_what_vary_names() {
    let bench = Bench::new();
    bench.origin("200 en; Cache-Control: max-age=60; Vary: Accept-Language, X");
    bench.origin("200 de; Cache-Control: max-age=60; Vary: Accept-Language, X");
    bench.origin("200 none; Cache-Control: max-age=60; Vary: Accept-Language, X");
    assert_eq!(bench.says("GET /a; Accept-Language: en,fr; User-Agent: 1").await, "miss 200 en");
    assert_eq!(bench.says("GET /a; Accept-Language: de").await, "miss 200 de");
    assert_eq!(
        bench.says("GET /a; Accept-Language: en , fr; User-Agent: 2").await,
        "hit 200 en",
        "spaces don't count"
    );
    assert_eq!(
        bench.says("GET /a; Accept-Language: en; Accept-Language: fr").await,
        "hit 200 en",
        "nor do lines"
    );
    let other = bench.ask("GET /a").await;
    assert_eq!(other.body(), "none", "absent matches only absent");
    assert!(other.headers()["cache-status"].to_str().unwrap().contains("fwd=vary-miss"));
}

/// Section 4.1: a response that forgot its Vary doesn't hide those that have one.
#[tokio::test]
async fn prefers_a_variant_to_a_response_without_vary() {
    let bench = Bench::new();
    bench.origin("200 de; Cache-Control: max-age=60; Vary: Accept-Language");
    bench.origin("200 default; Cache-Control: max-age=60");
    bench.ask("GET /a; Accept-Language: de").await;
    bench.later(1).ask("GET /a").await;
    assert_eq!(bench.says("GET /a; Accept-Language: de").await, "hit 200 de");
    assert_eq!(bench.says("GET /a; Accept-Language: fr").await, "hit 200 default");
}

/// Sections 4.2.1 and 5.3: the first of s-maxage, max-age, Expires.
#[tokio::test]
async fn is_fresh_as_long_as_the_response_says() {
    let until = |control: &str, expires: String| {
        format!("200 x; Cache-Control: {control}; Date: {}; {expires}", date(0))
    };
    let cases = [
        (until("max-age=60", "X: 1".into()), 60),
        (until("max-age=9, s-maxage=60", "X: 1".into()), 60),
        (until("max-age=90, s-maxage=60", "X: 1".into()), 60),
        (until("max-age=60, max-age=90", "X: 1".into()), 60),
        (until("extension=\"max-age=90\", max-age=60", "X: 1".into()), 60),
        (until("x", format!("Expires: {}", date(60))), 60),
        (until("x", format!("Expires: {}", date(60).replace("Jan", "JAN").replace("GMT", "gmt"))), 60),
        (format!("200 x; Expires: {}", date(60)), 60),
        (until("max-age=60", format!("Expires: {}", date(-9))), 60),
        (until("max-age=60", "Age: 0".into()), 60),
        (until("max-age=75", "Age: 15".into()), 60),
        (until("max-age=75", "Age: 15, 70".into()), 60),
        (until("max-age=60", "Age: soon".into()), 60),
    ];
    for (answer, seconds) in cases {
        assert!(is_reused("GET /a", &answer, seconds - 1).await, "{answer} after {}", seconds - 1);
        assert!(!is_reused("GET /a", &answer, seconds).await, "{answer} after {seconds}");
    }
    let never = [
        until("max-age=0", format!("Expires: {}", date(60))),
        until("max-age=a60", "X: 1".into()),
        until("max-age=60a", "X: 1".into()),
        until("max-age=-60", "X: 1".into()),
        until("max-age='60'", "X: 1".into()),
        until("max-age= 60", "X: 1".into()),
        until("max-age =60", "X: 1".into()),
        until("x", "Expires: 0".into()),
        until("x", format!("Expires: {}", date(60).replace("GMT", "UTC"))),
        until("x", format!("Expires: {}", date(0))),
        until("max-age=60", "Age: 60".into()),
    ];
    for answer in never {
        assert!(!is_reused("GET /a", &answer, 0).await, "{answer}");
    }
    // Section 1.2.2.
    assert!(is_reused("GET /a", "200 x; Cache-Control: max-age=99999999999999999999", 1 << 30).await);
}

/// Section 4.2.2.
#[tokio::test]
async fn guesses_a_tenth_of_the_time_since_the_last_change() {
    let answer = |status: &str, more: &str| {
        format!("{status} x; Date: {}; Last-Modified: {}{more}", date(0), date(-600))
    };
    for status in ["200", "203", "204", "300", "301", "308", "404", "405", "410", "414", "501"] {
        assert!(is_reused("GET /a", &answer(status, ""), 59).await, "{status}");
        assert!(!is_reused("GET /a", &answer(status, ""), 60).await, "{status}");
    }
    for status in ["201", "202", "302", "403", "500", "502", "503", "504", "599"] {
        assert!(!is_reused("GET /a", &answer(status, ""), 1).await, "{status}");
    }
    assert!(is_reused("GET /a", &answer("599", "; Cache-Control: public"), 59).await, "section 5.2.2.9");
    assert!(!is_reused("GET /a", &answer("200", "; Expires: 0"), 1).await, "no guess where there is a word");
}

/// Sections 4 and 4.2.3: Age, with the time that the origin took.
#[tokio::test]
async fn tells_the_age_from_the_moment_of_asking() {
    let clock = Clock::frozen();
    let slow = clock.clone();
    let cache = Cache::new("test", clock.clone(), move |_| {
        slow.step(Duration::from_secs(3));
        async { answer("200 x; Cache-Control: max-age=60; Age: 10") }
    });
    let ask = || cache.answer(Request::builder().uri("/a").body(Bytes::new()).unwrap());
    let (first, _) = ask().await;
    assert_eq!(first.headers()["age"], "10", "as it came");
    assert!(first.headers().contains_key("date"), "RFC 9110, section 6.6.1");
    clock.step(Duration::from_millis(7900));
    let (second, handled) = ask().await;
    assert_eq!((second.headers()["age"].to_str().unwrap(), handled.age), ("20", Some(20)));
    assert_eq!(second.headers().get_all("age").iter().count(), 1);
    assert_eq!(second.headers()["cache-status"], "\"test\"; hit; ttl=40");
    assert_eq!(handled.to_string(), "hit: GET /a, 20 s old");
}

/// Sections 4.3.1, 4.3.4 and 3.2.
#[tokio::test]
async fn validates_and_takes_over_the_fields_of_a_304() {
    let bench = Bench::new();
    bench.origin("200 x; Cache-Control: max-age=10; ETag: \"a\"; Last-Modified: Mon, 01 Dec 2025 00:00:00 GMT; N: 1; O: 1; Age: 2");
    bench.origin("304 ; Cache-Control: max-age=60; ETag: \"a\"; N: 2; Content-Length: 0");
    bench.ask("GET /a").await;
    let validated = bench.later(10).ask("GET /a").await;
    assert_eq!(bench.last_asked("if-none-match").as_deref(), Some("\"a\""));
    assert_eq!(bench.last_asked("if-modified-since").as_deref(), Some("Mon, 01 Dec 2025 00:00:00 GMT"));
    assert_eq!(bench.last_asked("via").as_deref(), Some("1.1 backlab"), "RFC 9110, section 7.6.3");
    assert_eq!(validated.status(), 200, "the client asked for no 304");
    let of = |name: &str| validated.headers()[name].to_str().unwrap().to_owned();
    assert_eq!((of("n").as_str(), of("o").as_str(), of("content-length").as_str()), ("2", "1", "1"));
    assert_eq!(of("cache-status"), "\"test\"; fwd=stale; fwd-status=304; ttl=60; stored");
    assert_eq!(bench.later(59).says("GET /a").await, "hit 200 x");
}

/// Section 4.3.3: a whole answer takes the place of what was validated.
#[tokio::test]
async fn a_new_answer_replaces_the_stored_one() {
    let bench = Bench::new();
    bench.origin("200 old; Cache-Control: no-cache; ETag: \"a\"");
    bench.origin("200 new; Cache-Control: max-age=60; ETag: \"b\"");
    bench.ask("GET /a").await;
    assert_eq!(bench.says("GET /a").await, "miss 200 new", "no-cache asks each time (section 5.2.2.4)");
    assert_eq!(bench.says("GET /a").await, "hit 200 new");
    bench.later(60).origin("200 newer; Cache-Control: no-store").ask("GET /a").await;
    assert_eq!(bench.cache.kept(), 0, "what is known to be out of date goes");
}

/// Section 4.3.4: which stored response a 304 is about.
#[tokio::test]
async fn a_304_about_something_else_freshens_nothing() {
    for (stored, not_modified, freshens) in [
        ("ETag: \"a\"", "ETag: \"a\"", true),
        ("ETag: \"a\"", "ETag: \"b\"", false),
        ("ETag: W/\"a\"", "ETag: \"a\"", false),
        ("ETag: W/\"a\"", "ETag: W/\"a\"", true),
        ("ETag: \"a\"", "ETag: W/\"a\"", true),
        ("ETag: \"a\"", "X: 1", true),
        (
            "ETag: \"a\"; Last-Modified: Mon, 01 Dec 2025 00:00:00 GMT",
            "Last-Modified: Tue, 02 Dec 2025 00:00:00 GMT",
            false,
        ),
    ] {
        let bench = Bench::new();
        bench.origin(&format!("200 old; Cache-Control: max-age=1; {stored}"));
        bench.origin(&format!("304 ; Cache-Control: max-age=60; {not_modified}"));
        bench.origin("200 new; Cache-Control: max-age=60");
        bench.ask("GET /a").await;
        let expected = if freshens { "revalidated 200 old" } else { "miss 200 new" };
        assert_eq!(bench.later(1).says("GET /a").await, expected, "{stored} and {not_modified}");
    }
}

/// Section 4.3.2, with RFC 9110, sections 8.8.3.2, 13.1.2, 13.1.3 and 15.4.5.
#[tokio::test]
async fn answers_the_clients_conditions_from_what_it_has() {
    let bench = Bench::new();
    let changed = date(-100);
    bench.origin(&format!(
        "200 x; Cache-Control: max-age=60; ETag: \"a,b\"; Content-Type: t; Last-Modified: {changed}; Vary: Q"
    ));
    bench.ask("GET /a").await;
    for (condition, status) in [
        ("If-None-Match: \"a,b\"".to_owned(), 304),
        ("If-None-Match: \"z\", W/\"a,b\"".to_owned(), 304),
        ("If-None-Match: *".to_owned(), 304),
        ("If-None-Match: \"a\"".to_owned(), 200),
        (format!("If-Modified-Since: {changed}"), 304),
        (format!("If-Modified-Since: {}", date(-99)), 304),
        (format!("If-Modified-Since: {}", date(-101)), 200),
        (format!("If-None-Match: \"z\"; If-Modified-Since: {changed}"), 200),
        ("If-Modified-Since: yesterday".to_owned(), 200),
    ] {
        let answer = bench.ask(&format!("GET /a; {condition}")).await;
        assert_eq!(answer.status(), status, "{condition}");
        if status == 304 {
            let names = ["etag", "cache-control", "date", "vary", "age"];
            assert!(names.iter().all(|it| answer.headers().contains_key(*it)), "{:?}", answer.headers());
            assert!(answer.body().is_empty() && !answer.headers().contains_key("content-type"));
        }
    }
    assert_eq!(bench.asked(), 1);
    // Where it is stale, the cache's own validators are sent, and the client's judged afterwards.
    bench.origin("304 ; ETag: \"a,b\"").later(60);
    assert_eq!(bench.ask("GET /a; If-None-Match: \"a,b\"").await.status(), 304);
    bench.origin("304 ; ETag: \"a,b\"").later(60);
    bench.ask("GET /a; If-None-Match: \"z\"; If-Range: \"z\"; Range: bytes=0-0").await;
    assert_eq!(bench.last_asked("if-none-match").as_deref(), Some("\"a,b\""));
    assert_eq!(bench.last_asked("range").or(bench.last_asked("if-range")), None);
    // If-Match and If-Unmodified-Since are for the origin alone.
    bench.origin("412 ");
    assert_eq!(bench.says("GET /a; If-Match: \"z\"").await, "pass 412");
    // Of what it doesn't have it judges nothing.
    bench.origin("304 ; ETag: \"o\"");
    assert_eq!(bench.says("GET /other; If-None-Match: \"o\"").await, "miss 304");
    assert_eq!(bench.last_asked("if-none-match").as_deref(), Some("\"o\""));
}

/// RFC 9110, sections 13.1.5, 14.1.2, 14.2 and 15.5.17.
#[tokio::test]
async fn serves_a_range_from_a_whole_response() {
    let bench = Bench::new();
    bench.origin(&format!(
        "200 0123456789; Cache-Control: max-age=60; ETag: \"a\"; Date: {}; Last-Modified: {}",
        date(0),
        date(-9)
    ));
    bench.ask("GET /a").await;
    for (asked, says) in [
        ("bytes=0-1", "hit 206 01"),
        ("bytes=7-", "hit 206 789"),
        ("bytes=-2", "hit 206 89"),
        ("bytes=-99", "hit 206 0123456789"),
        ("bytes=8-99", "hit 206 89"),
        ("bytes=10-", "hit 416"),
        ("bytes=-0", "hit 416"),
        ("bytes=5-4", "hit 200 0123456789"),
        ("bytes=0-1,3-4", "hit 200 0123456789"),
        ("lines=0-1", "hit 200 0123456789"),
    ] {
        assert_eq!(bench.says(&format!("GET /a; Range: {asked}")).await, says, "{asked}");
    }
    let part = bench.ask("GET /a; Range: bytes=2-4").await;
    assert_eq!(
        (&part.headers()["content-range"], &part.headers()["content-length"]),
        (&"bytes 2-4/10".parse().unwrap(), &"3".parse().unwrap())
    );
    for (condition, status) in
        [("\"a\"", 206), ("\"b\"", 200), ("W/\"a\"", 200), (date(-9).as_str(), 206), (date(-8).as_str(), 200)]
    {
        let answer = bench.ask(&format!("GET /a; Range: bytes=0-1; If-Range: {condition}")).await;
        assert_eq!(answer.status(), status, "{condition}");
    }
    let weak = Bench::new();
    weak.origin("200 0123456789; Cache-Control: max-age=60; ETag: W/\"a\"").ask("GET /a").await;
    assert_eq!(weak.ask("GET /a; Range: bytes=0-1; If-Range: W/\"a\"").await.status(), 200);
    assert_eq!(bench.says("HEAD /a; Range: bytes=0-1").await, "hit 200", "a range is of GET alone");
    // What isn't there is handed on as it is, and a part isn't kept (section 3.3).
    bench.origin("206 0; Cache-Control: max-age=60; Content-Range: bytes 0-0/9").origin("200 whole");
    assert_eq!(bench.says("GET /b; Range: bytes=0-0").await, "miss 206 0");
    assert_eq!(bench.last_asked("range").as_deref(), Some("bytes=0-0"));
    assert_eq!(bench.says("GET /b").await, "miss 200 whole");
}

/// Sections 4 and 4.3.5.
#[tokio::test]
async fn serves_head_from_a_get_and_learns_from_a_head() {
    let bench = Bench::new();
    bench.origin("200 body; Cache-Control: max-age=10; ETag: \"a\"");
    bench.ask("GET /a").await;
    let head = bench.ask("HEAD /a").await;
    assert_eq!((head.headers()["content-length"].to_str().unwrap(), head.body().len()), ("4", 0));
    bench.origin("200 ; Cache-Control: max-age=60; ETag: \"a\"; Content-Length: 4; N: 1");
    assert_eq!(bench.later(10).says("HEAD /a").await, "miss 200");
    let get = bench.later(50).ask("GET /a").await;
    assert_eq!(
        (get.body(), get.headers()["n"].to_str().unwrap(), bench.asked()),
        (&Bytes::from("body"), "1", 2)
    );
    bench.origin("200 ; Cache-Control: max-age=60; ETag: \"b\"").origin("200 new; ETag: \"b\"");
    bench.later(10).ask("HEAD /a").await;
    assert_eq!(bench.says("GET /a").await, "miss 200 new", "it doesn't agree, so the stored one is stale");
}

/// Section 4.4.
#[tokio::test]
async fn an_unsafe_method_invalidates_its_target() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH"] {
        let bench = Bench::new();
        let fresh = "200 old; Cache-Control: max-age=60, stale-while-revalidate=60; ETag: \"a\"";
        bench.origin(fresh).ask("GET /a").await;
        bench.origin("500 ").ask(&format!("{method} /a")).await;
        assert_eq!(bench.says("GET /a").await, "hit 200 old", "{method} that failed changes nothing");
        bench.origin("204 ").ask(&format!("{method} /a")).await;
        bench.origin("200 new; Cache-Control: max-age=60");
        assert_eq!(bench.says("GET /a").await, "miss 200 new", "{method}");
    }
    let bench = Bench::new();
    for target in ["/b", "/dir/c", "/d"] {
        bench.origin("200 old; Cache-Control: max-age=60").ask(&format!("GET {target}")).await;
    }
    bench.origin("201 ; Location: http://HERE/b; Content-Location: c").ask("POST /dir/a").await;
    bench.origin("201 ; Location: http://elsewhere/d").ask("POST /dir/a").await;
    for target in ["/b", "/dir/c"] {
        bench.origin("200 new; Cache-Control: max-age=60");
        assert_eq!(bench.says(&format!("GET {target}")).await, "miss 200 new", "{target}");
    }
    assert_eq!(bench.says("GET /d").await, "hit 200 old", "another origin's word doesn't count");
    bench.origin("204 ; Allow: GET");
    assert_eq!(bench.says("OPTIONS /d").await, "pass 204");
    assert_eq!(bench.says("GET /d").await, "hit 200 old", "OPTIONS is safe");
}

/// Section 5.2.1.
#[tokio::test]
async fn honours_what_a_request_wishes() {
    for (wish, after, says) in [
        ("no-cache", 1, "revalidated 200 x"),
        ("max-age=0", 1, "revalidated 200 x"),
        ("max-age=5", 6, "revalidated 200 x"),
        ("max-age=5", 5, "hit 200 x"),
        ("min-fresh=55", 6, "revalidated 200 x"),
        ("min-fresh=54", 6, "hit 200 x"),
        ("max-stale=5", 65, "stale 200 x"),
        ("max-stale=5", 66, "revalidated 200 x"),
        ("max-stale", 9999, "stale 200 x"),
        ("max-age=5, max-stale", 65, "revalidated 200 x"),
        ("only-if-cached", 1, "hit 200 x"),
        ("only-if-cached", 61, "miss 504"),
        ("no-store", 1, "hit 200 x"),
    ] {
        let bench = Bench::new();
        bench
            .origin("200 x; Cache-Control: max-age=60; ETag: \"a\"")
            .origin("304 ; ETag: \"a\"")
            .ask("GET /a")
            .await;
        assert_eq!(bench.later(after).says(&format!("GET /a; Cache-Control: {wish}")).await, says, "{wish}");
    }
    assert_eq!(Bench::new().says("GET /a; Cache-Control: only-if-cached").await, "miss 504");
}

/// The bound of memory.
#[tokio::test]
async fn drops_what_was_not_used_for_the_longest_time() {
    let bench = Bench::new();
    let fresh = "200 x; Cache-Control: max-age=60";
    for n in 0..store::MOST {
        bench.origin(fresh).ask(&format!("GET /{n}")).await;
    }
    bench.ask("GET /0").await;
    bench.origin(fresh).ask("GET /one-more").await;
    assert_eq!(bench.cache.kept(), store::MOST);
    assert_eq!(bench.says("GET /0").await, "hit 200 x");
    assert_eq!(bench.origin(fresh).says("GET /1").await, "miss 200 x");
}

/// As a server: real requests, and what the trace shows of them.
#[tokio::test]
async fn stands_between_a_client_and_an_origin_on_the_network() {
    let lab = Lab::open(1, crate::Trace::default()).unwrap();
    let news = || async { ([("cache-control", "max-age=60"), ("etag", "\"a\"")], "news") };
    let origin = lab
        .serve("origin", Router::new().route("/news", axum::routing::get(news).put(StatusCode::NO_CONTENT)))
        .unwrap();
    let clock = Clock::frozen();
    let cache = lab.http_cache("cache", &origin, clock.clone()).unwrap();
    let client = lab.client("client", &cache);
    for _ in 0..3 {
        let reply = client.get("/news").await.unwrap();
        assert_eq!((reply.text().as_str(), reply.header("content-length")), ("news", Some("4")));
    }
    let head = client.request(Method::HEAD, "/news").await.unwrap();
    assert_eq!((head.header("content-length"), head.body.len()), (Some("4"), 0));
    client.put("/news").body("x").await.unwrap();
    client.get("/news").await.unwrap();
    assert_eq!(origin.executed_of("GET /news"), 2);
    let verdicts: Vec<_> = cache.cache().handled().iter().map(ToString::to_string).collect();
    assert_eq!(verdicts[..2], ["miss: GET /news", "hit: GET /news, 0 s old"]);
    let events = format!("{:?}", lab.trace().whole());
    assert!(events.contains("hit: GET /news, 0 s old") && events.contains("PUT /news"), "{events}");
    let asked = lab.trace().counts()[&("cache".to_owned(), "origin".to_owned())];
    assert_eq!(asked.messages, 3);
    lab.close().await;
}
