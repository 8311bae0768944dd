//! CIE L\*a\*b\* in the integers of OpenCV's 8-bit path: no rounding differs, and a pixel costs a few look-ups.

use std::sync::LazyLock;

/// Fraction bits of matrices.
const MATRIX_BITS: u32 = 12;
/// Levels of linear light per 8-bit level, as a shift.
const LIGHT_BITS: u32 = 3;
/// Fraction bits of cube roots.
const ROOT_BITS: u32 = MATRIX_BITS + LIGHT_BITS;
/// Fraction bits on the way back.
const BASE_BITS: u32 = 14;
const BASE: i32 = 1 << BASE_BITS;
/// Levels of linear light on the way back, as a shift.
const LINEAR_BITS: u32 = 12;

/// Reference white of CIE XYZ, D65.
const WHITE: [f64; 3] = [0.950_456, 1.0, 1.088_754];
const TO_XYZ: [[f64; 3]; 3] =
    [[0.412_453, 0.357_580, 0.180_423], [0.212_671, 0.715_160, 0.072_169], [0.019_334, 0.119_193, 0.950_227]];
const FROM_XYZ: [[f64; 3]; 3] = [
    [3.240_479, -1.537_15, -0.498_535],
    [-0.969_256, 1.875_991, 0.041_556],
    [0.055_648, -0.204_043, 1.057_311],
];

/// L, a and b of the 8-bit form: 2.55 L, a + 128, b + 128.
pub(super) type Lab = [u8; 3];

/// What is looked up in both directions.
pub(super) struct Tables {
    /// Linear light of a level.
    light: [i32; 256],
    /// Cube root of a fraction of white.
    root: Vec<i32>,
    to_xyz: [[i32; 3]; 3],
    /// Y and its root of a lightness.
    lightness: [[i32; 2]; 256],
    /// What a level of a adds to the root of Y to give that of X, and a level of b takes from it to give that of Z.
    a_shift: [i32; 256],
    b_shift: [i32; 256],
    from_xyz: [[i32; 3]; 3],
    /// Level of linear light.
    level: Vec<u8>,
}

/// Filled at first use.
pub(super) static TABLES: LazyLock<Tables> = LazyLock::new(Tables::new);

fn rounded(value: f64) -> i32 {
    value.round_ties_even() as i32
}

/// Drops fraction bits, rounding to the nearest.
const fn descaled(value: i32, bits: u32) -> i32 {
    (value + (1 << (bits - 1))) >> bits
}

fn to_linear(value: f64) -> f64 {
    if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
}

fn from_linear(value: f64) -> f64 {
    if value <= 0.003_130_8 { value * 12.92 } else { 1.055 * value.powf(1.0 / 2.4) - 0.055 }
}

/// The cube of a root in [`BASE`]ths, the inverse of the cube root that is linear near black.
const fn cube(root: i32) -> i32 {
    // 6/29 of the base.
    const LINEAR_UP_TO: i32 = 3390;
    if root <= LINEAR_UP_TO {
        root * 108 / 841 - BASE * 16 / 116 * 108 / 841
    } else {
        (((root * root) >> BASE_BITS) * root) >> BASE_BITS
    }
}

impl Tables {
    fn new() -> Self {
        let whole_light = f64::from(255 << LIGHT_BITS);
        let root = |t: f64| if t < 0.008_856 { t * 7.787 + 16.0 / 116.0 } else { t.cbrt() };
        let lightness = |level: usize| {
            let lightness = level as f64 * 100.0 / 255.0;
            // Linear up to a lightness of 8.
            let (y, root) = if lightness <= 8.0 {
                let y = lightness / 903.3;
                (y, 7.787 * y + 16.0 / 116.0)
            } else {
                let root = (lightness + 16.0) / 116.0;
                (root * root * root, root)
            };
            [rounded(y * f64::from(BASE)), rounded(root * f64::from(BASE))]
        };
        let matrix_one = f64::from(1 << MATRIX_BITS);
        let indexed = |row: usize, column: usize| [row, column];
        let matrix = |entry: &dyn Fn([usize; 2]) -> f64| {
            std::array::from_fn(|row| {
                std::array::from_fn(|column| rounded(matrix_one * entry(indexed(row, column))))
            })
        };
        Self {
            light: std::array::from_fn(|level| rounded(whole_light * to_linear(level as f64 / 255.0))),
            // Up to one and a half times white, because rounded matrices may add up to more than white.
            root: (0..(256 * 3 / 2) << LIGHT_BITS)
                .map(|light| rounded(f64::from(1 << ROOT_BITS) * root(f64::from(light) / whole_light)))
                .collect(),
            to_xyz: matrix(&|[row, column]| TO_XYZ[row][column] / WHITE[row]),
            lightness: std::array::from_fn(lightness),
            a_shift: std::array::from_fn(|a| ((5 * a as i32 * 53687 + (1 << 7)) >> 13) - 128 * BASE / 500),
            b_shift: std::array::from_fn(|b| ((b as i32 * 41943 + (1 << 4)) >> 9) - 128 * BASE / 200 + 1),
            from_xyz: matrix(&|[row, column]| FROM_XYZ[row][column] * WHITE[column]),
            level: (0..1 << LINEAR_BITS)
                .map(|light| {
                    let light = f64::from(light) / f64::from((1 << LINEAR_BITS) - 1);
                    rounded(255.0 * from_linear(light)) as u8
                })
                .collect(),
        }
    }

    pub(super) fn lab_of(&self, color: [u8; 3]) -> Lab {
        let light = color.map(|level| self.light[usize::from(level)]);
        let [x, y, z] = self.to_xyz.map(|row| {
            let sum = row[0] * light[0] + row[1] * light[1] + row[2] * light[2];
            self.root[descaled(sum, MATRIX_BITS) as usize]
        });
        // 116 and 16 in 255ths of 100, as OpenCV rounds them.
        let lightness = 296 * y - ((16 * 255 * (1 << ROOT_BITS) + 50) / 100);
        let a = 500 * (x - y) + (128 << ROOT_BITS);
        let b = 200 * (y - z) + (128 << ROOT_BITS);
        [lightness, a, b].map(|value| descaled(value, ROOT_BITS).clamp(0, 255) as u8)
    }

    pub(super) fn rgb_of(&self, [lightness, a, b]: Lab) -> [u8; 3] {
        let [y, root] = self.lightness[usize::from(lightness)];
        let x = cube(root + self.a_shift[usize::from(a)]);
        let z = cube(root - self.b_shift[usize::from(b)]);
        self.from_xyz.map(|row| {
            let light = row[0] * x + row[1] * y + row[2] * z;
            let light = descaled(light, MATRIX_BITS + BASE_BITS - LINEAR_BITS);
            self.level[light.clamp(0, (1 << LINEAR_BITS) - 1) as usize]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_colours() {
        for (rgb, lab) in [([0, 0, 0], [0, 128, 128]), ([255, 255, 255], [255, 128, 128])] {
            assert_eq!(TABLES.lab_of(rgb), lab);
            assert_eq!(TABLES.rgb_of(lab), rgb);
        }
        // Pure red: L 53.2, a 80.1, b 67.2.
        assert_eq!(TABLES.lab_of([255, 0, 0]), [136, 208, 195]);
    }

    #[test]
    fn no_colour_of_either_space_is_out_of_the_tables() {
        let mut n_off = 0;
        for i in 0..1 << 15 {
            let color = [i >> 10, i >> 5 & 31, i & 31].map(|level: u32| (level * 255 / 31) as u8);
            // Any three bytes may be taken for a colour of the other space.
            let _ = TABLES.rgb_of(color);
            let back = TABLES.rgb_of(TABLES.lab_of(color));
            n_off += back.iter().zip(color).map(|(a, b)| u32::from(a.abs_diff(b))).sum::<u32>();
        }
        // Whole levels of lightness and hue are coarse for dark saturated colours, as in OpenCV.
        assert!(n_off < 3 << 15, "{n_off}");
    }
}
