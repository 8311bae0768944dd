//! A page that has been checked and can be decoded.

use std::ops::Range;

use super::fax::FaxCode;
use super::ifd::{Directory, Encoding};
use super::info::PageInfo;
use super::old_jpeg;
use super::predictor::Predictor;
use super::source::Source;
use super::tag::{self, codec, photometric};
use super::ycbcr::{Blocks, Ycbcr};
use crate::{Result, Size};

/// Most samples per pixel that are read.
const MAX_BANDS: u32 = 4096;

/// Codecs that are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    None,
    Lzw,
    PackBits,
    Deflate,
    Zstd,
    Jpeg,
    #[cfg(feature = "jpeg2000")]
    Jpeg2000 {
        is_ycbcr: bool,
    },
    Lzma,
    WebP,
    Fax(FaxCode),
}

/// Three bytes for every sample value of a palette page.
pub(super) type Palette = Vec<[u8; 3]>;

/// Everything needed to decode the chunks of one page; the geometry has been checked against the file.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a yes or no of the format, and all combinations occur"
)]
pub(super) struct Page {
    pub(super) name: String,
    pub(super) encoding: Encoding,
    pub(super) size: Size,
    /// Samples per pixel.
    pub(super) bands: usize,
    /// Bits per sample.
    pub(super) bits: usize,
    pub(super) sample_format: u32,
    pub(super) codec: Codec,
    /// How samples were made smaller before they were compressed.
    pub(super) predictor: Option<Predictor>,
    pub(super) photometric: u32,
    /// Whether each band has chunks of its own.
    pub(super) is_planar: bool,
    pub(super) is_tiled: bool,
    /// Whether the lowest bit of each byte comes first.
    pub(super) bits_reversed: bool,
    /// Columns and rows of a full chunk.
    pub(super) chunk: Size,
    /// Chunks per row of chunks.
    pub(super) across: usize,
    /// Rows of chunks in one plane.
    pub(super) down: usize,
    /// First byte of each chunk: row by row, plane after plane.
    pub(super) offsets: Vec<u64>,
    /// Bytes of each chunk.
    pub(super) byte_counts: Vec<u64>,
    /// Quantisation and Huffman tables that JPEG chunks share, as a stream of their own.
    pub(super) jpeg_tables: Vec<u8>,
    /// Whether JPEG chroma is repeated rather than interpolated, and left to [`Ycbcr`] to convert.
    ///
    /// So does libtiff with the old JPEG streams that only it can put together.
    pub(super) has_blocky_chroma: bool,
    pub(super) palette: Palette,
    /// How samples become RGB, unless JPEG streams see to it.
    pub(super) ycbcr: Option<Ycbcr>,
}

impl Page {
    /// Reads and checks all tags that decoding needs.
    pub(super) fn read(source: &Source, encoding: Encoding, directory: &Directory) -> Result<Self> {
        let info = PageInfo::read(source, directory);
        let name = &info.name;
        check_geometry(source, &info)?;
        let codec = codec_of(source, directory, &info)?;
        let bits = bits_of(source, directory, &info)?;
        let ycbcr = ycbcr_of(source, directory, &info, codec, bits)?;
        if matches!(codec, Codec::Fax(_)) && (bits, info.bands) != (1, 1) {
            return Err(source
                .unsupported(format!("fax codes with {} samples of {bits} bits, page {name}", info.bands)));
        }
        let predictor = predictor_of(source, &info, codec, bits)?;
        let is_planar = info.is_planar && info.bands > 1;
        let across = info.size.width.div_ceil(info.chunk.width) as usize;
        let down = info.size.height.div_ceil(info.chunk.height) as usize;
        let n_planes = if is_planar { info.bands as usize } else { 1 };
        let n_chunks = across
            .checked_mul(down)
            .and_then(|n| n.checked_mul(n_planes))
            .ok_or_else(|| source.format(format!("page {name} of {} has too many chunks", info.size)))?;

        let mut page = Self {
            name: name.clone(),
            encoding,
            size: info.size,
            bands: info.bands as usize,
            bits,
            sample_format: info.sample_format,
            codec,
            predictor,
            photometric: info.photometric,
            is_planar,
            is_tiled: info.is_tiled,
            bits_reversed: directory.number(source, tag::FILL_ORDER)? == Some(2) && codec != Codec::Jpeg,
            chunk: info.chunk,
            across,
            down,
            offsets: Vec::new(),
            byte_counts: Vec::new(),
            jpeg_tables: Vec::new(),
            has_blocky_chroma: false,
            palette: palette(source, directory, &info)?,
            ycbcr,
        };
        page.read_chunk_table(source, directory, n_chunks)?;
        if info.compression == u32::from(codec::OLD_JPEG) {
            old_jpeg::assemble(&mut page, source, directory)?;
        } else if codec == Codec::Jpeg {
            page.jpeg_tables = directory.bytes(source, tag::JPEG_TABLES)?.unwrap_or_default();
        }
        Ok(page)
    }

    fn read_chunk_table(&mut self, source: &Source, directory: &Directory, n_chunks: usize) -> Result<()> {
        // Old writers put tiles under the strip tags and the other way round; libtiff reads both.
        let either = |first, second| match directory.numbers(source, first)? {
            Some(values) => Ok(Some(values)),
            None => directory.numbers(source, second),
        };
        let (mut offsets, counts) = if self.is_tiled {
            (
                either(tag::TILE_OFFSETS, tag::STRIP_OFFSETS)?,
                either(tag::TILE_BYTE_COUNTS, tag::STRIP_BYTE_COUNTS)?,
            )
        } else {
            (
                either(tag::STRIP_OFFSETS, tag::TILE_OFFSETS)?,
                either(tag::STRIP_BYTE_COUNTS, tag::TILE_BYTE_COUNTS)?,
            )
        };
        if offsets.is_none()
            && self.codec == Codec::Jpeg
            && let Some((start, length)) = old_jpeg::thumbnail_chunk(source, directory)?
        {
            (self.offsets, self.byte_counts) = (vec![start], vec![length]);
            return Ok(());
        }
        let Some(offsets) = offsets.as_mut() else {
            return Err(source.format(format!("page {} has no table of chunk offsets", self.name)));
        };
        if offsets.len() < n_chunks {
            return Err(source.format(format!(
                "page {} has {} {} offsets, expected {n_chunks}",
                self.name,
                offsets.len(),
                self.chunk_word()
            )));
        }
        offsets.truncate(n_chunks);
        let byte_counts = match counts {
            Some(counts) if self.are_implausible(&counts, offsets) => self.guess_byte_counts(source, offsets),
            Some(mut counts) if counts.len() >= n_chunks => {
                counts.truncate(n_chunks);
                counts
            }
            Some(counts) => {
                return Err(source.format(format!(
                    "page {} has {} {} byte counts, expected {n_chunks}",
                    self.name,
                    counts.len(),
                    self.chunk_word()
                )));
            }
            None => self.guess_byte_counts(source, offsets),
        };
        self.offsets = std::mem::take(offsets);
        self.byte_counts = byte_counts;
        Ok(())
    }

    /// Whether the byte counts of strips look wrong in one of the ways that libtiff works around.
    fn are_implausible(&self, counts: &[u64], offsets: &[u64]) -> bool {
        match (counts, offsets) {
            _ if self.is_tiled => false,
            (&[count], &[offset]) => {
                let stored = self.packed_span(0..self.chunk_rows(0) as usize).end;
                offset != 0 && (count == 0 || self.codec == Codec::None && count < stored)
            }
            (&[first, second, _, ..], _) => {
                self.codec == Codec::None && !self.is_planar && first != second && first != 0 && second != 0
            }
            _ => false,
        }
    }

    /// Byte counts of a file that does not state them: known for stored samples, else up to the next chunk.
    fn guess_byte_counts(&self, source: &Source, offsets: &[u64]) -> Vec<u64> {
        let mut starts = offsets.to_vec();
        starts.sort_unstable();
        let to_next = |offset: u64| {
            let next = starts.partition_point(|&start| start <= offset);
            starts.get(next).copied().unwrap_or(source.len()).saturating_sub(offset)
        };
        let stored = |idx: usize| self.packed_span(0..self.chunk_rows(idx) as usize).end;
        offsets
            .iter()
            .enumerate()
            .map(|(idx, &offset)| if self.codec == Codec::None { stored(idx) } else { to_next(offset) })
            .collect()
    }

    /// Samples per pixel inside one chunk.
    pub(super) fn bands_per_chunk(&self) -> usize {
        if self.is_planar { 1 } else { self.bands }
    }

    /// Bytes of one decoded row of a chunk.
    pub(super) fn row_len(&self) -> usize {
        (self.chunk.width as usize * self.bands_per_chunk() * self.bits).div_ceil(8)
    }

    /// How pixels share chroma inside a chunk, if they do.
    pub(super) fn blocks(&self) -> Option<Blocks> {
        self.ycbcr.as_ref().filter(|_| self.codec != Codec::Jpeg).and_then(Ycbcr::blocks)
    }

    /// Bytes of a decoded strip of blocks that libtiff's reader of pictures takes; the rest counts as 0.
    ///
    /// It reads as many bytes as equal rows of pixels have, and drops what their length has after the point.
    pub(super) fn block_bytes_read(&self, idx: usize) -> Option<u64> {
        let blocks = self.blocks().filter(|_| !self.is_tiled)?;
        let row_len = blocks.row_len(self.chunk.width as usize) / blocks.height;
        Some(u64::from(self.chunk_rows(idx)).next_multiple_of(blocks.height as u64) * row_len as u64)
    }

    /// The bytes of a decoded chunk that hold some of its rows, as they are packed.
    pub(super) fn packed_span(&self, rows: Range<usize>) -> Range<u64> {
        let (row_len, rows) = match self.blocks() {
            Some(blocks) => {
                let block_rows = rows.start / blocks.height..rows.end.div_ceil(blocks.height);
                (blocks.row_len(self.chunk.width as usize), block_rows)
            }
            None => (self.row_len(), rows),
        };
        rows.start as u64 * row_len as u64..rows.end as u64 * row_len as u64
    }

    /// Rows that are stored in a chunk: the last strip is short, tiles never are.
    pub(super) fn chunk_rows(&self, idx: usize) -> u32 {
        let row = (idx / self.across % self.down) as u32;
        if self.is_tiled {
            self.chunk.height
        } else {
            self.chunk.height.min(self.size.height - row * self.chunk.height)
        }
    }

    /// `tile` or `strip`.
    pub(super) const fn chunk_word(&self) -> &'static str {
        if self.is_tiled { "tile" } else { "strip" }
    }

    /// A chunk in the words of an error message.
    pub(super) fn chunk_name(&self, idx: usize) -> String {
        format!("{} {idx} of page {}", self.chunk_word(), self.name)
    }

    /// Whether a pixel of this page and of `other` lie at the same place of chunks that decode the same way.
    pub(super) fn has_same_chunks(&self, other: &Self) -> bool {
        let bare = |page: &Self| Self {
            name: String::new(),
            offsets: Vec::new(),
            byte_counts: Vec::new(),
            photometric: u32::from(photometric::BLACK_IS_ZERO),
            ..page.clone()
        };
        bare(self) == bare(other)
    }
}

fn check_geometry(source: &Source, info: &PageInfo) -> Result<()> {
    let PageInfo { name, size, chunk, bands, .. } = info;
    if size.area() == 0 {
        return Err(source.format(format!("page {name} has {size} pixels")));
    }
    if chunk.area() == 0 {
        return Err(source.format(format!("page {name} has chunks of {chunk} pixels")));
    }
    let chunk_bits = u128::from(chunk.area()) * u128::from(*bands) * u128::from(info.bits);
    if chunk_bits / 8 > i64::MAX as u128 {
        return Err(
            source.format(format!("page {name} has chunks of {chunk} pixels, more than a file holds"))
        );
    }
    if !(1..=MAX_BANDS).contains(bands) {
        return Err(source.unsupported(format!("SamplesPerPixel (tag 277) = {bands}, page {name}")));
    }
    Ok(())
}

/// How the samples of a `YCbCr` page become RGB; `None` for other pages and for JPEG, which converts itself.
fn ycbcr_of(
    source: &Source,
    directory: &Directory,
    info: &PageInfo,
    codec: Codec,
    bits: usize,
) -> Result<Option<Ycbcr>> {
    let is_old = info.compression == u32::from(codec::OLD_JPEG);
    if info.photometric != u32::from(photometric::YCBCR) || codec == Codec::Jpeg && !is_old {
        return Ok(None);
    }
    let ycbcr = Ycbcr::read(source, directory, info)?;
    match ((info.bands, bits), ycbcr.blocks()) {
        ((3, 8), _) => Ok(Some(ycbcr)),
        (_, None) => Ok(None),
        _ => Err(source.unsupported(format!(
            "YCbCrSubSampling (tag 530) with {} samples of {bits} bits, page {}",
            info.bands, info.name
        ))),
    }
}

fn codec_of(source: &Source, directory: &Directory, info: &PageInfo) -> Result<Codec> {
    match u16::try_from(info.compression) {
        Ok(codec::NONE) => Ok(Codec::None),
        Ok(codec::LZW) => Ok(Codec::Lzw),
        Ok(codec::PACK_BITS) => Ok(Codec::PackBits),
        Ok(codec::DEFLATE | codec::OLD_DEFLATE) => Ok(Codec::Deflate),
        Ok(codec::ZSTD) => Ok(Codec::Zstd),
        Ok(codec::OLD_JPEG | codec::JPEG) => Ok(Codec::Jpeg),
        #[cfg(feature = "jpeg2000")]
        Ok(codec::APERIO_JPEG_2000_YCBCR) => Ok(Codec::Jpeg2000 { is_ycbcr: true }),
        #[cfg(feature = "jpeg2000")]
        Ok(codec::APERIO_JPEG_2000_RGB | codec::JPEG_2000) => Ok(Codec::Jpeg2000 { is_ycbcr: false }),
        Ok(codec::LZMA) => Ok(Codec::Lzma),
        Ok(codec::WEBP) => Ok(Codec::WebP),
        Ok(codec::FAX_RLE) => Ok(Codec::Fax(FaxCode::Rle)),
        Ok(codec::FAX_3) => {
            let options = directory.number(source, tag::T4_OPTIONS)?.unwrap_or(0);
            Ok(Codec::Fax(FaxCode::Group3 { is_two_dimensional: options & 1 == 1 }))
        }
        Ok(codec::FAX_4) => Ok(Codec::Fax(FaxCode::Group4)),
        known => {
            // Only reached by builds that leave these out.
            let is_jpeg2000 = matches!(
                known,
                Ok(codec::APERIO_JPEG_2000_YCBCR | codec::APERIO_JPEG_2000_RGB | codec::JPEG_2000)
            );
            let build = if is_jpeg2000 {
                "; it takes the feature `jpeg2000` of hubmap-io, which the executables of hubmap have"
            } else {
                ""
            };
            Err(source.unsupported(format!(
                "Compression (tag 259) = {} ({}), page {}{build}",
                info.compression,
                info.compression_name(),
                info.name
            )))
        }
    }
}

/// Codecs of pictures see to differences themselves, so that the tag has no meaning for them.
fn predictor_of(source: &Source, info: &PageInfo, codec: Codec, bits: usize) -> Result<Option<Predictor>> {
    let is_used = !matches!(codec, Codec::Jpeg | Codec::Fax(_) | Codec::WebP | Codec::PackBits | Codec::None);
    match info.predictor {
        0 | 1 => Ok(None),
        _ if !is_used => Ok(None),
        2 if matches!(bits, 8 | 16 | 32 | 64) => Ok(Some(Predictor::Horizontal)),
        3 if matches!(bits, 16 | 24 | 32 | 64) => Ok(Some(Predictor::Float)),
        other => Err(source.unsupported(format!(
            "Predictor (tag 317) = {other} with BitsPerSample = {bits}, page {}",
            info.name
        ))),
    }
}

fn bits_of(source: &Source, directory: &Directory, info: &PageInfo) -> Result<usize> {
    let bits = directory.numbers(source, tag::BITS_PER_SAMPLE)?;
    let bits = bits.unwrap_or_else(|| vec![u64::from(info.bits)]);
    let first = bits.first().copied().unwrap_or(0);
    let is_uniform = bits.iter().take(info.bands as usize).all(|&b| b == first);
    if !is_uniform || !matches!(first, 1..=16 | 24 | 32 | 64) {
        return Err(source.unsupported(format!("BitsPerSample (tag 258) = {bits:?}, page {}", info.name)));
    }
    Ok(first as usize)
}

/// The colour map as 8-bit RGB; empty for pages without one.
fn palette(source: &Source, directory: &Directory, info: &PageInfo) -> Result<Palette> {
    if info.photometric != u32::from(photometric::PALETTE) {
        return Ok(Vec::new());
    }
    let Some(map) = directory.numbers(source, tag::COLOR_MAP)? else { return Ok(Vec::new()) };
    let n = map.len() / 3;
    // The map holds 16-bit values; some writers stored 8-bit ones, which GDAL and libtiff detect like this.
    let shift = if map.iter().any(|&value| value > 255) { 8 } else { 0 };
    Ok((0..n).map(|i| [i, n + i, 2 * n + i].map(|at| (map[at] >> shift) as u8)).collect())
}
