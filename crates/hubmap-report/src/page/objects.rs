//! Objects that are worth a look, and how large and certain all of them are.

use maud::{Markup, html};

use super::slides::anchor;
use super::{Page, PredictionPart, missing};
use crate::gallery::Shown;
use crate::histogram::histogram;
use crate::outline::UNITS_PER_PX;
use crate::words::{area, grouped, rounded};

/// Radius of the ring about an object on its slide, as a share of the side of its crop.
const MARK_SHARE: f64 = 0.42;
/// Areas in µm² are shown in thousands.
const THOUSAND: f64 = 1e3;

impl Page {
    pub(super) fn objects(&self) -> Markup {
        html! {
            section #objects aria-labelledby="objects-title" {
                h2 #objects-title { "Objects" }
                @match &self.predictions {
                    None => (missing("No predictions were named:", "hubmap-report RUN results")),
                    Some(part) => {
                        (histograms(part))
                        (groups(part))
                    }
                }
            }
        }
    }
}

fn histograms(part: &PredictionPart) -> Markup {
    let areas = &part.totals.areas;
    if areas.is_empty() {
        return html! { p { "There are no predicted objects." } };
    }
    let um2: Option<Vec<f64>> =
        areas.iter().map(|(px, microns)| microns.map(|microns| px * microns * microns)).collect();
    let (label, values) = match &um2 {
        Some(um2) => ("area in 1000 µm²", um2.iter().map(|um2| um2 / THOUSAND).collect::<Vec<_>>()),
        None => ("area in pixels", areas.iter().map(|(px, _)| *px).collect()),
    };
    let probabilities = &part.totals.mean_probabilities;
    let certainty = histogram("Certainty of objects", "mean probability", probabilities, Some((0.0, 1.0)));
    html! {
        (sizes(um2.as_deref(), areas))
        div.charts {
            @if let Some(chart) = histogram("Sizes of objects", label, &values, None) { (chart) }
            @if let Some(chart) = certainty { (chart) }
        }
        @if probabilities.is_empty() {
            (missing(
                "For the certainty of objects, predict with their table:",
                "hubmap-infer … --write rle,mask,npy,objects,geojson,overlay",
            ))
        }
    }
}

/// The median object, as a number to compare with what is known of glomeruli.
fn sizes(um2: Option<&[f64]>, areas: &[(f64, Option<f64>)]) -> Markup {
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    html! {
        @match um2 {
            Some(um2) => {
                @let median = median(um2.to_vec());
                p {
                    "The median object covers " b { (area(median, Some(1.0))) } ", a circle of "
                    b { (rounded(2.0 * (median / std::f64::consts::PI).sqrt())) "\u{202f}µm" } " diameter."
                }
            }
            None => p {
                "The median object covers " b { (area(median(areas.iter().map(|(px, _)| *px).collect()), None)) }
                ". Not all slides state their resolution, so that sizes are in pixels."
            },
        }
    }
}

fn groups(part: &PredictionPart) -> Markup {
    let groups = part.totals.gallery.groups();
    html! {
        @if !groups.is_empty() {
            p.keys {
                span { span.key.predicted {} "predicted" }
                @if part.truth_path.is_some() { span { span.key.truth {} "truth" } }
                "The object itself is drawn thicker; its number is a link to its place on the slide."
            }
        }
        @for group in &groups {
            h3 { (group.title) }
            p { (group.text) }
            ul.crops { @for shown in &group.objects { li { (crop(shown, part)) } } }
        }
    }
}

fn crop(shown: &Shown, part: &PredictionPart) -> Markup {
    let slide = part.predictions.slides.get(shown.slide_idx).map_or("", |slide| slide.id.as_str());
    let view = part.slides.get(shown.slide_idx).and_then(|slide| slide.view.as_ref().ok());
    let microns = view.and_then(|view| view.microns_per_px);
    let size = shown.view.picture_size();
    let [x, y] = shown.centroid;
    let side = if shown.is_truth { "truth" } else { "predicted" };
    let name = format!("{} {}", if shown.is_truth { "true object" } else { "object" }, shown.number);
    // A ring about the object, a little larger than it.
    let mark = view.and_then(|view| view.view.as_ref()).map(|view| {
        let [x, y] = view.place(shown.centroid);
        let radius = MARK_SHARE * f64::from(shown.view.window.width) / f64::from(view.factor);
        format!("{x:.1},{y:.1},{radius:.1}")
    });
    let alt = format!("{name} of slide {slide}");
    let iou = shown.iou.map(|iou| format!("IoU {iou:.2}"));
    let probability = shown.probability.map(|probability| format!("probability {probability:.2}"));
    let measures: Vec<String> = iou.into_iter().chain(probability).collect();
    html! {
        figure.crop {
            svg viewBox=(format!("0 0 {} {}", size.width, size.height)) role="img" aria-label=(alt) {
                rect.ground width=(size.width) height=(size.height) {}
                @if let Some(picture) = &shown.picture {
                    image width=(picture.size.width) height=(picture.size.height) href=(picture.uri) {}
                }
                g transform=(format!("scale({})", 1.0 / UNITS_PER_PX)) {
                    @for (kind, path) in [("predicted", &shown.predicted), ("truth", &shown.truth)] {
                        @if kind == side {
                            g class=(format!("{kind} focus")) { path.edge d=(shown.focus) {} path.line d=(shown.focus) {} }
                        }
                        @if !path.is_empty() { g class=(kind) { path.edge d=(path) {} path.line d=(path) {} } }
                    }
                }
            }
            figcaption {
                a href=(format!("#{}", anchor(shown.slide_idx))) data-mark=[mark] { (name) }
                " · " (area(shown.area_px as f64, microns))
                @if part.slides.len() > 1 { br; (slide) }
                @if !measures.is_empty() { br; (measures.join(" · ")) }
                br;
                span.at { "x " (grouped(x.max(0.0) as u64)) ", y " (grouped(y.max(0.0) as u64)) "\u{202f}px" }
            }
        }
    }
}
