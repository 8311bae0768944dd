//! What, when and how much, at a glance.

use maud::{Markup, html};

use super::{Page, PredictionPart, missing};
use crate::run::Run;
use crate::words::{counted, duration, grouped, moment, rounded};

/// Pixels in a megapixel.
const MEGA: f64 = 1e6;

impl Page {
    pub(super) fn overview(&self) -> Markup {
        let part = self.predictions.as_ref();
        html! {
            section aria-label="Summary" {
                dl.facts {
                    @if let Some(part) = part { (of_predictions(part)) }
                    @if let Some(run) = &self.run { (of_run(run)) }
                }
                @if let Some(part) = part {
                    @for failed in part.predictions.summary.iter().flat_map(|summary| &summary.failed) {
                        p.problem { "Slide " b { (failed.id) } " was not predicted: " (failed.error) }
                    }
                    @if let Some(same) = self.is_of_run() {
                        @if same {
                            p { "The predictions were made with the checkpoints of this run: their hashes are the same." }
                        } @else {
                            p.problem {
                                "The predictions were not made with the checkpoints of this run as they are now: their hashes "
                                "differ."
                            }
                        }
                    }
                } @else {
                    (missing(
                        "No predictions were named. To make some:",
                        "hubmap-infer --model RUN --slides FOLDER --out results",
                    ))
                }
                @if self.run.is_none() {
                    (missing("No run folder was named. For curves of training:", "hubmap-report RUN results"))
                }
                @for note in &self.notes { p.note { (note) } }
            }
        }
    }

    /// Whether the predictions are of the run's checkpoints, where both are known.
    fn is_of_run(&self) -> Option<bool> {
        let model = &self.predictions.as_ref()?.predictions.summary.as_ref()?.model;
        Some(self.run.as_ref()?.model_hash.as_ref()? == model)
    }
}

fn fact(name: &str, value: &str, more: &str) -> Markup {
    html! {
        div {
            dt { (name) }
            dd { b { (value) } @if !more.is_empty() { " " span { (more) } } }
        }
    }
}

fn of_predictions(part: &PredictionPart) -> Markup {
    let n_slides = part.slides.len() as u64;
    let pixels: f64 = part.views().map(|(_, view)| view.size.area() as f64).sum();
    let n_objects: u64 = part.views().map(|(_, view)| view.predicted.n_objects as u64).sum();
    let summaries = || part.predictions.slides.iter().filter_map(|slide| slide.summary.as_ref());
    let seconds: f64 = summaries().map(|summary| summary.total_seconds).sum();
    let n_blocks: f64 =
        summaries().map(|summary| (summary.n_blocks - summary.n_skipped.min(summary.n_blocks)) as f64).sum();
    html! {
        @if let Some(evaluation) = &part.evaluation {
            (fact("Dice", &format!("{:.4}", evaluation.mean_dice), "mean over slides"))
            (fact("F1 of objects", &format!("{:.4}", evaluation.pooled.objects.f1), "all slides together"))
        }
        (fact("Slides", &grouped(n_slides), &format!("{}\u{202f}megapixels", rounded(pixels / MEGA))))
        (fact("Objects", &grouped(n_objects), "predicted"))
        @if seconds > 0.0 {
            (fact("Prediction", &duration(seconds), &format!("{} tiles/s", rounded(n_blocks / seconds))))
        }
        @if let Some(at) = part.predictions.finished { (fact("Predicted (UTC)", &moment(at), "")) }
    }
}

fn of_run(run: &Run) -> Markup {
    let dice = run.mean_dice().map(|dice| format!("{dice:.4}"));
    let network = format!("{}-{}", run.setting("model", "decoder"), run.setting("model", "encoder"));
    let folds = run.folds.iter().filter(|fold| fold.checkpoint.is_some()).count() as u64;
    html! {
        @if let Some(dice) = dice {
            (fact("Validation Dice", &dice, &format!("mean of {}", counted(folds, "fold", "folds"))))
        }
        (fact("Network", &network, ""))
        @if run.seconds() > 0.0 { (fact("Training", &duration(run.seconds()), "")) }
        @if let Some(at) = run.started { (fact("Training began (UTC)", &moment(at), "")) }
    }
}
