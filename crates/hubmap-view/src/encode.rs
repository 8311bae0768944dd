//! Pixels as the files that browsers draw.

use anyhow::{Context, Result};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use ndarray::{ArrayRef3, Axis, s};

use crate::colours::Palette;

/// Of 100; with colours at full resolution, as thin stained structures need them.
const JPEG_QUALITY: u8 = 85;

/// A JPEG of `[height, width, bands]` pixels: gray of one or two bands, else colour of the first three.
pub(crate) fn jpeg(pixels: &ArrayRef3<u8>) -> Result<Vec<u8>> {
    let (height, width, bands) = pixels.dim();
    let (n_shown, kind) = if bands < 3 { (1, ColorType::Luma) } else { (3, ColorType::Rgb) };
    let shown = pixels.slice(s![.., .., ..n_shown]);
    let shown = shown.as_standard_layout();
    let side = |len: usize| u16::try_from(len).context("a tile of more than 65535 px");
    let mut out = Vec::with_capacity(pixels.len() / 4);
    let mut encoder = Encoder::new(&mut out, JPEG_QUALITY);
    encoder.set_sampling_factor(SamplingFactor::F_1_1);
    let shown = shown.as_slice().context("pixels in no order")?;
    encoder.encode(shown, side(width)?, side(height)?, kind).context("cannot encode a JPEG")?;
    Ok(out)
}

/// A PNG of the first band of `[height, width, bands]` values, each in its colour of a palette.
pub(crate) fn png(values: &ArrayRef3<u8>, palette: &Palette) -> Result<Vec<u8>> {
    let band = values.index_axis(Axis(2), 0);
    let (height, width) = band.dim();
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width as u32, height as u32);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    encoder.set_palette(palette.rgb.as_flattened());
    encoder.set_trns(palette.alpha.as_slice());
    let band = band.as_standard_layout();
    let mut writer = encoder.write_header().context("cannot encode a PNG")?;
    writer.write_image_data(band.as_slice().context("values in no order")?).context("cannot encode a PNG")?;
    writer.finish().context("cannot encode a PNG")?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;
    use zune_jpeg::JpegDecoder;
    use zune_jpeg::zune_core::bytestream::ZCursor;

    use super::*;

    fn smooth(bands: usize) -> Array3<u8> {
        Array3::from_shape_fn((90, 120, bands), |(y, x, c)| (60 + x / 2 + y / 2 + 20 * c) as u8)
    }

    #[test]
    fn a_jpeg_shows_the_first_three_bands_or_the_first() {
        for (bands, n_shown) in [(1, 1), (2, 1), (3, 3), (5, 3)] {
            let pixels = smooth(bands);
            let mut decoder = JpegDecoder::new(ZCursor::new(jpeg(&pixels).unwrap()));
            // Gray comes as three equal bands.
            let found = decoder.decode().unwrap();
            let info = decoder.info().unwrap();
            assert_eq!((info.width, info.height, info.components), (120, 90, n_shown as u8));
            let expected = Array3::from_shape_fn((90, 120, 3), |(y, x, c)| pixels[(y, x, c % n_shown)]);
            let worst = found.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(worst < Some(6), "{bands} bands: {worst:?} apart");
        }
    }

    #[test]
    fn a_png_keeps_the_values_and_brings_their_colours() {
        let values = smooth(1);
        let palette = Palette::flat([1, 2, 3]);
        let file = png(&values, &palette).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut found = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut found).unwrap();
        let info = reader.info();
        assert_eq!((info.width, info.height, info.color_type), (120, 90, png::ColorType::Indexed));
        assert_eq!(Some(found.as_slice()), values.as_slice());
        assert_eq!(info.palette.as_deref(), Some(palette.rgb.as_flattened()));
        assert_eq!(info.trns.as_deref(), Some(palette.alpha.as_slice()));
    }
}
