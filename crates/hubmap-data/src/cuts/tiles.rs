//! The tiles of one slide.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use hubmap_io::{
    Mask, Window, area_downscale, area_downscale_2d, nearest_downscale_2d, write_mask as write_mask_tiff,
};
use ndarray::{Array2, Array3};
use rayon::prelude::*;

use super::Progress;
use super::staging::{Staging, create_dir};
use crate::Slide;
use crate::config::DataGenConfig;
use crate::sampler::{Grid, object_windows};
use crate::tile_file::{write_image, write_mask};

/// Which sampler chose a window; decides its folder and how its mask is reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CutKind {
    /// Around an annotated object.
    Objects,
    /// Of the grid.
    Grid,
}

impl CutKind {
    pub(super) const ALL: [Self; 2] = [Self::Objects, Self::Grid];

    /// First part of the names of the kind's folders.
    pub(super) const fn prefix(self) -> &'static str {
        match self {
            Self::Objects => "glomi",
            Self::Grid => "grid",
        }
    }
}

/// A window to cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    kind: CutKind,
    /// Number of the tile among those of its kind, and its file name.
    tile_idx: usize,
    window: Window,
}

/// How many tiles were written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) objects: usize,
    pub(super) grid_kept: usize,
    pub(super) background_skipped: usize,
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            objects: self.objects + other.objects,
            grid_kept: self.grid_kept + other.grid_kept,
            background_skipped: self.background_skipped + other.background_skipped,
        }
    }
}

/// The folder of all cuts of a kind, `CUTS/glomi_x33_1024`.
pub(super) fn cuts_dir(output: &Path, kind: CutKind, config: &DataGenConfig) -> PathBuf {
    output.join("CUTS").join(format!("{}_{}", kind.prefix(), config.cuts_suffix()))
}

/// Every window of a slide that may become a tile.
pub(super) fn jobs(slide: &Slide, config: &DataGenConfig) -> Result<Vec<Job>> {
    let objects = object_windows(&slide.features, config.window_px())
        .with_context(|| format!("slide {}: cannot place object windows", slide.id))?;
    let grid = Grid::new(slide.reader.size(), config.window_px());
    let numbered = |kind, windows: Vec<Window>| {
        windows.into_iter().enumerate().map(move |(tile_idx, window)| Job { kind, tile_idx, window })
    };
    Ok(numbered(CutKind::Objects, objects).chain(numbered(CutKind::Grid, grid.windows().collect())).collect())
}

/// Cuts and writes all tiles of a slide, and puts them in place once all of them are there.
pub(super) fn write(
    output: &Path,
    slide: &Slide,
    mask: &Mask,
    jobs: &[Job],
    config: &DataGenConfig,
    progress: &dyn Progress,
) -> Result<Counts> {
    let [objects, grid] = CutKind::ALL.map(|kind| {
        let staging = Staging::create(&cuts_dir(output, kind, config), &slide.id)?;
        create_dir(&staging.dir().join("imgs"))?;
        create_dir(&staging.dir().join("masks"))?;
        anyhow::Ok(staging)
    });
    let (objects, grid) = (objects?, grid?);
    let counts = jobs
        .par_iter()
        .with_max_len(1)
        .map(|job| {
            ensure!(!progress.is_cancelled(), "cancelled while cutting slide {}", slide.id);
            let staging = if job.kind == CutKind::Objects { &objects } else { &grid };
            let counts = write_tile(staging.dir(), slide, mask, *job, config)?;
            progress.advance();
            Ok(counts)
        })
        .try_reduce(Counts::default, |a, b| Ok(a + b))?;
    for (kind, staging) in CutKind::ALL.into_iter().zip([objects, grid]) {
        for part in ["imgs", "masks"] {
            staging.publish(part, &cuts_dir(output, kind, config).join(part).join(&slide.id))?;
        }
    }
    Ok(counts)
}

/// Cuts one tile and writes it, unless it is background that is left out.
fn write_tile(dir: &Path, slide: &Slide, mask: &Mask, job: Job, config: &DataGenConfig) -> Result<Counts> {
    let pixels = slide.reader.read(job.window)?;
    let rule = &config.background;
    if job.kind == CutKind::Grid
        && rule.is_background(&pixels)
        && !rule.keeps(config.seed, &slide.id, job.tile_idx)
    {
        return Ok(Counts { background_skipped: 1, ..Counts::default() });
    }
    let (image, mask) = reduced(&pixels, mask, job, config.scale);
    let file = format!("{:06}.png", job.tile_idx);
    write_image(&dir.join("imgs").join(&file), &image)?;
    write_mask(&dir.join("masks").join(&file), &mask)?;
    Ok(match job.kind {
        CutKind::Objects => Counts { objects: 1, ..Counts::default() },
        CutKind::Grid => Counts { grid_kept: 1, ..Counts::default() },
    })
}

/// The tile of a window: object masks are averaged to grey edges, grid masks stay hard.
fn reduced(pixels: &Array3<u8>, mask: &Mask, job: Job, scale: u32) -> (Array3<u8>, Array2<u8>) {
    let mut full = mask.read(job.window);
    full.mapv_inplace(|bit| bit * u8::MAX);
    let mask = match job.kind {
        CutKind::Objects => area_downscale_2d(full.view(), scale),
        CutKind::Grid => nearest_downscale_2d(full.view(), scale),
    };
    (area_downscale(pixels.view(), scale), mask)
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
