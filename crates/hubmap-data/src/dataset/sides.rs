//! That no validation sample was trained on.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use super::Dataset;

/// Refuses a pair of datasets that have a slide in common.
///
/// # Errors
///
/// Names the first such slide.
pub fn ensure_disjoint(train: &Dataset, valid: &Dataset) -> Result<()> {
    match train.slides().intersection(&valid.slides()).next() {
        Some(slide) => bail!("slide {slide} is in both the training and the validation datasets"),
        None => Ok(()),
    }
}

/// Refuses a pair of datasets that have a tile in common, for folds that share slides on purpose.
///
/// # Errors
///
/// Names the first such tile.
pub fn ensure_no_shared_tile(train: &Dataset, valid: &Dataset) -> Result<()> {
    let ids = |dataset: &Dataset| dataset.tiles().iter().map(|tile| tile.id.clone()).collect::<BTreeSet<_>>();
    match ids(train).intersection(&ids(valid)).next() {
        Some(id) => bail!("tile {id} is in both the training and the validation datasets"),
        None => Ok(()),
    }
}
