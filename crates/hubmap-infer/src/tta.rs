//! Test-time augmentation: views of a tile under the symmetries of the square, and the way back.

use ndarray::{ArrayRef3, ArrayView3, Axis};
use serde::{Deserialize, Serialize};

/// A symmetry of the square: a horizontal flip or not, then quarter turns counter-clockwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dihedral {
    /// Mirror left and right, before turning.
    pub flip: bool,
    /// Quarter turns counter-clockwise, 0 to 3.
    pub quarter_turns: u8,
}

impl Dihedral {
    /// The eight symmetries in the order in which the original runs them.
    pub const ALL: [Self; 8] = [
        Self::new(false, 0),
        Self::new(false, 1),
        Self::new(false, 2),
        Self::new(false, 3),
        Self::new(true, 0),
        Self::new(true, 1),
        Self::new(true, 2),
        Self::new(true, 3),
    ];

    /// A flip or not, then some quarter turns (taken modulo 4).
    pub const fn new(flip: bool, quarter_turns: u8) -> Self {
        Self { flip, quarter_turns: quarter_turns % 4 }
    }

    /// The transformed `[c, h, w]` image: a view of the same memory, `[c, w, h]` after an odd number of turns.
    pub fn transform<T>(self, image: &ArrayRef3<T>) -> ArrayView3<'_, T> {
        turned(if self.flip { mirrored(image.view()) } else { image.view() }, self.quarter_turns)
    }

    /// Undoes [`Dihedral::transform`], exactly: no value is touched.
    pub fn inverse<T>(self, image: &ArrayRef3<T>) -> ArrayView3<'_, T> {
        let back = turned(image.view(), (4 - self.quarter_turns) % 4);
        if self.flip { mirrored(back) } else { back }
    }

    /// Whether the transformed image has height and width exchanged.
    pub const fn swaps_sides(self) -> bool {
        self.quarter_turns % 2 == 1
    }
}

fn mirrored<T>(mut image: ArrayView3<'_, T>) -> ArrayView3<'_, T> {
    image.invert_axis(Axis(2));
    image
}

fn turned<T>(mut image: ArrayView3<'_, T>, quarter_turns: u8) -> ArrayView3<'_, T> {
    match quarter_turns {
        1 => {
            image.invert_axis(Axis(2));
            image.swap_axes(1, 2);
        }
        2 => {
            image.invert_axis(Axis(1));
            image.invert_axis(Axis(2));
        }
        3 => {
            image.swap_axes(1, 2);
            image.invert_axis(Axis(2));
        }
        _ => {}
    }
    image
}

/// Which views of a tile are predicted and averaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tta {
    /// The tile as it is.
    None,
    /// All eight symmetries, as in the original's evaluation.
    D4,
    /// The four of the Kaggle notebook: identity and one quarter turn, each also flipped.
    Kaggle,
}

impl Tta {
    /// The views, in the order in which they are added up.
    pub const fn views(self) -> &'static [Dihedral] {
        const KAGGLE: [Dihedral; 4] = [
            Dihedral::new(false, 0),
            Dihedral::new(false, 1),
            Dihedral::new(true, 0),
            Dihedral::new(true, 1),
        ];
        match self {
            Self::None => Dihedral::ALL.split_at(1).0,
            Self::D4 => &Dihedral::ALL,
            Self::Kaggle => &KAGGLE,
        }
    }
}

impl std::str::FromStr for Tta {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "d4" => Ok(Self::D4),
            "kaggle" => Ok(Self::Kaggle),
            other => Err(format!("unknown test-time augmentation '{other}': use none, d4 or kaggle")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array3;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn inverse_undoes_transform(c in 1_usize..4, h in 1_usize..9, w in 1_usize..9, idx in 0_usize..8) {
            let image = Array3::from_shape_fn((c, h, w), |(c, y, x)| (c * 10_000 + y * 100 + x) as u32);
            let element = Dihedral::ALL[idx];
            let view = element.transform(&image);
            prop_assert_eq!(view.dim() == (c, w, h), element.swaps_sides() || h == w);
            prop_assert_eq!(element.inverse(&view), image.view());
        }
    }

    #[test]
    fn a_quarter_turn_is_counter_clockwise() {
        let image = ndarray::array![[[1, 2, 3], [4, 5, 6]]];
        assert_eq!(
            Dihedral::new(false, 1).transform(&image),
            ndarray::array![[[3, 6], [2, 5], [1, 4]]].view()
        );
        assert_eq!(
            Dihedral::new(true, 3).transform(&image),
            ndarray::array![[[6, 3], [5, 2], [4, 1]]].view()
        );
    }
}
