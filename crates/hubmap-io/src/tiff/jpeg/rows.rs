//! From components of different sizes to rows of pixels, to the bit as libjpeg's `jdsample.c` and `jdcolor.c` do it.
#![expect(
    clippy::inline_always,
    reason = "the loops over samples are compiled for the vector unit as a whole"
)]

use pulp::{Simd, WithSimd};

use super::super::decode::Problem;
use super::idct::Sample;
use super::planes::Plane;
use super::stream::{Component, Frame};

/// What is made of the components of a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Color {
    /// They are the samples.
    Keep,
    /// Luma and chroma become red, green and blue.
    Rgb,
    /// The same, turned to ink; the fourth stays.
    Ink,
}

/// How a component is brought to the size of the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spread {
    Same,
    /// Between neighbours, 3 parts of the nearer and 1 of the farther: twice the columns, rows, or both.
    Across,
    Down,
    Both,
    /// The same sample again.
    Repeat {
        h: usize,
        v: usize,
    },
}

impl Spread {
    /// The choice that libjpeg makes; `is_smooth` is its `do_fancy_upsampling`.
    pub(super) fn of(frame: &Frame, component: &Component, is_smooth: bool) -> Result<Self, Problem> {
        let Component { h, v, .. } = *component;
        if !frame.max_h.is_multiple_of(h) || !frame.max_v.is_multiple_of(v) {
            return Err(Problem::Unsupported(format!(
                "JPEG sampling {h}x{v} beside {}x{}",
                frame.max_h, frame.max_v
            )));
        }
        let is_wide = frame.columns(component) > 2;
        Ok(match (frame.max_h / h, frame.max_v / v) {
            (1, 1) => Self::Same,
            (2, 1) if is_smooth && is_wide => Self::Across,
            (1, 2) if is_smooth => Self::Down,
            (2, 2) if is_smooth && is_wide => Self::Both,
            (h, v) => Self::Repeat { h, v },
        })
    }

    /// Whether a row of pixels depends on two rows of the component.
    pub(super) const fn needs_next_row(self) -> bool {
        matches!(self, Self::Down | Self::Both)
    }
}

/// Buffers for one row.
#[derive(Debug, Default)]
pub(super) struct RowBuffers<S> {
    /// One row of each component at full size.
    spread: Vec<Vec<S>>,
    /// Samples with their edges repeated.
    sums: Vec<u16>,
    pixels: Vec<S>,
}

/// Rows of pixels as the page stores them.
pub(super) struct Output<'a> {
    pub(super) bytes: &'a mut [u8],
    pub(super) row_len: usize,
    /// Bits per sample.
    pub(super) bits: usize,
    pub(super) big_endian: bool,
}

/// A picture whose rows are wanted.
pub(super) struct Rows<'a, S> {
    pub(super) planes: &'a [Plane<S>],
    pub(super) spreads: &'a [Spread],
    pub(super) frame: &'a Frame,
    pub(super) color: Color,
    pub(super) buffers: &'a mut RowBuffers<S>,
    pub(super) output: Output<'a>,
}

impl<S: Sample> WithSimd for Rows<'_, S> {
    type Output = ();

    #[inline(always)]
    fn with_simd<V: Simd>(self, _: V) {
        fill(self);
    }
}

/// Fills the output; what lies right of or below the frame becomes 0.
#[inline(always)]
fn fill<S: Sample>(job: Rows<'_, S>) {
    let Rows { planes, spreads, frame, color, buffers, output } = job;
    let n = planes.len();
    let RowBuffers { spread, sums, pixels } = buffers;
    spread.resize_with(n, Vec::new);
    for (y, bytes) in output.bytes.chunks_exact_mut(output.row_len).enumerate() {
        if y >= frame.height {
            bytes.fill(0);
            continue;
        }
        for ((plane, kind), row) in planes.iter().zip(spreads).zip(spread.iter_mut()) {
            if *kind != Spread::Same {
                spread_row(plane, *kind, y, sums, row);
            }
        }
        // Frames have at most four components.
        let rows: [&[S]; 4] = std::array::from_fn(|idx| match spreads.get(idx) {
            Some(Spread::Same) => planes[idx].row(y),
            Some(_) => &spread[idx],
            None => &[],
        });
        if let Some(samples) = S::from_bytes(bytes).filter(|_| output.bits == 8) {
            let len = (frame.width * n).min(samples.len());
            let (inside, outside) = samples.split_at_mut(len);
            color_row(color, &rows, n, inside);
            outside.fill(S::default());
        } else {
            pixels.resize(frame.width * n, S::default());
            color_row(color, &rows, n, pixels);
            bytes.fill(0);
            pack(pixels, output.bits, output.big_endian, bytes);
        }
    }
}

/// One row of a component at the size of the frame, or a little longer.
#[inline(always)]
fn spread_row<S: Sample>(plane: &Plane<S>, kind: Spread, y: usize, sums: &mut Vec<u16>, out: &mut Vec<S>) {
    let n = plane.columns;
    let near = plane.row(match kind {
        Spread::Repeat { v, .. } => y / v,
        Spread::Across | Spread::Same => y,
        Spread::Down | Spread::Both => y / 2,
    });
    let far = || plane.row(if y % 2 == 1 { y / 2 + 1 } else { (y / 2).saturating_sub(1) });
    match kind {
        Spread::Same => {}
        Spread::Repeat { h, .. } => {
            out.resize(n * h, S::default());
            for (out, &sample) in out.chunks_exact_mut(h).zip(near) {
                out.fill(sample);
            }
        }
        Spread::Down => {
            out.resize(n, S::default());
            let round = if y.is_multiple_of(2) { 1 } else { 2 };
            for ((out, &near), &far) in out.iter_mut().zip(near).zip(far()) {
                let (near, far): (u16, u16) = (near.into(), far.into());
                *out = S::cut(i32::from((near * 3 + far + round) >> 2));
            }
        }
        Spread::Across | Spread::Both => {
            sums.resize(n + 2, 0);
            let inner = &mut sums[1..=n];
            if kind == Spread::Across {
                inner.iter_mut().zip(near).for_each(|(sum, &near)| *sum = near.into());
            } else {
                for ((sum, &near), &far) in inner.iter_mut().zip(near).zip(far()) {
                    let (near, far): (u16, u16) = (near.into(), far.into());
                    *sum = near * 3 + far;
                }
            }
            sums[0] = sums[1];
            sums[n + 1] = sums[n];
            out.resize(2 * n, S::default());
            if kind == Spread::Across {
                widen::<S, 1, 2, 2>(sums, out);
            } else {
                widen::<S, 8, 7, 4>(sums, out);
            }
        }
    }
}

/// Two samples from each inner one of `sums`, with the rounding terms `LEFT` and `RIGHT`.
#[inline(always)]
fn widen<S: Sample, const LEFT: u16, const RIGHT: u16, const SHIFT: u32>(sums: &[u16], out: &mut [S]) {
    for (pair, around) in out.as_chunks_mut::<2>().0.iter_mut().zip(sums.windows(3)) {
        let left = (around[1] * 3 + around[0] + LEFT) >> SHIFT;
        let right = (around[1] * 3 + around[2] + RIGHT) >> SHIFT;
        *pair = [S::cut(i32::from(left)), S::cut(i32::from(right))];
    }
}

/// One row of pixels from the rows of its `n` components.
#[inline(always)]
fn color_row<S: Sample>(color: Color, rows: &[&[S]; 4], n: usize, out: &mut [S]) {
    let [a, b, c, d] = *rows;
    match (color, n) {
        (Color::Rgb, 3) => rgb_row(a, b, c, out),
        (Color::Ink, 4) => {
            let samples = a.iter().zip(b).zip(c).zip(d);
            for (out, (((&y, &cb), &cr), &black)) in out.as_chunks_mut::<4>().0.iter_mut().zip(samples) {
                let [r, g, b] = rgb(y, cb, cr);
                *out = [S::cut(S::MAX - r), S::cut(S::MAX - g), S::cut(S::MAX - b), black];
            }
        }
        (_, 1) => out.iter_mut().zip(a).for_each(|(out, &sample)| *out = sample),
        (_, 3) => {
            for (out, ((&a, &b), &c)) in out.as_chunks_mut::<3>().0.iter_mut().zip(a.iter().zip(b).zip(c)) {
                *out = [a, b, c];
            }
        }
        _ => {
            for (band, row) in rows.iter().enumerate().take(n) {
                out.iter_mut().skip(band).step_by(n).zip(*row).for_each(|(out, &sample)| *out = sample);
            }
        }
    }
}

/// Pixels that are converted before they are interleaved; each step becomes vector code only by itself.
const STEP: usize = 64;

#[inline(always)]
fn rgb_row<S: Sample>(y: &[S], cb: &[S], cr: &[S], out: &mut [S]) {
    let (whole, rest) = out.as_chunks_mut::<3>().0.as_chunks_mut::<STEP>();
    let n = whole.len() * STEP;
    let steps = y.as_chunks::<STEP>().0.iter().zip(cb.as_chunks::<STEP>().0).zip(cr.as_chunks::<STEP>().0);
    let mut bands = [[S::default(); STEP]; 3];
    for (out, ((y, cb), cr)) in whole.iter_mut().zip(steps) {
        for i in 0..STEP {
            let [r, g, b] = rgb(y[i], cb[i], cr[i]);
            bands[0][i] = S::cut(r);
            bands[1][i] = S::cut(g);
            bands[2][i] = S::cut(b);
        }
        for i in 0..STEP {
            out[i] = [bands[0][i], bands[1][i], bands[2][i]];
        }
    }
    let tails = y.iter().zip(cb).zip(cr).skip(n);
    for (out, ((&y, &cb), &cr)) in rest.iter_mut().zip(tails) {
        let [r, g, b] = rgb(y, cb, cr);
        *out = [S::cut(r), S::cut(g), S::cut(b)];
    }
}

/// ITU-R BT.601 with 16 binary places.
#[inline(always)]
fn rgb<S: Sample>(y: S, cb: S, cr: S) -> [i32; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr): (i32, i32, i32) = (y.into(), cb.into(), cr.into());
    let (cb, cr) = (cb - S::CENTRE, cr - S::CENTRE);
    let r = y + ((91_881 * cr + HALF) >> 16);
    let g = y + ((-22_554 * cb - 46_802 * cr + HALF) >> 16);
    let b = y + ((116_130 * cb + HALF) >> 16);
    [r.clamp(0, S::MAX), g.clamp(0, S::MAX), b.clamp(0, S::MAX)]
}

/// Samples of `bits` each: whole words in the byte order of the file, others packed highest bit first.
fn pack<S: Sample>(samples: &[S], bits: usize, big_endian: bool, out: &mut [u8]) {
    let samples = samples.iter().map(|&sample| -> u16 { sample.into() });
    if bits == 16 {
        for (out, sample) in out.as_chunks_mut::<2>().0.iter_mut().zip(samples) {
            *out = if big_endian { sample.to_be_bytes() } else { sample.to_le_bytes() };
        }
        return;
    }
    let (mut word, mut n_bits, mut at) = (0_u32, 0, 0);
    for sample in samples {
        word = (word << bits) | u32::from(sample) & ((1 << bits) - 1);
        n_bits += bits;
        while n_bits >= 8 {
            n_bits -= 8;
            let Some(out) = out.get_mut(at) else { return };
            *out = (word >> n_bits) as u8;
            at += 1;
        }
    }
    if let Some(out) = out.get_mut(at).filter(|_| n_bits > 0) {
        *out = (word << (8 - n_bits)) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(samples: Vec<u8>, columns: usize) -> Plane<u8> {
        let rows = samples.len() / columns;
        Plane { samples, stride: columns, columns, rows, ..Plane::default() }
    }

    #[test]
    fn samples_spread_like_triangles() {
        let plane = plane(vec![0, 100, 200, 40, 80, 120], 3);
        let (mut sums, mut out) = (Vec::new(), Vec::new());
        let mut row = |kind, y| {
            spread_row(&plane, kind, y, &mut sums, &mut out);
            out.clone()
        };
        assert_eq!(row(Spread::Across, 0), [0, 25, 75, 125, 175, 200]);
        assert_eq!(row(Spread::Down, 0), [0, 100, 200]);
        assert_eq!(row(Spread::Down, 1), [10, 95, 180]);
        assert_eq!(row(Spread::Down, 3), [40, 80, 120]);
        assert_eq!(row(Spread::Both, 1), [10, 31, 74, 116, 159, 180]);
        assert_eq!(row(Spread::Repeat { h: 4, v: 2 }, 2)[3..9], [40, 80, 80, 80, 80, 120]);
    }

    #[test]
    fn colours_are_those_of_the_standard() {
        assert_eq!(rgb(76_u8, 85, 255), [254, 0, 0]);
        assert_eq!(rgb(255_u8, 128, 128), [255; 3]);
        assert_eq!(rgb(4095_u16, 2048, 2048), [4095; 3]);
    }

    #[test]
    fn packs_bits() {
        let mut out = [0; 3];
        pack(&[0xABC_u16, 0xDEF], 12, false, &mut out);
        assert_eq!(out, [0xAB, 0xCD, 0xEF]);
        pack(&[0x0102_u16], 16, true, &mut out);
        assert_eq!(out[..2], [1, 2]);
    }
}
