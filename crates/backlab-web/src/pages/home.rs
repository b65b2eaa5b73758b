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
                "runs" => return Err(refused(format!("`{value}` isn't `yes`, all that `runs` may be"))),
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
            && self.finds(question)
    }

    /// Every word occurs in what a reader knows of a question: number, title, what is asked, the experiment.
    fn finds(&self, question: &Question) -> bool {
        let page = &question.page;
        let text =
            format!("{} {} {} {}", page.number, page.title, page.asked, page.experiment).to_lowercase();
        self.words.to_lowercase().split_whitespace().all(|word| text.contains(word))
    }

    /// The address of the list with one thing changed.
    fn with(&self, change: impl FnOnce(&mut Self)) -> String {
        let mut filter = self.clone();
        change(&mut filter);
        let words = filter.words.as_str();
        let pairs = [
            ("track", filter.track.map(Track::slug)),
            ("level", filter.level.map(Level::slug)),
            ("status", filter.status.map(Status::word)),
            ("runs", filter.runs.then_some("yes")),
            ("q", (!words.is_empty()).then_some(words)),
        ];
        let query = query(pairs.into_iter().filter_map(|(name, value)| Some((name, value?))));
        if query.is_empty() { "/".to_owned() } else { query }
    }
}

fn refused(error: impl std::fmt::Display) -> Refusal {
    Refusal::bad("No such filter", format!("{error}."))
}

pub(crate) fn page(assets: &Assets, progress: &Progress, filter: &Filter) -> Markup {
    let all = progress.counts(ALL.iter().map(|it| it.page.number));
    let run = ALL.iter().filter(|it| it.experiment.is_some()).count();
    let shown = ALL.iter().filter(|it| filter.shows(it, progress.of(it.page.number))).count();
    let frame = Frame {
        assets,
        title: "Backlab: 150 backend interview questions, each answered by a system that runs",
        kind: "home",
        script: Some(&assets.home),
        again: None,
    };
    frame.around(&html! {
        h1 { (all.all) " backend interview questions," br; " each answered by a system that runs." }
        p.lede { "Predict what happens. Run it on your own machine. Read why, with the figures you just measured." }
        (bar(all))
        p.sum {
            span { b { (all.verified) } " of " (all.all) " verified" }
            span { b { (all.predicted) } " predicted" }
            span { b { (all.read) } " read" }
            @if run < all.all {
                a href=(filter.with(|it| it.runs = !it.runs)) data-filter="runs" data-value="yes" aria-current=[on(filter.runs)] {
                    b { (run) } " of " (all.all) " run today"
                }
            }
        }
        (next(progress))
        (filters(progress, filter))
        p.shown #shown role="status" data-all=(all.all) {
            @if shown < all.all { (shown) " of " (all.all) " shown · " a href="/" { "show all" } }
        }
        table.questions {
            thead { tr { th scope="col" { span.sr { "Number" } } th scope="col" { "Status" } th scope="col" { "Problem" } th scope="col" { "Level" } } }
            tbody { @for question in ALL { (row(question, progress.of(question.page.number), filter)) } }
        }
    })
}

/// The easiest question that runs and that the reader hasn't verified.
fn next(progress: &Progress) -> Markup {
    let open = |it: &&Question| it.experiment.is_some() && progress.of(it.page.number) < Status::Verified;
    let next = ALL.iter().filter(open).min_by_key(|it| (it.page.level, it.page.number));
    html! {
        @if let Some(it) = next {
            p.start {
                a.go href=(path(it)) { @if *progress == Progress::default() { "Start with this one" } @else { "Go on with this one" } }
                span { (it.page.number) " · " (it.page.title) " " small { (it.page.experiment) } }
            }
        }
    }
}

fn bar(counts: Counts) -> Markup {
    let label = format!(
        "{} of {} verified, {} predicted, {} read",
        counts.verified, counts.all, counts.predicted, counts.read
    );
    html! {
        svg.bar viewBox=(format!("0 0 {} 8", counts.all)) preserveAspectRatio="none" role="img" aria-label=(label) {
            rect.done width=(counts.verified) height="8" {}
            rect.half x=(counts.verified) width=(counts.predicted) height="8" {}
            rect.some x=(counts.verified + counts.predicted) width=(counts.read) height="8" {}
        }
    }
}

fn filters(progress: &Progress, filter: &Filter) -> Markup {
    let of = |track: Track| {
        progress.counts(ALL.iter().filter(|it| it.page.track == track).map(|it| it.page.number))
    };
    html! {
        nav.tracks aria-label="Tracks" {
            a href=(filter.with(|it| it.track = None)) data-filter="track" data-value="" aria-current=[on(filter.track.is_none())] { "All" sup { (ALL.len()) } }
            @for track in Track::ALL {
                @let counts = of(track);
                a href=(filter.with(|it| it.track = Some(track))) data-filter="track" data-value=(track.slug()) aria-current=[on(filter.track == Some(track))] {
                    (track.title()) sup title=(format!("{} of {} verified", counts.verified, counts.all)) { (counts.all) }
                }
            }
        }
        div.filters {
            form role="search" action="/" method="get" {
                @for (name, value) in [("track", filter.track.map(Track::slug)), ("level", filter.level.map(Level::slug)), ("status", filter.status.map(Status::word)), ("runs", filter.runs.then_some("yes"))] {
                    input type="hidden" name=(name) value=(value.unwrap_or_default());
                }
                input #q type="search" name="q" value=(filter.words) maxlength=(SEARCH) placeholder="Search the questions" aria-label="Search the questions" autocomplete="off" spellcheck="false";
            }
            div.chips role="group" aria-label="Level" {
                @for level in Level::ALL {
                    @let chosen = filter.level == Some(level);
                    a href=(filter.with(|it| it.level = (!chosen).then_some(level))) data-filter="level" data-value=(level.slug()) aria-current=[on(chosen)] { (level.title()) }
                }
            }
            div.chips role="group" aria-label="Status" {
                @for status in Status::ALL {
                    @let chosen = filter.status == Some(status);
                    a href=(filter.with(|it| it.status = (!chosen).then_some(status))) data-filter="status" data-value=(status.word()) aria-current=[on(chosen)] { (status.word()) }
                }
            }
        }
    }
}

fn on(is: bool) -> Option<&'static str> {
    is.then_some("true")
}

fn row(question: &Question, at: Status, filter: &Filter) -> Markup {
    let page = &question.page;
    let (path, runs) = (path(question), question.experiment.is_some());
    html! {
        tr #{ "q" (page.number) } .bare[!runs && !page.is_written()] hidden[!filter.shows(question, at)]
            data-track=(page.track.slug()) data-level=(page.level.slug()) data-status=(at.word()) data-runs=(if runs { "yes" } else { "" }) data-find=(page.experiment) {
            td.n { a href=(path) aria-label=(format!("{}: open {}", page.number, page.title)) { (page.number) } }
            td.s { (status(at)) }
            td.p {
                details {
                    summary { span.title { (page.title) } @if runs { " " small { (page.experiment) } } }
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
        }
    }
}
