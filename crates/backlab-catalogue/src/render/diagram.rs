//! Diagrams: pikchr text into an inline `<svg>` that works in light and dark and under a strict style policy.

use pikchr::{Pikchr, PikchrFlags};

use super::answer::escaped;

/// Widest drawing that fits the column without shrinking, in CSS pixels.
const MAX_WIDTH: f64 = 640.0;

/// What pikchr makes of a colour's name, and what the page makes of that. Presentation attributes may hold `var()`,
/// and a policy that forbids inline styles doesn't forbid them.
const COLOURS: [(&str, &str, &str); 7] = [
    ("black", "rgb(0,0,0)", "currentColor"),
    ("gray", "rgb(128,128,128)", "var(--soft, currentColor)"),
    ("lightgray", "rgb(211,211,211)", "var(--line, currentColor)"),
    ("teal", "rgb(0,128,128)", "var(--accent, currentColor)"),
    ("red", "rgb(255,0,0)", "var(--refuted, currentColor)"),
    ("white", "rgb(255,255,255)", "var(--paper, Canvas)"),
    ("whitesmoke", "rgb(245,245,245)", "var(--wash, Canvas)"),
];

/// What is wrong, and the cure.
type Wrong = (String, String);

/// A `<figure>`. The first line of `text` is the caption (`caption: What to see.`), the rest is pikchr.
pub(super) fn html(text: &str) -> Result<String, Wrong> {
    let (first, source) = text.split_once('\n').unwrap_or((text, ""));
    let caption =
        first.strip_prefix("caption:").map(str::trim).filter(|it| !it.is_empty()).ok_or_else(|| {
            (
                "a diagram without a caption".to_owned(),
                "begin the block with a line `caption: What to see.`".to_owned(),
            )
        })?;
    let svg = svg(source, caption)?;
    let caption = escaped(caption);
    Ok(format!("<figure class=\"diagram\">\n{svg}\n<figcaption>{caption}</figcaption>\n</figure>\n"))
}

fn svg(source: &str, caption: &str) -> Result<String, Wrong> {
    let mut flags = PikchrFlags::default();
    flags.generate_plain_errors();
    let drawn = Pikchr::render(source, None, flags)
        .map_err(|error| (misunderstood(&error), "see pikchr.org for its grammar".to_owned()))?;
    let drawn = drawn.rendered().trim();
    if !drawn.starts_with("<svg ") || !drawn.ends_with("</svg>") {
        return Err((
            "a diagram that draws nothing, or prints".into(),
            "draw something, and don't print".into(),
        ));
    }
    let mut out = String::with_capacity(drawn.len() * 2);
    for (i, stretch) in drawn.split('<').skip(1).enumerate() {
        // Pikchr escapes `<` and `>` in texts, so each stretch is a tag and the text after it.
        let (tag, after) = stretch.split_once('>').unwrap_or((stretch, ""));
        out.push('<');
        out.push_str(&rewritten(tag, i == 0)?);
        out.push('>');
        if i == 0 {
            out.push_str("<title>");
            out.push_str(&escaped(caption));
            out.push_str("</title>");
        }
        out.push_str(after.trim_matches('\n'));
    }
    Ok(out)
}

/// Pikchr's message: source up to the bad line, each line with its number in a comment, a caret, the complaint.
fn misunderstood(error: &str) -> String {
    let complaint = error.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let line = error.lines().rev().find_map(|line| Some(line.trim().strip_prefix("/*")?.split_once("*/")?.1));
    format!("pikchr doesn't understand `{}`: {complaint}", line.unwrap_or_default().trim())
}

/// A tag with its style turned into attributes, its colours into the page's; the root tag also gets size and role.
fn rewritten(tag: &str, is_root: bool) -> Result<String, Wrong> {
    let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
    let mut out = name.to_owned();
    while let Some((attribute, opened)) = rest.split_once('=') {
        let quote = if opened.starts_with('\'') { '\'' } else { '"' };
        let Some((value, following)) = opened.get(1..).and_then(|it| it.split_once(quote)) else { break };
        rest = following;
        match attribute.trim() {
            "style" => {
                for (property, value) in value.split(';').filter_map(|it| it.split_once(':')) {
                    push_attribute(&mut out, property.trim(), value.trim())?;
                }
            }
            "xmlns" => {}
            attribute => push_attribute(&mut out, attribute, value)?,
        }
        if is_root && attribute.trim() == "viewBox" {
            out.push_str(&root_attributes(value)?);
        }
    }
    Ok(if rest.trim() == "/" { out + "/" } else { out })
}

fn push_attribute(out: &mut String, name: &str, value: &str) -> Result<(), Wrong> {
    let thinner;
    let value = match value {
        // Pikchr fits its boxes to texts of 16 pixels: a little smaller leaves some air, whatever size the page has.
        "initial" if name == "font-size" => "14",
        width if name == "stroke-width" => {
            thinner = format!("{:.2}", width.parse::<f64>().unwrap_or(2.0) * 0.6);
            &thinner
        }
        colour if colour.starts_with("rgb(") => {
            let known = COLOURS.iter().find(|(_, drawn, _)| *drawn == colour);
            known.map(|(_, _, shown)| *shown).ok_or_else(|| {
                let allowed = COLOURS.map(|(name, ..)| name).join(", ");
                (format!("a diagram with the colour {colour}"), format!("take one of {allowed}"))
            })?
        }
        other => other,
    };
    out.push_str(&format!(" {name}=\"{value}\""));
    Ok(())
}

fn root_attributes(view_box: &str) -> Result<String, Wrong> {
    let mut numbers = view_box.split(' ').skip(2).map(|it| it.parse::<f64>().unwrap_or_default());
    let (width, height) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    if width > MAX_WIDTH {
        let cure = format!("keep to {MAX_WIDTH}: let it run downwards, or shorten its texts");
        return Err((format!("a diagram {width:.0} pixels wide"), cure));
    }
    Ok(format!(" width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\""))
}
