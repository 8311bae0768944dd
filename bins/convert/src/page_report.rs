//! What is known of one page of a TIFF file, and of its pixels.

use anyhow::Result;
use hubmap_io::{PageInfo, RawSamples, Size, TiffFile, Window};
use ndarray::Axis;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// Decoded bytes that are held at once, unless a chunk of the page has more.
const BAND_BYTES: u64 = 64 << 20;

/// One page. Names and values follow the tags of TIFF and the types of `NumPy`.
#[derive(Debug, Serialize)]
pub(crate) struct PageReport {
    /// `0`, `1`, … in the chain, `0/sub0` for children.
    pub(crate) ifd: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) samples_per_pixel: u32,
    pub(crate) bits_per_sample: u32,
    pub(crate) sample_format: u32,
    pub(crate) compression: u32,
    pub(crate) compression_name: &'static str,
    pub(crate) predictor: u32,
    pub(crate) planar_config: u8,
    pub(crate) photometric: u32,
    pub(crate) photometric_name: &'static str,
    /// `tiled` or `strip`.
    pub(crate) layout: &'static str,
    /// Columns and rows of a tile, or of a strip.
    pub(crate) chunk: [u32; 2],
    pub(crate) subfile_type: u32,
    pub(crate) microns_per_px: Option<f64>,
    /// `[height, width, samples]` as decoded.
    pub(crate) shape: [u64; 3],
    /// Type of a decoded sample.
    pub(crate) dtype: String,
    #[serde(flatten)]
    pub(crate) pixels: Option<PixelReport>,
    /// Why the pixels cannot be decoded, where that was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// What the decoded samples of a page come to: `[height, width, samples]` in row-major order, the machine's byte
/// order; 1-bit samples as bytes 0 and 1, other sub-byte and odd sizes in the next wider type; predictors undone,
/// YCbCr of JPEG as RGB, no palette lookup, no inversion.
#[derive(Debug, Serialize)]
pub(crate) struct PixelReport {
    pub(crate) sha256: String,
    pub(crate) mean_per_channel: Vec<f64>,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// Row, column and samples of the corners and of two pixels inside.
    pub(crate) probe: Vec<(u64, u64, Vec<f64>)>,
}

impl PageReport {
    /// Describes page `idx`; decodes it if `with_pixels`.
    pub(crate) fn new(file: &TiffFile, idx: usize, with_pixels: bool) -> Self {
        let page = &file.pages()[idx];
        let kind = SampleKind::of(page);
        let pixels = with_pixels.then(|| PixelReport::new(file, idx, kind)).transpose();
        let (pixels, error) = match pixels {
            Ok(pixels) => (pixels, None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        Self {
            ifd: page.name.clone(),
            width: page.size.width,
            height: page.size.height,
            samples_per_pixel: page.bands,
            bits_per_sample: page.bits,
            sample_format: page.sample_format,
            compression: page.compression,
            compression_name: page.compression_name(),
            predictor: page.predictor,
            planar_config: if page.is_planar { 2 } else { 1 },
            photometric: page.photometric,
            photometric_name: page.photometric_name(),
            layout: if page.is_tiled { "tiled" } else { "strip" },
            chunk: [page.chunk.width, page.chunk.height],
            subfile_type: page.subfile_type,
            microns_per_px: page.microns_per_px,
            shape: [page.size.height.into(), page.size.width.into(), page.bands.into()],
            dtype: kind.name(),
            pixels,
            error,
        }
    }
}

/// Type of a decoded sample.
#[derive(Debug, Clone, Copy)]
struct SampleKind {
    /// `uint`, `int` or `float`.
    family: &'static str,
    /// Bytes.
    len: usize,
}

impl SampleKind {
    fn of(page: &PageInfo) -> Self {
        let family = match page.sample_format {
            2 => "int",
            3 => "float",
            _ => "uint",
        };
        Self { family, len: (page.bits.clamp(1, 64) as usize).div_ceil(8).next_power_of_two() }
    }

    fn name(self) -> String {
        format!("{}{}", self.family, 8 * self.len)
    }

    /// The value of a sample in the machine's byte order.
    fn value(self, bytes: &[u8]) -> f64 {
        let mut wide = [0; 8];
        let (first, n) =
            if cfg!(target_endian = "big") { (8 - bytes.len(), bytes.len()) } else { (0, bytes.len()) };
        wide[first..first + n].copy_from_slice(bytes);
        let bits = u64::from_ne_bytes(wide);
        let unused = 64 - 8 * n as u32;
        match (self.family, n) {
            ("float", 2) => half(bits as u16),
            ("float", 4) => f64::from(f32::from_bits(bits as u32)),
            ("float", 8) => f64::from_bits(bits),
            ("int", _) => ((bits << unused) as i64 >> unused) as f64,
            _ => bits as f64,
        }
    }
}

/// A number of 16 bits (IEEE 754 binary16).
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    sign * match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
    }
}

impl PixelReport {
    fn new(file: &TiffFile, idx: usize, kind: SampleKind) -> Result<Self> {
        let page = &file.pages()[idx];
        let Size { width, height } = page.size;
        let row_len = u64::from(width) * u64::from(page.bands) * kind.len as u64;
        let chunk_rows = page.chunk.height.clamp(1, height.max(1));
        let n_chunks = (BAND_BYTES / (row_len * u64::from(chunk_rows)).max(1)).max(1);
        let band_rows =
            u32::try_from(n_chunks * u64::from(chunk_rows)).unwrap_or(u32::MAX).min(height.max(1));
        let mut sums = Sums::new(page);
        let mut y = 0;
        loop {
            let n_rows = band_rows.min(height - y);
            let samples = file.read_page_window(idx, Window::new(0, y.into(), width, n_rows))?;
            sums.add(&samples, y, kind);
            y += n_rows;
            if y >= height {
                break;
            }
        }
        Ok(sums.finish(page))
    }
}

/// Running sums over bands of rows.
struct Sums {
    hash: Sha256,
    totals: Vec<f64>,
    min: f64,
    max: f64,
    places: Vec<(u64, u64)>,
    probe: Vec<(u64, u64, Vec<f64>)>,
}

impl Sums {
    fn new(page: &PageInfo) -> Self {
        let (height, width) = (u64::from(page.size.height), u64::from(page.size.width));
        let last = (height.saturating_sub(1), width.saturating_sub(1));
        let mut places = vec![(0, 0), (height / 3, 2 * width / 3), (height / 2, width / 2), last];
        places.dedup();
        Self {
            hash: Sha256::new(),
            totals: vec![0.0; page.bands as usize],
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            places,
            probe: Vec::new(),
        }
    }

    fn add(&mut self, samples: &RawSamples, y0: u32, kind: SampleKind) {
        match samples.bytes.as_slice() {
            Some(bytes) => self.hash.update(bytes),
            None => samples.bytes.iter().for_each(|byte| self.hash.update([*byte])),
        }
        let len = samples.sample_len;
        for pixel in samples.bytes.lanes(Axis(2)) {
            let Some(pixel) = pixel.to_slice() else { continue };
            for (sum, sample) in self.totals.iter_mut().zip(pixel.chunks_exact(len)) {
                let value = kind.value(sample);
                *sum += value;
                self.min = self.min.min(value);
                self.max = self.max.max(value);
            }
        }
        let n_rows = u64::from(samples.size.height);
        let held = self.places.iter().filter_map(|&(y, x)| {
            let row = y.checked_sub(y0.into()).filter(|&row| row < n_rows)?;
            let pixel = samples.bytes.slice(ndarray::s![row as usize, x as usize, ..]);
            let pixel = pixel.to_vec();
            Some((y, x, pixel.chunks_exact(len).map(|sample| kind.value(sample)).collect()))
        });
        self.probe.extend(held);
    }

    fn finish(self, page: &PageInfo) -> PixelReport {
        let n_px = page.size.area().max(1) as f64;
        let digits = self.hash.finalize();
        let hex =
            |byte: &u8| [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('?'));
        PixelReport {
            sha256: digits.iter().flat_map(hex).collect(),
            mean_per_channel: self.totals.iter().map(|sum| sum / n_px).collect(),
            min: self.min,
            max: self.max,
            probe: self.probe,
        }
    }
}
