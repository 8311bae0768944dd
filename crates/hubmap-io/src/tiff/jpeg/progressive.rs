//! Progressive scans: each gives some coefficients of all blocks, or one more bit of them.
#![expect(
    clippy::inline_always,
    reason = "the loops over blocks are compiled for the vector unit as a whole"
)]

use pulp::{Simd, WithSimd};

use super::super::decode::Problem;
use super::huffman::{Bits, Huffman};
use super::idct::{self, Block, Sample, ZIGZAG};
use super::planes::Plane;
use super::sequential::Units;
use super::standard;
use super::stream::{Frame, Intervals, Scan, State};

/// The coefficients of all blocks of one component.
type Blocks = Vec<[i16; 64]>;

/// Coefficients that the scans so far have given.
pub(super) struct Progress {
    components: Vec<Blocks>,
}

impl Progress {
    pub(super) fn new<S: Sample>(planes: &[Plane<S>]) -> Self {
        let blocks = |plane: &Plane<S>| vec![[0; 64]; plane.blocks_across * plane.blocks_down];
        Self { components: planes.iter().map(blocks).collect() }
    }

    /// Decodes one scan; returns where it ends in the stream.
    pub(super) fn decode<S: Sample>(
        &mut self,
        state: &State,
        scan: &Scan,
        stream: &[u8],
        at: usize,
        clean: &mut Vec<u8>,
        planes: &[Plane<S>],
    ) -> Result<usize, Problem> {
        let frame = state.frame.as_ref().ok_or("JPEG: no frame")?;
        let units = Units::new(frame, scan, planes).ok_or("JPEG: empty scan")?;
        let is_first_coefficient = scan.first == 0;
        if scan.last > 63 || scan.first > scan.last || scan.low > 13 {
            return Err(format!("JPEG: scan of coefficients {} to {}", scan.first, scan.last).into());
        }
        if (is_first_coefficient && scan.last != 0) || (!is_first_coefficient && units.is_interleaved) {
            return Err("JPEG: progressive scan that mixes coefficients or components".into());
        }
        let mut intervals = Intervals::new(stream, at);
        let n_units = units.across * units.down;
        let interval = if state.restart_interval == 0 { n_units } else { state.restart_interval };
        for start in (0..n_units).step_by(interval.max(1)) {
            intervals.next(clean);
            let mut bits = Bits::new(clean);
            let (mut levels, mut n_ended) = ([0_i32; 4], 0_u32);
            for unit in start..(start + interval).min(n_units) {
                // What is missing stays as it is.
                if bits.is_exhausted() {
                    break;
                }
                let (x, y) = (unit % units.across, unit / units.across);
                for (part, level) in scan.parts.iter().zip(&mut levels) {
                    let component = &frame.components[part.component];
                    let (h, v) = if units.is_interleaved { (component.h, component.v) } else { (1, 1) };
                    let across = planes[part.component].blocks_across;
                    for i in 0..h * v {
                        let idx = (y * v + i / h) * across + x * h + i % h;
                        let Some(block) = self.components[part.component].get_mut(idx) else { continue };
                        match (is_first_coefficient, scan.high) {
                            (true, 0) => {
                                bits.refill();
                                let size = bits.symbol(standard::dc_or(state, part.dc)).min(16);
                                *level = level.wrapping_add(bits.value(size));
                                block[0] = (*level << scan.low) as i16;
                            }
                            (true, _) => {
                                bits.refill();
                                block[0] |= (bits.take(1) << scan.low) as i16;
                            }
                            (false, 0) => {
                                first_bits(
                                    &mut bits,
                                    standard::ac_or(state, part.ac),
                                    scan,
                                    &mut n_ended,
                                    block,
                                );
                            }
                            (false, _) => {
                                next_bit(
                                    &mut bits,
                                    standard::ac_or(state, part.ac),
                                    scan,
                                    &mut n_ended,
                                    block,
                                );
                            }
                        }
                    }
                }
            }
        }
        Ok(intervals.at)
    }

    /// Turns the coefficients into samples.
    #[inline(always)]
    fn finish<S: Sample>(
        &self,
        state: &State,
        frame: &Frame,
        planes: &mut [Plane<S>],
    ) -> Result<(), Problem> {
        for ((blocks, component), plane) in self.components.iter().zip(&frame.components).zip(planes) {
            let quantiser = state.quantiser(component)?;
            for (idx, coefficients) in blocks.iter().enumerate() {
                let (x, y) = (idx % plane.blocks_across, idx / plane.blocks_across);
                let mut block: Block = [0; 64];
                for (k, &place) in ZIGZAG[..64].iter().enumerate() {
                    let place = usize::from(place);
                    block[place] = i32::from(coefficients[place]).wrapping_mul(quantiser[k]);
                }
                idct::transform(&block, &mut plane.samples, y * 8 * plane.stride + x * 8, plane.stride);
            }
            plane.is_decoded = true;
        }
        Ok(())
    }
}

/// The last step: from coefficients to the samples of `planes`.
pub(super) struct Finish<'a, S> {
    pub(super) progress: &'a Progress,
    pub(super) state: &'a State,
    pub(super) frame: &'a Frame,
    pub(super) planes: &'a mut [Plane<S>],
}

impl<S: Sample> WithSimd for Finish<'_, S> {
    type Output = Result<(), Problem>;

    #[inline(always)]
    fn with_simd<V: Simd>(self, _: V) -> Self::Output {
        self.progress.finish(self.state, self.frame, self.planes)
    }
}

/// How many blocks end here, this one included.
fn run_of_ends(bits: &mut Bits<'_>, size: u32) -> u32 {
    let more = if size > 0 { bits.take(size) } else { 0 };
    (1 << size) + more
}

/// The first scan of AC coefficients.
fn first_bits(bits: &mut Bits<'_>, table: &Huffman, scan: &Scan, n_ended: &mut u32, block: &mut [i16; 64]) {
    if *n_ended > 0 {
        *n_ended -= 1;
        return;
    }
    let mut k = scan.first;
    while k <= scan.last {
        bits.refill();
        let symbol = bits.symbol(table);
        let (run, size) = (symbol >> 4, symbol & 15);
        if size == 0 && run < 15 {
            *n_ended = run_of_ends(bits, run) - 1;
            return;
        }
        k += run as usize;
        let value = bits.value(size);
        if size > 0 {
            block[usize::from(ZIGZAG[k & 127])] = (value << scan.low) as i16;
        }
        k += 1;
    }
}

/// A later scan of AC coefficients, which gives one more bit of each.
fn next_bit(bits: &mut Bits<'_>, table: &Huffman, scan: &Scan, n_ended: &mut u32, block: &mut [i16; 64]) {
    let bit = 1_i16 << scan.low;
    // A further bit of a coefficient that is known to be other than 0.
    let refine = |bits: &mut Bits<'_>, coefficient: &mut i16| {
        bits.refill();
        if bits.take(1) == 1 && *coefficient & bit == 0 {
            *coefficient = coefficient.wrapping_add(if *coefficient > 0 { bit } else { -bit });
        }
    };
    let mut k = scan.first;
    while *n_ended == 0 && k <= scan.last {
        bits.refill();
        let symbol = bits.symbol(table);
        let (mut run, size) = (symbol >> 4, symbol & 15);
        let mut value = 0;
        if size > 0 {
            value = if bits.take(1) == 1 { bit } else { -bit };
        } else if run < 15 {
            *n_ended = run_of_ends(bits, run);
            break;
        }
        // The new one comes after `run` coefficients that are still 0.
        while k <= scan.last {
            let coefficient = &mut block[usize::from(ZIGZAG[k & 127])];
            if *coefficient != 0 {
                refine(bits, coefficient);
            } else if run == 0 {
                *coefficient = value;
                k += 1;
                break;
            } else {
                run -= 1;
            }
            k += 1;
        }
    }
    if *n_ended > 0 {
        for &place in ZIGZAG.get(k..=scan.last).unwrap_or_default() {
            let coefficient = &mut block[usize::from(place)];
            if *coefficient != 0 {
                refine(bits, coefficient);
            }
        }
        *n_ended -= 1;
    }
}
