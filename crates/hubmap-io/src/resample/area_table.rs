//! Which input samples an output sample covers, and by how much.

/// For each output sample of one axis, the input samples under it and their weights, which add up to 1.
pub(super) struct AreaTable {
    entries: Vec<(usize, f32)>,
    /// Where the entries of each output sample start.
    first: Vec<usize>,
}

impl AreaTable {
    /// The table of OpenCV's `computeResizeAreaTab` (`modules/imgproc/src/resize.cpp`), for `n_out <= n_in`.
    pub(super) fn new(n_in: usize, n_out: usize) -> Self {
        /// Slivers thinner than this are left out.
        const SLIVER: f64 = 1e-3;
        let scale = n_in as f64 / n_out as f64;
        let mut entries = Vec::new();
        let mut first = vec![0];
        for i in 0..n_out {
            let start = i as f64 * scale;
            let end = start + scale;
            let cell = scale.min(n_in as f64 - start);
            let last_whole = (end.floor() as usize).min(n_in - 1);
            let first_whole = (start.ceil() as usize).min(last_whole);
            if first_whole as f64 - start > SLIVER {
                entries.push((first_whole - 1, ((first_whole as f64 - start) / cell) as f32));
            }
            entries.extend((first_whole..last_whole).map(|j| (j, (1.0 / cell) as f32)));
            if end - last_whole as f64 > SLIVER {
                let part = (end - last_whole as f64).min(1.0).min(cell);
                entries.push((last_whole, (part / cell) as f32));
            }
            first.push(entries.len());
        }
        Self { entries, first }
    }

    /// Input samples and weights of output sample `i`.
    pub(super) fn of(&self, i: usize) -> &[(usize, f32)] {
        &self.entries[self.first[i]..self.first[i + 1]]
    }
}
