//! The sums behind Dice, for training and for evaluation.

/// Keeps the quotient defined when both sides are empty (spec section 5).
const EPSILON: f64 = 1e-6;

/// The sums behind the hard Dice of thresholded scores against a target that may be soft.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DiceSums {
    /// Sum of the target over positive pixels.
    pub intersection: f64,
    /// Number of positive pixels.
    pub predicted: f64,
    /// Sum of the target.
    pub target: f64,
}

impl DiceSums {
    /// Adds one pixel, positive if its score is strictly greater than the threshold.
    pub fn add(&mut self, score: f64, target: f64, threshold: f64) {
        self.target += target;
        if score > threshold {
            self.predicted += 1.0;
            self.intersection += target;
        }
    }

    /// `(2 Σpt + ε) / (Σp + Σt + ε)`: 1 when both are empty.
    pub fn dice(&self) -> f64 {
        (2.0 * self.intersection + EPSILON) / (self.predicted + self.target + EPSILON)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_at_the_threshold_are_negative() {
        let mut sums = DiceSums::default();
        for (score, target) in [(0.4, 1.0), (0.5, 1.0), (0.6, 0.25), (0.9, 0.0)] {
            sums.add(score, target, 0.5);
        }
        assert_eq!(sums, DiceSums { intersection: 0.25, predicted: 2.0, target: 2.25 });
        assert!((sums.dice() - 0.5 / 4.25).abs() < 1e-6);
        assert!((DiceSums::default().dice() - 1.0).abs() < 1e-12);
    }
}
