//! Every kernel against its definition.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

/// Forward, for every layout of sources, groups and sizes.
mod convolution;

/// The gradient of a convolution's input.
mod backward;

/// The gradient of a convolution's weights.
mod weight_gradient;

/// Means, gates, single-channel convolutions and joins.
mod attention;

/// Numbers in -1..1 without a pattern.
fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}
