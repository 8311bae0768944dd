//! Chunks whose codec knows the size of its picture, which need not be the chunk's.

use super::decode::Problem;
use super::page::Page;

/// How much larger than its chunk a picture may be, since it is decoded as a whole.
const MAX_EXCESS: u64 = 4;

/// Width and height of a decoded picture.
pub(super) struct Picture {
    width: usize,
    height: usize,
}

impl Picture {
    /// Refuses a picture that is far larger than its chunk: that is how a small file asks for a huge buffer.
    pub(super) fn new(page: &Page, width: u32, height: u32) -> Result<Self, Problem> {
        let chunk = page.chunk;
        let area = u64::from(chunk.width.max(64)) * u64::from(chunk.height.max(64));
        if width == 0 || height == 0 || u64::from(width) * u64::from(height) / MAX_EXCESS > area {
            return Err(format!("picture of {width}x{height} in a chunk of {chunk}").into());
        }
        Ok(Self { width: width as usize, height: height as usize })
    }

    /// Lets `fill` write the bytes of each row that both the picture and `out` have; the rest becomes 0.
    pub(super) fn place(&self, page: &Page, out: &mut [u8], mut fill: impl FnMut(usize, &mut [u8])) {
        let row_len = page.row_len();
        let n = (self.width * page.bands_per_chunk() * page.bits / 8).min(row_len);
        for (y, row) in out.chunks_exact_mut(row_len).enumerate() {
            let (inside, outside) = row.split_at_mut(if y < self.height { n } else { 0 });
            fill(y, inside);
            outside.fill(0);
        }
    }
}
