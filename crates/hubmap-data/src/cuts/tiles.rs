//! The tiles of one slide.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use hubmap_io::{Mask, Window, write_mask as write_mask_tiff};
use rayon::prelude::*;

use super::Progress;
use super::staging::{Staging, create_dir};
use crate::config::DataGenConfig;
use crate::cut::{Cut, CutKind};
use crate::tile_file::{write_image, write_mask};
use crate::{Sample, Slide};

/// How many tiles were written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// By kind, in the order of [`CutKind::ALL`].
    pub(super) kept: [usize; CutKind::ALL.len()],
    pub(super) background_skipped: usize,
}

impl Counts {
    pub(super) const fn of(&self, kind: CutKind) -> usize {
        self.kept[kind as usize]
    }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            kept: CutKind::ALL.map(|kind| self.of(kind) + other.of(kind)),
            background_skipped: self.background_skipped + other.background_skipped,
        }
    }
}

/// The folder of all cuts of a kind, `CUTS/glomi_x33_1024`.
pub(super) fn cuts_dir(output: &Path, kind: CutKind, config: &DataGenConfig) -> PathBuf {
    output.join("CUTS").join(format!("{}_{}", kind.prefix(), config.cuts_suffix()))
}

/// Cuts and writes all tiles of a slide, and puts them in place once all of them are there.
pub(super) fn write(
    output: &Path,
    slide: &Slide,
    cuts: &[Cut],
    config: &DataGenConfig,
    progress: &dyn Progress,
) -> Result<Counts> {
    let stagings = config.kinds.iter().map(|&kind| {
        let staging = Staging::create(&cuts_dir(output, kind, config), &slide.id)?;
        create_dir(&staging.dir().join("imgs"))?;
        create_dir(&staging.dir().join("masks"))?;
        anyhow::Ok((kind, staging))
    });
    let stagings = stagings.collect::<Result<BTreeMap<_, _>>>()?;
    let counts = cuts
        .par_iter()
        .with_max_len(1)
        .map(|cut| {
            ensure!(!progress.is_cancelled(), "cancelled while cutting slide {}", slide.id);
            let staging = &stagings[&cut.kind];
            let counts = write_tile(staging.dir(), slide, *cut, config)?;
            progress.advance();
            Ok(counts)
        })
        .try_reduce(Counts::default, |a, b| Ok(a + b))?;
    for (kind, staging) in stagings {
        for part in ["imgs", "masks"] {
            staging.publish(part, &cuts_dir(output, kind, config).join(part).join(&slide.id))?;
        }
    }
    Ok(counts)
}

/// Writes one tile, unless it is background that is left out.
fn write_tile(dir: &Path, slide: &Slide, cut: Cut, config: &DataGenConfig) -> Result<Counts> {
    let Some(Sample { image, mask, .. }) = cut.read(slide, config)? else {
        return Ok(Counts { background_skipped: 1, ..Counts::default() });
    };
    let file = format!("{:06}.png", cut.tile_idx);
    write_image(&dir.join("imgs").join(&file), &image)?;
    write_mask(&dir.join("masks").join(&file), &mask)?;
    Ok(Counts { kept: CutKind::ALL.map(|kind| usize::from(kind == cut.kind)), ..Counts::default() })
}

/// Writes the mask of a slide as a 1-bit TIFF `bigmasks/<id>.tiff`.
pub(super) fn write_big_mask(output: &Path, id: &str, mask: &Mask) -> Result<()> {
    let dir = output.join("bigmasks");
    create_dir(&dir)?;
    write_mask_tiff(&dir.join(format!("{id}.tiff")), mask.size(), 1, |y, mut rows| {
        let n_rows = rows.nrows() as u32;
        rows.assign(&mask.read(Window::new(0, i64::from(y), mask.size().width, n_rows)));
        Ok(())
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use hubmap_io::Size;

    use super::*;

    #[test]
    fn big_masks_taller_than_a_tile_keep_every_row() {
        let folder = tempfile::tempdir().unwrap();
        let mut mask = Mask::new(Size::new(40, 1300));
        for y in 0..1300 {
            mask.fill_run(y, y % 37, 40);
        }
        write_big_mask(folder.path(), "s", &mask).unwrap();
        let read = hubmap_io::open(&folder.path().join("bigmasks/s.tiff")).unwrap();
        let pixels = read.read(mask.size().window()).unwrap();
        assert_eq!(pixels.index_axis(ndarray::Axis(2), 0), mask.to_array());
    }
}
