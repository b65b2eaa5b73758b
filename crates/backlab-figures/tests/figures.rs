//! What holds for every figure: well-formed, within its width, escaped, and with all of its content as a table.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod samples;

use backlab_figures::*;
use proptest::prelude::*;
use unicode_width::UnicodeWidthStr;

const PLAIN: Look = Look { width: 80, colour: false };

#[test]
fn samples_look_as_they_were_approved() {
    for figure in samples::all() {
        insta::assert_snapshot!(format!("{}_680", figure.title), figure.svg(680).replace('>', ">\n"));
        insta::assert_snapshot!(format!("{}_340", figure.title), figure.svg(340).replace('>', ">\n"));
        insta::assert_snapshot!(format!("{}_terminal", figure.title), figure.terminal(PLAIN));
    }
}

#[test]
fn large_figures_stay_small() {
    let rows = (0..400).map(|i| SequenceRow::Message {
        from: i % 4,
        to: (i + 1) % 4,
        label: format!("request {i}"),
        lost: i % 50 == 0,
        tone: Tone::Plain,
    });
    let participants = ["client", "proxy", "server", "database"].map(String::from).to_vec();
    let sequence = Figure::new("long", "", Sequence { participants, rows: rows.collect() });
    for (figure, most) in [(samples::large_ring(), 24), (samples::large_timeline(), 60), (sequence, 180)] {
        for width in [340, 680, 1100] {
            let size = figure.svg(width).len();
            assert!(size < most * 1024, "`{}` takes {size} bytes at {width}", figure.title);
        }
    }
}

#[test]
fn texts_of_the_samples_do_not_touch_at_any_width() {
    for figure in samples::all() {
        for width in (320..=1200).step_by(20) {
            let svg = figure.svg(width);
            let boxes = text_boxes(&svg);
            for (i, a) in boxes.iter().enumerate() {
                assert!(
                    a.left >= -0.1 && a.right <= f64::from(width) + 0.1,
                    "`{}` leaves {}: {a:?}",
                    figure.title,
                    width
                );
                for b in &boxes[i + 1..] {
                    let apart = a.right <= b.left || b.right <= a.left || (a.base - b.base).abs() >= 9.0;
                    assert!(apart, "`{}` at {width}: {a:?} and {b:?}", figure.title);
                }
            }
        }
    }
}

#[test]
fn every_name_of_a_sequence_stands_whole_at_any_width() {
    let names =
        ["host", "images", "build step", "look", "blue", "green", "later", "neighbour", "hoarder", "service"];
    for count in 1..=names.len() {
        let sequence = Sequence {
            participants: names[..count].iter().copied().map(String::from).collect(),
            rows: Vec::new(),
        };
        let least = sequence.least_width();
        for width in (320..=1200).step_by(20) {
            let svg = Figure::new("heads", "", sequence.clone()).svg(width);
            let boxes = text_boxes(&svg);
            let shown = |word| boxes.iter().any(|it| it.text.split(' ').any(|shown| shown == word));
            for word in names[..count].iter().flat_map(|name| name.split(' ')) {
                assert!(shown(word), "{word} of {count} names at {width}: {boxes:?}");
            }
            for (i, a) in boxes.iter().enumerate() {
                let apart = |b: &TextBox| a.right <= b.left || b.right <= a.left || a.base != b.base;
                assert!(boxes[i + 1..].iter().all(apart), "{count} names at {width}: {boxes:?}");
                assert!(a.left >= -0.1 && a.right <= f64::from(width.max(least)) + 0.1, "{width}: {a:?}");
            }
        }
    }
}

#[derive(Debug)]
#[allow(dead_code, reason = "the text is read by the Debug output of a failure")]
struct TextBox {
    text: String,
    left: f64,
    right: f64,
    base: f64,
}

/// Boxes of all texts in a face somewhat narrower than the one that is reckoned with: what touches here does so
/// everywhere.
fn text_boxes(svg: &str) -> Vec<TextBox> {
    let document = roxmltree::Document::parse(svg).unwrap();
    let texts = document.descendants().filter(|node| node.has_tag_name("text"));
    let boxed = |node: roxmltree::Node| {
        let number = |name| node.attribute(name).unwrap().parse::<f64>().unwrap();
        let text: String =
            node.children().filter(roxmltree::Node::is_text).filter_map(|child| child.text()).collect();
        let wide = text.width() as f64 * 5.4;
        let left = match node.attribute("text-anchor") {
            None => number("x"),
            Some("middle") => number("x") - wide / 2.0,
            Some(_) => number("x") - wide,
        };
        TextBox { left, right: left + wide, base: number("y"), text }
    };
    texts.map(boxed).collect()
}

#[test]
fn text_is_escaped_and_nothing_can_run() {
    let evil = "</title><script>alert('x')</script> & \"quoted\" \u{0}\u{1b}[31m\u{202e}";
    let table = Table { columns: vec![evil.into()], rows: vec![vec![evil.into()]] };
    let figure = Figure::new(evil, evil, table);
    let svg = figure.svg(680);
    assert!(!svg.contains("<script"), "{svg}");
    let document = roxmltree::Document::parse(&svg).unwrap();
    let title = document.descendants().find(|node| node.has_tag_name("title")).and_then(|node| node.text());
    assert_eq!(title.unwrap(), evil.replace(['\u{0}', '\u{1b}'], "\u{fffd}"));
    assert!(!figure.terminal(PLAIN).contains('\u{1b}'));
}

#[test]
fn inline_figures_obey_a_strict_policy_and_files_bring_their_style() {
    for figure in samples::all() {
        let svg = figure.svg(680);
        assert!(!svg.contains("style") && !svg.contains(" id=") && !svg.contains("url("), "{}", figure.title);
        let file = figure.svg_file(680);
        let document = roxmltree::Document::parse(&file).unwrap();
        let style =
            document.descendants().find(|node| node.has_tag_name("style")).and_then(|node| node.text());
        assert!(style.unwrap().contains("prefers-color-scheme: dark"));
    }
}

#[test]
fn what_was_refuted_is_told_without_colour() {
    let bars = |tone| {
        let rows = vec![BarRow { label: "a".into(), bars: vec![Bar { value: 3.0, tone }] }];
        Figure::new("t", "", Bars { rows, ..Bars::default() })
    };
    let colourless = |figure: &Figure| figure.svg(680).replace("tone-refuted", "tone-plain");
    assert_ne!(colourless(&bars(Tone::Refuted)), colourless(&bars(Tone::Plain)));
    assert!(bars(Tone::Refuted).terminal(PLAIN).contains("✗ 3"));
    let cell = |tone| Cell { text: "lost".into(), tone };
    let cells = vec![vec![cell(Tone::Refuted), cell(Tone::Plain)]];
    let matrix = Figure::new("t", "", Matrix { rows: vec!["a".into()], columns: vec![], cells });
    assert_eq!(matrix.table().rows, [["a", "✗ lost", "lost"]]);
    assert!(matrix.svg(340).contains("✗ lost"));
}

#[test]
fn colours_are_used_only_where_they_are_wanted() {
    let coloured = samples::bars().terminal(Look { width: 80, colour: true });
    assert!(coloured.contains("\x1b[31m"));
    assert!(!samples::bars().terminal(PLAIN).contains('\x1b'));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_description_is_drawn(figure in figure(), width in 320u32..=1200, columns in 0usize..200, colour: bool) {
        let svg = figure.svg(width);
        check_svg(&svg, width)?;
        check_svg(&figure.svg_file(width), width)?;
        for line in figure.terminal(Look { width: columns, colour: false }).lines() {
            prop_assert!(line.width() <= columns.max(40), "{} columns: {line:?}", line.width());
        }
        figure.terminal(Look { width: columns, colour });
        let table = figure.table();
        for row in &table.rows {
            prop_assert_eq!(row.len(), table.columns.len());
        }
    }
}

fn check_svg(svg: &str, width: u32) -> Result<(), TestCaseError> {
    let document = roxmltree::Document::parse(svg).map_err(|e| TestCaseError::fail(format!("{e}: {svg}")))?;
    prop_assert_eq!(document.root_element().attribute("role"), Some("img"));
    for node in document.descendants().filter(roxmltree::Node::is_element) {
        for attribute in node.attributes().filter(|a| !["class", "role", "text-anchor"].contains(&a.name())) {
            let (name, value) = (attribute.name(), attribute.value());
            prop_assert!(!value.contains("NaN") && !value.contains("inf"), "{name}={value:?} at {width}");
            for number in value.split(|c: char| !c.is_ascii_digit() && c != '.').filter(|n| !n.is_empty()) {
                let fits = number.parse::<f64>().is_ok_and(|number| number < 1e7);
                prop_assert!(fits, "{name}={value:?} at {width}");
            }
        }
    }
    Ok(())
}

fn figure() -> impl Strategy<Value = Figure> {
    (text(), text(), drawing()).prop_map(|(title, caption, drawing)| Figure { title, caption, drawing })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z ✗漢é<&]{0,24}",
        1 => "\\PC{0,60}",
        1 => any::<String>(),
        1 => Just(String::new()),
    ]
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![4 => -1000.0..1000.0, 1 => any::<f64>(), 1 => Just(0.0), 1 => prop::num::f64::ANY, 1 => Just(f64::NAN)]
}

fn tone() -> impl Strategy<Value = Tone> {
    prop::sample::select(vec![Tone::Plain, Tone::Accent, Tone::Refuted, Tone::Soft])
}

fn some<S: Strategy>(it: S) -> impl Strategy<Value = Vec<S::Value>> {
    prop::collection::vec(it, 0..9)
}

fn axis() -> impl Strategy<Value = Axis> {
    (text(), any::<bool>()).prop_map(|(label, log)| Axis { label, log })
}

fn marks() -> impl Strategy<Value = Vec<Mark>> {
    some((value(), text()).prop_map(|(at, label)| Mark { at, label }))
}

fn drawing() -> impl Strategy<Value = Drawing> {
    prop_oneof![sequence(), bars(), lines(), histogram(), grids(), ring(), timeline()]
}

fn sequence() -> impl Strategy<Value = Drawing> {
    let row = prop_oneof![
        4 => (0usize..7, 0usize..7, text(), any::<bool>(), tone())
            .prop_map(|(from, to, label, lost, tone)| SequenceRow::Message { from, to, label, lost, tone }),
        1 => text().prop_map(|label| SequenceRow::Step { label }),
        1 => (0usize..7, text(), tone()).prop_map(|(at, label, tone)| SequenceRow::Note { at, label, tone }),
        1 => any::<u64>().prop_map(|count| SequenceRow::Gap { count }),
    ];
    (some(text()), some(row)).prop_map(|(participants, rows)| Sequence { participants, rows }.into())
}

fn bars() -> impl Strategy<Value = Drawing> {
    let bar = (value(), tone()).prop_map(|(value, tone)| Bar { value, tone });
    let row = (text(), some(bar)).prop_map(|(label, bars)| BarRow { label, bars });
    let limit = prop::option::of((value(), text()));
    (text(), some(text()), some(row), limit)
        .prop_map(|(unit, series, rows, limit)| Bars { unit, series, rows, limit }.into())
}

fn lines() -> impl Strategy<Value = Drawing> {
    let series = (text(), prop::collection::vec((value(), value()), 0..600), tone())
        .prop_map(|(name, points, tone)| Series { name, points, tone });
    (axis(), axis(), some(series), marks())
        .prop_map(|(x, y, series, marks)| Lines { x, y, series, marks }.into())
}

fn histogram() -> impl Strategy<Value = Drawing> {
    let count = prop_oneof![0u64..1000, any::<u64>()];
    let bucket = (value(), value(), count).prop_map(|(from, to, count)| Bucket { from, to, count });
    (axis(), prop::collection::vec(bucket, 0..300), marks())
        .prop_map(|(x, buckets, marks)| Histogram { x, buckets, marks }.into())
}

fn grids() -> impl Strategy<Value = Drawing> {
    let cell = (text(), tone()).prop_map(|(text, tone)| Cell { text, tone });
    prop_oneof![
        (text(), some(text()), some(text()), some(some(value())))
            .prop_map(|(unit, rows, columns, cells)| HeatMap { unit, rows, columns, cells }.into()),
        (some(text()), some(text()), some(some(cell))).prop_map(|(rows, columns, cells)| Matrix {
            rows,
            columns,
            cells
        }
        .into()),
        (some(text()), some(some(text()))).prop_map(|(columns, rows)| Table { columns, rows }.into()),
    ]
}

fn ring() -> impl Strategy<Value = Drawing> {
    let edge = || prop_oneof![4 => 0.0..1.0, 1 => value()];
    let arc = (edge(), edge(), 0usize..9).prop_map(|(from, to, owner)| Arc { from, to, owner });
    (some(text()), prop::collection::vec(arc, 0..300), prop::option::of(0usize..9))
        .prop_map(|(owners, arcs, highlight)| Ring { owners, arcs, highlight }.into())
}

fn timeline() -> impl Strategy<Value = Drawing> {
    let span =
        (value(), value(), text(), tone()).prop_map(|(from, to, label, tone)| Span { from, to, label, tone });
    let moment = (value(), text(), tone()).prop_map(|(at, label, tone)| Moment { at, label, tone });
    let lane = (text(), some(span), prop::collection::vec(moment, 0..100))
        .prop_map(|(name, spans, moments)| Lane { name, spans, moments });
    (text(), some(lane), marks()).prop_map(|(unit, lanes, marks)| Timeline { unit, lanes, marks }.into())
}
