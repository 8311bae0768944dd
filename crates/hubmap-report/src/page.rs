//! The page, part by part.

mod details;
mod objects;
mod overview;
mod scores;
mod slides;
mod training;

use std::path::PathBuf;

use base64::prelude::{BASE64_STANDARD, Engine};
use hubmap_infer::Evaluation;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use crate::predictions::Predictions;
use crate::run::Run;
use crate::slide::{SlideView, Totals};

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

/// Everything that is on a page.
pub(crate) struct Page {
    pub(crate) run: Option<Run>,
    pub(crate) predictions: Option<PredictionPart>,
    /// What was left out.
    pub(crate) notes: Vec<String>,
}

/// What is known of predictions.
pub(crate) struct PredictionPart {
    pub(crate) predictions: Predictions,
    /// As [`Predictions::slides`].
    pub(crate) slides: Vec<SlidePart>,
    pub(crate) evaluation: Option<Evaluation>,
    pub(crate) truth_path: Option<PathBuf>,
    pub(crate) totals: Totals,
}

/// A slide's file, if it was found, and what is shown of it, or why nothing is.
pub(crate) struct SlidePart {
    pub(crate) path: Option<PathBuf>,
    pub(crate) view: Result<SlideView, String>,
}

impl PredictionPart {
    /// Slides that could not be read.
    pub(crate) fn failed(&self) -> Vec<String> {
        let slides = self.predictions.slides.iter().zip(&self.slides);
        slides.filter(|(_, part)| part.view.is_err()).map(|(slide, _)| slide.id.clone()).collect()
    }

    /// Slides with an id and what is shown of them.
    fn views(&self) -> impl Iterator<Item = (&str, &SlideView)> {
        let slides = self.predictions.slides.iter().zip(&self.slides);
        slides.filter_map(|(slide, part)| Some((slide.id.as_str(), part.view.as_ref().ok()?)))
    }
}

impl Page {
    pub(crate) fn render(&self) -> Markup {
        let title = self.title();
        // Nothing but what is in the page, and of scripts only the one that belongs to it.
        let hash = BASE64_STANDARD.encode(Sha256::digest(SCRIPT));
        let policy = format!(
            "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{hash}'; base-uri 'none'; \
             form-action 'none'"
        );
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(policy);
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="generator" content=(concat!("hubmap-report ", env!("CARGO_PKG_VERSION")));
                    // Without one, browsers ask for a picture of their own choice.
                    link rel="icon" href="data:,";
                    title { (title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    (header(&title))
                    main {
                        (self.overview())
                        (self.scores())
                        (self.slides())
                        (self.objects())
                        (self.training())
                        (self.details())
                    }
                    footer {
                        "Made by hubmap-report " (env!("CARGO_PKG_VERSION"))
                        ". For research; not a medical device."
                    }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        }
    }

    fn title(&self) -> String {
        let name = |path: &std::path::Path| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            path.file_name()
                .map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
        };
        let run = self.run.iter().map(|run| name(&run.path));
        let predictions = self.predictions.iter().map(|part| name(&part.predictions.folder));
        run.chain(predictions).collect::<Vec<_>>().join(" · ")
    }
}

fn header(title: &str) -> Markup {
    html! {
        header {
            p.brand { "hubmap report" }
            h1 { (title) }
            nav aria-label="Parts of this page" {
                a href="#scores" { "Scores" }
                a href="#slides" { "Slides" }
                a href="#objects" { "Objects" }
                a href="#training" { "Training" }
                a href="#details" { "Settings and files" }
            }
        }
    }
}

/// A line in the place of what is not there, with the command that would bring it.
fn missing(what: &str, command: &str) -> Markup {
    html! { p.missing { (what) " " code { (command) } } }
}

/// A table that scrolls sideways where it is too wide; the first column holds names, more of the first text, others numbers.
struct Table<'a> {
    caption: &'a str,
    headers: &'a [&'a str],
    /// Columns of text, the names included.
    n_text: usize,
    rows: Vec<Vec<Markup>>,
    /// The last rows, which sum up the others.
    n_footer: usize,
}

impl Table<'_> {
    fn render(&self) -> Markup {
        let Self { caption, headers, n_text, rows, n_footer } = self;
        let class = |i: usize| (i < *n_text).then_some("text");
        let row = |cells: &[Markup]| {
            html! {
                tr {
                    @for (i, cell) in cells.iter().enumerate() {
                        @if i == 0 { th scope="row" { (cell) } } @else { td class=[class(i)] { (cell) } }
                    }
                }
            }
        };
        let (body, footer) = rows.split_at(rows.len().saturating_sub(*n_footer));
        html! {
            div.scroll tabindex="0" role="region" aria-label=(caption) {
                table {
                    caption { (caption) }
                    thead {
                        tr { @for (i, header) in headers.iter().enumerate() { th scope="col" class=[class(i)] { (header) } } }
                    }
                    tbody { @for cells in body { (row(cells)) } }
                    @if !footer.is_empty() { tfoot { @for cells in footer { (row(cells)) } } }
                }
            }
        }
    }
}

/// Text as a cell.
fn cell(text: impl AsRef<str>) -> Markup {
    html! { (text.as_ref()) }
}
