//! Repeatable randomness as a function of position.

/// Mixes a seed and a position to 32 random bits.
pub(crate) const fn hash(seed: u32, x: i32, y: i32) -> u32 {
    let mut h = seed ^ (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77);
    h ^= h >> 16;
    h = h.wrapping_mul(0x7feb_352d);
    h ^= h >> 15;
    h = h.wrapping_mul(0x846c_a68b);
    h ^ h >> 16
}

/// Eight bits of a hash as a number from 0 to 1; `byte` 0 to 3 are independent.
pub(crate) const fn unit(hash: u32, byte: u32) -> f32 {
    (hash >> (8 * byte) & 0xff) as f32 / 255.0
}

/// Smooth noise from -1 to 1 that changes over a distance of about 1.
pub(crate) fn value_noise(seed: u32, x: f32, y: f32) -> f32 {
    let (x0, y0) = (x.floor(), y.floor());
    let fade = |t: f32| t * t * (3.0 - 2.0 * t);
    let (tx, ty) = (fade(x - x0), fade(y - y0));
    let (x0, y0) = (x0 as i32, y0 as i32);
    let corner = |dx, dy| (hash(seed, x0 + dx, y0 + dy) >> 8) as f32 / (1 << 23) as f32 - 1.0;
    let top = lerp(corner(0, 0), corner(1, 0), tx);
    let bottom = lerp(corner(0, 1), corner(1, 1), tx);
    lerp(top, bottom, ty)
}

/// Two octaves of [`value_noise`].
pub(crate) fn rough_noise(seed: u32, x: f32, y: f32) -> f32 {
    value_noise(seed, x, y) * 0.65 + value_noise(seed ^ 0x5bd1_e995, x * 2.7, y * 2.7) * 0.35
}

/// From `a` at 0 to `b` at 1.
pub(crate) fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// From 0 below `low` to 1 above `high`, smoothly.
pub(crate) fn smooth_step(low: f32, high: f32, v: f32) -> f32 {
    let t = ((v - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// A periodic texture of blurred noise with mean 0 and deviation 1.
pub(crate) struct Texture {
    values: Vec<f32>,
}

/// Side of a [`Texture`] in pixels.
const TEXTURE_PX: usize = 512;

impl Texture {
    /// Noise whose grains are about `2 * radius + 1` pixels wide.
    pub(crate) fn new(seed: u32, radius: usize) -> Self {
        let n = TEXTURE_PX;
        let mut values: Vec<f32> =
            (0..n * n).map(|i| unit(hash(seed, (i % n) as i32, (i / n) as i32), 1) - 0.5).collect();
        for stride in [1, n, 1, n] {
            values = blur_periodic(&values, stride, radius);
        }
        let deviation = (values.iter().map(|v| v * v).sum::<f32>() / (n * n) as f32).sqrt();
        for v in &mut values {
            *v = (*v / deviation).clamp(-3.0, 3.0);
        }
        Self { values }
    }

    /// The texture's row for row `y` of the slide.
    pub(crate) fn row(&self, y: i64) -> &[f32] {
        let y = y.rem_euclid(TEXTURE_PX as i64) as usize;
        &self.values[y * TEXTURE_PX..][..TEXTURE_PX]
    }

    /// The place in a row of column `x` of the slide.
    pub(crate) const fn column(x: i64) -> usize {
        // The side is a power of two, so this holds for negative columns too.
        x as usize % TEXTURE_PX
    }
}

/// Moving mean along one axis; a stride of 1 goes along rows, of [`TEXTURE_PX`] along columns.
fn blur_periodic(values: &[f32], stride: usize, radius: usize) -> Vec<f32> {
    let n = TEXTURE_PX;
    (0..n * n)
        .map(|i| {
            let (along, base) = if stride == 1 { (i % n, i - i % n) } else { (i / n, i % n) };
            let at = |j: usize| values[base + (along + n + j - radius) % n * stride];
            (0..=2 * radius).map(at).sum()
        })
        .collect()
}
