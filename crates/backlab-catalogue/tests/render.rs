//! What an `answer.md` becomes, and how each way to get it wrong is told.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::path::Path;

use backlab_catalogue::render::{OwnedPage, OwnedPiece, faults_between, highlight_rust, page, rust_literal};
use proptest::prelude::*;

const FILE: &str = "questions/caching/stampede-vs-penetration/answer.md";

/// A page without a fault; In depth is filled up to its least length.
fn golden() -> String {
    include_str!("golden.md").replace("WORDS", &"word ".repeat(400))
}

fn read(text: &str) -> Result<OwnedPage, Vec<String>> {
    page(Path::new(FILE), text).map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

/// The only fault of the golden page after one replacement, without the name of the file.
#[track_caller]
fn fault(from: &str, to: &str) -> String {
    let golden = golden();
    assert!(golden.contains(from), "the golden page has no {from:?}");
    let faults = read(&golden.replacen(from, to, 1)).expect_err("the page should be refused");
    assert_eq!(faults.len(), 1, "{faults:#?}");
    faults[0].strip_prefix(FILE).and_then(|it| it.strip_prefix(": ")).expect("the file's name").to_owned()
}

#[test]
fn a_page_is_rendered() {
    let page = read(&golden()).unwrap();
    let mut html = String::new();
    for section in &page.sections {
        html.push_str(&format!("=== {} ({})\n", section.title, section.id));
        for piece in &section.html {
            match piece {
                OwnedPiece::Html(it) => html.push_str(&it.replace(&"word ".repeat(400), "WORDS ")),
                OwnedPiece::Claim(id) => html.push_str(&format!("{{{{{id}}}}}")),
            }
        }
    }
    insta::assert_snapshot!(html);
    assert_eq!(page.links, ["cache-invalidation"]);
}

#[test]
fn a_page_becomes_rust() {
    let bare = rust_literal(&read(&unwritten()).unwrap());
    insta::assert_snapshot!(bare);
    let written = rust_literal(&read(&golden()).unwrap());
    assert!(written.contains(r#"::backlab_catalogue::Piece::Claim("single-flight")"#));
}

/// The golden page as it is before its answer is written.
fn unwritten() -> String {
    let golden = golden();
    let front = golden.split("## In 30").next().unwrap();
    let (before, cards) = front.split_once("cards:").unwrap();
    let (_, after) = cards.split_once("follow_ups:").unwrap();
    format!("{before}follow_ups:{after}")
        .replace("    say: All that wait for it hang too, so it needs a deadline of its own.\n", "")
}

#[test]
fn an_unwritten_page_needs_neither_cards_nor_answers() {
    let page = read(&unwritten()).unwrap();
    assert!(page.sections.is_empty() && page.body.is_empty() && page.cards.is_empty());
    assert_eq!(page.follow_ups[0].say, None);
}

#[test]
fn the_front_matter_in_the_writers_guide_is_one() {
    let guide = include_str!("../../../docs/WRITING.md");
    let (_, after) = guide.split_once("```yaml\n").unwrap();
    let (front, _) = after.split_once("```").unwrap();
    let page = read(&format!("---\n{front}---\n")).unwrap();
    assert_eq!(page.number, 11);
}

#[test]
fn faults_of_the_front_matter_name_key_value_and_cure() {
    let faults = [
        fault("---\nnumber", "number"),
        fault("http-caching-headers]\n---\n", "http-caching-headers]\n"),
        fault("number: 40", "number: forty"),
        fault("number: 40", "number: 0"),
        fault("number: 40", "number: 40\nslug: x"),
        fault("number: 40\n", ""),
        fault("number: 40\n", "number: 40\nnumber: 41\n"),
        fault("title: Cache", "title: Cache: "),
        fault("title: Cache stampede and cache penetration", "title: Ca"),
        fault("title: Cache", "title: \"Cache\\n\" #"),
        fault("title: Cache", "title: \"\\tCache\" #"),
        fault("level: hard", "level: Hard"),
        fault("What is penetration", "What is `penetration`"),
        fault(" and what helps against each?", &" and".repeat(40)),
        fault("There are two ways to flatten a database that has a cache in front of it. How", "How"),
        fault("experiment: Two diseases, five medicines", "experiment: ab"),
        fault("  - Single flight makes one computation of many.\n", ""),
        fault("  - {ask: What joins callers of one key?, say: Single flight.}\n", ""),
        fault(", say: Single flight.}", "}"),
        fault("    say: All that wait for it hang too, so it needs a deadline of its own.\n", ""),
        fault("  - name: \"Bloom, Space/Time Trade-offs in Hash Coding with Allowable Errors, 1970\"\n", ""),
        fault("https://www.rfc-editor.org/rfc/rfc5861\"}", "www.rfc-editor.org\"}"),
        fault("[cache-invalidation,", "[Cache_Invalidation,"),
        fault("[cache-invalidation,", "[http-caching-headers,"),
    ];
    let faults = faults.join("\n");
    insta::assert_snapshot!(faults);
}

#[test]
fn faults_of_the_answer_name_line_value_and_cure() {
    let faults = [
        fault("\n## In 30 seconds\n", "Well.\n\n## In 30 seconds\n"),
        fault("## In depth\n", "## Depth\n"),
        fault("## In production\n\nProxies speak of *request coalescing*.\n", ""),
        fault("### The stampede", "#### The stampede"),
        fault("Proxies speak", "### Proxies\n\nProxies speak"),
        fault("Proxies speak of *request coalescing*.\n", ""),
        fault("and a filter says nothing about a key that is there.", &"and so on ".repeat(20)),
        fault(
            "and a filter says nothing about a key that is there.",
            "and a filter says nothing about a key that is there.\n\n- a point",
        ),
        fault(&"word ".repeat(400), ""),
        fault("- Caching errors as absences: an outage then outlasts itself.\n", ""),
        fault(
            "- Caching errors as absences: an outage then outlasts itself.\n",
            "- Caching errors.\n\nAnd so on.\n",
        ),
        fault("speak of *request", "speak of <b>request"),
        fault("*request coalescing*", "a Vec<u8>"),
        fault("*request coalescing*", "![a picture](x.png)"),
        fault("[^filter]", "[^The Filter]"),
        fault("*request coalescing*.\n", "coalescing.\n\n[^filter]: What it does.\n"),
        fault("(https://www.rfc-editor.org/rfc/rfc5861) and", "(http://example.com) and"),
        fault("(cache-invalidation)", "(javascript:alert(1))"),
        fault("```rust", "```rs"),
        fault("```rust", "    indented\n\n```rust"),
        fault("caption: Callers", "captions: Callers"),
        fault("box \"cache\"", "bx \"cache\""),
        fault("color teal", "color blue"),
        fault("right 150%", "right 900%"),
        fault("box \"callers\" fit", "print \"callers\""),
    ];
    let faults = faults.join("\n");
    insta::assert_snapshot!(faults);
}

#[test]
fn the_folder_says_slug_and_track() {
    let faults = page(Path::new("questions/cache/Stampede/answer.md"), &golden()).unwrap_err();
    let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
    let faults = faults.join("\n");
    insta::assert_snapshot!(faults);
}

#[test]
fn all_faults_of_a_page_are_told_at_once() {
    let faults =
        read(&golden().replace("level: hard", "level: tough").replace("```rust", "```rs")).unwrap_err();
    assert_eq!(faults.len(), 2, "{faults:#?}");
}

#[test]
fn pages_are_checked_against_each_other() {
    let mut first = read(&golden()).unwrap();
    first.related.push(first.slug.clone());
    let mut second = first.clone();
    second.file = "questions/runtime/stampede-vs-penetration/answer.md".to_owned();
    let faults = faults_between(&[first, second]);
    let mut faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
    faults.dedup();
    let faults = faults.join("\n");
    insta::assert_snapshot!(faults);
}

#[test]
fn nothing_has_a_style_or_a_colour_of_its_own() {
    let page = read(&golden()).unwrap();
    let html = format!("{:?}", page.sections);
    assert!(html.contains("<svg") && html.contains("<title>") && html.contains("role=\\\"img\\\""));
    assert!(!html.contains("style") && !html.contains("rgb("), "{html}");
}

#[test]
fn code_inks_can_be_read_in_light_and_in_dark() {
    let inks: Vec<(&str, &str)> = backlab_catalogue::ANSWER_CSS
        .split("light-dark(")
        .skip(1)
        .filter_map(|it| it.split_once(')')?.0.split_once(", "))
        .collect();
    assert_eq!(inks.len(), 4, "{inks:?}");
    for (light, dark) in inks {
        assert!(contrast(light, "#f3efe6") >= 4.5, "{light} on the light wash");
        assert!(contrast(dark, "#1c1d22") >= 4.5, "{dark} on the dark wash");
    }
}

/// WCAG 2.2, definition of contrast ratio.
fn contrast(a: &str, b: &str) -> f64 {
    let luminance = |colour: &str| {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    };
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// Text of the kinds that a page is made of, so that random text gets deeper than the first check.
fn fragments() -> impl Strategy<Value = String> {
    let bits = prop::sample::select(vec![
        "---\n",
        "## In 30 seconds\n",
        "## In depth\n",
        "## Pitfalls\n",
        "## In production\n",
        "```rust\n",
        "```sql\n",
        "```pikchr\n",
        "caption: x\n",
        "```http\n",
        "```\n",
        "box \"a\" fit; arrow\n",
        "[^a]",
        "[a](b)",
        "| a | b |\n|--|--|\n",
        "- ",
        "'\\",
        "r#\"",
        "/*",
        "'",
        "\"",
        "<b>",
        "é",
        "\u{1}",
        "\n",
        "\\",
    ]);
    prop::collection::vec(prop_oneof![3 => bits.prop_map(str::to_owned), 1 => any::<String>()], 0..40)
        .prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_text_gives_a_page_or_faults(text in fragments()) {
        let _ = read(&text);
        let _ = read(&golden().replace("WORDS", &text));
    }

    #[test]
    fn any_answer_gives_a_page_or_faults(text in fragments()) {
        let front = unwritten();
        let _ = read(&format!("{front}{text}"));
    }

    #[test]
    fn highlighting_adds_nothing_but_spans(source in fragments()) {
        let html = highlight_rust(&source);
        let mut text = String::new();
        for stretch in html.split('<') {
            text.push_str(if text.is_empty() && !html.starts_with('<') { stretch } else { stretch.split_once('>').map_or(stretch, |it| it.1) });
        }
        let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
        prop_assert_eq!(text, source);
    }
}
