//! `hubmap-convert slide`: any slide that is read to a tiled pyramid.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use hubmap_cli::{Outcome, Progress, UsageError, choice, interrupted, location};
use hubmap_io::{Compression, PyramidSpec, PyramidWriter, ReadOptions, Reduction, SampleKind, Window};
use serde_json::json;

/// Turn a slide (SVS, OME-TIFF, striped or planar TIFF, …) into a tiled, pyramidal TIFF.
#[derive(Debug, Args)]
#[command(
    after_help = "OUT that ends in .ome.tif or .ome.tiff gets OME-XML, for QuPath and Bio-Formats; any other name is a \
                  generic pyramid.\nPixels are taken from the full resolution; reduced levels are made anew.\n\n\
                  Examples:\n  hubmap-convert slide slide.svs slide.ome.tiff\n  \
                  hubmap-convert slide scan.tif slide.tiff --compression jpeg:85 --mpp 0.5"
)]
pub(crate) struct SlideArgs {
    /// Slide to read; in builds with the feature `remote` also its address
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// TIFF file to write
    #[arg(value_name = "OUT")]
    output: PathBuf,

    /// Codec of the tiles; jpeg:QUALITY, 1 to 100, for another quality than 90
    #[arg(
        long,
        value_name = "CODEC",
        value_parser = choice::<Compression>(["none", "lzw", "deflate", "zstd", "jpeg"]),
        default_value = "deflate"
    )]
    compression: Compression,

    /// Side of a tile in pixels, a multiple of 16
    #[arg(long, value_name = "PX", default_value_t = 512)]
    tile: u32,

    /// How levels are reduced; nearest keeps the values of masks and labels
    #[arg(long, value_enum, default_value_t = ReductionArg::Mean)]
    reduction: ReductionArg,

    /// Write the full resolution only
    #[arg(long)]
    no_levels: bool,

    /// Microns per pixel to store, where the slide does not say or says wrong
    #[arg(long, value_name = "MICRONS")]
    mpp: Option<f64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ReductionArg {
    Mean,
    Nearest,
}

impl SlideArgs {
    /// Converts one slide under a progress bar.
    pub(crate) fn run(&self, progress: &Progress) -> Result<Outcome> {
        let input = location(&self.input)?;
        let slide = input.open()?;
        let same = |path: &Path| self.output.canonicalize().ok() == path.canonicalize().ok();
        let is_same = input.as_file().is_some_and(same);
        if is_same && self.output.exists() {
            let error = anyhow::anyhow!("{} is the slide to read", self.output.display());
            return Err(UsageError::mark(error));
        }
        hubmap_cli::check_output(&self.output, [&self.input])?;
        let size = slide.size();
        let samples = slide.sample_kind();
        let name = self.output.to_string_lossy().to_lowercase();
        let can_predict =
            matches!(self.compression, Compression::Lzw | Compression::Deflate | Compression::Zstd);
        let spec = PyramidSpec {
            bands: u8::try_from(slide.bands()).unwrap_or(u8::MAX),
            samples,
            tile: self.tile,
            compression: self.compression,
            predictor: can_predict,
            reduction: match self.reduction {
                ReductionArg::Mean => Reduction::Mean,
                ReductionArg::Nearest => Reduction::Nearest,
            },
            n_levels: self.no_levels.then_some(1),
            microns_per_px: self.mpp.or(slide.microns_per_px()),
            ome: name.ends_with(".ome.tif") || name.ends_with(".ome.tiff"),
            ..PyramidSpec::rgb(size)
        };
        let writer = PyramidWriter::create(&self.output, spec)?;
        let n_rows = size.height.div_ceil(self.tile);
        let bar = progress.bar("converting", n_rows.into(), "rows of tiles");
        for row in 0..n_rows {
            ensure!(!interrupted(), "interrupted");
            let y = row * self.tile;
            let window = Window::new(0, y.into(), size.width, self.tile.min(size.height - y));
            match samples {
                SampleKind::U16 => {
                    writer.write_block(0, y, &slide.read_u16(window, &ReadOptions::default())?)?;
                }
                _ => writer.write_block(0, y, &slide.read(window)?)?,
            }
            bar.set((row + 1).into());
        }
        writer.finish()?;
        drop(bar);
        let bytes = std::fs::metadata(&self.output).with_context(|| self.output.display().to_string())?.len();
        progress.note(&format!("{} of {} MB", self.output.display(), bytes / 1_000_000));
        Ok(Outcome::done(json!({
            "slide": self.output.display().to_string(),
            "width": size.width,
            "height": size.height,
            "bytes": bytes,
        })))
    }
}
