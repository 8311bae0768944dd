//! Walks over a network that give every parameter and running statistic its name.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};

use super::names::PathNames;
use super::safetensors_file::FileTensor;
use crate::config::SegModelConfig;
use crate::seg_model::SegModel;

/// Shapes of all parameters and running statistics by SMP's names.
pub(super) fn shapes(model: &SegModel, config: SegModelConfig) -> BTreeMap<String, Vec<usize>> {
    let mut collect = CollectShapes { names: PathNames::new(config), shapes: BTreeMap::new() };
    model.visit(&mut collect);
    collect.shapes
}

/// Values of all parameters and running statistics by SMP's names.
pub(super) fn values(model: &SegModel, config: SegModelConfig) -> BTreeMap<String, FileTensor> {
    let mut collect = CollectValues { names: PathNames::new(config), tensors: BTreeMap::new() };
    model.visit(&mut collect);
    collect.tensors
}

/// The network with these values, which fit; what has no value stays as it is.
pub(super) fn fill(
    model: SegModel,
    config: SegModelConfig,
    tensors: &mut BTreeMap<String, FileTensor>,
) -> SegModel {
    model.map(&mut FillParams { names: PathNames::new(config), tensors })
}

struct CollectShapes {
    names: PathNames,
    shapes: BTreeMap<String, Vec<usize>>,
}

impl ModuleVisitor for CollectShapes {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.names.push(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.names.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.shapes.insert(self.names.current(), param.lazy_shape().dims::<D>().to_vec());
    }
}

struct CollectValues {
    names: PathNames,
    tensors: BTreeMap<String, FileTensor>,
}

impl ModuleVisitor for CollectValues {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.names.push(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.names.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let data = param.val().into_data().convert::<f32>();
        let shape = data.shape().to_vec();
        let values = data.iter::<f32>().collect();
        self.tensors.insert(self.names.current(), FileTensor { shape, values });
    }
}

struct FillParams<'a> {
    names: PathNames,
    tensors: &'a mut BTreeMap<String, FileTensor>,
}

impl ModuleMapper for FillParams<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.names.push(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.names.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(new) = self.tensors.remove(&self.names.current()) else { return param };
        param.map(|old| {
            let data = TensorData::new(new.values, new.shape);
            let require_grad = old.is_require_grad();
            Tensor::from_data(data, &old.device()).set_require_grad(require_grad)
        })
    }
}
