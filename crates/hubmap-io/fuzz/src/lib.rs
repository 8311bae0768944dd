//! What the fuzz targets share: a scratch folder, and numbers drawn from an input.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// A folder of this process for files that are rewritten for each input.
///
/// `TMPDIR` places it; a folder in memory such as `/dev/shm` is much faster.
/// It is not removed, because a fuzzer ends without running destructors.
///
/// # Panics
/// If it cannot be made.
pub fn scratch_folder() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = std::env::temp_dir().join(format!("hubmap-io-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the scratch folder can be made");
        folder
    });
    &FOLDER
}

/// Numbers that are the same whenever the same input is run.
pub struct Dice {
    state: u64,
}

impl Dice {
    /// Dice seeded by the bytes of an input.
    pub fn new(input: &[u8]) -> Self {
        // FNV-1a.
        let fold = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self { state: input.iter().fold(0xcbf2_9ce4_8422_2325, fold) }
    }

    /// A number below `n`, or 0 if `n` is 0.
    pub fn below(&mut self, n: u32) -> u32 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.state >> 33) as u32).checked_rem(n).unwrap_or(0)
    }
}
