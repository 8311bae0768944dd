//! Symmetric Lovász hinge.

use burn::tensor::Tensor;
use burn::tensor::activation::elu;

/// Lovász hinge (Berman, Rannen Triki and Blaschko, 2018) with `elu(e) + 1` in place of `relu(e)`, as HuBMAP's
/// public solutions use it: the mean over images of the loss of `y > 1/2` and of its complement.
///
/// Logits and targets are `[n, 1, h, w]`.
pub fn symmetric_lovasz_hinge(logits: &Tensor<4>, target: &Tensor<4>) -> Tensor<1> {
    let [n, _, height, width] = logits.dims();
    let flat = |maps: &Tensor<4>, i: usize| maps.clone().narrow(0, i, 1).reshape([height * width]);
    let sum = (0..n).fold(Tensor::zeros([1], &logits.device()), |sum, i| {
        let (logits, object) = (flat(logits, i), flat(target, i).greater_scalar(0.5).float());
        let complement = object.clone().neg().add_scalar(1.0);
        sum.add(hinge(logits.clone(), object)).add(hinge(logits.neg(), complement))
    });
    sum.div_scalar(2.0 * n as f64)
}

/// The loss of one image: errors in falling order, times the growth of the Jaccard loss when they are added.
fn hinge(logits: Tensor<1>, object: Tensor<1>) -> Tensor<1> {
    let sign = object.clone().mul_scalar(2.0).sub_scalar(1.0);
    let errors = logits.mul(sign).neg().add_scalar(1.0);
    let order = errors.clone().detach().argsort_descending(0);
    let errors = errors.select(0, order.clone());
    elu(errors, 1.0).add_scalar(1.0).mul(jaccard_growth(object.select(0, order))).sum()
}

/// How much each pixel adds to the Jaccard loss when pixels become wrong one after the other; `object` is 0 or 1.
fn jaccard_growth(object: Tensor<1>) -> Tensor<1> {
    let n = object.dims()[0];
    let n_object = object.clone().sum();
    let intersection = n_object.clone().sub(object.clone().cumsum(0));
    let union = n_object.add(object.neg().add_scalar(1.0).cumsum(0));
    let loss = intersection.div(union).neg().add_scalar(1.0);
    let before = Tensor::cat(vec![Tensor::zeros([1], &loss.device()), loss.clone().narrow(0, 0, n - 1)], 0);
    loss.sub(before)
}
