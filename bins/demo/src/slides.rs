//! Synthetic competition folders.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use clap::Args;
use hubmap_cli::{Outcome, Progress, UsageError};
use hubmap_io::Size;
use hubmap_synth::{CompetitionSpec, FileFormat, SlideSpec, write_competition};
use serde_json::json;

/// Flags of `hubmap-demo slides`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hubmap-demo slides --out HUBMAP\n  \
                  hubmap-demo slides --out HUBMAP --count 2 --size 1100x900 --layout pages-lzw")]
pub(crate) struct SlidesArgs {
    /// Folder to write, laid out as the competition's
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Training slides
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = parse_count)]
    count: usize,

    /// Test slides, with their truth in truth.csv
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse_count)]
    test_count: usize,

    /// Size of each slide in pixels at 0.5 µm per pixel
    #[arg(long, value_name = "WxH", default_value = "4096x4096", value_parser = parse_size)]
    size: Size,

    /// Layout and codec, such as tiled-jpeg, strips-none, planar-lzw, pages-deflate or tiled-zstd-classic; `all`
    /// for another one with every slide
    #[arg(long, value_name = "LAYOUT", default_value = "tiled-jpeg")]
    layout: String,

    /// Glomeruli per square millimetre of cortex, at most 50
    #[arg(long, value_name = "N", default_value_t = 4.5, value_parser = parse_amount)]
    glomeruli_per_mm2: f64,

    /// How much stain, lamp and camera differ between slides: 1 as between laboratories, 0 not at all
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = parse_amount)]
    stain_variation: f64,

    /// Seed; slides of different seeds share nothing
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

fn parse_count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| *count <= 1_000_000);
    count.ok_or_else(|| "expected a whole number from 0 to 1000000".to_owned())
}

fn parse_size(text: &str) -> Result<Size, String> {
    let parts = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    match parts {
        Some((width, height)) if width > 0 && height > 0 => Ok(Size::new(width, height)),
        _ => Err("expected WIDTHxHEIGHT in pixels, such as 4096x4096".to_owned()),
    }
}

fn parse_amount(text: &str) -> Result<f64, String> {
    let amount = text.parse::<f64>().ok().filter(|amount| (0.0..=100.0).contains(amount));
    amount.ok_or_else(|| "expected a number from 0 to 100".to_owned())
}

/// Runs `hubmap-demo slides`.
pub(crate) fn make(args: &SlidesArgs, progress: &Progress) -> Result<Outcome> {
    let formats = match args.layout.as_str() {
        "all" => FileFormat::all(),
        one => vec![FileFormat::from_str(one).context("--layout").map_err(UsageError::mark)?],
    };
    let spec = CompetitionSpec {
        n_train: args.count,
        n_test: args.test_count,
        slide: SlideSpec {
            glomeruli_per_mm2: args.glomeruli_per_mm2,
            stain_variation: args.stain_variation,
            ..SlideSpec::new(args.size, args.seed)
        },
        formats,
    };
    write(&args.out, &spec, progress)?;
    let folder = args.out.display().to_string();
    progress.note(&format!("{} slides in {folder}", args.count + args.test_count));
    Ok(Outcome::done(json!({ "folder": folder, "train": args.count, "test": args.test_count })))
}

/// Writes a competition folder under a progress bar.
pub(crate) fn write(folder: &Path, spec: &CompetitionSpec, progress: &Progress) -> Result<()> {
    ensure!(spec.n_train + spec.n_test > 0, "there are no slides to make");
    let bar = progress.bar("slides", (spec.n_train + spec.n_test) as u64, "slides");
    write_competition(folder, spec, &|n_done, _| bar.set(n_done as u64))
}
