//! Every operation and all its gradients equal those composed of Burn's own operations.

use std::cell::Cell;

use burn::module::{Module, Param};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Device, Gradients, Tensor, TensorData};

use super::{Affine, Ending, Gate, Input, Maps, composed, convolve};

thread_local! {
    /// Every test has a thread of its own, and so the same numbers on every run.
    static SEED: Cell<u32> = const { Cell::new(1) };
}

/// Numbers in [-1.4, 2.0) that differ between neighbours and from call to call.
fn random<const D: usize>(dims: [usize; D]) -> Tensor<D> {
    let mut state = SEED.get();
    let values = (0..dims.iter().product())
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 * 3.4 - 1.4
        })
        .collect();
    SEED.set(state);
    Tensor::from_data(TensorData::new(values, dims), &Device::flex().autodiff())
}

/// Maps of `[n, c, h, w]` and the leaf that they are: channels first in memory, or last.
///
/// They are a leaf themselves, because Burn walks back over every other node only once.
fn leaf(dims: [usize; 4], channels_first: bool) -> (Tensor<4>, Maps) {
    let [n, c, h, w] = dims;
    let values = if channels_first { random(dims).permute([0, 2, 3, 1]) } else { random([n, h, w, c]) };
    let leaf = values.detach().require_grad();
    (leaf.clone(), Maps::Burn(leaf))
}

fn layer(channels: [usize; 2], kernel: usize, stride: usize, groups: usize, bias: bool) -> Conv2d {
    let pad = kernel / 2;
    let mut conv = Conv2dConfig::new(channels, [kernel; 2])
        .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
        .with_stride([stride; 2])
        .with_groups(groups)
        .with_bias(bias)
        .init(&Device::flex().autodiff());
    conv.bias = bias.then(|| Param::from_tensor(random([channels[1]])));
    conv
}

/// Gradients of a weighted sum of the output.
fn gradients(output: &Maps) -> Gradients {
    let output = output.tensor();
    let dims = output.dims();
    let n: usize = dims.iter().product();
    let weights = (0..n).map(|at| ((at * 37 % 101) as f32 - 40.0) / 50.0).collect();
    let weights = Tensor::<4>::from_data(TensorData::new(weights, dims), &Device::flex().autodiff());
    output.mul(weights).sum().backward()
}

#[track_caller]
fn assert_same<const D: usize>(found: Tensor<D>, expected: Tensor<D>, what: &str) {
    assert_within(2e-5, found, expected, what);
}

#[track_caller]
fn assert_within<const D: usize>(tolerance: f32, found: Tensor<D>, expected: Tensor<D>, what: &str) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let scale = expected.clone().abs().max().into_scalar::<f32>().max(1.0);
    let worst = found.sub(expected).abs().max().into_scalar::<f32>();
    assert!(worst <= tolerance * scale, "{what} is off by {worst} of {scale}");
}

/// Compares two ways to compute the same, and the gradients of these leaves.
#[track_caller]
fn check(found: &Maps, expected: &Maps, fours: &[&Tensor<4>], ones: &[&Tensor<1>]) {
    check_within(2e-5, found, expected, fours, ones);
}

#[track_caller]
fn check_within(tolerance: f32, found: &Maps, expected: &Maps, fours: &[&Tensor<4>], ones: &[&Tensor<1>]) {
    assert_within(tolerance, found.tensor(), expected.tensor(), "the output");
    let (found, expected) = (gradients(found), gradients(expected));
    for (at, leaf) in fours.iter().enumerate() {
        let [found, expected] = [&found, &expected].map(|g| leaf.grad(g).expect("a gradient"));
        assert_within(tolerance, found, expected, &format!("the gradient of maps or weights {at}"));
    }
    for (at, leaf) in ones.iter().enumerate() {
        let [found, expected] = [&found, &expected].map(|g| leaf.grad(g).expect("a gradient"));
        assert_within(tolerance, found, expected, &format!("the gradient of numbers per channel {at}"));
    }
}

#[test]
fn convolutions_of_one_source() {
    // images, rows, columns, input channels, output channels, kernel, stride, groups
    let cases = [
        [1, 4, 4, 5, 7, 1, 1, 1],
        [2, 9, 7, 48, 24, 1, 2, 1],
        [3, 6, 8, 3, 32, 3, 2, 1],
        [2, 7, 5, 16, 1, 3, 1, 1],
        [2, 5, 11, 48, 48, 3, 1, 2],
        [1, 9, 10, 24, 48, 3, 2, 3],
        [1, 8, 10, 24, 24, 3, 2, 1],
    ];
    for [n, h, w, c, out, kernel, stride, groups] in cases {
        for (bias, channels_first) in [(false, true), (true, false)] {
            let conv = layer([c, out], kernel, stride, groups, bias);
            let (x, maps) = leaf([n, c, h, w], channels_first);
            let inputs = [Input::plain(maps)];
            let biases: Vec<Tensor<1>> = conv.bias.iter().map(Param::val).collect();
            let (found, expected) = (convolve(&inputs, &conv), composed::convolve(&inputs, &conv));
            check(&found, &expected, &[&x, &conv.weight.val()], &biases.iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn convolutions_of_several_sources() {
    let conv = layer([24 + 5 + 16, 12], 3, 1, 1, true);
    let (up, up_maps) = leaf([2, 24, 3, 5], true);
    let (skip, skip_maps) = leaf([2, 5, 6, 10], true);
    let (other, other_maps) = leaf([2, 16, 6, 10], false);
    let inputs = [Input::upsampled(up_maps), Input::plain(skip_maps), Input::plain(other_maps)];
    let bias = conv.bias.as_ref().expect("a bias").val();
    let leaves = [&up, &skip, &other, &conv.weight.val()];
    check(&convolve(&inputs, &conv), &composed::convolve(&inputs, &conv), &leaves, &[&bias]);
}

#[test]
fn gradients_of_maps_that_are_used_twice_add_up() {
    let conv = layer([8, 8], 3, 1, 1, false);
    let (x, maps) = leaf([1, 8, 4, 6], true);
    let twice = |convolve: fn(&[Input], &Conv2d) -> Maps| {
        let once = convolve(&[Input::plain(maps.clone())], &conv);
        convolve(&[Input::plain(once.clone())], &conv).add(once)
    };
    check(&twice(convolve), &twice(composed::convolve), &[&x, &conv.weight.val()], &[]);
}

#[test]
fn inputs_without_gradient_get_none() {
    let conv = layer([8, 8], 3, 1, 1, false);
    let maps = Maps::from_channels_first(random([1, 8, 4, 6]));
    let inputs = [Input::plain(maps)];
    let (found, expected) = (convolve(&inputs, &conv), composed::convolve(&inputs, &conv));
    check(&found, &expected, &[&conv.weight.val()], &[]);
    let frozen = layer([8, 8], 3, 1, 1, false).no_grad();
    let untracked = convolve(&inputs, &frozen);
    assert!(!untracked.tensor().is_tracked());
}

#[test]
fn normalisation_by_the_batch() {
    for (channels, size) in [(3, [2, 5, 7]), (16, [1, 33, 65]), (120, [2, 3, 4]), (4, [1, 1, 1])] {
        let [n, h, w] = size;
        for (relu, residual) in [(false, false), (true, false), (false, true), (true, true)] {
            let (x, maps) = leaf([n, channels, h, w], true);
            let (other, other_maps) = leaf([n, channels, h, w], false);
            let [weight, bias] = [(); 2].map(|()| random([channels]).require_grad());
            let ending = || Ending { residual: residual.then(|| other_maps.clone()), relu };
            let (found, found_moments) =
                maps.clone().batch_norm(weight.clone(), bias.clone(), 1e-5, ending());
            let (expected, moments) =
                composed::batch_norm(maps, weight.clone(), bias.clone(), 1e-5, ending());
            assert_same(found_moments.mean, moments.mean, "the mean");
            assert_same(found_moments.variance, moments.variance, "the variance");
            let fours = if residual { vec![&x, &other] } else { vec![&x] };
            // One pixel has no variance: rounding is magnified by the root of 1 / epsilon, which is 316.
            let tolerance = if n * h * w == 1 { 5e-4 } else { 2e-5 };
            check_within(tolerance, &found, &expected, &fours, &[&weight, &bias]);
        }
    }
}

#[test]
fn a_large_mean_costs_the_variance_no_digits() {
    let maps = Maps::Burn(random([2, 40, 40, 8]).mul_scalar(0.01).add_scalar(1000.0));
    let ones = || random([8]);
    let (_, moments) = maps.clone().batch_norm(ones(), ones(), 1e-5, Ending::none());
    let exact = maps.into_tensor().sub_scalar(1000.0).reshape([3200, 8]).var_bias(0).reshape([8]);
    let worst = moments.variance.div(exact).sub_scalar(1.0).abs().max().into_scalar::<f32>();
    assert!(worst < 0.01, "off by {worst}");
}

#[test]
fn normalisation_by_given_numbers() {
    for (relu, residual) in [(false, false), (true, false), (false, true), (true, true)] {
        let (x, maps) = leaf([2, 24, 5, 7], true);
        let (other, other_maps) = leaf([2, 24, 5, 7], true);
        let [scale, shift] = [(); 2].map(|()| random([24]).require_grad());
        let ending = || Ending { residual: residual.then(|| other_maps.clone()), relu };
        let affine = || Affine { scale: scale.clone(), shift: shift.clone() };
        let found = maps.clone().scale_and_shift(affine(), ending());
        let expected = composed::scale_and_shift(maps.clone(), affine(), ending());
        let fours = if residual { vec![&x, &other] } else { vec![&x] };
        check(&found, &expected, &fours, &[&scale, &shift]);
        // Without gradients.
        let inner = |maps: &Maps| Maps::Burn(maps.tensor().inner());
        let affine = Affine { scale: scale.clone().inner(), shift: shift.clone().inner() };
        let ending = Ending { residual: residual.then(|| inner(&other_maps)), relu };
        let plain = inner(&maps).scale_and_shift(affine, ending);
        assert_same(plain.into_tensor(), expected.into_tensor().inner(), "the output without gradients");
    }
}

#[test]
fn squeeze_and_excitation() {
    let (squeeze, excite) = (layer([24, 6], 1, 1, 1, true), layer([6, 24], 1, 1, 1, true));
    let (x, maps) = leaf([3, 24, 5, 4], true);
    let gate = Gate { squeeze: &squeeze, excite: &excite };
    let found = maps.clone().squeeze_and_excite(&gate);
    let expected = composed::squeeze_and_excite(maps, &gate);
    let biases = [&squeeze, &excite].map(|l| l.bias.as_ref().expect("a bias").val());
    let weights = [squeeze.weight.val(), excite.weight.val()];
    check(&found, &expected, &[&x, &weights[0], &weights[1]], &[&biases[0], &biases[1]]);
}

#[test]
fn upsampling() {
    let (x, maps) = leaf([2, 5, 3, 4], true);
    check(&maps.clone().upsample2(), &composed::upsample2(maps), &[&x], &[]);
}

#[test]
fn not_a_number_survives_the_relu() {
    let maps = Maps::Burn(random([1, 3, 3, 4]).mul_scalar(f32::NAN));
    let [scale, shift] = [(); 2].map(|()| random([4]));
    let out = maps.scale_and_shift(Affine { scale, shift }, Ending::relu());
    assert!(out.into_tensor().into_data().iter::<f32>().all(f32::is_nan));
}
