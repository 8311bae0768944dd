//! Which pages of a file are the slide, its reduced copies, and the images beside it.

use super::file::TiffFile;
use super::info::PageInfo;
use super::ome;
use super::tag::photometric;
use crate::{Error, Result};

/// The part that each page plays; pages are indices into [`TiffFile::pages`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Roles {
    /// The pages of every level, from the largest; each level is one page, or one page per band.
    pub(super) levels: Vec<Vec<usize>>,
    /// Name and page of the images beside the slide.
    pub(super) associated: Vec<(String, usize)>,
    /// Maker of the format.
    pub(super) vendor: &'static str,
}

/// Relative difference of the two downsamples of a level that rounding to whole pixels does not explain.
const ASPECT_TOLERANCE: f64 = 0.01;

/// Names under which makers store images beside the slide, in lower case, and ours for them.
const ASSOCIATED_NAMES: [(&str, &str); 6] = [
    ("label", "label"),
    ("macro", "macro"),
    ("overview", "macro"),
    ("thumbnail", "thumbnail"),
    ("thumb", "thumbnail"),
    ("map", "map"),
];

/// Tells the pages apart.
///
/// The slide is what OME-XML says it is, else the first page of the chain that is neither a reduced copy nor a
/// transparency mask; three or more single-band 8-bit pages of its size are its R, G and B. `SubIFDs` of the slide and
/// pages of the chain that have its kind of samples, its proportions and fewer pixels are its levels. Aperio's rules
/// (as in OpenSlide) are that levels are tiled, the second page is the thumbnail, and the other striped pages are
/// named in the second line of their description.
pub(super) fn roles(file: &mut TiffFile) -> Result<Roles> {
    let damage = file.damage.take();
    let pages = file.pages();
    let chain: Vec<usize> = (0..pages.len()).filter(|&idx| !pages[idx].name.contains('/')).collect();
    let description = file.description(chain[0]).unwrap_or_default();
    let ome_images = ome::images(&description);
    let vendor = vendor(&description, ome_images.is_some());
    let base = match ome_images.as_deref().and_then(|images| ome_slide(images, &chain, pages)) {
        Some(base) => {
            base.ok_or_else(|| Error::unsupported(file.path(), "OME-TIFF whose channels are in other files"))?
        }
        None => generic_slide(&chain, pages),
    };
    // A damaged chain may hide the other bands of a single-band page, but nothing of an RGB one.
    if let (Some(damage), true) = (damage, is_band(&pages[base[0]])) {
        return Err(damage);
    }

    let mut associated = Vec::new();
    let mut rest = Vec::new();
    for (place, &idx) in chain.iter().enumerate() {
        if base.contains(&idx) || pages[idx].is_mask() {
            continue;
        }
        let words = file.description(idx).unwrap_or_default();
        match associated_name(vendor, place, &pages[idx], &words) {
            Some(name) => associated.push((name, idx)),
            None => rest.push(idx),
        }
    }
    for image in ome_images.iter().flatten() {
        let page = image.planes.first().copied().flatten().and_then(|place| chain.get(place).copied());
        if let (Some(name), Some(page)) = (known_name(&image.name), page)
            && !base.contains(&page)
        {
            rest.retain(|&idx| idx != page);
            associated.push((name, page));
        }
    }
    // Of an OME-TIFF, pages of the chain are other planes and images unless they say that they are copies.
    rest.retain(|&idx| pages[idx].is_reduced() || (vendor != "ome-tiff" && pages[idx].is_tiled));
    let levels = levels(base, &rest, pages);
    Ok(Roles { levels, associated, vendor })
}

/// The pages of the largest OME image that is no image beside the slide; the inner `None` if they are not all here.
///
/// XML that does not fit the pages is left aside.
#[expect(
    clippy::option_option,
    reason = "no such image, an image elsewhere, and an image here are three answers"
)]
fn ome_slide(images: &[ome::OmeImage], chain: &[usize], pages: &[PageInfo]) -> Option<Option<Vec<usize>>> {
    let slides = images.iter().filter(|image| known_name(&image.name).is_none());
    let slide = slides.max_by_key(|image| image.size.area())?;
    let found: Option<Vec<usize>> = slide.planes.iter().map(|place| chain.get((*place)?).copied()).collect();
    let fits =
        |found: &Vec<usize>| !found.is_empty() && found.iter().all(|&idx| pages[idx].size == slide.size);
    match found {
        Some(found) if !fits(&found) => None,
        other => Some(other),
    }
}

fn generic_slide(chain: &[usize], pages: &[PageInfo]) -> Vec<usize> {
    let is_image = |&idx: &usize| !pages[idx].is_reduced() && !pages[idx].is_mask();
    let first = chain.iter().copied().find(is_image).unwrap_or(chain[0]);
    if is_band(&pages[first]) {
        let same = |&idx: &usize| is_band(&pages[idx]) && pages[idx].size == pages[first].size;
        let bands: Vec<usize> = chain.iter().copied().filter(is_image).filter(same).take(3).collect();
        if bands.len() == 3 {
            return bands;
        }
    }
    vec![first]
}

/// Whether a page may be one band of a slide.
fn is_band(page: &PageInfo) -> bool {
    (page.bands, page.bits) == (1, 8) && page.photometric <= u32::from(photometric::BLACK_IS_ZERO)
}

fn vendor(description: &str, is_ome: bool) -> &'static str {
    match description {
        _ if is_ome => "ome-tiff",
        text if text.starts_with("Aperio") => "aperio",
        text if text.contains("<scn ") => "leica",
        text if text.contains("<iScan") => "ventana",
        text if text.contains("DPUfsImport") => "philips",
        text if text.contains("ImageJ=") => "imagej",
        _ => "generic-tiff",
    }
}

/// What an image beside the slide is called, if the page is one.
fn associated_name(vendor: &str, place: usize, page: &PageInfo, description: &str) -> Option<String> {
    if vendor != "aperio" {
        return known_name(description.lines().next().unwrap_or_default());
    }
    if page.is_tiled {
        return None;
    }
    let word = description.lines().nth(1).and_then(|line| line.split_whitespace().next());
    match word {
        Some(word @ ("label" | "macro")) => Some(word.to_owned()),
        _ if place == 1 => Some("thumbnail".to_owned()),
        // The line of the thumbnail holds sizes; other words are names.
        Some(word) if word.chars().all(char::is_alphabetic) => Some(word.to_lowercase()),
        _ => None,
    }
}

/// Our name for an image that a file calls `name`, if the name says that it is beside the slide.
fn known_name(name: &str) -> Option<String> {
    let name = name.trim().to_lowercase();
    let is_word = |known: &str| {
        name == known || name.split(|c: char| !c.is_alphabetic()).any(|word| word == known && name.len() < 40)
    };
    let found = ASSOCIATED_NAMES.iter().find(|(known, _)| is_word(known));
    found.map(|(_, ours)| (*ours).to_owned())
}

/// The slide and all its reduced copies, from the largest.
fn levels(base: Vec<usize>, rest: &[usize], pages: &[PageInfo]) -> Vec<Vec<usize>> {
    let full = &pages[base[0]];
    let n_pages = base.len();
    let mut candidates = Vec::new();
    let children: Vec<Vec<usize>> = base.iter().map(|&idx| children_of(&pages[idx].name, pages)).collect();
    for place in 0..children[0].len() {
        candidates.extend(children.iter().map(|list| list.get(place).copied()).collect::<Option<Vec<_>>>());
    }
    // Copies of a slide in several pages follow each other.
    let mut group: Vec<usize> = Vec::new();
    for &idx in rest {
        if group.first().is_some_and(|&first| pages[first].size != pages[idx].size) {
            group.clear();
        }
        group.push(idx);
        if group.len() == n_pages {
            candidates.push(std::mem::take(&mut group));
        }
    }
    candidates.retain(|level| level.iter().all(|&idx| is_copy(&pages[idx], full)));
    candidates.sort_by_key(|level| std::cmp::Reverse(pages[level[0]].size.area()));
    candidates.dedup_by_key(|level| pages[level[0]].size);
    std::iter::once(base).chain(candidates).collect()
}

/// The `SubIFDs` of a page.
fn children_of(name: &str, pages: &[PageInfo]) -> Vec<usize> {
    let is_child =
        |page: &PageInfo| page.name.strip_prefix(name).is_some_and(|rest| rest.starts_with("/sub"));
    (0..pages.len()).filter(|&idx| is_child(&pages[idx])).collect()
}

/// Whether a page has the samples and the proportions of the slide, and fewer pixels.
fn is_copy(page: &PageInfo, full: &PageInfo) -> bool {
    let samples = |page: &PageInfo| (page.bands, page.bits, page.sample_format);
    let sides = [page.size.width, page.size.height].map(f64::from);
    if samples(page) != samples(full) || page.is_mask() || sides.contains(&0.0) {
        return false;
    }
    let [across, down] = [f64::from(full.size.width) / sides[0], f64::from(full.size.height) / sides[1]];
    // Sides are whole pixels, rounded either way.
    let tolerance = ASPECT_TOLERANCE + 1.0 / sides[0].min(sides[1]);
    let is_smaller =
        across > 1.0 && down > 1.0 || page.size.area() < full.size.area() && across >= 1.0 && down >= 1.0;
    is_smaller && (across - down).abs() <= tolerance * across.max(down)
}
