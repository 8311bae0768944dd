//! Weights in and out of files, in the naming of segmentation_models.pytorch (SMP).
//!
//! Loading is all or nothing: a file whose tensors do not match the network exactly is refused with
//! the lists of what is missing, unexpected and misshapen.

mod element;
mod error;
mod file;
mod guess;
mod layout;
mod names;
mod params;
mod safetensors_file;
mod torch_file;

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::SegModelConfig;
use crate::seg_model::SegModel;
pub use element::ElementType;
pub use error::{Misshapen, WeightsError, WeightsMismatch};
pub use file::{TensorInfo, WeightsFile, WeightsFormat};
pub use guess::guess_config;
pub use layout::{WeightsLayout, WeightsNaming};
use safetensors_file::{FileTensor, write_safetensors};

/// Names of the encoder's tensors in SMP's naming begin with this.
const ENCODER: &str = "encoder.model.";

/// How weights are stored in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SavedAs {
    /// As they are.
    #[default]
    F32,
    /// Rounded to IEEE 754 half precision.
    F16,
    /// Rounded to the upper half of f32.
    Bf16,
}

/// The network with the weights of a file: safetensors, or a PyTorch checkpoint in any container of `torch.save`.
///
/// Reads f32, f16, bf16 and f64; SMP's naming of today (`encoder.model.s1…`) and up to 0.3 (`encoder.s1…`); bare, or
/// under the `model_state` of a checkpoint; with or without the `module.` prefix of data-parallel training.
/// Format and naming are told from the contents. `num_batches_tracked` is ignored, and what a checkpoint holds
/// beside the weights is not read.
pub fn load_weights(model: SegModel, config: &SegModelConfig, path: &Path) -> Result<SegModel, WeightsError> {
    let file = WeightsFile::open(path)?;
    if file.layout().naming == WeightsNaming::Timm {
        return Err(file.encoder_only(&config.to_string()));
    }
    load(model, *config, &file, Part::Whole)
}

/// The network with the encoder's weights of a file; decoder and head stay as they are.
///
/// The file holds a timm encoder, whose classifier (`head.…`) is ignored, or a whole network in SMP's naming.
/// Otherwise like [`load_weights`].
pub fn load_encoder_weights(
    model: SegModel,
    config: &SegModelConfig,
    path: &Path,
) -> Result<SegModel, WeightsError> {
    load(model, *config, &WeightsFile::open(path)?, Part::Encoder)
}

/// Writes the weights as f32 safetensors in SMP's naming, to a temporary in the same folder and then under
/// `path`.
///
/// Give a model on a device without autodiff (`model.valid()`): only then are the running statistics
/// up to date. PyTorch loads the file with `strict=True`.
pub fn save_weights(model: &SegModel, config: &SegModelConfig, path: &Path) -> Result<(), WeightsError> {
    save_weights_as(model, config, path, SavedAs::F32)
}

/// Like [`save_weights`], with elements of a chosen type.
pub fn save_weights_as(
    model: &SegModel,
    config: &SegModelConfig,
    path: &Path,
    saved_as: SavedAs,
) -> Result<(), WeightsError> {
    write_safetensors(path, &params::values(model, *config), saved_as)
}

/// Writes the encoder alone, in timm's naming and without a classifier: a model that timm made with
/// `num_classes=0` loads it with `strict=True`. Otherwise like [`save_weights_as`].
pub fn save_encoder_weights(
    model: &SegModel,
    config: &SegModelConfig,
    path: &Path,
    saved_as: SavedAs,
) -> Result<(), WeightsError> {
    let tensors = params::values(model, *config).into_iter();
    let encoder = tensors.filter_map(|(name, tensor)| Some((name.strip_prefix(ENCODER)?.to_owned(), tensor)));
    write_safetensors(path, &encoder.collect(), saved_as)
}

/// How much of a network a file is to fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    Encoder,
}

impl Part {
    /// Whether the network's tensor of this name must be in the file.
    fn wants(self, smp_name: &str) -> bool {
        self == Self::Whole || smp_name.starts_with(ENCODER)
    }

    /// Whether a tensor of the file may be there without being wanted.
    fn ignores(self, tensor: &TensorInfo) -> bool {
        const NOT_ENCODER: [&str; 4] = ["head.", "decoder.", "segmentation_head.", "classification_head."];
        tensor.is_batch_counter()
            || self == Self::Encoder && NOT_ENCODER.iter().any(|part| tensor.smp_name.starts_with(part))
    }
}

fn load(
    model: SegModel,
    config: SegModelConfig,
    file: &WeightsFile,
    part: Part,
) -> Result<SegModel, WeightsError> {
    let mut shapes = params::shapes(&model, config);
    shapes.retain(|name, _| part.wants(name));
    check(file, &shapes, config, part)?;
    let mut tensors = BTreeMap::new();
    for (name, shape) in shapes {
        if let Some(tensor) = file.get(&name) {
            tensors.insert(name, FileTensor { shape, values: file.read(tensor)? });
        }
    }
    Ok(params::fill(model, config, &mut tensors))
}

/// Refuses a file whose tensors are not exactly those of `shapes`.
fn check(
    file: &WeightsFile,
    shapes: &BTreeMap<String, Vec<usize>>,
    config: SegModelConfig,
    part: Part,
) -> Result<(), WeightsError> {
    let mut missing = Vec::new();
    let mut misshapen = Vec::new();
    for (name, expected) in shapes {
        match file.get(name) {
            None => missing.push(name.clone()),
            Some(found) if found.shape != *expected => misshapen.push(Misshapen {
                name: name.clone(),
                expected: expected.clone(),
                found: found.shape.clone(),
            }),
            Some(_) => {}
        }
    }
    let unexpected: Vec<String> = file
        .tensors()
        .iter()
        .filter(|tensor| !part.ignores(tensor) && !shapes.contains_key(&tensor.smp_name))
        .map(|tensor| tensor.smp_name.clone())
        .collect();
    if missing.is_empty() && misshapen.is_empty() && unexpected.is_empty() {
        return Ok(());
    }
    let (network, guess) = match part {
        Part::Whole => (config.to_string(), file.guess_config().ok().map(|guess| guess.to_string())),
        Part::Encoder => (
            format!("the encoder {}", config.encoder),
            file.guess_encoder().map(|kind| format!("the encoder {kind}")),
        ),
    };
    let looks_like = guess.filter(|guess| *guess != network);
    let path = file.path().to_owned();
    let mismatch = WeightsMismatch { path, network, looks_like, missing, unexpected, misshapen };
    Err(WeightsError::Mismatch(Box::new(mismatch)))
}
