//! Tiles on disk as a list of samples.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Error, Result, bail, ensure};
use ndarray::{Array2, Array3};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Sample;
use crate::cuts::Manifest;
use crate::tile_file::{read_image, read_mask};

/// Which cuts a dataset holds and on which side of the fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DatasetKind {
    /// Object cuts of the training slides, `train_…`.
    TrainObjects,
    /// Grid cuts of the training slides, `grid_…`.
    TrainGrid,
    /// Object cuts of the validation slides, `val_…`.
    ValidObjects,
}

impl DatasetKind {
    const ALL: [Self; 3] = [Self::TrainObjects, Self::TrainGrid, Self::ValidObjects];

    /// First part of the dataset's name.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::TrainObjects => "train",
            Self::TrainGrid => "grid",
            Self::ValidObjects => "val",
        }
    }

    /// Folder of the cuts' splits.
    const fn split(self) -> &'static str {
        match self {
            Self::TrainObjects | Self::ValidObjects => "glomi_split",
            Self::TrainGrid => "grid_split",
        }
    }

    /// Folder of the side within a fold.
    const fn side(self) -> &'static str {
        match self {
            Self::TrainObjects | Self::TrainGrid => "train",
            Self::ValidObjects => "val",
        }
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
        splits_dir.join(self.kind.split()).join(&self.fold).join(self.kind.side())
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
            bail!("dataset `{name}` starts with `{prefix}`; known kinds are train, grid and val");
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

/// One image file and its mask file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// Dataset, slide and file, such as `train_0e_33/2f6ecfcdf/000012`.
    pub name: String,
    /// Id of the slide that the tile was cut from.
    pub slide: String,
    /// The image, an RGB PNG.
    pub image: PathBuf,
    /// The mask, a gray PNG.
    pub mask: PathBuf,
}

/// A list of samples; a tile may be in it several times.
#[derive(Debug, Clone, Default)]
pub struct Dataset {
    tiles: Vec<Tile>,
    /// Pixels of each tile, once [`Dataset::preload`] has run.
    decoded: Vec<(Array3<u8>, Array2<u8>)>,
    /// Index of the tile of each sample.
    samples: Vec<usize>,
}

impl Dataset {
    /// The tiles of a named dataset under the folder of splits.
    ///
    /// # Errors
    ///
    /// As [`Dataset::open_dir`], or the manifest of the splits states another scale.
    pub fn open(splits_dir: &Path, name: &DatasetName) -> Result<Self> {
        if let Some(manifest) = Manifest::read(splits_dir)? {
            ensure!(
                manifest.scale == name.scale,
                "dataset {name} is of scale {}, but {} holds tiles of scale {}",
                name.scale,
                splits_dir.display(),
                manifest.scale
            );
        }
        Self::open_dir(&name.dir(splits_dir), &name.to_string())
            .with_context(|| format!("cannot open dataset {name}; generate it with hubmap-data-gen"))
    }

    /// The tiles under `dir/imgs/<slide>/*.png` with masks of the same names under `dir/masks`, sorted by name.
    ///
    /// `name` is the first part of the samples' names.
    ///
    /// # Errors
    ///
    /// A folder is missing or empty, or an image and a mask have no partner; the message names the file.
    pub fn open_dir(dir: &Path, name: &str) -> Result<Self> {
        let (images, masks) = (tiles_below(&dir.join("imgs"))?, tiles_below(&dir.join("masks"))?);
        ensure!(
            !images.is_empty(),
            "{}: no PNG tiles in the folders of its slides",
            dir.join("imgs").display()
        );
        let file =
            |kind: &str, slide: &str, stem: &str| dir.join(kind).join(slide).join(format!("{stem}.png"));
        if let Some((slide, stem)) = images.symmetric_difference(&masks).next() {
            let present = if images.contains(&(slide.clone(), stem.clone())) { "imgs" } else { "masks" };
            bail!(
                "{}: tile has {} partner; generate the tiles again",
                file(present, slide, stem).display(),
                if present == "imgs" { "no mask as" } else { "no image as" },
            );
        }
        let tiles = images.into_iter().map(|(slide, stem)| Tile {
            name: format!("{name}/{slide}/{stem}"),
            image: file("imgs", &slide, &stem),
            mask: file("masks", &slide, &stem),
            slide,
        });
        Ok(Self::from_tiles(tiles.collect()))
    }

    /// Each of the tiles once.
    pub fn from_tiles(tiles: Vec<Tile>) -> Self {
        Self { samples: (0..tiles.len()).collect(), decoded: Vec::new(), tiles }
    }

    /// The samples of all datasets, one dataset after the other; preloaded pixels are dropped.
    pub fn concat(datasets: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::default();
        for dataset in datasets {
            let n_before = all.tiles.len();
            all.tiles.extend(dataset.tiles);
            all.samples.extend(dataset.samples.iter().map(|tile_idx| n_before + tile_idx));
        }
        all
    }

    /// All samples `n_times` over.
    #[must_use]
    pub fn repeated(mut self, n_times: usize) -> Self {
        self.samples = self.samples.repeat(n_times);
        self
    }

    /// The samples of the given slides `n_times` in place of once; slides that are not here do nothing.
    #[must_use]
    pub fn with_slides_repeated(mut self, slides: &[String], n_times: usize) -> Self {
        let tiles = &self.tiles;
        let copies = |tile_idx: usize| if slides.contains(&tiles[tile_idx].slide) { n_times } else { 1 };
        self.samples = self
            .samples
            .iter()
            .flat_map(|&tile_idx| std::iter::repeat_n(tile_idx, copies(tile_idx)))
            .collect();
        self
    }

    /// Decodes every tile once and keeps it; memory is 4 bytes per tile pixel.
    ///
    /// Runs on the current rayon pool.
    ///
    /// # Errors
    ///
    /// A tile that cannot be read.
    pub fn preload(&mut self) -> Result<()> {
        self.decoded = self
            .tiles
            .par_iter()
            .map(|tile| Ok((read_image(&tile.image)?, read_mask(&tile.mask)?)))
            .collect::<Result<_>>()?;
        Ok(())
    }

    /// Number of samples, repeats included.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The tile of a sample.
    ///
    /// # Panics
    ///
    /// If `sample_idx` is not below [`Dataset::len`].
    pub fn tile(&self, sample_idx: usize) -> &Tile {
        &self.tiles[self.samples[sample_idx]]
    }

    /// Ids of the slides with at least one sample.
    pub fn slides(&self) -> BTreeSet<&str> {
        self.samples.iter().map(|&tile_idx| self.tiles[tile_idx].slide.as_str()).collect()
    }

    /// The pixels of a sample, from memory after [`Dataset::preload`], else from disk.
    ///
    /// # Errors
    ///
    /// A file is missing, damaged, or image and mask differ in size; the message names it.
    ///
    /// # Panics
    ///
    /// If `sample_idx` is not below [`Dataset::len`].
    pub fn read(&self, sample_idx: usize) -> Result<Sample> {
        let tile_idx = self.samples[sample_idx];
        let tile = &self.tiles[tile_idx];
        let (image, mask) = match self.decoded.get(tile_idx) {
            Some((image, mask)) => (image.clone(), mask.clone()),
            None => (read_image(&tile.image)?, read_mask(&tile.mask)?),
        };
        Sample::new(tile.name.clone(), image, mask).with_context(|| format!("{}", tile.image.display()))
    }
}

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

/// Slide and file name, without its ending, of every PNG in the folders below `dir`.
fn tiles_below(dir: &Path) -> Result<BTreeSet<(String, String)>> {
    let mut tiles = BTreeSet::new();
    for slide in names_in(dir)? {
        let folder = dir.join(&slide);
        if folder.is_dir() {
            let files = names_in(&folder)?;
            let stems = files.iter().filter_map(|file| file.strip_suffix(".png"));
            tiles.extend(stems.map(|stem| (slide.clone(), stem.to_owned())));
        }
    }
    Ok(tiles)
}

/// Names in a folder; hidden ones, which are unfinished or not ours, are left out.
fn names_in(dir: &Path) -> Result<Vec<String>> {
    let list = || -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let name = entry?.file_name();
            match name.into_string() {
                Ok(name) if name.starts_with('.') => {}
                Ok(name) => names.push(name),
                Err(name) => bail!("file name {} is not UTF-8", name.display()),
            }
        }
        Ok(names)
    };
    list().with_context(|| format!("cannot list {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tile_file::{write_image, write_mask};

    fn tiles(dir: &Path, slides: &[(&str, usize)]) {
        for &(slide, n_tiles) in slides {
            for kind in ["imgs", "masks"] {
                std::fs::create_dir_all(dir.join(kind).join(slide)).unwrap();
            }
            for tile_idx in 0..n_tiles {
                let file = format!("{slide}/{tile_idx:06}.png");
                let image = Array3::from_elem((4, 4, 3), tile_idx as u8);
                write_image(&dir.join("imgs").join(&file), &image).unwrap();
                write_mask(&dir.join("masks").join(&file), &Array2::from_elem((4, 4), 255)).unwrap();
            }
        }
    }

    #[test]
    fn names_parse_and_print() {
        for (text, dir) in [
            ("train_0e_33", "S/glomi_split/0e/train"),
            ("grid_2a_44", "S/grid_split/2a/train"),
            ("val_0_1010", "S/glomi_split/0/val"),
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

    #[test]
    fn concatenates_and_repeats() {
        let folder = tempfile::tempdir().unwrap();
        tiles(&folder.path().join("a"), &[("s1", 2), ("s2", 1)]);
        tiles(&folder.path().join("b"), &[("s3", 1)]);
        let a = Dataset::open_dir(&folder.path().join("a"), "a").unwrap().repeated(2);
        let b = Dataset::open_dir(&folder.path().join("b"), "b").unwrap();
        assert!(ensure_disjoint(&a, &b).is_ok());
        assert!(ensure_disjoint(&a, &a).unwrap_err().to_string().contains("slide s1"));
        let mut all = Dataset::concat([a, b]).with_slides_repeated(&["s2".into(), "s9".into()], 3);
        let names = (0..all.len()).map(|i| all.tile(i).name.clone()).collect::<Vec<_>>();
        assert_eq!(
            names,
            [
                "a/s1/000000",
                "a/s1/000001",
                "a/s2/000000",
                "a/s2/000000",
                "a/s2/000000",
                "a/s1/000000",
                "a/s1/000001",
                "a/s2/000000",
                "a/s2/000000",
                "a/s2/000000",
                "b/s3/000000"
            ]
        );
        assert_eq!(all.slides().into_iter().collect::<Vec<_>>(), ["s1", "s2", "s3"]);
        let from_disk = all.read(1).unwrap();
        all.preload().unwrap();
        std::fs::remove_dir_all(folder.path().join("a")).unwrap();
        assert_eq!(all.read(1).unwrap(), from_disk);
        assert_eq!(from_disk.image[[0, 0, 0]], 1);
    }

    #[test]
    fn incomplete_folders_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let open = || format!("{:#}", Dataset::open_dir(folder.path(), "x").unwrap_err());
        assert!(open().contains("cannot list"), "{}", open());
        tiles(folder.path(), &[("s1", 0)]);
        assert!(open().contains("no PNG tiles"), "{}", open());
        tiles(folder.path(), &[("s1", 2)]);
        std::fs::remove_file(folder.path().join("masks/s1/000001.png")).unwrap();
        assert!(open().contains("imgs/s1/000001.png: tile has no mask"), "{}", open());
        std::fs::remove_file(folder.path().join("imgs/s1/000001.png")).unwrap();
        std::fs::remove_file(folder.path().join("imgs/s1/000000.png")).unwrap();
        tiles(folder.path(), &[("s2", 1)]);
        assert!(open().contains("masks/s1/000000.png: tile has no image"), "{}", open());
        let name = "val_0e_33".parse().unwrap();
        let error = format!("{:#}", Dataset::open(folder.path(), &name).unwrap_err());
        assert!(error.contains("dataset val_0e_33") && error.contains("hubmap-data-gen"), "{error}");
    }
}
