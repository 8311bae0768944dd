//! Masks as runs of set pixels in columns, the form in which neighbours are easy to find.

use hubmap_io::Rle;

/// The set pixels `y0..y1` of column `x`; the pixels above and below are not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ColumnRun {
    pub(super) x: u32,
    pub(super) y0: u32,
    pub(super) y1: u32,
}

/// The runs of a mask of `height` rows, cut where they go on in the next column.
pub(super) fn column_runs(rle: &Rle, height: u32) -> Vec<ColumnRun> {
    let height = u64::from(height.max(1));
    let mut columns = Vec::with_capacity(rle.runs().len());
    for run in rle.runs() {
        let (mut pixel, end) = (run.start - 1, run.last());
        while pixel < end {
            let (x, y0) = (pixel / height, pixel % height);
            let y1 = (y0 + (end - pixel)).min(height);
            columns.push(ColumnRun { x: x as u32, y0: y0 as u32, y1: y1 as u32 });
            pixel += y1 - y0;
        }
    }
    columns
}

/// Calls `shared(i, j, n_px)` for every run of `a` and every run of `b` that have pixels in common.
pub(super) fn for_shared(a: &[ColumnRun], b: &[ColumnRun], mut shared: impl FnMut(usize, usize, u32)) {
    let (mut i, mut j) = (0, 0);
    while let (Some(run_a), Some(run_b)) = (a.get(i), b.get(j)) {
        if run_a.x == run_b.x {
            let n_px = run_a.y1.min(run_b.y1).saturating_sub(run_a.y0.max(run_b.y0));
            if n_px > 0 {
                shared(i, j, n_px);
            }
        }
        if (run_a.x, run_a.y1) < (run_b.x, run_b.y1) {
            i += 1;
        } else {
            j += 1;
        }
    }
}
