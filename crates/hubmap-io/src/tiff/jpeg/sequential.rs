//! Baseline and extended scans: every coefficient of a block comes at once.
#![expect(
    clippy::inline_always,
    reason = "the loops over blocks are compiled for the vector unit as a whole"
)]

use pulp::{Simd, WithSimd};

use super::super::decode::Problem;
use super::huffman::{Bits, Huffman};
use super::idct::{self, Block, Sample, ZIGZAG};
use super::planes::Plane;
use super::stream::{Frame, Intervals, Scan, State};

/// One component of a scan with its tables.
struct Part<'a> {
    plane_idx: usize,
    /// Blocks per unit.
    h: usize,
    v: usize,
    dc: &'a Huffman,
    ac: &'a Huffman,
    quantiser: &'a [i32; 64],
}

/// Units of a scan: all blocks at one place if it has several components, else single blocks.
pub(super) struct Units {
    pub(super) across: usize,
    pub(super) down: usize,
    pub(super) is_interleaved: bool,
}

impl Units {
    pub(super) fn new<S: Sample>(frame: &Frame, scan: &Scan, planes: &[Plane<S>]) -> Option<Self> {
        let first = scan.parts.first()?;
        let (plane, component) = (planes.get(first.component)?, frame.components.get(first.component)?);
        if scan.parts.len() > 1 {
            let (across, down) = (plane.blocks_across / component.h, plane.blocks_down / component.v);
            return Some(Self { across, down, is_interleaved: true });
        }
        let (across, down) = (plane.columns.div_ceil(8), frame.rows(component).div_ceil(8));
        Some(Self { across, down: down.min(plane.blocks_down), is_interleaved: false })
    }
}

/// One scan, to be decoded into `planes`; the result is where it ends in the stream.
pub(super) struct Sequential<'a, S> {
    pub(super) state: &'a State,
    pub(super) scan: &'a Scan,
    pub(super) stream: &'a [u8],
    pub(super) at: usize,
    pub(super) clean: &'a mut Vec<u8>,
    pub(super) planes: &'a mut [Plane<S>],
}

impl<S: Sample> WithSimd for Sequential<'_, S> {
    type Output = Result<usize, Problem>;

    #[inline(always)]
    fn with_simd<V: Simd>(self, _: V) -> Self::Output {
        decode(self)
    }
}

#[inline(always)]
fn decode<S: Sample>(job: Sequential<'_, S>) -> Result<usize, Problem> {
    let Sequential { state, scan, stream, at, clean, planes } = job;
    let frame = state.frame.as_ref().ok_or("JPEG: no frame")?;
    let units = Units::new(frame, scan, planes).ok_or("JPEG: empty scan")?;
    let mut parts = Vec::with_capacity(scan.parts.len());
    for part in &scan.parts {
        let component = &frame.components[part.component];
        let (h, v) = if units.is_interleaved { (component.h, component.v) } else { (1, 1) };
        planes[part.component].is_decoded = true;
        parts.push(Part {
            plane_idx: part.component,
            h,
            v,
            dc: super::standard::dc_or(state, part.dc),
            ac: super::standard::ac_or(state, part.ac),
            quantiser: state.quantiser(component)?,
        });
    }
    let mut intervals = Intervals::new(stream, at);
    let n_units = units.across * units.down;
    let interval = if state.restart_interval == 0 { n_units } else { state.restart_interval };
    let mut block: Block = [0; 64];
    let mut start = 0;
    while start < n_units {
        intervals.next(clean);
        let mut bits = Bits::new(clean);
        let mut levels = [0_i32; 4];
        let end = (start + interval).min(n_units);
        let (mut x, mut y) = (start % units.across, start / units.across);
        for _ in start..end {
            // Where the data break off, the rest is gray up to the next restart.
            let is_missing = bits.is_exhausted();
            for (part, level) in parts.iter().zip(&mut levels) {
                let plane = &mut planes[part.plane_idx];
                for block_y in y * part.v..(y + 1) * part.v {
                    for block_x in x * part.h..(x + 1) * part.h {
                        let place = block_y * 8 * plane.stride + block_x * 8;
                        if is_missing {
                            idct::flat(0, &mut plane.samples, place, plane.stride);
                        } else if read_block(&mut bits, part, level, &mut block) {
                            idct::transform(&block, &mut plane.samples, place, plane.stride);
                            block = [0; 64];
                        } else {
                            idct::flat(block[0], &mut plane.samples, place, plane.stride);
                        }
                    }
                }
            }
            x += 1;
            if x == units.across {
                (x, y) = (0, y + 1);
            }
        }
        start = end;
    }
    Ok(intervals.at)
}

/// Reads the coefficients of one block; false if there is none but the first.
#[inline(always)]
fn read_block(bits: &mut Bits<'_>, part: &Part<'_>, level: &mut i32, block: &mut Block) -> bool {
    bits.refill();
    let size = bits.symbol(part.dc).min(16);
    *level = level.wrapping_add(bits.value(size));
    block[0] = level.wrapping_mul(part.quantiser[0]);
    let (mut k, mut seen) = (1, 0);
    while k < 64 {
        let (run, value) = bits.coefficient(part.ac);
        k += run;
        // Past the block a 0 goes to its last place, which is 0 still.
        block[usize::from(ZIGZAG[k & 127])] = value.wrapping_mul(part.quantiser[k & 63]);
        seen |= value;
        k += 1;
    }
    seen != 0
}
