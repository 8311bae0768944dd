//! The slides that a user names.

use anyhow::{Context, Result, bail};
use hubmap_io::Location;
use hubmap_jobs::slide_id;

/// A slide to predict.
#[derive(Debug, Clone, PartialEq)]
pub struct SlideInput {
    /// Names all of the slide's outputs; see [`slide_id`].
    pub id: String,
    /// The file, or the object of a store.
    pub location: Location,
    /// Resolution that counts instead of what the file states.
    pub microns_per_px: Option<f64>,
}

/// Extensions that slides have, in lower case.
const SLIDE_EXTENSIONS: [&str; 3] = ["tif", "tiff", "svs"];

/// The slides that a user names: each a file or an address, or a folder of `.tif`, `.tiff` and `.svs` files, or a prefix of
/// addresses of such objects that ends in a slash (`s3://bucket/slides/`).
///
/// What is in a folder comes in the order of the names.
/// An error if there is none, or if two have the same id.
pub fn find_slides(locations: &[Location]) -> Result<Vec<SlideInput>> {
    let mut slides = Vec::new();
    for location in locations {
        if let Some(path) = location.as_file() {
            std::fs::metadata(path)
                .with_context(|| format!("cannot find slide or folder {}", path.display()))?;
        }
        if !location.is_folder() {
            slides.push(slide_input(location.clone())?);
            continue;
        }
        let mut found = location.list()?;
        found.retain(is_slide);
        if found.is_empty() {
            bail!("no slides in {location}: it has no .tif, .tiff or .svs file");
        }
        for location in found {
            slides.push(slide_input(location)?);
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
            pair[0].location,
            pair[1].location
        );
    }
    Ok(())
}

fn slide_input(location: Location) -> Result<SlideInput> {
    let id = slide_id(location.path());
    let id = id.with_context(|| format!("{location} has no Unicode file name to take an id from"))?;
    Ok(SlideInput { id, location, microns_per_px: None })
}

fn is_slide(location: &Location) -> bool {
    let path = location.path();
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_lowercase);
    !hidden
        && extension.is_some_and(|extension| SLIDE_EXTENSIONS.contains(&extension.as_str()))
        && location.as_file().is_none_or(std::path::Path::is_file)
}
