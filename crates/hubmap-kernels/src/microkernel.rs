//! The inner loop: a few pixels times a few vectors of output channels, all sums in registers.

use pulp::Simd;

/// Sums of `PIXELS` pixels and `VECTORS` vectors of output channels.
pub(crate) type Sums<S, const PIXELS: usize, const VECTORS: usize> = [[<S as Simd>::f32s; VECTORS]; PIXELS];

/// Adds the products of `inputs[pixel][k]` and `weights[k][channel]` over all `k`.
///
/// `weights` is `[k, VECTORS * lanes]`; every input has at least as many numbers as there are `k`.
#[inline(always)]
pub(crate) fn multiply_add<S: Simd, const PIXELS: usize, const VECTORS: usize>(
    simd: S,
    sums: &mut Sums<S, PIXELS, VECTORS>,
    inputs: &[&[f32]; PIXELS],
    weights: &[f32],
) {
    let (weights, _) = S::as_simd_f32s(weights);
    let (weights, _) = weights.as_chunks::<VECTORS>();
    let mut trimmed: [&[f32]; PIXELS] = [&[]; PIXELS];
    for pixel in 0..PIXELS {
        trimmed[pixel] = &inputs[pixel][..weights.len()];
    }
    for (k, weights) in weights.iter().enumerate() {
        for pixel in 0..PIXELS {
            let input = simd.splat_f32s(trimmed[pixel][k]);
            for vector in 0..VECTORS {
                sums[pixel][vector] = simd.mul_add_e_f32s(input, weights[vector], sums[pixel][vector]);
            }
        }
    }
}

/// Reads sums from `VECTORS * lanes` numbers, or as many as there are and zeros.
#[inline(always)]
pub(crate) fn load<S: Simd, const VECTORS: usize>(simd: S, from: &[f32]) -> [S::f32s; VECTORS] {
    let (whole, rest) = S::as_simd_f32s(from);
    if let Some(whole) = whole.first_chunk::<VECTORS>() {
        return *whole;
    }
    let mut vectors = [simd.splat_f32s(0.0); VECTORS];
    vectors[..whole.len()].copy_from_slice(whole);
    if !rest.is_empty() {
        vectors[whole.len()] = simd.partial_load_f32s(rest);
    }
    vectors
}

/// Writes sums to `VECTORS * lanes` numbers, or as many as there is room for.
#[inline(always)]
pub(crate) fn store<S: Simd, const VECTORS: usize>(simd: S, vectors: [S::f32s; VECTORS], to: &mut [f32]) {
    let (whole, rest) = S::as_mut_simd_f32s(to);
    if let Some(whole) = whole.first_chunk_mut::<VECTORS>() {
        *whole = vectors;
        return;
    }
    let n_whole = whole.len();
    whole.copy_from_slice(&vectors[..n_whole]);
    if !rest.is_empty() {
        simd.partial_store_f32s(rest, vectors[n_whole]);
    }
}
