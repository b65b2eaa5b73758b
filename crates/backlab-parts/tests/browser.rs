//! Chromium: what a page says, and that nothing of it is left behind.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use backlab_parts::inventory::CHROMIUM;
use backlab_parts::{Lab, Trace};
use std::time::Duration;

#[tokio::test]
async fn a_page_is_opened_and_its_script_gives_values() {
    if CHROMIUM.version().is_err() {
        return;
    }
    let lab = Lab::open(1, Trace::default()).unwrap();
    const PAGE: &str = "<title>shop</title><p id=price>3";
    let server = lab.serve("shop", Router::new().route("/", get(async || Html(PAGE)))).unwrap();
    let browser = lab.browser("chromium").await.unwrap();
    let page = browser.open(&server.url("/")).await.unwrap();
    assert_eq!(page.evaluate::<String>("document.title").await.unwrap(), "shop");
    let fetched = "fetch('/').then(answer => answer.status)";
    assert_eq!(page.evaluate::<u16>(fetched).await.unwrap(), 200);
    let thrown = page.evaluate::<u16>("Promise.reject(new Error('no'))").await.unwrap_err();
    assert!(thrown.to_string().contains("the page's script threw"), "{thrown}");
    assert!(browser.open("http://127.0.0.1:1/").await.is_err(), "nothing listens there");

    let profile = lab.dir().display().to_string();
    lab.close().await;
    let running = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let of_run = processes
            .filter_map(|it| std::fs::read(it.path().join("cmdline")).ok())
            .filter(|it| String::from_utf8_lossy(it).contains(&profile));
        of_run.count()
    };
    // The kernel still has to bury them.
    let end = std::time::Instant::now() + Duration::from_secs(5);
    while running() > 0 {
        assert!(std::time::Instant::now() < end, "{} processes are left", running());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
