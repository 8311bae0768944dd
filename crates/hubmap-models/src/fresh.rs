//! Start values of networks.

use burn::module::Param;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Draws the weights that belong to a seed, layer by layer.
///
/// The stream is our own: Burn has one per backend, which all threads share, so that a seed counts there only as
/// long as nobody else draws.
#[derive(Debug)]
pub struct FreshWeights<'a> {
    device: &'a Device,
    rng: ChaCha8Rng,
}

/// How the weights of a convolution are distributed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Start {
    /// Normal with variance 2 / `fan_out` (He et al., 2015), as timm starts its encoders.
    HeNormal,
    /// Uniform with variance 2 / `fan_in`: Kaiming uniform for ReLU, as SMP starts decoders.
    KaimingUniform,
    /// Uniform with variance 2 / (`fan_in` + `fan_out`) (Glorot and Bengio, 2010), as SMP starts heads.
    XavierUniform,
    /// Uniform with variance 1 / (3 `fan_in`), the bias too: PyTorch's default.
    PyTorch,
}

impl<'a> FreshWeights<'a> {
    /// The weights of `seed` on `device`; the same on every device.
    pub fn new(seed: u64, device: &'a Device) -> Self {
        Self { device, rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Where the weights go.
    pub(crate) const fn device(&self) -> &'a Device {
        self.device
    }

    /// A convolution with drawn weights; its bias, if any, is 0 unless `start` says otherwise.
    pub(crate) fn conv(&mut self, config: &Conv2dConfig, start: Start) -> Conv2d {
        let mut conv = config.init(self.device);
        let [in_channels, out_channels] = config.channels;
        let kernel_area = config.kernel_size[0] * config.kernel_size[1];
        let fan = |channels: usize| (channels * kernel_area / config.groups) as f32;
        let (fan_in, fan_out) = (fan(in_channels), fan(out_channels));
        let shape = [out_channels, in_channels / config.groups, config.kernel_size[0], config.kernel_size[1]];
        let bound = match start {
            Start::HeNormal => None,
            Start::KaimingUniform => Some((6.0 / fan_in).sqrt()),
            Start::XavierUniform => Some((6.0 / (fan_in + fan_out)).sqrt()),
            Start::PyTorch => Some((1.0 / fan_in).sqrt()),
        };
        conv.weight = if let Some(bound) = bound {
            self.uniform(shape, bound)
        } else {
            let std = (2.0 / fan_out).sqrt();
            self.param(shape, |rng| std * rng.sample::<f32, _>(StandardNormal))
        };
        if config.bias {
            let bound = if matches!(start, Start::PyTorch) { bound.unwrap_or(0.0) } else { 0.0 };
            conv.bias = Some(self.uniform([out_channels], bound));
        }
        conv
    }

    fn uniform<const D: usize>(&mut self, shape: [usize; D], bound: f32) -> Param<Tensor<D>> {
        self.param(shape, |rng| bound * (2.0 * rng.random::<f32>() - 1.0))
    }

    fn param<const D: usize>(
        &mut self,
        shape: [usize; D],
        mut draw: impl FnMut(&mut ChaCha8Rng) -> f32,
    ) -> Param<Tensor<D>> {
        let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|_| draw(&mut self.rng)).collect();
        Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), self.device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean and standard deviation of the weights of a 3×3 convolution from 32 to 64 channels in 4 groups, and its
    /// bias.
    fn drawn(start: Start) -> (f64, f64, Vec<f32>) {
        let device = Device::flex();
        let config = Conv2dConfig::new([32, 64], [3, 3]).with_groups(4);
        let conv = FreshWeights::new(3, &device).conv(&config, start);
        assert_eq!(conv.weight.dims(), [64, 8, 3, 3]);
        let weights = conv.weight.val().into_data();
        let n = weights.iter::<f64>().count() as f64;
        let mean = weights.iter::<f64>().sum::<f64>() / n;
        let variance = weights.iter::<f64>().map(|w| (w - mean).powi(2)).sum::<f64>() / n;
        (mean, variance.sqrt(), conv.bias.unwrap().val().into_data().iter::<f32>().collect())
    }

    #[test]
    fn weights_are_spread_as_the_papers_say() {
        let (fan_in, fan_out) = (8.0 * 9.0, 16.0 * 9.0);
        for (start, variance) in [
            (Start::HeNormal, 2.0 / fan_out),
            (Start::KaimingUniform, 2.0 / fan_in),
            (Start::XavierUniform, 2.0 / (fan_in + fan_out)),
            (Start::PyTorch, 1.0 / (3.0 * fan_in)),
        ] {
            let (mean, std, bias) = drawn(start);
            let expected = f64::sqrt(variance);
            assert!(mean.abs() < 0.06 * expected, "{start:?}: mean {mean}, of {expected}");
            assert!((std / expected - 1.0).abs() < 0.03, "{start:?}: {std}, not {expected}");
            let largest_bias = bias.iter().fold(0.0, |max: f32, b| max.max(b.abs()));
            if matches!(start, Start::PyTorch) {
                let bound = 1.0 / f32::sqrt(fan_in as f32);
                assert!(largest_bias <= bound && largest_bias > 0.8 * bound, "{largest_bias} of {bound}");
            } else {
                assert!(largest_bias == 0.0, "{start:?}: {largest_bias}");
            }
        }
    }
}
