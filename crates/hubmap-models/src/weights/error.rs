//! Why weights could not be read or written.

use std::path::PathBuf;

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

/// How a file's tensors differ from a network's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightsMismatch {
    /// The file.
    pub path: PathBuf,
    /// The network that was to take them.
    pub network: String,
    /// The network that they seem to belong to, if that is another one.
    pub looks_like: Option<String>,
    /// Tensors that the network has and the file does not.
    pub missing: Vec<String>,
    /// Tensors that the file has and the network does not.
    pub unexpected: Vec<String>,
    /// Tensors of another shape.
    pub misshapen: Vec<Misshapen>,
}

impl std::fmt::Display for WeightsMismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: these are not weights of {}", self.path.display(), self.network)?;
        if let Some(other) = &self.looks_like {
            write!(f, ", but of {other}")?;
        }
        let lists = [
            list("missing", &self.missing),
            list("unexpected", &self.unexpected),
            list("misshapen", &self.misshapen),
        ];
        write!(f, ": {}", lists.into_iter().flatten().collect::<Vec<_>>().join("; "))
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
    /// Neither a safetensors file nor a PyTorch checkpoint, or a damaged one.
    #[error("{}: not a readable file of weights: {problem}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Weights of another network.
    #[error("{0}")]
    Mismatch(Box<WeightsMismatch>),
    /// An encoder of timm where the weights of a whole network were asked for.
    #[error(
        "{}: these are weights of an encoder alone ({found}, in timm's naming), and {network} also has a decoder and \
         a head: give a file of the whole network, or start training from the encoder (train.start_encoder)",
        path.display()
    )]
    EncoderOnly {
        /// The file.
        path: PathBuf,
        /// The network that was to take them, or "a network".
        network: String,
        /// What the file holds.
        found: String,
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

/// `3 missing (a, b, c)`, or nothing for an empty list.
fn list<T: std::fmt::Display>(what: &str, items: &[T]) -> Option<String> {
    let mut names: Vec<String> = items.iter().take(N_LISTED).map(ToString::to_string).collect();
    if items.len() > N_LISTED {
        names.push("…".to_owned());
    }
    (!items.is_empty()).then(|| format!("{} {what} ({})", items.len(), names.join(", ")))
}
