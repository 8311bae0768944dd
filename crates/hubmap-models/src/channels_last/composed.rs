//! The operations composed of Burn's own, for any backend.
//!
//! Maps may hold fewer bits than the weights, which are then rounded to them in every operation, gradients included:
//! that is training in mixed precision. Normalisations compute in the weights' precision.

use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::module::{batch_norm_train, conv2d, interpolate};
use burn::tensor::ops::{ConvOptions, InterpolateMode, InterpolateOptions};

use super::{Affine, BatchMoments, Ending, Gate, Input, Maps};

/// Maps of Burn's, whatever the device.
fn from_channels_first(tensor: Tensor<4>) -> Maps {
    Maps::Burn(tensor.permute([0, 2, 3, 1]))
}

pub(super) fn upsample2(maps: Maps) -> Maps {
    let options = InterpolateOptions::new(InterpolateMode::Nearest).with_scale_factor([2.0, 2.0]);
    from_channels_first(interpolate(maps.into_channels_first(), options))
}

pub(super) fn convolve(inputs: &[Input], conv: &Conv2d) -> Maps {
    let mut parts: Vec<Maps> = inputs
        .iter()
        .map(|input| if input.upsampled { upsample2(input.maps.clone()) } else { input.maps.clone() })
        .collect();
    let maps = if parts.len() == 1 { parts.remove(0) } else { Maps::concatenate(parts) };
    from_channels_first(convolve_one(maps.into_channels_first(), conv))
}

/// `[n, c, h, w]` through a layer, in the precision of the maps.
fn convolve_one(maps: Tensor<4>, conv: &Conv2d) -> Tensor<4> {
    let dtype = maps.dtype();
    let padding = match conv.padding {
        PaddingConfig2d::Valid => [0, 0],
        PaddingConfig2d::Explicit(top, left, bottom, right) if (top, left) == (bottom, right) => [top, left],
        _ => return conv.forward(maps),
    };
    let weight = conv.weight.val().cast(dtype);
    let bias = conv.bias.as_ref().map(|bias| bias.val().cast(dtype));
    conv2d(maps, weight, bias, ConvOptions::new(conv.stride, padding, conv.dilation, conv.groups))
}

pub(super) fn squeeze_and_excite(maps: Maps, gate: &Gate<'_>) -> Maps {
    let maps = maps.into_tensor();
    let mean = maps.clone().mean_dim(2).mean_dim(1).permute([0, 3, 1, 2]);
    let squeezed = relu(convolve_one(mean, gate.squeeze));
    let gates = sigmoid(convolve_one(squeezed, gate.excite));
    Maps::Burn(maps.mul(gates.permute([0, 2, 3, 1])))
}

pub(super) fn batch_norm(
    maps: Maps,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f64,
    ending: Ending,
) -> (Maps, BatchMoments) {
    let maps = maps.into_channels_first();
    let dtype = maps.dtype();
    let normalised = batch_norm_train(maps.cast(weight.dtype()), weight, bias, epsilon);
    let maps = end(from_channels_first(normalised.output.cast(dtype)), ending);
    (maps, BatchMoments { mean: normalised.mean, variance: normalised.variance })
}

pub(super) fn scale_and_shift(maps: Maps, affine: Affine, ending: Ending) -> Maps {
    let maps = maps.into_tensor();
    let dtype = maps.dtype();
    let [scale, shift] = [affine.scale, affine.shift].map(|t| {
        let [channels] = t.dims();
        t.cast(dtype).reshape([1, 1, 1, channels])
    });
    end(Maps::Burn(maps.mul(scale).add(shift)), ending)
}

pub(super) fn end(maps: Maps, ending: Ending) -> Maps {
    let maps = match ending.residual {
        Some(residual) => maps.add(residual),
        None => maps,
    };
    if ending.relu { Maps::Burn(relu(maps.into_tensor())) } else { maps }
}
