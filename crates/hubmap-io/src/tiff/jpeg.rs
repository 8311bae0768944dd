//! JPEG chunks: streams that may share tables, in the colour space that the page states.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::decode::Problem;
use super::page::Page;
use super::tag::photometric;

const START_OF_IMAGE: [u8; 2] = [0xFF, 0xD8];
const END_OF_IMAGE: [u8; 2] = [0xFF, 0xD9];

/// Frame markers: baseline, extended and progressive come first, then lossless and arithmetic coding.
const FIRST_FRAME: u8 = 0xC0;
const LAST_HUFFMAN_DCT: u8 = 0xC2;

/// Decodes the stream of a chunk of `n_rows` rows; `out` takes its first rows.
///
/// As in libtiff the page decides about colour, not the stream: `YCbCr` pages come out as RGB, and the components
/// of all others as they are, even if the stream's markers say otherwise (Aperio's RGB slides have none).
pub(super) fn decode(page: &Page, stream: &[u8], n_rows: usize, out: &mut [u8]) -> Result<(), Problem> {
    let joined;
    let stream = match join_tables(&page.jpeg_tables, stream) {
        Some(bytes) => {
            joined = bytes;
            joined.as_slice()
        }
        None => stream,
    };
    let size = frame_size(stream).ok_or("JPEG stream without a frame header")?;
    if size.process > LAST_HUFFMAN_DCT {
        return Err(Problem::Unsupported(format!("JPEG process SOF{}", size.process - FIRST_FRAME)));
    }
    let (columns, row_len) = (page.chunk.width as usize, page.row_len());
    let rows_wanted = out.len() / row_len;
    // A stream that is larger than its chunk is how a small file asks for a huge buffer.
    let is_too_large = size.width > columns || size.height > n_rows.next_multiple_of(16).max(16);
    if is_too_large || size.width < columns || size.height < rows_wanted {
        return Err(format!(
            "JPEG stream of {}x{} in a chunk of {columns}x{n_rows}",
            size.width, size.height
        )
        .into());
    }
    if size.components != page.bands_per_chunk() {
        return Err(format!(
            "JPEG stream of {} components, expected {}",
            size.components,
            page.bands_per_chunk()
        )
        .into());
    }
    let options = DecoderOptions::default();
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(stream), options);
    let problem = |e: zune_jpeg::errors::DecodeErrors| Problem::Corrupt(format!("JPEG: {e}"));
    decoder.decode_headers().map_err(problem)?;
    let stored = decoder.input_colorspace().ok_or("JPEG stream without a colour space")?;
    let is_ycbcr = page.photometric == u32::from(photometric::YCBCR) && size.components == 3;
    let wanted = if is_ycbcr { ColorSpace::RGB } else { stored };
    decoder.set_options(options.jpeg_set_out_colorspace(wanted));
    let frame_len = size.width * size.height * size.components;
    if frame_len <= out.len() {
        decoder.decode_into(out).map_err(problem)
    } else {
        let mut frame = vec![0; frame_len];
        decoder.decode_into(&mut frame).map_err(problem)?;
        out.copy_from_slice(&frame[..out.len()]);
        Ok(())
    }
}

/// The stream of a chunk with the page's tables put in front, or `None` if there are none.
fn join_tables(tables: &[u8], stream: &[u8]) -> Option<Vec<u8>> {
    let tables = tables.strip_suffix(&END_OF_IMAGE).unwrap_or(tables);
    let stream = stream.strip_prefix(&START_OF_IMAGE)?;
    tables.strip_prefix(&START_OF_IMAGE).filter(|tables| !tables.is_empty())?;
    let mut joined = Vec::with_capacity(tables.len() + stream.len());
    joined.extend_from_slice(tables);
    joined.extend_from_slice(stream);
    Some(joined)
}

/// What the frame header of a stream says.
#[derive(Debug, PartialEq)]
struct Frame {
    /// Marker code, which states the coding process.
    process: u8,
    width: usize,
    height: usize,
    components: usize,
}

/// Finds the frame header among the markers.
fn frame_size(stream: &[u8]) -> Option<Frame> {
    let mut rest = stream.strip_prefix(&START_OF_IMAGE)?;
    loop {
        let (&first, after) = rest.split_first()?;
        let (&marker, after_marker) = after.split_first()?;
        if first != 0xFF {
            return None;
        }
        match marker {
            // Fill bytes, and markers without a body.
            0xFF => rest = after,
            0x01 | 0xD0..=0xD8 => rest = after_marker,
            0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                let &[_, _, _, h1, h0, w1, w0, components] = after_marker.first_chunk::<8>()?;
                return Some(Frame {
                    process: marker,
                    width: usize::from(u16::from_be_bytes([w1, w0])),
                    height: usize::from(u16::from_be_bytes([h1, h0])),
                    components: usize::from(components),
                });
            }
            0xD9 | 0xDA => return None,
            _ => {
                let len = usize::from(u16::from_be_bytes(*after_marker.first_chunk::<2>()?));
                rest = after_marker.get(len.max(2)..)?;
            }
        }
    }
}
