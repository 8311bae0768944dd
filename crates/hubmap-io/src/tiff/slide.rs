//! The full-resolution image of a TIFF file and what belongs to it.

use std::path::Path;
use std::sync::Arc;

use ndarray::{Array3, ArrayViewMut3, Axis, s};

use super::file::TiffFile;
use super::image::Image;
use super::info::PageInfo;
use super::roles::{Roles, roles};
use super::source::Source;
use crate::raster::black_array;
use crate::{
    AssociatedImage, ByteSource, Error, Level, RasterReader, ReadOptions, Result, SampleKind, Size, Window,
};

/// A slide or mask in a TIFF file, read by windows.
///
/// The image is the first page of the chain that is neither a reduced copy nor a transparency mask, or what OME-XML
/// says it is; three or more single-band 8-bit pages of one size are the R, G and B of one slide. Reduced copies, in
/// the chain or as `SubIFDs`, are its [levels](RasterReader::levels); label, macro and thumbnail are
/// [beside it](RasterReader::associated_images). Pixels are 8-bit RGB (palette and CMYK converted, alpha dropped) or
/// gray; 1-bit masks read as 0 and 1. Where white is stored as 0, values are inverted, so that white is always the
/// highest one. Samples of 9 to 16 bits are read as they are, with [`RasterReader::read_u16`].
///
/// Reads take `&self` and hold no lock: any number of threads may share one slide. A read that needs several tiles
/// or strips decodes them in parallel on the current rayon pool.
#[derive(Debug)]
pub struct TiffSlide {
    source: Source,
    info: PageInfo,
    vendor: &'static str,
    description: Option<String>,
    /// From the largest; the first is the slide.
    levels: Vec<(Level, Image)>,
    associated: Vec<(AssociatedImage, Image)>,
}

impl TiffSlide {
    /// Opens the slide in a TIFF file.
    pub fn open(path: &Path) -> Result<Self> {
        Self::from_file(TiffFile::open(path)?)
    }

    /// Opens the slide in bytes from anywhere; `name` stands for the file in messages.
    pub fn from_source(name: &Path, bytes: Arc<dyn ByteSource>) -> Result<Self> {
        Self::from_file(TiffFile::from_source(name, bytes)?)
    }

    fn from_file(mut file: TiffFile) -> Result<Self> {
        let Roles { levels: level_pages, associated, vendor } = roles(&mut file)?;
        let [base, copies @ ..] = level_pages.as_slice() else {
            return Err(Error::format(file.path(), "no image"));
        };
        let image = Image::new(&file, base)?;
        let (size, bands, sample_kind) = (image.size, image.bands, image.sample_kind);
        let mut levels = vec![(Level::full(size), image)];
        // The slide is readable without a copy of it that is not.
        for pages in copies {
            let Ok(copy) = Image::new(&file, pages) else { continue };
            if (copy.bands, copy.sample_kind) == (bands, sample_kind) {
                let mut level = Level::reduced(copy.size, size);
                // Our writer says that it took means; those of means are rounded twice.
                level.is_exact = pages.iter().all(|&idx| file.has_exact_means(idx))
                    && copy.size == Size::new(size.width.div_ceil(2), size.height.div_ceil(2));
                levels.push((level, copy));
            }
        }
        let associated = associated.iter().filter_map(|(name, page)| {
            let image =
                Image::new(&file, &[*page]).ok().filter(|image| image.sample_kind == SampleKind::U8)?;
            Some((AssociatedImage::new(name, image.size), image))
        });
        let associated = associated.collect();
        let info = file.pages()[base[0]].clone();
        let description = file.description(base[0]);
        Ok(Self { source: file.source, info, vendor, description, levels, associated })
    }

    /// What the page of the image says about itself; of several pages, the first.
    pub fn info(&self) -> &PageInfo {
        &self.info
    }

    fn image(&self) -> &Image {
        &self.levels[0].1
    }

    /// Fills the part of `out`, `[height, width, bytes per pixel]`, that lies on the image.
    fn read_part(
        &self,
        window: Window,
        options: &ReadOptions<'_>,
        mut out: ArrayViewMut3<'_, u8>,
    ) -> Result<()> {
        let image = &self.levels[options.level].1;
        let Some(inside) = image.size.window().intersect(&window) else { return Ok(()) };
        let x = (inside.x - window.x) as usize;
        let y = (inside.y - window.y) as usize;
        let (width, height) = (inside.width as usize, inside.height as usize);
        let out = out.slice_mut(s![y..y + height, x..x + width, ..]);
        image.read(&self.source, inside, options.bands, out)
    }

    /// Whether all pixels of the window lie on the level.
    fn is_inside(&self, window: Window, level: usize) -> bool {
        self.levels[level].1.size.window().intersect(&window) == Some(window)
    }

    fn refuse_wide(&self) -> Result<()> {
        if self.image().sample_kind == SampleKind::U8 {
            return Ok(());
        }
        Err(self.source.unsupported(format!(
            "BitsPerSample (tag 258) = {} as 8-bit pixels, page {}; read_u16 reads them",
            self.info.bits, self.info.name
        )))
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
        self.image().bands
    }

    fn microns_per_px(&self) -> Option<f64> {
        self.info.microns_per_px
    }

    fn read_with(
        &self,
        window: Window,
        options: &ReadOptions<'_>,
        mut out: ArrayViewMut3<'_, u8>,
    ) -> Result<()> {
        options.check(self.path(), window, self.levels.len(), self.bands(), out.dim())?;
        self.refuse_wide()?;
        if !self.is_inside(window, options.level) {
            out.fill(options.fill_u8(self.path())?);
        }
        self.read_part(window, options, out)
    }

    fn sample_kind(&self) -> SampleKind {
        self.image().sample_kind
    }

    fn chunk_size(&self) -> Size {
        self.info.chunk
    }

    fn levels(&self) -> Vec<Level> {
        self.levels.iter().map(|(level, _)| *level).collect()
    }

    fn vendor(&self) -> &'static str {
        self.vendor
    }

    fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    fn associated_images(&self) -> Vec<AssociatedImage> {
        self.associated.iter().map(|(image, _)| image.clone()).collect()
    }

    fn read_associated(&self, name: &str) -> Result<Array3<u8>> {
        let Some((_, image)) = self.associated.iter().find(|(image, _)| image.name == name) else {
            let names: Vec<_> = self.associated.iter().map(|(image, _)| image.name.as_str()).collect();
            return Err(Error::usage(self.path(), format!("no associated image {name:?} among {names:?}")));
        };
        let mut out = black_array(self.path(), image.size, image.bands)?;
        image.read(&self.source, image.size.window(), None, out.view_mut())?;
        Ok(out)
    }

    fn read_array(&self, window: Window, options: &ReadOptions<'_>) -> Result<Array3<u8>> {
        let n_bands = options.n_bands(self.bands());
        let shape = (window.height as usize, window.width as usize, n_bands);
        options.check(self.path(), window, self.levels.len(), self.bands(), shape)?;
        self.refuse_wide()?;
        let mut out = black_array(self.path(), window.size(), n_bands)?;
        let fill = options.fill_u8(self.path())?;
        if fill != 0 && !self.is_inside(window, options.level) {
            out.fill(fill);
        }
        self.read_part(window, options, out.view_mut())?;
        Ok(out)
    }

    fn read_u16(&self, window: Window, options: &ReadOptions<'_>) -> Result<Array3<u16>> {
        if self.sample_kind() == SampleKind::U8 {
            return Ok(self.read_array(window, options)?.mapv(u16::from));
        }
        let n_bands = options.n_bands(self.bands());
        let shape = (window.height as usize, window.width as usize, n_bands);
        options.check(self.path(), window, self.levels.len(), self.bands(), shape)?;
        // Room for the samples is checked before it is taken.
        let mut bytes = black_array(self.path(), window.size(), 2 * n_bands)?;
        if options.fill != 0 && !self.is_inside(window, options.level) {
            let fill = options.fill.to_ne_bytes();
            bytes.lanes_mut(Axis(2)).into_iter().for_each(|mut pixel| {
                pixel.iter_mut().zip(fill.iter().cycle()).for_each(|(byte, &fill)| *byte = fill);
            });
        }
        self.read_part(window, options, bytes.view_mut())?;
        Ok(samples_u16(&bytes))
    }
}

/// Pairs of bytes in the machine's order as samples.
fn samples_u16(bytes: &Array3<u8>) -> Array3<u16> {
    let (height, width, len) = bytes.dim();
    Array3::from_shape_fn((height, width, len / 2), |(y, x, band)| {
        u16::from_ne_bytes([bytes[(y, x, 2 * band)], bytes[(y, x, 2 * band + 1)]])
    })
}
