//! Hue, saturation and value, in the integers of OpenCV's 8-bit path.

use super::canvas::Pixels;
use super::levels::table;

/// Hues around the circle, two degrees each.
const N_HUES: i32 = 180;
/// Fraction bits of the reciprocals.
const SHIFT: u32 = 12;
const HALF: i32 = 1 << (SHIFT - 1);

/// `numerator * 2^SHIFT / i`, rounded, ties to even; 0 for 0.
const fn reciprocals(numerator: i32) -> [i32; 256] {
    let mut table = [0; 256];
    let mut i = 1;
    while i < 256 {
        let (quotient, rest) = ((numerator << SHIFT) / i, (numerator << SHIFT) % i);
        let rounds_up = 2 * rest > i || (2 * rest == i && quotient % 2 == 1);
        table[i as usize] = quotient + rounds_up as i32;
        i += 1;
    }
    table
}

static SATURATIONS: [i32; 256] = reciprocals(255);
static HUES: [i32; 256] = reciprocals(N_HUES / 6);

/// Shifts hue (around the circle), saturation and value (clipped).
pub(super) fn shift(image: &mut Pixels<'_>, [hue, saturation, value]: [f64; 3]) {
    let hues = table(|level| (level + hue).rem_euclid(f64::from(N_HUES)));
    let (saturations, values) = (table(|level| level + saturation), table(|level| level + value));
    image.map(|color| {
        let [h, s, v] = from_rgb(color).map(usize::from);
        to_rgb([hues[h], saturations[s], values[v]])
    });
}

/// Hue in units of two degrees, saturation and value.
fn from_rgb(color: [u8; 3]) -> [u8; 3] {
    let [r, g, b] = color.map(i32::from);
    let (max, min) = (r.max(g).max(b), r.min(g).min(b));
    let range = max - min;
    let saturation = (range * SATURATIONS[max as usize] + HALF) >> SHIFT;
    let sixth = if max == r {
        g - b
    } else if max == g {
        b - r + 2 * range
    } else {
        r - g + 4 * range
    };
    let hue = (sixth * HUES[range as usize] + HALF) >> SHIFT;
    [(if hue < 0 { hue + N_HUES } else { hue }) as u8, saturation as u8, max as u8]
}

/// Which of value, none, falling and rising each channel takes, by the sixth of the circle.
static SIXTHS: [[usize; 3]; 6] = [[0, 3, 1], [2, 0, 1], [1, 0, 3], [1, 2, 0], [3, 1, 0], [0, 1, 2]];

fn to_rgb([h, s, v]: [u8; 3]) -> [u8; 3] {
    // Saturations are in 255ths and positions between two sixths of the circle in 30ths.
    const WHOLE: u32 = 255 * 30;
    let (sixth, part) = (h / 30, u32::from(h % 30));
    let (s, v) = (u32::from(s), u32::from(v));
    let scaled = |loss: u32| ((v * (WHOLE - loss) + WHOLE / 2) / WHOLE) as u8;
    let (none, falling, rising) = (scaled(30 * s), scaled(s * part), scaled(s * (30 - part)));
    let levels = [v as u8, none, falling, rising];
    // A look-up rather than a match: hues of neighbours jump, and branches would be guessed wrong.
    SIXTHS[usize::from(sixth)].map(|channel| levels[channel])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hues() {
        for (rgb, hsv) in [
            ([255, 0, 0], [0, 255, 255]),
            ([0, 255, 0], [60, 255, 255]),
            ([0, 0, 128], [120, 255, 128]),
            ([255, 0, 1], [0, 255, 255]),
            ([255, 0, 9], [179, 255, 255]),
            ([100, 100, 100], [0, 0, 100]),
            ([0, 0, 0], [0, 0, 0]),
        ] {
            assert_eq!(from_rgb(rgb), hsv);
        }
        assert_eq!(to_rgb([30, 255, 200]), [200, 200, 0]);
        assert_eq!(to_rgb([150, 128, 200]), [200, 100, 200]);
    }

    #[test]
    fn colours_nearly_return() {
        for i in 0..1 << 12 {
            let color = [(i >> 8) * 17, (i >> 4 & 15) * 17, (i & 15) * 17].map(|level: u32| level as u8);
            let back = to_rgb(from_rgb(color));
            // Hues of two degrees are coarse: saturated colours are off by a few levels, as in OpenCV.
            assert!(back.iter().zip(color).all(|(a, b)| a.abs_diff(b) <= 5), "{color:?} {back:?}");
        }
    }
}
