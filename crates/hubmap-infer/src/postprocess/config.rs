//! The `[infer.postprocess]` table.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// What is done to the mask after the threshold.
///
/// With [`PostprocessConfig::OFF`] the mask is the threshold's alone, and outlines rasterise to it exactly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostprocessConfig {
    /// Which holes of objects are filled, with what is in them.
    pub fill_holes: FillHoles,
    /// Objects of fewer pixels are dropped, after holes are filled.
    pub min_area_px: u64,
    /// Objects of fewer square micrometres are dropped; 0 for any, or the slide must state its resolution.
    pub min_area_um2: f64,
    /// Whether predictions outside the outlines of `within_labels` are dropped.
    pub within: Within,
    /// Classes of these outlines in `<id>-anatomical-structure.json` beside the slide.
    pub within_labels: Vec<String>,
    /// How far the outlines of objects in GeoJSON may be off, in pixels, to have fewer vertices; 0 for exact ones.
    pub simplify_px: f64,
}

/// Which holes are filled; in a file `"none"`, `"all"`, or the largest area in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "FillHolesValue", try_from = "FillHolesValue")]
pub enum FillHoles {
    /// They stay.
    None,
    /// Those of at most this many pixels, objects in them included.
    UpToPx(u64),
    /// All.
    All,
}

/// [`FillHoles`] as it is written.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum FillHolesValue {
    Area(u64),
    Word(String),
}

/// Where predictions may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Within {
    /// On the whole slide.
    Anywhere,
    /// Pixels outside the outlines are cleared, which cuts objects at them: the original's post-processing.
    Pixels,
    /// Objects whose centroid lies outside are dropped, the others stay whole.
    Objects,
}

impl PostprocessConfig {
    /// Nothing is done.
    pub const OFF: Self = Self {
        fill_holes: FillHoles::None,
        min_area_px: 0,
        min_area_um2: 0.0,
        within: Within::Anywhere,
        within_labels: Vec::new(),
        simplify_px: 0.0,
    };

    /// Refuses settings that cannot work, with the reason.
    pub fn validate(&self) -> Result<()> {
        for (name, value) in [("min_area_um2", self.min_area_um2), ("simplify_px", self.simplify_px)] {
            ensure!(
                value.is_finite() && value >= 0.0,
                "infer.postprocess.{name} is {value}: it must be 0 or more"
            );
        }
        ensure!(
            self.within == Within::Anywhere || !self.within_labels.is_empty(),
            "infer.postprocess.within_labels is empty: name the classes of outlines, such as \"Cortex\""
        );
        Ok(())
    }
}

impl FillHoles {
    /// Pixels of the largest hole that is filled; 0 if none is.
    pub const fn max_px(self) -> u64 {
        match self {
            Self::None => 0,
            Self::UpToPx(area) => area,
            Self::All => u64::MAX,
        }
    }
}

impl From<FillHoles> for FillHolesValue {
    fn from(fill: FillHoles) -> Self {
        match fill {
            FillHoles::None => Self::Word("none".to_owned()),
            FillHoles::UpToPx(area) => Self::Area(area),
            FillHoles::All => Self::Word("all".to_owned()),
        }
    }
}

impl TryFrom<FillHolesValue> for FillHoles {
    type Error = String;

    fn try_from(value: FillHolesValue) -> Result<Self, String> {
        match value {
            FillHolesValue::Area(area) => Ok(Self::UpToPx(area)),
            FillHolesValue::Word(word) => match word.as_str() {
                "none" => Ok(Self::None),
                "all" => Ok(Self::All),
                other => Err(format!("fill_holes is '{other}': use none, all or a number of pixels")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_a_word_or_a_number() {
        let parse = |text: &str| {
            let table = toml::Table::try_from(PostprocessConfig::OFF).unwrap();
            let mut table: toml::Table = table;
            table.extend(toml::from_str::<toml::Table>(text).unwrap());
            table.try_into::<PostprocessConfig>()
        };
        for (text, expected) in [
            ("fill_holes = \"none\"", FillHoles::None),
            ("fill_holes = \"all\"", FillHoles::All),
            ("fill_holes = 40", FillHoles::UpToPx(40)),
        ] {
            let config = parse(text).unwrap();
            assert_eq!(config.fill_holes, expected);
            let again: PostprocessConfig = toml::Table::try_from(&config).unwrap().try_into().unwrap();
            assert_eq!(again, config);
        }
        assert!(parse("fill_holes = \"some\"").unwrap_err().to_string().contains("none, all or a number"));
        assert!(parse("fill_hole = 1").unwrap_err().to_string().contains("fill_hole"));
    }

    #[test]
    fn impossible_settings_are_refused() {
        for (bad, word) in [
            (PostprocessConfig { min_area_um2: f64::NAN, ..PostprocessConfig::OFF }, "min_area_um2"),
            (PostprocessConfig { simplify_px: -1.0, ..PostprocessConfig::OFF }, "simplify_px"),
            (PostprocessConfig { within: Within::Pixels, ..PostprocessConfig::OFF }, "within_labels"),
        ] {
            assert!(bad.validate().unwrap_err().to_string().contains(word));
        }
        PostprocessConfig::OFF.validate().unwrap();
    }
}
