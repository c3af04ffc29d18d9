//! The values of one head of attention, as probabilities meet them: summed over features, key by key, and in groups of keys.

use std::ops::Range;

use super::lines::{Line, width_of};
use super::meeting::Second;
use crate::kernels::count::{CodeMap, GROUP_SIZES};

/// Keys of a group.
const GROUP: usize = GROUP_SIZES[0];

/// Sums over the features of the values of one head.
pub(super) struct HeadValues {
    map: CodeMap,
    keys: usize,
    /// `[feature][key]`.
    codes: Vec<i32>,
    /// Of each key.
    of_key: Vec<Second>,
    /// Of each group of all keys: its widths, and how many of these are 0.
    groups: Vec<[u64; 2]>,
}

/// The parts of `keys` that are in one aligned group each.
pub(super) fn groups_of(keys: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let first = keys.start / GROUP;
    let group = move |group: usize| (group * GROUP).max(keys.start)..((group + 1) * GROUP).min(keys.end);
    (first..).map(group).take_while(|group| !group.is_empty())
}

impl HeadValues {
    /// Of no feature yet.
    pub(super) fn new(keys: usize, map: CodeMap) -> Self {
        let (of_key, groups) = (vec![Second::default(); keys], vec![[0; 2]; keys.div_ceil(GROUP)]);
        Self { map, keys, codes: Vec::new(), of_key, groups }
    }

    /// Adds the values of one feature, key by key.
    pub(super) fn add(&mut self, line: &Line) {
        self.codes.extend(line.codes());
        for (key, value) in line.values().iter().enumerate() {
            self.of_key[key] = self.of_key[key].plus(Second::of(value));
            if key.is_multiple_of(GROUP) {
                let [width, zeros] = &mut self.groups[key / GROUP];
                (*width, *zeros) = (*width + value.groups[0], *zeros + value.zeros[0]);
            }
        }
    }

    /// Sums over the keys before each, and over all keys.
    pub(super) fn running(&self) -> Vec<Second> {
        let mut running = vec![Second::default()];
        self.of_key.iter().for_each(|of| running.push(running[running.len() - 1].plus(*of)));
        running
    }

    /// Sums over the keys before `keys` that are not `visible`.
    pub(super) fn masked(&self, running: &[Second], visible: Range<usize>, keys: usize) -> Second {
        let masked = running[keys].minus(running[visible.end].minus(running[visible.start]));
        let cut = keys / GROUP * GROUP;
        if keys == self.keys || visible.start <= cut {
            return masked;
        }
        // The group that the keys end in holds fewer than that of all keys.
        let of_groups = |of: Second| Second { g16: of.g16, g16_zero: of.g16_zero, ..Second::default() };
        let [g16, g16_zero] = self.group(cut..keys).map(|sum| (visible.start - cut) as u64 * sum);
        let of_fewer = Second { g16, g16_zero, ..Second::default() };
        masked.plus(of_fewer).minus(of_groups(running[visible.start].minus(running[cut])))
    }

    /// Sums over features of the widths of the group that the values of `keys` are, and how many are all zero.
    pub(super) fn group(&self, keys: Range<usize>) -> [u64; 2] {
        let group = keys.start / GROUP;
        if keys == (group * GROUP..((group + 1) * GROUP).min(self.keys)) {
            return self.groups[group];
        }
        let features = self.codes.chunks_exact(self.keys.max(1));
        let widths = features.map(|codes| width_of(codes[keys.clone()].iter().copied(), self.map));
        widths.fold([0, 0], |[sum, zeros], width| [sum + width, zeros + u64::from(width == 0)])
    }
}
