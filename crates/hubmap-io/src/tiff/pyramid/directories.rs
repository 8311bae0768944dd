//! The directories of a pyramid: a chain of levels, and for OME the reduced ones once more as `SubIFDs`.

use super::grid::Grid;
use super::spec::{PyramidSpec, Reduction};
use crate::tiff::file::EXACT_MEANS;
use crate::tiff::output::Output;
use crate::tiff::tag::subfile;
use crate::tiff::write_ifd::{ChunkTable, Chunks, Page, directory};
use crate::{Compression, Result};

/// Appends all directories to the file; returns the place of the first.
///
/// GDAL and OpenSlide look for levels in the chain, Bio-Formats and tifffile's OME series in the `SubIFDs`. OME
/// files have both: directories of their own over the same tiles, so that no two links lead to one place.
pub(super) fn append(
    output: &mut Output,
    spec: &PyramidSpec,
    grids: &[Grid],
    tables: &[ChunkTable],
    description: Option<&str>,
) -> Result<u64> {
    let is_big = output.is_big();
    let is_lossless = !matches!(spec.compression, Compression::Jpeg { .. });
    let has_exact_means = is_lossless && spec.reduction == Reduction::Mean;
    let mut pages: Vec<Page<'_>> = grids
        .iter()
        .zip(tables)
        .enumerate()
        .map(|(level, (grid, table))| Page {
            size: grid.size,
            bands: u16::from(spec.bands),
            coding: spec.coding(),
            chunks: Chunks::Tiles(spec.tile),
            is_planar: false,
            subfile_type: if level == 0 { 0 } else { subfile::REDUCED as u32 },
            description: description.filter(|_| level == 0),
            software: Some(EXACT_MEANS).filter(|_| level > 0 && has_exact_means),
            // Pixels of a level cover as many more microns as there are fewer of them.
            microns_per_px: spec
                .microns_per_px
                .map(|microns| microns * f64::from(spec.size.width) / f64::from(grid.size.width)),
            sub_ifds: &[],
            table,
        })
        .collect();
    let n_in_chain = pages.len();
    if spec.ome {
        pages.extend_from_within(1..);
    }

    let mut sub_ifds = vec![0; pages.len() - n_in_chain];
    let first = output.align()?;
    let mut position = first;
    let mut positions = Vec::with_capacity(pages.len());
    for (idx, page) in pages.iter().enumerate() {
        positions.push(position);
        let sub_ifds = if idx == 0 { sub_ifds.as_slice() } else { &[] };
        position += directory(&Page { sub_ifds, ..page.clone() }, is_big, 0, 0).len() as u64;
    }
    sub_ifds.copy_from_slice(&positions[n_in_chain..]);
    for (idx, page) in pages.iter().enumerate() {
        let next = if idx + 1 < n_in_chain { positions[idx + 1] } else { 0 };
        let sub_ifds = if idx == 0 { sub_ifds.as_slice() } else { &[] };
        output.append(&directory(&Page { sub_ifds, ..page.clone() }, is_big, positions[idx], next))?;
    }
    Ok(first)
}
