//! Ends, ticks and tick labels of an axis.

/// Ends and ticks of one axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// First value.
    pub low: f64,
    /// Last value, greater than the first.
    pub high: f64,
    /// Values that get a line of the grid, with their labels; ascending.
    pub ticks: Vec<(f64, String)>,
}

/// Beyond it differences of two values would no longer be finite.
const LARGEST: f64 = f64::MAX / 8.0;
/// Axes are at least this long relative to their values, so that ticks differ in the digits of their labels.
const SHORTEST: f64 = 1e-9;
/// Axes whose values are all nearer to 0 are about 0.
const TINIEST: f64 = 1e-250;

impl Axis {
    /// An axis with these ends, if they are a range, and about `n_ticks` ticks.
    pub fn with_ends((low, high): (f64, f64), n_ticks: u32) -> Option<Self> {
        let magnitude = low.abs().max(high.abs());
        let fits =
            low < high && magnitude <= LARGEST && high - low >= SHORTEST * magnitude && magnitude > TINIEST;
        fits.then(|| Self { low, high, ticks: ticks(low, high, f64::from(n_ticks), 0.0) })
    }

    /// An axis that shows all of the values, those that are finite, and about `n_ticks` ticks.
    ///
    /// It reaches beyond the values by the fraction `margin` of its length at both ends.
    /// Where all values are whole numbers, so are the ticks if `whole` is set.
    pub fn around(values: impl Iterator<Item = f64>, margin: f64, n_ticks: u32, whole: bool) -> Self {
        let (mut low, mut high, mut all_whole) = (f64::INFINITY, f64::NEG_INFINITY, whole);
        for value in values.filter(|value| value.is_finite()) {
            low = low.min(value);
            high = high.max(value);
            all_whole &= value.fract() == 0.0;
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        (low, high) = (low.clamp(-LARGEST, LARGEST) / 2.0, high.clamp(-LARGEST, LARGEST) / 2.0);
        let magnitude = low.abs().max(high.abs());
        let mut padding = (high - low) * margin;
        if high - low < SHORTEST * magnitude || magnitude <= TINIEST {
            padding = if magnitude <= TINIEST { 0.25 } else { magnitude * 0.05 };
        }
        (low, high) = (2.0 * (low - padding), 2.0 * (high + padding));
        let least_step = if all_whole { 1.0 } else { 0.0 };
        Self { low, high, ticks: ticks(low, high, f64::from(n_ticks), least_step) }
    }

    /// Where a value lies on the axis: 0 at its first end, 1 at its last.
    pub fn fraction(&self, value: f64) -> f64 {
        // Halves, so that values at opposite ends of all numbers have a finite difference.
        (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0)
    }
}

/// Multiples of 1, 2 or 5 times a power of ten from `low` to `high`, with labels.
fn ticks(low: f64, high: f64, n_ticks: f64, least_step: f64) -> Vec<(f64, String)> {
    let raw_step = ((high - low) / n_ticks).max(least_step);
    let mut exponent = raw_step.log10().floor() as i32;
    let mantissa = raw_step / 10_f64.powi(exponent);
    let mantissa = match mantissa {
        m if m <= 1.0 => 1.0,
        m if m <= 2.0 => 2.0,
        m if m <= 5.0 => 5.0,
        _ => {
            exponent += 1;
            1.0
        }
    };
    // Dividing by a power of ten is exact where multiplying by its inverse is not: 3 * 0.1 is no neighbour of 0.3.
    let value_of = |i: f64| {
        if exponent < 0 {
            i * mantissa / 10_f64.powi(-exponent)
        } else {
            i * mantissa * 10_f64.powi(exponent)
        }
    };
    let step = value_of(1.0);
    // A hair inside the ends counts as at them.
    let first = (low / step - 1e-6).ceil();
    let n = ((high / step + 1e-6).floor() - first + 1.0).clamp(0.0, 4.0 * n_ticks) as u32;
    let values: Vec<f64> = (0..n).map(|i| value_of(first + f64::from(i)) + 0.0).collect();
    let largest = values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    values.into_iter().map(|value| (value, label(value, largest, exponent))).collect()
}

/// Labels from here on, and below [`SCIENTIFIC_BELOW`], are written as `2e-4`.
const SCIENTIFIC_FROM: f64 = 1e6;
/// See [`SCIENTIFIC_FROM`].
const SCIENTIFIC_BELOW: f64 = 2e-3;

/// A tick's label, with as many digits as tell it from ticks `10^step_exponent` away.
fn label(value: f64, largest: f64, step_exponent: i32) -> String {
    if (SCIENTIFIC_BELOW..SCIENTIFIC_FROM).contains(&largest) {
        return format!("{value:.*}", (-step_exponent).max(0) as usize);
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = (value.abs().log10() + 1e-9).floor() as i32 - step_exponent;
    format!("{value:.*e}", digits.max(0) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        let axis = Axis::with_ends((0.0, 1.0), 5).unwrap();
        assert_eq!(labels(&axis), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        let axis = Axis::with_ends((-3.0, 12.0), 5).unwrap();
        assert_eq!(labels(&axis), ["0", "5", "10"]);
        let axis = Axis::with_ends((2e-5, 8e-4), 5).unwrap();
        assert_eq!(labels(&axis), ["2e-4", "4e-4", "6e-4", "8e-4"]);
        let axis = Axis::with_ends((0.0, 4e6), 5).unwrap();
        assert_eq!(labels(&axis), ["0", "1e6", "2e6", "3e6", "4e6"]);
        let axis = Axis::with_ends((1e6, 1.00004e6), 5).unwrap();
        assert_eq!(labels(&axis)[1], "1.00001e6");
    }

    #[test]
    fn an_axis_reaches_around_its_values() {
        let axis = Axis::around([2.0, f64::NAN, 4.0, f64::INFINITY].into_iter(), 0.1, 5, false);
        assert!((axis.low - 1.8).abs() < 1e-12 && (axis.high - 4.2).abs() < 1e-12, "{axis:?}");
        assert!((axis.fraction(3.0) - 0.5).abs() < 1e-12);
        assert!((axis.fraction(axis.high) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn whole_values_have_whole_ticks() {
        let values = || [0.0, 1.0, 2.0].into_iter();
        assert_eq!(labels(&Axis::around(values(), 0.0, 6, true)), ["0", "1", "2"]);
        assert_eq!(labels(&Axis::around(values(), 0.0, 5, false))[1], "0.5");
        assert_eq!(labels(&Axis::around([3.0].into_iter(), 0.0, 6, true)), ["3"]);
        assert_eq!(labels(&Axis::around([0.0].into_iter(), 0.0, 6, true)), ["0"]);
    }

    #[test]
    fn ends_that_are_no_range_are_refused() {
        for ends in [
            (1.0, 1.0),
            (2.0, 1.0),
            (f64::NAN, 1.0),
            (0.0, f64::INFINITY),
            (f64::MIN, f64::MAX),
            (1.0, 1.0 + 1e-12),
        ] {
            assert_eq!(Axis::with_ends(ends, 5), None, "{ends:?}");
        }
    }

    proptest! {
        #[test]
        fn any_values_have_an_axis(values in prop::collection::vec(any::<f64>(), 0..6), whole: bool) {
            let axis = Axis::around(values.iter().copied(), 0.05, 6, whole);
            prop_assert!(axis.low.is_finite() && axis.high.is_finite() && axis.low < axis.high, "{:?}", axis);
            for value in values.into_iter().filter(|value| value.abs() <= LARGEST) {
                let at = axis.fraction(value);
                prop_assert!((-1e-6..=1.0 + 1e-6).contains(&at), "{} is at {} of {:?}", value, at, axis);
            }
        }

        #[test]
        fn ticks_lie_on_the_axis_and_labels_tell_them_apart(
            middle in -1e12..1e12_f64, exponent in -3..14, zero: bool
        ) {
            let length = 10_f64.powi(exponent).max(middle.abs() * 1e-6);
            let middle = if zero { 0.0 } else { middle };
            let axis = Axis::with_ends((middle - length, middle + length), 6).unwrap();
            prop_assert!((2..=8).contains(&axis.ticks.len()), "{:?}", axis);
            let slack = 1e-5 * length;
            for pair in axis.ticks.windows(2) {
                prop_assert!(pair[0].0 < pair[1].0);
                prop_assert_ne!(&pair[0].1, &pair[1].1);
            }
            for (value, label) in &axis.ticks {
                prop_assert!(*value >= axis.low - slack && *value <= axis.high + slack);
                let said: f64 = label.parse().unwrap();
                prop_assert!((said - value).abs() <= 1e-9 * value.abs().max(length), "{} for {}", label, value);
            }
        }
    }
}
