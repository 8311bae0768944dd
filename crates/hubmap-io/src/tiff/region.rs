//! Windows of a page: which chunks they need, decoded in parallel, and where their pixels go.

use std::cell::RefCell;

use ndarray::{ArrayViewMut2, ArrayViewMut3, Axis};
use rayon::prelude::*;

use super::decode::Decoder;
use super::page::{Codec, Page};
use super::samples::Pixels;
use super::source::Source;
use crate::{Result, Window};

/// Row segments of stored samples at least this long are read straight into the output.
const MIN_DIRECT_LEN: usize = 2048;

/// Rows of stored samples that are shorter than this part of their chunk's row are, too.
const MIN_DIRECT_SHARE: usize = 8;

/// Stored samples that are buffered at once; a page may well be one strip of gigabytes.
const STORED_BLOCK_LEN: usize = 4 << 20;

/// Per-thread decoder and one buffer per plane.
struct Scratch {
    decoder: Decoder,
    planes: Vec<Vec<u8>>,
    pixels: Vec<u8>,
}

thread_local! {
    /// Decoding never waits for another rayon task, so that the cell is never borrowed twice.
    static SCRATCH: RefCell<Scratch> =
        RefCell::new(Scratch { decoder: Decoder::new(), planes: Vec::new(), pixels: Vec::new() });
}

/// The part of the output that one chunk (of every plane) covers.
struct Region<'a> {
    /// Index of the chunk in the first plane.
    chunk_idx: usize,
    /// First wanted column and row inside the chunk.
    x: usize,
    y: usize,
    /// `[rows, columns, bands]`.
    out: ArrayViewMut3<'a, u8>,
}

/// Fills `out`, `[rows, columns, bytes per pixel]`, with `window`, which must lie inside the page.
pub(super) fn read(
    source: &Source,
    page: &Page,
    pixels: &Pixels,
    window: Window,
    out: ArrayViewMut3<'_, u8>,
) -> Result<()> {
    let regions = regions(page, window, out);
    let fill = |region: Region<'_>| {
        SCRATCH.with(|scratch| fill(source, page, pixels, region, &mut scratch.borrow_mut()))
    };
    if regions.len() < 2 || rayon::current_num_threads() == 1 {
        regions.into_iter().try_for_each(fill)
    } else {
        regions.into_par_iter().try_for_each(fill)
    }
}

/// Cuts the output along the borders of the chunks.
fn regions<'a>(page: &Page, window: Window, out: ArrayViewMut3<'a, u8>) -> Vec<Region<'a>> {
    let (chunk_w, chunk_h) = (page.chunk.width as usize, page.chunk.height as usize);
    let (x0, y0) = (window.x as usize, window.y as usize);
    let max_rows = match page.codec {
        Codec::None => (STORED_BLOCK_LEN / page.row_len().max(1)).max(1),
        _ => chunk_h,
    };
    let mut regions = Vec::new();
    let mut below = out;
    let mut y = y0;
    while below.len_of(Axis(0)) > 0 {
        let n_rows = (chunk_h - y % chunk_h).min(below.len_of(Axis(0))).min(max_rows);
        let (mut right, rest) = below.split_at(Axis(0), n_rows);
        let mut x = x0;
        while right.len_of(Axis(1)) > 0 {
            let n_columns = (chunk_w - x % chunk_w).min(right.len_of(Axis(1)));
            let (out, rest) = right.split_at(Axis(1), n_columns);
            let chunk_idx = y / chunk_h * page.across + x / chunk_w;
            regions.push(Region { chunk_idx, x: x % chunk_w, y: y % chunk_h, out });
            right = rest;
            x += n_columns;
        }
        below = rest;
        y += n_rows;
    }
    regions
}

fn fill(
    source: &Source,
    page: &Page,
    pixels: &Pixels,
    mut region: Region<'_>,
    scratch: &mut Scratch,
) -> Result<()> {
    if pixels.is_plain_copy() && fill_direct(source, page, &mut region)? {
        return Ok(());
    }
    let (n_rows, n_columns, _) = region.out.dim();
    let rows = region.y..region.y + n_rows;
    let planes = pixels.planes(page);
    let Scratch { decoder, planes: buffers, pixels: unpacked } = scratch;
    if buffers.len() < planes.len() {
        buffers.resize_with(planes.len(), Vec::new);
    }
    let plane_len = page.across * page.down;
    let mut decoded = Vec::with_capacity(planes.len());
    for (plane, buffer) in planes.zip(buffers.iter_mut()) {
        let chunk_idx = plane * plane_len + region.chunk_idx;
        decoded.push(decoder.decode(source, page, chunk_idx, rows.clone(), buffer)?);
    }
    let mut convert = |rows: &[&[u8]], mut out: ArrayViewMut2<'_, u8>| {
        if let Some(out) = out.as_slice_mut() {
            pixels.convert(rows, region.x, n_columns, unpacked, out);
        } else {
            let mut row = vec![0; out.len()];
            pixels.convert(rows, region.x, n_columns, unpacked, &mut row);
            out.iter_mut().zip(row).for_each(|(out, value)| *out = value);
        }
    };
    let outs = region.out.outer_iter_mut().enumerate();
    match decoded.as_slice() {
        [plane] => outs.for_each(|(y, out)| convert(&[plane.row(y)], out)),
        [r, g, b] => outs.for_each(|(y, out)| convert(&[r.row(y), g.row(y), b.row(y)], out)),
        planes => {
            outs.for_each(|(y, out)| convert(&planes.iter().map(|p| p.row(y)).collect::<Vec<_>>(), out));
        }
    }
    Ok(())
}

/// Reads stored samples without a detour where each row is long enough for a read of its own.
fn fill_direct(source: &Source, page: &Page, region: &mut Region<'_>) -> Result<bool> {
    let (_, n_columns, bands) = region.out.dim();
    let (offset, n_stored) = (page.offsets[region.chunk_idx], page.byte_counts[region.chunk_idx]);
    let is_stored =
        page.codec == Codec::None && !page.bits_reversed && page.predictor.is_none() && offset != 0;
    let (segment_len, row_len) = (n_columns * bands, page.row_len() as u64);
    let is_worth_it = segment_len >= MIN_DIRECT_LEN || segment_len * MIN_DIRECT_SHARE < page.row_len();
    if !is_stored || page.is_planar || !is_worth_it {
        return Ok(false);
    }
    let name = || page.chunk_name(region.chunk_idx);
    let end = (region.y as u64 + region.out.len_of(Axis(0)) as u64) * row_len;
    if n_stored < end {
        // Zero is sparse, anything else an error; the general path tells them apart.
        return Ok(false);
    }
    source.check(offset, end, name)?;
    let mut at = offset + region.y as u64 * row_len + (region.x * bands) as u64;
    if let Some(out) = region.out.as_slice_mut().filter(|_| (n_columns * bands) as u64 == row_len) {
        source.read_at(at, out, name)?;
        return Ok(true);
    }
    for mut row in region.out.outer_iter_mut() {
        let Some(row) = row.as_slice_mut() else { return Ok(false) };
        source.read_at(at, row, name)?;
        at += row_len;
    }
    Ok(true)
}
