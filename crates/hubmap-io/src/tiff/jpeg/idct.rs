//! The inverse cosine transform, to the bit as libjpeg's `jidctint.c` does it.
#![expect(
    clippy::inline_always,
    reason = "the loops over blocks are compiled for the vector unit as a whole"
)]

/// Samples of a decoded plane.
pub(super) trait Sample: Copy + Default + Into<i32> + Into<u16> {
    /// Binary places that the first pass keeps.
    const PASS_1_BITS: u32;
    /// What a coefficient of 0 stands for.
    const CENTRE: i32;
    /// Largest value of a transformed sample.
    const MAX: i32;

    /// A value that is known to fit, or its low bits.
    fn cut(value: i32) -> Self;

    /// The bytes themselves as samples, if they are.
    fn from_bytes(bytes: &mut [u8]) -> Option<&mut [Self]>;

    /// A transformed value, which is relative to the centre.
    #[inline(always)]
    fn from_level(level: i32) -> Self {
        Self::cut((level.wrapping_add(Self::CENTRE)).clamp(0, Self::MAX))
    }
}

impl Sample for u8 {
    const PASS_1_BITS: u32 = 2;
    const CENTRE: i32 = 128;
    const MAX: i32 = 255;

    #[inline(always)]
    fn cut(value: i32) -> Self {
        value as Self
    }

    fn from_bytes(bytes: &mut [u8]) -> Option<&mut [Self]> {
        Some(bytes)
    }
}

/// 12-bit samples where they are transformed, up to 16 bits where they are not.
impl Sample for u16 {
    const PASS_1_BITS: u32 = 1;
    const CENTRE: i32 = 2048;
    const MAX: i32 = 4095;

    #[inline(always)]
    fn cut(value: i32) -> Self {
        value as Self
    }

    fn from_bytes(_: &mut [u8]) -> Option<&mut [Self]> {
        None
    }
}

/// Coefficients, multiplied by their quantisers, in rows.
pub(super) type Block = [i32; 64];

/// Position of the coefficients in their coded order; those past the end go to the last one.
pub(super) const ZIGZAG: [u8; 128] = {
    let head = [
        0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,
        6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38,
        31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
    ];
    let mut order = [63; 128];
    let mut i = 0;
    while i < 64 {
        order[i] = head[i];
        i += 1;
    }
    order
};

/// Values in eight rows of eight.
type Square = [[i32; 8]; 8];

/// Binary places of the factors.
const CONST_BITS: u32 = 13;

/// Writes the 8x8 samples of `block` to `plane` from `at` on.
#[inline(always)]
pub(super) fn transform<S: Sample>(block: &Block, plane: &mut [S], at: usize, stride: usize) {
    let (mut rows, mut columns) = ([[0; 8]; 8], [[S::default(); 8]; 8]);
    let Some(coefficients) = block.as_chunks::<8>().0.first_chunk::<8>() else { return };
    pass(coefficients, &mut rows, CONST_BITS - S::PASS_1_BITS);
    let transposed = transpose(&rows);
    pass(&transposed, &mut rows, CONST_BITS + S::PASS_1_BITS + 3);
    for (column, levels) in columns.iter_mut().zip(&rows) {
        for (sample, &level) in column.iter_mut().zip(levels) {
            *sample = S::from_level(level);
        }
    }
    for (y, row) in transpose(&columns).into_iter().enumerate() {
        if let Some(out) = plane.get_mut(at + y * stride..).and_then(<[S]>::first_chunk_mut::<8>) {
            *out = row;
        }
    }
}

/// Writes the samples of a block that has only its first coefficient.
#[inline(always)]
pub(super) fn flat<S: Sample>(first: i32, plane: &mut [S], at: usize, stride: usize) {
    let sum = first.wrapping_shl(S::PASS_1_BITS).wrapping_add(1 << (S::PASS_1_BITS + 2));
    let value = S::from_level(sum >> (S::PASS_1_BITS + 3));
    for y in 0..8 {
        if let Some(out) = plane.get_mut(at + y * stride..).and_then(<[S]>::first_chunk_mut::<8>) {
            *out = [value; 8];
        }
    }
}

/// Rows to columns; written out so that it becomes shuffles.
#[inline(always)]
fn transpose<T: Copy + Default>(r: &[[T; 8]; 8]) -> [[T; 8]; 8] {
    let mut columns = [[T::default(); 8]; 8];
    for x in 0..8 {
        columns[x] = [r[0][x], r[1][x], r[2][x], r[3][x], r[4][x], r[5][x], r[6][x], r[7][x]];
    }
    columns
}

/// One dimension of the transform (Loeffler, Ligtenberg and Moschytz 1989), of each column.
#[inline(always)]
fn pass(c: &Square, out: &mut Square, shift: u32) {
    let add = i32::wrapping_add;
    let sub = i32::wrapping_sub;
    let mul = i32::wrapping_mul;
    for x in 0..8 {
        let z = mul(add(c[2][x], c[6][x]), 4433);
        let (even_2, even_3) = (add(z, mul(c[6][x], -15137)), add(z, mul(c[2][x], 6270)));
        // The rounding term goes through all of the sums below.
        let round = 1 << (shift - 1);
        let even_0 = add(add(c[0][x], c[4][x]) << CONST_BITS, round);
        let even_1 = add(sub(c[0][x], c[4][x]) << CONST_BITS, round);
        let (t10, t13) = (add(even_0, even_3), sub(even_0, even_3));
        let (t11, t12) = (add(even_1, even_2), sub(even_1, even_2));

        let (z1, z2) = (mul(add(c[7][x], c[1][x]), -7373), mul(add(c[5][x], c[3][x]), -20995));
        let (z3, z4) = (add(c[7][x], c[3][x]), add(c[5][x], c[1][x]));
        let z5 = mul(add(z3, z4), 9633);
        let (z3, z4) = (add(mul(z3, -16069), z5), add(mul(z4, -3196), z5));
        let t0 = add(mul(c[7][x], 2446), add(z1, z3));
        let t1 = add(mul(c[5][x], 16819), add(z2, z4));
        let t2 = add(mul(c[3][x], 25172), add(z2, z3));
        let t3 = add(mul(c[1][x], 12299), add(z1, z4));

        out[0][x] = add(t10, t3) >> shift;
        out[1][x] = add(t11, t2) >> shift;
        out[2][x] = add(t12, t1) >> shift;
        out[3][x] = add(t13, t0) >> shift;
        out[4][x] = sub(t13, t0) >> shift;
        out[5][x] = sub(t12, t1) >> shift;
        out[6][x] = sub(t11, t2) >> shift;
        out[7][x] = sub(t10, t3) >> shift;
    }
}

#[cfg(test)]
mod tests {
    use super::{Block, ZIGZAG, flat, transform};

    #[test]
    fn every_coefficient_has_a_place() {
        let mut places = ZIGZAG[..64].to_vec();
        places.sort_unstable();
        assert!(places.iter().copied().eq(0..64));
    }

    #[test]
    fn a_block_of_one_coefficient_is_flat() {
        for first in [-3000, -1024, -9, -4, 0, 3, 4, 500, 1016, 4000] {
            let mut block: Block = [0; 64];
            block[0] = first;
            let (mut whole, mut short) = ([7_u8; 64], [9_u8; 64]);
            transform(&block, &mut whole, 0, 8);
            flat(first, &mut short, 0, 8);
            assert_eq!(whole, short);
            assert_eq!(i32::from(whole[0]), (128 + ((first + 4) >> 3)).clamp(0, 255));
        }
    }

    #[test]
    fn agrees_with_the_definition() {
        let mut block: Block = [0; 64];
        for (i, value) in block.iter_mut().enumerate() {
            *value = (i as i32 * 7919 % 61 - 30) * 3 / (1 + i as i32 / 8);
        }
        let mut samples = [0_u8; 64];
        transform(&block, &mut samples, 0, 8);
        let cosine = |x: usize, u: usize| {
            let scale = if u == 0 { 0.5_f64.sqrt() } else { 1.0 };
            scale * ((2 * x + 1) as f64 * u as f64 * std::f64::consts::PI / 16.0).cos()
        };
        for y in 0..8 {
            for x in 0..8 {
                let sum: f64 =
                    (0..64).map(|i| f64::from(block[i]) * cosine(y, i / 8) * cosine(x, i % 8)).sum();
                let exact = (sum / 4.0 + 128.0).clamp(0.0, 255.0);
                assert!((f64::from(samples[y * 8 + x]) - exact).abs() <= 1.0, "{x}, {y}");
            }
        }
    }
}
