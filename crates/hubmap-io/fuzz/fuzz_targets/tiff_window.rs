//! Any bytes as a TIFF file: every page and windows of the slide are pixels or an error that names the file.
//!
//! If the whole image can be read, every window must be its part, with zeros around it.
#![no_main]

use std::path::Path;
use std::sync::Once;

use hubmap_io::{
    Error, PageInfo, RasterReader as _, ReadOptions, SampleKind, Size, TiffFile, TiffSlide, Window,
};
use hubmap_io_fuzz::{Dice, scratch_folder};
use libfuzzer_sys::fuzz_target;
use ndarray::{Array3, ArrayView3, s};

/// Pixels of the largest page or slide that is read as a whole; of others, only windows are.
const MAX_PIXELS: u64 = 1 << 16;

/// Bytes of samples that are read of one page.
const MAX_BYTES: u64 = 1 << 20;

/// Bytes of the largest compressed chunk that is decoded: any part of it takes all of it.
const MAX_CHUNK_BYTES: u64 = 32 << 20;

/// Pages that are read of one file.
const MAX_PAGES: usize = 8;

fuzz_target!(|bytes: &[u8]| {
    decode_on_this_thread();
    let path = scratch_folder().join("any.tiff");
    std::fs::write(&path, bytes).expect("the scratch file can be written");
    let mut dice = Dice::new(bytes);
    read_pages(&path, &mut dice);
    read_slide(&path, &mut dice);
});

/// Keeps chunks from going to other threads, where they would decode no faster.
fn decode_on_this_thread() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread();
        pool.build_global().expect("no pool was made before");
    });
}

/// Checks that an error is about the file and blames it, not the caller.
fn file_to_blame(path: &Path, error: &Error) {
    assert_eq!(error.path(), path);
    assert!(!matches!(error, Error::Usage { .. } | Error::Memory { .. } | Error::Io { .. }), "{error}");
}

fn read_pages(path: &Path, dice: &mut Dice) {
    let file = match TiffFile::open(path) {
        Ok(file) => file,
        Err(error) => return file_to_blame(path, &error),
    };
    if let Some(damage) = file.damage() {
        file_to_blame(path, damage);
    }
    assert!(!file.pages().is_empty());
    for (idx, info) in file.pages().iter().enumerate().take(MAX_PAGES) {
        let _ = (info.compression_name(), info.photometric_name(), file.description(idx));
        if info.size.area() > MAX_PIXELS || n_bytes(info, info.size) > MAX_BYTES || is_bomb(info) {
            continue;
        }
        let whole = match file.read_page(idx) {
            Ok(whole) => whole,
            Err(error) => {
                file_to_blame(path, &error);
                continue;
            }
        };
        let Size { width, height } = whole.size;
        assert_eq!(whole.bytes.dim(), (height as usize, width as usize, whole.bands * whole.sample_len));
        let window = window_inside(info.size, dice);
        let part = file.read_page_window(idx, window).expect("a part of a page that was read");
        assert_eq!(part.bytes, pad_then_crop(whole.bytes.view(), window), "page {idx} at {window}");
    }
}

fn read_slide(path: &Path, dice: &mut Dice) {
    let slide = match TiffSlide::open(path) {
        Ok(slide) => slide,
        Err(error) => return file_to_blame(path, &error),
    };
    let size = slide.size();
    if is_bomb(slide.info()) {
        return;
    }
    for outside in [
        Window::new(size.width.into(), 0, 9, 7),
        Window::new(0, -7, 9, 7),
        Window::new(i64::MIN, i64::MAX, 3, 2),
    ] {
        let pixels = read(&slide, outside).expect("nothing is decoded for a window off the slide");
        assert!(pixels.iter().all(|&pixel| pixel == 0));
    }
    let whole = (size.area() <= MAX_PIXELS).then(|| read(&slide, size.window()));
    let mut reused = Array3::zeros((0, 0, 0));
    for _ in 0..3 {
        let window = window_anywhere(size, dice);
        let pixels = match (read(&slide, window), &whole) {
            (Ok(pixels), _) => pixels,
            (Err(error), Some(Ok(_))) => panic!("a part of a slide that was read: {error}"),
            (Err(error), _) => {
                file_to_blame(path, &error);
                continue;
            }
        };
        if let Some(Ok(whole)) = &whole {
            assert_eq!(pixels, pad_then_crop(whole.view(), window), "{window} of {size}");
        }
        if slide.sample_kind() == SampleKind::U16 {
            slide.read(window).expect_err("16 bits in 8");
            continue;
        }
        if reused.dim() != pixels.dim() {
            reused = Array3::from_elem(pixels.dim(), 77);
        }
        slide.read_into(window, reused.view_mut()).expect("what was read a moment ago");
        assert_eq!(reused.mapv(u16::from), pixels, "{window} of {size} into an array");
    }
    if let Some(Err(error)) = whole {
        file_to_blame(path, &error);
    }
    read_what_belongs_to_it(path, &slide);
}

/// Levels and the images beside the slide: pixels or an error that names the file.
fn read_what_belongs_to_it(path: &Path, slide: &TiffSlide) {
    let file = TiffFile::open(path).expect("what was opened a moment ago");
    if file.pages().iter().any(is_bomb) {
        return;
    }
    for (level, found) in slide.levels().iter().enumerate().skip(1).take(MAX_PAGES) {
        if found.size.area() <= MAX_PIXELS {
            let options = ReadOptions { level, ..ReadOptions::default() };
            let pixels = slide.read_u16(found.size.window(), &options);
            let _ = pixels.inspect_err(|error| file_to_blame(path, error));
        }
    }
    for image in slide.associated_images().iter().take(MAX_PAGES) {
        if image.size.area() <= MAX_PIXELS {
            let _ = slide.read_associated(&image.name).inspect_err(|error| file_to_blame(path, error));
        }
    }
}

/// A window of a slide of any samples.
fn read(slide: &TiffSlide, window: Window) -> Result<Array3<u16>, Error> {
    match slide.sample_kind() {
        SampleKind::U16 => slide.read_u16(window, &ReadOptions::default()),
        _ => Ok(slide.read(window)?.mapv(u16::from)),
    }
}

/// Bytes of the samples of an image or chunk of a page.
fn n_bytes(info: &PageInfo, size: Size) -> u64 {
    let sample_len = u64::from(info.bits.div_ceil(8).next_power_of_two());
    size.area().saturating_mul(info.bands.into()).saturating_mul(sample_len)
}

/// Whether a small file can ask for much memory, as it may with any codec.
fn is_bomb(info: &PageInfo) -> bool {
    info.compression != 1 && n_bytes(info, info.chunk) > MAX_CHUNK_BYTES
}

/// A window of an image that has pixels.
fn window_inside(size: Size, dice: &mut Dice) -> Window {
    let (x, y) = (dice.below(size.width), dice.below(size.height));
    let (width, height) = (1 + dice.below(size.width - x), 1 + dice.below(size.height - y));
    Window::new(x.into(), y.into(), width, height)
}

/// A small window on, across or off the edges of a slide.
fn window_anywhere(size: Size, dice: &mut Dice) -> Window {
    let x = i64::from(dice.below(size.width.saturating_add(60))) - 40;
    let y = i64::from(dice.below(size.height.saturating_add(60))) - 40;
    Window::new(x, y, 1 + dice.below(150), 1 + dice.below(150))
}

/// What a boundless read of `window` has to give.
fn pad_then_crop<T: Copy + Default>(whole: ArrayView3<'_, T>, window: Window) -> Array3<T> {
    let (height, width, bands) = whole.dim();
    let mut out = Array3::default((window.height as usize, window.width as usize, bands));
    let size = Size::new(width as u32, height as u32);
    let rows = window.y.max(0)..window.bottom().min(size.height.into());
    let columns = window.x.max(0)..window.right().min(size.width.into());
    if rows.is_empty() || columns.is_empty() {
        return out;
    }
    let part = |range: &std::ops::Range<i64>, origin: i64| {
        (range.start - origin) as usize..(range.end - origin) as usize
    };
    let inside = whole.slice(s![part(&rows, 0), part(&columns, 0), ..]);
    out.slice_mut(s![part(&rows, window.y), part(&columns, window.x), ..]).assign(&inside);
    out
}
