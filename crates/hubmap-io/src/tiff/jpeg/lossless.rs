//! Lossless scans (ITU-T T.81, annex H): differences from a prediction by the neighbours.

use super::super::decode::Problem;
use super::huffman::Bits;
use super::idct::Sample;
use super::planes::Plane;
use super::standard;
use super::stream::{Intervals, Scan, State};

/// Decodes one scan into `planes`, whose samples are one to a unit; returns where it ends in the stream.
pub(super) fn decode<S: Sample>(
    state: &State,
    scan: &Scan,
    stream: &[u8],
    at: usize,
    clean: &mut Vec<u8>,
    planes: &mut [Plane<S>],
) -> Result<usize, Problem> {
    let frame = state.frame.as_ref().ok_or("JPEG: no frame")?;
    if frame.components.iter().any(|component| (component.h, component.v) != (1, 1)) {
        return Err(Problem::Unsupported("lossless JPEG with components of different sizes".to_owned()));
    }
    let shift = scan.low;
    if !(1..=7).contains(&scan.first) || shift >= frame.precision {
        return Err(format!("JPEG: lossless predictor {}, shift {shift}", scan.first).into());
    }
    let first = 1 << (frame.precision - shift - 1);
    let (across, down) = planes.first().map_or((0, 0), |plane| (plane.columns, plane.rows));
    let n_units = across * down;
    let interval = if state.restart_interval == 0 { n_units } else { state.restart_interval };
    let mut intervals = Intervals::new(stream, at);
    for start in (0..n_units).step_by(interval.max(1)) {
        intervals.next(clean);
        let mut bits = Bits::new(clean);
        let first_row = start / across;
        for unit in start..(start + interval).min(n_units) {
            if bits.is_exhausted() {
                return Err(format!("JPEG: data end in row {} of {down}", unit / across).into());
            }
            let (x, y) = (unit % across, unit / across);
            for part in &scan.parts {
                let plane = &mut planes[part.component];
                plane.is_decoded = true;
                bits.refill();
                let size = bits.symbol(standard::dc_or(state, part.dc));
                // 2^15 has no bits of its own.
                let difference = if size >= 16 { 1 << 15 } else { bits.value(size) };
                let place = y * plane.stride + x;
                let get = |back: usize| -> i32 { Into::<i32>::into(plane.samples[place - back]) >> shift };
                let is_first_row = y == first_row;
                let prediction = match (x, is_first_row, scan.first) {
                    (0, true, _) => first,
                    (0, false, _) => get(plane.stride),
                    (_, true, _) | (_, _, 1) => get(1),
                    (_, _, kind) => predict(kind, get(1), get(plane.stride), get(plane.stride + 1)),
                };
                let value = (prediction + difference) & 0xFFFF;
                plane.samples[place] = S::cut(value << shift);
            }
        }
    }
    Ok(intervals.at)
}

/// The prediction from the samples to the left, above, and above to the left (table H.1).
const fn predict(kind: usize, left: i32, above: i32, corner: i32) -> i32 {
    match kind {
        1 => left,
        2 => above,
        3 => corner,
        4 => left + above - corner,
        5 => left + ((above - corner) >> 1),
        6 => above + ((left - corner) >> 1),
        _ => (left + above) >> 1,
    }
}
