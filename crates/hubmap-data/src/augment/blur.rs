//! Gaussian blur in the fixed point of OpenCV's 8-bit path.

use super::border::reflect;
use super::canvas::Pixels;

/// The weights of a kernel sum to this.
const ONE: u32 = 256;

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
    let source = image.colors.as_flattened();
    // Rows blurred along themselves; the window of the second pass needs `kernel_px` of them at a time.
    let mut lines = vec![vec![0_u16; 3 * width]; kernel_px];
    let mut padded = Vec::with_capacity(3 * (width + 2 * radius));
    let mut blur_row = |position: i64, line: &mut [u16]| {
        let row = &source[3 * width * reflect(position, height)..][..3 * width];
        padded.clear();
        for x in (0..radius as i64).map(|x| x - radius as i64) {
            padded.extend_from_slice(&row[3 * reflect(x, width)..][..3]);
        }
        padded.extend_from_slice(row);
        for x in (width..width + radius).map(|x| x as i64) {
            padded.extend_from_slice(&row[3 * reflect(x, width)..][..3]);
        }
        line.fill(0);
        for (tap, &weight) in weights.iter().enumerate() {
            for (sum, &level) in line.iter_mut().zip(&padded[3 * tap..]) {
                *sum += weight as u16 * u16::from(level);
            }
        }
    };
    for (idx, line) in lines.iter_mut().enumerate() {
        blur_row(idx as i64 - radius as i64, line);
    }
    let mut blurred = vec![0; source.len()];
    let mut sums = vec![0_u32; 3 * width];
    for (y, out) in blurred.chunks_exact_mut(3 * width).enumerate() {
        // Row y - radius + tap is in place (y + tap) % kernel_px of the ring.
        sums.fill(ONE * ONE / 2);
        for (tap, &weight) in weights.iter().enumerate() {
            for (sum, &level) in sums.iter_mut().zip(&lines[(y + tap) % kernel_px]) {
                *sum += weight * u32::from(level);
            }
        }
        for (level, &sum) in out.iter_mut().zip(&sums) {
            *level = (sum / (ONE * ONE)) as u8;
        }
        blur_row((y + radius + 1) as i64, &mut lines[y % kernel_px]);
    }
    image.colors.copy_from_slice(blurred.as_chunks().0);
}

/// Weights in 256ths.
///
/// Small kernels are OpenCV's binomial ones; the deviation of larger ones follows from their size.
/// What rounding a weight loses goes to the next one, and the middle takes the rest.
fn kernel(kernel_px: usize) -> Vec<u32> {
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
                weights[i] = weight as u32;
                weights[kernel_px - 1 - i] = weight as u32;
            }
            weights[radius] = ONE - weights.iter().sum::<u32>();
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
            assert_eq!((weights.len(), weights.iter().sum::<u32>()), (kernel_px, ONE));
            let mut flat = vec![[255, 77, 0]; 6 * 4];
            gaussian(&mut Pixels { colors: &mut flat, width: 6 }, kernel_px);
            assert_eq!(flat, [[255, 77, 0]; 6 * 4]);
        }
    }
}
