//! `hubmap-convert overlay`: a mask burnt into a slide as a colour.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use hubmap_cli::{Outcome, Progress, UsageError, check_inputs, choice, interrupted, location};
use hubmap_infer::read_rle_table;
use hubmap_io::{Compression, Error, Mask, OverlayStyle, PyramidSpec, Size, open, read_mask, write_overlay};
use serde_json::json;

/// Burn a mask into a copy of a slide as a colour, as a tiled, pyramidal TIFF.
#[derive(Debug, Args)]
#[command(
    after_help = "OUT that ends in .ome.tif or .ome.tiff gets OME-XML, for QuPath and Bio-Formats; any other name is a \
                  generic pyramid.\n\n\
                  Examples:\n  hubmap-convert overlay slide.tiff --mask mask.tiff seen.tiff\n  \
                  hubmap-convert overlay 2f6ecfcdf.tiff --rle submission.csv --color 00ff00 --alpha 0.5 seen.tiff"
)]
pub(crate) struct OverlayArgs {
    /// Slide to burn into, which is not changed; in builds with the feature `remote` also its address
    #[arg(value_name = "SLIDE")]
    input: PathBuf,

    /// TIFF file to write
    #[arg(value_name = "OUT")]
    output: PathBuf,

    /// Mask of the slide's size: one band, everything but 0 is set
    #[arg(long, value_name = "TIFF", required_unless_present = "rle", conflicts_with = "rle")]
    mask: Option<PathBuf>,

    /// Table of run lengths with a row for the slide's name
    #[arg(long, value_name = "CSV")]
    rle: Option<PathBuf>,

    /// Row of the table [default: the slide's name without its ending]
    #[arg(long, value_name = "ID", requires = "rle")]
    id: Option<String>,

    /// Red, green and blue as six hexadecimal digits
    #[arg(long, value_name = "RRGGBB", default_value = "ffcc00", value_parser = parse_color)]
    color: Color,

    /// Share of the colour, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.4, value_parser = parse_alpha)]
    alpha: f64,

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
}

#[derive(Debug, Clone, Copy)]
struct Color([u8; 3]);

fn parse_color(text: &str) -> Result<Color, String> {
    let digits = text.trim_start_matches('#');
    let is_hex = digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let value = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex);
    let [_, red, green, blue] = value.ok_or("expected RRGGBB, such as ff0000 for red")?.to_be_bytes();
    Ok(Color([red, green, blue]))
}

fn parse_alpha(text: &str) -> Result<f64, String> {
    let alpha = text.parse().ok().filter(|alpha| (0.0..=1.0).contains(alpha));
    alpha.ok_or_else(|| "expected a share from 0 to 1, such as 0.4".to_owned())
}

impl OverlayArgs {
    /// Writes the overlay under a progress bar.
    pub(crate) fn run(&self, progress: &Progress) -> Result<Outcome> {
        check_inputs(self.mask.iter().chain(&self.rle))?;
        let slide = location(&self.input)?.open()?;
        for read in [Some(&self.input), self.mask.as_ref()].into_iter().flatten() {
            if self.output.exists() && self.output.canonicalize().ok() == read.canonicalize().ok() {
                let error = anyhow::anyhow!("{} is a file to read", self.output.display());
                return Err(UsageError::mark(error));
            }
        }
        hubmap_cli::check_output(&self.output, &self.rle)?;
        let mask = self.read_mask(slide.size())?;
        let name = self.output.to_string_lossy().to_lowercase();
        let spec = PyramidSpec {
            tile: self.tile,
            compression: self.compression,
            predictor: matches!(
                self.compression,
                Compression::Lzw | Compression::Deflate | Compression::Zstd
            ),
            microns_per_px: slide.microns_per_px(),
            ome: name.ends_with(".ome.tif") || name.ends_with(".ome.tiff"),
            ..PyramidSpec::rgb(slide.size())
        };
        let bar = progress.bar("burning", slide.size().height.div_ceil(self.tile).into(), "rows of tiles");
        let style = OverlayStyle { color: self.color.0, alpha: self.alpha };
        let advance = |n_done: u32, _| {
            bar.set(n_done.into());
            if interrupted() { Err(Error::usage(&self.output, "interrupted")) } else { Ok(()) }
        };
        write_overlay(&self.output, slide.as_ref(), mask.size(), |w| Ok(mask.read(w)), style, spec, advance)?;
        drop(bar);
        let bytes = std::fs::metadata(&self.output).with_context(|| self.output.display().to_string())?.len();
        progress.note(&format!("{} of {} MB", self.output.display(), bytes / 1_000_000));
        Ok(Outcome::done(json!({
            "overlay": self.output.display().to_string(),
            "positive_px": mask.count_ones(),
            "bytes": bytes,
        })))
    }

    /// The mask, as a bitmap: an eighth of a byte per pixel.
    fn read_mask(&self, size: Size) -> Result<Mask> {
        match (&self.mask, &self.rle) {
            (Some(path), _) => {
                // Before the mask is decoded, which may take a while.
                let mask_size = open(path)?.size();
                ensure!(mask_size == size, "{}: a mask of {mask_size} for a slide of {size}", path.display());
                Ok(read_mask(path)?)
            }
            (None, Some(table)) => self.decode(table, size),
            (None, None) => bail!("give --mask or --rle"),
        }
    }

    fn decode(&self, table: &Path, size: Size) -> Result<Mask> {
        let name = self.input.file_stem().unwrap_or_default().to_string_lossy();
        let id = self.id.as_deref().unwrap_or(&name);
        let rows = read_rle_table(table)?;
        let rle = rows
            .get(id)
            .with_context(|| format!("{}: no row of id {id}; --id names one", table.display()))?;
        rle.decode(size).with_context(|| format!("{}: id {id}", table.display()))
    }
}
