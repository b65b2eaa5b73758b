//! What is on this machine, and what that leaves out.

use super::{Frame, outcome, path};
use crate::assets::Assets;
use backlab_engine::Erased;
use backlab_engine::inventory::{self, Part};
use backlab_questions::{ALL, Question};
use maud::{Markup, html};
use tokio::sync::OnceCell;

/// Whether the parts have been looked for. That starts programs, so it's done once, off the threads that serve.
#[derive(Default)]
pub(crate) struct Parts(OnceCell<()>);

impl Parts {
    pub(crate) async fn looked_up(&self) {
        let look = || async {
            let looked = tokio::task::spawn_blocking(|| {
                for part in inventory::ALL {
                    // What is found stays with the part.
                    let _ = part.version();
                }
            });
            if let Err(error) = looked.await {
                tracing::warn!(%error, "looking for the parts broke off");
            }
        };
        self.0.get_or_init(look).await;
    }
}

pub(crate) fn page(assets: &Assets) -> Markup {
    let runnable: Vec<_> = ALL.iter().filter(|it| it.experiment.is_some()).collect();
    let lacking: Vec<_> = runnable.iter().filter(|it| !lacks(it).is_empty()).collect();
    let frame = Frame { assets, title: "Doctor · Backlab", kind: "doctor", script: None, again: None };
    frame.around(&html! {
        h1 { "What is on this machine" }
        p.lede {
            @if lacking.is_empty() { "All " } @else { (runnable.len() - lacking.len()) " of " }
            (runnable.len()) " experiments that are written can run here."
        }
        ul.parts { @for part in inventory::ALL { (line(part, &runnable)) } }
        @if !lacking.is_empty() {
            h2 { "Can’t run here" }
            ul { @for it in lacking { li { a href=(path(it)) { (it.page.title) } " lacks " (lacks(it).join(", ")) } } }
        }
    })
}

fn line(part: &'static Part, runnable: &[&'static Question]) -> Markup {
    let found = part.version();
    html! {
        li {
            h2.part {
                @match &found {
                    Ok(_) => span.t aria-hidden="true" { "✓" },
                    Err(_) => span.t.no aria-hidden="true" { "✗" },
                }
                " " (outcome::part(part.name)) " "
                @match &found { Ok(version) => span.m { (version) }, Err(_) => span.m.no { "not here" } }
            }
            p.soft { (part.purpose) (users(part, runnable)) }
            @if let Err(missing) = &found {
                p { (missing.why) ". To install it:" }
                pre tabindex="0" { code { (missing.install) } }
            }
        }
    }
}

/// The questions whose experiments need the part.
fn users(part: &Part, runnable: &[&'static Question]) -> Markup {
    let users: Vec<_> = runnable.iter().filter(|it| needs(it).any(|it| it.name == part.name)).collect();
    html! {
        @if !users.is_empty() { ", for question " }
        @for (i, it) in users.iter().enumerate() {
            @if i > 0 { ", " }
            a href=(path(it)) title=(it.page.title) { (it.page.number) }
        }
    }
}

fn needs(question: &Question) -> impl Iterator<Item = &'static Part> {
    question.experiment.into_iter().flat_map(|it| it.needs.iter().copied())
}

fn lacks(question: &Question) -> Vec<&'static str> {
    let missing = question.experiment.into_iter().flat_map(Erased::lacks);
    missing.map(|it| outcome::part(it.part)).collect()
}
