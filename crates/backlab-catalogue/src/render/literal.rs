//! A page as Rust source, so that the compiler checks it and the binary carries it ready-made.

use super::{OwnedPage, OwnedPiece};

/// A `backlab_catalogue::Page { … }` expression that can stand in a `static`.
pub fn rust_literal(page: &OwnedPage) -> String {
    let cards =
        list(&page.cards, |it| structure("Card", &[("ask", quoted(&it.ask)), ("say", quoted(&it.say))]));
    let follow_ups = list(&page.follow_ups, |it| {
        structure("FollowUp", &[("ask", quoted(&it.ask)), ("say", optional(it.say.as_deref()))])
    });
    let sources = list(&page.sources, |it| {
        structure("Source", &[("name", quoted(&it.name)), ("url", optional(it.url.as_deref()))])
    });
    let fields = [
        ("number", page.number.to_string()),
        ("slug", quoted(&page.slug)),
        ("title", quoted(&page.title)),
        ("track", format!("::backlab_catalogue::Track::{:?}", page.track)),
        ("level", format!("::backlab_catalogue::Level::{:?}", page.level)),
        ("asked", quoted(&page.asked)),
        ("experiment", quoted(&page.experiment)),
        ("must_say", list(&page.must_say, |it| quoted(it))),
        ("cards", cards),
        ("follow_ups", follow_ups),
        ("sources", sources),
        ("related", list(&page.related, |it| quoted(it))),
        ("body", quoted(&page.body)),
        ("answer", answer(page)),
    ];
    structure("Page", &fields)
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
    let fields: String = fields.iter().map(|(field, value)| format!("{field}: {value}, ")).collect();
    format!("::backlab_catalogue::{name} {{ {fields}}}")
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
