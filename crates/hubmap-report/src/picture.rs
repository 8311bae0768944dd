//! Parts of slides as small JPEG pictures within a page.

use base64::prelude::{BASE64_STANDARD, Engine};
use hubmap_io::{LevelUse, RasterReader, ScaleOptions, Size, Window};
use jpeg_encoder::{ColorType, Encoder};
use ndarray::Array3;

/// Little to see between this and the original at half the bytes.
const JPEG_QUALITY: u8 = 82;
/// What is beside a slide: paper.
const WHITE: u16 = 255;

/// A picture, and where it was taken.
#[derive(Debug)]
pub(crate) struct Picture {
    /// `data:image/jpeg;base64,…`.
    pub(crate) uri: String,
    /// Of the picture.
    pub(crate) size: Size,
}

/// Part of a slide, and how much smaller its picture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct View {
    /// In pixels of the slide; sides are multiples of the factor.
    pub(crate) window: Window,
    /// A power of two, so that it is that of a level of most pyramids.
    pub(crate) factor: u32,
}

impl View {
    /// The view of a window whose picture has sides of at most `max_side` pixels.
    ///
    /// The window grows to whole pixels of the picture.
    pub(crate) fn new(window: Window, max_side: u32) -> Self {
        let longest = window.width.max(window.height);
        let mut factor = 1_u32;
        while longest.div_ceil(factor) > max_side.max(1) && factor < 1 << 20 {
            factor *= 2;
        }
        let step = i64::from(factor);
        let (x, y) = (window.x.div_euclid(step) * step, window.y.div_euclid(step) * step);
        let side = |from: i64, to: i64| {
            (to.saturating_sub(from).max(1) as u64).next_multiple_of(factor.into()) as u32
        };
        Self { window: Window::new(x, y, side(x, window.right()), side(y, window.bottom())), factor }
    }

    /// Of the picture.
    pub(crate) const fn picture_size(&self) -> Size {
        Size::new(self.window.width / self.factor, self.window.height / self.factor)
    }

    /// Where a point of the slide is in the picture.
    pub(crate) fn place(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let factor = f64::from(self.factor);
        [(x - self.window.x as f64) / factor, (y - self.window.y as f64) / factor]
    }

    /// Reads the picture, in bounded memory, from the level of the slide that serves best.
    pub(crate) fn read(&self, slide: &dyn RasterReader) -> anyhow::Result<Picture> {
        // Gray slides have one band, some an alpha band after it or after three.
        let bands: &[usize] = if slide.bands() < 3 { &[0, 0, 0] } else { &[0, 1, 2] };
        let options = ScaleOptions { levels: LevelUse::Any, fill: WHITE, bands: Some(bands) };
        let pixels = slide.read_scaled(self.window, self.factor, &options)?;
        Picture::encode(&pixels)
    }

    /// Reads the picture of a map of one band in colours, from dark for 0 over red to pale yellow for 255.
    pub(crate) fn read_map(&self, map: &dyn RasterReader) -> anyhow::Result<Picture> {
        let options = ScaleOptions { levels: LevelUse::Any, fill: 0, bands: Some(&[0]) };
        let levels = map.read_scaled(self.window, self.factor, &options)?;
        let (height, width, _) = levels.dim();
        Picture::encode(&Array3::from_shape_fn((height, width, 3), |(y, x, band)| {
            heat(levels[[y, x, 0]])[band]
        }))
    }
}

impl Picture {
    fn encode(pixels: &Array3<u8>) -> anyhow::Result<Self> {
        let (height, width, _) = pixels.dim();
        let mut jpeg = Vec::new();
        Encoder::new(&mut jpeg, JPEG_QUALITY).encode(
            pixels.as_standard_layout().as_slice().unwrap_or_default(),
            u16::try_from(width)?,
            u16::try_from(height)?,
            ColorType::Rgb,
        )?;
        let size = Size::new(width as u32, height as u32);
        Ok(Self { uri: data_uri("image/jpeg", &jpeg), size })
    }
}

/// A colour of a scale that grows lighter all the way, so that it reads without telling hues apart.
fn heat(level: u8) -> [u8; 3] {
    const STOPS: [[f64; 3]; 5] = [
        [8.0, 6.0, 30.0],
        [95.0, 20.0, 110.0],
        [190.0, 55.0, 84.0],
        [245.0, 140.0, 50.0],
        [252.0, 253.0, 191.0],
    ];
    let at = f64::from(level) / 255.0 * (STOPS.len() - 1) as f64;
    let first = (at as usize).min(STOPS.len() - 2);
    let share = at - first as f64;
    std::array::from_fn(|band| {
        (STOPS[first][band] * (1.0 - share) + STOPS[first + 1][band] * share).round() as u8
    })
}

/// Bytes of a file as an address.
pub(crate) fn data_uri(kind: &str, bytes: &[u8]) -> String {
    let mut uri = format!("data:{kind};base64,");
    BASE64_STANDARD.encode_string(bytes, &mut uri);
    uri
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hubmap_io::MemorySlide;

    use super::*;

    #[test]
    fn views_have_whole_pixels_and_lose_nothing() {
        for (window, max_side) in [
            (Window::new(0, 0, 30_000, 40_001), 1600),
            (Window::new(-7, 13, 333, 100), 320),
            (Window::new(5, 5, 1, 1), 320),
            (Window::new(0, 0, 1600, 3), 1600),
        ] {
            let view = View::new(window, max_side);
            let size = view.picture_size();
            assert!(view.factor.is_power_of_two() && size.width.max(size.height) <= max_side + 1, "{view:?}");
            assert_eq!(view.window.intersect(&window), Some(window));
            assert!(
                view.window.width.is_multiple_of(view.factor)
                    && view.window.height.is_multiple_of(view.factor)
            );
            assert_eq!(view.window.x.rem_euclid(view.factor.into()), 0);
            assert!(view.window.right() - window.right() < view.factor.into());
        }
        assert_eq!(View::new(Window::new(0, 0, 30_000, 40_001), 1600).factor, 32);
        assert_eq!(View::new(Window::new(0, 0, 1600, 3), 1600).factor, 1);
        let view = View { window: Window::new(64, 32, 64, 64), factor: 4 };
        let [x, y] = view.place([72.0, 36.0]);
        assert!((x - 2.0).abs() + (y - 1.0).abs() < 1e-12);
    }

    #[test]
    fn slides_of_any_number_of_bands_have_a_picture() {
        for bands in 1..=4 {
            let pixels = Array3::from_shape_fn((40, 50, bands), |(y, x, band)| (x * 3 + y + band * 40) as u8);
            let slide = MemorySlide::new(Path::new("slide"), pixels, None).unwrap();
            let picture = View::new(slide.size().window(), 30).read(&slide).unwrap();
            assert_eq!(picture.size, Size::new(25, 20));
            let jpeg =
                BASE64_STANDARD.decode(picture.uri.strip_prefix("data:image/jpeg;base64,").unwrap()).unwrap();
            assert!(jpeg.starts_with(&[0xff, 0xd8]) && jpeg.ends_with(&[0xff, 0xd9]));
        }
    }

    #[test]
    fn heat_grows_lighter() {
        let light = |level: u8| {
            heat(level).into_iter().zip([0.2126, 0.7152, 0.0722]).map(|(v, w)| f64::from(v) * w).sum::<f64>()
        };
        assert!((1..=255).all(|level| light(level) > light(level - 1)));
        assert_eq!((heat(0), heat(255)), ([8, 6, 30], [252, 253, 191]));
    }
}
