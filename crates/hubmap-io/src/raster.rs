//! The interface that every slide reader offers.

use std::path::Path;

use ndarray::{Array3, ArrayViewMut3, s};

use crate::window_memory::black;
use crate::{Error, Result, SampleKind, Size, TiffSlide, Window, area_downscale};

/// A slide that can be read by windows from several threads at once.
///
/// An implementation provides the first five methods; those that have levels, other images or wide samples, the ones
/// about them too. `contract::check_reader` (feature `contract`) tests that it keeps what this page promises.
pub trait RasterReader: Send + Sync {
    /// The file this reader was opened from.
    fn path(&self) -> &Path;

    /// Full-resolution size.
    fn size(&self) -> Size;

    /// Samples per pixel as [`RasterReader::read`] returns them: 3 for RGB, 1 for gray and masks.
    fn bands(&self) -> usize;

    /// Microns per pixel along x at full resolution, if the file states it.
    fn microns_per_px(&self) -> Option<f64>;

    /// Fills `out`, `[height, width, bands]`, with the pixels of `window`; its old content is overwritten.
    ///
    /// Windows may leave the image on any side. A window of no pixels, an array of another shape, a level or a band that
    /// is not there is an [`Error::Usage`]; samples of 16 bits are [`Error::Unsupported`].
    fn read_with(&self, window: Window, options: &ReadOptions<'_>, out: ArrayViewMut3<'_, u8>) -> Result<()>;

    /// What a sample is: [`SampleKind::U8`] for up to 8 bits, [`SampleKind::U16`] for slides of 9 to 16 bits, which are
    /// read with [`RasterReader::read_u16`].
    fn sample_kind(&self) -> SampleKind {
        SampleKind::U8
    }

    /// Columns and rows of full resolution that the file stores, and so decodes, together.
    fn chunk_size(&self) -> Size {
        Size::new(512, 512)
    }

    /// The image at full resolution and its reduced copies, from the largest to the smallest; never empty.
    fn levels(&self) -> Vec<Level> {
        vec![Level::full(self.size())]
    }

    /// Which maker's format the file follows: `aperio`, `ome-tiff`, `generic-tiff` or another name.
    fn vendor(&self) -> &'static str {
        "generic"
    }

    /// What the file says about itself in words, such as TIFF's `ImageDescription`.
    fn description(&self) -> Option<&str> {
        None
    }

    /// Images that belong to the slide but are no part of it, such as `label`, `macro` and `thumbnail`.
    fn associated_images(&self) -> Vec<AssociatedImage> {
        Vec::new()
    }

    /// One of the [associated images](RasterReader::associated_images), `[height, width, bands]`.
    fn read_associated(&self, name: &str) -> Result<Array3<u8>> {
        Err(Error::usage(self.path(), format!("no associated image {name:?}")))
    }

    /// Pixels of `window` as `[height, width, bands]`; pixels off the slide are 0.
    fn read(&self, window: Window) -> Result<Array3<u8>> {
        self.read_array(window, &ReadOptions::default())
    }

    /// The same into an existing `[height, width, bands]` array, whose old content is overwritten.
    fn read_into(&self, window: Window, out: ArrayViewMut3<'_, u8>) -> Result<()> {
        self.read_with(window, &ReadOptions::default(), out)
    }

    /// [`RasterReader::read_with`] into a new array.
    fn read_array(&self, window: Window, options: &ReadOptions<'_>) -> Result<Array3<u8>> {
        let mut out = black_array(self.path(), window.size(), options.n_bands(self.bands()))?;
        self.read_with(window, options, out.view_mut())?;
        Ok(out)
    }

    /// Samples of up to 16 bits as they are: those of 8 bits stay in 0 to 255.
    fn read_u16(&self, window: Window, options: &ReadOptions<'_>) -> Result<Array3<u16>> {
        Ok(self.read_array(window, options)?.mapv(u16::from))
    }

    /// Pixels of `window`, which is given at full resolution, averaged over areas of `factor` × `factor` pixels:
    /// `[height / factor, width / factor, bands]`.
    ///
    /// Gives the bytes of [`area_downscale`] applied to [`RasterReader::read`], in bounded memory. A reduced level is
    /// used only if [`ScaleOptions::levels`] allows it.
    fn read_scaled(&self, window: Window, factor: u32, options: &ScaleOptions<'_>) -> Result<Array3<u8>> {
        scaled(self, window, factor, options, MAX_HELD_PX)
    }
}

/// How to read a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadOptions<'a> {
    /// Index into [`RasterReader::levels`]; windows are in pixels of that level.
    pub level: usize,
    /// Value of the samples off the image.
    pub fill: u16,
    /// The bands to read, in the order wanted; all of them if `None`.
    pub bands: Option<&'a [usize]>,
}

impl ReadOptions<'_> {
    /// Number of bands that come out of a slide of `n_bands`.
    pub fn n_bands(&self, n_bands: usize) -> usize {
        self.bands.map_or(n_bands, <[usize]>::len)
    }

    /// Refuses what no reader of `n_levels` levels and `n_bands` bands can do; `shape` is that of the array to fill.
    pub fn check(
        &self,
        path: &Path,
        window: Window,
        n_levels: usize,
        n_bands: usize,
        shape: (usize, usize, usize),
    ) -> Result<()> {
        if window.width == 0 || window.height == 0 {
            return Err(Error::usage(path, format!("window {window} is empty")));
        }
        if self.level >= n_levels {
            return Err(Error::usage(path, format!("no level {} among {n_levels}", self.level)));
        }
        let bands = self.bands.unwrap_or_default();
        if let Some(band) = bands.iter().find(|&&band| band >= n_bands) {
            return Err(Error::usage(path, format!("no band {band} among {n_bands}")));
        }
        let needed = (window.height as usize, window.width as usize, self.n_bands(n_bands));
        if shape != needed || needed.2 == 0 {
            return Err(Error::usage(
                path,
                format!("an array of {shape:?} for a window that needs {needed:?}"),
            ));
        }
        Ok(())
    }

    /// [`ReadOptions::fill`] for 8-bit samples.
    pub fn fill_u8(&self, path: &Path) -> Result<u8> {
        u8::try_from(self.fill)
            .map_err(|_| Error::usage(path, format!("fill value {} for samples of 8 bits", self.fill)))
    }
}

/// How to reduce a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScaleOptions<'a> {
    /// Which levels may stand for the full resolution.
    pub levels: LevelUse,
    /// Value of the samples off the slide.
    pub fill: u16,
    /// The bands to read, in the order wanted; all of them if `None`.
    pub bands: Option<&'a [usize]>,
}

/// Which levels of a pyramid a reduced read may start from.
///
/// Files do not say how their levels were made, and most are lossy copies by unknown filters, a fraction of a pixel
/// off: what comes from them differs from an average of the slide's pixels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LevelUse {
    /// Full resolution, and levels that are known to be its exact averages ([`Level::is_exact`]).
    #[default]
    Exact,
    /// The smallest level whose downsample divides the factor, if the window lies on its pixels.
    Any,
}

/// One resolution of a slide.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Level {
    /// Width and height of this level in its own pixels.
    pub size: Size,
    /// Full-resolution pixels per pixel of this level, the mean of both directions; 1 for full resolution.
    pub downsample: f64,
    /// Whether its pixels are exactly the rounded means of full-resolution pixels.
    pub is_exact: bool,
}

impl Level {
    /// Full resolution.
    pub const fn full(size: Size) -> Self {
        Self { size, downsample: 1.0, is_exact: true }
    }

    /// A reduced copy of a slide of size `full`, made in an unknown way.
    pub fn reduced(size: Size, full: Size) -> Self {
        let ratio = |full: u32, reduced: u32| full as f64 / reduced.max(1) as f64;
        let downsample = f64::midpoint(ratio(full.width, size.width), ratio(full.height, size.height));
        Self { size, downsample, is_exact: false }
    }

    /// The whole number of full-resolution pixels per pixel, if this is the whole slide reduced by one.
    ///
    /// Sides that the number does not divide may have been rounded either way.
    fn whole_downsample(&self, full: Size) -> Option<u32> {
        let step = self.downsample.round() as u32;
        let fits =
            |full: u32, reduced: u32| reduced == full / step.max(1) || reduced == full.div_ceil(step.max(1));
        (fits(full.width, self.size.width) && fits(full.height, self.size.height)).then_some(step)
    }
}

/// An image beside the slide.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AssociatedImage {
    /// `label`, `macro`, `thumbnail` or what the file calls it.
    pub name: String,
    /// Width and height in pixels.
    pub size: Size,
}

impl AssociatedImage {
    /// An image of a name and size.
    pub fn new(name: &str, size: Size) -> Self {
        Self { name: name.to_owned(), size }
    }
}

/// Opens a slide or mask in a local file; the format is recognised by content, not by name.
///
/// [`Location::open`](crate::Location::open) does so for files and addresses.
pub fn open(path: &Path) -> Result<Box<dyn RasterReader>> {
    Ok(Box::new(TiffSlide::open(path)?))
}

/// A black `[height, width, bands]` array, or an error if there is no memory for one.
pub(crate) fn black_array(path: &Path, size: Size, n_bands: usize) -> Result<Array3<u8>> {
    let shape = (size.height as usize, size.width as usize, n_bands);
    Array3::from_shape_vec(shape, black(path, size, n_bands)?).map_err(|e| Error::usage(path, e.to_string()))
}

/// Full-resolution pixels that a reduced read holds at once, about.
const MAX_HELD_PX: u64 = 16 << 20;

/// [`RasterReader::read_scaled`] of a reader that holds about `max_held_px` pixels of the full resolution at once.
pub(crate) fn scaled<R: RasterReader + ?Sized>(
    reader: &R,
    window: Window,
    factor: u32,
    options: &ScaleOptions<'_>,
    max_held_px: u64,
) -> Result<Array3<u8>> {
    let path = reader.path();
    if factor == 0 {
        return Err(Error::usage(path, "a reduction by the factor 0"));
    }
    if window.width < factor || window.height < factor {
        return Err(Error::usage(path, format!("window {window} is smaller than the factor {factor}")));
    }
    let start = start_of(reader, window, factor, options.levels);
    let Start { level, window, factor } = start;
    let read = ReadOptions { level, fill: options.fill, bands: options.bands };
    let max_held_px = if level == 0 { max_held_px } else { MAX_HELD_PX };
    // Rows come in bands of whole output rows, unless output rows are cut across input rows.
    let rows_at_once = match window.height % factor {
        0 => (max_held_px / (window.width as u64 * factor as u64)).max(1) as u32 * factor,
        _ => window.height,
    };
    let n_bands = read.n_bands(reader.bands());
    let mut out = black_array(path, Size::new(window.width / factor, window.height / factor), n_bands)?;
    let mut held = black_array(path, Size::new(window.width, rows_at_once.min(window.height)), n_bands)?;
    let mut done = 0;
    while done < window.height {
        let height = rows_at_once.min(window.height - done);
        let rows = Window { y: window.y.saturating_add(done as i64), height, ..window };
        let mut pixels = held.slice_mut(s![..height as usize, .., ..]);
        reader.read_with(rows, &read, pixels.view_mut())?;
        let (first, last) = ((done / factor) as usize, ((done + height) / factor) as usize);
        out.slice_mut(s![first..last, .., ..]).assign(&area_downscale(pixels.view(), factor));
        done += height;
    }
    Ok(out)
}

/// A level, and what to read and reduce there.
struct Start {
    level: usize,
    window: Window,
    factor: u32,
}

/// The smallest level that may be used for a reduction of `window` by `factor`.
fn start_of<R: RasterReader + ?Sized>(reader: &R, window: Window, factor: u32, levels: LevelUse) -> Start {
    let full = reader.size();
    let usable = |(level, found): (usize, &Level)| {
        let step = found.whole_downsample(full).filter(|&step| step > 1)?;
        // Means of means are exact only where no second mean is taken.
        let is_allowed = levels == LevelUse::Any || (found.is_exact && step == factor);
        let on_pixels = |at: i64, len: u32| at % i64::from(step) == 0 && len.is_multiple_of(step);
        let fits = factor.is_multiple_of(step)
            && on_pixels(window.x, window.width)
            && on_pixels(window.y, window.height);
        // An exact level knows nothing of pixels off the slide.
        let is_inside = levels == LevelUse::Any || full.window().intersect(&window) == Some(window);
        let scaled = Window {
            x: window.x / i64::from(step),
            y: window.y / i64::from(step),
            width: window.width / step,
            height: window.height / step,
        };
        (is_allowed && fits && is_inside)
            .then_some((step, Start { level, window: scaled, factor: factor / step }))
    };
    let levels = reader.levels();
    let best = levels.iter().enumerate().filter_map(usable).max_by_key(|(step, _)| *step);
    best.map_or(Start { level: 0, window, factor }, |(_, start)| start)
}
