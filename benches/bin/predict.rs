//! Inference with a network that does nothing: how fast slides are read, prepared, merged and handed on.
//!
//! Arguments: width and height of the slide (12288 8192), and how often each turn is taken (3); the best counts.
//! Prints, for each codec, megapixels of the slide per second of reading alone and of the whole pipeline, the same per second
//! of processor time, which other programs disturb less, and the seconds of the pipeline's stages, which run beside each
//! other and are summed over threads.
#![expect(clippy::print_stdout, reason = "the figures are its output")]

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use half::f16;
use hubmap_data::Normalization;
use hubmap_infer::{Blend, PredictConfig, Predictor, RowSink, SegmentTiles, StageSeconds, Tta};
use hubmap_io::{Compression, Layout, RasterReader, Size, TiffSpec, TiffWriter, Window};
use hubmap_synth::{SlideSpec, SyntheticSlide};
use ndarray::{Array3, Array4, ArrayRef2, Axis};
use rayon::prelude::*;

/// Side of the tissue that fills the slide, repeated.
const TISSUE_PX: u32 = 4096;

const CODECS: [(&str, Compression); 3] = [
    ("none", Compression::None),
    ("deflate", Compression::Deflate),
    ("jpeg", Compression::Jpeg { quality: 85 }),
];

/// A sink that costs nothing but a look at each pixel.
#[derive(Default)]
struct Sum(u64);

impl RowSink for Sum {
    fn write_rows(&mut self, _: u32, probabilities: &ArrayRef2<f16>) -> Result<()> {
        self.0 += probabilities.iter().map(|p| u64::from(p.to_bits())).sum::<u64>();
        Ok(())
    }
}

fn write_slide(path: &Path, tissue: &Array3<u8>, size: Size, compression: Compression) -> Result<()> {
    let layout = Layout::Tiled { tile: 512, planar: false };
    let predictor = compression == Compression::Deflate;
    let spec = TiffSpec { layout, compression, predictor, ..TiffSpec::rgb(size) };
    let mut writer = TiffWriter::create(path, spec)?;
    let side = TISSUE_PX as usize;
    for y0 in (0..size.height).step_by(512) {
        let shape = (512.min(size.height - y0) as usize, size.width as usize, 3);
        let rows = Array3::from_shape_fn(shape, |(y, x, c)| tissue[[(y0 as usize + y) % side, x % side, c]]);
        writer.write_rows(&rows)?;
    }
    writer.finish()?;
    Ok(())
}

/// Reads the slide once, in squares, on all threads.
fn read_alone(slide: &dyn RasterReader) -> Result<StageSeconds> {
    const SIDE: u32 = 1536;
    let Size { width, height } = slide.size();
    let corners: Vec<(u32, u32)> = (0..height)
        .step_by(SIDE as usize)
        .flat_map(|y| (0..width).step_by(SIDE as usize).map(move |x| (x, y)))
        .collect();
    corners.par_iter().with_max_len(1).try_for_each(|&(x, y)| {
        let window = Window::new(x.into(), y.into(), SIDE.min(width - x), SIDE.min(height - y));
        slide.read(window).map(drop)
    })?;
    Ok(StageSeconds::default())
}

/// The best of several turns.
#[derive(Clone, Copy)]
struct Best {
    seconds: f64,
    processor_seconds: f64,
    stages: Option<StageSeconds>,
}

impl Best {
    const NONE: Self = Self { seconds: f64::INFINITY, processor_seconds: f64::INFINITY, stages: None };

    /// Takes a turn of `work`.
    fn turn(&mut self, work: impl FnOnce() -> Result<StageSeconds>) -> Result<()> {
        let (start, processor_start) = (Instant::now(), processor_seconds());
        let stages = Some(work()?);
        let seconds = start.elapsed().as_secs_f64();
        self.processor_seconds = self.processor_seconds.min(processor_seconds() - processor_start);
        if seconds < self.seconds {
            *self = Self { seconds, stages, ..*self };
        }
        Ok(())
    }
}

/// Processor time of this process so far; 0 where `/proc` does not tell.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name in parentheses: state is the first field, user and system time the 12th and 13th, in 1/100 s.
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn main() -> Result<()> {
    let args: Vec<u32> = std::env::args()
        .skip(1)
        .map(|arg| arg.parse().with_context(|| format!("{arg:?} is not a number")))
        .collect::<Result<_>>()?;
    let of = |idx: usize, default: u32| args.get(idx).copied().unwrap_or(default);
    let (size, n_turns) = (Size::new(of(0, 12_288), of(1, 8192)), of(2, 3));
    let folder = tempfile::tempdir()?;
    let spec = SlideSpec { artefacts: false, ..SlideSpec::new(Size::new(TISSUE_PX, TISSUE_PX), 5) };
    let tissue = SyntheticSlide::new(spec)?.render(Window::new(0, 0, TISSUE_PX, TISSUE_PX));
    let model = |tiles: &Array4<f32>| Ok(tiles.index_axis(Axis(1), 0).mapv(|_| 0.0).insert_axis(Axis(1)));
    let predictor = |blend, overlap| {
        let models: Vec<Box<dyn SegmentTiles>> = vec![Box::new(model)];
        let config = PredictConfig { tta: Tta::None, blend, overlap, ..PredictConfig::original() };
        Predictor::new(models, Normalization::KIDNEY, config)
    };
    let predictors = [("crop", predictor(Blend::Crop, 0)?), ("gaussian", predictor(Blend::Gaussian, 256)?)];
    let megapixels = size.area() as f64 / 1e6;
    let n_threads = rayon::current_num_threads();
    println!("slide {size}, {megapixels:.0} MP, {n_threads} threads, best of {n_turns}");
    println!(
        "codec    work      MP/s  MP/s of one core  tissue read reduce wait infer merge journal write, s"
    );
    for (codec, compression) in CODECS {
        let path = folder.path().join("slide.tiff");
        write_slide(&path, &tissue, size, compression)?;
        let slide = hubmap_io::open(&path)?;
        let slide = slide.as_ref();
        let mut best = [Best::NONE; 3];
        for _ in 0..n_turns {
            best[0].turn(|| read_alone(slide))?;
            for ((_, predictor), best) in predictors.iter().zip(&mut best[1..]) {
                best.turn(|| Ok(predictor.predict(slide, &mut Sum::default(), None, &())?.seconds))?;
            }
        }
        for (work, best) in ["read", predictors[0].0, predictors[1].0].iter().zip(best) {
            let StageSeconds { tissue, read, reduce, wait, infer, merge, journal, write } =
                best.stages.unwrap_or_default();
            println!(
                "{codec:8} {work:8} {:5.0} {:17.0}  {tissue:.2} {read:.2} {reduce:.2} {wait:.2} {infer:.2} {merge:.2} \
                 {journal:.2} {write:.2}",
                megapixels / best.seconds,
                megapixels / best.processor_seconds,
            );
        }
    }
    Ok(())
}
