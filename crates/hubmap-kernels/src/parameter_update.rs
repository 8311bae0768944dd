//! Updates of a network's parameters in one pass: AdamW with amsgrad, and moving averages.

use pulp::Arch;
use rayon::prelude::*;

/// Numbers that one task handles.
const TASK_LEN: usize = 16 * 1024;

/// One step of AdamW with amsgrad (Loshchilov and Hutter, 2019; Reddi et al., 2018) for all numbers of a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AmsgradStep {
    /// Share of the old first moment.
    pub beta_1: f32,
    /// Share of the old second moment.
    pub beta_2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Learning rate.
    pub rate: f64,
    /// Decay of the weights per unit of learning rate.
    pub weight_decay: f32,
    /// This step's number, from 1.
    pub time: i32,
}

/// What the optimiser keeps of a tensor.
#[derive(Debug)]
pub struct Moments<'a> {
    /// Moving average of gradients.
    pub first: &'a mut [f32],
    /// Moving average of squared gradients.
    pub second: &'a mut [f32],
    /// The largest second moment so far.
    pub largest_second: &'a mut [f32],
}

impl AmsgradStep {
    /// Moves the values and the moments by one step.
    ///
    /// # Panics
    /// If slices differ in length.
    pub fn apply(&self, values: &mut [f32], gradient: &[f32], moments: &mut Moments<'_>) {
        let n = values.len();
        assert!(
            [gradient.len(), moments.first.len(), moments.second.len(), moments.largest_second.len()]
                == [n; 4]
        );
        let Self { beta_1, beta_2, epsilon, rate, weight_decay, time } = *self;
        let kept = (1.0 - rate * f64::from(weight_decay)) as f32;
        let (new_1, new_2) = (1.0 - beta_1, 1.0 - beta_2);
        // Both corrections for the moments' start at zero, out of the loop.
        let step = (rate / f64::from(1.0 - beta_1.powi(time))) as f32;
        let correction = 1.0 / (1.0 - beta_2.powi(time));
        values
            .par_chunks_mut(TASK_LEN)
            .zip(gradient.par_chunks(TASK_LEN))
            .zip(moments.first.par_chunks_mut(TASK_LEN))
            .zip(moments.second.par_chunks_mut(TASK_LEN))
            .zip(moments.largest_second.par_chunks_mut(TASK_LEN))
            .for_each(|((((values, gradient), first), second), largest)| {
                Arch::new().dispatch(
                    #[inline(always)]
                    || {
                        let moments = first.iter_mut().zip(second).zip(largest);
                        for ((value, &gradient), ((first, second), largest)) in
                            values.iter_mut().zip(gradient).zip(moments)
                        {
                            *first = *first * beta_1 + gradient * new_1;
                            *second = *second * beta_2 + gradient * gradient * new_2;
                            *largest = if *second > *largest { *second } else { *largest };
                            let root = (*largest * correction).sqrt() + epsilon;
                            *value = *value * kept - step * *first / root;
                        }
                    },
                );
            });
    }
}

/// Moves an average: `average = decay · average + (1 - decay) · values`.
///
/// # Panics
/// If the slices differ in length.
pub fn move_average(average: &mut [f32], values: &[f32], decay: f64) {
    assert_eq!(average.len(), values.len());
    let (old, new) = (decay as f32, (1.0 - decay) as f32);
    average.par_chunks_mut(TASK_LEN).zip(values.par_chunks(TASK_LEN)).for_each(|(average, values)| {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for (average, value) in average.iter_mut().zip(values) {
                    *average = *average * old + *value * new;
                }
            },
        );
    });
}
