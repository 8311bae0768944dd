//! Weights in and out of files, in the naming of segmentation_models.pytorch (SMP).
//!
//! Loading is all or nothing: a file whose tensors do not match the network exactly is refused with
//! the lists of what is missing, unexpected and misshapen.

mod names;
mod safetensors_file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};

use crate::config::{Attention, DecoderKind, EncoderKind, SegModelConfig};
use crate::encoder::regnet_spec;
use crate::seg_model::SegModel;
use names::{PathNames, canonical_name};
use safetensors_file::{FileTensor, read_safetensors, write_safetensors};

/// A tensor whose shape in the file is not the network's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misshapen {
    /// Name in SMP's naming.
    pub name: String,
    /// Shape that the network has.
    pub expected: Vec<usize>,
    /// Shape in the file.
    pub found: Vec<usize>,
}

impl std::fmt::Display for Misshapen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is {:?}, not {:?}", self.name, self.found, self.expected)
    }
}

/// Why weights could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The operating system refused.
    #[error("{}: cannot {action} weights: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// Not a safetensors file, or a damaged one.
    #[error("{}: not a readable safetensors file: {problem}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Weights of another network.
    #[error(
        "{}: these are not weights of {network}: {}{}{}",
        path.display(),
        list("missing", missing),
        list("unexpected", unexpected),
        list("misshapen", misshapen)
    )]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The network that was to take them.
        network: String,
        /// Tensors that the network has and the file does not.
        missing: Vec<String>,
        /// Tensors that the file has and the network does not.
        unexpected: Vec<String>,
        /// Tensors of another shape.
        misshapen: Vec<Misshapen>,
    },
    /// No known network has these tensors.
    #[error("{}: cannot tell which network these weights belong to ({problem}); name it with --encoder, --decoder and --attention", path.display())]
    UnknownNetwork {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
}

/// How many names of a list an error message shows.
const N_LISTED: usize = 10;

/// `3 missing (a, b, c); `, or nothing for an empty list.
fn list<T: std::fmt::Display>(what: &str, items: &[T]) -> String {
    if items.is_empty() {
        return String::new();
    }
    let mut names: Vec<String> = items.iter().take(N_LISTED).map(ToString::to_string).collect();
    if items.len() > N_LISTED {
        names.push("…".to_owned());
    }
    format!("{} {what} ({}); ", items.len(), names.join(", "))
}

/// The network with the weights of a safetensors file.
///
/// Reads f32, f16 and bf16; SMP's naming of today (`encoder.model.s1…`) and up to 0.3 (`encoder.s1…`), with or
/// without the `module.` prefix of data-parallel training. `num_batches_tracked` is ignored.
pub fn load_weights(model: SegModel, config: &SegModelConfig, path: &Path) -> Result<SegModel, WeightsError> {
    let mut tensors = read_canonical(path)?;
    let mut collect = CollectShapes { names: PathNames::new(*config), shapes: BTreeMap::new() };
    model.visit(&mut collect);

    let mut missing = Vec::new();
    let mut misshapen = Vec::new();
    for (name, expected) in &collect.shapes {
        match tensors.get(name) {
            None => missing.push(name.clone()),
            Some(found) if found.shape != *expected => misshapen.push(Misshapen {
                name: name.clone(),
                expected: expected.clone(),
                found: found.shape.clone(),
            }),
            Some(_) => {}
        }
    }
    let unexpected: Vec<String> =
        tensors.keys().filter(|name| !collect.shapes.contains_key(*name)).cloned().collect();
    if !(missing.is_empty() && misshapen.is_empty() && unexpected.is_empty()) {
        let (path, network) = (path.to_owned(), config.to_string());
        return Err(WeightsError::Mismatch { path, network, missing, unexpected, misshapen });
    }
    let mut fill = FillParams { names: PathNames::new(*config), tensors: &mut tensors };
    Ok(model.map(&mut fill))
}

/// Writes the weights in SMP's naming, to a temporary in the same folder and then under `path`.
///
/// Give a model on a device without autodiff (`model.valid()`): only then are the running statistics
/// up to date. PyTorch loads the file with `strict=True`.
pub fn save_weights(model: &SegModel, config: &SegModelConfig, path: &Path) -> Result<(), WeightsError> {
    let mut collect = CollectValues { names: PathNames::new(*config), tensors: BTreeMap::new() };
    model.visit(&mut collect);
    write_safetensors(path, &collect.tensors)
}

/// The network that the tensors of a safetensors file belong to, from their names and shapes.
pub fn guess_config(path: &Path) -> Result<SegModelConfig, WeightsError> {
    let tensors = read_canonical(path)?;
    let unknown =
        |problem: &str| WeightsError::UnknownNetwork { path: path.to_owned(), problem: problem.into() };
    let shape = |name: &str| tensors.get(name).map(|t| t.shape.as_slice());
    let has_block = |stage: usize, block: usize| {
        shape(&format!("encoder.model.s{stage}.b{block}.conv1.conv.weight")).is_some()
    };
    let n_blocks = |stage: usize| {
        let mut n = 0;
        while has_block(stage, n + 1) {
            n += 1;
        }
        n
    };
    let depths = [n_blocks(1), n_blocks(2), n_blocks(3), n_blocks(4)];
    let width = |stage: usize| {
        shape(&format!("encoder.model.s{stage}.b1.conv1.conv.weight")).and_then(|s| s.first()).copied()
    };
    let widths = [width(1), width(2), width(3), width(4)];
    let squeeze_excite = shape("encoder.model.s1.b1.se.fc1.weight").is_some();
    let encoder = EncoderKind::ALL
        .iter()
        .copied()
        .find(|&kind| {
            let spec = regnet_spec(kind);
            spec.depths == depths && spec.widths.map(Some) == widths && spec.squeeze_excite == squeeze_excite
        })
        .ok_or_else(|| unknown("no RegNet encoder has these stages"))?;
    let (decoder, first_block) = if shape("decoder.blocks.x_0_0.conv1.0.weight").is_some() {
        (DecoderKind::UnetPlusPlus, "x_0_0")
    } else if shape("decoder.blocks.0.conv1.0.weight").is_some() {
        (DecoderKind::Unet, "0")
    } else {
        return Err(unknown("there is no Unet or Unet++ decoder in it"));
    };
    let attention = match shape(&format!("decoder.blocks.{first_block}.attention1.attention.sSE.0.weight")) {
        Some(_) => Attention::ScSe,
        None => Attention::None,
    };
    Ok(SegModelConfig { encoder, decoder, attention })
}

/// The tensors of a file under SMP's names of today, without `num_batches_tracked`.
fn read_canonical(path: &Path) -> Result<BTreeMap<String, FileTensor>, WeightsError> {
    let tensors = read_safetensors(path, |name| !name.ends_with("num_batches_tracked"))?;
    Ok(tensors.into_iter().map(|(name, tensor)| (canonical_name(&name), tensor)).collect())
}

/// Names and shapes of all parameters and running statistics.
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

/// Names and values of all parameters and running statistics.
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

/// Puts values into parameters; the caller has checked that every one is there and fits.
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
