//! The values of one head of attention, as probabilities meet them: summed over features, key by key, and in groups of keys.

use std::ops::Range;

use super::meeting::Second;
use crate::kernels::count::{Counted, GROUP_SIZES, Line, LineCoding, PositionSums, ValueSums, count_lines};
use crate::kernels::{Isa, LANES};

/// Keys of a group.
const GROUP: usize = GROUP_SIZES[0];

/// Sums over the features of the values of one head.
pub(super) struct HeadValues<'a> {
    isa: Isa,
    coding: LineCoding,
    /// `[feature][step]`, of which the first `keys` are counted.
    values: &'a [f32],
    steps: usize,
    keys: usize,
    /// Over all features, sixteen keys each.
    of_keys: &'a [PositionSums],
    /// Sums over the keys before each, and over all keys.
    running: Vec<Second>,
}

impl<'a> HeadValues<'a> {
    /// Of `keys` keys, which add up to `of_keys`, of `values`, `[feature][step]` of `steps` steps.
    pub(super) fn new(
        isa: Isa,
        coding: LineCoding,
        (values, steps): (&'a [f32], usize),
        (of_keys, keys): (&'a [PositionSums], usize),
    ) -> Self {
        let mut running = vec![Second::default()];
        for key in 0..keys {
            running.push(running[key].plus(Second::of(&of_keys[key / LANES], key % LANES)));
        }
        Self { isa, coding, values, steps, keys, of_keys, running }
    }

    /// Sums over the keys before `keys` that are not `visible`.
    pub(super) fn masked(&self, visible: Range<usize>, keys: usize) -> Second {
        let running = &self.running;
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

    /// Sums over `keys` and over features of the widths of the groups that hold these keys alone, and how many are all zero.
    pub(super) fn groups(&self, keys: Range<usize>) -> [u64; 2] {
        let is_end = |key: usize| key.is_multiple_of(GROUP) || key == self.keys;
        // Whole groups are those of all keys.
        let start = if is_end(keys.start) { keys.start } else { keys.start.next_multiple_of(GROUP).min(keys.end) };
        let end = if is_end(keys.end) { keys.end } else { (keys.end / GROUP * GROUP).max(start) };
        let whole = self.running[end].minus(self.running[start]);
        let mut sums = [whole.g16, whole.g16_zero];
        for part in [keys.start..start, end..keys.end].into_iter().filter(|part| !part.is_empty()) {
            let of_group = self.group(part.clone());
            sums.iter_mut().zip(of_group).for_each(|(sum, of)| *sum += part.len() as u64 * of);
        }
        sums
    }

    /// Sums over features of the widths of the group that the values of `keys` are, and how many are all zero.
    fn group(&self, keys: Range<usize>) -> [u64; 2] {
        let group = keys.start / GROUP;
        if keys == (group * GROUP..((group + 1) * GROUP).min(self.keys)) {
            let of = Second::of(&self.of_keys[group], 0);
            return [of.g16, of.g16_zero];
        }
        let at = keys.start % GROUP..keys.start % GROUP + keys.len();
        let line = |values: &'a [f32]| Line { x: &values[keys.clone()], at: at.clone() };
        let lines: Vec<Line<'_>> = self.values.chunks_exact(self.steps).map(line).collect();
        let (mut values, mut positions) = (ValueSums::new(0), [PositionSums::default()]);
        let nonzeros = &mut vec![0; lines.len()];
        let mut to = Counted { values: &mut values, codes: None, positions: &mut positions, nonzeros };
        count_lines(self.isa, self.coding, (&lines, LANES), &[lines.len()], &mut to);
        let of = Second::of(&positions[0], at.start);
        [of.g16, of.g16_zero]
    }
}
