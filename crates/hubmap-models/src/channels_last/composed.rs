//! The operations composed of Burn's own, for any backend.

use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::module::{batch_norm_train, interpolate};
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};

use super::{Affine, BatchMoments, Ending, Gate, Input, Maps};

pub(super) fn upsample2(maps: Maps) -> Maps {
    let options = InterpolateOptions::new(InterpolateMode::Nearest).with_scale_factor([2.0, 2.0]);
    Maps::from_channels_first(interpolate(maps.into_channels_first(), options))
}

pub(super) fn convolve(inputs: &[Input], conv: &Conv2d) -> Maps {
    let mut parts: Vec<Maps> = inputs
        .iter()
        .map(|input| if input.upsampled { upsample2(input.maps.clone()) } else { input.maps.clone() })
        .collect();
    let maps = if parts.len() == 1 { parts.remove(0) } else { Maps::concatenate(parts) };
    Maps::from_channels_first(conv.forward(maps.into_channels_first()))
}

pub(super) fn squeeze_and_excite(maps: Maps, gate: &Gate<'_>) -> Maps {
    let mean = Maps(maps.0.clone().mean_dim(2).mean_dim(1));
    let squeezed = relu(gate.squeeze.forward(mean.into_channels_first()));
    let gates = sigmoid(gate.excite.forward(squeezed));
    Maps(maps.0.mul(Maps::from_channels_first(gates).0))
}

pub(super) fn batch_norm(
    maps: Maps,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f64,
    ending: Ending,
) -> (Maps, BatchMoments) {
    let normalised = batch_norm_train(maps.into_channels_first(), weight, bias, epsilon);
    let maps = Maps::from_channels_first(normalised.output).end(ending);
    (maps, BatchMoments { mean: normalised.mean, variance: normalised.variance })
}

pub(super) fn scale_and_shift(maps: Maps, affine: Affine, ending: Ending) -> Maps {
    let [scale, shift] = [affine.scale, affine.shift].map(|t| {
        let [channels] = t.dims();
        t.reshape([1, 1, 1, channels])
    });
    Maps(maps.0.mul(scale).add(shift)).end(ending)
}

impl Maps {
    /// Adds the residual and clamps.
    pub(crate) fn end(self, ending: Ending) -> Self {
        let maps = match ending.residual {
            Some(residual) => self.add(residual),
            None => self,
        };
        if ending.relu { Self(relu(maps.0)) } else { maps }
    }
}
