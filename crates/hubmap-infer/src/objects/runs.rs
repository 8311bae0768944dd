//! The runs of pixels above the threshold in a row of probabilities.

use half::f16;
use half::slice::HalfFloatSliceExt;

/// A run of pixels above the threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct MeasuredRun {
    pub(super) x0: u32,
    pub(super) x1: u32,
    pub(super) probability_sum: f64,
}

/// A threshold from 0 to 1, in half precision.
#[derive(Debug, Clone, Copy)]
pub(super) struct Threshold {
    bits: i16,
}

/// The bits of infinity; what is above is no number.
const INFINITE: i16 = f16::INFINITY.to_bits() as i16;

impl Threshold {
    /// Rounds to half precision, as comparing a half-precision array does in numpy.
    pub(super) fn new(threshold: f32) -> Self {
        // The bits of positive numbers are ordered like the numbers, and those of negative ones are negative.
        Self { bits: f16::from_f32(threshold.abs()).to_bits() as i16 }
    }

    const fn is_below(self, bits: u16) -> bool {
        let bits = bits as i16;
        self.bits < bits && bits <= INFINITE
    }

    /// Calls `run` with the first column of every run above the threshold and the column after its last.
    pub(super) fn runs(self, row: &[f16], mut run: impl FnMut(u32, u32)) {
        let mut open = None;
        let mut last_bit = 0;
        for (i, block) in row.reinterpret_cast().chunks(64).enumerate() {
            let word = self.word(block);
            let mut changes = word ^ (word << 1 | last_bit);
            last_bit = word >> 63;
            while changes != 0 {
                let x = 64 * i as u32 + changes.trailing_zeros();
                changes &= changes - 1;
                match open.take() {
                    None => open = Some(x),
                    Some(x0) => run(x0, x),
                }
            }
        }
        if let Some(x0) = open {
            run(x0, row.len() as u32);
        }
    }

    /// Up to 64 pixels as bits, the leftmost in the lowest.
    fn word(self, block: &[u16]) -> u64 {
        // Most blocks are all background or all inside; counting takes a vector instruction for several pixels.
        let n_above: u16 = block.iter().map(|&bits| u16::from(self.is_below(bits))).sum();
        match n_above {
            0 => 0,
            64 => u64::MAX,
            _ => block.iter().rev().fold(0, |word, &bits| word << 1 | u64::from(self.is_below(bits))),
        }
    }
}

/// Sum of half-precision probabilities; exact for up to 2^29 of them, so that the order does not matter.
pub(super) fn sum(probabilities: &[f16]) -> f64 {
    let mut wide = [0.0_f32; 256];
    let mut sums = [0.0_f64; 8];
    for part in probabilities.chunks(wide.len()) {
        let wide = &mut wide[..part.len()];
        part.convert_to_f32_slice(wide);
        let (whole, rest) = wide.as_chunks::<8>();
        for eight in whole {
            sums.iter_mut().zip(eight).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        sums.iter_mut().zip(rest).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_are_those_of_single_comparisons(
            bits in prop::collection::vec(prop_oneof![any::<u16>(), 0x37f8_u16..0x3808, Just(0x3c00)], 0..300),
            threshold in prop_oneof![0.0..1.0_f32, Just(0.5), Just(0.0), Just(-0.0), Just(1.0)],
        ) {
            let row: Vec<f16> = bits.into_iter().map(f16::from_bits).collect();
            let mut found = vec![false; row.len()];
            let mut last_end = None;
            Threshold::new(threshold).runs(&row, |x0, x1| {
                assert!(x0 < x1 && last_end.is_none_or(|end| end < x0), "runs neither touch nor overlap");
                last_end = Some(x1);
                found[x0 as usize..x1 as usize].fill(true);
            });
            let half = f16::from_f32(threshold);
            let expected: Vec<bool> = row.iter().map(|&value| value > half).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn sums_are_exact(values in prop::collection::vec(0_u16..=0x3c00, 0..700)) {
            let values: Vec<f16> = values.into_iter().map(f16::from_bits).collect();
            // All half-precision numbers up to 1 are multiples of 2^-24.
            let units: u64 = values.iter().map(|value| (value.to_f64() * f64::from(1 << 24)) as u64).sum();
            prop_assert!((sum(&values) * f64::from(1 << 24) - units as f64).abs() < 0.5);
        }
    }
}
