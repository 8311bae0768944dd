//! Slides through GDAL, for files that the readers of this crate do not cover.

mod bands;
mod handles;

use std::path::{Path, PathBuf};
use std::sync::Once;

use gdal::raster::{GdalType, RasterBand};
use gdal::{Dataset, Metadata as _};
use ndarray::{Array3, ArrayViewMut3, Axis, s};

use self::bands::{Band, bands_of, levels, three_pages};
use self::handles::{Handles, open_dataset};
use crate::tiff::stated_microns_per_px;
use crate::{Error, Level, RasterReader, ReadOptions, Result, SampleKind, Size, Window};

/// A slide or mask in any raster format that GDAL opens (feature `gdal`).
///
/// Pixels are those of [`TiffSlide`](crate::TiffSlide): RGB or gray in 8 bits, palettes expanded, alpha dropped, 1-bit
/// masks as 0 and 1, samples of 16 bits through [`RasterReader::read_u16`]; lossy codecs may differ by rounding. Of a
/// TIFF whose first page is a single 8-bit band, the first three such pages of one size are R, G and B, whatever
/// OME-XML says of them. Overviews are the [levels](RasterReader::levels); there are no associated images. Other kinds
/// of samples are an [`Error::Unsupported`].
///
/// Any number of threads may share one slide. GDAL's handles serve one thread at a time, so every read takes an idle
/// handle or opens a new one, decodes on the calling thread without a lock of ours, and puts the handle back. As many
/// stay open as the rayon pool that opened the slide has threads. GDAL keeps decoded blocks for the next read, up to
/// its setting `GDAL_CACHEMAX` for all slides of the process.
///
/// The first slide opened makes GDAL silent in this process: its messages become errors and are not printed.
#[derive(Debug)]
pub struct GdalSlide {
    path: PathBuf,
    size: Size,
    sample_kind: SampleKind,
    bands: Vec<Band>,
    /// From the largest, with the index of GDAL's overview; the first is the slide.
    levels: Vec<(Level, Option<usize>)>,
    microns_per_px: Option<f64>,
    description: Option<String>,
    handles: Handles,
}

impl GdalSlide {
    /// Opens what GDAL finds under `path`: a file, or a name of GDAL's own such as `/vsizip/…` or a subdataset.
    pub fn open(path: &Path) -> Result<Self> {
        static SILENCE: Once = Once::new();
        SILENCE.call_once(|| gdal::config::set_error_handler(|_, _, _| {}));
        let file = open_dataset(path, path)?;
        let (description, microns_per_px) = stated(&file);
        let (sample_kind, mut bands) = bands_of(path, &file)?;
        let mut names = vec![path.to_owned()];
        let mut datasets = vec![file];
        if let Some(pages) = three_pages(path, &datasets[0])? {
            bands.clear();
            (names, datasets) = pages.into_iter().unzip();
            for (dataset_idx, page) in datasets.iter().enumerate() {
                let (_, band) = bands_of(path, page)?;
                bands.extend(band.into_iter().map(|band| Band { dataset_idx, ..band }));
            }
        }
        let size = size_of(path, &datasets[0])?;
        let levels = levels(path, &datasets, &bands, size)?;
        let handles = Handles::new(path, names, datasets);
        let path = path.to_owned();
        Ok(Self { path, size, sample_kind, bands, levels, microns_per_px, description, handles })
    }

    /// Fills the part of `out` that lies on the image; `look_up` gives the pixel of a band's sample in its table.
    fn read_part<T: Copy + Default + GdalType>(
        &self,
        window: Window,
        options: &ReadOptions<'_>,
        mut out: ArrayViewMut3<'_, T>,
        look_up: impl Fn(&[u8; 256], T) -> T,
    ) -> Result<()> {
        let (level, overview) = self.levels[options.level];
        let Some(inside) = level.size.window().intersect(&window) else { return Ok(()) };
        let (x, y) = ((inside.x - window.x) as usize, (inside.y - window.y) as usize);
        let (width, height) = (inside.width as usize, inside.height as usize);
        let mut below = out.slice_mut(s![y..y + height, x..x + width, ..]);
        let wanted: Vec<&Band> = match options.bands {
            None => self.bands.iter().collect(),
            Some(idxs) => idxs.iter().map(|&idx| &self.bands[idx]).collect(),
        };
        self.handles.with(|datasets| {
            let sources: Vec<RasterBand<'_>> = wanted
                .iter()
                .map(|band| {
                    let full = datasets[band.dataset_idx].rasterband(band.number)?;
                    match overview {
                        None => Ok(full),
                        Some(idx) => full.overview(idx),
                    }
                })
                .collect::<gdal::errors::Result<_>>()?;
            let rows_at_once = sources.first().map_or(1, rows_at_once);
            let mut samples = vec![T::default(); width * rows_at_once.min(height)];
            let mut top = inside.y as usize;
            while below.len_of(Axis(0)) > 0 {
                // Blocks of pixel-interleaved files serve all bands before the next ones push them out of the cache.
                let n_rows = (rows_at_once - top % rows_at_once).min(below.len_of(Axis(0)));
                let (mut rows, rest) = below.split_at(Axis(0), n_rows);
                let samples = &mut samples[..width * n_rows];
                let mut held = None;
                for (place, (band, source)) in wanted.iter().zip(&sources).enumerate() {
                    if held != Some((band.dataset_idx, band.number)) {
                        let (at, size) = ((inside.x as isize, top as isize), (width, n_rows));
                        source.read_into_slice(at, size, size, samples, None)?;
                        held = Some((band.dataset_idx, band.number));
                    }
                    for (mut row, samples) in rows.outer_iter_mut().zip(samples.chunks_exact(width)) {
                        let pixels = row.slice_mut(s![.., place]);
                        match &band.table {
                            None => pixels.into_iter().zip(samples).for_each(|(out, &sample)| *out = sample),
                            Some(table) => pixels
                                .into_iter()
                                .zip(samples)
                                .for_each(|(out, &sample)| *out = look_up(table, sample)),
                        }
                    }
                }
                below = rest;
                top += n_rows;
            }
            Ok(())
        })
    }

    /// Whether all pixels of the window lie on the level.
    fn is_inside(&self, window: Window, level: usize) -> bool {
        self.levels[level].0.size.window().intersect(&window) == Some(window)
    }
}

impl RasterReader for GdalSlide {
    fn path(&self) -> &Path {
        &self.path
    }

    fn size(&self) -> Size {
        self.size
    }

    fn bands(&self) -> usize {
        self.bands.len()
    }

    fn microns_per_px(&self) -> Option<f64> {
        self.microns_per_px
    }

    fn read_with(
        &self,
        window: Window,
        options: &ReadOptions<'_>,
        mut out: ArrayViewMut3<'_, u8>,
    ) -> Result<()> {
        options.check(&self.path, window, self.levels.len(), self.bands.len(), out.dim())?;
        if self.sample_kind != SampleKind::U8 {
            let what = "samples of 16 bits as 8-bit pixels; read_u16 reads them";
            return Err(Error::unsupported(&self.path, what));
        }
        if !self.is_inside(window, options.level) {
            out.fill(options.fill_u8(&self.path)?);
        }
        self.read_part(window, options, out, |table, sample| table[usize::from(sample)])
    }

    fn sample_kind(&self) -> SampleKind {
        self.sample_kind
    }

    fn levels(&self) -> Vec<Level> {
        self.levels.iter().map(|(level, _)| *level).collect()
    }

    fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    fn read_u16(&self, window: Window, options: &ReadOptions<'_>) -> Result<Array3<u16>> {
        if self.sample_kind == SampleKind::U8 {
            return Ok(self.read_array(window, options)?.mapv(u16::from));
        }
        let n_bands = options.n_bands(self.bands.len());
        let shape = (window.height as usize, window.width as usize, n_bands);
        options.check(&self.path, window, self.levels.len(), self.bands.len(), shape)?;
        let mut pixels = Vec::new();
        let room = usize::try_from(window.size().area()).ok().and_then(|area| area.checked_mul(n_bands));
        let len = room
            .filter(|&len| pixels.try_reserve_exact(len).is_ok())
            .ok_or_else(|| Error::memory(&self.path, format!("a window of {} pixels", window.size())))?;
        pixels.resize(len, options.fill);
        let mut pixels =
            Array3::from_shape_vec(shape, pixels).map_err(|e| Error::usage(&self.path, e.to_string()))?;
        self.read_part(window, options, pixels.view_mut(), |_, sample| sample)?;
        Ok(pixels)
    }
}

/// Description and pixel size as GDAL passes them on from the tags of TIFF.
fn stated(dataset: &Dataset) -> (Option<String>, Option<f64>) {
    let item = |key| dataset.metadata_item(key, "");
    let description = item("TIFFTAG_IMAGEDESCRIPTION");
    let x_resolution = item("TIFFTAG_XRESOLUTION").and_then(|value| value.parse().ok());
    // As in `2 (pixels/inch)`.
    let unit = item("TIFFTAG_RESOLUTIONUNIT").and_then(|text| text.split(' ').next()?.parse().ok());
    let microns_per_px =
        stated_microns_per_px(description.as_deref().unwrap_or_default(), x_resolution, unit);
    (description, microns_per_px)
}

fn size_of(path: &Path, dataset: &Dataset) -> Result<Size> {
    let (width, height) = dataset.raster_size();
    match (u32::try_from(width), u32::try_from(height)) {
        (Ok(width), Ok(height)) if width > 0 && height > 0 => Ok(Size::new(width, height)),
        _ => Err(Error::format(path, format!("an image of {width}x{height} pixels"))),
    }
}

/// Rows of an image that are read for all bands before the next ones: whole blocks if they are not very high.
fn rows_at_once(band: &RasterBand<'_>) -> usize {
    match band.block_size().1 {
        rows @ 64..=1024 => rows,
        rows @ 1..64 => 64_usize.next_multiple_of(rows),
        _ => 256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TiffSpec, TiffWriter};

    #[test]
    fn no_more_handles_stay_open_than_the_pool_has_threads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slide.tiff");
        let mut writer = TiffWriter::create(&path, TiffSpec::rgb(Size::new(300, 200))).unwrap();
        writer.write_rows(&Array3::from_elem((200, 300, 3), 5)).unwrap();
        writer.finish().unwrap();
        let two_threads = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let slide = two_threads.install(|| GdalSlide::open(&path)).unwrap();
        let window = slide.size().window();
        let all_at_once = std::sync::Barrier::new(6);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    slide.handles.with(|_| {
                        all_at_once.wait();
                        Ok(())
                    })
                });
            }
        });
        assert_eq!(slide.handles.idle().len(), 2);
        assert_eq!(slide.read(window).unwrap(), Array3::from_elem((200, 300, 3), 5));
        assert_eq!(slide.handles.idle().len(), 2);
    }
}
