//! Pictures of slides with outlines over them.

use maud::{Markup, html};

use super::{Page, PredictionPart, SlidePart, missing};
use crate::outline::UNITS_PER_PX;
use crate::picture::View;
use crate::predictions::PredictedSlide;
use crate::slide::{Layer, SlideView};
use crate::words::{area, counted, duration, grouped, length, rounded};

/// Share of the width of a picture that a scale bar fills at most.
const SCALE_BAR_SHARE: f64 = 0.22;

impl Page {
    pub(super) fn slides(&self) -> Markup {
        html! {
            section #slides aria-labelledby="slides-title" {
                h2 #slides-title { "Slides" }
                @match &self.predictions {
                    None => (missing("No predictions were named:", "hubmap-report RUN results")),
                    Some(part) => {
                        @for (idx, (slide, shown)) in part.predictions.slides.iter().zip(&part.slides).enumerate() {
                            (article(idx, slide, shown, part))
                        }
                    }
                }
            }
        }
    }
}

/// The anchor of a slide.
pub(super) fn anchor(slide_idx: usize) -> String {
    format!("slide-{slide_idx}")
}

fn article(idx: usize, slide: &PredictedSlide, shown: &SlidePart, part: &PredictionPart) -> Markup {
    html! {
        article.slide id=(anchor(idx)) {
            h3 { (slide.id) }
            @match &shown.view {
                Err(problem) => p.problem { (problem) },
                Ok(view) => {
                    (facts(slide, view))
                    @if let Err(problem) = &view.picture { p.missing { (problem) } }
                    @if let Some(place) = &view.view {
                        (picture(idx, slide, view, place))
                        @for (layer, kind) in [(Some(&view.predicted), "predicted"), (view.truth.as_ref(), "true")] {
                            @if let Some(layer) = layer.filter(|layer| layer.n_shown < layer.n_objects) {
                                p.note {
                                    "Of " (grouped(layer.n_objects as u64)) " " (kind) " objects, the largest "
                                    (grouped(layer.n_shown as u64)) " are outlined."
                                }
                            }
                        }
                    }
                    (not_shown(view, part))
                }
            }
        }
    }
}

fn facts(slide: &PredictedSlide, view: &SlideView) -> Markup {
    let share = 100.0 * view.positive_px as f64 / view.size.area() as f64;
    let resolution = view.microns_per_px.map(|microns| format!(", {}\u{202f}µm per pixel", rounded(microns)));
    html! {
        p {
            (format!("{} × {}", grouped(view.size.width.into()), grouped(view.size.height.into()))) "\u{202f}px"
            @match resolution { Some(text) => (text), None => ", resolution not stated" } ". "
            b { (counted(view.predicted.n_objects as u64, "object", "objects")) } " on "
            (area(view.positive_px as f64, view.microns_per_px)) ", " (rounded(share)) "\u{202f}% of the slide"
            @if let Some(truth) = &view.truth { "; the truth has " (grouped(truth.n_objects as u64)) }
            "."
            @if let Some(score) = &view.score { " Dice " b { (format!("{:.4}", score.dice)) } "." }
            @if let Some(summary) = &slide.summary { " Predicted in " (duration(summary.total_seconds)) "." }
        }
    }
}

/// The picture, layers over it and what switches them.
fn picture(idx: usize, slide: &PredictedSlide, view: &SlideView, place: &View) -> Markup {
    let size = place.picture_size();
    let (width, height) = (size.width, size.height);
    let alt = format!(
        "Slide {} with {}",
        slide.id,
        counted(view.predicted.n_objects as u64, "predicted object", "predicted objects")
    );
    let layers = [
        ("predicted", "predicted", true, true),
        ("truth", "truth", view.truth.is_some(), true),
        ("probability", "probability", view.probability.is_some(), false),
        ("tissue", "tissue", view.tissue.is_some(), false),
        ("stain", "slide", view.picture.is_ok(), true),
    ];
    let (ratio, scale) = (format!("--ratio:{width}/{height}"), format!("scale({})", 1.0 / UNITS_PER_PX));
    html! {
        figure.layers {
            fieldset {
                legend { "Layers" }
                @for (layer, name, is_there, is_on) in layers {
                    @if is_there {
                        label {
                            input type="checkbox" data-layer=(layer) checked[is_on];
                            @if !matches!(layer, "tissue" | "stain") { span class=(format!("key {layer}")) {} }
                            (name)
                        }
                    }
                }
            }
            svg viewBox=(format!("0 0 {width} {height}")) role="img" aria-label=(alt) style=(ratio) {
                rect.ground width=(width) height=(height) {}
                @if let Ok(picture) = &view.picture {
                    image.stain width=(picture.size.width) height=(picture.size.height) href=(picture.uri) {}
                }
                @if let Some(picture) = &view.probability {
                    image.probability width=(picture.size.width) height=(picture.size.height) href=(picture.uri) {}
                }
                @if let Some(uri) = &view.tissue {
                    image.tissue width=(width) height=(height) preserveAspectRatio="none" href=(uri) {}
                }
                g transform=(scale) {
                    @for (layer, kind) in [(Some(&view.predicted), "predicted"), (view.truth.as_ref(), "truth")] {
                        @if let Some(layer) = layer { (outlines(idx, layer, kind)) }
                    }
                }
                @if let Some(microns) = view.microns_per_px { (scale_bar(place, microns)) }
                g.mark {}
            }
        }
    }
}

/// A line with a dark edge, so that it is seen on pale and on dark stain.
fn outlines(idx: usize, layer: &Layer, kind: &str) -> Markup {
    let id = format!("{kind}-{idx}");
    html! {
        g class=(kind) {
            defs { path id=(id) d=(layer.path) vector-effect="non-scaling-stroke" {} }
            use.edge href=(format!("#{id}")) {}
            use.line href=(format!("#{id}")) {}
        }
    }
}

/// The longest of 1, 2 and 5 times a power of ten µm that fits.
fn bar_um(width_um: f64) -> f64 {
    let most = width_um * SCALE_BAR_SHARE;
    let ten = 10_f64.powf(most.log10().floor());
    [5.0, 2.0].into_iter().map(|n| n * ten).find(|&um| um <= most).unwrap_or(ten)
}

fn scale_bar(view: &View, microns_per_px: f64) -> Markup {
    let size = view.picture_size();
    let um_per_px = microns_per_px * f64::from(view.factor);
    if !(um_per_px.is_finite() && um_per_px > 0.0) {
        return html! {};
    }
    let um = bar_um(um_per_px * f64::from(size.width));
    let bar = um / um_per_px;
    // In proportion to the picture, which is shown at any size.
    let unit = f64::from(size.width.max(size.height)) / 100.0;
    let (x, y) = (2.0 * unit, f64::from(size.height) - 2.5 * unit);
    let tenths = |value: f64| format!("{value:.1}");
    html! {
        g.scale transform=(format!("translate({x:.1} {y:.1})")) {
            rect
                x=(tenths(-unit)) y=(tenths(-3.7 * unit)) rx=(tenths(0.5 * unit))
                width=(tenths(bar + 2.0 * unit)) height=(tenths(4.9 * unit)) {}
            path d=(format!("M0 0h{bar:.1}")) stroke-width=(tenths(0.5 * unit)) {}
            text x=(tenths(bar / 2.0)) y=(tenths(-0.9 * unit)) font-size=(tenths(2.4 * unit)) text-anchor="middle" {
                (length(um))
            }
        }
    }
}

fn not_shown(view: &SlideView, part: &PredictionPart) -> Markup {
    let wants_heat = view.picture.is_ok() && view.probability.is_none();
    html! {
        // Said once, not for each of many slides.
        @if wants_heat && part.slides.len() == 1 {
            (missing(
                "For a map of probabilities over the slide:",
                "hubmap-infer … --write rle,mask,npy,probability,geojson,overlay",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bar_um;

    #[test]
    fn scale_bars_are_round_and_fit() {
        for (width_um, expected) in
            [(1000.0, 200.0), (2500.0, 500.0), (15_000.0, 2000.0), (4.6, 1.0), (100.0, 20.0)]
        {
            assert!((bar_um(width_um) - expected).abs() < 1e-9, "{width_um} {}", bar_um(width_um));
        }
    }
}
