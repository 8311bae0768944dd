//! A TIFF file as a list of pages.

use std::path::Path;
use std::sync::Arc;

use ndarray::Array3;

use super::ifd::{self, Chain, Directory, Encoding};
use super::info::PageInfo;
use super::page::Page;
use super::region;
use super::samples::Pixels;
use super::source::Source;
use crate::raster::black_array;
use crate::{ByteSource, Error, Result, Size, Window};

/// An open TIFF file with all its pages: for looking at files; slides are read with [`TiffSlide`](super::TiffSlide).
#[derive(Debug)]
pub struct TiffFile {
    pub(super) source: Source,
    pub(super) encoding: Encoding,
    directories: Vec<Directory>,
    pub(super) damage: Option<Error>,
    pages: Vec<PageInfo>,
}

/// Samples of a page as it stores them: no palette lookup, no inversion, no scaling.
///
/// Predictors are undone, and `YCbCr` of JPEG streams or with subsampled chroma is converted to RGB.
#[derive(Debug, Clone, PartialEq)]
pub struct RawSamples {
    /// Width and height in pixels.
    pub size: Size,
    /// Samples per pixel.
    pub bands: usize,
    /// Bytes per sample: 1 for up to 8 bits, 2 for up to 16, then 4 and 8.
    pub sample_len: usize,
    /// `[height, width, bands * sample_len]`, samples in the machine's byte order.
    pub bytes: Array3<u8>,
}

impl TiffFile {
    /// Opens a file and reads its directories; the first must be whole, later ones see [`TiffFile::damage`].
    pub fn open(path: &Path) -> Result<Self> {
        Self::read(Source::open(path)?)
    }

    /// The same of bytes from anywhere; `name` stands for the file in messages.
    pub fn from_source(name: &Path, bytes: Arc<dyn ByteSource>) -> Result<Self> {
        Self::read(Source::new(name, bytes))
    }

    fn read(source: Source) -> Result<Self> {
        let Chain { encoding, directories, damage } = ifd::directories(&source)?;
        let pages = directories.iter().map(|directory| PageInfo::read(&source, directory)).collect();
        Ok(Self { source, encoding, directories, damage, pages })
    }

    /// The file's name.
    pub fn path(&self) -> &Path {
        self.source.path()
    }

    /// Whether offsets have 64 bits.
    pub fn is_big(&self) -> bool {
        self.encoding.is_big
    }

    /// Whether numbers are stored with their most significant byte first.
    pub fn is_big_endian(&self) -> bool {
        self.encoding.big_endian
    }

    /// What each page says about itself: the chain in order, `SubIFDs` after their parent.
    pub fn pages(&self) -> &[PageInfo] {
        &self.pages
    }

    /// What kept the rest of the pages from being found, such as a loop or a missing end of the file.
    pub fn damage(&self) -> Option<&Error> {
        self.damage.as_ref()
    }

    /// The `ImageDescription` of a page, if it has one.
    pub fn description(&self, page_idx: usize) -> Option<String> {
        self.directories.get(page_idx)?.text(&self.source, super::tag::IMAGE_DESCRIPTION)
    }

    /// Whether a page says that it holds the rounded means of 2 × 2 pixels of the level before.
    pub(super) fn has_exact_means(&self, page_idx: usize) -> bool {
        let directory = self.directories.get(page_idx);
        directory.and_then(|directory| directory.text(&self.source, super::tag::SOFTWARE)).as_deref()
            == Some(EXACT_MEANS)
    }

    /// All samples of a page.
    pub fn read_page(&self, page_idx: usize) -> Result<RawSamples> {
        let page = self.page(page_idx)?;
        self.read_page_window(page_idx, page.size.window())
    }

    /// The samples of a page inside `window`, which must not leave the page.
    pub fn read_page_window(&self, page_idx: usize, window: Window) -> Result<RawSamples> {
        let page = self.page(page_idx)?;
        if page.size.window().intersect(&window) != Some(window) {
            return Err(Error::usage(
                self.path(),
                format!("window {window} leaves page {} of {}", page.name, page.size),
            ));
        }
        let pixels = Pixels::raw(&page);
        let bytes_per_pixel = pixels.bytes_per_pixel(&page);
        let mut bytes = black_array(self.path(), window.size(), bytes_per_pixel)?;
        region::read(&self.source, &page, &pixels, window, bytes.view_mut())?;
        let sample_len = bytes_per_pixel / page.bands;
        Ok(RawSamples { size: window.size(), bands: page.bands, sample_len, bytes })
    }

    /// The checked form of a page.
    pub(super) fn page(&self, page_idx: usize) -> Result<Page> {
        let directory = self.directories.get(page_idx).ok_or_else(|| {
            Error::usage(self.path(), format!("no page {page_idx} among {}", self.directories.len()))
        })?;
        Page::read(&self.source, self.encoding, directory)
    }
}

/// What our writer notes as the `Software` of levels that lost nothing but the rounding of their means.
pub(super) const EXACT_MEANS: &str = "hubmap-io, lossless means of 2x2 pixels";
