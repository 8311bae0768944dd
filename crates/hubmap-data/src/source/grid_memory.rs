//! Which tiles of a slide's grid are kept, remembered from one start to the next.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::Slide;
use crate::config::DataGenConfig;
use crate::tile_file::write_atomically;

/// The kept tiles of one slide, as `<scan_dir>/<slide>.grid.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    /// What the list depends on, as text: numbers that were read back might differ in their last digit.
    made_from: String,
    /// Numbers of the kept tiles, ascending.
    kept: Vec<usize>,
}

/// The numbers of the kept tiles, if they were remembered for these settings and this very file.
///
/// A memory that cannot be read is no error: the slide is then looked at again.
pub(super) fn recall(dir: &Path, slide: &Slide, config: &DataGenConfig) -> Option<Vec<usize>> {
    let text = std::fs::read(path(dir, &slide.id)).ok()?;
    let remembered = serde_json::from_slice::<Remembered>(&text).ok()?;
    let expected = made_from(slide, config).ok()?;
    (remembered.made_from == expected).then_some(remembered.kept)
}

/// Writes down which tiles are kept.
pub(super) fn remember(dir: &Path, slide: &Slide, config: &DataGenConfig, kept: Vec<usize>) -> Result<()> {
    std::fs::create_dir_all(dir)
        .with_context(|| format!("cannot create folder {} (data.scan_dir)", dir.display()))?;
    let remembered = Remembered { made_from: made_from(slide, config)?, kept };
    write_atomically(&path(dir, &slide.id), |out| Ok(serde_json::to_writer(out, &remembered)?))
}

fn path(dir: &Path, id: &str) -> PathBuf {
    dir.join(format!("{id}.grid.json"))
}

/// Everything that decides which tiles are kept: the settings, and which file the slide is.
fn made_from(slide: &Slide, config: &DataGenConfig) -> Result<String> {
    let file = slide.reader.path();
    let metadata = file.metadata().with_context(|| format!("cannot look at {}", file.display()))?;
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let settings = (config.scale, config.tile_px, config.seed, config.background);
    Ok(serde_json::to_string(&(settings, &slide.id, slide.reader.size(), metadata.len(), modified))?)
}
