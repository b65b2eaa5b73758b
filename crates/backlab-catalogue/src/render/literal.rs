//! A page as Rust source, so that the compiler checks it and the binary carries it ready-made.

use std::fmt::Write;

use super::{OwnedPage, OwnedPiece};

/// A `backlab_catalogue::Page { … }` expression that can stand in a `static`.
pub fn rust_literal(page: &OwnedPage) -> String {
    let mut out = String::from("::backlab_catalogue::Page { ");
    let mut field = |name: &str, value: String| {
        out.push_str(name);
        out.push_str(": ");
        out.push_str(&value);
        out.push_str(", ");
    };
    field("number", page.number.to_string());
    field("slug", quoted(&page.slug));
    field("title", quoted(&page.title));
    field("track", format!("::backlab_catalogue::Track::{:?}", page.track));
    field("level", format!("::backlab_catalogue::Level::{:?}", page.level));
    field("asked", quoted(&page.asked));
    field("experiment", quoted(&page.experiment));
    field("must_say", list(&page.must_say, |it| quoted(it)));
    field(
        "cards",
        list(&page.cards, |it| structure("Card", &[("ask", quoted(&it.ask)), ("say", quoted(&it.say))])),
    );
    field(
        "follow_ups",
        list(&page.follow_ups, |it| {
            structure("FollowUp", &[("ask", quoted(&it.ask)), ("say", optional(it.say.as_deref()))])
        }),
    );
    field(
        "sources",
        list(&page.sources, |it| {
            structure("Source", &[("name", quoted(&it.name)), ("url", optional(it.url.as_deref()))])
        }),
    );
    field("related", list(&page.related, |it| quoted(it)));
    field("body", quoted(&page.body));
    field("answer", answer(page));
    out.push('}');
    out
}

fn answer(page: &OwnedPage) -> String {
    if page.sections.is_empty() {
        return "None".to_owned();
    }
    let sections = list(&page.sections, |section| {
        let html = list(&section.html, |piece| match piece {
            OwnedPiece::Html(html) => format!("::backlab_catalogue::Piece::Html({})", quoted(html)),
            OwnedPiece::Claim(id) => format!("::backlab_catalogue::Piece::Claim({})", quoted(id)),
        });
        structure("Section", &[("id", quoted(section.id)), ("title", quoted(section.title)), ("html", html)])
    });
    format!("Some(&{})", structure("Answer", &[("sections", sections)]))
}

fn structure(name: &str, fields: &[(&str, String)]) -> String {
    let mut out = format!("::backlab_catalogue::{name} {{ ");
    for (field, value) in fields {
        write!(out, "{field}: {value}, ").expect("writing to a String never fails");
    }
    out + "}"
}

fn list<T>(items: &[T], each: impl Fn(&T) -> String) -> String {
    format!("&[{}]", items.iter().map(each).collect::<Vec<_>>().join(", "))
}

fn optional(text: Option<&str>) -> String {
    text.map_or("None".to_owned(), |text| format!("Some({})", quoted(text)))
}

/// What Rust prints of a string with `Debug` is a literal of that string.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}
