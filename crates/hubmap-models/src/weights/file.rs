//! A file of weights, whatever its format and naming.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use super::safetensors_file::SafetensorsFile;
use super::torch_file::TorchFile;
use super::{ElementType, WeightsError, WeightsLayout};

/// Format of a file of weights, told from its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightsFormat {
    /// safetensors.
    Safetensors,
    /// What `torch.save` writes since PyTorch 1.6.
    TorchZip,
    /// What `torch.save` wrote before.
    TorchLegacy,
    /// What `torch.save` wrote before PyTorch 0.1.10.
    TorchTar,
}

impl std::fmt::Display for WeightsFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::TorchZip => "PyTorch checkpoint (zip)",
            Self::TorchLegacy => "PyTorch checkpoint (legacy)",
            Self::TorchTar => "PyTorch checkpoint (tar)",
        })
    }
}

/// What a file says of one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name in the file; keys of nested dictionaries are joined by dots.
    pub name: String,
    /// Name in SMP's naming of today, if the naming of the file is known.
    pub smp_name: String,
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Type of the elements in the file.
    pub element_type: ElementType,
}

impl TensorInfo {
    /// Elements in it.
    pub fn n_elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it is a counter of batches, which PyTorch keeps beside running statistics and nothing here uses.
    pub fn is_batch_counter(&self) -> bool {
        self.smp_name.ends_with("num_batches_tracked")
    }
}

/// An open file of weights: what is in it is known, values are read tensor by tensor.
#[derive(Debug)]
pub struct WeightsFile {
    path: PathBuf,
    format: WeightsFormat,
    layout: WeightsLayout,
    tensors: Vec<TensorInfo>,
    n_beside: usize,
    contents: Contents,
}

#[derive(Debug)]
enum Contents {
    Safetensors(SafetensorsFile),
    Torch(TorchFile),
}

/// A tensor may repeat the elements of its storage, so a small file can describe any size. Larger than this
/// (the largest of a RegNet has 56 MB) is refused.
const MAX_TENSOR_BYTES: usize = 1 << 30;
/// Enough of the beginning to tell formats apart.
const START_BYTES: u64 = 64;

impl WeightsFile {
    /// Opens a file of weights; format and naming are told from its contents.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let io = |source| WeightsError::Io { path: path.to_owned(), action: "read", source };
        let format_error = |problem| WeightsError::Format { path: path.to_owned(), problem };
        let mut file = File::open(path).map_err(io)?;
        let mut start = Vec::new();
        file.by_ref().take(START_BYTES).read_to_end(&mut start).map_err(io)?;
        file.rewind().map_err(io)?;

        let (contents, format) = if SafetensorsFile::is_start(&start) {
            let file = SafetensorsFile::open(file).map_err(format_error)?;
            (Contents::Safetensors(file), WeightsFormat::Safetensors)
        } else if let Some(problem) = no_weights(&start) {
            return Err(format_error(problem.to_owned()));
        } else {
            let (file, format) = TorchFile::open(path).map_err(format_error)?;
            (Contents::Torch(file), format)
        };
        let all = match &contents {
            Contents::Safetensors(file) => file.tensors(),
            Contents::Torch(file) => file.tensors(),
        };
        let names: Vec<&str> = all.iter().map(|(name, ..)| name.as_str()).collect();
        let layout = WeightsLayout::detect(&names, format != WeightsFormat::Safetensors);
        let n_all = all.len();
        let mut tensors: Vec<TensorInfo> = all
            .into_iter()
            .filter_map(|(name, element_type, shape)| {
                let smp_name = layout.canonical(&name)?;
                Some(TensorInfo { name, smp_name, shape, element_type })
            })
            .collect();
        tensors.sort_by(|a, b| a.smp_name.cmp(&b.smp_name));
        if tensors.is_empty() {
            return Err(format_error("there are no tensors in it".to_owned()));
        }
        let n_beside = n_all - tensors.len();
        Ok(Self { path: path.to_owned(), format, layout, tensors, n_beside, contents })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its format.
    pub fn format(&self) -> WeightsFormat {
        self.format
    }

    /// Whose naming it follows.
    pub fn layout(&self) -> &WeightsLayout {
        &self.layout
    }

    /// The tensors of the network, sorted by name in SMP's naming.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// Tensors that a checkpoint holds beside the network's, such as an optimiser's.
    pub fn n_tensors_beside(&self) -> usize {
        self.n_beside
    }

    /// The tensor of this name in SMP's naming of today.
    pub fn get(&self, smp_name: &str) -> Option<&TensorInfo> {
        let idx = self.tensors.binary_search_by(|tensor| tensor.smp_name.as_str().cmp(smp_name)).ok()?;
        self.tensors.get(idx)
    }

    /// Values of a tensor as f32, C order. Weights are floating point: integers are refused.
    pub fn read(&self, tensor: &TensorInfo) -> Result<Vec<f32>, WeightsError> {
        if !tensor.element_type.is_float() {
            return Err(self.problem(format!(
                "tensor {} is {}; weights must be f32, f16, bf16 or f64",
                tensor.name, tensor.element_type
            )));
        }
        self.values(tensor, |v| v as f32)
    }

    /// Values of a tensor of any readable type, C order.
    pub fn read_f64(&self, tensor: &TensorInfo) -> Result<Vec<f64>, WeightsError> {
        self.values(tensor, |v| v)
    }

    fn values<T>(&self, tensor: &TensorInfo, from: impl Fn(f64) -> T) -> Result<Vec<T>, WeightsError> {
        // Eight bytes at most per element, whatever the type.
        let n_bytes = tensor.shape.iter().try_fold(8_usize, |n, &extent| n.checked_mul(extent));
        if n_bytes.is_none_or(|n| n > MAX_TENSOR_BYTES) {
            return Err(self.problem(format!("tensor {} of {:?} is too large", tensor.name, tensor.shape)));
        }
        let bytes = match &self.contents {
            Contents::Safetensors(file) => file.read(&tensor.name),
            Contents::Torch(file) => file.read(&tensor.name),
        };
        let bytes = bytes.map_err(|error| match (&self.contents, error.kind()) {
            // A storage that is not there or whose checksum is wrong, rather than a failing disk.
            (Contents::Torch(_), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                self.problem(error.to_string())
            }
            _ => WeightsError::Io { path: self.path.clone(), action: "read", source: error },
        })?;
        tensor
            .element_type
            .decode(&bytes, from)
            .filter(|values| values.len() == tensor.n_elements())
            .ok_or_else(|| {
                self.problem(format!("tensor {} of type {} cannot be read", tensor.name, tensor.element_type))
            })
    }

    pub(super) fn problem(&self, problem: String) -> WeightsError {
        WeightsError::Format { path: self.path.clone(), problem }
    }
}

/// What people give by mistake, from the first bytes.
fn no_weights(start: &[u8]) -> Option<&'static str> {
    let starts =
        |text: &str| start.get(..text.len()).is_some_and(|s| s.eq_ignore_ascii_case(text.as_bytes()));
    if start.is_empty() {
        Some("the file is empty")
    } else if starts("version https://git-lfs") {
        Some("it is a pointer of Git LFS; `git lfs pull` fetches the file itself")
    } else if starts("<!doctype") || starts("<html") {
        Some("it is a web page, not what the link on it leads to")
    } else if start.starts_with(b"\x89HDF") {
        Some("it is a HDF5 file (Keras?); PyTorch checkpoints and safetensors are read")
    } else if start.starts_with(b"PK") || start.first() == Some(&0x80) || start.len() as u64 >= START_BYTES {
        None
    } else {
        Some("it is too short for a safetensors file or a PyTorch checkpoint")
    }
}
