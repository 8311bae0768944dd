//! Tiles on disk: PNG files that appear whole or not at all.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use hubmap_files::{PendingFile, write_whole};
use ndarray::{Array2, Array3, ArrayRef2, ArrayRef3};

use crate::fault::Fault;

/// Largest decoded tile; a header that promises more is taken for damage.
const MAX_DECODED_BYTES: usize = 1 << 30;

/// Reads an RGB tile as `[height, width, 3]`; gray is repeated, an alpha channel is dropped.
///
/// # Errors
///
/// The file cannot be read or is not a whole PNG; the message names it.
pub fn read_image(path: &Path) -> Result<Array3<u8>> {
    let Decoded { height, width, channels, bytes } = decode(path)?;
    let rgb = match channels {
        3 => bytes,
        4 => bytes.as_chunks::<4>().0.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect(),
        2 => bytes.as_chunks::<2>().0.iter().flat_map(|&[v, _]| [v; 3]).collect(),
        _ => bytes.iter().flat_map(|&v| [v; 3]).collect(),
    };
    Array3::from_shape_vec((height, width, 3), rgb)
        .with_context(|| format!("{}: damaged PNG", path.display()))
}

/// Reads a mask tile as `[height, width]`, levels 0 to 255.
///
/// # Errors
///
/// As [`read_image`], or the file has colours.
pub fn read_mask(path: &Path) -> Result<Array2<u8>> {
    let Decoded { height, width, channels, bytes } = decode(path)?;
    ensure!(channels == 1, "{}: a mask must be a gray PNG, this one has {channels} channels", path.display());
    Array2::from_shape_vec((height, width), bytes).with_context(|| format!("{}: damaged PNG", path.display()))
}

/// Writes an RGB tile `[height, width, 3]` through a temporary file in the same folder.
///
/// # Errors
///
/// The file cannot be written; an old one then stays as it was.
pub fn write_image(path: &Path, image: &ArrayRef3<u8>) -> Result<()> {
    write_png(path, image_png(image)).map(drop)
}

/// Writes a mask tile `[height, width]` through a temporary file in the same folder.
///
/// # Errors
///
/// As [`write_image`].
pub fn write_mask(path: &Path, mask: &ArrayRef2<u8>) -> Result<()> {
    write_png(path, mask_png(mask)).map(drop)
}

/// The PNG file of an RGB image `[height, width, 3]`.
///
/// # Errors
///
/// The image has no pixels, or other channels.
pub fn image_png(image: &ArrayRef3<u8>) -> Result<Vec<u8>> {
    let (height, width, channels) = image.dim();
    ensure!(channels == 3, "an image tile has 3 channels, not {channels}");
    let standard = image.as_standard_layout();
    encode((height, width), png::ColorType::Rgb, standard.as_slice().unwrap_or_default())
}

/// The PNG file of a mask tile `[height, width]`.
pub(crate) fn mask_png(mask: &ArrayRef2<u8>) -> Result<Vec<u8>> {
    let standard = mask.as_standard_layout();
    encode(mask.dim(), png::ColorType::Grayscale, standard.as_slice().unwrap_or_default())
}

/// Writes an encoded file through a temporary one in the same folder; returns its length.
pub(crate) fn write_png(path: &Path, png: Result<Vec<u8>>) -> Result<u64> {
    let attempt = || -> Result<u64> {
        let png = png?;
        write_whole(path, &png)?;
        Ok(png.len() as u64)
    };
    attempt().with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a whole file through a temporary one in the same folder.
///
/// # Errors
///
/// As [`write_image`].
pub(crate) fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut PendingFile) -> Result<()>,
) -> Result<()> {
    let attempt = || -> Result<()> {
        let mut file = PendingFile::create(path)?;
        write(&mut file)?;
        Ok(file.commit()?)
    };
    attempt().with_context(|| format!("cannot write {}", path.display()))
}

/// Pixels of a PNG, 8 bits per channel, row by row.
struct Decoded {
    height: usize,
    width: usize,
    channels: usize,
    bytes: Vec<u8>,
}

fn decode(path: &Path) -> Result<Decoded> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let attempt = || -> Result<Decoded> {
        let mut decoder = png::Decoder::new(BufReader::new(file));
        decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
        let mut reader = decoder.read_info()?;
        let n_bytes = reader
            .output_buffer_size()
            .filter(|&n_bytes| n_bytes <= MAX_DECODED_BYTES)
            .ok_or_else(|| anyhow!("its header promises more than {} MiB", MAX_DECODED_BYTES >> 20))?;
        let mut bytes = vec![0; n_bytes];
        let frame = reader.next_frame(&mut bytes)?;
        bytes.truncate(frame.buffer_size());
        Ok(Decoded {
            height: frame.height as usize,
            width: frame.width as usize,
            channels: frame.color_type.samples(),
            bytes,
        })
    };
    attempt().map_err(Fault::or_input).with_context(|| {
        format!("{}: not a whole PNG; delete it and generate the tiles again", path.display())
    })
}

fn encode((height, width): (usize, usize), color: png::ColorType, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut file = Vec::with_capacity(bytes.len() / 2);
    let mut encoder = png::Encoder::new(&mut file, u32::try_from(width)?, u32::try_from(height)?);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(bytes)?;
    writer.finish()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_is_exact_and_leaves_nothing_else_behind() {
        let folder = tempfile::tempdir().unwrap();
        let (image_path, mask_path) = (folder.path().join("i.png"), folder.path().join("m.png"));
        let image = Array3::from_shape_fn((13, 7, 3), |(y, x, c)| (y * 17 + x * 3 + c * 91) as u8);
        let mask = Array2::from_shape_fn((13, 7), |(y, x)| (y * 19 + x) as u8);
        write_image(&image_path, &image).unwrap();
        write_mask(&mask_path, &mask).unwrap();
        assert_eq!(read_image(&image_path).unwrap(), image);
        assert_eq!(read_mask(&mask_path).unwrap(), mask);
        assert_eq!(read_image(&mask_path).unwrap().index_axis(ndarray::Axis(2), 1), mask);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn damage_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broken.png");
        write_image(&path, &Array3::from_shape_fn((64, 64, 3), |(y, x, c)| (y * x * c) as u8)).unwrap();
        let error = read_mask(&path).unwrap_err().to_string();
        assert!(error.contains("broken.png: a mask must be a gray PNG"), "{error}");
        let bytes = std::fs::read(&path).unwrap();
        for length in [0, 10, 60, bytes.len() / 2] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let error = format!("{:#}", read_image(&path).unwrap_err());
            assert!(error.contains("broken.png: not a whole PNG"), "{error}");
        }
        let missing = folder.path().join("missing.png");
        assert!(format!("{:#}", read_image(&missing).unwrap_err()).starts_with("cannot open"));
        let nowhere = folder.path().join("no/such/folder/x.png");
        assert!(write_mask(&nowhere, &Array2::zeros((2, 2))).is_err());
    }
}
