//! From the compressed bytes of one chunk to rows of samples.

use std::io::Read as _;
use std::ops::Range;

use flate2::{Decompress, FlushDecompress, Status};
use lzma_rust2::XzReader;
use zstd::zstd_safe::{DCtx, InBuffer, OutBuffer, ResetDirective};

use super::fax;
use super::jpeg::JpegDecoder;
use super::lzw::{self, Lzw};
use super::page::{Codec, Page};
use super::predictor;
use super::source::Source;
use super::webp;
use crate::Result;

/// Largest decoded chunk of a compressed page, and of one that is not in the file.
const MAX_CHUNK_LEN: u64 = 1 << 31;

/// Buffers beyond this size are given back after a chunk rather than kept by the thread.
const MAX_KEPT_LEN: usize = 64 << 20;

/// Dictionary of LZMA: that of its highest preset, and some room for the rest of the decoder.
const MAX_XZ_KIB: u32 = 80 << 10;

/// Why a chunk cannot be decoded.
pub(super) enum Problem {
    /// The stream breaks its own rules.
    Corrupt(String),
    /// The stream is of a kind that is not read.
    Unsupported(String),
}

impl From<String> for Problem {
    fn from(problem: String) -> Self {
        Self::Corrupt(problem)
    }
}

impl From<&str> for Problem {
    fn from(problem: &str) -> Self {
        Self::Corrupt(problem.to_owned())
    }
}

/// Decoder states and buffers, one set per thread, reused from chunk to chunk.
pub(super) struct Decoder {
    compressed: Vec<u8>,
    /// Blocks of `YCbCr` pixels before they are spread out to rows, or a row before its bytes are put in order.
    blocks: Vec<u8>,
    inflate: Decompress,
    zstd: DCtx<'static>,
    lzw: Lzw,
    jpeg: JpegDecoder,
}

/// Decoded rows of one chunk.
pub(super) struct Rows<'a> {
    bytes: &'a [u8],
    row_len: usize,
}

impl<'a> Rows<'a> {
    /// The row `y` counted from the first requested one.
    pub(super) fn row(&self, y: usize) -> &'a [u8] {
        &self.bytes[y * self.row_len..][..self.row_len]
    }
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self {
            compressed: Vec::new(),
            blocks: Vec::new(),
            inflate: Decompress::new(true),
            zstd: DCtx::create(),
            lzw: Lzw::new(),
            jpeg: JpegDecoder::new(),
        }
    }

    /// Decodes `rows` of chunk `idx` into `buffer`, which is reused; returns them as they are packed in the file.
    ///
    /// Predictors are undone and bits are in their usual order, but samples are neither unpacked nor byte-swapped.
    pub(super) fn decode<'a>(
        &mut self,
        source: &Source,
        page: &Page,
        idx: usize,
        rows: Range<usize>,
        buffer: &'a mut Vec<u8>,
    ) -> Result<Rows<'a>> {
        let row_len = page.row_len();
        let span = page.packed_span(rows.clone());
        let Some(blocks) = page.blocks() else {
            let bytes = self.unpack(source, page, idx, span, buffer)?;
            if let Some(predictor) = page.predictor {
                for row in bytes.chunks_exact_mut(row_len.max(1)) {
                    predictor.undo(row, page, &mut self.blocks);
                }
            }
            return Ok(Rows { bytes, row_len });
        };
        let mut packed = std::mem::take(&mut self.blocks);
        let packed_bytes = self.unpack(source, page, idx, span.clone(), &mut packed)?;
        if page.predictor.is_some() {
            // As in libtiff differences take no notice of the blocks: rows are as long as if they had none.
            let row_len = blocks.row_len(page.chunk.width as usize) / blocks.height;
            for row in packed_bytes.chunks_exact_mut(row_len.max(1)) {
                predictor::sum_pixels::<3>(row);
            }
        }
        if let Some(n_read) = page.block_bytes_read(idx) {
            let start = n_read.saturating_sub(span.start).min(packed_bytes.len() as u64);
            packed_bytes[start as usize..].fill(0);
        }
        let len = rows.len() * row_len;
        fit(buffer, len);
        blocks.spread(
            packed_bytes,
            page.chunk.width as usize,
            rows.start % blocks.height,
            &mut buffer[..len],
        );
        if packed.len() <= MAX_KEPT_LEN {
            self.blocks = packed;
        }
        Ok(Rows { bytes: &buffer[..len], row_len })
    }

    /// The bytes `span` of the decoded chunk `idx`, in `buffer`.
    fn unpack<'a>(
        &mut self,
        source: &Source,
        page: &Page,
        idx: usize,
        span: Range<u64>,
        buffer: &'a mut Vec<u8>,
    ) -> Result<&'a mut [u8]> {
        let (skipped, wanted) = (span.start, span.end);
        let (offset, n_stored) = (page.offsets[idx], page.byte_counts[idx]);
        let is_sparse = offset == 0 || n_stored == 0;
        // What precedes the first wanted row must be decoded too, unless samples are stored as they are.
        let first = if page.codec == Codec::None || is_sparse { skipped } else { 0 };
        let len = wanted - first;
        if (page.codec != Codec::None || is_sparse) && len > MAX_CHUNK_LEN {
            return Err(source.unsupported(format!("{} of {len} bytes", page.chunk_name(idx))));
        }
        if !is_sparse {
            check_stored(source, page, idx, wanted)?;
        }
        let len = len as usize;
        let (lead, slack) = if page.codec == Codec::Lzw { (lzw::LEAD, lzw::SLACK) } else { (0, 0) };
        fit(buffer, lead + len + slack);
        let buffer = &mut buffer[..lead + len + slack];
        if is_sparse {
            buffer.fill(0);
        } else if page.codec == Codec::None {
            source.read_at(offset + first, buffer, || page.chunk_name(idx))?;
            if page.bits_reversed {
                reverse_bits(buffer);
            }
        } else {
            fit(&mut self.compressed, n_stored as usize + lzw::INPUT_SLACK);
            source.read_at(offset, &mut self.compressed[..n_stored as usize], || page.chunk_name(idx))?;
            if page.bits_reversed {
                reverse_bits(&mut self.compressed[..n_stored as usize]);
            }
            self.expand(page, n_stored as usize, buffer).map_err(|problem| match problem {
                Problem::Corrupt(problem) => source.format(format!("{}: {problem}", page.chunk_name(idx))),
                Problem::Unsupported(feature) => {
                    source.unsupported(format!("{feature}, {}", page.chunk_name(idx)))
                }
            })?;
        }
        if self.compressed.len() > MAX_KEPT_LEN {
            self.compressed = Vec::new();
        }
        Ok(&mut buffer[lead + (skipped - first) as usize..lead + len])
    }

    /// Fills `out` from the first `n_stored` compressed bytes; LZW wants some bytes around both.
    fn expand(&mut self, page: &Page, n_stored: usize, out: &mut [u8]) -> std::result::Result<(), Problem> {
        let input = &self.compressed[..n_stored];
        let mut n_expected = out.len();
        let n_written = match page.codec {
            Codec::None => 0,
            Codec::Lzw => {
                n_expected -= lzw::LEAD + lzw::SLACK;
                self.lzw.decode(&self.compressed, n_stored, out)?
            }
            Codec::PackBits => unpack_runs(input, out),
            Codec::Deflate => {
                self.inflate.reset(true);
                let status = self.inflate.decompress(input, out, FlushDecompress::Finish);
                let n_written = self.inflate.total_out() as usize;
                match status {
                    Ok(Status::Ok | Status::BufError | Status::StreamEnd) => n_written,
                    // A broken checksum or tail after the last wanted row does not matter.
                    Err(_) if n_written == out.len() => n_written,
                    Err(e) => return Err(format!("Deflate: {e}").into()),
                }
            }
            Codec::Zstd => self.expand_zstd(n_stored, out)?,
            Codec::Lzma => expand_xz(input, out)?,
            Codec::WebP => {
                webp::decode(page, input, out)?;
                out.len()
            }
            #[cfg(feature = "jpeg2000")]
            Codec::Jpeg2000 { is_ycbcr } => {
                super::jpeg2000::decode(page, is_ycbcr, input, out)?;
                out.len()
            }
            Codec::Jpeg => {
                self.jpeg.decode(page, input, out)?;
                out.len()
            }
            Codec::Fax(code) => {
                let width = page.chunk.width as usize;
                fax::decode(code, input, width, out)?;
                out.len()
            }
        };
        if n_written < n_expected {
            return Err(format!("decodes to {n_written} bytes, expected {n_expected}").into());
        }
        Ok(())
    }

    fn expand_zstd(&mut self, n_stored: usize, out: &mut [u8]) -> std::result::Result<usize, String> {
        let problem = |code| format!("ZSTD: {}", zstd::zstd_safe::get_error_name(code));
        self.zstd.reset(ResetDirective::SessionOnly).map_err(problem)?;
        let mut input = InBuffer::around(&self.compressed[..n_stored]);
        let mut output = OutBuffer::around(out);
        loop {
            let (read_before, written_before) = (input.pos(), output.pos());
            let hint = self.zstd.decompress_stream(&mut output, &mut input).map_err(problem)?;
            let is_stuck = input.pos() == read_before && output.pos() == written_before;
            if hint == 0 || output.pos() == output.capacity() || is_stuck {
                return Ok(output.pos());
            }
        }
    }
}

/// LZMA2 in an XZ container, as libtiff writes it; returns the number of bytes written.
fn expand_xz(input: &[u8], out: &mut [u8]) -> std::result::Result<usize, String> {
    let mut reader = XzReader::new_mem_limit(input, false, MAX_XZ_KIB);
    let mut n_written = 0;
    while n_written < out.len() {
        match reader.read(&mut out[n_written..]) {
            Ok(0) => break,
            Ok(n) => n_written += n,
            Err(e) => return Err(format!("LZMA: {e}")),
        }
    }
    Ok(n_written)
}

/// Refuses chunks outside the file and those that cannot possibly hold what they claim, before any
/// allocation.
fn check_stored(source: &Source, page: &Page, idx: usize, wanted: u64) -> Result<()> {
    let (offset, n_stored) = (page.offsets[idx], page.byte_counts[idx]);
    let needed = if page.codec == Codec::None { wanted } else { n_stored };
    source.check(offset, needed, || page.chunk_name(idx))?;
    if n_stored.saturating_mul(max_expansion(page.codec)) < wanted {
        return Err(source.format(format!(
            "{} has {n_stored} bytes, which cannot hold the {wanted} that its size needs",
            page.chunk_name(idx)
        )));
    }
    Ok(())
}

/// How many bytes one compressed byte can stand for at most.
const fn max_expansion(codec: Codec) -> u64 {
    match codec {
        Codec::None => 1,
        // 128 bytes from 2.
        Codec::PackBits => 64,
        // Strings of up to 3838 bytes from 12 bits.
        Codec::Lzw => 4096,
        // Matches of 258 bytes from 2 bits.
        Codec::Deflate => 1040,
        // Blocks of 128 KiB from 4 bytes.
        Codec::Zstd => 1 << 17,
        // Matches of 273 bytes from a fraction of a bit.
        Codec::Lzma => 1 << 14,
        // Pictures state their size, which is checked later.
        Codec::WebP => 1 << 24,
        #[cfg(feature = "jpeg2000")]
        Codec::Jpeg2000 { .. } => 1 << 24,
        // Two bits stand for 64 samples or, of chroma, for 16 times as many; broken streams may lack most of them.
        Codec::Jpeg => 1 << 16,
        // A row like the one above is a single bit.
        Codec::Fax(_) => 1 << 16,
    }
}

/// Makes `buffer` at least `len` long without clearing what it holds, and gives back an oversized one.
fn fit(buffer: &mut Vec<u8>, len: usize) {
    if buffer.len() > MAX_KEPT_LEN && len <= MAX_KEPT_LEN {
        *buffer = Vec::new();
    }
    if buffer.len() < len {
        // Contents do not matter: a new buffer comes zeroed from the system without touching its pages.
        *buffer = vec![0; len];
    }
}

/// `PackBits`; returns the number of bytes written.
fn unpack_runs(mut input: &[u8], out: &mut [u8]) -> usize {
    let mut at = 0;
    while at < out.len() {
        let Some((&head, rest)) = input.split_first() else { break };
        input = rest;
        match head {
            0..=127 => {
                let n = (usize::from(head) + 1).min(input.len()).min(out.len() - at);
                out[at..at + n].copy_from_slice(&input[..n]);
                input = &input[n..];
                at += n;
            }
            128 => {}
            129.. => {
                let Some((&value, rest)) = input.split_first() else { break };
                let n = (257 - usize::from(head)).min(out.len() - at);
                out[at..at + n].fill(value);
                input = rest;
                at += n;
            }
        }
    }
    at
}

/// `FillOrder` 2 stores the lowest bit first.
fn reverse_bits(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = byte.reverse_bits();
    }
}

#[cfg(test)]
mod tests {
    use super::{reverse_bits, unpack_runs};

    #[test]
    fn unpacks_the_example_of_the_specification() {
        let packed =
            [0xFE, 0xAA, 0x02, 0x80, 0x00, 0x2A, 0xFD, 0xAA, 0x03, 0x80, 0x00, 0x2A, 0x22, 0xF7, 0xAA];
        let expected = [
            0xAA, 0xAA, 0xAA, 0x80, 0x00, 0x2A, 0xAA, 0xAA, 0xAA, 0xAA, 0x80, 0x00, 0x2A, 0x22, 0xAA, 0xAA,
            0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA,
        ];
        let mut out = [0; 24];
        assert_eq!(unpack_runs(&packed, &mut out), 24);
        assert_eq!(out, expected);
        assert_eq!(unpack_runs(&packed[..3], &mut out), 3);
    }

    #[test]
    fn reverses_bits() {
        let mut bytes = [0b1000_0000, 0b0000_0110];
        reverse_bits(&mut bytes);
        assert_eq!(bytes, [0b0000_0001, 0b0110_0000]);
    }
}
