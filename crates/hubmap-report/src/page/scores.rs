//! Agreement with the truth.

use hubmap_infer::{Sweep, score_table, sweep_figure};
use hubmap_plot::Panel;
use maud::{Markup, html};

use super::{Page, PredictionPart, Table, cell, missing};
use crate::chart::line_chart;

impl Page {
    pub(super) fn scores(&self) -> Markup {
        let content = match &self.predictions {
            None => missing("Scores need predictions:", "hubmap-report RUN results --truth train.csv"),
            Some(part) => scores(part),
        };
        html! {
            section #scores aria-labelledby="scores-title" {
                h2 #scores-title { "Scores" }
                (content)
            }
        }
    }
}

fn scores(part: &PredictionPart) -> Markup {
    let Some(evaluation) = &part.evaluation else {
        let what = "No truth was named. Tables such as train.csv, mask TIFFs and QuPath annotations will do:";
        return missing(what, "hubmap-report results --truth train.csv");
    };
    let cells = score_table(evaluation);
    let (headers, rows) = cells.split_at(1.min(cells.len()));
    let headers: Vec<&str> = headers.iter().flatten().map(String::as_str).collect();
    let rows: Vec<Vec<Markup>> = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let truth = part.truth_path.iter().map(|path| path.display().to_string()).collect::<String>();
    html! {
        p { "Compared with " code { (truth) } ". Dice is of pixels. Objects match where their IoU is greater than 0.5." }
        (Table { caption: "Agreement with the truth by slide", headers: &headers, n_text: 1, rows, n_footer: 2 }.render())
        @match &evaluation.sweep {
            None => (missing(
                "Thresholds can be compared where there are probabilities:",
                "hubmap-infer --model RUN --slides FOLDER --out results --write rle,mask,npy,geojson,overlay",
            )),
            Some(sweep) => {
                @let (threshold, dice) = sweep.best();
                @let panels = panels(sweep);
                @let used = part.predictions.threshold();
                div.charts {
                    @for panel in &panels {
                        (line_chart(panel, &format!("Dice over the threshold; best {dice:.4} at {threshold:.2}")))
                    }
                    div.aside {
                        p {
                            "The best mean Dice, " b { (format!("{dice:.4}")) } ", is at threshold "
                            b { (format!("{threshold:.2}")) } "."
                        }
                        @if let Some(used) = used {
                            p { "The predictions were made with threshold " b { (format!("{used:.2}")) } "." }
                        }
                        p { "A threshold chosen on these slides flatters them: choose it on others." }
                        @let (n_swept, n_scored) = (sweep.slides.len(), evaluation.slides.len());
                        @if n_swept < n_scored {
                            p.note { "Only " (n_swept) " of " (n_scored) " slides have probabilities." }
                        }
                    }
                }
            }
        }
    }
}

/// Of one slide, the mean is all that there is.
fn panels(sweep: &Sweep) -> Vec<Panel> {
    let mut panels = sweep_figure(sweep).panels;
    if sweep.slides.len() == 1 {
        for panel in &mut panels {
            panel.series.retain(|series| series.name != "pooled");
        }
    }
    panels
}
