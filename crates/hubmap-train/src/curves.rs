//! How training went, as a picture.

use hubmap_plot::{Figure, Line, Panel, Series};

use crate::run_dir::HistoryRow;

/// Losses, Dice and learning rates by epoch, a colour for every fold.
///
/// `folds` are names and histories.
pub(crate) fn curves(folds: &[(String, Vec<HistoryRow>)]) -> Figure {
    let panel = |title: &str, y_range, series: Vec<Series>| Panel {
        title: title.to_owned(),
        x_label: "epoch".to_owned(),
        y_label: String::new(),
        y_range,
        series,
    };
    let loss = by_fold(folds, "", Line::Solid, |row| Some(row.train_loss));
    let mut dice = by_fold(folds, " EMA", Line::Solid, |row| row.valid_dice_ema);
    dice.extend(by_fold(folds, " raw", Line::Dashed, |row| row.valid_dice));
    let train_dice = by_fold(folds, "", Line::Solid, |row| Some(row.train_dice));
    // The schedule is that of the run, whichever fold it is.
    let longest = folds.iter().max_by_key(|(_, history)| history.len());
    let rate = by_fold(longest.map_or(&[], std::slice::from_ref), "", Line::Solid, |row| Some(row.rate));
    let rate = rate.into_iter().map(|series| Series { name: String::new(), ..series }).collect();
    Figure {
        title: "training".to_owned(),
        panels: vec![
            panel("validation Dice", Some((0.0, 1.0)), dice),
            panel("training Dice", Some((0.0, 1.0)), train_dice),
            panel("training loss", None, loss),
            panel("learning rate", None, rate),
        ],
    }
}

/// A line for every fold through the epochs that have a value, numbered from 1.
fn by_fold(
    folds: &[(String, Vec<HistoryRow>)],
    suffix: &str,
    line: Line,
    value: impl Fn(&HistoryRow) -> Option<f64>,
) -> Vec<Series> {
    let series = folds.iter().enumerate().map(|(fold_idx, (name, history))| {
        let points = history.iter().filter_map(|row| Some(((row.epoch + 1) as f64, value(row)?)));
        Series { color: Some(fold_idx), line, ..Series::new(&format!("fold {name}{suffix}"), points) }
    });
    series.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_epochs_that_have_a_value() {
        let row = |epoch: usize, valid: Option<f64>| HistoryRow {
            epoch,
            rate: 1e-3,
            train_loss: 1.0 / (epoch + 1) as f64,
            train_dice: 0.5,
            valid_dice: valid,
            valid_dice_ema: valid.map(|dice| dice + 0.1),
            seconds: 1.0,
            data_wait: 0.0,
        };
        let history = vec![row(0, None), row(1, Some(0.4)), row(2, None), row(3, Some(0.6))];
        let figure = curves(&[("0e".to_owned(), history.clone()), ("2a".to_owned(), history[..1].to_vec())]);
        let names: Vec<_> = figure.panels[0].series.iter().map(|series| series.name.as_str()).collect();
        assert_eq!(names, ["fold 0e EMA", "fold 2a EMA", "fold 0e raw", "fold 2a raw"]);
        assert_eq!(figure.panels[0].series[0].points, [(2.0, 0.5), (4.0, 0.7)]);
        assert!(figure.panels[0].series[1].points.is_empty());
        assert_eq!(figure.panels[2].series[0].points.len(), 4);
        assert_eq!(figure.panels[3].series.len(), 1);
    }
}
