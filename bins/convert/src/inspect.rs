//! `hubmap-convert inspect`: what is in a slide file.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use hubmap_cli::{Outcome, location, print_line};
use hubmap_io::{RasterReader, SampleKind};
use serde::Serialize;

use crate::page_report::PageReport;

/// Say what is in a slide file: pages, levels, codecs, microns per pixel, images beside the slide.
#[derive(Debug, Args)]
#[command(
    after_help = "Ends with 3 if a page cannot be decoded (with --sha256) or the slide cannot be read.\n\n\
                  Examples:\n  hubmap-convert inspect slide.svs\n  hubmap-convert inspect slide.svs --sha256 --json"
)]
pub(crate) struct InspectArgs {
    /// TIFF, `BigTIFF`, SVS or OME-TIFF file; in builds with the feature `remote` also its address
    #[arg(value_name = "FILE|URL")]
    file: PathBuf,

    /// Decode every page: hash, mean, least and greatest value of its samples
    #[arg(long)]
    sha256: bool,
}

/// A whole file.
#[derive(Debug, Serialize)]
struct FileReport {
    file: String,
    /// `TIFF` or `BigTIFF`.
    format: &'static str,
    /// `little` or `big`.
    byte_order: &'static str,
    /// What kept further pages from being found.
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<String>,
    slide: Option<SlideReport>,
    /// Why the file cannot be read as a slide.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    pages: Vec<PageReport>,
}

/// What `RasterReader` shows of it.
#[derive(Debug, Serialize)]
struct SlideReport {
    width: u32,
    height: u32,
    bands: usize,
    dtype: &'static str,
    vendor: &'static str,
    microns_per_px: Option<f64>,
    levels: Vec<LevelReport>,
    associated_images: Vec<AssociatedReport>,
    description: Option<String>,
}

#[derive(Debug, Serialize)]
struct LevelReport {
    width: u32,
    height: u32,
    downsample: f64,
    is_exact: bool,
}

#[derive(Debug, Serialize)]
struct AssociatedReport {
    name: String,
    width: u32,
    height: u32,
}

impl InspectArgs {
    /// Prints the report, as text unless `json`.
    pub(crate) fn run(&self, json: bool) -> Result<Outcome> {
        let location = location(&self.file)?;
        let file = location.open_tiff()?;
        let pages: Vec<_> =
            (0..file.pages().len()).map(|idx| PageReport::new(&file, idx, self.sha256)).collect();
        let (slide, error) = match location.open() {
            Ok(slide) => (Some(SlideReport::new(slide.as_ref())), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let n_failed =
            pages.iter().filter(|page| page.error.is_some()).count() + usize::from(error.is_some());
        let report = FileReport {
            file: location.path().display().to_string(),
            format: if file.is_big() { "BigTIFF" } else { "TIFF" },
            byte_order: if file.is_big_endian() { "big" } else { "little" },
            damage: file.damage().map(ToString::to_string),
            slide,
            error,
            pages,
        };
        if !json {
            report.lines().iter().try_for_each(|line| print_line(line))?;
        }
        Ok(Outcome::with_failed(serde_json::to_value(&report)?, n_failed))
    }
}

impl SlideReport {
    fn new(slide: &dyn RasterReader) -> Self {
        let level = |level: hubmap_io::Level| LevelReport {
            width: level.size.width,
            height: level.size.height,
            downsample: level.downsample,
            is_exact: level.is_exact,
        };
        let associated = |image: hubmap_io::AssociatedImage| AssociatedReport {
            name: image.name,
            width: image.size.width,
            height: image.size.height,
        };
        Self {
            width: slide.size().width,
            height: slide.size().height,
            bands: slide.bands(),
            dtype: match slide.sample_kind() {
                SampleKind::U16 => "uint16",
                _ => "uint8",
            },
            vendor: slide.vendor(),
            microns_per_px: slide.microns_per_px(),
            levels: slide.levels().into_iter().map(level).collect(),
            associated_images: slide.associated_images().into_iter().map(associated).collect(),
            description: slide.description().map(str::to_owned),
        }
    }
}

/// Longest description that is shown whole.
const MAX_DESCRIPTION: usize = 400;

impl FileReport {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{}: {}, {} endian", self.file, self.format, self.byte_order)];
        match (&self.slide, &self.error) {
            (Some(slide), _) => lines.extend(slide.lines()),
            (None, Some(error)) => lines.push(format!("not readable as a slide: {error}")),
            (None, None) => {}
        }
        lines.push(String::new());
        lines.push("page       size           samples              layout               codec".to_owned());
        for page in &self.pages {
            lines.push(format!(
                "{:<10} {:<14} {:<20} {:<20} {}, {}",
                page.ifd,
                format!("{}x{}", page.width, page.height),
                format!("{} x {}", page.samples_per_pixel, page.dtype),
                format!(
                    "{} {}x{}{}",
                    page.layout,
                    page.chunk[0],
                    page.chunk[1],
                    if page.planar_config == 2 { " planar" } else { "" }
                ),
                page.compression_name,
                page.photometric_name,
            ));
            if let Some(pixels) = &page.pixels {
                let means: Vec<_> = pixels.mean_per_channel.iter().map(|mean| format!("{mean:.2}")).collect();
                lines.push(format!("           sha256 {}", pixels.sha256));
                lines.push(format!("           {} to {}, mean {}", pixels.min, pixels.max, means.join(" ")));
            }
            lines.extend(page.error.iter().map(|error| format!("           {error}")));
        }
        lines.extend(self.damage.iter().map(|damage| format!("damaged: {damage}")));
        lines
    }
}

impl SlideReport {
    fn lines(&self) -> Vec<String> {
        let scale = self.microns_per_px.map_or("unknown µm/px".to_owned(), |mpp| format!("{mpp} µm/px"));
        let mut lines = vec![format!(
            "slide      {}x{}, {} x {}, {scale}, {}",
            self.width, self.height, self.bands, self.dtype, self.vendor
        )];
        for (idx, level) in self.levels.iter().enumerate().skip(1) {
            let LevelReport { width, height, downsample, .. } = level;
            lines.push(format!("level {idx:<4} {width}x{height}, 1/{downsample:.4}"));
        }
        for image in &self.associated_images {
            lines.push(format!("beside     {} {}x{}", image.name, image.width, image.height));
        }
        if let Some(text) = &self.description {
            let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let cut: String = text.chars().take(MAX_DESCRIPTION).collect();
            let more = if cut.len() < text.len() { " …" } else { "" };
            lines.push(format!("says       {cut}{more}"));
        }
        lines
    }
}
