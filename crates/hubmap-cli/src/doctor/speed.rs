//! How fast a slide is written and read here.

use std::path::Path;
use std::time::{Duration, Instant};

use hubmap_io::{Compression, RasterReader as _, Size, TiffSlide, TiffSpec, TiffWriter, Window};
use ndarray::Array3;
use rayon::prelude::*;

use super::Check;

/// Side of the slide that is written and read.
const SIDE_PX: u32 = 4096;
/// Side of the windows that are read, all threads at once.
const WINDOW_PX: u32 = 1024;
/// How long each codec is read.
const READ_FOR: Duration = Duration::from_secs(1);
/// Speeds under which slides are slower than networks on one core, in megapixels per second.
const SLOW_READ: f64 = 20.0;
const SLOW_WRITE: f64 = 10.0;

/// A picture like a stained slide: smooth colours with grain.
pub(super) fn picture(size: Size) -> Array3<u8> {
    Array3::from_shape_fn((size.height as usize, size.width as usize, 3), |(y, x, channel)| {
        let wave = ((x as f32 / 37.0).sin() + (y as f32 / 53.0).cos()) * 30.0;
        let mut hash = (x as u32).wrapping_mul(0x9E37_79B1) ^ (y as u32).wrapping_mul(0x85EB_CA77);
        hash = (hash ^ (hash >> 15)).wrapping_mul(0x2C1B_3C6D);
        let grain = (hash >> 28) as f32 - 8.0;
        (f32::from([190_u8, 130, 180][channel]) + wave + grain) as u8
    })
}

pub(super) fn checks(folder: &Path) -> Vec<Check> {
    match measured(folder) {
        Ok(checks) => checks,
        Err(error) => vec![super::cannot_write("writing", &error)],
    }
}

fn measured(folder: &Path) -> anyhow::Result<Vec<Check>> {
    let place = super::place_in(folder)?;
    let size = Size::new(SIDE_PX, SIDE_PX);
    let rows = picture(Size::new(SIDE_PX, 512));
    let (mut writing, mut reading) = (Vec::new(), Vec::new());
    for (name, compression) in
        [("JPEG", Compression::Jpeg { quality: 90 }), ("Deflate", Compression::Deflate)]
    {
        let path = place.path().join(format!("{name}.tiff"));
        let predictor = compression == Compression::Deflate;
        let started = Instant::now();
        let mut writer =
            TiffWriter::create(&path, TiffSpec { compression, predictor, ..TiffSpec::rgb(size) })?;
        for _ in 0..SIDE_PX / 512 {
            writer.write_rows(&rows)?;
        }
        writer.finish()?;
        writing.push((name, megapixels(size.area()) / started.elapsed().as_secs_f64()));
        reading.push((name, read_speed(&TiffSlide::open(&path)?)?));
    }
    let hint = "on a network mount? copy slides to a local disk first; or few cores are free: see above";
    Ok(vec![judge("writing", &writing, SLOW_WRITE, hint), judge("reading", &reading, SLOW_READ, hint)])
}

/// Megapixels per second of windows in all places of a slide, over again.
fn read_speed(slide: &TiffSlide) -> anyhow::Result<f64> {
    let starts = (0..SIDE_PX).step_by(WINDOW_PX as usize);
    let windows: Vec<Window> = starts
        .clone()
        .flat_map(|y| starts.clone().map(move |x| Window::new(x.into(), y.into(), WINDOW_PX, WINDOW_PX)))
        .collect();
    let (started, mut n_px) = (Instant::now(), 0);
    while started.elapsed() < READ_FOR && !crate::interrupt::requested() {
        windows.par_iter().try_for_each(|window| slide.read(*window).map(drop))?;
        n_px += u64::from(SIDE_PX) * u64::from(SIDE_PX);
    }
    Ok(megapixels(n_px) / started.elapsed().as_secs_f64())
}

fn megapixels(n_px: u64) -> f64 {
    n_px as f64 / 1e6
}

fn judge(name: &str, speeds: &[(&str, f64)], slow: f64, hint: &str) -> Check {
    let found: Vec<_> =
        speeds.iter().map(|(codec, speed)| format!("{speed:.0} Mpx/s of {codec} tiles")).collect();
    let check = speeds.iter().fold(Check::ok(name, found.join(", ")), |check, (codec, speed)| {
        check.with(&format!("{}_mpx_per_s", codec.to_lowercase()), (speed * 10.0).round() / 10.0)
    });
    if speeds.iter().any(|(_, speed)| *speed < slow) { check.warn(hint) } else { check }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn slow_places_are_told() {
        let check = judge("reading", &[("JPEG", 100.0), ("Deflate", 19.0)], SLOW_READ, "why");
        assert_eq!((check.verdict, check.hint.as_deref()), (Verdict::Warn, Some("why")));
        assert_eq!(check.found, "100 Mpx/s of JPEG tiles, 19 Mpx/s of Deflate tiles");
        assert_eq!(check.values["deflate_mpx_per_s"], 19.0);
        assert_eq!(judge("reading", &[("JPEG", 100.0)], SLOW_READ, "why").verdict, Verdict::Ok);
    }
}
