//! PyTorch checkpoints (`.pth`, `.pt`): what `torch.save` writes, in every container it has had.
//!
//! Nothing in the file is executed: of the pickle only data and calls that rebuild tensors are understood.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use pytorch_reader::{DType, FileFormat, PytorchError, PytorchReader, Tensor};

use super::{ElementType, WeightsFormat};

/// An open checkpoint: names and shapes of its tensors, values on demand.
#[derive(Debug)]
pub(super) struct TorchFile {
    tensors: HashMap<String, Tensor>,
}

impl TorchFile {
    /// Reads the pickle; the message says what is wrong.
    pub(super) fn open(path: &Path) -> Result<(Self, WeightsFormat), String> {
        let reader = PytorchReader::new(path).map_err(problem)?;
        let format = match reader.metadata().format_type {
            FileFormat::Zip => WeightsFormat::TorchZip,
            FileFormat::Legacy => WeightsFormat::TorchLegacy,
            FileFormat::Tar => WeightsFormat::TorchTar,
            FileFormat::Pickle => return Err("it is a plain pickle, which holds no tensors".to_owned()),
        };
        Ok((Self { tensors: reader.into_tensors() }, format))
    }

    /// Name, type and shape of every tensor; names of nested dictionaries are joined by dots.
    pub(super) fn tensors(&self) -> Vec<(String, ElementType, Vec<usize>)> {
        let tensors = self.tensors.iter();
        tensors.map(|(name, t)| (name.clone(), element_type(t.dtype()), t.shape().to_vec())).collect()
    }

    /// Little-endian bytes of a tensor, C order whatever its strides are in the file.
    pub(super) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let tensor = self.tensors.get(name).ok_or(io::ErrorKind::NotFound)?;
        let mut bytes = tensor.read()?;
        if cfg!(target_endian = "big") {
            bytes.chunks_exact_mut(tensor.dtype().size()).for_each(<[u8]>::reverse);
        }
        Ok(bytes)
    }
}

/// The reader's words, without the layer that repeats what is known.
fn problem(error: PytorchError) -> String {
    match error {
        PytorchError::Io(error) => format!("damaged PyTorch checkpoint: {error}"),
        PytorchError::Zip(error) => format!("damaged zip of a PyTorch checkpoint, truncated? ({error})"),
        PytorchError::InvalidFormat(problem) => {
            problem.replace("not a PyTorch checkpoint", "neither safetensors nor a PyTorch checkpoint")
        }
        other => format!("PyTorch checkpoint: {other}"),
    }
}

const fn element_type(dtype: DType) -> ElementType {
    match dtype {
        DType::F64 => ElementType::F64,
        DType::F32 => ElementType::F32,
        DType::F16 => ElementType::F16,
        DType::BF16 => ElementType::Bf16,
        DType::I64 => ElementType::I64,
        DType::I32 => ElementType::I32,
        DType::I16 => ElementType::I16,
        DType::I8 => ElementType::I8,
        DType::U64 => ElementType::U64,
        DType::U32 => ElementType::U32,
        DType::U16 => ElementType::U16,
        DType::U8 => ElementType::U8,
        DType::Bool => ElementType::Bool,
    }
}
