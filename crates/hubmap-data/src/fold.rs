//! Which slides train a model and which validate it.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::seed::{Purpose, stream};

/// The competition's four folds: the first characters of the two validation slides, and the slides.
const COMPETITION_FOLDS: [(&str, [&str; 2]); 4] = [
    ("0e", ["0486052bb", "e79de561c"]),
    ("2a", ["2f6ecfcdf", "afa5e8098"]),
    ("18", ["1e2425f28", "8242609fa"]),
    ("cc", ["cb2d976f4", "c68fe75ea"]),
];

/// What the sides of a fold share nothing of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FoldBy {
    /// No slide is on both sides.
    #[default]
    Slides,
    /// No tile is on both sides, but tiles of one slide may be.
    Tiles,
}

/// One partition of slides into training and validation.
///
/// Invariant: no slide is on both sides, and both sides have slides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    name: String,
    train: Vec<String>,
    valid: Vec<String>,
}

impl Fold {
    /// A fold with both sides given.
    ///
    /// # Errors
    ///
    /// A slide is on both sides or twice on one, a side is empty, or the name cannot be that of a folder.
    pub fn new(name: impl Into<String>, train: Vec<String>, valid: Vec<String>) -> Result<Self> {
        let name = name.into();
        ensure!(
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
                && !name.starts_with('.'),
            "fold name `{name}` names a folder and part of a dataset: use letters, digits, `-` and `.`"
        );
        for (side, slides) in [("training", &train), ("validation", &valid)] {
            ensure!(!slides.is_empty(), "fold `{name}` has no {side} slide");
            if let Some(slide) = first_duplicate(slides) {
                bail!("fold `{name}` lists {side} slide {slide} twice");
            }
        }
        let validates = valid.iter().collect::<BTreeSet<_>>();
        if let Some(slide) = train.iter().find(|slide| validates.contains(slide)) {
            bail!("slide {slide} is on both sides of fold `{name}`: validation would see training tiles");
        }
        Ok(Self { name, train, valid })
    }

    /// A fold that validates on `valid` and trains on all other `slides`, in their order.
    ///
    /// # Errors
    ///
    /// As [`Fold::new`], or a validation slide is not among `slides`.
    pub fn holding_out(name: impl Into<String>, valid: Vec<String>, slides: &[String]) -> Result<Self> {
        let name = name.into();
        if let Some(slide) = valid.iter().find(|slide| !slides.contains(slide)) {
            bail!(
                "fold `{name}` validates on slide {slide}, which is not among the {} training slides; \
                 list your own folds or have them drawn (data_gen.folds = \"drawn\")",
                slides.len()
            );
        }
        let train = slides.iter().filter(|slide| !valid.contains(slide)).cloned().collect();
        Self::new(name, train, valid)
    }

    /// The four folds of the competition over its `slides` (pipeline, section 2, item 4).
    ///
    /// # Errors
    ///
    /// As [`Fold::holding_out`].
    pub fn competition(slides: &[String]) -> Result<Vec<Self>> {
        COMPETITION_FOLDS
            .into_iter()
            .map(|(name, valid)| Self::holding_out(name, valid.map(str::to_owned).to_vec(), slides))
            .collect()
    }

    /// `n_folds` folds named `0`, `1`, … that together validate on every slide exactly once.
    ///
    /// The draw depends on the seed and on the set of slides, not on their order.
    ///
    /// # Errors
    ///
    /// Fewer than two folds, or more folds than slides.
    pub fn drawn(slides: &[String], n_folds: usize, seed: u64) -> Result<Vec<Self>> {
        ensure!(n_folds >= 2, "{n_folds} drawn folds: at least 2 are needed to hold slides out");
        ensure!(
            n_folds <= slides.len(),
            "cannot draw {n_folds} folds from {} slides: every fold needs a validation slide",
            slides.len()
        );
        let mut shuffled = slides.to_vec();
        shuffled.sort_unstable();
        shuffled.shuffle(&mut stream(seed, Purpose::Folds, 0, 0));
        (0..n_folds)
            .map(|fold_idx| {
                let valid = shuffled.iter().skip(fold_idx).step_by(n_folds).cloned().collect();
                Self::holding_out(fold_idx.to_string(), valid, slides)
            })
            .collect()
    }

    /// The name, which is also that of its folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Slides that train.
    pub fn train(&self) -> &[String] {
        &self.train
    }

    /// Slides that validate.
    pub fn valid(&self) -> &[String] {
        &self.valid
    }
}

/// Refuses folds that share a name, as they would share a folder.
///
/// # Errors
///
/// The name that is there twice.
pub fn ensure_distinct(folds: &[Fold]) -> Result<()> {
    let names = folds.iter().map(|fold| fold.name.clone()).collect::<Vec<_>>();
    match first_duplicate(&names) {
        Some(name) => bail!("two folds are named `{name}`"),
        None => Ok(()),
    }
}

/// The first entry that already appeared.
fn first_duplicate(names: &[String]) -> Option<&String> {
    let mut seen = BTreeSet::new();
    names.iter().find(|name| !seen.insert(*name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn competition_folds_hold_out_their_two_slides() {
        let mut slides = ids(&["aaa6a05cc", "54f2eec69"]);
        slides.extend(COMPETITION_FOLDS.iter().flat_map(|(_, valid)| ids(valid)));
        let folds = Fold::competition(&slides).unwrap();
        assert_eq!(folds.iter().map(Fold::name).collect::<Vec<_>>(), ["0e", "2a", "18", "cc"]);
        assert_eq!(folds[0].valid(), ids(&["0486052bb", "e79de561c"]));
        assert!(folds.iter().all(|fold| fold.train().len() == 8 && fold.train()[0] == "aaa6a05cc"));
        let error = Fold::competition(&ids(&["a", "b"])).unwrap_err().to_string();
        assert!(error.contains("0486052bb") && error.contains("drawn"), "{error}");
    }

    #[test]
    fn wrong_folds_are_refused_by_name() {
        let error = |train, valid| Fold::new("x", ids(train), ids(valid)).unwrap_err().to_string();
        assert!(error(&["a", "b"], &["c", "b"]).starts_with("slide b is on both sides of fold `x`"));
        assert_eq!(error(&["a", "a"], &["c"]), "fold `x` lists training slide a twice");
        assert_eq!(error(&["a"], &[]), "fold `x` has no validation slide");
        assert!(Fold::new("../x", ids(&["a"]), ids(&["b"])).is_err());
        assert!(Fold::drawn(&ids(&["a", "b"]), 3, 0).is_err());
        let twice = [
            Fold::new("x", ids(&["a"]), ids(&["b"])).unwrap(),
            Fold::new("x", ids(&["b"]), ids(&["a"])).unwrap(),
        ];
        assert_eq!(ensure_distinct(&twice).unwrap_err().to_string(), "two folds are named `x`");
    }

    proptest! {
        #[test]
        fn drawn_folds_partition_the_slides(n_slides in 2_usize..40, n_folds in 2_usize..8, seed: u64) {
            prop_assume!(n_folds <= n_slides);
            let slides = (0..n_slides).map(|i| format!("slide{i}")).collect::<Vec<_>>();
            let folds = Fold::drawn(&slides, n_folds, seed).unwrap();
            let mut validated = folds.iter().flat_map(|fold| fold.valid().to_vec()).collect::<Vec<_>>();
            validated.sort_unstable();
            let mut sorted = slides.clone();
            sorted.sort_unstable();
            prop_assert_eq!(&validated, &sorted);
            for fold in &folds {
                prop_assert!(fold.train().iter().all(|slide| !fold.valid().contains(slide)));
                prop_assert_eq!(fold.train().len() + fold.valid().len(), n_slides);
            }
            let sizes = folds.iter().map(|fold| fold.valid().len());
            prop_assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
            let reversed = slides.iter().rev().cloned().collect::<Vec<_>>();
            let again = Fold::drawn(&reversed, n_folds, seed).unwrap();
            prop_assert_eq!(folds[0].valid(), again[0].valid());
        }
    }
}
