//! Memory for windows.
//!
//! A window of tens of megabytes is a fresh mapping, and the kernel clears and maps its 4 KiB pages one by one while
//! they are filled: for stored samples that takes longer than reading them, and threads queue for it. Huge pages make
//! it a few hundred times fewer.

use std::path::Path;

use crate::{Error, Result, Size};

/// `len` zeros, from the system's cleared memory.
fn zeros(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    if len >= MIN_ADVISED_LEN {
        advise_huge_pages(&mut bytes);
    }
    bytes
}

/// A black image of `bytes_per_pixel`, row after row, or an error if there is no memory for one.
pub(crate) fn black(path: &Path, size: Size, bytes_per_pixel: usize) -> Result<Vec<u8>> {
    let too_large = || Error::memory(path, format!("a window of {size} pixels of {bytes_per_pixel} bytes"));
    let len = size.area().checked_mul(bytes_per_pixel as u64).and_then(|len| isize::try_from(len).ok());
    let len = len.ok_or_else(too_large)? as usize;
    // A failed allocation would abort the process; this one can be asked about, and costs nothing untouched.
    if len > MIN_PROBED_LEN {
        Vec::<u8>::new().try_reserve_exact(len).map_err(|_| too_large())?;
    }
    Ok(zeros(len))
}

/// Allocations beyond this size are tried before they are made.
const MIN_PROBED_LEN: usize = 256 << 20;

/// Smaller allocations come from memory that is mapped already, or hold no whole huge page.
const MIN_ADVISED_LEN: usize = 4 << 20;

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "there is no safe way to advise the kernel about memory")]
fn advise_huge_pages(bytes: &mut [u8]) {
    use rustix::mm::{Advice, madvise};
    const PAGE: usize = 4096;
    let skipped = bytes.as_ptr().align_offset(PAGE);
    let Some(pages) = bytes.get_mut(skipped..) else { return };
    // SAFETY: the range lies within `bytes`, which is borrowed exclusively. `MADV_HUGEPAGE` changes which pages back
    // a range, never what it reads as, and has no effect where it is refused: its result does not matter.
    let _ = unsafe { madvise(pages.as_mut_ptr().cast(), pages.len() / PAGE * PAGE, Advice::LinuxHugepage) };
}

#[cfg(not(target_os = "linux"))]
fn advise_huge_pages(_: &mut [u8]) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advised_memory_is_zero_and_writable_to_its_ends() {
        for len in [0, 1, MIN_ADVISED_LEN - 1, MIN_ADVISED_LEN, MIN_ADVISED_LEN + 4097, 20_000_001] {
            let mut bytes = zeros(len);
            assert_eq!(bytes.len(), len);
            assert!(bytes.iter().all(|&byte| byte == 0));
            bytes.fill(7);
            assert!(bytes.iter().all(|&byte| byte == 7));
        }
    }

    #[test]
    fn absurd_windows_are_refused() {
        let path = Path::new("slide.tiff");
        let absurd = black(path, Size::new(u32::MAX, u32::MAX), 3);
        assert!(matches!(absurd, Err(Error::Memory { .. })));
        assert!(black(path, Size::new(3, 2), 3).is_ok_and(|bytes| bytes.len() == 18));
    }
}
