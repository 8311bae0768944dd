//! One slide under way: its mask and its tiles, each a step that any thread may take.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use hubmap_io::{CachedSlide, write_mask_tiff};

use super::folders::OutputDir;
use super::journal::Journal;
use super::plan::{Facts, SlidePlan};
use super::record::{Outcome, Outcomes, SlideRecord, tile_file};
use crate::config::DataGenConfig;
use crate::cut::Cut;
use crate::tile_file::{image_png, mask_png, write_png};
use crate::{Fault, Sample, Slide};

/// Decoded pixels of a slide that stay in memory: windows of objects overlap each other and those of the grid.
const CACHE_BYTES: usize = 256 << 20;

/// Whose fault it is that a step failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The slide's: others may well be cut.
    Slide(anyhow::Error),
    /// The output folder's, or the user wants to stop.
    Run(anyhow::Error),
}

/// A part of the work on a slide.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Mask,
    /// A tile, with the place of its kind in the plan.
    Tile(usize, Cut),
}

/// A slide with what is known of its outputs.
pub(super) struct OpenSlide<'a> {
    pub(super) plan: &'a SlidePlan<'a>,
    /// What is to be done, neighbours after one another.
    pub(super) steps: Vec<Step>,
    slide: Slide,
    /// What was finished before.
    record: SlideRecord,
    /// For each kind of the plan.
    kinds: Vec<(Journal, Mutex<Outcomes>)>,
}

impl<'a> OpenSlide<'a> {
    /// Opens a slide and makes room for its outputs.
    pub(super) fn open(
        plan: &'a SlidePlan<'a>,
        output: &OutputDir,
        config: &DataGenConfig,
    ) -> Result<Self, Failure> {
        let mut slide = plan.entry.open().map_err(|error| Failure::Slide(Fault::or_input(error)))?;
        slide.reader = Box::new(CachedSlide::new(slide.reader, CACHE_BYTES));
        let mask = slide.mask.as_ref().with_context(|| format!("slide {} has no mask", slide.id));
        let facts = Facts {
            size: slide.reader.size(),
            n_objects: slide.features.iter().map(|feature| feature.polygons.len()).sum(),
            n_positive_px: mask.map_err(Failure::Slide)?.count_ones(),
        };
        let cuts = Cut::all_of(&slide, config);
        let mut cuts = cuts.map_err(|error| Failure::Slide(Fault::or_input(error)))?;
        cuts.sort_by_key(|cut| place_along_curve(cut, config.window_px()));
        let mut steps = plan.mask.iter().map(|_| Step::Mask).collect::<Vec<_>>();
        steps.extend(cuts.into_iter().filter_map(|cut| {
            let kind_idx = plan.tiles.iter().position(|tiles| tiles.kind == cut.kind)?;
            let is_known =
                plan.tiles[kind_idx].known.as_ref().is_some_and(|known| known.contains_key(&cut.tile_idx));
            (!is_known).then_some(Step::Tile(kind_idx, cut))
        }));
        let (record, journals) = plan.begin(facts, output).map_err(Failure::Run)?;
        let known = plan.tiles.iter().map(|tiles| Mutex::new(tiles.known.clone().unwrap_or_default()));
        Ok(Self { plan, steps, slide, record, kinds: journals.into_iter().zip(known).collect() })
    }

    /// Takes a step, and notes that it is done once its files have their names.
    pub(super) fn take(&self, step: Step, output: &OutputDir, config: &DataGenConfig) -> Result<(), Failure> {
        match step {
            Step::Mask => self.write_big_mask(output).map_err(Failure::Run),
            Step::Tile(kind_idx, cut) => {
                let sample = cut.read(&self.slide, config).map_err(Failure::Slide)?;
                self.note(kind_idx, cut, sample, output).map_err(Failure::Run)
            }
        }
    }

    /// Writes down that all steps are done.
    pub(super) fn finish(self, output: &OutputDir) -> Result<SlideRecord> {
        let outcomes = self
            .kinds
            .into_iter()
            .map(|(_, outcomes)| outcomes.into_inner().unwrap_or_else(PoisonError::into_inner));
        self.plan.finish(self.record, outcomes.collect(), output)
    }

    /// Writes the mask as a 1-bit TIFF `bigmasks/<id>.tiff`.
    fn write_big_mask(&self, output: &OutputDir) -> Result<()> {
        let Some(mask) = &self.slide.mask else { return Ok(()) };
        Ok(write_mask_tiff(&output.big_mask(&self.slide.id), mask, 1)?)
    }

    fn note(&self, kind_idx: usize, cut: Cut, sample: Option<Sample>, output: &OutputDir) -> Result<()> {
        let (journal, outcomes) = &self.kinds[kind_idx];
        let outcome = match sample {
            None => Outcome::Skipped,
            Some(Sample { image, mask, .. }) => {
                let cuts_name = &self.plan.tiles[kind_idx].cuts_name;
                let [images, masks] = output.tile_dirs(cuts_name, &self.slide.id);
                let file = tile_file(cut.tile_idx);
                let image_bytes = write_png(&images.join(&file), image_png(&image))?;
                let mask_bytes = write_png(&masks.join(&file), mask_png(&mask))?;
                Outcome::Kept { x: cut.window.x, y: cut.window.y, image_bytes, mask_bytes }
            }
        };
        journal.add(cut.tile_idx, outcome)?;
        outcomes.lock().unwrap_or_else(PoisonError::into_inner).insert(cut.tile_idx, outcome);
        Ok(())
    }
}

/// Place of a window's centre along a Z-order curve through squares of the window's side: windows near each other on
/// the slide follow one another, whatever their kind, so that what was decoded for one serves the next.
fn place_along_curve(cut: &Cut, window_px: u32) -> u64 {
    let half = i64::from(window_px / 2);
    let square = |at: i64| ((at + half).max(0) / i64::from(window_px)) as u32;
    let spread = |value: u32| (0..32).fold(0_u64, |bits, i| bits | (u64::from(value >> i & 1) << (2 * i)));
    spread(square(cut.window.x)) | spread(square(cut.window.y)) << 1
}

#[cfg(test)]
mod tests {
    use hubmap_io::Window;

    use super::*;
    use crate::cut::CutKind;

    #[test]
    fn windows_of_a_square_follow_one_another() {
        let at = |x, y| {
            let cut = Cut { kind: CutKind::Grid, tile_idx: 0, window: Window::new(x, y, 10, 10) };
            place_along_curve(&cut, 10)
        };
        assert_eq!([at(0, 0), at(10, 0), at(0, 10), at(10, 10), at(20, 0)], [0, 1, 2, 3, 4]);
        // An object whose centre lies in the square of a window of the grid.
        assert_eq!(at(14, 6), at(10, 10));
        assert_eq!(at(-400, -3), 0);
    }
}
