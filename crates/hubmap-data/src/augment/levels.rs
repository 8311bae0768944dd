//! Changes of levels that look at nothing but the level, or at the statistics of the whole image.

use super::canvas::Pixels;

/// Two gammas, `255 (level / 255)^(1 / gamma)`, one for dark pixels and one for the others.
///
/// A pixel is dark if the mean of its channels is below the mean of the image's levels by more than so many of
/// their standard deviations, all channels taken together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GammaPair {
    /// Gamma of dark pixels.
    pub dark_gamma: f64,
    /// Gamma of the others.
    pub other_gamma: f64,
    /// Standard deviations.
    pub dark_below_std: f64,
}

/// A level for each level: clipped, then cut to whole levels, as albumentations does.
pub(super) fn table(level: impl Fn(f64) -> f64) -> [u8; 256] {
    std::array::from_fn(|from| level(from as f64).clamp(0.0, 255.0) as u8)
}

/// See [`GammaPair`].
pub(super) fn gamma_pair(image: &mut Pixels<'_>, pair: GammaPair) {
    let power = |gamma: f64| table(|level| 255.0 * (level / 255.0).powf(1.0 / gamma));
    let (dark_table, other_table) = (power(pair.dark_gamma), power(pair.other_gamma));
    let (mut sum, mut sum_of_squares) = (0_u64, 0_u64);
    for row in image.colors.chunks(image.width.max(1)) {
        // A row of 2^16 pixels fits 32 bits, which add up faster.
        for part in row.as_flattened().chunks(1 << 16) {
            sum += u64::from(part.iter().map(|&level| u32::from(level)).sum::<u32>());
            sum_of_squares += u64::from(part.iter().map(|&level| u32::from(level).pow(2)).sum::<u32>());
        }
    }
    let n_levels = (3 * image.colors.len()) as f64;
    let mean = sum as f64 / n_levels;
    let std = (sum_of_squares as f64 / n_levels - mean * mean).max(0.0).sqrt();
    let threshold = 3.0 * (mean - pair.dark_below_std * std);
    image.map(|color| {
        let total = color.iter().map(|&level| u16::from(level)).sum::<u16>();
        let table = if f64::from(total) < threshold { &dark_table } else { &other_table };
        color.map(|level| table[usize::from(level)])
    });
}

/// Contrast by a factor around black and brightness by an offset, a fraction of white.
pub(super) fn scale(image: &mut Pixels<'_>, factor: f64, offset: f64) {
    let table = table(|level| level * factor + 255.0 * offset);
    image.map(|color| color.map(|level| table[usize::from(level)]));
}
