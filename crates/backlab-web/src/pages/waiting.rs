//! The page of a run that is under way, for browsers without scripts: it loads itself anew until the run has ended.

use super::{Frame, outcome, path};
use crate::assets::Assets;
use crate::runs::{Ended, Run};
use maud::{Markup, html};

pub(crate) fn page(assets: &Assets, run: &Run, ahead: usize, ended: Option<&Ended>) -> Markup {
    let question = run.question;
    let title = format!("Run · {} · Backlab", question.page.title);
    let again = ended.is_none().then_some(1);
    let frame = Frame { assets, title: &title, kind: "run", script: None, again };
    frame.around(&html! {
        p.where { (question.page.number) " · " a href=(path(question)) { (question.page.title) } }
        @match ended {
            Some(ended) => { h1 { "The run has ended" } (outcome::ended(question, ended)) },
            None => {
                h1 { @if ahead > 0 { "Waiting in line" } @else { "Running" } }
                p role="status" {
                    @if ahead > 0 { (ahead) " before this one." }
                    @else { (run.trace.total()) " messages so far, " (format!("{:.0}", run.seconds())) " s." }
                }
                @if let Some(figure) = backlab_engine::sequence(&run.trace) { (outcome::figure(&figure)) }
                form method="post" action={ "/runs/" (run.id) "/cancel" } { button.quiet type="submit" { "Cancel" } }
            },
        }
        p { a href=(path(question)) { "Back to the question" } }
    })
}
