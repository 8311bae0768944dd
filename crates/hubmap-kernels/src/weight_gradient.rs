//! Gradient of a convolution's loss with respect to its weights.
//!
//! `dW[o, i, ky, kx] = Σ dY[pixel, o] · X[pixel moved by (ky, kx), i]`: a product with the pixels as inner dimension.
//! A tile of a few output and input channels stays in registers while a run of pixels goes by. Both sides are
//! packed so that the run is contiguous: input rows with their zero padding, split by stride into phases, so that
//! every tap of the kernel is the same packed array from another start.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Output channels of a tile.
const TILE_OUT: usize = 4;
/// Vectors of input channels of a tile; with `TILE_OUT` as many sums as registers allow.
const TILE_VECTORS: usize = 3;
/// Pixels of a run: long enough to hide the end of a tile, short enough for the first-level cache.
const RUN_PX: usize = 256;
/// Tiles of input channels that share one packing of the output gradient.
const TILES_PER_TASK: usize = 4;
/// Wanted number of tasks; fixed, so that sums do not depend on the number of threads.
const N_TASKS: usize = 16;
/// A task has at least this many runs, so that adding up the tasks' sums costs little.
const MIN_RUNS: usize = 8;

/// The shape of a convolution with square kernel, stride and padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvShape {
    /// Images.
    pub batch: usize,
    /// Input height in pixels.
    pub in_height: usize,
    /// Input width in pixels.
    pub in_width: usize,
    /// Input channels.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Distance of neighbouring outputs in the input.
    pub stride: usize,
    /// Rows and columns of zeros on every side.
    pub padding: usize,
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

impl ConvShape {
    /// Output height in pixels.
    pub const fn out_height(&self) -> usize {
        (self.in_height + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Output width in pixels.
    pub const fn out_width(&self) -> usize {
        (self.in_width + 2 * self.padding - self.kernel) / self.stride + 1
    }
}

/// Gradient `[out_channels, in_channels / groups, kernel, kernel]` from the input `[n, h, w, in_channels]` and the
/// output's gradient `[n, out_height, out_width, out_channels]`.
///
/// # Panics
/// If a slice has another length than `shape` says.
pub fn weight_gradient(shape: &ConvShape, input: &[f32], out_gradient: &[f32]) -> Vec<f32> {
    let mut shape = *shape;
    let (out_height, out_width) = (shape.out_height(), shape.out_width());
    assert_eq!(input.len(), shape.batch * shape.in_height * shape.in_width * shape.in_channels);
    assert_eq!(out_gradient.len(), shape.batch * out_height * out_width * shape.out_channels);
    if shape.kernel == 1 && shape.stride == 1 && shape.padding == 0 {
        // Without neighbours, images are but rows.
        shape.in_height *= shape.batch;
        shape.batch = 1;
    }
    if shape.out_channels == shape.groups {
        Arch::new().dispatch(Sides::<1> { shape: &shape, input, out_gradient })
    } else {
        Arch::new().dispatch(Sides::<TILE_OUT> { shape: &shape, input, out_gradient })
    }
}

/// Both arrays of a product, with `OUT` output channels per tile.
struct Sides<'a, const OUT: usize> {
    shape: &'a ConvShape,
    input: &'a [f32],
    out_gradient: &'a [f32],
}

/// A run of output pixels: rows of one image.
#[derive(Debug, Clone, Copy)]
struct Run {
    image: usize,
    row: usize,
    n_rows: usize,
}

/// Input channels of a tile, counted from the group's first.
#[derive(Debug, Clone, Copy)]
struct Tile {
    channel: usize,
    n_channels: usize,
    n_vectors: usize,
}

impl<const OUT: usize> WithSimd for Sides<'_, OUT> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> Vec<f32> {
        self.compute::<S>()
    }
}

impl<const OUT: usize> Sides<'_, OUT> {
    fn compute<S: Simd>(&self) -> Vec<f32> {
        let shape = self.shape;
        let runs = runs(shape);
        let tiles = tiles(shape.in_channels / shape.groups, S::F32_LANES);
        let bundles: Vec<&[Tile]> = tiles.chunks(TILES_PER_TASK).collect();
        let n_chunks =
            N_TASKS.div_ceil(bundles.len() * shape.groups).min(runs.len().div_ceil(MIN_RUNS)).max(1);
        let chunks: Vec<&[Run]> = runs.chunks(runs.len().div_ceil(n_chunks).max(1)).collect();
        let tasks: Vec<(usize, usize, usize)> = (0..shape.groups)
            .flat_map(|group| (0..bundles.len()).map(move |bundle| (group, bundle)))
            .flat_map(|(group, bundle)| (0..chunks.len()).map(move |chunk| (group, bundle, chunk)))
            .collect();
        let sums: Vec<Vec<f32>> = tasks
            .par_iter()
            .map(|&(group, bundle, chunk)| {
                Arch::new().dispatch(Task { sides: self, group, tiles: bundles[bundle], runs: chunks[chunk] })
            })
            .collect();
        self.gather::<S>(&bundles, chunks.len(), &sums)
    }

    /// Adds the chunks' sums and puts them in the order of the weights.
    fn gather<S: Simd>(&self, bundles: &[&[Tile]], n_chunks: usize, sums: &[Vec<f32>]) -> Vec<f32> {
        let shape = self.shape;
        let (in_group, out_group) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
        let n_taps = shape.kernel * shape.kernel;
        let mut weights = vec![0.0; shape.out_channels * in_group * n_taps];
        weights.par_chunks_mut(in_group * n_taps).enumerate().for_each(|(out, weights)| {
            let (group, out) = (out / out_group, out % out_group);
            for (bundle, tiles) in bundles.iter().enumerate() {
                let first = (group * bundles.len() + bundle) * n_chunks;
                for sums in &sums[first..first + n_chunks] {
                    let n_floats: usize = tiles.iter().map(|t| t.n_vectors * S::F32_LANES * OUT * n_taps).sum();
                    let mut at = out / OUT * n_floats;
                    for tile in *tiles {
                        let width = tile.n_vectors * S::F32_LANES;
                        for tap in 0..n_taps {
                            let row = &sums[at + out % OUT * width..][..tile.n_channels];
                            let into = weights[tile.channel * n_taps + tap..].iter_mut().step_by(n_taps);
                            for (weight, sum) in into.zip(row) {
                                *weight += sum;
                            }
                            at += OUT * width;
                        }
                    }
                }
            }
        });
        weights
    }
}

/// All output rows in runs of about [`RUN_PX`] pixels.
fn runs(shape: &ConvShape) -> Vec<Run> {
    let (height, reach) = (shape.out_height(), (shape.kernel - 1) / shape.stride);
    let n_rows = (RUN_PX / (shape.out_width() + reach)).clamp(1, height.max(1));
    (0..shape.batch)
        .flat_map(|image| {
            let starts = (0..height).step_by(n_rows);
            starts.map(move |row| Run { image, row, n_rows: n_rows.min(height - row) })
        })
        .collect()
}

/// Input channels in tiles of three vectors; a last single vector is avoided where two tiles of two do.
fn tiles(n_channels: usize, lanes: usize) -> Vec<Tile> {
    let mut vectors = n_channels.div_ceil(lanes);
    let mut tiles = Vec::new();
    let mut channel = 0;
    while vectors > 0 {
        let n_vectors = match vectors {
            2 | 4 => 2,
            n => n.min(TILE_VECTORS),
        };
        let width = (n_vectors * lanes).min(n_channels - channel);
        tiles.push(Tile { channel, n_channels: width, n_vectors });
        channel += width;
        vectors -= n_vectors;
    }
    tiles
}

/// Tiles of input channels against all output channels of a group, over some runs.
struct Task<'a, const OUT: usize> {
    sides: &'a Sides<'a, OUT>,
    group: usize,
    tiles: &'a [Tile],
    runs: &'a [Run],
}

impl<const OUT: usize> WithSimd for Task<'_, OUT> {
    type Output = Vec<f32>;

    /// Sums `[tile of output channels, tile of input channels, tap, OUT, width of the tile]`.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let shape = self.sides.shape;
        let (stride, kernel) = (shape.stride, shape.kernel);
        let reach = (kernel - 1) / stride;
        let pitch = shape.out_width() + reach;
        let out_group = shape.out_channels / shape.groups;
        let n_out_tiles = out_group.div_ceil(OUT);
        let n_phases = stride.min(kernel);
        let n_floats: usize = self.tiles.iter().map(|t| t.n_vectors * S::F32_LANES * OUT * kernel * kernel).sum();
        let mut sums = vec![0.0; n_out_tiles * n_floats];
        let mut panels: Vec<Vec<f32>> = self.tiles.iter().map(|_| Vec::new()).collect();
        let mut gradient = Vec::new();
        for run in self.runs {
            let phase_px = (run.n_rows + reach) * pitch;
            for (panel, tile) in panels.iter_mut().zip(self.tiles) {
                self.pack_input(panel, *run, *tile, tile.n_vectors * S::F32_LANES);
            }
            for (out_tile, sums) in sums.chunks_exact_mut(n_floats).enumerate() {
                self.pack_gradient(&mut gradient, *run, out_tile);
                let mut rest = sums;
                for (panel, tile) in panels.iter().zip(self.tiles) {
                    let width = tile.n_vectors * S::F32_LANES;
                    for tap in 0..kernel * kernel {
                        let (y, x) = (tap / kernel, tap % kernel);
                        let phase = y % stride * n_phases + x % stride;
                        let start = phase * phase_px + y / stride * pitch + x / stride;
                        let (tile_sums, others) = rest.split_at_mut(OUT * width);
                        rest = others;
                        let panel = &panel[start * width..];
                        match tile.n_vectors {
                            1 => accumulate::<S, OUT, 1>(simd, tile_sums, &gradient, panel),
                            2 => accumulate::<S, OUT, 2>(simd, tile_sums, &gradient, panel),
                            _ => accumulate::<S, OUT, TILE_VECTORS>(simd, tile_sums, &gradient, panel),
                        }
                    }
                }
            }
        }
        sums
    }
}

impl<const OUT: usize> Task<'_, OUT> {
    /// Packs what the run sees of a tile's channels: `[phase, row, column, width]`, with zeros off the image.
    #[inline(always)]
    fn pack_input(&self, panel: &mut Vec<f32>, run: Run, tile: Tile, width: usize) {
        let shape = self.sides.shape;
        let reach = (shape.kernel - 1) / shape.stride;
        let pitch = shape.out_width() + reach;
        let n_phases = shape.stride.min(shape.kernel);
        let channel = self.group * (shape.in_channels / shape.groups) + tile.channel;
        panel.clear();
        panel.resize(n_phases * n_phases * (run.n_rows + reach) * pitch * width, 0.0);
        let mut rows = panel.chunks_exact_mut(pitch * width);
        for phase in 0..n_phases * n_phases {
            let (phase_y, phase_x) = (phase / n_phases, phase % n_phases);
            for (row, packed) in rows.by_ref().take(run.n_rows + reach).enumerate() {
                let y = ((run.row + row) * shape.stride + phase_y).wrapping_sub(shape.padding);
                if y >= shape.in_height {
                    continue;
                }
                let start = (run.image * shape.in_height + y) * shape.in_width * shape.in_channels;
                let pixels = &self.sides.input[start..start + shape.in_width * shape.in_channels];
                // The first column on the image, and where it is there.
                let skipped = shape.padding.saturating_sub(phase_x).div_ceil(shape.stride);
                let x = (skipped * shape.stride + phase_x).saturating_sub(shape.padding);
                let Some(seen) = pixels.get(x * shape.in_channels..) else { continue };
                let columns = seen.chunks_exact(shape.in_channels).step_by(shape.stride);
                for (into, pixel) in packed.chunks_exact_mut(width).skip(skipped).zip(columns) {
                    into[..tile.n_channels].copy_from_slice(&pixel[channel..channel + tile.n_channels]);
                }
            }
        }
    }

    /// Packs a tile of output channels: `[row, column, OUT]`, rows as far apart as the input's.
    #[inline(always)]
    fn pack_gradient(&self, packed: &mut Vec<f32>, run: Run, out_tile: usize) {
        let shape = self.sides.shape;
        let out_group = shape.out_channels / shape.groups;
        let (height, width) = (shape.out_height(), shape.out_width());
        let pitch = width + (shape.kernel - 1) / shape.stride;
        let first = out_tile * OUT;
        let n = OUT.min(out_group - first);
        let channel = self.group * out_group + first;
        packed.clear();
        packed.resize(((run.n_rows - 1) * pitch + width) * OUT, 0.0);
        for (row, packed) in packed.chunks_mut(pitch * OUT).enumerate() {
            let start = (run.image * height + run.row + row) * width * shape.out_channels;
            let pixels = &self.sides.out_gradient[start..start + width * shape.out_channels];
            let (packed, _) = packed.as_chunks_mut::<OUT>();
            for (into, pixel) in packed.iter_mut().zip(pixels.chunks_exact(shape.out_channels)) {
                if n == OUT {
                    into.copy_from_slice(&pixel[channel..channel + OUT]);
                } else {
                    into[..n].copy_from_slice(&pixel[channel..channel + n]);
                }
            }
        }
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

#[cfg(test)]
mod tests {
    use super::{ConvShape, weight_gradient};

    /// Numbers in [-1, 1) that differ between neighbours.
    fn noise(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }

    /// The definition, in double precision.
    fn by_definition(shape: &ConvShape, input: &[f32], gradient: &[f32]) -> Vec<f64> {
        let (in_group, out_group) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
        let k = shape.kernel;
        let mut weights = vec![0.0; shape.out_channels * in_group * k * k];
        let (height, width) = (shape.out_height(), shape.out_width());
        for n in 0..shape.batch {
            for (oy, ox) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                for (ky, kx) in (0..k).flat_map(|y| (0..k).map(move |x| (y, x))) {
                    let y = (oy * shape.stride + ky).wrapping_sub(shape.padding);
                    let x = (ox * shape.stride + kx).wrapping_sub(shape.padding);
                    if y >= shape.in_height || x >= shape.in_width {
                        continue;
                    }
                    let pixel = ((n * shape.in_height + y) * shape.in_width + x) * shape.in_channels;
                    let out_pixel = ((n * height + oy) * width + ox) * shape.out_channels;
                    for o in 0..shape.out_channels {
                        for i in 0..in_group {
                            let value = input[pixel + o / out_group * in_group + i];
                            weights[((o * in_group + i) * k + ky) * k + kx] +=
                                f64::from(value) * f64::from(gradient[out_pixel + o]);
                        }
                    }
                }
            }
        }
        weights
    }

    #[test]
    fn agrees_with_the_definition() {
        // batch, height, width, input and output channels, kernel, stride, groups
        let cases = [
            [1, 1, 1, 1, 1, 1, 1, 1],
            [2, 5, 7, 8, 4, 1, 1, 1],
            [3, 6, 5, 29, 13, 1, 1, 1],
            [2, 9, 8, 48, 24, 1, 2, 1],
            [2, 7, 9, 5, 3, 3, 1, 1],
            [1, 33, 300, 16, 6, 3, 1, 1],
            [2, 8, 8, 16, 1, 3, 1, 1],
            [2, 11, 6, 3, 32, 3, 2, 1],
            [2, 8, 10, 48, 48, 3, 1, 2],
            [2, 9, 12, 48, 24, 3, 2, 3],
            [1, 4, 4, 6, 12, 3, 1, 6],
            [4, 40, 40, 32, 16, 3, 1, 1],
        ];
        for [batch, in_height, in_width, in_channels, out_channels, kernel, stride, groups] in cases {
            let shape = ConvShape {
                batch,
                in_height,
                in_width,
                in_channels,
                out_channels,
                kernel,
                stride,
                padding: kernel / 2,
                groups,
            };
            let input = noise(batch * in_height * in_width * in_channels, 1);
            let gradient = noise(batch * shape.out_height() * shape.out_width() * out_channels, 2);
            let found = weight_gradient(&shape, &input, &gradient);
            let expected = by_definition(&shape, &input, &gradient);
            assert_eq!(found.len(), expected.len());
            let scale = (batch * in_height * in_width) as f64;
            for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
                let error = (f64::from(*found) - expected).abs();
                assert!(error <= 1e-6 * scale.max(8.0), "{shape:?} at {at}: {found}, not {expected}");
            }
        }
    }
}
