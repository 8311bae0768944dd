//! What is left to do for a slide: outputs that are there and match are not made again.

use std::collections::BTreeMap;

use anyhow::Result;
use hubmap_io::Size;

use super::folders::{
    OutputDir, create_dir, cuts_name, is_of_length, names_in, remove_dir, remove_entry, remove_file,
};
use super::journal::{self, Journal};
use super::record::{MaskRecord, Outcome, Outcomes, SlideRecord, TilesRecord, tile_file};
use super::stamp::{Inputs, Stamp};
use crate::config::DataGenConfig;
use crate::cut::CutKind;
use crate::slide::TrainSlide;

/// What is there of a slide and what is to be made.
#[derive(Debug)]
pub(super) struct SlidePlan<'a> {
    pub(super) entry: &'a TrainSlide,
    /// As an earlier run left it.
    pub(super) record: Option<SlideRecord>,
    /// The mask's dependencies, if it is to be written.
    pub(super) mask: Option<Stamp>,
    /// Kinds of tiles of which some are to be cut, or have to be put in order.
    pub(super) tiles: Vec<TilesPlan>,
}

/// Tiles of a kind that are to be completed.
#[derive(Debug)]
pub(super) struct TilesPlan {
    pub(super) kind: CutKind,
    pub(super) cuts_name: String,
    pub(super) stamp: Stamp,
    /// Windows of which the outcome is known from an earlier run; `None` if what is there is of no use.
    pub(super) known: Option<Outcomes>,
}

impl<'a> SlidePlan<'a> {
    /// Compares what is there with what is wanted; changes nothing.
    pub(super) fn of(entry: &'a TrainSlide, output: &OutputDir, config: &DataGenConfig) -> Result<Self> {
        let inputs = Inputs::of(entry)?;
        let record = SlideRecord::read(&output.state(), &entry.id)?;
        let stamp = inputs.mask_stamp();
        let mask = record.as_ref().and_then(|record| record.mask.as_ref());
        let is_written = mask.is_some_and(|mask| {
            mask.stamp == stamp && is_of_length(&output.big_mask(&entry.id), mask.n_bytes)
        });
        let mut tiles = Vec::new();
        for &kind in &config.kinds {
            let stamp = inputs.tiles_stamp(kind, config)?;
            tiles.extend(TilesPlan::of(entry, output, record.as_ref(), stamp, kind, config)?);
        }
        Ok(Self { entry, mask: (!is_written).then_some(stamp), record, tiles })
    }

    /// The record, if nothing is left to do.
    pub(super) fn finished(&self) -> Option<&SlideRecord> {
        self.record.as_ref().filter(|_| self.mask.is_none() && self.tiles.is_empty())
    }

    /// Makes room for the outputs that are to be made; returns what is finished, and a journal for each of the plan's
    /// kinds of tiles.
    ///
    /// Stopped at any point it leaves nothing that a later run could take for what it is not: records and journals
    /// stop to vouch for tiles before these change.
    pub(super) fn begin(&self, facts: Facts, output: &OutputDir) -> Result<(SlideRecord, Vec<Journal>)> {
        let (state, id) = (output.state(), &self.entry.id);
        create_dir(&state.slide(id))?;
        let before = self.record.as_ref();
        let mut cuts = before.map_or(BTreeMap::new(), |record| record.cuts.clone());
        cuts.retain(|name, _| self.tiles.iter().all(|tiles| &tiles.cuts_name != name));
        let mask = before.and_then(|record| record.mask.clone()).filter(|_| self.mask.is_none());
        let Facts { size, n_objects, n_positive_px } = facts;
        let record = SlideRecord { size, n_objects, n_positive_px, mask, cuts };

        let start = |tiles: &TilesPlan| {
            let known = tiles.known.clone().unwrap_or_default();
            Journal::start(&state.journal(id, &tiles.cuts_name), &tiles.stamp, &known)
        };
        // What an old record vouches for must be in a journal before that record is gone.
        self.tiles
            .iter()
            .filter(|tiles| tiles.known.is_some())
            .try_for_each(|tiles| start(tiles).map(drop))?;
        record.write(&state, id)?;
        for tiles in self.tiles.iter().filter(|tiles| tiles.known.is_none()) {
            remove_file(&state.journal(id, &tiles.cuts_name))?;
            output.tile_dirs(&tiles.cuts_name, id).iter().try_for_each(|dir| remove_dir(dir))?;
        }
        let journals = self.tiles.iter().map(|tiles| {
            output.tile_dirs(&tiles.cuts_name, id).iter().try_for_each(|dir| create_dir(dir))?;
            start(tiles)
        });
        Ok((record, journals.collect::<Result<_>>()?))
    }

    /// Writes down that the plan is done, with the outcomes of all windows of each of its kinds of tiles.
    pub(super) fn finish(
        &self,
        mut record: SlideRecord,
        outcomes: Vec<Outcomes>,
        output: &OutputDir,
    ) -> Result<SlideRecord> {
        let (state, id) = (output.state(), &self.entry.id);
        if let Some(stamp) = &self.mask {
            let n_bytes = std::fs::metadata(output.big_mask(id))?.len();
            record.mask = Some(MaskRecord { stamp: stamp.clone(), n_bytes });
        }
        for (tiles, outcomes) in self.tiles.iter().zip(outcomes) {
            let kept = kept_files(&outcomes);
            for dir in output.tile_dirs(&tiles.cuts_name, id) {
                // Files under way of a killed run, and what does not belong here.
                for name in names_in(&dir)?.iter().filter(|name| kept.binary_search(name).is_err()) {
                    remove_entry(&dir.join(name))?;
                }
            }
            let stamp = tiles.stamp.clone();
            record.cuts.insert(tiles.cuts_name.clone(), TilesRecord { stamp, outcomes });
        }
        record.write(&state, id)?;
        self.tiles.iter().try_for_each(|tiles| remove_file(&state.journal(id, &tiles.cuts_name)))?;
        Ok(record)
    }
}

/// What is known of a slide once it is open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) size: Size,
    pub(super) n_objects: usize,
    pub(super) n_positive_px: u64,
}

impl TilesPlan {
    /// `None` if the tiles are there, whole and as wanted.
    fn of(
        entry: &TrainSlide,
        output: &OutputDir,
        record: Option<&SlideRecord>,
        stamp: Stamp,
        kind: CutKind,
        config: &DataGenConfig,
    ) -> Result<Option<Self>> {
        let cuts_name = cuts_name(kind, config);
        let dirs = output.tile_dirs(&cuts_name, &entry.id);
        let journal = output.state().journal(&entry.id, &cuts_name);
        let finished = record.and_then(|record| record.cuts.get(&cuts_name));
        let outcomes = match finished {
            Some(finished) if finished.stamp == stamp => Some(finished.outcomes.clone()),
            // A journal goes with tiles that the record has stopped to vouch for.
            Some(finished) => {
                let changes = stamp.changes(&finished.stamp).join(", ");
                tracing::info!("slide {}: {cuts_name} is cut again, as these changed: {changes}", entry.id);
                None
            }
            None => journal::read(&journal, &stamp)?,
        };
        let is_finished = finished.is_some_and(|finished| finished.stamp == stamp);
        let known = outcomes.map(|outcomes| {
            let mut known = outcomes.clone();
            known.retain(|&tile_idx, outcome| outcome.is_intact(tile_idx, &dirs));
            let n_lost = outcomes.len() - known.len();
            if n_lost > 0 {
                tracing::warn!("slide {}: {n_lost} tiles of {cuts_name} are missing or damaged", entry.id);
            }
            (known, n_lost)
        });
        if is_finished && let Some((known, 0)) = &known {
            let kept = kept_files(known);
            let mut are_alone = true;
            for dir in &dirs {
                are_alone &= names_in(dir)? == kept;
            }
            if are_alone {
                // A run that was killed between its last two steps left it.
                remove_file(&journal)?;
                return Ok(None);
            }
        }
        Ok(Some(Self { kind, cuts_name, stamp, known: known.map(|(known, _)| known) }))
    }
}

/// Names of the files of the tiles that were kept, sorted.
fn kept_files(outcomes: &Outcomes) -> Vec<String> {
    let kept = outcomes.iter().filter(|(_, outcome)| **outcome != Outcome::Skipped);
    let mut names = kept.map(|(&tile_idx, _)| tile_file(tile_idx)).collect::<Vec<_>>();
    names.sort_unstable();
    names
}
