//! Components of runs that are connected through the sides of their pixels, row by row.

use hubmap_io::RowRun;

use super::runs::MeasuredRun;

/// The pixels of a component that no later row can add to.
#[derive(Debug, PartialEq)]
pub(super) struct Component {
    /// Sorted.
    pub(super) runs: Vec<RowRun>,
    pub(super) n_pixels: u64,
    pub(super) probability_sum: f64,
}

/// What is known of a component, or where it went.
#[derive(Debug, Clone, Default)]
struct Slot {
    /// Itself, or a slot that took it over.
    parent: u32,
    first_row: u32,
    last_row: u32,
    n_pixels: u64,
    probability_sum: f64,
    runs: Vec<RowRun>,
}

/// A run of the last row and the slot of its component.
#[derive(Debug, Clone, Copy)]
struct FrontierRun {
    x0: u32,
    x1: u32,
    slot: u32,
}

/// Finds the components of rows that come from top to bottom.
///
/// Memory holds the runs of open components: those with a run in the last row.
#[derive(Debug, Default)]
pub(super) struct Labeller {
    slots: Vec<Slot>,
    free: Vec<u32>,
    frontier: Vec<FrontierRun>,
    /// Kept for its capacity.
    next_frontier: Vec<FrontierRun>,
    /// Slots whose component has ended or was taken over in the current row.
    retired: Vec<u32>,
}

impl Labeller {
    /// Takes the runs of row `y`, the one after the last, and hands out what has ended above it.
    pub(super) fn push_row(&mut self, y: u32, runs: &[MeasuredRun], mut ended: impl FnMut(Component)) {
        if runs.is_empty() && self.frontier.is_empty() {
            return;
        }
        let mut next = std::mem::take(&mut self.next_frontier);
        let mut above = 0;
        for run in runs {
            while self.frontier.get(above).is_some_and(|frontier| frontier.x1 <= run.x0) {
                above += 1;
            }
            // The last of the runs above may touch the next run as well.
            let mut slot = None;
            for i in above..self.frontier.len() {
                let FrontierRun { x0, slot: other, .. } = self.frontier[i];
                if x0 >= run.x1 {
                    break;
                }
                let other = self.root(other);
                slot = Some(slot.map_or(other, |slot| self.join(slot, other)));
            }
            let slot = slot.unwrap_or_else(|| self.new_slot(y));
            self.extend(slot, y, run);
            next.push(FrontierRun { x0: run.x0, x1: run.x1, slot });
        }
        for i in 0..self.frontier.len() {
            let root = self.root(self.frontier[i].slot);
            let slot = &mut self.slots[root as usize];
            if slot.last_row != y && slot.n_pixels > 0 {
                let mut runs = std::mem::take(&mut slot.runs);
                // Sorted parts were appended to each other: this sort finds and merges them.
                runs.sort();
                let n_pixels = std::mem::take(&mut slot.n_pixels);
                ended(Component { runs, n_pixels, probability_sum: slot.probability_sum });
                self.retired.push(root);
            }
        }
        for run in &mut next {
            run.slot = self.root(run.slot);
        }
        // Nothing points to these any more.
        self.free.append(&mut self.retired);
        self.next_frontier = std::mem::replace(&mut self.frontier, next);
        self.next_frontier.clear();
    }

    /// First row of the open component that starts highest, if there is one.
    pub(super) fn first_open_row(&self) -> Option<u32> {
        self.frontier.iter().map(|run| self.slots[run.slot as usize].first_row).min()
    }

    fn new_slot(&mut self, y: u32) -> u32 {
        let idx = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        self.slots[idx as usize] = Slot { parent: idx, first_row: y, last_row: y, ..Slot::default() };
        idx
    }

    fn extend(&mut self, slot: u32, y: u32, run: &MeasuredRun) {
        debug_assert!(run.x0 < run.x1, "a run has pixels");
        let slot = &mut self.slots[slot as usize];
        slot.last_row = y;
        slot.n_pixels += u64::from(run.x1 - run.x0);
        slot.probability_sum += run.probability_sum;
        slot.runs.push(RowRun { y, x0: run.x0, x1: run.x1 });
    }

    /// Joins two components and returns the slot of both.
    fn join(&mut self, a: u32, b: u32) -> u32 {
        if a == b {
            return a;
        }
        // The shorter list moves, so that a run moves no more often than the logarithm of their number.
        let longer = self.slots[a as usize].runs.len() >= self.slots[b as usize].runs.len();
        let (kept, gone) = if longer { (a, b) } else { (b, a) };
        let taken = std::mem::take(&mut self.slots[gone as usize]);
        self.slots[gone as usize].parent = kept;
        self.retired.push(gone);
        let slot = &mut self.slots[kept as usize];
        slot.first_row = slot.first_row.min(taken.first_row);
        slot.last_row = slot.last_row.max(taken.last_row);
        slot.n_pixels += taken.n_pixels;
        slot.probability_sum += taken.probability_sum;
        slot.runs.extend(taken.runs);
        kept
    }

    fn root(&mut self, mut slot: u32) -> u32 {
        while self.slots[slot as usize].parent != slot {
            let grandparent = self.slots[self.slots[slot as usize].parent as usize].parent;
            self.slots[slot as usize].parent = grandparent;
            slot = grandparent;
        }
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The components of rows of text, in which `#` is set, in the order in which they end.
    fn components(rows: &[&str]) -> Vec<Component> {
        let (mut labeller, mut found) = (Labeller::default(), Vec::new());
        for (y, row) in (0..).zip(rows.iter().chain([&""])) {
            let mut runs: Vec<MeasuredRun> = Vec::new();
            for (x, _) in (0..).zip(row.chars()).filter(|(_, c)| *c == '#') {
                match runs.last_mut().filter(|run| run.x1 == x) {
                    Some(run) => run.x1 += 1,
                    None => runs.push(MeasuredRun { x0: x, x1: x + 1, probability_sum: 1.0 }),
                }
            }
            labeller.push_row(y, &runs, |component| found.push(component));
        }
        assert_eq!(labeller.first_open_row(), None);
        assert_eq!(labeller.free.len(), labeller.slots.len(), "every slot is free again");
        found
    }

    fn run(y: u32, x0: u32, x1: u32) -> RowRun {
        RowRun { y, x0, x1 }
    }

    #[test]
    fn arms_that_meet_late_are_one_component() {
        let found = components(&["#.#.#", "#.#.#", "#.###", "###.#"]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].n_pixels, found[0].probability_sum), (14, 10.0));
        let rows: Vec<u32> = found[0].runs.iter().map(|run| run.y).collect();
        assert_eq!(rows, [0, 0, 0, 1, 1, 1, 2, 2, 3, 3]);
        assert!(found[0].runs.is_sorted());
    }

    #[test]
    fn corners_do_not_connect_and_components_end_when_they_do() {
        let found = components(&["##..", "..#.", ".#..", "...#"]);
        let runs: Vec<_> = found.into_iter().flat_map(|component| component.runs).collect();
        assert_eq!(runs, [run(0, 0, 2), run(1, 2, 3), run(2, 1, 2), run(3, 3, 4)]);
    }

    #[test]
    fn slots_are_used_again() {
        let mut labeller = Labeller::default();
        for y in 0..1000 {
            let x0 = y % 2 * 5;
            labeller.push_row(y, &[MeasuredRun { x0, x1: x0 + 2, probability_sum: 1.0 }], |_| {});
        }
        assert!(labeller.slots.len() <= 2, "{} slots", labeller.slots.len());
    }
}
