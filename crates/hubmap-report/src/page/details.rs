//! Settings, hashes, files and times.

use std::collections::BTreeMap;

use hubmap_infer::{SlideSummary, StageSeconds};
use maud::{Markup, html};

use super::{Page, PredictionPart, Table, cell};
use crate::predictions::Stamp;
use crate::run::Run;
use crate::words::{duration, grouped, moment, rounded};

impl Page {
    pub(super) fn details(&self) -> Markup {
        html! {
            section #details aria-labelledby="details-title" {
                h2 #details-title { "Settings and files" }
                @if let Some(part) = &self.predictions { (times(part)) (inputs(part)) }
                @if let Some(run) = &self.run { (checkpoints(run)) }
                @if let Some(summary) = self.predictions.as_ref().and_then(|part| part.predictions.summary.as_ref()) {
                    p {
                        "Models of the predictions: " (summary.n_models) ", SHA-256 " code.hash { (summary.model) } "."
                    }
                    details {
                        summary { "Settings of the predictions" }
                        pre tabindex="0" { (serde_json::to_string_pretty(&summary.settings).unwrap_or_default()) }
                    }
                }
                @if let Some(run) = &self.run {
                    details {
                        summary { "Settings of the training (" (run.path.join("config.toml").display()) ")" }
                        pre tabindex="0" { (run.config_text) }
                    }
                }
                @if self.run.is_some() {
                    p.note { "Which devices the training used is not written to its folder." }
                }
            }
        }
    }
}

/// Stages by name, in the order of the work.
fn stages(seconds: &StageSeconds) -> [(&'static str, f64); 8] {
    let StageSeconds { tissue, read, reduce, wait, infer, merge, journal, write } = *seconds;
    [
        ("finding tissue", tissue),
        ("reading and decoding", read),
        ("reducing", reduce),
        ("networks waiting", wait),
        ("networks", infer),
        ("merging", merge),
        ("journal", journal),
        ("writing", write),
    ]
}

fn times(part: &PredictionPart) -> Markup {
    let summaries: Vec<_> =
        part.predictions.slides.iter().filter_map(|slide| slide.summary.as_ref()).collect();
    let mut sums = stages(&StageSeconds::default());
    for summary in &summaries {
        sums.iter_mut().zip(stages(&summary.seconds)).for_each(|(sum, (_, seconds))| sum.1 += seconds);
    }
    let all: f64 = sums.iter().map(|(_, seconds)| seconds).sum();
    if all <= 0.0 {
        return html! {};
    }
    let rows: Vec<Vec<Markup>> = sums
        .iter()
        .filter(|(_, seconds)| *seconds > 0.0)
        .map(|(name, seconds)| {
            let share = 100.0 * seconds / all;
            let bar = html! { div.share style=(format!("--share:{share:.1}%")) {} };
            vec![cell(name), cell(duration(*seconds)), cell(format!("{}\u{202f}%", rounded(share))), bar]
        })
        .collect();
    let caption = "Time by stage of prediction, all slides";
    let total: f64 = summaries.iter().map(|summary| summary.total_seconds).sum();
    html! {
        p {
            "Predicting took " b { (duration(total)) } " over all slides. "
            "Stages run beside each other, so that their times add up to more or less than that."
        }
        (Table { caption, headers: &["stage", "time", "share", ""], n_text: 1, rows, n_footer: 0 }.render())
        (makers(&summaries))
    }
}

/// Who predicted, and how many slides each.
fn makers(summaries: &[&SlideSummary]) -> Markup {
    let mut counts = BTreeMap::new();
    for summary in summaries {
        *counts.entry(summary.made_by.as_ref().map(ToString::to_string)).or_insert(0_usize) += 1;
    }
    let rows: Vec<Vec<Markup>> = counts
        .into_iter()
        .map(|(maker, n)| {
            let maker = maker.unwrap_or_else(|| "not noted, by an earlier version of hubmap".to_owned());
            vec![cell(maker), cell(n.to_string())]
        })
        .collect();
    let caption = "Devices, threads and version that slides were predicted with";
    Table { caption, headers: &["made by", "slides"], n_text: 1, rows, n_footer: 0 }.render()
}

fn inputs(part: &PredictionPart) -> Markup {
    let headers = ["slide", "file", "bytes", "changed (UTC)", "settings SHA-256", "model SHA-256"];
    let rows = part.predictions.slides.iter().zip(&part.slides).map(|(slide, shown)| {
        let record = slide.record.as_ref();
        let stamp = record.and_then(|record| record.inputs.files.first());
        let path = shown.path.clone().or_else(|| slide.summary.as_ref().map(|summary| summary.path.clone()));
        let path = path.map_or_else(|| "–".to_owned(), |path| path.display().to_string());
        let hash = |hash: Option<&str>| match hash {
            Some(hash) => html! { code title=(hash) { (hash.chars().take(12).collect::<String>()) } },
            None => cell("–"),
        };
        vec![
            cell(&slide.id),
            html! { code.path { (path) } },
            cell(stamp.map_or_else(|| "–".to_owned(), |stamp| grouped(stamp.n_bytes))),
            cell(stamp.and_then(Stamp::modified).map_or_else(|| "–".to_owned(), moment)),
            hash(record.map(|record| record.identity.settings.as_str())),
            hash(record.map(|record| record.identity.model.as_str())),
        ]
    });
    let caption = "Slides and what their files were made with";
    html! {
        (Table { caption, headers: &headers, n_text: 2, rows: rows.collect(), n_footer: 0 }.render())
        p.note {
            "Slides are told apart by length and time of change: they are too large to be hashed with every prediction."
        }
    }
}

fn checkpoints(run: &Run) -> Markup {
    let rows = run.folds.iter().filter_map(|fold| {
        let checkpoint = fold.checkpoint.as_ref()?;
        Some(vec![
            cell(&fold.name),
            html! { code.path { (format!("fold_{}/models/{}", fold.idx, checkpoint.file)) } },
        ])
    });
    let rows: Vec<Vec<Markup>> = rows.collect();
    let caption = format!("Checkpoints in {}", run.path.display());
    html! {
        @if !rows.is_empty() {
            (Table { caption: &caption, headers: &["fold", "file"], n_text: 2, rows, n_footer: 0 }.render())
        }
        @if let Some(hash) = &run.model_hash { p { "All checkpoints together: SHA-256 " code.hash { (hash) } "." } }
    }
}
