//! Gaussian blur in the fixed point of OpenCV's 8-bit path.

use super::border::reflect;
use super::canvas::Pixels;
use crate::vectorize::vectorized;

/// The weights of a kernel sum to this.
const ONE: u16 = 256;

/// Half a level in 16 fraction bits.
const HALF: u32 = 1 << 15;

/// Blurs by a Gaussian kernel of `kernel_px` (odd), borders mirrored.
///
/// Along rows into 8.8 bits, then along columns into 8.16 bits, then rounded.
pub(super) fn gaussian(image: &mut Pixels<'_>, kernel_px: usize) {
    let weights = kernel(kernel_px);
    let radius = kernel_px / 2;
    let (height, width) = (image.height(), image.width);
    if height == 0 {
        return;
    }
    let (source, radius) = (image.colors.as_flattened(), radius as i64);
    let mut blurred = vec![0; source.len()];
    // Rows blurred along themselves: the second pass needs `kernel_px` of them at a time, row y in place
    // (y + radius) % kernel_px.
    let mut ring = vec![vec![0_u16; 3 * width]; kernel_px];
    let mut padded = Vec::with_capacity(3 * (width + kernel_px));
    let mut sums = vec![0_u32; 3 * width];
    for position in -radius..height as i64 + radius {
        let row = &source[3 * width * reflect(position, height)..][..3 * width];
        let pixel = |x: i64| &row[3 * reflect(x, width)..][..3];
        padded.clear();
        (-radius..0).for_each(|x| padded.extend_from_slice(pixel(x)));
        padded.extend_from_slice(row);
        (0..radius).for_each(|x| padded.extend_from_slice(pixel(width as i64 + x)));
        let line = &mut ring[(position + radius) as usize % kernel_px];
        line.fill(0);
        for (tap, &weight) in weights.iter().enumerate() {
            let shifted = &padded[3 * tap..];
            vectorized(|| {
                for (sum, &level) in line.iter_mut().zip(shifted) {
                    *sum += weight * u16::from(level);
                }
            });
        }
        let Ok(y) = usize::try_from(position - radius) else { continue };
        sums.fill(HALF);
        for (tap, &weight) in weights.iter().enumerate() {
            let line = &ring[(y + tap) % kernel_px];
            vectorized(|| {
                for (sum, &level) in sums.iter_mut().zip(line) {
                    // Of two 16-bit factors, which every processor multiplies many at a time.
                    *sum += u32::from(weight) * u32::from(level);
                }
            });
        }
        let out = &mut blurred[3 * width * y..];
        vectorized(|| {
            for (level, &sum) in out.iter_mut().zip(&sums) {
                *level = (sum >> 16) as u8;
            }
        });
    }
    image.colors.copy_from_slice(blurred.as_chunks().0);
}

/// Weights in 256ths.
///
/// Small kernels are OpenCV's binomial ones; the deviation of larger ones follows from their size.
/// What rounding a weight loses goes to the next one, and the middle takes the rest.
fn kernel(kernel_px: usize) -> Vec<u16> {
    match kernel_px {
        1 => vec![256],
        3 => vec![64, 128, 64],
        5 => vec![16, 64, 96, 64, 16],
        7 => vec![8, 28, 56, 72, 56, 28, 8],
        _ => {
            let radius = kernel_px / 2;
            let deviation = 0.3 * (radius as f64 - 1.0) + 0.8;
            let bell = |i: usize| (-(i as f64 - radius as f64).powi(2) / (2.0 * deviation * deviation)).exp();
            let total: f64 = (0..kernel_px).map(bell).sum();
            let mut lost = 0.0;
            let mut weights = (0..kernel_px).map(|_| 0).collect::<Vec<_>>();
            for i in 0..radius {
                let exact = bell(i) / total * f64::from(ONE) + lost;
                let weight = exact.round_ties_even();
                lost = exact - weight;
                weights[i] = weight as u16;
                weights[kernel_px - 1 - i] = weight as u16;
            }
            weights[radius] = ONE - weights.iter().sum::<u16>();
            weights
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_sum_to_one_and_flat_images_stay() {
        for kernel_px in (1..40).step_by(2) {
            let weights = kernel(kernel_px);
            assert_eq!((weights.len(), weights.iter().sum::<u16>()), (kernel_px, ONE));
            let mut flat = vec![[255, 77, 0]; 6 * 4];
            gaussian(&mut Pixels { colors: &mut flat, width: 6 }, kernel_px);
            assert_eq!(flat, [[255, 77, 0]; 6 * 4]);
        }
    }
}
