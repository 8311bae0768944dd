//! Histograms as SVG.

use hubmap_plot::Axis;
use maud::{Markup, html};

use crate::chart::{HEIGHT, Plot, WIDTH, units};
use crate::words::{counted, grouped, rounded};

/// Bars, about.
const N_BINS: u32 = 20;

/// How often values lie in equal parts of their range, whose ends are round numbers.
#[derive(Debug, PartialEq)]
struct Bins {
    start: f64,
    step: f64,
    counts: Vec<u64>,
}

impl Bins {
    /// Of finite values from 0 on; a value on an end counts above it, the greatest below.
    fn of(values: &[f64], range: Option<(f64, f64)>) -> Option<Self> {
        let max = values.iter().copied().filter(|value| value.is_finite()).fold(f64::MIN, f64::max);
        let axis = Axis::with_ends(range.unwrap_or((0.0, max)), N_BINS)?;
        let (first, second) = (axis.ticks.first()?.0, axis.ticks.get(1)?.0);
        let step = second - first;
        let n = ((axis.high - first) / step - 1e-9).ceil().max(1.0) as usize;
        let mut counts = vec![0; n];
        for value in values.iter().filter(|value| value.is_finite()) {
            let bin = ((value - first) / step + 1e-9).floor().max(0.0) as usize;
            counts[bin.min(n - 1)] += 1;
        }
        Some(Self { start: first, step, counts })
    }
}

/// A histogram of values from 0 on, or over the range given; none without values that span a range.
pub(crate) fn histogram(
    title: &str,
    x_label: &str,
    values: &[f64],
    range: Option<(f64, f64)>,
) -> Option<Markup> {
    let bins = Bins::of(values, range)?;
    let end = bins.start + bins.step * bins.counts.len() as f64;
    let highest = bins.counts.iter().copied().max().filter(|&highest| highest > 0)?;
    let x = Axis::with_ends((bins.start, end), 6)?;
    // Room above the highest bar, and ticks at whole numbers of objects only.
    let y = Axis::with_ends((0.0, highest as f64 * 1.08 + 0.1), 5)?;
    let whole = |(value, _): (f64, String)| (value.fract() == 0.0).then(|| (value, grouped(value as u64)));
    let ticks = y.ticks.into_iter().filter_map(whole).collect();
    let plot = Plot { x, y: Axis { ticks, ..y } };
    let alt = format!("Histogram of {} by {x_label}", counted(values.len() as u64, "object", "objects"));
    Some(html! {
        figure.chart {
            figcaption { (title) }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(alt) {
                (plot.axes(x_label, "objects"))
                @for (i, &count) in bins.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                    @let (low, high) = (bins.start + bins.step * i as f64, bins.start + bins.step * (i + 1) as f64);
                    @let (left, right) = (plot.left(low) + 1.0, plot.left(high) - 1.0);
                    @let (top, bottom) = (plot.top(count as f64), plot.top(0.0));
                    rect.bar x=(units(left)) y=(units(top)) width=(units((right - left).max(1.0))) height=(units(bottom - top)) {
                        title { (rounded(low)) " to " (rounded(high)) ": " (counted(count, "object", "objects")) }
                    }
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_in_round_parts() {
        let bins = Bins::of(&[0.0, 0.049, 0.05, 0.5, 0.95, 1.0, f64::NAN], Some((0.0, 1.0))).unwrap();
        assert_eq!((bins.start, bins.counts.len()), (0.0, 20));
        assert!((bins.step - 0.05).abs() < 1e-12);
        let expected = |i: usize| match i {
            0 | 19 => 2,
            1 | 10 => 1,
            _ => 0,
        };
        assert_eq!(bins.counts, (0..20).map(expected).collect::<Vec<u64>>());
        // 1930 in steps of 100 ends at 2000.
        let bins = Bins::of(&[1930.0, 1999.0, 30.0], None).unwrap();
        assert_eq!((bins.step, bins.counts.len(), bins.counts[0], bins.counts[19]), (100.0, 20, 1, 2));
    }

    #[test]
    fn bars_say_what_they_count() {
        let html = histogram("sizes", "area", &[10.0, 11.0, 95.0], None).unwrap().into_string();
        assert!(
            html.contains("10.0 to 15.0: 2 objects") && html.contains("90.0 to 95.0: 1 object"),
            "{html}"
        );
        assert_eq!(html.matches("class=\"bar\"").count(), 2);
        assert!(html.contains(">2</text>") && !html.contains(">0.5<") && !html.contains(">0.0<"), "{html}");
        for nothing in [&[][..], &[0.0, 0.0], &[f64::NAN]] {
            assert!(histogram("", "", nothing, None).is_none());
        }
    }
}
