//! Dice: how well a prediction and the truth overlap.

use std::cmp::Ordering;

use hubmap_io::Rle;

/// Number of pixels that are set in both of two masks of the same image.
pub fn intersection(a: &Rle, b: &Rle) -> u64 {
    let (mut a_runs, mut b_runs) = (a.runs().iter().peekable(), b.runs().iter().peekable());
    let mut shared = 0;
    while let (Some(a), Some(b)) = (a_runs.peek(), b_runs.peek()) {
        let (start, last) = (a.start.max(b.start), a.last().min(b.last()));
        shared += (last + 1).saturating_sub(start);
        match a.last().cmp(&b.last()) {
            Ordering::Less => drop(a_runs.next()),
            Ordering::Greater => drop(b_runs.next()),
            Ordering::Equal => {
                a_runs.next();
                b_runs.next();
            }
        }
    }
    shared
}

/// Dice of two masks of the same image, `2 |A ∩ B| / (|A| + |B|)`; 1 when both are empty.
pub fn set_dice(a: &Rle, b: &Rle) -> f64 {
    count_dice(intersection(a, b), a.count_ones(), b.count_ones())
}

/// Dice of two masks with so many pixels each, `n_shared` of them in both.
pub(crate) fn count_dice(n_shared: u64, n_a: u64, n_b: u64) -> f64 {
    let total = n_a + n_b;
    if total == 0 { 1.0 } else { 2.0 * n_shared as f64 / total as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubmap_io::{Mask, Size};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_intersect_as_pixels_do(
            a in prop::collection::vec(any::<bool>(), 42), b in prop::collection::vec(any::<bool>(), 42)
        ) {
            let mask = |bits: &[bool]| {
                let mut mask = Mask::new(Size::new(6, 7));
                for (i, &bit) in bits.iter().enumerate() {
                    mask.set(i as u32 % 6, i as u32 / 6, bit);
                }
                mask
            };
            let n_shared = a.iter().zip(&b).filter(|(a, b)| **a && **b).count() as u64;
            prop_assert_eq!(intersection(&Rle::encode(&mask(&a)), &Rle::encode(&mask(&b))), n_shared);
        }
    }

    #[test]
    fn empty_masks_agree() {
        let one = Rle::parse("3 2").unwrap();
        assert!((set_dice(&Rle::default(), &Rle::default()) - 1.0).abs() < 1e-12);
        assert!(set_dice(&one, &Rle::default()).abs() < 1e-12);
        assert!((set_dice(&one, &Rle::parse("4 2").unwrap()) - 0.5).abs() < 1e-12);
    }
}
