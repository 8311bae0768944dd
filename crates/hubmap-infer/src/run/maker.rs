//! Who made a slide's files.

use serde::{Deserialize, Serialize};

/// What a slide was predicted by. It is noted, and nothing more: a slide that another device or version has predicted is not
/// predicted again for that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maker {
    /// Name of the device, as after `--device`; several with commas if they shared the slide. None if no networks ran, as for
    /// means of other runs.
    pub device: Option<String>,
    /// Version of hubmap.
    pub version: String,
    /// Threads for work on the CPU.
    pub n_threads: usize,
}

impl Maker {
    /// This process, on a device.
    pub(super) fn this(device: Option<&str>) -> Self {
        Self {
            device: device.map(str::to_owned),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            n_threads: rayon::current_num_threads(),
        }
    }
}

/// In words, such as `flex, 4 threads, hubmap 0.1.0`.
impl std::fmt::Display for Maker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(device) = &self.device {
            write!(f, "{device}, ")?;
        }
        let plural = if self.n_threads == 1 { "" } else { "s" };
        write!(f, "{} thread{plural}, hubmap {}", self.n_threads, self.version)
    }
}
