//! An image of one or more pages, decoded by windows.

use ndarray::{Array3, ArrayViewMut3, Axis, s};

use super::file::TiffFile;
use super::page::Page;
use super::region;
use super::samples::Pixels;
use super::source::Source;
use super::tag::photometric;
use crate::raster::black_array;
use crate::{Result, SampleKind, Size, Window};

/// A level of a slide, or an image beside it.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) size: Size,
    /// Samples per pixel that come out.
    pub(super) bands: usize,
    pub(super) sample_kind: SampleKind,
    /// One page with all bands (several pages of equal chunks count as its planes), or one page per band.
    pages: Vec<(Page, Pixels)>,
}

impl Image {
    /// Checks the pages of an image, all of one size.
    pub(super) fn new(file: &TiffFile, page_idxs: &[usize]) -> Result<Self> {
        let pages = page_idxs.iter().map(|&idx| file.page(idx)).collect::<Result<Vec<_>>>()?;
        let infos = page_idxs.iter().filter_map(|&idx| file.pages().get(idx));
        let sample_kind =
            if pages.iter().any(|page| page.bits > 8) { SampleKind::U16 } else { SampleKind::U8 };
        let pages: Vec<(Page, Pixels)> = if let Some(merged) = merge(&pages) {
            let pixels = Pixels::bands(&merged);
            vec![(merged, pixels)]
        } else {
            let shown = pages.into_iter().zip(infos).map(|(page, info)| {
                let pixels = Pixels::shown(&file.source, &page, info)?;
                Ok((page, pixels))
            });
            shown.collect::<Result<_>>()?
        };
        let (first, pixels) = &pages[0];
        let bands = match (sample_kind, pages.len()) {
            // What follows red, green and blue is alpha.
            (SampleKind::U16, 1) if first.photometric == u32::from(photometric::RGB) => first.bands.min(3),
            (SampleKind::U16, 1) => first.bands,
            (_, 1) => pixels.bytes_per_pixel(first),
            (_, n_pages) => n_pages,
        };
        Ok(Self { size: first.size, bands, sample_kind, pages })
    }

    /// Fills `out`, `[height, width, bands wanted × bytes per sample]`, with a window inside the image.
    pub(super) fn read(
        &self,
        source: &Source,
        window: Window,
        bands: Option<&[usize]>,
        mut out: ArrayViewMut3<'_, u8>,
    ) -> Result<()> {
        let all: Vec<usize>;
        let wanted = match (self.pages.as_slice(), bands) {
            ([(page, pixels)], None) if pixels.bytes_per_pixel(page) == out.len_of(Axis(2)) => {
                return region::read(source, page, pixels, window, out);
            }
            (_, Some(bands)) => bands,
            (_, None) => {
                all = (0..self.bands).collect();
                &all
            }
        };
        let sample_len = out.len_of(Axis(2)) / wanted.len().max(1);
        let mut held: Option<Array3<u8>> = None;
        for (place, &band) in wanted.iter().enumerate() {
            let mut out = out.slice_mut(s![.., .., place * sample_len..(place + 1) * sample_len]);
            match self.pages.as_slice() {
                // A band with chunks of its own is decoded alone.
                [(page, pixels)] if let Some(plane) = pixels.plane(page, band) => {
                    region::read(source, page, &plane, window, out)?;
                }
                [(page, pixels)] => {
                    let pixels = if let Some(pixels) = held.take() {
                        pixels
                    } else {
                        let len = pixels.bytes_per_pixel(page);
                        let mut all = black_array(source.path(), window.size(), len)?;
                        region::read(source, page, pixels, window, all.view_mut())?;
                        all
                    };
                    out.assign(&pixels.slice(s![.., .., band * sample_len..(band + 1) * sample_len]));
                    held = Some(pixels);
                }
                pages => {
                    if let Some((page, pixels)) = pages.get(band) {
                        region::read(source, page, pixels, window, out)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Single-band pages whose chunks match as the planes of one page, which reads them in one pass.
fn merge(pages: &[Page]) -> Option<Page> {
    let (first, others) = pages.split_first()?;
    let is_band = |page: &Page| {
        (page.bands, page.bits, page.photometric) == (1, 8, u32::from(photometric::BLACK_IS_ZERO))
            && page.has_same_chunks(first)
    };
    if others.is_empty() || !pages.iter().all(is_band) {
        return None;
    }
    let mut merged = first.clone();
    merged.bands = pages.len();
    merged.is_planar = true;
    for page in others {
        merged.offsets.extend_from_slice(&page.offsets);
        merged.byte_counts.extend_from_slice(&page.byte_counts);
    }
    Some(merged)
}
