//! What `hubmap-convert weights` says of a file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hubmap_models::{SegModelConfig, TensorInfo, WeightsError, WeightsFile};
use serde::Serialize;

/// A whole file of weights.
#[derive(Debug, Serialize)]
pub(crate) struct WeightsReport {
    file: PathBuf,
    format: String,
    naming: String,
    /// Key of the checkpoint that holds the weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint_key: Option<String>,
    /// What all names begin with.
    #[serde(skip_serializing_if = "String::is_empty")]
    prefix: String,
    /// The network, if it is a known one.
    network: Option<SegModelConfig>,
    /// The encoder, of the network or alone.
    encoder: Option<String>,
    has_classifier: bool,
    /// Why the network is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// Trainable numbers, so without running statistics.
    n_parameters: usize,
    n_tensors: usize,
    /// Tensors of a checkpoint that are no weights, such as an optimiser's.
    n_tensors_beside: usize,
    /// Tensors by type, counters of batches left out.
    dtypes: BTreeMap<String, usize>,
    tensors: Vec<TensorReport>,
    #[serde(skip)]
    layout: String,
}

/// One tensor.
#[derive(Debug, Serialize)]
struct TensorReport {
    /// As in the file.
    name: String,
    /// In SMP's naming of today.
    smp_name: String,
    shape: Vec<usize>,
    dtype: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stats: Option<Stats>,
}

/// Of the finite values; `None` where there are none.
#[derive(Debug, Serialize)]
struct Stats {
    min: Option<f64>,
    max: Option<f64>,
    mean: Option<f64>,
    /// Infinities and NaNs.
    n_not_finite: usize,
}

impl WeightsReport {
    /// The report, with statistics of every tensor's values if asked for.
    pub(crate) fn new(file: &WeightsFile, with_stats: bool) -> Result<Self, WeightsError> {
        let layout = file.layout();
        let (network, problem) = match file.guess_config() {
            Ok(config) => (Some(config), None),
            Err(WeightsError::EncoderOnly { .. }) => (None, None),
            Err(WeightsError::UnknownNetwork { problem, .. }) => (None, Some(problem)),
            Err(error) => (None, Some(error.to_string())),
        };
        let tensors = file.tensors().iter().map(|tensor| {
            Ok(TensorReport {
                name: tensor.name.clone(),
                smp_name: tensor.smp_name.clone(),
                shape: tensor.shape.clone(),
                dtype: tensor.element_type.to_string(),
                stats: if with_stats { Some(Stats::new(&file.read_f64(tensor)?)) } else { None },
            })
        });
        let tensors = tensors.collect::<Result<_, WeightsError>>()?;
        let mut dtypes = BTreeMap::new();
        for tensor in file.tensors().iter().filter(|tensor| !tensor.is_batch_counter()) {
            *dtypes.entry(tensor.element_type.to_string()).or_default() += 1;
        }
        let is_trained = |tensor: &&TensorInfo| {
            let leaf = tensor.smp_name.rsplit('.').next();
            !matches!(leaf, Some("running_mean" | "running_var" | "num_batches_tracked"))
        };
        let n_elements = |tensor: &TensorInfo| tensor.n_elements();
        Ok(Self {
            file: file.path().to_owned(),
            format: file.format().to_string(),
            naming: layout.naming.to_string(),
            checkpoint_key: layout.checkpoint_key.clone(),
            prefix: layout.prefix.clone(),
            network,
            encoder: file.guess_encoder().map(|encoder| encoder.to_string()),
            has_classifier: layout.has_classifier,
            problem,
            n_parameters: file.tensors().iter().filter(is_trained).map(n_elements).sum(),
            n_tensors: file.tensors().len(),
            n_tensors_beside: file.n_tensors_beside(),
            dtypes,
            tensors,
            layout: layout.to_string(),
        })
    }

    /// The report as text.
    pub(crate) fn lines(&self) -> Vec<String> {
        let network = match (&self.network, &self.encoder, &self.problem) {
            (Some(config), ..) => config.to_string(),
            (None, Some(encoder), None) => format!("encoder {encoder} alone"),
            (None, Some(encoder), Some(problem)) => format!("unknown, with encoder {encoder}: {problem}"),
            (None, None, problem) => {
                format!("unknown: {}", problem.as_deref().unwrap_or("no RegNet encoder has these stages"))
            }
        };
        let dtypes: Vec<String> = self.dtypes.iter().map(|(dtype, n)| format!("{n} {dtype}")).collect();
        let mut lines = vec![
            format!("{}: {}", self.file.display(), self.format),
            format!("network    {network}"),
            format!("naming     {}", self.layout),
            format!("parameters {}", self.n_parameters),
            format!("tensors    {} ({} without counters of batches)", self.n_tensors, dtypes.join(", ")),
        ];
        if self.n_tensors_beside > 0 {
            lines.push(format!("beside     {} (an optimiser's, or the like)", self.n_tensors_beside));
        }
        lines.push(String::new());
        let width = self.tensors.iter().map(|tensor| tensor.name.len()).max().unwrap_or_default();
        lines.extend(self.tensors.iter().map(|tensor| tensor.line(width)));
        lines
    }
}

impl TensorReport {
    fn line(&self, name_width: usize) -> String {
        let extents: Vec<String> = self.shape.iter().map(ToString::to_string).collect();
        let shape = if extents.is_empty() { "scalar".to_owned() } else { extents.join("x") };
        let stats = self.stats.as_ref().map(Stats::text).unwrap_or_default();
        format!("{:<name_width$}  {shape:<14} {:<5} {stats}", self.name, self.dtype).trim_end().to_owned()
    }
}

impl Stats {
    fn new(values: &[f64]) -> Self {
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let n = finite().count();
        Self {
            min: finite().reduce(f64::min),
            max: finite().reduce(f64::max),
            mean: (n > 0).then(|| finite().sum::<f64>() / n as f64),
            n_not_finite: values.len() - n,
        }
    }

    fn text(&self) -> String {
        let range = match (self.min, self.max, self.mean) {
            (Some(min), Some(max), Some(mean)) => format!("{min:.4e} to {max:.4e}, mean {mean:.4e}"),
            _ => "no values".to_owned(),
        };
        match self.n_not_finite {
            0 => range,
            n => format!("{range}; {n} not finite"),
        }
    }
}
