//! Safetensors files, tensor by tensor.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata, TensorView};

use super::{ElementType, SavedAs, WeightsError};

/// A tensor's shape and values, C order.
pub(super) struct FileTensor {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

/// An open safetensors file: its header, checked against the length of the file.
#[derive(Debug)]
pub(super) struct SafetensorsFile {
    file: File,
    header: Metadata,
    data_start: u64,
}

/// Length of the field that says how long the header is.
const LENGTH_BYTES: u64 = 8;
/// The longest header that the format allows.
const MAX_HEADER_BYTES: u64 = 100_000_000;

impl SafetensorsFile {
    /// Whether a file that begins with `bytes` has this format.
    pub(super) fn is_start(bytes: &[u8]) -> bool {
        let length = bytes.first_chunk::<8>().map(|&length| u64::from_le_bytes(length));
        length.is_some_and(|length| length <= MAX_HEADER_BYTES) && bytes.get(8) == Some(&b'{')
    }

    /// Reads the header; the message says what is wrong.
    pub(super) fn open(mut file: File) -> Result<Self, String> {
        let mut read = || -> io::Result<(u64, Vec<u8>)> {
            let file_bytes = file.metadata()?.len();
            let mut length = [0; LENGTH_BYTES as usize];
            file.read_exact(&mut length)?;
            let length = u64::from_le_bytes(length);
            // A shorter file cannot hold it, and the memory is not asked for.
            let length = length.min(MAX_HEADER_BYTES).min(file_bytes.saturating_sub(LENGTH_BYTES));
            let mut header = vec![0; length as usize];
            file.read_exact(&mut header)?;
            Ok((file_bytes, header))
        };
        let (file_bytes, header_bytes) = read().map_err(|e| e.to_string())?;
        let data_start = LENGTH_BYTES + header_bytes.len() as u64;
        let header: Metadata = serde_json::from_slice(&header_bytes)
            .map_err(|e| format!("damaged header of safetensors: {e}"))?;
        let end = data_start.checked_add(header.data_len() as u64);
        if end != Some(file_bytes) {
            let wanted = end.map_or("more".to_owned(), |end| end.to_string());
            return Err(format!(
                "it is {file_bytes} bytes long, and its header describes {wanted}: truncated?"
            ));
        }
        Ok(Self { file, header, data_start })
    }

    /// Name, type and shape of every tensor.
    pub(super) fn tensors(&self) -> Vec<(String, ElementType, Vec<usize>)> {
        let tensors = self.header.tensors().into_iter();
        tensors.map(|(name, info)| (name, element_type(info.dtype), info.shape.clone())).collect()
    }

    /// Little-endian bytes of a tensor, C order.
    pub(super) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let info = self.header.info(name).ok_or(io::ErrorKind::NotFound)?;
        let (start, end) = info.data_offsets;
        let mut bytes = vec![0; end.saturating_sub(start)];
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.data_start + start as u64))?;
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn element_type(dtype: Dtype) -> ElementType {
    match dtype {
        Dtype::F64 => ElementType::F64,
        Dtype::F32 => ElementType::F32,
        Dtype::F16 => ElementType::F16,
        Dtype::BF16 => ElementType::Bf16,
        Dtype::I64 => ElementType::I64,
        Dtype::I32 => ElementType::I32,
        Dtype::I16 => ElementType::I16,
        Dtype::I8 => ElementType::I8,
        Dtype::U64 => ElementType::U64,
        Dtype::U32 => ElementType::U32,
        Dtype::U16 => ElementType::U16,
        Dtype::U8 => ElementType::U8,
        Dtype::BOOL => ElementType::Bool,
        other => ElementType::Other(other.to_string()),
    }
}

impl SavedAs {
    const fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
        }
    }

    fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::F16 => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
            Self::Bf16 => values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
        }
    }
}

/// Writes tensors, adding the zero `num_batches_tracked` that PyTorch's strict loading asks for beside every
/// running mean.
pub(super) fn write_safetensors(
    path: &Path,
    tensors: &BTreeMap<String, FileTensor>,
    saved_as: SavedAs,
) -> Result<(), WeightsError> {
    let format = |e: safetensors::SafeTensorError| WeightsError::Format {
        path: path.to_owned(),
        problem: e.to_string(),
    };
    let zero = 0i64.to_le_bytes();
    let bytes: Vec<(&str, &[usize], Vec<u8>)> = tensors
        .iter()
        .map(|(name, t)| (name.as_str(), t.shape.as_slice(), saved_as.encode(&t.values)))
        .collect();
    let mut views: Vec<(String, TensorView<'_>)> = Vec::new();
    for (name, shape, data) in &bytes {
        let view = TensorView::new(saved_as.dtype(), shape.to_vec(), data).map_err(format)?;
        views.push(((*name).to_owned(), view));
        if let Some(layer) = name.strip_suffix("running_mean") {
            let view = TensorView::new(Dtype::I64, Vec::new(), &zero).map_err(format)?;
            views.push((format!("{layer}num_batches_tracked"), view));
        }
    }
    let serialized = safetensors::serialize(views, None).map_err(format)?;
    hubmap_files::write_whole(path, &serialized).map_err(|source| WeightsError::Io {
        path: path.to_owned(),
        action: "write",
        source,
    })
}
