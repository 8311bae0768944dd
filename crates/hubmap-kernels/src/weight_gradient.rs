//! Gradient of a convolution's loss with respect to its weights.
//!
//! `dW[o, i, ky, kx] = Σ dY[pixel, o] · X[pixel moved by (ky, kx), i]`: a product with the pixels as inner dimension.
//! A tile of a few output and input channels stays in registers while a run of pixels goes by. Both sides are
//! packed so that the run is contiguous: input rows with their zero padding, split by stride into phases, so that
//! every tap of the kernel is the same packed array from another start.

mod plan;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use self::plan::{Plan, Run, TapProduct, Tile};
use crate::{ConvShape, Images, KernelError};

/// Tiles of input channels that share one packing of the output gradient.
const TILES_PER_TASK: usize = 4;
/// Wanted number of tasks; fixed, so that sums do not depend on the number of threads.
const N_TASKS: usize = 16;
/// A task has at least this many runs, so that adding up the tasks' sums costs little.
const MIN_RUNS: usize = 8;

/// Gradient `[out_channels, group_in_channels, kernel_px, kernel_px]` of a convolution's weights, from what the
/// convolution read and the gradient of what it wrote.
///
/// As in the convolution, an upsampled source is never materialised: 16 products per pixel do instead of 36.
pub fn weight_gradient(
    shape: &ConvShape,
    sources: &[Images<'_>],
    out_gradient: Images<'_>,
) -> Result<Vec<f32>, KernelError> {
    if shape.sources.iter().any(|s| s.zeros_between) {
        return Err(KernelError::Shape {
            problem: "there are no weight gradients over a source with zeros between",
        });
    }
    let out = shape.output_extent(sources)?;
    if out_gradient.extent() != out {
        return Err(KernelError::Length { found: out_gradient.data().len(), extent: out });
    }
    let row_len = shape.group_in_channels() * shape.kernel_px * shape.kernel_px;
    let mut weights = vec![0.0; shape.n_weights()];
    let mut first_channel = 0;
    for (index, source) in sources.iter().enumerate() {
        let plan = Plan::new(shape, index, source.extent());
        let product = Product { plan: &plan, input: source.data(), gradient: out_gradient.data() };
        let weights = &mut weights[first_channel * shape.kernel_px * shape.kernel_px..];
        Arch::new().dispatch(Add { product, weights, row_len });
        first_channel += plan.group_in_channels();
    }
    Ok(weights)
}

/// One source against the output's gradient.
#[derive(Clone, Copy)]
struct Product<'a> {
    plan: &'a Plan,
    input: &'a [f32],
    gradient: &'a [f32],
}

impl Product<'_> {
    /// Adds this source's part to weights in rows of `row_len`, with `OUT` output channels and `VECTORS` vectors of
    /// input channels per tile.
    fn compute<S: Simd, const OUT: usize, const VECTORS: usize>(&self, weights: &mut [f32], row_len: usize) {
        let plan = self.plan;
        let runs = plan.runs();
        let tiles = plan.tiles(S::F32_LANES, VECTORS);
        let bundles: Vec<&[Tile]> = tiles.chunks(TILES_PER_TASK).collect();
        let wanted = N_TASKS.div_ceil(bundles.len() * plan.groups).min(runs.len().div_ceil(MIN_RUNS)).max(1);
        let chunks: Vec<&[Run]> = runs.chunks(runs.len().div_ceil(wanted).max(1)).collect();
        let tasks: Vec<(usize, usize, usize)> = (0..plan.groups)
            .flat_map(|group| (0..bundles.len()).map(move |bundle| (group, bundle)))
            .flat_map(|(group, bundle)| (0..chunks.len()).map(move |chunk| (group, bundle, chunk)))
            .collect();
        let sums: Vec<Vec<f32>> = tasks
            .par_iter()
            .map(|&(group, bundle, chunk)| {
                let (tiles, runs) = (bundles[bundle], chunks[chunk]);
                Arch::new().dispatch(Task::<OUT, VECTORS> { product: self, group, tiles, runs })
            })
            .collect();
        // Adds the chunks' sums in the order of the weights.
        let n_taps = plan.n_taps();
        weights.par_chunks_mut(row_len).enumerate().for_each(|(out, weights)| {
            let (group, out) = (out / plan.group_out_channels(), out % plan.group_out_channels());
            for (bundle, tiles) in bundles.iter().enumerate() {
                let first = (group * bundles.len() + bundle) * chunks.len();
                for sums in &sums[first..first + chunks.len()] {
                    let n_floats = plan.n_sums::<OUT>(tiles, S::F32_LANES);
                    let mut at = out / OUT * n_floats;
                    for tile in *tiles {
                        let width = tile.n_vectors * S::F32_LANES;
                        let row = &sums[at + out % OUT * width..];
                        let windows = &mut weights[tile.channel * n_taps..][..tile.n_channels * n_taps];
                        add_rows(plan.products(), row, OUT * width, windows, n_taps);
                        at += plan.products().len() * OUT * width;
                    }
                }
            }
        });
    }
}

/// Adds the sums of one output channel to its windows `[channel, tap]`; those of a product are `pitch` after those
/// of the one before.
fn add_rows(products: &[TapProduct], sums: &[f32], pitch: usize, windows: &mut [f32], n_taps: usize) {
    if n_taps == 1 && products.len() == 1 {
        for (weight, sum) in windows.iter_mut().zip(sums) {
            *weight += sum;
        }
        return;
    }
    for (channel, window) in windows.chunks_exact_mut(n_taps).enumerate() {
        for (product, sum) in products.iter().zip(sums[channel..].iter().step_by(pitch)) {
            for &tap in &product.taps {
                window[tap] += sum;
            }
        }
    }
}

struct Add<'a> {
    product: Product<'a>,
    weights: &'a mut [f32],
    row_len: usize,
}

impl WithSimd for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { product, weights, row_len } = self;
        let n_out = product.plan.group_out_channels();
        let n_vectors = product.plan.group_in_channels().div_ceil(S::F32_LANES);
        // 8 to 12 sums: with fewer the processor waits, with more the compiler runs out of registers.
        match (n_out, n_vectors) {
            (1, _) => product.compute::<S, 1, 2>(weights, row_len),
            (out, vectors) if out % 3 == 0 && vectors % 6 == 3 => {
                product.compute::<S, 3, 3>(weights, row_len);
            }
            (out, _) if out % 6 == 0 => product.compute::<S, 6, 2>(weights, row_len),
            _ => product.compute::<S, 4, 2>(weights, row_len),
        }
    }
}

/// Tiles of input channels against all output channels of a group, over some runs.
struct Task<'a, const OUT: usize, const VECTORS: usize> {
    product: &'a Product<'a>,
    group: usize,
    tiles: &'a [Tile],
    runs: &'a [Run],
}

impl<const OUT: usize, const VECTORS: usize> WithSimd for Task<'_, OUT, VECTORS> {
    type Output = Vec<f32>;

    /// Sums `[tile of output channels, tile of input channels, product, OUT, width of the tile]`.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let plan = self.product.plan;
        let n_out_tiles = plan.group_out_channels().div_ceil(OUT);
        let n_floats = plan.n_sums::<OUT>(self.tiles, S::F32_LANES);
        let mut sums = vec![0.0; n_out_tiles * n_floats];
        let mut panels: Vec<Vec<f32>> = self.tiles.iter().map(|_| Vec::new()).collect();
        let mut gradients: Vec<Vec<f32>> = (0..plan.n_gradient_phases()).map(|_| Vec::new()).collect();
        for run in self.runs {
            for (panel, tile) in panels.iter_mut().zip(self.tiles) {
                let width = tile.n_vectors * S::F32_LANES;
                plan.pack_input(panel, self.product.input, self.group, *run, *tile, width);
            }
            for (out_tile, sums) in sums.chunks_exact_mut(n_floats).enumerate() {
                for (phase, packed) in gradients.iter_mut().enumerate() {
                    plan.pack_gradient::<OUT>(
                        packed,
                        self.product.gradient,
                        self.group,
                        *run,
                        phase,
                        out_tile,
                    );
                }
                let mut rest = sums;
                for (panel, tile) in panels.iter().zip(self.tiles) {
                    let width = tile.n_vectors * S::F32_LANES;
                    for product in plan.products() {
                        let (sums, others) = rest.split_at_mut(OUT * width);
                        rest = others;
                        let gradient = &gradients[product.gradient_phase];
                        let panel = &panel[plan.start(product, *run) * width..];
                        if tile.n_vectors == VECTORS {
                            accumulate::<S, OUT, VECTORS>(simd, sums, gradient, panel);
                        } else if tile.n_vectors == 2 {
                            accumulate::<S, OUT, 2>(simd, sums, gradient, panel);
                        } else {
                            accumulate::<S, OUT, 1>(simd, sums, gradient, panel);
                        }
                    }
                }
            }
        }
        sums
    }
}

/// Adds the products of a run: `sums` is `[OUT, VECTORS · lanes]`, `gradient` `[pixel, OUT]`.
#[inline(always)]
fn accumulate<S: Simd, const OUT: usize, const VECTORS: usize>(
    simd: S,
    sums: &mut [f32],
    gradient: &[f32],
    input: &[f32],
) {
    let mut products = [[simd.splat_f32s(0.0); VECTORS]; OUT];
    let (input, _) = S::as_simd_f32s(input);
    let (input, _) = input.as_chunks::<VECTORS>();
    let (gradient, _) = gradient.as_chunks::<OUT>();
    for (gradient, input) in gradient.iter().zip(input) {
        for (products, &factor) in products.iter_mut().zip(gradient) {
            let factor = simd.splat_f32s(factor);
            for (product, &value) in products.iter_mut().zip(input) {
                *product = simd.mul_add_f32s(factor, value, *product);
            }
        }
    }
    let (sums, _) = S::as_mut_simd_f32s(sums);
    for (sum, product) in sums.iter_mut().zip(products.as_flattened()) {
        *sum = simd.add_f32s(*sum, *product);
    }
}
