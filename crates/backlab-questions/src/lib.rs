//! The questions, one folder each under `questions/<track>/<slug>/`; the folder is the registration.

use backlab_catalogue::Page;
use backlab_engine::{Erased, ErasedChallenge};

mod json;
pub mod prelude;
pub mod reference;

/// A question with all that the binary carries of it.
#[derive(Debug)]
pub struct Question {
    pub page: Page,
    /// `None` where it isn't written.
    pub experiment: Option<&'static Erased>,
    /// The experiment's own source as highlighted HTML, for the inside of a `<code>`; empty where there is none.
    pub experiment_source: &'static str,
    /// `None` where there is nothing to build.
    pub challenge: Option<Challenge>,
}

/// Something to build, in any language.
#[derive(Debug)]
pub struct Challenge {
    pub graded: &'static ErasedChallenge,
    pub title: &'static str,
    /// What has to be built, as Markdown.
    pub contract: &'static str,
    pub contract_html: &'static str,
    /// What our own program trades away, and how real systems do it, as Markdown.
    pub notes: &'static str,
    pub notes_html: &'static str,
    /// Our own program as highlighted HTML, for the inside of a `<code>`.
    pub reference_source: &'static str,
}

/// The question with this number or slug, as a reader names it.
pub fn find(name: &str) -> Option<&'static Question> {
    let number = name.parse::<u16>().ok();
    ALL.iter().find(|it| it.page.slug == name || number == Some(it.page.number))
}

/// Plays the role that this process was started for, if it was, and ends the process; the first call of `main`.
pub fn play_role_if_asked() {
    let experiments = ALL.iter().filter_map(|question| question.experiment);
    backlab_parts::role::play_if_asked(experiments.flat_map(|it| it.roles).copied());
}

include!(concat!(env!("OUT_DIR"), "/all.rs"));
