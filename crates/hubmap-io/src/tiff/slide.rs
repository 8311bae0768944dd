//! The full-resolution image of a TIFF file.

use std::path::Path;

use ndarray::{Array3, ArrayViewMut3, s};

use super::file::{TiffFile, zeros};
use super::info::PageInfo;
use super::page::Page;
use super::region;
use super::samples::Pixels;
use super::source::Source;
use super::tag::photometric;
use crate::{Error, RasterReader, Result, Size, Window};

/// A slide or mask in a TIFF file, read by windows.
///
/// The image is the first page of the chain that is neither a reduced copy nor a transparency mask, so thumbnails,
/// labels, pyramid levels and `SubIFDs` are passed over. Three or more single-band 8-bit pages of one size are the
/// R, G and B of one slide. Pixels are 8-bit RGB (palette and CMYK converted, alpha dropped) or gray; 1-bit masks
/// read as 0 and 1. Where white is stored as 0, values are inverted, so that white is always the highest one.
///
/// Reads take `&self` and hold no lock: any number of threads may share one slide. A read that needs several tiles
/// or strips decodes them in parallel on the current rayon pool.
#[derive(Debug)]
pub struct TiffSlide {
    source: Source,
    info: PageInfo,
    /// One page with all bands (several pages of equal chunks count as its planes), or one page per band.
    pages: Vec<(Page, Pixels)>,
    bands: usize,
}

impl TiffSlide {
    /// Opens the slide in a TIFF file.
    pub fn open(path: &Path) -> Result<Self> {
        let mut file = TiffFile::open(path)?;
        let damage = file.damage.take();
        let top_level = || (0..file.pages().len()).filter(|&idx| !file.pages()[idx].name.contains('/'));
        let is_image = |&idx: &usize| !file.pages()[idx].is_reduced() && !file.pages()[idx].is_mask();
        let first = top_level().find(is_image).unwrap_or(0);
        let info = file.pages()[first].clone();
        let is_band = |info: &PageInfo, size: Size| {
            info.size == size
                && (info.bands, info.bits) == (1, 8)
                && info.photometric <= u32::from(photometric::BLACK_IS_ZERO)
        };
        let mut band_pages: Vec<usize> = if is_band(&info, info.size) {
            top_level().filter(is_image).filter(|&idx| is_band(&file.pages()[idx], info.size)).collect()
        } else {
            Vec::new()
        };
        // A damaged chain may hide the other bands of a single-band page, but nothing of an RGB one.
        if let (Some(damage), false) = (damage, band_pages.is_empty()) {
            return Err(damage);
        }
        let page = file.page(first)?;
        let pages = if band_pages.len() >= 3 {
            band_pages.truncate(3);
            merge(band_pages.into_iter().map(|idx| file.page(idx)).collect::<Result<_>>()?)
        } else {
            vec![page]
        };
        let pages = pages.into_iter().map(|page| {
            let pixels = Pixels::shown(&file.source, &page, &info)?;
            Ok((page, pixels))
        });
        let pages: Vec<(Page, Pixels)> = pages.collect::<Result<_>>()?;
        let bands = pages.iter().map(|(page, pixels)| pixels.bytes_per_pixel(page)).sum();
        Ok(Self { source: file.source, info, pages, bands })
    }

    /// What the page of the image says about itself; of several pages, the first.
    pub fn info(&self) -> &PageInfo {
        &self.info
    }

    fn check(&self, window: Window) -> Result<()> {
        if window.width == 0 || window.height == 0 {
            return Err(Error::usage(self.source.path(), format!("window {window} is empty")));
        }
        Ok(())
    }

    /// Fills `out` with the part of the slide at `window`, which lies inside it.
    fn read_inside(&self, window: Window, mut out: ArrayViewMut3<'_, u8>) -> Result<()> {
        let [(page, pixels)] = self.pages.as_slice() else {
            return self.pages.iter().enumerate().try_for_each(|(band, (page, pixels))| {
                let band = out.slice_mut(s![.., .., band..=band]);
                region::read(&self.source, page, pixels, window, band)
            });
        };
        region::read(&self.source, page, pixels, window, out)
    }

    /// Fills the part of `out` that lies on the slide; the rest is left as it is if it `is_black` already.
    fn read_part(&self, window: Window, mut out: ArrayViewMut3<'_, u8>, is_black: bool) -> Result<()> {
        let inside = self.size().window().intersect(&window);
        if !is_black && inside != Some(window) {
            out.fill(0);
        }
        let Some(inside) = inside else { return Ok(()) };
        let x = (inside.x - window.x) as usize;
        let y = (inside.y - window.y) as usize;
        let (width, height) = (inside.width as usize, inside.height as usize);
        self.read_inside(inside, out.slice_mut(s![y..y + height, x..x + width, ..]))
    }
}

impl RasterReader for TiffSlide {
    fn path(&self) -> &Path {
        self.source.path()
    }

    fn size(&self) -> Size {
        self.info.size
    }

    fn bands(&self) -> usize {
        self.bands
    }

    fn microns_per_px(&self) -> Option<f64> {
        self.info.microns_per_px
    }

    fn read(&self, window: Window) -> Result<Array3<u8>> {
        self.check(window)?;
        let mut out = zeros(self.path(), window.size(), self.bands)?;
        self.read_part(window, out.view_mut(), true)?;
        Ok(out)
    }

    fn read_into(&self, window: Window, out: ArrayViewMut3<'_, u8>) -> Result<()> {
        self.check(window)?;
        let shape = (window.height as usize, window.width as usize, self.bands);
        if out.dim() != shape {
            return Err(Error::usage(
                self.path(),
                format!("an array of {:?} for a window that needs {shape:?}", out.dim()),
            ));
        }
        self.read_part(window, out, false)
    }
}

/// Treats single-band pages whose chunks match as the planes of one page, which reads them in one pass.
fn merge(pages: Vec<Page>) -> Vec<Page> {
    let is_black_zero = |page: &Page| page.photometric == u32::from(photometric::BLACK_IS_ZERO);
    if !pages.iter().all(|page| is_black_zero(page) && page.has_same_chunks(&pages[0])) {
        return pages;
    }
    let mut merged = pages[0].clone();
    merged.bands = pages.len();
    merged.is_planar = true;
    for page in &pages[1..] {
        merged.offsets.extend_from_slice(&page.offsets);
        merged.byte_counts.extend_from_slice(&page.byte_counts);
    }
    vec![merged]
}
