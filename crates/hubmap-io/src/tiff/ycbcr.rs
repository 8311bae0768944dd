//! `YCbCr` samples outside JPEG streams: blocks of pixels that share their chroma, and the way to RGB.

use super::ifd::Directory;
use super::info::PageInfo;
use super::source::Source;
use super::tag;
use crate::Result;

/// Shares of red, green and blue in luma where the page does not state them (ITU-R BT.601).
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

/// Codes of black and white of each sample where the page does not state them.
const REFERENCE: [f32; 6] = [0.0, 255.0, 128.0, 255.0, 128.0, 255.0];

/// Binary places of the fixed-point sums.
const SHIFT: u32 = 16;
const HALF: i32 = 1 << (SHIFT - 1);

/// What a page says about its `YCbCr` samples.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ycbcr {
    blocks: Blocks,
    luma: [f32; 3],
    reference: [f32; 6],
}

/// Pixels that share one pair of chroma samples; stored as their luma samples by row, then Cb and Cr.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Blocks {
    width: usize,
    pub(super) height: usize,
}

impl Ycbcr {
    /// Reads the tags of a page of three 8-bit samples.
    pub(super) fn read(source: &Source, directory: &Directory, info: &PageInfo) -> Result<Self> {
        let blocks = match directory.numbers(source, tag::YCBCR_SUBSAMPLING)?.as_deref() {
            None => Blocks { width: 2, height: 2 },
            Some(&[width @ (1 | 2 | 4), height @ (1 | 2 | 4)]) => {
                Blocks { width: width as usize, height: height as usize }
            }
            Some(other) => {
                return Err(
                    source.unsupported(format!("YCbCrSubSampling (tag 530) = {other:?}, page {}", info.name))
                );
            }
        };
        let ycbcr = Self {
            blocks,
            luma: directory.reals(source, tag::YCBCR_COEFFICIENTS).map_or(LUMA, |v| v.map(|v| v as f32)),
            reference: directory
                .reals(source, tag::REFERENCE_BLACK_WHITE)
                .map_or(REFERENCE, |v| v.map(|v| v as f32)),
        };
        let is_jpeg = info.compression == u32::from(tag::codec::OLD_JPEG);
        if ycbcr.blocks().is_some() && !is_jpeg && info.is_planar {
            return Err(source.unsupported(format!(
                "YCbCrSubSampling (tag 530) = [{}, {}] in planes, page {}",
                blocks.width, blocks.height, info.name
            )));
        }
        Ok(ycbcr)
    }

    /// The blocks, unless every pixel has chroma of its own.
    pub(super) fn blocks(&self) -> Option<Blocks> {
        Some(self.blocks).filter(|blocks| (blocks.width, blocks.height) != (1, 1))
    }
}

impl Blocks {
    /// Bytes of a row of blocks over `n_columns` pixels; the last block may stick out.
    pub(super) const fn row_len(self, n_columns: usize) -> usize {
        n_columns.div_ceil(self.width) * self.block_len()
    }

    /// Bytes of one block.
    const fn block_len(self) -> usize {
        self.width * self.height + 2
    }

    /// Fills rows of `n_columns` pixels of three samples; the first is row `first` of the first row of blocks.
    pub(super) fn spread(self, blocks: &[u8], n_columns: usize, first: usize, rows: &mut [u8]) {
        for (i, row) in rows.chunks_exact_mut(3 * n_columns).enumerate() {
            let y = first + i;
            let blocks = &blocks[y / self.height * self.row_len(n_columns)..];
            for (pixels, block) in row.chunks_mut(3 * self.width).zip(blocks.chunks_exact(self.block_len())) {
                let (luma, chroma) = block.split_at(self.width * self.height);
                let luma = &luma[y % self.height * self.width..];
                for (pixel, &luma) in pixels.as_chunks_mut::<3>().0.iter_mut().zip(luma) {
                    *pixel = [luma, chroma[0], chroma[1]];
                }
            }
        }
    }
}

/// Tables of the conversion to RGB, with the rounding of libtiff (`TIFFYCbCrToRGBInit` in `tif_color.c`).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ToRgb {
    luma: [i32; 256],
    red_of_cr: [i32; 256],
    blue_of_cb: [i32; 256],
    /// With [`SHIFT`] binary places.
    green_of_cr: [i32; 256],
    green_of_cb: [i32; 256],
}

impl ToRgb {
    pub(super) fn new(ycbcr: &Ycbcr) -> Self {
        let [red, green, blue] = ycbcr.luma;
        let [black, white, cb_zero, cb_full, cr_zero, cr_full] = ycbcr.reference;
        let fixed = |factor: f32| {
            // NaN becomes 0, as in libtiff.
            let factor = if factor >= 0.0 { factor.min(2.0) } else { 0.0 };
            (f64::from(factor * HALF as f32 * 2.0) + 0.5) as i32
        };
        let (of_cr, of_cb) = (2.0 - 2.0 * red, 2.0 - 2.0 * blue);
        let (cr_in_red, cr_in_green) = (fixed(of_cr), -fixed(red * of_cr / green));
        let (cb_in_blue, cb_in_green) = (fixed(of_cb), -fixed(blue * of_cb / green));
        let table = |value: &dyn Fn(i32) -> i32| std::array::from_fn(|code| value(code as i32));
        let cr = |code| level(code - 128, cr_zero - 128.0, cr_full - 128.0, 127.0);
        let cb = |code| level(code - 128, cb_zero - 128.0, cb_full - 128.0, 127.0);
        Self {
            luma: table(&|code| level(code, black, white, 255.0)),
            red_of_cr: table(&|code| (cr_in_red * cr(code) + HALF) >> SHIFT),
            blue_of_cb: table(&|code| (cb_in_blue * cb(code) + HALF) >> SHIFT),
            green_of_cr: table(&|code| cr_in_green * cr(code)),
            green_of_cb: table(&|code| cb_in_green * cb(code) + HALF),
        }
    }

    /// One pixel.
    pub(super) fn pixel(&self, [y, cb, cr]: [u8; 3]) -> [u8; 3] {
        let (luma, cb, cr) = (self.luma[usize::from(y)], usize::from(cb), usize::from(cr));
        let green = (self.green_of_cb[cb] + self.green_of_cr[cr]) >> SHIFT;
        [luma + self.red_of_cr[cr], luma + green, luma + self.blue_of_cb[cb]].map(|v| v.clamp(0, 255) as u8)
    }
}

/// A code on the scale on which `black` is 0 and `white` is `full`, within what the sums above can hold.
fn level(code: i32, black: f32, white: f32, full: f32) -> i32 {
    const LIMIT: f32 = 128.0 * 32.0;
    let range = if white - black == 0.0 { 1.0 } else { white - black };
    let value = (code.wrapping_sub(black as i32)) as f32 * full / range;
    if value >= -LIMIT { value.min(LIMIT) as i32 } else { -LIMIT as i32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_share_their_chroma_also_where_they_stick_out() {
        let blocks = Blocks { width: 2, height: 2 };
        assert_eq!(blocks.row_len(3), 12);
        let packed = [1, 2, 3, 4, 90, 91, 5, 0, 6, 0, 92, 93, 7, 8, 0, 0, 94, 95, 9, 0, 0, 0, 96, 97];
        let mut rows = [0; 18];
        blocks.spread(&packed, 3, 1, &mut rows);
        assert_eq!(rows[..9], [3, 90, 91, 4, 90, 91, 6, 92, 93]);
        assert_eq!(rows[9..], [7, 94, 95, 8, 94, 95, 9, 96, 97]);
    }

    #[test]
    fn gray_stays_gray_and_references_stretch_it() {
        let blocks = Blocks { width: 1, height: 1 };
        let full = ToRgb::new(&Ycbcr { blocks, luma: LUMA, reference: REFERENCE });
        for level in 0..=255 {
            assert_eq!(full.pixel([level, 128, 128]), [level; 3]);
        }
        // Red as ITU-R BT.601 writes it, and the green of zeroed samples.
        assert_eq!(full.pixel([76, 85, 255]), [254, 0, 0]);
        assert_eq!(full.pixel([0, 0, 0]), [0, 135, 0]);
        let reference = [16.0, 235.0, 128.0, 240.0, 128.0, 240.0];
        let video = ToRgb::new(&Ycbcr { blocks, luma: LUMA, reference });
        assert_eq!(video.pixel([16, 128, 128]), [0; 3]);
        assert_eq!(video.pixel([235, 128, 128]), [255; 3]);
        assert_eq!(video.pixel([10, 128, 128]), [0; 3]);
    }

    #[test]
    fn absurd_tags_do_not_overflow() {
        let blocks = Blocks { width: 1, height: 1 };
        for value in [0.0, -1e30, 1e30, f32::NAN, f32::INFINITY] {
            let ycbcr = Ycbcr { blocks, luma: [value; 3], reference: [value; 6] };
            let _ = ToRgb::new(&ycbcr).pixel([255, 255, 255]);
        }
    }
}
