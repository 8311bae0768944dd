//! Two bytes for the height of an image and any text as run lengths.
//!
//! A parser that is slow and plain decides what must be accepted; runs that fit a small image are drawn and
//! encoded again, at once and by rows, and must give the same text.
#![no_main]

use hubmap_io::{Rle, RleEncoder, RleError, Size};
use hubmap_io_fuzz::Dice;
use libfuzzer_sys::fuzz_target;
use ndarray::{Axis, s};

/// Pixels of the largest image that is drawn.
const MAX_PIXELS: u64 = 1 << 20;

/// Largest height of the image.
const MAX_HEIGHT: u32 = 4096;

fuzz_target!(|bytes: &[u8]| {
    let Some((head, text)) = bytes.split_first_chunk() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let parsed = Rle::parse(text);
    let runs = plain_parse(text);
    let rle = match (parsed, runs) {
        (Ok(rle), Some(runs)) => {
            let parsed: Vec<_> = rle.runs().iter().map(|run| (run.start, run.length)).collect();
            assert_eq!(parsed, runs);
            rle
        }
        (Err(error), None) => {
            assert!(!error.to_string().is_empty());
            return;
        }
        (parsed, runs) => panic!("{parsed:?}, but plainly {runs:?}"),
    };
    assert!(rle.runs().windows(2).all(|pair| pair[0].last() + 1 < pair[1].start), "sorted and apart");
    let text = rle.to_string();
    assert_eq!(Rle::parse(&text).as_ref(), Ok(&rle));
    let height = 1 + u32::from(u16::from_le_bytes(*head)) % MAX_HEIGHT;
    draw(&rle, &text, height, &mut Dice::new(bytes));
});

/// Draws the runs into the narrowest image of this height that holds them, and encodes it.
fn draw(rle: &Rle, text: &str, height: u32, dice: &mut Dice) {
    let n_pixels = rle.runs().last().map_or(1, hubmap_io::Run::last);
    let width = n_pixels.div_ceil(height.into());
    if width.saturating_mul(height.into()) > MAX_PIXELS {
        let error = rle.decode(Size::new(dice.below(200), height));
        assert!(matches!(error, Err(RleError::OutOfRange { .. })));
        return;
    }
    let size = Size::new(width as u32, height);
    let mask = rle.decode(size).expect("the image holds the last run");
    assert_eq!(mask.count_ones(), rle.count_ones());
    assert_eq!(Rle::encode(&mask).to_string(), text);

    let mut encoder = RleEncoder::new(size);
    let pixels = mask.to_array();
    let mut y = 0;
    while y < height {
        let n_rows = (1 + dice.below(9)).min(height - y);
        encoder.push_rows(pixels.slice_axis(Axis(0), (y as usize..(y + n_rows) as usize).into()));
        y += n_rows;
    }
    assert_eq!(encoder.finish().to_string(), text);
    for run in rle.runs().iter().take(64) {
        let first = ((run.start - 1) % u64::from(height), (run.start - 1) / u64::from(height));
        assert_eq!(pixels[(first.0 as usize, first.1 as usize)], 1);
    }
    if rle.runs().is_empty() {
        return;
    }
    let narrow = Size::new(size.width - 1, height);
    assert!(matches!(rle.decode(narrow), Err(RleError::OutOfRange { .. })));
    assert_eq!(pixels.slice(s![.., size.width as usize - 1]).iter().max(), Some(&1));
}

/// Pairs of start and length with touching ones joined, or `None` if any rule is broken.
fn plain_parse(text: &str) -> Option<Vec<(u64, u64)>> {
    let tokens = text.split_ascii_whitespace();
    let is_number = |token: &str| token.bytes().all(|byte| byte.is_ascii_digit());
    let numbers = tokens.map(|token| token.parse().ok().filter(|&n: &u64| n > 0 && is_number(token)));
    let numbers = numbers.collect::<Option<Vec<u64>>>()?;
    let (pairs, []) = numbers.as_chunks::<2>() else { return None };
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for &[start, length] in pairs {
        start.checked_add(length)?;
        match runs.last_mut() {
            Some(last) if start < last.0 + last.1 => return None,
            Some(last) if start == last.0 + last.1 => last.1 += length,
            _ => runs.push((start, length)),
        }
    }
    Some(runs)
}
