//! Windows of a page: which chunks they need, decoded in parallel, and where their pixels go.

use std::cell::RefCell;
use std::io::IoSliceMut;
use std::ops::Range;

use ndarray::{ArrayViewMut2, ArrayViewMut3, Axis};
use rayon::prelude::*;

use super::decode::Decoder;
use super::page::{Codec, Page};
use super::samples::Pixels;
use super::source::Source;
use crate::{Result, Window};

/// Rows of stored samples that are shorter than this part of their chunk's row are read one by one.
const MIN_SHARE: usize = 8;

/// Longest gap between rows of stored samples that is read along.
const MAX_GAP: usize = 1 << 14;

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
    let fetched = source.fetch(|| ranges(page, pixels, &regions))?;
    let source = fetched.as_ref().unwrap_or(source);
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

/// The bytes of the file that the regions need.
fn ranges(page: &Page, pixels: &Pixels, regions: &[Region<'_>]) -> Vec<Range<u64>> {
    let plane_len = page.across * page.down;
    let range = |region: &Region<'_>, plane: usize| {
        let chunk_idx = plane * plane_len + region.chunk_idx;
        let (offset, n_stored) = (page.offsets[chunk_idx], page.byte_counts[chunk_idx]);
        let span = match page.codec {
            Codec::None => page.packed_span(region.y..region.y + region.out.len_of(Axis(0))),
            _ => 0..n_stored,
        };
        offset.saturating_add(span.start)..offset.saturating_add(span.end)
    };
    regions.iter().flat_map(|region| pixels.planes(page).map(|plane| range(region, plane))).collect()
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
    let chunk_idx = |plane: usize| plane * plane_len + region.chunk_idx;
    let mut convert = |rows: &[&[u8]], x: usize, mut out: ArrayViewMut2<'_, u8>| {
        if let Some(out) = out.as_slice_mut() {
            pixels.convert(rows, x, n_columns, unpacked, out);
        } else {
            let mut row = vec![0; out.len()];
            pixels.convert(rows, x, n_columns, unpacked, &mut row);
            out.iter_mut().zip(row).for_each(|(out, value)| *out = value);
        }
    };
    // Of a chunk that is not in the file only the wanted columns are made: its rows may be longer than memory.
    let is_sparse = |idx: usize| page.offsets[idx] == 0 || page.byte_counts[idx] == 0;
    if planes.clone().all(|plane| is_sparse(chunk_idx(plane))) {
        let row = vec![0; (n_columns * page.bands_per_chunk() * page.bits).div_ceil(8)];
        let rows = vec![row.as_slice(); planes.len()];
        region.out.outer_iter_mut().for_each(|out| convert(&rows, 0, out));
        return Ok(());
    }
    let mut decoded = Vec::with_capacity(planes.len());
    for (plane, buffer) in planes.zip(buffers.iter_mut()) {
        decoded.push(decoder.decode(source, page, chunk_idx(plane), rows.clone(), buffer)?);
    }
    let outs = region.out.outer_iter_mut().enumerate();
    match decoded.as_slice() {
        [plane] => outs.for_each(|(y, out)| convert(&[plane.row(y)], region.x, out)),
        [r, g, b] => outs.for_each(|(y, out)| convert(&[r.row(y), g.row(y), b.row(y)], region.x, out)),
        planes => {
            outs.for_each(|(y, out)| {
                convert(&planes.iter().map(|p| p.row(y)).collect::<Vec<_>>(), region.x, out);
            });
        }
    }
    Ok(())
}

/// Reads stored samples without a detour.
fn fill_direct(source: &Source, page: &Page, region: &mut Region<'_>) -> Result<bool> {
    let (n_rows, n_columns, bands) = region.out.dim();
    let (offset, n_stored) = (page.offsets[region.chunk_idx], page.byte_counts[region.chunk_idx]);
    let is_stored =
        page.codec == Codec::None && !page.bits_reversed && page.predictor.is_none() && offset != 0;
    let (segment_len, row_len) = (n_columns * bands, page.row_len());
    if !is_stored || page.is_planar {
        return Ok(false);
    }
    let name = || page.chunk_name(region.chunk_idx);
    let end = (region.y + n_rows) as u64 * row_len as u64;
    if n_stored < end {
        // Zero is sparse, anything else an error; the general path tells them apart.
        return Ok(false);
    }
    source.check(offset, end, name)?;
    let mut at = offset + region.y as u64 * row_len as u64 + (region.x * bands) as u64;
    let gap_len = row_len - segment_len;
    if let Some(out) = region.out.as_slice_mut().filter(|_| gap_len == 0) {
        source.read_at(at, out, name)?;
        return Ok(true);
    }
    let rows: Option<Vec<&mut [u8]>> = region.out.outer_iter_mut().map(ArrayViewMut2::into_slice).collect();
    let Some(rows) = rows else { return Ok(false) };
    if segment_len * MIN_SHARE < row_len || gap_len > MAX_GAP {
        for row in rows {
            source.read_at(at, row, name)?;
            at += row_len as u64;
        }
        return Ok(true);
    }
    // One call scatters all rows; what lies between them goes into a buffer that nobody looks at.
    let mut gaps = vec![0; gap_len * n_rows.saturating_sub(1)];
    let mut gaps = gaps.chunks_exact_mut(gap_len.max(1));
    let mut buffers = Vec::with_capacity(2 * n_rows);
    for row in rows {
        buffers.push(IoSliceMut::new(row));
        if gap_len > 0 {
            buffers.extend(gaps.next().map(IoSliceMut::new));
        }
    }
    source.read_vectored_at(at, &mut buffers, name)?;
    Ok(true)
}
