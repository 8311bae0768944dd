//! Names of datasets, which say where their tiles are.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Error, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::cut::CutKind;

/// Which cuts a dataset holds and on which side of the fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DatasetKind {
    /// Object cuts of the training slides, `train_…`.
    TrainObjects,
    /// Grid cuts of the training slides, `grid_…`.
    TrainGrid,
    /// Background cuts of the training slides, `background_…`.
    TrainBackground,
    /// Polygon cuts of the training slides, `polygon_…`.
    TrainPolygon,
    /// Object cuts of the validation slides, `val_…`.
    ValidObjects,
}

impl DatasetKind {
    /// All kinds.
    pub const ALL: [Self; 5] =
        [Self::TrainObjects, Self::TrainGrid, Self::TrainBackground, Self::TrainPolygon, Self::ValidObjects];

    /// First part of the dataset's name.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::TrainObjects => "train",
            Self::TrainGrid => "grid",
            Self::TrainBackground => "background",
            Self::TrainPolygon => "polygon",
            Self::ValidObjects => "val",
        }
    }

    /// The kind of its cuts.
    pub const fn cuts(self) -> CutKind {
        match self {
            Self::TrainObjects | Self::ValidObjects => CutKind::Objects,
            Self::TrainGrid => CutKind::Grid,
            Self::TrainBackground => CutKind::Background,
            Self::TrainPolygon => CutKind::Polygon,
        }
    }

    /// Whether it is for validation.
    pub const fn is_valid(self) -> bool {
        matches!(self, Self::ValidObjects)
    }
}

/// The name of a dataset, such as `train_0e_33`: kind, fold, and the scale twice (pipeline, section 3).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DatasetName {
    /// Cuts and side.
    pub kind: DatasetKind,
    /// Name of the fold.
    pub fold: String,
    /// Slide pixels per tile pixel.
    pub scale: u32,
}

impl DatasetName {
    /// The folder of the dataset under the folder of splits.
    pub fn dir(&self, splits_dir: &Path) -> PathBuf {
        let split = format!("{}_split", self.kind.cuts().prefix());
        splits_dir.join(split).join(&self.fold).join(if self.kind.is_valid() { "val" } else { "train" })
    }
}

impl std::fmt::Display for DatasetName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}_{}_{scale}{scale}", self.kind.prefix(), self.fold, scale = self.scale)
    }
}

impl FromStr for DatasetName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let mut parts = name.splitn(3, '_');
        let (Some(prefix), Some(fold), Some(digits)) = (parts.next(), parts.next(), parts.next()) else {
            bail!("dataset `{name}` is not of the form KIND_FOLD_SCALE, such as train_0e_33");
        };
        let Some(kind) = DatasetKind::ALL.into_iter().find(|kind| kind.prefix() == prefix) else {
            let known = DatasetKind::ALL.map(DatasetKind::prefix).join(", ");
            bail!("dataset `{name}` starts with `{prefix}`; known kinds are {known}");
        };
        ensure!(!fold.is_empty(), "dataset `{name}` has no fold between its underscores");
        let half = digits.get(..digits.len() / 2).filter(|half| digits == half.repeat(2));
        let scale = half.and_then(|half| half.parse::<u32>().ok()).filter(|&scale| scale > 0);
        let Some(scale) = scale else {
            bail!("dataset `{name}` ends in `{digits}`; expected the scale twice, such as 33 for scale 3");
        };
        Ok(Self { kind, fold: fold.to_owned(), scale })
    }
}

impl TryFrom<String> for DatasetName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}

impl From<DatasetName> for String {
    fn from(name: DatasetName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_and_print() {
        for (text, dir) in [
            ("train_0e_33", "S/glomi_split/0e/train"),
            ("grid_2a_44", "S/grid_split/2a/train"),
            ("val_0_1010", "S/glomi_split/0/val"),
            ("background_0e_33", "S/background_split/0e/train"),
            ("polygon_0e_33", "S/polygon_split/0e/train"),
        ] {
            let name = text.parse::<DatasetName>().unwrap();
            assert_eq!(name.to_string(), text);
            assert_eq!(name.dir(Path::new("S")), Path::new(dir));
        }
        assert_eq!("val_0_1010".parse::<DatasetName>().unwrap().scale, 10);
        for (text, complaint) in [
            ("train", "not of the form"),
            ("train_0e", "not of the form"),
            ("test_0e_33", "known kinds"),
            ("train__33", "no fold"),
            ("train_0e_3", "scale twice"),
            ("train_0e_34", "scale twice"),
            ("train_0e_00", "scale twice"),
            ("train_0e_é", "scale twice"),
        ] {
            let error = text.parse::<DatasetName>().unwrap_err().to_string();
            assert!(error.contains(complaint) && error.contains(text), "{error}");
        }
    }
}
