//! Curves and tables of training.

use hubmap_plot::{Line, Panel, Series};
use maud::{Markup, html};

use super::{Page, Table, cell, missing};
use crate::chart::line_chart;
use crate::run::{Epoch, Fold, Run};
use crate::words::{duration, rounded};

impl Page {
    pub(super) fn training(&self) -> Markup {
        html! {
            section #training aria-labelledby="training-title" {
                h2 #training-title { "Training" }
                @match &self.run {
                    None => (missing("No run folder was named:", "hubmap-report RUN results")),
                    Some(run) if run.folds.iter().all(|fold| fold.history.is_empty()) =>
                        (missing("No epoch has ended yet. To go on with this run:", "hubmap-train --resume RUN")),
                    Some(run) => {
                        p {
                            "A dot marks the epoch whose weights were kept. "
                            "Point at a curve, or step along it with the arrow keys, to read its values."
                        }
                        div.charts { @for panel in panels(run) { (line_chart(&panel, &alt(&panel))) } }
                        (folds(run))
                    }
                }
            }
        }
    }
}

fn alt(panel: &Panel) -> String {
    let lines: Vec<String> = panel
        .series
        .iter()
        .filter(|series| !series.name.is_empty())
        .filter_map(|series| Some((series, series.points.last()?)))
        .map(|(series, (x, y))| format!("{} ends at {} at epoch {x}", series.name, rounded(*y)))
        .collect();
    format!("{} by epoch: {}", panel.title, lines.join("; "))
}

fn panels(run: &Run) -> Vec<Panel> {
    let panel = |title: &str, y_range, series| Panel {
        title: title.to_owned(),
        x_label: "epoch".to_owned(),
        y_label: String::new(),
        y_range,
        series,
    };
    let mut valid = by_fold(run, " EMA", Line::Solid, |epoch| epoch.valid_dice_ema);
    valid.extend(by_fold(run, " raw", Line::Dashed, |epoch| epoch.valid_dice));
    valid.extend(run.folds.iter().enumerate().filter_map(|(i, fold)| kept(i, fold)));
    vec![
        panel("Validation Dice", Some((0.0, 1.0)), valid),
        panel(
            "Training Dice",
            Some((0.0, 1.0)),
            by_fold(run, "", Line::Solid, |epoch| Some(epoch.train_dice)),
        ),
        panel("Training loss", None, by_fold(run, "", Line::Solid, |epoch| Some(epoch.train_loss))),
        panel("Learning rate", None, rate(run).into_iter().collect()),
    ]
}

/// A line for every fold through the epochs that have a value, numbered from 1.
fn by_fold(run: &Run, suffix: &str, line: Line, value: impl Fn(&Epoch) -> Option<f64>) -> Vec<Series> {
    let series = run.folds.iter().enumerate().map(|(i, fold)| {
        let points = fold.history.iter().filter_map(|epoch| Some(((epoch.idx + 1) as f64, value(epoch)?)));
        Series { color: Some(i), line, ..Series::new(&format!("fold {}{suffix}", fold.name), points) }
    });
    series.collect()
}

/// The schedule is that of the run, whichever fold it is.
fn rate(run: &Run) -> Option<Series> {
    let longest = run.folds.iter().max_by_key(|fold| fold.history.len())?;
    Some(Series::new("", longest.history.iter().map(|epoch| ((epoch.idx + 1) as f64, epoch.rate))))
}

/// The dot of the checkpoint.
fn kept(i: usize, fold: &Fold) -> Option<Series> {
    let checkpoint = fold.checkpoint.as_ref()?;
    let name = format!("fold {} kept", fold.name);
    Some(Series { color: Some(i), ..Series::new(&name, [((checkpoint.epoch + 1) as f64, checkpoint.dice)]) })
}

fn folds(run: &Run) -> Markup {
    let headers = ["fold", "epochs", "kept", "weights", "Dice", "last loss", "time", "waiting for data"];
    let rows: Vec<Vec<Markup>> = run.folds.iter().map(fold_row).collect();
    html! {
        (Table { caption: "Folds of the run", headers: &headers, n_text: 1, rows, n_footer: 0 }.render())
        @for fold in run.folds.iter().filter(|fold| !fold.history.is_empty()) {
            details {
                summary { "Epochs of fold " (fold.name) }
                (epochs(fold))
            }
        }
    }
}

fn fold_row(fold: &Fold) -> Vec<Markup> {
    let none = || "–".to_owned();
    let seconds: f64 = fold.history.iter().map(|epoch| epoch.seconds).sum();
    let waits: Vec<f64> = fold.history.iter().filter_map(|epoch| epoch.data_wait).collect();
    let wait = (!waits.is_empty()).then(|| waits.iter().sum::<f64>() / waits.len() as f64);
    let kept = fold.checkpoint.as_ref();
    [
        fold.name.clone(),
        fold.history.len().to_string(),
        kept.map_or_else(none, |kept| format!("epoch {}", kept.epoch + 1)),
        kept.map_or_else(none, |kept| kept.tag.clone()),
        kept.map_or_else(none, |kept| format!("{:.4}", kept.dice)),
        fold.history.last().map_or_else(none, |epoch| format!("{:.4}", epoch.train_loss)),
        duration(seconds),
        wait.map_or_else(none, |wait| format!("{:.1}\u{202f}%", 100.0 * wait)),
    ]
    .iter()
    .map(cell)
    .collect()
}

fn epochs(fold: &Fold) -> Markup {
    let headers =
        ["epoch", "rate", "loss", "training Dice", "validation Dice raw", "validation Dice EMA", "time"];
    let dice = |dice: Option<f64>| dice.map_or_else(|| "–".to_owned(), |dice| format!("{dice:.4}"));
    let rows = fold.history.iter().map(|epoch| {
        let cells = [
            (epoch.idx + 1).to_string(),
            format!("{:.2e}", epoch.rate),
            format!("{:.4}", epoch.train_loss),
            dice(Some(epoch.train_dice)),
            dice(epoch.valid_dice),
            dice(epoch.valid_dice_ema),
            duration(epoch.seconds),
        ];
        cells.iter().map(cell).collect()
    });
    let caption = format!("Epochs of fold {}", fold.name);
    Table { caption: &caption, headers: &headers, n_text: 1, rows: rows.collect(), n_footer: 0 }.render()
}
