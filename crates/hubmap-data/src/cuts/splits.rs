//! The tiles sorted into folds and sides, without a second copy of the data.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::Progress;
use super::staging::{Staging, create_dir};
use super::tiles::cuts_dir;
use crate::Fold;
use crate::config::DataGenConfig;
use crate::tile_file::write_atomically;

/// What the splits were made of, as `SPLITS/manifest.json`; written last, so its presence means completeness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Slide pixels per tile pixel.
    pub scale: u32,
    /// Side of a tile in tile pixels.
    pub tile_px: u32,
    /// All folds.
    pub folds: Vec<ManifestFold>,
}

/// A fold in a [`Manifest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFold {
    /// Name of the fold.
    pub name: String,
    /// Ids of the training slides.
    pub train: Vec<String>,
    /// Ids of the validation slides.
    pub valid: Vec<String>,
}

impl Manifest {
    /// Name of the file in the folder of splits.
    pub const FILE: &str = "manifest.json";

    /// Reads the manifest of a folder of splits; `None` if it has none, as those of the original pipeline.
    ///
    /// # Errors
    ///
    /// The file is there but cannot be read.
    pub fn read(splits_dir: &Path) -> Result<Option<Self>> {
        let path = splits_dir.join(Self::FILE);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| format!("cannot read {}", path.display()))?,
        };
        serde_json::from_slice(&text).map(Some).with_context(|| format!("{}: not a manifest", path.display()))
    }
}

/// Marks the splits as incomplete while tiles change under them.
pub(super) fn remove_manifest(output: &Path) -> Result<()> {
    let path = splits_dir(output).join(Manifest::FILE);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Writes `SPLITS/{glomi_split,grid_split,…}/<fold>/{train,val}/{imgs,masks}/<id>` and the manifest.
///
/// Folds of an earlier run are removed.
pub(super) fn write(
    output: &Path,
    config: &DataGenConfig,
    folds: &[Fold],
    progress: &dyn Progress,
) -> Result<()> {
    let splits_dir = splits_dir(output);
    progress.begin("splits", (config.kinds.len() * folds.len()) as u64);
    for &kind in &config.kinds {
        let cuts = cuts_dir(output, kind, config);
        let name = format!("{}_split", kind.prefix());
        let staging = Staging::create(&splits_dir, &name)?;
        let split = staging.dir().join("split");
        create_dir(&split)?;
        for fold in folds {
            ensure!(!progress.is_cancelled(), "cancelled while writing splits");
            for (side, slides) in [("train", fold.train()), ("val", fold.valid())] {
                for part in ["imgs", "masks"] {
                    let to = split.join(fold.name()).join(side).join(part);
                    for slide in slides {
                        link_files(&cuts.join(part).join(slide), &to.join(slide))?;
                    }
                }
            }
            progress.advance();
        }
        staging.publish("split", &splits_dir.join(&name))?;
    }
    let manifest = Manifest {
        scale: config.scale,
        tile_px: config.tile_px,
        folds: folds
            .iter()
            .map(|fold| ManifestFold {
                name: fold.name().to_owned(),
                train: fold.train().to_vec(),
                valid: fold.valid().to_vec(),
            })
            .collect(),
    };
    write_atomically(&splits_dir.join(Manifest::FILE), |out| {
        Ok(serde_json::to_writer_pretty(out, &manifest)?)
    })
}

fn splits_dir(output: &Path) -> PathBuf {
    output.join("SPLITS")
}

/// Makes every file of a folder appear in another by hard link, or as a copy where links are impossible.
fn link_files(from: &Path, to: &Path) -> Result<()> {
    create_dir(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let source = entry.with_context(|| format!("cannot list {}", from.display()))?.path();
        let Some(name) = source.file_name() else { continue };
        let target = to.join(name);
        if std::fs::hard_link(&source, &target).is_err() {
            std::fs::copy(&source, &target)
                .with_context(|| format!("cannot copy {} to {}", source.display(), target.display()))?;
        }
    }
    Ok(())
}
