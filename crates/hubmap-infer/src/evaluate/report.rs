//! Scores as tables and pictures.

use std::path::Path;

use anyhow::{Context, Result};
use hubmap_plot::{Figure, Panel, Series};

use super::{Evaluation, Hausdorff, ObjectScore, SlideScore, Sweep};

/// One line of the table of scores.
struct Row<'a> {
    name: &'a str,
    dice: f64,
    /// None for the mean over slides.
    objects: Option<ObjectScore>,
    hausdorff_95: Option<Hausdorff>,
}

impl Row<'_> {
    fn of_slide(slide: &SlideScore) -> Row<'_> {
        let objects = Some(slide.objects);
        Row { name: &slide.id, dice: slide.dice, objects, hausdorff_95: slide.hausdorff_95 }
    }

    /// Cells for people: four digits, and `–` where there is no value.
    fn cells(&self, with_hausdorff: bool) -> Vec<String> {
        let none = || "–".to_owned();
        let share = |value: Option<f64>| value.map_or_else(none, |value| format!("{value:.4}"));
        let distance = |value: Option<f64>| value.map_or_else(none, |value| format!("{value:.1}"));
        let objects = self.objects;
        let count =
            |count: fn(ObjectScore) -> u64| objects.map_or_else(none, |objects| count(objects).to_string());
        let mut cells = vec![
            self.name.to_owned(),
            share(Some(self.dice)),
            share(objects.and_then(|objects| objects.precision)),
            share(objects.and_then(|objects| objects.recall)),
            share(objects.map(|objects| objects.f1)),
            count(|objects| objects.predicted),
            count(|objects| objects.truth),
            count(|objects| objects.matched),
        ];
        if with_hausdorff {
            cells.push(distance(self.hausdorff_95.and_then(|distance| distance.px)));
            cells.push(distance(self.hausdorff_95.and_then(|distance| distance.um)));
        }
        cells
    }
}

/// The scores for people: a line of headers, one line a slide, the mean over slides, and all slides as one.
///
/// Objects are counted as [`ObjectScore`] says.
pub fn score_table(evaluation: &Evaluation) -> Vec<Vec<String>> {
    let with_hausdorff = has_hausdorff(evaluation);
    let mut headers = vec!["slide", "Dice", "precision", "recall", "F1", "predicted", "true", "matched"];
    if with_hausdorff {
        headers.extend(["HD95 px", "HD95 µm"]);
    }
    let pooled = &evaluation.pooled;
    let mean = Row {
        name: "mean",
        dice: evaluation.mean_dice,
        objects: None,
        hausdorff_95: mean_hausdorff(evaluation),
    };
    let pooled = Row { name: "pooled", dice: pooled.dice, objects: Some(pooled.objects), hausdorff_95: None };
    let rows = evaluation.slides.iter().map(Row::of_slide).chain([mean, pooled]);
    let headers = headers.into_iter().map(str::to_owned).collect();
    std::iter::once(headers).chain(rows.map(|row| row.cells(with_hausdorff))).collect()
}

fn has_hausdorff(evaluation: &Evaluation) -> bool {
    evaluation.slides.iter().any(|slide| slide.hausdorff_95.is_some())
}

/// Means over the slides that have a distance.
fn mean_hausdorff(evaluation: &Evaluation) -> Option<Hausdorff> {
    let mean = |distance: fn(Hausdorff) -> Option<f64>| {
        let all = evaluation.slides.iter().filter_map(|slide| slide.hausdorff_95.and_then(distance));
        let (sum, n) = all.fold((0.0, 0), |(sum, n), distance| (sum + distance, n + 1));
        (n > 0).then(|| sum / f64::from(n))
    };
    has_hausdorff(evaluation).then(|| Hausdorff { px: mean(|d| d.px), um: mean(|d| d.um) })
}

/// The table of scores as Markdown, and that of thresholds after it if there is one.
pub fn markdown_tables(evaluation: &Evaluation) -> String {
    let mut text = markdown(&score_table(evaluation));
    text.push_str("\nObjects match where their IoU is greater than 0.5.\n");
    if let Some(sweep) = &evaluation.sweep {
        let (threshold, dice) = sweep.best();
        let digits = |value: &f64| format!("{value:.4}");
        let mut rows = vec![["threshold", "mean Dice", "pooled Dice"].map(str::to_owned).to_vec()];
        let scores = sweep.mean_dice.iter().zip(&sweep.pooled_dice);
        rows.extend(sweep.thresholds.iter().zip(scores).map(|(threshold, (mean, pooled))| {
            vec![format!("{threshold:.2}"), digits(mean), digits(pooled)]
        }));
        text.extend([format!("\nBest threshold {threshold:.2}, mean Dice {dice:.4}.\n\n"), markdown(&rows)]);
    }
    text
}

/// A table whose first line is the header and whose first column holds names.
fn markdown(rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let ruler =
        format!("| --- |{}\n", " ---: |".repeat(rows.first().map_or(0, |row| row.len().saturating_sub(1))));
    let (header, body) = rows.split_at(1.min(rows.len()));
    header.iter().map(|row| line(row)).chain([ruler]).chain(body.iter().map(|row| line(row))).collect()
}

/// Writes one line a slide with all digits; values that do not exist are empty.
pub fn write_scores_csv(path: &Path, evaluation: &Evaluation) -> Result<()> {
    let with_hausdorff = has_hausdorff(evaluation);
    let mut headers = vec!["id", "dice", "predicted_pixels", "truth_pixels", "shared_pixels"];
    headers.extend(["predicted_objects", "truth_objects", "matched_objects", "precision", "recall", "f1"]);
    if with_hausdorff {
        headers.extend(["hausdorff_95_px", "hausdorff_95_um"]);
    }
    let optional = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let rows = evaluation.slides.iter().map(|slide| {
        let SlideScore { id, dice, predicted_pixels, truth_pixels, shared_pixels, objects, hausdorff_95 } =
            slide;
        let mut row = vec![id.clone(), dice.to_string()];
        let counts = [predicted_pixels, truth_pixels, shared_pixels];
        let objects_counts = [&objects.predicted, &objects.truth, &objects.matched];
        row.extend(counts.into_iter().chain(objects_counts).map(u64::to_string));
        row.extend([optional(objects.precision), optional(objects.recall), objects.f1.to_string()]);
        if with_hausdorff {
            row.push(optional(hausdorff_95.and_then(|distance| distance.px)));
            row.push(optional(hausdorff_95.and_then(|distance| distance.um)));
        }
        row
    });
    write_csv(path, &headers, rows)
}

/// Writes one line a threshold: its mean and pooled Dice, and that of each slide.
pub fn write_sweep_csv(path: &Path, sweep: &Sweep) -> Result<()> {
    let mut headers = vec!["threshold", "mean_dice", "pooled_dice"];
    headers.extend(sweep.slides.iter().map(|slide| slide.id.as_str()));
    let rows = sweep.thresholds.iter().enumerate().map(|(i, threshold)| {
        let slides = sweep.slides.iter().map(|slide| slide.dice[i]);
        [*threshold, sweep.mean_dice[i], sweep.pooled_dice[i]]
            .into_iter()
            .chain(slides)
            .map(|v| v.to_string())
            .collect()
    });
    write_csv(path, &headers, rows)
}

fn write_csv(path: &Path, headers: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Result<()> {
    let write = move || -> Result<()> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(headers)?;
        for row in rows {
            writer.write_record(row)?;
        }
        let bytes = writer.into_inner().map_err(csv::IntoInnerError::into_error)?;
        Ok(hubmap_files::write_whole(path, &bytes)?)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Dice over the threshold, with the best one marked, and every slide's if there are few.
pub fn sweep_figure(sweep: &Sweep) -> Figure {
    /// More lines would hide each other.
    const MOST_SLIDES: usize = 5;
    let line = |name: &str, dice: &[f64]| {
        Series::new(name, sweep.thresholds.iter().copied().zip(dice.iter().copied()))
    };
    let (threshold, dice) = sweep.best();
    let mut series = vec![line("mean over slides", &sweep.mean_dice), line("pooled", &sweep.pooled_dice)];
    series.push(Series::new(&format!("best {threshold:.2}: {dice:.4}"), [(threshold, dice)]));
    if (2..=MOST_SLIDES).contains(&sweep.slides.len()) {
        let slides = sweep
            .slides
            .iter()
            .map(|slide| Series { line: hubmap_plot::Line::Dotted, ..line(&slide.id, &slide.dice) });
        series.extend(slides);
    }
    let panel = Panel {
        title: "Dice over the threshold".to_owned(),
        x_label: "threshold".to_owned(),
        y_label: "Dice".to_owned(),
        y_range: None,
        series,
    };
    Figure { title: String::new(), panels: vec![panel] }
}
