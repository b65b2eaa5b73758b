//! The list of all questions.

use super::{Frame, path, query, status};
use crate::assets::Assets;
use crate::refusal::Refusal;
use backlab_catalogue::{Level, Piece, Track};
use backlab_questions::{ALL, Question};
use backlab_study::{Counts, Progress, Status};
use maud::{Markup, PreEscaped, html};

/// Characters of a search.
const SEARCH: usize = 200;

/// Which questions are shown; the default shows all. It's the page's query, and the scripts' too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    track: Option<Track>,
    level: Option<Level>,
    status: Option<Status>,
    /// Only those that can be run.
    runs: bool,
    /// Only those with a challenge.
    build: bool,
    words: String,
}

impl Filter {
    pub(crate) fn read(query: &[(String, String)]) -> Result<Self, Refusal> {
        let mut filter = Self::default();
        for (name, value) in query.iter().filter(|(_, value)| !value.is_empty()) {
            match name.as_str() {
                "track" => filter.track = Some(value.parse().map_err(refused)?),
                "level" => filter.level = Some(value.parse().map_err(refused)?),
                "status" => filter.status = Some(value.parse().map_err(refused)?),
                "runs" if value == "yes" => filter.runs = true,
                "build" if value == "yes" => filter.build = true,
                "runs" | "build" => {
                    return Err(refused(format!("`{value}` isn't `yes`, all that `{name}` may be")));
                }
                "q" if value.chars().count() <= SEARCH => filter.words = value.clone(),
                "q" => return Err(refused(format!("a search has at most {SEARCH} characters"))),
                _ => {}
            }
        }
        Ok(filter)
    }

    fn shows(&self, question: &Question, status: Status) -> bool {
        let page = &question.page;
        self.track.is_none_or(|it| it == page.track)
            && self.level.is_none_or(|it| it == page.level)
            && self.status.is_none_or(|it| it == status)
            && (!self.runs || question.experiment.is_some())
            && (!self.build || question.challenge.is_some())
            && page.matches(&self.words)
    }

    /// What it sets, by the names of the query.
    fn pairs(&self) -> [(&'static str, Option<&str>); 6] {
        let words = self.words.as_str();
        [
            ("track", self.track.map(Track::slug)),
            ("level", self.level.map(Level::slug)),
            ("status", self.status.map(Status::word)),
            ("runs", self.runs.then_some("yes")),
            ("build", self.build.then_some("yes")),
            ("q", (!words.is_empty()).then_some(words)),
        ]
    }

    /// The address of the list with one value changed; an empty one is taken back.
    fn with(&self, name: &str, value: &str) -> String {
        let others = self.pairs().into_iter().filter(|(it, _)| *it != name);
        let changed = (name, (!value.is_empty()).then_some(value));
        let pairs = others.chain([changed]).filter_map(|(name, value)| Some((name, value?)));
        let query = query(pairs);
        if query.is_empty() { "/".to_owned() } else { query }
    }
}

fn refused(error: impl std::fmt::Display) -> Refusal {
    Refusal::bad("No such filter", format!("{error}."))
}

pub(crate) fn page(assets: &Assets, progress: &Progress, filter: &Filter) -> Markup {
    let shown = ALL.iter().filter(|it| filter.shows(it, progress.of(it.page.number))).count();
    let frame = Frame {
        assets,
        title: "Backlab: 150 backend interview questions, each answered by a system that runs",
        kind: "home",
        script: Some(&assets.home),
        again: None,
    };
    frame.around(&html! {
        h1 { (ALL.len()) " backend interview questions," br; " each answered by a system that runs." }
        p.lede { "Predict what happens. Run it on your own machine. Read why, with the figures you just measured." }
        (overall(progress, filter))
        (next(progress))
        (tracks(progress, filter))
        (filters(filter))
        p.shown #shown role="status" {
            @if shown < ALL.len() { (shown) " of " (ALL.len()) " shown · " a href="/" { "show all" } }
        }
        table.questions {
            thead { tr {
                th scope="col" { span.sr { "Number" } }
                @for head in ["Status", "Problem", "Level"] { th scope="col" { (head) } }
            } }
            tbody { @for question in ALL { (row(question, progress.of(question.page.number), filter)) } }
        }
    })
}

/// How far the reader has come, and how far we have.
fn overall(progress: &Progress, filter: &Filter) -> Markup {
    let all = progress.counts(ALL.iter().map(|it| it.page.number));
    let run = ALL.iter().filter(|it| it.experiment.is_some()).count();
    let build = ALL.iter().filter(|it| it.challenge.is_some()).count();
    html! {
        (bar(all))
        p.sum {
            span { b { (all.verified + all.built) } " of " (all.all) " verified" }
            span { b { (all.predicted) } " predicted" }
            span { b { (all.read) } " read" }
            @if all.built > 0 { span { b { (all.built) } " built" } }
            @if run < all.all {
                (chip(filter, "runs", "yes", filter.runs, &html! { b { (run) } " of " (all.all) " run today" }))
            }
            (chip(filter, "build", "yes", filter.build, &html! { (buildable()) " " b { (build) } " to build" }))
        }
    }
}

fn bar(counts: Counts) -> Markup {
    let Counts { all, predicted, read, .. } = counts;
    let verified = counts.verified + counts.built;
    let label = format!(
        "{verified} of {all} verified, {} of them built, {predicted} predicted, {read} read",
        counts.built
    );
    let parts = [("built", counts.built), ("done", counts.verified), ("half", predicted), ("some", read)];
    let places = parts.iter().scan(0, |x, (_, width)| Some(std::mem::replace(x, *x + width)));
    html! {
        svg.bar viewBox=(format!("0 0 {all} 8")) preserveAspectRatio="none" role="img" aria-label=(label) {
            @for ((class, width), x) in parts.iter().zip(places) { rect class=(class) x=(x) width=(width) height="8" {} }
        }
    }
}

/// The easiest question that runs and that the reader hasn't verified.
fn next(progress: &Progress) -> Markup {
    let open = |it: &&Question| it.experiment.is_some() && progress.of(it.page.number) < Status::Verified;
    let next = ALL.iter().filter(open).min_by_key(|it| (it.page.level, it.page.number));
    let first = *progress == Progress::default();
    html! {
        @if let Some(it) = next {
            p.start {
                a.go href=(path(it)) { @if first { "Start with this one" } @else { "Go on with this one" } }
                span { (it.page.number) " · " (it.page.title) " " small { (it.page.experiment) } }
            }
        }
    }
}

fn tracks(progress: &Progress, filter: &Filter) -> Markup {
    let of = |track| ALL.iter().filter(move |it| it.page.track == track).map(|it| it.page.number);
    html! {
        nav.tracks aria-label="Tracks" {
            (chip(filter, "track", "", filter.track.is_none(), &html! { "All" sup { (ALL.len()) } }))
            @for track in Track::ALL {
                @let counts = progress.counts(of(track));
                @let verified = format!("{} of {} verified", counts.verified + counts.built, counts.all);
                (chip(filter, "track", track.slug(), filter.track == Some(track), &html! {
                    (track.title()) sup title=(verified) { (counts.all) }
                }))
            }
        }
    }
}

fn filters(filter: &Filter) -> Markup {
    html! {
        div.filters {
            form role="search" action="/" method="get" {
                @for (name, value) in filter.pairs() {
                    @if name != "q" { input type="hidden" name=(name) value=(value.unwrap_or_default()); }
                }
                input #q type="search" name="q" value=(filter.words) maxlength=(SEARCH) autocomplete="off"
                    spellcheck="false" placeholder="Search the questions" aria-label="Search the questions";
            }
            div.chips role="group" aria-label="Level" {
                @for it in Level::ALL {
                    (chip(filter, "level", it.slug(), filter.level == Some(it), &html! { (it.title()) }))
                }
            }
            div.chips role="group" aria-label="Status" {
                @for it in Status::ALL {
                    (chip(filter, "status", it.word(), filter.status == Some(it), &html! { (status(it)) }))
                }
            }
        }
    }
}

/// The sign of what can be built; filled, it's the status of what is.
fn buildable() -> Markup {
    html! { i aria-hidden="true" { "◇" } }
}

/// A link that filters; where its value is chosen already, it takes it back.
fn chip(filter: &Filter, name: &'static str, value: &str, chosen: bool, label: &Markup) -> Markup {
    let href = filter.with(name, if chosen { "" } else { value });
    html! {
        a href=(href) data-filter=(name) data-value=(value) aria-current=[chosen.then_some("true")] { (label) }
    }
}

fn row(question: &Question, at: Status, filter: &Filter) -> Markup {
    let page = &question.page;
    let (path, runs) = (path(question), question.experiment.is_some());
    let build = question.challenge.is_some();
    html! {
        tr .bare[!runs && !page.is_written()] hidden[!filter.shows(question, at)]
            data-track=(page.track.slug()) data-level=(page.level.slug()) data-status=(at.word())
            data-runs=[runs.then_some("yes")] data-build=[build.then_some("yes")] data-slug=(page.slug)
            data-find=(page.experiment) {
            td.n { a href=(path) aria-label=(format!("{}: open {}", page.number, page.title)) { (page.number) } }
            td.s { (status(at)) }
            td.p {
                details {
                    summary {
                        span.title { (page.title) }
                        @if build { " " span.build title="There is something to build" { (buildable()) span.sr { "to build" } } }
                        @if runs { " " small { (page.experiment) } }
                    }
                    p.asked { "“" (page.asked) "”" }
                    @if let Some(section) = page.thirty_seconds() {
                        details.short {
                            summary { "Answer in 30 seconds" }
                            @for piece in section.html { @if let Piece::Html(html) = piece { (PreEscaped(html)) } }
                        }
                    }
                    (offer(question, &path))
                }
            }
            td.l { (page.level.title()) }
        }
    }
}

/// What there is of a question, in words that promise no more.
fn offer(question: &Question, path: &str) -> Markup {
    let page = &question.page;
    html! {
        p.offer {
            @if question.experiment.is_some() {
                a.go href=(path) { "Predict and run it" }
            } @else {
                a.go href=(path) { "Open the question" }
                span {
                    @if page.is_written() { "It can’t be run yet." } @else { "Neither answer nor experiment is written yet." }
                    @if !page.experiment.is_empty() { " Planned: " em { (page.experiment) } "." }
                }
            }
            @if let Some(challenge) = &question.challenge {
                span { a href={ (path) "#build" } { "Build it" } ": " (challenge.title) }
            }
        }
    }
}
