//! The tiles sorted into folds and sides, without a second copy of the data.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::Progress;
use super::folders::{OutputDir, PARTS, create_dir, cuts_name, names_in, remove_dir, remove_file};
use super::record::{read_json, tile_file, write_json};
use super::sides::{SideTiles, SplitFold};
use super::stamp::{Stamp, digest_json};
use crate::FoldBy;
use crate::config::DataGenConfig;
use crate::cut::CutKind;
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
    /// Whether slides or tiles were sorted; manifests that do not say sorted slides.
    #[serde(default)]
    pub by: FoldBy,
    /// Ids of the slides with tiles that train.
    pub train: Vec<String>,
    /// Ids of the slides with tiles that validate.
    pub valid: Vec<String>,
}

impl ManifestFold {
    fn new(fold: &SplitFold) -> Self {
        let slides = |side: &[SideTiles]| {
            let mut slides = side.iter().map(|tiles| tiles.slide.clone()).collect::<Vec<_>>();
            slides.sort_unstable();
            slides.dedup();
            slides
        };
        Self { name: fold.name.clone(), by: fold.by, train: slides(&fold.train), valid: slides(&fold.valid) }
    }

    /// Whether slides may be on both sides, so that validation says little about slides never seen.
    pub fn may_share_slides(&self) -> bool {
        self.by == FoldBy::Tiles
    }
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

    /// The fold of a name.
    pub fn fold(&self, name: &str) -> Option<&ManifestFold> {
        self.folds.iter().find(|fold| fold.name == name)
    }
}

/// Splits that are wanted.
pub(super) struct Splits<'a> {
    output: &'a OutputDir,
    config: &'a DataGenConfig,
    folds: &'a [SplitFold],
    manifest: Manifest,
}

impl<'a> Splits<'a> {
    pub(super) fn new(output: &'a OutputDir, config: &'a DataGenConfig, folds: &'a [SplitFold]) -> Self {
        let manifest = Manifest {
            scale: config.scale,
            tile_px: config.tile_px,
            folds: folds.iter().map(ManifestFold::new).collect(),
        };
        Self { output, config, folds, manifest }
    }

    /// What the splits depend on beside the tiles, which are not touched without [`revoke`].
    fn stamp(&self) -> Result<Stamp> {
        let stamp = Stamp::default().with("manifest", serde_json::to_string(&self.manifest)?);
        self.folds.iter().try_fold(stamp, |stamp, fold| {
            let side = |tiles: &[SideTiles]| {
                let tiles = tiles.iter().map(|tiles| (tiles.kind.prefix(), &tiles.slide, &tiles.tile_idxs));
                digest_json(&tiles.collect::<Vec<_>>())
            };
            let sides = format!("{} {}", side(&fold.train)?, side(&fold.valid)?);
            Ok(stamp.with(&format!("fold {}", fold.name), sides))
        })
    }

    /// Whether the splits are there, whole and as wanted.
    pub(super) fn are_there(&self) -> Result<bool> {
        let dir = self.output.splits();
        let is_noted = read_json::<Stamp>(&self.output.state().splits())? == Some(self.stamp()?);
        if !is_noted || Manifest::read(&dir).ok().flatten().as_ref() != Some(&self.manifest) {
            return Ok(false);
        }
        for kind in CutKind::ALL {
            let wanted = self.links(kind).map(|link| link.to).collect::<BTreeSet<_>>();
            let mut found = BTreeSet::new();
            add_files(&dir.join(split_name(kind)), &mut found)?;
            if wanted != found {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes `SPLITS/{glomi_split,grid_split,…}/<fold>/{train,val}/{imgs,masks}/<id>` and the manifest.
    ///
    /// Folders of an earlier run are replaced whole.
    pub(super) fn write(&self, progress: &dyn Progress) -> Result<()> {
        let dir = self.output.splits();
        progress.begin("splits", (self.config.kinds.len() * self.folds.len()) as u64);
        for kind in CutKind::ALL {
            let name = split_name(kind);
            if !self.config.kinds.contains(&kind) {
                remove_dir(&dir.join(&name))?;
                continue;
            }
            // Links are made in a hidden folder, which then takes the place of the old one.
            let (fresh, old) = (dir.join(format!(".{name}.partial")), dir.join(format!(".{name}.old")));
            remove_dir(&fresh)?;
            remove_dir(&old)?;
            create_dir(&fresh)?;
            for fold in self.folds {
                ensure!(!progress.is_cancelled(), "cancelled while writing splits");
                self.link_fold(kind, fold, &fresh)?;
                progress.advance();
            }
            let place = dir.join(&name);
            if place.exists() {
                rename(&place, &old)?;
            }
            rename(&fresh, &place)?;
            remove_dir(&old)?;
        }
        write_atomically(&dir.join(Manifest::FILE), |out| {
            Ok(serde_json::to_writer_pretty(out, &self.manifest)?)
        })?;
        write_json(&self.output.state().splits(), &self.stamp()?)
    }

    fn link_fold(&self, kind: CutKind, fold: &SplitFold, split: &Path) -> Result<()> {
        for (side, tiles) in [("train", &fold.train), ("val", &fold.valid)] {
            for part in PARTS {
                let to = split.join(&fold.name).join(side).join(part);
                create_dir(&to)?;
                for slide in tiles.iter().filter(|tiles| tiles.kind == kind).map(|tiles| &tiles.slide) {
                    create_dir(&to.join(slide))?;
                }
            }
        }
        self.links_of(kind, fold).try_for_each(|link| link_file(&link.from, &split.join(&link.below_split)))
    }

    fn links(&self, kind: CutKind) -> impl Iterator<Item = Link> {
        self.folds.iter().flat_map(move |fold| self.links_of(kind, fold))
    }

    fn links_of<'f>(&'f self, kind: CutKind, fold: &'f SplitFold) -> impl Iterator<Item = Link> + 'f {
        let split = self.output.splits().join(split_name(kind));
        let cuts_name = cuts_name(kind, self.config);
        let sides = [("train", &fold.train), ("val", &fold.valid)];
        let tiles = sides.into_iter().flat_map(move |(side, tiles)| {
            tiles.iter().filter(move |tiles| tiles.kind == kind).map(move |tiles| (side, tiles))
        });
        tiles.flat_map(move |(side, tiles)| {
            let dirs = self.output.tile_dirs(&cuts_name, &tiles.slide);
            let split = split.clone();
            PARTS.into_iter().zip(dirs).flat_map(move |(part, from)| {
                let below_split = Path::new(&fold.name).join(side).join(part).join(&tiles.slide);
                let to = split.clone();
                tiles.tile_idxs.iter().map(move |&tile_idx| {
                    let below_split = below_split.join(tile_file(tile_idx));
                    Link { from: from.join(tile_file(tile_idx)), to: to.join(&below_split), below_split }
                })
            })
        })
    }
}

/// A file that is to appear in a fold.
struct Link {
    from: PathBuf,
    to: PathBuf,
    /// The same relative to the folder of the kind's splits.
    below_split: PathBuf,
}

/// Marks the splits as incomplete while tiles change under them.
pub(super) fn revoke(output: &OutputDir) -> Result<()> {
    remove_file(&output.splits().join(Manifest::FILE))?;
    remove_file(&output.state().splits())
}

fn split_name(kind: CutKind) -> String {
    format!("{}_split", kind.prefix())
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))
}

/// Makes a file appear in another place by hard link, or as a copy where links are impossible.
fn link_file(from: &Path, to: &Path) -> Result<()> {
    if std::fs::hard_link(from, to).is_err() {
        std::fs::copy(from, to)
            .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    }
    Ok(())
}

/// All files below a folder.
fn add_files(dir: &Path, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    for name in names_in(dir)? {
        let path = dir.join(name);
        if path.is_dir() {
            add_files(&path, files)?;
        } else {
            files.insert(path);
        }
    }
    Ok(())
}
