//! What data generation did, for people and for programs.

use hubmap_io::Size;
use serde::Serialize;

use crate::cut::CutKind;
use crate::{Fault, FoldBy};

/// What there is of a slide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlideReport {
    /// Id of the slide.
    pub slide: String,
    /// Full-resolution size.
    pub size: Size,
    /// Annotated polygons.
    pub n_objects: usize,
    /// Tiles of each kind.
    pub tiles: Vec<TileCounts>,
    /// Set pixels of the mask.
    pub n_positive_px: u64,
}

/// The tiles of one kind on one slide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TileCounts {
    /// First part of the name of the tiles' folder, such as `grid`.
    pub kind: &'static str,
    /// Tiles on disk, kept background included.
    pub n_kept: usize,
    /// Windows that were left out as background.
    pub n_skipped: usize,
    /// Windows that an earlier run had dealt with under the same settings.
    pub n_up_to_date: usize,
}

impl SlideReport {
    /// Tiles of a kind that are on disk.
    pub fn n_kept(&self, kind: CutKind) -> usize {
        self.tiles.iter().filter(|tiles| tiles.kind == kind.prefix()).map(|tiles| tiles.n_kept).sum()
    }

    /// Windows left out as background.
    pub fn n_skipped(&self) -> usize {
        self.tiles.iter().map(|tiles| tiles.n_skipped).sum()
    }

    /// Windows that an earlier run had dealt with.
    pub fn n_up_to_date(&self) -> usize {
        self.tiles.iter().map(|tiles| tiles.n_up_to_date).sum()
    }
}

/// A slide that could not be cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlideFailure {
    /// Id of the slide.
    pub slide: String,
    /// What is wrong, with the file.
    pub error: String,
    /// Whose fault it is.
    pub kind: Fault,
}

/// What is in a fold of the splits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoldReport {
    /// Name of the fold.
    pub name: String,
    /// What it keeps together.
    pub by: FoldBy,
    /// Tiles that train, of all kinds.
    pub n_train: usize,
    /// Tiles that validate, of all kinds.
    pub n_valid: usize,
    /// Tiles on neither side, as they share pixels with tiles that validate.
    pub n_left_out: usize,
}

/// What data generation did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DataGenReport {
    /// Slides whose tiles are complete, sorted by id.
    pub slides: Vec<SlideReport>,
    /// Slides that could not be cut.
    ///
    /// If there are any, no splits were written, as they would lack these slides.
    pub failures: Vec<SlideFailure>,
    /// Slides that are no longer in the input, whose outputs were removed.
    pub removed: Vec<String>,
    /// Folds of the splits.
    pub folds: Vec<FoldReport>,
    /// The part of the slides that was cut, as in `0/4`, if not all were; then there are no folds.
    pub part: Option<String>,
    /// Whether the splits were there already.
    pub are_splits_up_to_date: bool,
}

/// A table of the slides with a row of totals, then what failed, then the folds.
impl std::fmt::Display for DataGenReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kinds = kinds_in(&self.slides);
        let mut header = vec!["slide".to_owned(), "size".to_owned(), "objects".to_owned()];
        header.extend(kinds.iter().map(|kind| format!("{} tiles", kind.prefix())));
        header.extend(["background", "positive px", "positive", "up to date"].map(str::to_owned));
        let mut rows = vec![header];
        rows.extend(self.slides.iter().map(|slide| {
            let id = [slide.slide.clone(), slide.size.to_string()];
            id.into_iter().chain(cells(std::slice::from_ref(slide), &kinds)).collect()
        }));
        let n_slides = self.slides.len();
        let total = ["total".to_owned(), format!("{n_slides} slide{}", plural(n_slides))];
        rows.push(total.into_iter().chain(cells(&self.slides, &kinds)).collect());
        write_table(f, &rows)?;

        if !self.removed.is_empty() {
            write!(f, "\nremoved, as they are no longer in the input: {}", self.removed.join(", "))?;
        }
        for SlideFailure { slide, error, .. } in &self.failures {
            write!(f, "\nfailed: {slide}: {error}")?;
        }
        if !self.failures.is_empty() {
            return write!(f, "\nno splits written: mend or remove the slides that failed, and run again");
        }
        if let Some(part) = &self.part {
            return write!(
                f,
                "\npart {part}: when all parts are done, run again without --shard for the splits"
            );
        }
        let header = ["fold", "train tiles", "val tiles", "left out"].map(str::to_owned).to_vec();
        let folds = self.folds.iter().map(|fold| {
            let counts = [fold.n_train, fold.n_valid, fold.n_left_out].map(|n| grouped(n as u64));
            std::iter::once(fold.name.clone()).chain(counts).collect()
        });
        f.write_str("\n\n")?;
        write_table(f, &std::iter::once(header).chain(folds).collect::<Vec<_>>())
    }
}

/// The kinds of tiles that slides were cut into.
fn kinds_in(slides: &[SlideReport]) -> Vec<CutKind> {
    let has =
        |slide: &SlideReport, kind: CutKind| slide.tiles.iter().any(|tiles| tiles.kind == kind.prefix());
    CutKind::ALL.into_iter().filter(|&kind| slides.iter().any(|slide| has(slide, kind))).collect()
}

/// Numbers of some slides in the order of the columns.
fn cells(slides: &[SlideReport], kinds: &[CutKind]) -> Vec<String> {
    let sum = |of: &dyn Fn(&SlideReport) -> u64| slides.iter().map(of).sum::<u64>();
    let n_positive = sum(&|slide| slide.n_positive_px);
    let percent = 100.0 * n_positive as f64 / sum(&|slide| slide.size.area()).max(1) as f64;
    let mut cells = vec![grouped(sum(&|slide| slide.n_objects as u64))];
    cells.extend(kinds.iter().map(|&kind| grouped(sum(&|slide| slide.n_kept(kind) as u64))));
    cells.push(grouped(sum(&|slide| slide.n_skipped() as u64)));
    cells.push(grouped(n_positive));
    cells.push(format!("{percent:.2} %"));
    cells.push(grouped(sum(&|slide| slide.n_up_to_date() as u64)));
    cells
}

/// Rows in columns, the first to the left and the others to the right.
fn write_table(f: &mut std::fmt::Formatter<'_>, rows: &[Vec<String>]) -> std::fmt::Result {
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths = (0..n_columns).map(width).collect::<Vec<_>>();
    for (idx, row) in rows.iter().enumerate() {
        if idx > 0 {
            f.write_str("\n")?;
        }
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            match column {
                0 => write!(f, "{cell:width$}")?,
                _ => write!(f, "  {cell:>width$}")?,
            }
        }
    }
    Ok(())
}

/// Digits in groups of three, such as `9,532,241`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

const fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}
