//! JPEG 2000 chunks: those of Aperio slides, and the code that other writers agreed on.

use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};

use super::decode::Problem;
use super::page::Page;
use super::pixels::Picture;

/// Most samples of one chunk: the decoder takes 4 bytes for each, and as much again.
const MAX_SAMPLES: u64 = 1 << 26;

/// Decodes a chunk of 8- or 16-bit samples; `out` takes its first rows.
///
/// `is_ycbcr` says that the components are luma and chroma, which become RGB.
pub(super) fn decode(page: &Page, is_ycbcr: bool, stream: &[u8], out: &mut [u8]) -> Result<(), Problem> {
    let problem = |e: hayro_jpeg2000::DecodeError| Problem::Corrupt(format!("JPEG 2000: {e}"));
    let bands = page.bands_per_chunk();
    if !matches!(page.bits, 8 | 16) {
        return Err(Problem::Unsupported(format!("JPEG 2000 with BitsPerSample = {}", page.bits)));
    }
    let settings = DecodeSettings { resolve_palette_indices: false, ..DecodeSettings::default() };
    let image = Image::new(stream, &settings).map_err(problem)?;
    let (width, height) = (image.width(), image.height());
    let picture = Picture::new(page, width, height)?;
    if u64::from(width) * u64::from(height) * bands as u64 > MAX_SAMPLES {
        return Err(Problem::Unsupported(format!("JPEG 2000 of {width}x{height} pixels in one chunk")));
    }
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(problem)?;
    let components = decoded.components();
    if components.len() != bands {
        return Err(format!("JPEG 2000 stream of {} components, expected {bands}", components.len()).into());
    }
    if let Some(component) = components.iter().find(|c| usize::from(c.bit_depth()) > page.bits) {
        return Err(format!("JPEG 2000 of {} bits, expected {}", component.bit_depth(), page.bits).into());
    }
    // The decoder itself converts where chroma has a lower resolution.
    let needs_rgb = is_ycbcr && bands == 3 && !has_subsampling(stream);
    let most = ((1_u32 << page.bits) - 1) as f32;
    picture.place(page, out, |y, row| {
        let start = y * width as usize;
        let sample = |band: usize, x: usize| -> f32 {
            components[band].samples().get(start + x).copied().unwrap_or_default()
        };
        let n_columns = row.len() / (bands * page.bits / 8);
        let mut put = |idx: usize, value: f32| {
            let value = value.round_ties_even().clamp(0.0, most) as u16;
            match (page.bits, page.encoding.big_endian) {
                (8, _) => row[idx] = value as u8,
                (_, true) => row[2 * idx..2 * idx + 2].copy_from_slice(&value.to_be_bytes()),
                (_, false) => row[2 * idx..2 * idx + 2].copy_from_slice(&value.to_le_bytes()),
            }
        };
        for x in 0..n_columns {
            if needs_rgb {
                let centre = (1_u32 << (page.bits - 1)) as f32;
                let [luma, cb, cr] = [sample(0, x), sample(1, x) - centre, sample(2, x) - centre];
                put(3 * x, luma + 1.402 * cr);
                put(3 * x + 1, luma - 0.344_136 * cb - 0.714_136 * cr);
                put(3 * x + 2, luma + 1.772 * cb);
            } else {
                for band in 0..bands {
                    put(bands * x + band, sample(band, x));
                }
            }
        }
    });
    Ok(())
}

/// Whether the components of a codestream differ in resolution, as its header tells.
fn has_subsampling(stream: &[u8]) -> bool {
    /// Start of codestream and of the image size marker.
    const HEAD: [u8; 4] = [0xFF, 0x4F, 0xFF, 0x51];
    /// From there to the components: 8 numbers of 4 bytes, their count, and two of 2 bytes before them.
    const TO_COMPONENTS: usize = 4 + 2 + 2 + 32 + 2;
    let start = stream.windows(HEAD.len()).position(|window| window == HEAD);
    let body = start.and_then(|start| stream.get(start + TO_COMPONENTS..)).unwrap_or_default();
    let steps = body.as_chunks::<3>().0.iter().take(3).map(|&[_, across, down]| (across, down));
    let mut steps = steps.peekable();
    let first = steps.peek().copied();
    steps.any(|step| Some(step) != first)
}
