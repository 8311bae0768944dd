//! What outputs depend on, written down so that a later run sees what has changed.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::DataGenConfig;
use crate::cut::CutKind;
use crate::slide::TrainSlide;

/// Raised when tiles or masks of the same settings and inputs come out with other bytes.
const OUTPUT_VERSION: u32 = 1;

/// Whether tiles of a kind depend on a setting; on those that are not named here, all do.
fn depends_on(kind: CutKind, setting: &str) -> bool {
    match setting {
        // They say which tiles are made and where they go.
        "kinds" | "folds" | "n_drawn_folds" | "listed_folds" | "valid_fraction" | "valid_polygons_dir" => {
            false
        }
        "seed" => kind != CutKind::Objects,
        "objects_in" => kind == CutKind::Objects,
        "cortex_labels" => matches!(kind, CutKind::Objects | CutKind::Background),
        "background" => kind == CutKind::Grid,
        "background_cuts" => kind == CutKind::Background,
        "polygon_cuts" => kind == CutKind::Polygon,
        _ => true,
    }
}

/// Everything that an output depends on, by name: two outputs of equal stamps are equal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp(BTreeMap<String, String>);

impl Stamp {
    /// Adds a dependency.
    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Names of what differs.
    pub(super) fn changes<'a>(&'a self, before: &'a Self) -> Vec<&'a str> {
        let differs = |name: &&String| self.0.get(*name) != before.0.get(*name);
        let mut names =
            self.0.keys().chain(before.0.keys()).filter(differs).map(String::as_str).collect::<Vec<_>>();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// The state of a slide's inputs.
#[derive(Debug, Clone)]
pub(super) struct Inputs {
    pixels: String,
    encoding: String,
    objects: String,
    anatomy: String,
}

impl Inputs {
    /// Looks at the files of a slide: small ones by content, the pixels by length and time of change.
    pub(super) fn of(slide: &TrainSlide) -> Result<Self> {
        let objects = digest_of(&slide.objects)?;
        Ok(Self {
            pixels: length_and_time(&slide.tiff)?,
            encoding: match &slide.encoding {
                Some(encoding) => digest(encoding.as_bytes()),
                None => format!("outlines {objects}"),
            },
            objects,
            anatomy: slide.anatomy.as_deref().map_or(Ok("none".to_owned()), digest_of)?,
        })
    }

    /// The dependencies of the slide's mask.
    pub(super) fn mask_stamp(&self) -> Stamp {
        Stamp::default()
            .with("version", OUTPUT_VERSION.to_string())
            .with("pixels", self.pixels.as_str())
            .with("encoding", self.encoding.as_str())
    }

    /// The dependencies of the slide's tiles of a kind.
    pub(super) fn tiles_stamp(&self, kind: CutKind, config: &DataGenConfig) -> Result<Stamp> {
        let mut stamp = self.mask_stamp();
        if kind != CutKind::Grid {
            stamp =
                stamp.with("annotations", self.objects.as_str()).with("structures", self.anatomy.as_str());
        }
        let serde_json::Value::Object(settings) = serde_json::to_value(config)? else {
            anyhow::bail!("data_gen is no table")
        };
        for (name, value) in settings.iter().filter(|(name, _)| depends_on(kind, name)) {
            stamp = stamp.with(&format!("data_gen.{name}"), value.to_string());
        }
        Ok(stamp)
    }
}

/// `1234 bytes of 1764154000.123456789`.
fn length_and_time(path: &Path) -> Result<String> {
    let attempt = || -> Result<String> {
        let meta = std::fs::metadata(path)?;
        // Before 1970 is no time that a file system gives; any constant will do.
        let time = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(format!("{} bytes of {}.{:09}", meta.len(), time.as_secs(), time.subsec_nanos()))
    };
    attempt().with_context(|| format!("cannot look at {}", path.display()))
}

/// SHA-256 of a small file's content.
fn digest_of(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(digest(&bytes))
}

/// SHA-256 of a value as JSON.
pub(super) fn digest_json<T: Serialize>(value: &T) -> Result<String> {
    Ok(digest(&serde_json::to_vec(value)?))
}

/// SHA-256 in hexadecimal digits.
fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = include_str!("../../../../configs/base.toml");

    fn config() -> DataGenConfig {
        let base: toml::Table = BASE.parse().unwrap();
        base["data_gen"].clone().try_into().unwrap()
    }

    fn inputs() -> Inputs {
        let [pixels, encoding, objects, anatomy] = ["p", "e", "o", "a"].map(str::to_owned);
        Inputs { pixels, encoding, objects, anatomy }
    }

    /// Kinds whose tiles are cut again after a change of settings or inputs.
    fn touched(change: impl Fn(&mut Inputs, &mut DataGenConfig)) -> Vec<CutKind> {
        let (mut new_inputs, mut new_config) = (inputs(), config());
        change(&mut new_inputs, &mut new_config);
        let before = |kind| inputs().tiles_stamp(kind, &config()).unwrap();
        let after = |kind| new_inputs.tiles_stamp(kind, &new_config).unwrap();
        CutKind::ALL.into_iter().filter(|&kind| before(kind) != after(kind)).collect()
    }

    /// Too few, and a user trains on tiles of other settings; too many, and hours of cutting are done again for nothing.
    #[test]
    fn a_change_touches_the_kinds_that_depend_on_it() {
        use CutKind::{Background, Grid, Objects, Polygon};
        let all = CutKind::ALL.to_vec();
        let but_grid: Vec<CutKind> = all.iter().copied().filter(|&kind| kind != Grid).collect();
        assert_eq!(touched(|_, _| ()), []);
        assert_eq!(touched(|_, config| config.scale += 1), all);
        assert_eq!(touched(|_, config| config.tile_px += 1), all);
        assert_eq!(touched(|_, config| config.seed += 1), [Grid, Background, Polygon]);
        assert_eq!(touched(|_, config| config.objects_in = crate::config::ObjectPlace::Cortex), [Objects]);
        assert_eq!(touched(|_, config| config.cortex_labels.push("x".into())), [Objects, Background]);
        assert_eq!(touched(|_, config| config.background.keep_probability /= 2.0), [Grid]);
        assert_eq!(touched(|_, config| config.background_cuts.per_slide += 1), [Background]);
        assert_eq!(touched(|_, config| config.polygon_cuts.per_slide += 1), [Polygon]);
        assert_eq!(touched(|_, config| config.kinds.clear()), []);
        assert_eq!(touched(|_, config| config.folds = crate::config::FoldSource::RandomTiles), []);
        assert_eq!(touched(|_, config| config.n_drawn_folds += 1), []);
        assert_eq!(touched(|_, config| config.listed_folds.clear()), []);
        assert_eq!(touched(|_, config| config.valid_fraction /= 2.0), []);
        assert_eq!(touched(|_, config| config.valid_polygons_dir = "x".into()), []);
        assert_eq!(touched(|inputs, _| inputs.pixels.push('x')), all);
        assert_eq!(touched(|inputs, _| inputs.encoding.push('x')), all);
        assert_eq!(touched(|inputs, _| inputs.objects.push('x')), but_grid);
        assert_eq!(touched(|inputs, _| inputs.anatomy.push('x')), but_grid);
    }

    #[test]
    fn a_slide_has_changed_when_its_length_or_its_time_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tiff");
        let state = |text: &str, nanos: u64| {
            std::fs::write(&path, text).unwrap();
            let time = UNIX_EPOCH + std::time::Duration::from_nanos(1_764_154_000_000_000_000 + nanos);
            std::fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
            length_and_time(&path).unwrap()
        };
        assert_eq!(state("1234", 56), "4 bytes of 1764154000.000000056");
        assert_eq!(state("12345", 56), "5 bytes of 1764154000.000000056");
        assert_eq!(state("1234", 2_000_000_056), "4 bytes of 1764154002.000000056");
        let missing = length_and_time(&folder.path().join("none")).unwrap_err();
        assert!(format!("{missing:#}").contains("none"));
    }

    #[test]
    fn changes_are_named_from_both_sides() {
        let stamp = Stamp::default().with("same", "1").with("other", "2").with("new", "3");
        let before = Stamp::default().with("same", "1").with("other", "1").with("gone", "3");
        assert_eq!(stamp.changes(&before), ["gone", "new", "other"]);
        assert_eq!(stamp.changes(&stamp), Vec::<&str>::new());
    }
}
