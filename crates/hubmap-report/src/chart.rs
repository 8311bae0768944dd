//! Line charts as SVG, with what the script needs to read values out.

use std::fmt::Write as _;

use hubmap_plot::{Axis, Line, Panel, Series};
use maud::{Markup, html};
use serde_json::json;

/// Size of a chart in units, which are pixels where there is room.
pub(crate) const WIDTH: f64 = 480.0;
pub(crate) const HEIGHT: f64 = 290.0;
/// What is left around the lines.
const LEFT: f64 = 50.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;
/// Colours in the style sheet; after them they start over, dashed.
const N_COLORS: usize = 7;

/// The place of lines and bars in a chart, and its axes.
pub(crate) struct Plot {
    pub(crate) x: Axis,
    pub(crate) y: Axis,
}

impl Plot {
    /// In units from the left.
    pub(crate) fn left(&self, x: f64) -> f64 {
        LEFT + self.x.fraction(x) * (WIDTH - LEFT - RIGHT)
    }

    /// In units from the top.
    pub(crate) fn top(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.fraction(y) * (HEIGHT - TOP - BOTTOM)
    }

    /// Grid, ticks and their labels.
    pub(crate) fn axes(&self, x_label: &str, y_label: &str) -> Markup {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let (middle, side) = (f64::midpoint(LEFT, right), f64::midpoint(TOP, bottom));
        let upwards = format!("translate(12 {side}) rotate(-90)");
        html! {
            g.grid {
                @for (value, label) in &self.y.ticks {
                    @let y = units(self.top(*value));
                    path d=(format!("M{LEFT} {y}H{right}")) {}
                    text x=(LEFT - 6.0) y=(y) dy="0.32em" text-anchor="end" { (label) }
                }
                @for (value, label) in &self.x.ticks {
                    @let x = units(self.left(*value));
                    path.tick d=(format!("M{x} {bottom}v4")) {}
                    text x=(x) y=(bottom + 16.0) text-anchor="middle" { (label) }
                }
                path.axis d=(format!("M{LEFT} {TOP}V{bottom}H{right}")) {}
                text x=(middle) y=(HEIGHT - 6.0) text-anchor="middle" { (x_label) }
                @if !y_label.is_empty() {
                    text transform=(upwards) text-anchor="middle" { (y_label) }
                }
            }
        }
    }
}

/// A chart with its legend; the script reads values out where the pointer or the arrow keys are.
///
/// `alt` says what is to be seen.
pub(crate) fn line_chart(panel: &Panel, alt: &str) -> Markup {
    let points = || panel.series.iter().flat_map(|series| series.points.iter().copied());
    let x = Axis::around(points().map(|(x, _)| x), 0.02, 6, true);
    let y = panel.y_range.and_then(|ends| Axis::with_ends(ends, 5));
    let y = y.unwrap_or_else(|| Axis::around(points().map(|(_, y)| y), 0.06, 5, false));
    let plot = Plot { x, y };
    let series: Vec<_> = panel.series.iter().filter(|series| !series.points.is_empty()).collect();
    let data = json!({
        "x": [plot.x.low, plot.x.high],
        "y": [plot.y.low, plot.y.high],
        "box": [LEFT, TOP, WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM],
        "label": panel.x_label,
        "series": series.iter().map(|series| json!({
            "name": series.name,
            "points": series.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite()).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    });
    html! {
        figure.chart {
            figcaption { (panel.title) }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(alt) tabindex="0" data-chart=(data) {
                (plot.axes(&panel.x_label, &panel.y_label))
                @for (i, series) in panel.series.iter().enumerate() { (line(series, i, &plot)) }
                path.cursor hidden d=(format!("M0 {TOP}V{}", HEIGHT - BOTTOM)) {}
            }
            @if series.iter().any(|series| !series.name.is_empty()) {
                ul.legend {
                    @for (i, series) in panel.series.iter().enumerate().filter(|(_, series)| !series.name.is_empty()) {
                        li {
                            svg.swatch viewBox="0 0 26 10" aria-hidden="true" {
                                @if is_dot(series) { circle class=(color(series, i)) cx="13" cy="5" r="4" {} }
                                @else { path class=(class(series, i)) d="M0 5H26" {} }
                            }
                            (series.name)
                        }
                    }
                }
            }
            output.readout aria-live="polite" {}
        }
    }
}

/// A line with a gap at every point that is not finite, and a dot for a series of one point.
fn line(series: &Series, i: usize, plot: &Plot) -> Markup {
    let finite = |&(x, y): &(f64, f64)| x.is_finite() && y.is_finite();
    let mut path = String::new();
    let mut pen = 'M';
    for point in &series.points {
        if !finite(point) {
            pen = 'M';
            continue;
        }
        // Writing to a string cannot fail.
        let _ = write!(path, "{pen}{} {}", units(plot.left(point.0)), units(plot.top(point.1)));
        pen = 'L';
    }
    html! {
        @if is_dot(series) {
            @for point in series.points.iter().filter(|point| finite(point)) {
                circle class=(color(series, i)) cx=(units(plot.left(point.0))) cy=(units(plot.top(point.1))) r="4.5" {
                    title { (series.name) }
                }
            }
        } @else {
            path class=(class(series, i)) d=(path) {}
        }
    }
}

fn is_dot(series: &Series) -> bool {
    series.points.len() == 1
}

fn color(series: &Series, i: usize) -> String {
    format!("dot c{}", series.color.unwrap_or(i) % N_COLORS)
}

fn class(series: &Series, i: usize) -> String {
    let place = series.color.unwrap_or(i);
    let dash = match (series.line, place / N_COLORS) {
        (Line::Dotted, _) | (Line::Solid, 2..) => " dotted",
        (Line::Dashed, _) | (Line::Solid, 1) => " dashed",
        (Line::Solid, _) => "",
    };
    format!("line c{}{dash}", place % N_COLORS)
}

/// A hundredth of a unit is more than is seen.
pub(crate) fn units(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lie_where_their_axes_say() {
        let panel = Panel {
            title: "Dice <raw>".to_owned(),
            x_label: "epoch".to_owned(),
            y_range: Some((0.0, 1.0)),
            series: vec![
                Series::new("a & b", [(1.0, Some(0.0)), (2.0, None), (3.0, Some(1.0)), (5.0, Some(0.5))]),
                Series { color: Some(0), ..Series::new("best", [(5.0, 0.5)]) },
                Series { color: Some(8), line: Line::Dashed, ..Series::new("", [(1.0, 1.0), (2.0, 1.0)]) },
            ],
            ..Panel::default()
        };
        let html = line_chart(&panel, "what").into_string();
        assert!(html.contains("Dice &lt;raw&gt;") && html.contains("a &amp; b") && !html.contains("<raw>"));
        // The axis reaches 2 % beyond 1 to 5.
        let left = |x: f64| units(LEFT + (x - 0.92) / 4.16 * (WIDTH - LEFT - RIGHT));
        let (top, bottom) = (TOP, HEIGHT - BOTTOM);
        let middle = f64::midpoint(top, bottom);
        let line = format!("d=\"M{} {bottom}M{} {top}L{} {middle}\"", left(1.0), left(3.0), left(5.0));
        assert!(html.contains(&line), "{line} {html}");
        assert!(html.contains(&format!("class=\"dot c0\" cx=\"{}\" cy=\"{middle}\"", left(5.0))), "{html}");
        assert!(html.contains("class=\"line c1 dashed\""), "{html}");
        for tick in ["0.0", "0.2", "1.0", "1", "5"] {
            assert!(html.contains(&format!(">{tick}</text>")), "{tick}");
        }
        let data = html.split("data-chart=\"").nth(1).unwrap().split('"').next().unwrap();
        assert!(data.contains("[5.0,0.5]") && !data.contains('<') && !data.contains("null"), "{data}");
    }

    #[test]
    fn a_chart_without_points_has_axes() {
        let html = line_chart(&Panel::default(), "none").into_string();
        assert!(html.contains("class=\"axis\"") && !html.contains("class=\"line") && !html.contains("NaN"));
    }
}
