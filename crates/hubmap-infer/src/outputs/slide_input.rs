//! The slides that a user names.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A slide to predict.
#[derive(Debug, Clone, PartialEq)]
pub struct SlideInput {
    /// File name without its extension; names all of the slide's outputs.
    pub id: String,
    /// The file.
    pub path: PathBuf,
    /// Resolution that counts instead of what the file states.
    pub microns_per_px: Option<f64>,
}

/// Extensions that slides have, in lower case.
const SLIDE_EXTENSIONS: [&str; 3] = ["tif", "tiff", "svs"];

/// The slides that a user names: each a file, or a folder with `.tif`, `.tiff` and `.svs` files.
///
/// Files in a folder come in the order of their names.
/// An error if there is none, or if two have the same id.
pub fn find_slides(paths: &[PathBuf]) -> Result<Vec<SlideInput>> {
    let mut slides = Vec::new();
    for path in paths {
        let metadata = std::fs::metadata(path)
            .with_context(|| format!("cannot find slide or folder {}", path.display()))?;
        if !metadata.is_dir() {
            slides.push(slide_input(path)?);
            continue;
        }
        let list =
            || std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
        let mut files = list().with_context(|| format!("cannot list folder {}", path.display()))?;
        files.retain(|file| is_slide(file));
        if files.is_empty() {
            bail!("no slides in {}: it has no .tif, .tiff or .svs file", path.display());
        }
        files.sort();
        for file in files {
            slides.push(slide_input(&file)?);
        }
    }
    if slides.is_empty() {
        bail!("no slides were named");
    }
    check_ids(&slides)?;
    Ok(slides)
}

/// Refuses slides of which two have the same id.
pub fn check_ids(slides: &[SlideInput]) -> Result<()> {
    let mut by_id: Vec<&SlideInput> = slides.iter().collect();
    by_id.sort_by(|a, b| a.id.cmp(&b.id));
    if let Some(pair) = by_id.windows(2).find(|pair| pair[0].id == pair[1].id) {
        bail!(
            "two slides have the id {}, so their outputs would overwrite each other: {} and {}",
            pair[0].id,
            pair[0].path.display(),
            pair[1].path.display()
        );
    }
    Ok(())
}

fn slide_input(path: &Path) -> Result<SlideInput> {
    let id = path.file_stem().and_then(|stem| stem.to_str());
    let id = id.with_context(|| format!("{} has no Unicode file name to take an id from", path.display()))?;
    Ok(SlideInput { id: id.to_owned(), path: path.to_owned(), microns_per_px: None })
}

fn is_slide(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_lowercase);
    !hidden
        && extension.is_some_and(|extension| SLIDE_EXTENSIONS.contains(&extension.as_str()))
        && path.is_file()
}
