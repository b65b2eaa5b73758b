//! What is served stale, and what never is.

use super::*;

/// Section 4.2.4: nothing stale without permission, and never against a prohibition.
#[tokio::test]
async fn serves_nothing_stale_without_permission() {
    let graces = "stale-if-error=60, stale-while-revalidate=60";
    for (control, verdict) in [
        ("max-age=10".to_owned(), "miss 504"),
        (format!("max-age=10, {graces}"), "stale 200 x"),
        (format!("max-age=10, must-revalidate, {graces}"), "miss 504"),
        (format!("max-age=10, proxy-revalidate, {graces}"), "miss 504"),
        (format!("s-maxage=10, {graces}"), "miss 504"),
        (format!("no-cache, {graces}"), "miss 504"),
    ] {
        for wish in ["X: 1", "Cache-Control: max-stale"] {
            let bench = Bench::new();
            bench.origin(&format!("200 x; Cache-Control: {control}; ETag: \"a\"")).origin("none");
            bench.ask("GET /a").await;
            let says = bench.later(10).says(&format!("GET /a; {wish}")).await;
            let asked_for_it = wish != "X: 1" && control == "max-age=10";
            assert_eq!(says, if asked_for_it { "stale 200 x" } else { verdict }, "{control} and {wish}");
            bench.cache.settled().await.unwrap();
        }
    }
}

/// RFC 5861, section 4.
#[tokio::test]
async fn outlives_an_error_for_as_long_as_the_response_or_the_request_permits() {
    for (failure, stale) in [
        ("none", true),
        ("late", true),
        ("500 ", true),
        ("502 ", true),
        ("503 ", true),
        ("504 ", true),
        ("404 no", false),
    ] {
        let bench = Bench::new();
        bench.origin("200 x; Cache-Control: max-age=10, stale-if-error=20").ask("GET /a").await;
        bench.origin(failure).later(30);
        assert_eq!(bench.says("GET /a").await == "stale 200 x", stale, "{failure}");
    }
    let bench = Bench::new();
    bench.origin("200 x; Cache-Control: max-age=10, stale-if-error=20").ask("GET /a").await;
    assert_eq!(bench.origin("503 down").later(31).says("GET /a").await, "miss 503 down", "too late");
    assert_eq!(
        bench.origin("503 down").says("GET /a; Cache-Control: stale-if-error=60").await,
        "stale 200 x"
    );
    let bench = Bench::new();
    bench.origin("200 x; Cache-Control: max-age=10, stale-if-error=20").ask("GET /a").await;
    for (after, wish) in [(0, "no-cache"), (9, "max-age=1"), (0, "no-cache")] {
        let says = bench.origin("none").later(after).says(&format!("GET /a; Cache-Control: {wish}")).await;
        assert_eq!(says, "miss 504", "who wants the origin asked gets its failure");
    }
    let bench = Bench::new();
    assert_eq!(bench.origin("none").says("GET /a").await, "miss 502");
    assert_eq!(bench.origin("late").says("GET /a").await, "miss 504");
}

/// RFC 5861, section 3.
#[tokio::test]
async fn validates_behind_the_back_once_while_it_serves_stale() {
    let clock = Clock::frozen();
    let gate = crate::gate::Gate::closed();
    let (held, asked) = (gate.clone(), Arc::new(Mutex::new(0)));
    let counted = asked.clone();
    let cache = Cache::new("test", clock.clone(), move |request| {
        *counted.lock().unwrap() += 1;
        let (first, gate) = (*counted.lock().unwrap() == 1, held.clone());
        async move {
            if first {
                return answer("200 old; Cache-Control: max-age=10, stale-while-revalidate=20; ETag: \"a\"");
            }
            assert_eq!(request.headers()["if-none-match"], "\"a\"");
            gate.pass().await.unwrap();
            answer("200 new; Cache-Control: max-age=10; ETag: \"b\"")
        }
    });
    let ask = async || {
        let (answer, handled) = cache.answer(Request::builder().uri("/a").body(Bytes::new()).unwrap()).await;
        format!("{} {}", handled.verdict, String::from_utf8_lossy(answer.body()))
    };
    assert_eq!(ask().await, "miss old");
    clock.step(Duration::from_secs(30));
    assert_eq!([ask().await, ask().await], ["stale old", "stale old"]);
    gate.arrivals(1).await.unwrap();
    gate.open();
    cache.settled().await.unwrap();
    assert_eq!((ask().await.as_str(), *asked.lock().unwrap()), ("hit new", 2), "one request for both");
}
