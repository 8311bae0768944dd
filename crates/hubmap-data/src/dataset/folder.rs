//! Datasets from the folders that data generation wrote.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::{Dataset, DatasetName, Tile, TilePixels};
use crate::cuts::Manifest;

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
        tiles_in(&name.dir(splits_dir), &name.to_string(), name.kind.cuts().prefix())
            .map(Self::from_tiles)
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
        tiles_in(dir, name, name).map(Self::from_tiles)
    }
}

/// The tiles of a folder; the first part of their names is `name`, of their ids `cuts`.
fn tiles_in(dir: &Path, name: &str, cuts: &str) -> Result<Vec<Tile>> {
    let (images, masks) = (tiles_below(&dir.join("imgs"))?, tiles_below(&dir.join("masks"))?);
    ensure!(!images.is_empty(), "{}: no PNG tiles in the folders of its slides", dir.join("imgs").display());
    let file = |kind: &str, slide: &str, stem: &str| dir.join(kind).join(slide).join(format!("{stem}.png"));
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
        id: format!("{cuts}/{slide}/{stem}"),
        pixels: TilePixels::Files { image: file("imgs", &slide, &stem), mask: file("masks", &slide, &stem) },
        slide,
    });
    Ok(tiles.collect())
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
