//! Batch normalisation with the residual and the ReLU that follow it, and its gradients.
//!
//! Everything is a pass over `[pixels, channels]` with a few numbers per channel.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::rows::{block_len, for_block, per_channel, task_len};

/// Mean and biased variance of every channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// Means.
    pub mean: Vec<f32>,
    /// Biased variances.
    pub variance: Vec<f32>,
}

/// Mean and biased variance over all pixels of `[pixels, channels]`.
///
/// Squares are taken of differences from a pixel nearby and added up in blocks, so that a large mean costs no
/// accuracy (Chan et al., 1983).
pub fn moments(values: &[f32], channels: usize) -> Moments {
    let parts: Vec<Part> = values
        .par_chunks(task_len(channels))
        .map(|values| Arch::new().dispatch(Deviations { values, channels }))
        .collect();
    let mut mean = vec![0.0_f64; channels];
    let mut squares = vec![0.0_f64; channels];
    let mut count = 0.0_f64;
    for part in &parts {
        let total = count + part.count;
        for (((mean, squares), part_mean), part_squares) in
            mean.iter_mut().zip(&mut squares).zip(&part.mean).zip(&part.squares)
        {
            let delta = part_mean - *mean;
            *mean += delta * part.count / total;
            *squares += part_squares + delta * delta * count * part.count / total;
        }
        count = total;
    }
    Moments {
        mean: mean.iter().map(|&m| m as f32).collect(),
        variance: squares.iter().map(|&s| (s / count.max(1.0)) as f32).collect(),
    }
}

/// Moments of a part of the pixels.
struct Part {
    count: f64,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

struct Deviations<'a> {
    values: &'a [f32],
    channels: usize,
}

impl WithSimd for Deviations<'_> {
    type Output = Part;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Part {
        let Self { values, channels } = self;
        let origin = for_block(&values[..channels]);
        let mut sums = vec![0.0; origin.len()];
        let mut squares = vec![0.0; origin.len()];
        for block in values.chunks(origin.len()) {
            let n = block.len();
            let (block, block_tail) = S::as_simd_f32s(block);
            let (origin, origin_tail) = S::as_simd_f32s(&origin[..n]);
            let (sums, sums_tail) = S::as_mut_simd_f32s(&mut sums[..n]);
            let (squares, squares_tail) = S::as_mut_simd_f32s(&mut squares[..n]);
            for (((&value, &origin), sum), square) in block.iter().zip(origin).zip(sums).zip(squares) {
                let deviation = simd.sub_f32s(value, origin);
                *sum = simd.add_f32s(*sum, deviation);
                *square = simd.mul_add_e_f32s(deviation, deviation, *square);
            }
            for (((&value, &origin), sum), square) in
                block_tail.iter().zip(origin_tail).zip(sums_tail).zip(squares_tail)
            {
                let deviation = value - origin;
                *sum += deviation;
                *square += deviation * deviation;
            }
        }
        let count = (values.len() / channels) as f64;
        let sums: Vec<f64> = per_channel(&sums, channels).collect();
        let squares = per_channel(&squares, channels).zip(&sums).map(|(q, s)| q - s * s / count).collect();
        let mean = sums.iter().zip(values).map(|(s, &origin)| f64::from(origin) + s / count).collect();
        Part { count, mean, squares }
    }
}

/// `values · scale + shift` per channel, plus a residual, clamped at zero if `relu`.
///
/// # Panics
/// If the residual has another length than `values`.
pub fn scale_and_shift(
    values: &[f32],
    scale: &[f32],
    shift: &[f32],
    residual: Option<&[f32]>,
    relu: bool,
) -> Vec<f32> {
    let channels = scale.len();
    let (scale, shift) = (for_block(scale), for_block(shift));
    let mut out = vec![0.0; values.len()];
    let n = task_len(channels);
    let pass = |(out, values): (&mut [f32], &[f32]), residual: Option<&[f32]>| {
        Arch::new().dispatch(ScaleAndShift { out, values, scale: &scale, shift: &shift, residual, relu });
    };
    let tasks = out.par_chunks_mut(n).zip(values.par_chunks(n));
    match residual {
        None => tasks.for_each(|task| pass(task, None)),
        Some(residual) => {
            assert_eq!(values.len(), residual.len());
            tasks.zip(residual.par_chunks(n)).for_each(|(task, residual)| pass(task, Some(residual)));
        }
    }
    out
}

struct ScaleAndShift<'a> {
    out: &'a mut [f32],
    values: &'a [f32],
    scale: &'a [f32],
    shift: &'a [f32],
    residual: Option<&'a [f32]>,
    relu: bool,
}

/// Zero where a number is negative; not-a-number stays, so that a diverged training shows in its loss.
#[inline(always)]
fn rectified<S: Simd>(simd: S, value: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    simd.select_f32s(simd.less_than_f32s(value, zero), zero, value)
}

impl WithSimd for ScaleAndShift<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let block = self.scale.len();
        for (at, (out, values)) in self.out.chunks_mut(block).zip(self.values.chunks(block)).enumerate() {
            let n = values.len();
            let (out, out_tail) = S::as_mut_simd_f32s(out);
            let (values, values_tail) = S::as_simd_f32s(values);
            let (scale, scale_tail) = S::as_simd_f32s(&self.scale[..n]);
            let (shift, shift_tail) = S::as_simd_f32s(&self.shift[..n]);
            let inputs = out.iter_mut().zip(values).zip(scale).zip(shift);
            let tails = out_tail.iter_mut().zip(values_tail).zip(scale_tail).zip(shift_tail);
            if let Some(residual) = self.residual {
                let (residual, residual_tail) = S::as_simd_f32s(&residual[at * block..at * block + n]);
                for ((((out, &value), &scale), &shift), &residual) in inputs.zip(residual) {
                    let sum = simd.add_f32s(simd.mul_add_e_f32s(value, scale, shift), residual);
                    *out = if self.relu { rectified(simd, sum) } else { sum };
                }
                for ((((out, &value), &scale), &shift), &residual) in tails.zip(residual_tail) {
                    let sum = scaled::<S>(simd, value, scale, shift) + residual;
                    *out = if self.relu && sum < 0.0 { 0.0 } else { sum };
                }
            } else {
                for (((out, &value), &scale), &shift) in inputs {
                    let sum = simd.mul_add_e_f32s(value, scale, shift);
                    *out = if self.relu { rectified(simd, sum) } else { sum };
                }
                for (((out, &value), &scale), &shift) in tails {
                    let sum = scaled::<S>(simd, value, scale, shift);
                    *out = if self.relu && sum < 0.0 { 0.0 } else { sum };
                }
            }
        }
    }
}

/// One number, rounded as a vector of them is: the gradient's mask must agree with the output.
#[inline(always)]
fn scaled<S: Simd>(simd: S, value: f32, scale: f32, shift: f32) -> f32 {
    let [value, scale, shift] = [value, scale, shift].map(|v| simd.partial_load_f32s(&[v]));
    let mut result = [0.0];
    simd.partial_store_f32s(&mut result, simd.mul_add_e_f32s(value, scale, shift));
    result[0]
}

/// Which outputs the ReLU let through.
#[derive(Debug, Clone, Copy)]
pub enum Passed<'a> {
    /// There was no ReLU.
    All,
    /// Where `input · scale + shift` is positive: what [`scale_and_shift`] computed without residual.
    Scaled {
        /// The scale of every channel.
        scale: &'a [f32],
        /// The shift of every channel.
        shift: &'a [f32],
    },
    /// Where this output is positive.
    Output(&'a [f32]),
}

/// Sums that all gradients of a normalisation need, per channel.
#[derive(Debug, Clone, PartialEq)]
pub struct GradientSums {
    /// `Σ g`, of the gradient behind the ReLU.
    pub gradient: Vec<f64>,
    /// `Σ g · (input - centre)`.
    pub gradient_input: Vec<f64>,
}

/// Takes the gradient back through the ReLU, in place, and adds it up per channel.
///
/// # Panics
/// If slices differ in length.
pub fn gradient_sums(
    gradient: &mut [f32],
    input: &[f32],
    centre: &[f32],
    passed: Passed<'_>,
) -> GradientSums {
    let channels = centre.len();
    assert_eq!(gradient.len(), input.len());
    let n = task_len(channels);
    let centre = for_block(centre);
    let tasks = gradient.par_chunks_mut(n).zip(input.par_chunks(n));
    let parts: Vec<(Vec<f32>, Vec<f32>)> = match passed {
        Passed::All => tasks
            .map(|(gradient, input)| {
                Arch::new().dispatch(Back { gradient, input, centre: &centre, passed: Passed::All })
            })
            .collect(),
        Passed::Scaled { scale, shift } => {
            let (scale, shift) = (for_block(scale), for_block(shift));
            tasks
                .map(|(gradient, input)| {
                    let passed = Passed::Scaled { scale: &scale, shift: &shift };
                    Arch::new().dispatch(Back { gradient, input, centre: &centre, passed })
                })
                .collect()
        }
        Passed::Output(output) => {
            assert_eq!(output.len(), input.len());
            tasks
                .zip(output.par_chunks(n))
                .map(|((gradient, input), output)| {
                    let passed = Passed::Output(output);
                    Arch::new().dispatch(Back { gradient, input, centre: &centre, passed })
                })
                .collect()
        }
    };
    let mut sums = GradientSums { gradient: vec![0.0; channels], gradient_input: vec![0.0; channels] };
    for (gradient, gradient_input) in &parts {
        for (sum, part) in sums.gradient.iter_mut().zip(per_channel(gradient, channels)) {
            *sum += part;
        }
        for (sum, part) in sums.gradient_input.iter_mut().zip(per_channel(gradient_input, channels)) {
            *sum += part;
        }
    }
    sums
}

struct Back<'a> {
    gradient: &'a mut [f32],
    input: &'a [f32],
    centre: &'a [f32],
    passed: Passed<'a>,
}

impl WithSimd for Back<'_> {
    type Output = (Vec<f32>, Vec<f32>);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> (Vec<f32>, Vec<f32>) {
        let block = self.centre.len();
        let zero = simd.splat_f32s(0.0);
        let (mut sums, mut products) = (vec![0.0; block], vec![0.0; block]);
        for (at, (gradient, input)) in
            self.gradient.chunks_mut(block).zip(self.input.chunks(block)).enumerate()
        {
            let n = input.len();
            let (gradient, gradient_tail) = S::as_mut_simd_f32s(gradient);
            let (input, input_tail) = S::as_simd_f32s(input);
            // The mask first: this block is in the cache for the sums.
            match self.passed {
                Passed::All => {}
                Passed::Scaled { scale, shift } => {
                    let (scale, scale_tail) = S::as_simd_f32s(&scale[..n]);
                    let (shift, shift_tail) = S::as_simd_f32s(&shift[..n]);
                    for (((g, &x), &scale), &shift) in gradient.iter_mut().zip(input).zip(scale).zip(shift) {
                        let out = simd.mul_add_e_f32s(x, scale, shift);
                        *g = simd.select_f32s(simd.less_than_or_equal_f32s(out, zero), zero, *g);
                    }
                    for (((g, &x), &scale), &shift) in
                        gradient_tail.iter_mut().zip(input_tail).zip(scale_tail).zip(shift_tail)
                    {
                        if scaled(simd, x, scale, shift) <= 0.0 {
                            *g = 0.0;
                        }
                    }
                }
                Passed::Output(output) => {
                    let (output, output_tail) = S::as_simd_f32s(&output[at * block..at * block + n]);
                    for (g, &out) in gradient.iter_mut().zip(output) {
                        *g = simd.select_f32s(simd.less_than_or_equal_f32s(out, zero), zero, *g);
                    }
                    for (g, &out) in gradient_tail.iter_mut().zip(output_tail) {
                        if out <= 0.0 {
                            *g = 0.0;
                        }
                    }
                }
            }
            let (centre, centre_tail) = S::as_simd_f32s(&self.centre[..n]);
            let (sums, sums_tail) = S::as_mut_simd_f32s(&mut sums[..n]);
            let (products, products_tail) = S::as_mut_simd_f32s(&mut products[..n]);
            for ((((&g, &x), &centre), sum), product) in
                gradient.iter().zip(input).zip(centre).zip(sums).zip(products)
            {
                *sum = simd.add_f32s(*sum, g);
                *product = simd.mul_add_e_f32s(g, simd.sub_f32s(x, centre), *product);
            }
            for ((((&g, &x), &centre), sum), product) in
                gradient_tail.iter().zip(input_tail).zip(centre_tail).zip(sums_tail).zip(products_tail)
            {
                *sum += g;
                *product += g * (x - centre);
            }
        }
        (sums, products)
    }
}

/// `gradient · by_gradient + (input - centre) · by_input + constant` per channel, in place of the gradient:
/// the gradient with respect to the input of a normalisation.
#[derive(Debug, Clone, Copy)]
pub struct InputGradient<'a> {
    /// Factor of the gradient behind the ReLU.
    pub by_gradient: &'a [f32],
    /// Factor of the input's distance from `centre`.
    pub by_input: &'a [f32],
    /// What the input is measured from.
    pub centre: &'a [f32],
    /// Added to everything.
    pub constant: &'a [f32],
}

impl InputGradient<'_> {
    /// Replaces the gradient behind the ReLU by the gradient of the input; both are `[pixels, channels]`.
    ///
    /// # Panics
    /// If slices differ in length.
    pub fn apply(&self, gradient: &mut [f32], input: &[f32]) {
        let channels = self.centre.len();
        assert_eq!(gradient.len(), input.len());
        let n = task_len(channels);
        let [by_gradient, by_input, centre, constant] =
            [self.by_gradient, self.by_input, self.centre, self.constant].map(for_block);
        gradient.par_chunks_mut(n).zip(input.par_chunks(n)).for_each(|(gradient, input)| {
            Arch::new().dispatch(
                #[inline(always)]
                || {
                    let block = block_len(channels);
                    for (gradient, input) in gradient.chunks_mut(block).zip(input.chunks(block)) {
                        let factors = by_gradient.iter().zip(&by_input).zip(&centre).zip(&constant);
                        for ((g, x), (((a, b), centre), constant)) in
                            gradient.iter_mut().zip(input).zip(factors)
                        {
                            *g = a.mul_add(*g, b.mul_add(x - centre, *constant));
                        }
                    }
                },
            );
        });
    }
}
