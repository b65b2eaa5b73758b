//! Writes a page with every kind of figure at three widths, in light and in dark, to look at:
//! `cargo run -p backlab-figures --example gallery -- DIRECTORY`.

#[path = "../tests/samples/mod.rs"]
mod samples;

use backlab_figures::{CSS, Figure, Look};
use std::{env, fs, io, path::PathBuf};

const STYLE: &str = "
:root{--paper:#fbfaf6;--ink:#1c1b19;--soft:#6b675f;--line:#e4dfd4;--wash:#f3efe6;--accent:#0d6a66;--refuted:#b23a1e;
--sans:ui-sans-serif,system-ui,sans-serif;--mono:ui-monospace,Menlo,Consolas,monospace}
.dark{--paper:#15161a;--ink:#e7e4dd;--soft:#9a958a;--line:#2c2d33;--wash:#1c1d22;--accent:#5cc3bb;--refuted:#f08a6c}
body{margin:0;background:var(--paper);color:var(--ink);font:14px var(--sans);padding:16px}
figure{margin:0 0 28px}figcaption{color:var(--soft);margin-top:6px}pre{font:12px/1.2 var(--mono)}";

fn main() -> io::Result<()> {
    let directory = PathBuf::from(env::args().nth(1).unwrap_or_else(|| "/tmp/figures-gallery".to_owned()));
    fs::create_dir_all(&directory)?;
    let mut figures = samples::all();
    figures.extend([samples::large_ring(), samples::large_timeline()]);
    for (theme, width) in [("light", 680), ("light", 340), ("light", 1100), ("dark", 680)] {
        for (part, some) in figures.chunks(4).enumerate() {
            let body: String = some.iter().map(|figure| shown(figure, width)).collect();
            fs::write(directory.join(format!("{theme}-{width}-{}.html", part + 1)), page(theme, &body))?;
        }
    }
    for figure in &figures {
        fs::write(directory.join(format!("{}.svg", figure.title.replace(' ', "-"))), figure.svg_file(680))?;
        println!("{} {} bytes", figure.title, figure.svg(680).len());
    }
    let text: String = figures.iter().map(|f| f.terminal(Look { width: 80, colour: false }) + "\n").collect();
    fs::write(directory.join("terminal.txt"), &text)?;
    fs::write(
        directory.join("terminal.html"),
        page("light", &format!("<pre>{}</pre>", text.replace('<', "&lt;"))),
    )
}

fn shown(figure: &Figure, width: u32) -> String {
    format!("<figure>{}<figcaption>{}</figcaption></figure>\n", figure.svg(width), figure.caption)
}

fn page(theme: &str, body: &str) -> String {
    format!(
        "<!doctype html><html class=\"{theme}\"><meta charset=\"utf-8\"><style>{STYLE}\n{CSS}</style><body>{body}</body></html>"
    )
}
