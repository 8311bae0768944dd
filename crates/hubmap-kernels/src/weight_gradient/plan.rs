//! Which pixels meet which, and packing them so that they lie side by side.

use crate::{ConvShape, Extent};

/// Pixels of a run: long enough to hide the end of a tile, short enough for the first-level cache.
const RUN_PX: usize = 256;

/// One source of a convolution against the gradient of its output.
///
/// Both are seen on a grid: the output's pixels, or the source's where that is upsampled.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) groups: usize,
    n_images: usize,
    /// Rows and columns of the grid.
    height: usize,
    width: usize,
    input: Extent,
    out_channels: usize,
    kernel: usize,
    /// Step of the input from one pixel of the grid to the next.
    stride: usize,
    /// Step of the output from one pixel of the grid to the next.
    out_step: usize,
    padding: usize,
    /// Pixels of a phase that a pixel of the grid sees beyond its own, in both directions.
    reach: usize,
    products: Vec<TapProduct>,
}

/// A sum over the grid of output gradients times inputs at a distance.
#[derive(Debug)]
pub(super) struct TapProduct {
    /// Which of the output pixels of a pixel of the grid.
    pub(super) gradient_phase: usize,
    input_phase: usize,
    rows: usize,
    columns: usize,
    /// Positions in the kernel that it belongs to.
    pub(super) taps: Vec<usize>,
}

/// A run of pixels: rows of one image's grid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    image: usize,
    row: usize,
    n_rows: usize,
}

/// Input channels of a tile, counted from the group's first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile {
    pub(super) channel: usize,
    pub(super) n_channels: usize,
    pub(super) n_vectors: usize,
}

impl Plan {
    /// The plan for source `index` of a convolution.
    pub(super) fn new(shape: &ConvShape, index: usize, mut input: Extent) -> Self {
        let kernel = shape.kernel_px;
        let padding = (kernel - 1) / 2;
        let upsampled = shape.sources[index].upsampled;
        let stride = if upsampled { 1 } else { shape.stride };
        let (products, reach) = if upsampled {
            (upsampled_products(kernel), 2 * padding)
        } else {
            (plain_products(kernel, stride), (kernel - 1) / stride)
        };
        if kernel == 1 && stride == 1 && !upsampled {
            // Without neighbours, images are but rows.
            input.height *= input.count;
            input.count = 1;
        }
        Self {
            groups: shape.groups,
            n_images: input.count,
            height: input.height.div_ceil(stride),
            width: input.width.div_ceil(stride),
            input,
            out_channels: shape.out_channels,
            kernel,
            stride,
            out_step: if upsampled { 2 } else { 1 },
            padding,
            reach,
            products,
        }
    }

    pub(super) const fn group_in_channels(&self) -> usize {
        self.input.channels / self.groups
    }

    pub(super) const fn group_out_channels(&self) -> usize {
        self.out_channels / self.groups
    }

    pub(super) const fn n_taps(&self) -> usize {
        self.kernel * self.kernel
    }

    pub(super) const fn n_gradient_phases(&self) -> usize {
        self.out_step * self.out_step
    }

    pub(super) fn products(&self) -> &[TapProduct] {
        &self.products
    }

    /// Sums of some tiles with `OUT` output channels.
    pub(super) fn n_sums<const OUT: usize>(&self, tiles: &[Tile], lanes: usize) -> usize {
        tiles.iter().map(|t| t.n_vectors * lanes * OUT * self.products.len()).sum()
    }

    /// Pixels of a packed row.
    const fn pitch(&self) -> usize {
        self.width + self.reach
    }

    const fn n_input_phases(&self) -> usize {
        if self.stride < self.kernel { self.stride } else { self.kernel }
    }

    /// The whole grid in runs of about [`RUN_PX`] pixels.
    pub(super) fn runs(&self) -> Vec<Run> {
        let n_rows = (RUN_PX / self.pitch()).clamp(1, self.height.max(1));
        (0..self.n_images)
            .flat_map(|image| {
                let starts = (0..self.height).step_by(n_rows);
                starts.map(move |row| Run { image, row, n_rows: n_rows.min(self.height - row) })
            })
            .collect()
    }

    /// A group's input channels in tiles of up to `most` vectors.
    pub(super) fn tiles(&self, lanes: usize, most: usize) -> Vec<Tile> {
        let n_channels = self.group_in_channels();
        let mut vectors = n_channels.div_ceil(lanes);
        let mut tiles = Vec::new();
        let mut channel = 0;
        while vectors > 0 {
            let n_vectors = vectors.min(most);
            let width = (n_vectors * lanes).min(n_channels - channel);
            tiles.push(Tile { channel, n_channels: width, n_vectors });
            channel += width;
            vectors -= n_vectors;
        }
        tiles
    }

    /// First pixel of the packed input that a product reads.
    pub(super) const fn start(&self, product: &TapProduct, run: Run) -> usize {
        (product.input_phase * (run.n_rows + self.reach) + product.rows) * self.pitch() + product.columns
    }

    /// Packs what the run sees of a tile's channels: `[phase, row, column, width]`, with zeros off the image.
    #[inline(always)]
    pub(super) fn pack_input(
        &self,
        packed: &mut Vec<f32>,
        input: &[f32],
        group: usize,
        run: Run,
        tile: Tile,
        width: usize,
    ) {
        let channels = self.input.channels;
        let (n_phases, n_rows) = (self.n_input_phases(), run.n_rows + self.reach);
        let channel = group * self.group_in_channels() + tile.channel;
        packed.clear();
        packed.resize(n_phases * n_phases * n_rows * self.pitch() * width, 0.0);
        for (at, packed) in packed.chunks_exact_mut(self.pitch() * width).enumerate() {
            let (phase, row) = (at / n_rows, at % n_rows);
            let (phase_y, phase_x) = (phase / n_phases, phase % n_phases);
            let y = ((run.row + row) * self.stride + phase_y).wrapping_sub(self.padding);
            if y >= self.input.height {
                continue;
            }
            let start = (run.image * self.input.height + y) * self.input.width * channels;
            let pixels = &input[start..start + self.input.width * channels];
            // The first column on the image, and where it is there.
            let skipped = self.padding.saturating_sub(phase_x).div_ceil(self.stride);
            let x = (skipped * self.stride + phase_x).saturating_sub(self.padding);
            let Some(seen) = pixels.get(x * channels..) else { continue };
            let into = packed.chunks_exact_mut(width).skip(skipped);
            for (into, pixel) in into.zip(seen.chunks(self.stride * channels)) {
                copy(&mut into[..tile.n_channels], &pixel[channel..channel + tile.n_channels]);
            }
        }
    }

    /// Packs a tile of output channels: `[row, column, OUT]`, rows as far apart as the input's.
    #[inline(always)]
    pub(super) fn pack_gradient<const OUT: usize>(
        &self,
        packed: &mut Vec<f32>,
        gradient: &[f32],
        group: usize,
        run: Run,
        phase: usize,
        out_tile: usize,
    ) {
        let (step, channels) = (self.out_step, self.out_channels);
        let (phase_y, phase_x) = (phase / step, phase % step);
        let first = out_tile * OUT;
        let n = OUT.min(self.group_out_channels() - first);
        let channel = group * self.group_out_channels() + first;
        packed.clear();
        packed.resize(((run.n_rows - 1) * self.pitch() + self.width) * OUT, 0.0);
        for (row, packed) in packed.chunks_mut(self.pitch() * OUT).enumerate() {
            let y = (run.image * self.height + run.row + row) * step + phase_y;
            let out_width = self.width * step * channels;
            let pixels = &gradient[y * out_width..(y + 1) * out_width];
            let (packed, _) = packed.as_chunks_mut::<OUT>();
            let channel = phase_x * channels + channel;
            for (into, pixel) in packed.iter_mut().zip(pixels.chunks_exact(step * channels)) {
                match pixel[channel..channel + n].first_chunk::<OUT>() {
                    Some(all) => *into = *all,
                    None => into[..n].copy_from_slice(&pixel[channel..channel + n]),
                }
            }
        }
    }
}

/// Copies a few numbers: by vectors, because a call takes longer than that.
#[inline(always)]
fn copy(to: &mut [f32], from: &[f32]) {
    let (eights, rest) = to.as_chunks_mut::<8>();
    let (from_eights, from_rest) = from.as_chunks::<8>();
    for (to, from) in eights.iter_mut().zip(from_eights) {
        *to = *from;
    }
    for (to, from) in rest.iter_mut().zip(from_rest) {
        *to = *from;
    }
}

/// One product per position in the kernel.
fn plain_products(kernel: usize, stride: usize) -> Vec<TapProduct> {
    let n_phases = stride.min(kernel);
    (0..kernel * kernel)
        .map(|tap| {
            let (y, x) = (tap / kernel, tap % kernel);
            TapProduct {
                gradient_phase: 0,
                input_phase: y % stride * n_phases + x % stride,
                rows: y / stride,
                columns: x / stride,
                taps: vec![tap],
            }
        })
        .collect()
}

/// Of the positions in the kernel, those that an output pixel of a phase sees on the same pixel of the source
/// come together.
fn upsampled_products(kernel: usize) -> Vec<TapProduct> {
    let padding = (kernel - 1) / 2;
    let mut products: Vec<TapProduct> = Vec::new();
    for phase in 0..4 {
        for tap in 0..kernel * kernel {
            // Counted from the padding's first row and column of the source.
            let at = |phase: usize, tap: usize| (phase + tap + padding) / 2;
            let (rows, columns) = (at(phase / 2, tap / kernel), at(phase % 2, tap % kernel));
            let same = |p: &&mut TapProduct| (p.gradient_phase, p.rows, p.columns) == (phase, rows, columns);
            if let Some(product) = products.iter_mut().find(same) {
                product.taps.push(tap);
            } else {
                products.push(TapProduct {
                    gradient_phase: phase,
                    input_phase: 0,
                    rows,
                    columns,
                    taps: vec![tap],
                });
            }
        }
    }
    products
}
