//! Names of checkpoint files in a run folder.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `e<epoch>_t<total>_<tag>_<dice>.safetensors`, as training writes and inference chooses them (spec section 5).
///
/// Checkpoints of PyTorch, `.pth` and `.pt`, are parsed too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointName {
    /// Epoch after which it was written, from 0.
    pub epoch: usize,
    /// Epochs that the run was to have.
    pub total: usize,
    /// Which weights: `raw` or `ema`.
    pub tag: String,
    /// Validation Dice of these weights.
    pub dice: f64,
}

/// What a checkpoint's name can end with.
const EXTENSIONS: [&str; 3] = [".safetensors", ".pth", ".pt"];

/// A file name that is not a checkpoint's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a checkpoint name: expected e<epoch>_t<total>_<tag>_<dice>.safetensors or .pth")]
pub struct NotACheckpointName(pub String);

impl std::fmt::Display for CheckpointName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "e{}_t{}_{}_{:.4}.safetensors", self.epoch, self.total, self.tag, self.dice)
    }
}

impl FromStr for CheckpointName {
    type Err = NotACheckpointName;

    fn from_str(name: &str) -> Result<Self, NotACheckpointName> {
        let parse = || {
            let stem = EXTENSIONS.iter().find_map(|extension| name.strip_suffix(extension))?;
            let mut parts = stem.split('_');
            let epoch = parts.next()?.strip_prefix('e')?.parse().ok()?;
            let total = parts.next()?.strip_prefix('t')?.parse().ok()?;
            let tag = parts.next()?.to_owned();
            let dice = parts.next()?.parse().ok()?;
            parts.next().is_none().then_some(Self { epoch, total, tag, dice })
        };
        parse().ok_or_else(|| NotACheckpointName(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        let name = CheckpointName { epoch: 12, total: 50, tag: "ema".into(), dice: 0.9312 };
        assert_eq!(name.to_string(), "e12_t50_ema_0.9312.safetensors");
        assert_eq!("e12_t50_ema_0.9312.pth".parse(), Ok(name.clone()));
        assert_eq!(name.to_string().parse(), Ok(name));
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "last.safetensors",
            "e1_t2_ema.safetensors",
            "e1_t2_ema_0.5_x.safetensors",
            "ex_t2_ema_0.5.pth",
            "e1_t2_ema_0.5.zip",
        ] {
            assert!(name.parse::<CheckpointName>().is_err(), "{name}");
        }
    }
}
