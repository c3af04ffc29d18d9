//! Which figures of a comparison are shown, and in which order.

use std::cmp::Reverse;

use clap::ValueEnum;

use super::{Comparison, Row, Verdict};

/// The order of figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// The network, then layers by their largest change, noise behind all else
    #[default]
    Change,
    /// The network, then layers in the order of the base
    Order,
    /// Metric by metric: the network, then layers by the change of it
    Metric,
}

/// How large a change is: those that are noise are smaller than all others. Larger sorts later.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Size {
    is_real: bool,
    relative: f64,
}

impl Eq for Size {}

impl Ord for Size {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.is_real.cmp(&other.is_real).then(self.relative.total_cmp(&other.relative))
    }
}

impl PartialOrd for Size {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The largest change of a figure.
fn size(row: &Row) -> Option<Size> {
    let size = |change: &super::Change| Size { is_real: change.verdict == Verdict::Changed, relative: change.size() };
    row.changes.iter().map(size).max()
}

impl Comparison {
    /// Leaves out figures that did not change or whose change is noise, in all sides.
    pub fn keep_changed(&mut self) {
        let stays = |verdict: Verdict| !matches!(verdict, Verdict::Same | Verdict::Noise);
        self.rows.retain(|row| row.changes.iter().any(|change| stays(change.verdict)));
    }

    /// Leaves out figures that changed by less than `share` of the old one in all sides.
    pub fn keep_from(&mut self, share: f64) {
        self.rows.retain(|row| row.changes.iter().any(|change| change.size() >= share));
    }

    /// Puts the figures in order. Equal ones stay as they are in the base.
    pub fn sort(&mut self, by: Sort) {
        match by {
            Sort::Order => {}
            Sort::Metric => self.rows.sort_by_key(|row| (row.column, row.index.is_some(), Reverse(size(row)))),
            Sort::Change => {
                let layers = self.rows.iter().filter_map(|row| row.index).max().map_or(0, |last| last + 1);
                let mut largest = vec![None; layers];
                for row in &self.rows {
                    if let Some(index) = row.index {
                        largest[index] = largest[index].max(size(row));
                    }
                }
                // Those of a layer stay together.
                self.rows.sort_by_key(|row| row.index.map(|index| (Reverse(largest[index]), index)));
            }
        }
    }
}
