//! AdamW with the recipe's parameter groups.

use burn::module::{Module, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::optim::{AdamWConfig, ModuleOptimizer};
use burn::tensor::Tensor;

use crate::config::OptimizerConfig;

/// AdamW with amsgrad over `model`, without decay on parameters of one dimension (biases, BatchNorm).
///
/// Spec section 5; equal to `torch.optim.AdamW(amsgrad=True)` with two parameter groups.
pub fn adamw<M: Module>(config: &OptimizerConfig, model: &M) -> ModuleOptimizer {
    let with_decay = |weight_decay| {
        AdamWConfig::new()
            .with_beta_1(config.beta_1)
            .with_beta_2(config.beta_2)
            .with_epsilon(config.epsilon)
            .with_weight_decay(weight_decay)
            .with_amsgrad(true)
    };
    let mut flat = FlatParams(Vec::new());
    model.visit(&mut flat);
    with_decay(config.weight_decay).init().with_group(
        ParamGroup::from_ids(flat.0),
        with_decay(0.0).build(),
        None,
    )
}

/// Ids of the parameters of one dimension.
struct FlatParams(Vec<ParamId>);

impl ModuleVisitor for FlatParams {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if D == 1 {
            self.0.push(param.id);
        }
    }
}
