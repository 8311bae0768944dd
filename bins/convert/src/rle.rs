//! `hubmap-convert rle`: tables of run lengths to mask files, and back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use hubmap_cli::{Outcome, Progress, UsageError, check_inputs, check_output, interrupted};
use hubmap_infer::{read_rle_table, write_submission};
use hubmap_io::{Rle, Size, open, read_mask, write_mask_tiff};
use serde_json::json;

/// Turn a table of run lengths into mask TIFFs, or mask TIFFs into a table.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hubmap-convert rle train.csv --slides HUBMAP/train --out masks\n  \
                  hubmap-convert rle masks --out submission.csv")]
pub(crate) struct RleArgs {
    /// Table with columns `id` and `encoding` or `predicted`, or a mask TIFF or folder of them
    #[arg(value_name = "CSV|DIR|TIFF")]
    input: PathBuf,

    /// Folder for <id>.tiff, or the table to write
    #[arg(long, value_name = "DIR|CSV")]
    out: PathBuf,

    /// Folder of the slides, for their sizes
    #[arg(long, value_name = "DIR")]
    slides: Option<PathBuf>,

    /// Size of every mask in pixels, instead of --slides
    #[arg(long, value_name = "WxH", value_parser = parse_size, conflicts_with = "slides")]
    size: Option<Size>,
}

fn parse_size(text: &str) -> Result<Size, String> {
    let parts = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    let size = parts.map(|(width, height)| Size::new(width, height)).filter(|size| size.area() > 0);
    size.ok_or_else(|| "expected WIDTHxHEIGHT in pixels, such as 25794x31278".to_owned())
}

/// Whether a path is named like a table.
fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
}

impl RleArgs {
    /// Converts in the direction that the names tell.
    pub(crate) fn run(&self, progress: &Progress) -> Result<Outcome> {
        check_inputs([&self.input].into_iter().chain(&self.slides))?;
        if is_table(&self.input) { self.to_masks(progress) } else { self.to_table(progress) }
    }

    fn to_masks(&self, progress: &Progress) -> Result<Outcome> {
        let table = read_rle_table(&self.input)?;
        ensure!(!table.is_empty(), "{}: it has no rows, so there are no masks to make", self.input.display());
        let slides = match (&self.slides, self.size) {
            (Some(folder), _) => tiffs(folder)?,
            (None, Some(_)) => BTreeMap::new(),
            (None, None) => {
                return Err(UsageError::mark(anyhow::anyhow!(
                    "run lengths do not hold the size of a mask: give --slides or --size"
                )));
            }
        };
        // Known before the first mask is written, not after hundreds.
        let sizes = table.keys().map(|id| {
            ensure!(!id.contains(['/', '\\']), "{}: id {id} is no name of a file", self.input.display());
            match (self.size, slides.get(id)) {
                (Some(size), _) => Ok(size),
                (None, Some(path)) => Ok(open(path)?.size()),
                (None, None) => {
                    bail!("{}: no slide of id {id}", self.slides.clone().unwrap_or_default().display())
                }
            }
        });
        let sizes = sizes.collect::<Result<Vec<_>>>()?;
        std::fs::create_dir_all(&self.out).with_context(|| format!("cannot make {}", self.out.display()))?;
        let bar = progress.bar("masks", table.len() as u64, "masks");
        for (done, ((id, rle), size)) in table.iter().zip(sizes).enumerate() {
            ensure!(!interrupted(), "interrupted");
            let mask = rle.decode(size).with_context(|| format!("{}: id {id}", self.input.display()))?;
            write_mask_tiff(&self.out.join(format!("{id}.tiff")), &mask, 8)?;
            bar.set(done as u64 + 1);
        }
        drop(bar);
        progress.note(&format!("{} masks in {}", table.len(), self.out.display()));
        Ok(Outcome::done(json!({ "masks": table.len(), "folder": self.out.display().to_string() })))
    }

    fn to_table(&self, progress: &Progress) -> Result<Outcome> {
        if !is_table(&self.out) {
            let error = anyhow::anyhow!("--out {}: a table is named .csv", self.out.display());
            return Err(UsageError::mark(error));
        }
        check_output(&self.out, [&self.input])?;
        let masks = tiffs(&self.input)?;
        let bar = progress.bar("masks", masks.len() as u64, "masks");
        let mut rows = Vec::new();
        for (id, path) in masks {
            ensure!(!interrupted(), "interrupted");
            rows.push((id, Rle::encode(&read_mask(&path)?)));
            bar.set(rows.len() as u64);
        }
        drop(bar);
        write_submission(&self.out, &rows, &[])?;
        progress.note(&format!("{} masks in {}", rows.len(), self.out.display()));
        Ok(Outcome::done(json!({ "masks": rows.len(), "table": self.out.display().to_string() })))
    }
}

/// The TIFF files of a folder, or one file, by name without extension.
fn tiffs(path: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let is_tiff = |path: &Path| {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        path.is_file() && ["tiff", "tif", "svs"].contains(&extension.as_str())
    };
    let files: Vec<PathBuf> = if path.is_file() {
        vec![path.to_owned()]
    } else {
        let entries = std::fs::read_dir(path).with_context(|| format!("cannot open {}", path.display()))?;
        let entries = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        entries.into_iter().filter(|path| is_tiff(path)).collect()
    };
    let by_id: BTreeMap<_, _> = files
        .into_iter()
        .map(|file| (file.file_stem().unwrap_or_default().to_string_lossy().into_owned(), file))
        .collect();
    ensure!(!by_id.is_empty(), "{}: no TIFF files", path.display());
    Ok(by_id)
}
