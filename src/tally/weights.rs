//! Counts of the operand that stays: once a layer, not once an input.

use super::{LayerShape, RecurrentSums};
use crate::kernels::Isa;
use crate::kernels::count::sequence::Buckets;
use crate::kernels::count::{CodeMap, Encoder, FilterSums, GROUP_SIZES, MAX_WIDTH, ValueSums};

/// Sums over the filters that meet an input channel at one tap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TapSums {
    /// Non-zero codes.
    pub nonzero: u64,
    /// Widths of values.
    pub width: u64,
    /// Terms of the chosen encoder.
    pub terms: u64,
    /// Widths of the groups of 16 that hold the values.
    pub g16: u64,
    /// Values whose group of 16 is all zero.
    pub g16_zero: u64,
}

/// Counts of one layer's weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightSums {
    /// `[channel][R][S]`: sums over the filters of the channel's group.
    pub taps: Vec<TapSums>,
    /// Non-zero codes of each filter.
    pub filter_nonzeros: Vec<u64>,
    /// The values, wherever they stand.
    pub values: ValueSums,
}

impl WeightSums {
    /// Counts `weight`, `[K, C/groups, R, S]` as `shape` says.
    ///
    /// A group of 16 is 16 consecutive input channels of one filter at one tap, of 64 (256) those at 4 (16) consecutive
    /// columns; of a fully connected layer, consecutive features of one output.
    ///
    /// # Panics
    /// If there is not one weight for each place.
    pub fn count(isa: Isa, shape: &LayerShape, weight: &[f32], map: CodeMap, encoder: Encoder) -> Self {
        let [filters, inputs, rows, columns] = shape.weight;
        let taps = rows * columns;
        assert_eq!(weight.len(), filters * inputs * taps, "a weight for each place");
        let mut sums = Self {
            taps: Vec::with_capacity(shape.channels() * taps),
            filter_nonzeros: Vec::with_capacity(filters),
            values: ValueSums::new(map.codes()),
        };
        // Filters that meet the same channels stand side by side.
        for filters in weight.chunks((shape.filters() * inputs * taps).max(1)) {
            let mut same = FilterSums::new(inputs, taps, map, encoder);
            for filter in filters.chunks(inputs * taps) {
                sums.filter_nonzeros.push(same.add(isa, filter, &mut sums.values));
                // `[channel group][R][S]`
                let groups: Vec<(u16, bool)> = same.groups().collect();
                for r in 0..rows {
                    let row = groups.chunks_exact(taps).flat_map(|group| &group[r * columns..][..columns]);
                    let row: Vec<(u16, bool)> = row.copied().collect();
                    sums.values.add_groups(&row, if shape.features { row.len() } else { columns });
                }
            }
            let tap = |i: usize| {
                let group = i / taps / GROUP_SIZES[0] * taps + i % taps;
                TapSums {
                    nonzero: same.nonzero[i].into(),
                    width: same.width[i].into(),
                    terms: same.terms[i].into(),
                    g16: same.g16[group].into(),
                    g16_zero: same.g16_zero[group].into(),
                }
            };
            sums.taps.extend((0..inputs * taps).map(tap));
        }
        sums
    }
}

impl RecurrentSums {
    /// Counts the gates of `weight`, `[4·H, C]` as `shape` says; no step yet.
    pub fn count(isa: Isa, shape: &LayerShape, weight: &[f32], map: CodeMap, encoder: Encoder) -> Self {
        let gate = Self::gate(shape);
        let parts = weight.chunks((weight.len() / 4).max(1));
        let gates = parts.map(|part| WeightSums::count(isa, &gate, part, map, encoder));
        Self { gates: gates.collect(), buckets: Buckets::default(), steps: Vec::new() }
    }
}

impl ValueSums {
    /// Adds groups of 16, given as bits and sign, and the wider ones made of 4 and 16 neighbours within each `row`.
    fn add_groups(&mut self, groups: &[(u16, bool)], row: usize) {
        for (size, members) in [1, 4, 16].into_iter().enumerate() {
            for group in groups.chunks(row).flat_map(|row| row.chunks(members)) {
                let most = group.iter().map(|group| group.0).max().unwrap_or(0);
                let width = usize::from(most) + usize::from(group.iter().any(|group| group.1));
                self.group_widths[size][width.min(MAX_WIDTH)] += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kernels::count::{Classes, Grouping, count_reference};

    #[test]
    fn values_are_counted_as_value_by_value_on_every_level() {
        let value = |i: usize| match i.wrapping_mul(2_654_435_761) >> 7 & 0xffff {
            mixed if mixed % 3 == 0 => 0.0,
            mixed => (mixed as f32 / 32768.0 - 1.0) * 2f32.powi(-((mixed & 7) as i32)),
        };
        for (weight, features) in [
            ([7, 37, 3, 5], false),
            ([5, 16, 1, 1], false),
            ([6, 1, 5, 21], false),
            ([3, 600, 1, 1], true),
            ([2, 13, 1, 1], true),
        ] {
            let [filters, inputs, rows, columns] = weight;
            let values: Vec<f32> = (0..filters * inputs * rows * columns).map(value).collect();
            // All positions are of one class.
            let axis = |size: usize| if features { Classes::single() } else { Classes::new(size, size, 1, 1, 0, 1) };
            let classes = Arc::new([axis(rows), axis(columns)]);
            let linear = LayerShape::linear([inputs, 1, 1], filters);
            let shape = LayerShape { weight, features, ..linear };
            let grouping = if features { Grouping::Features } else { Grouping::Channels };
            for (encoder, map) in Encoder::ALL.into_iter().flat_map(|encoder| {
                // A scale at which some saturate, and bytes.
                [(29_000.0, -32_767, 32_767), (100.0, -127, 127)]
                    .map(|(scale, lo, hi)| (encoder, CodeMap { scale: scale * 1.2, lo, hi }))
            }) {
                let want = count_reference(map, encoder, grouping, &classes, weight, &values);
                let counted =
                    Isa::available().into_iter().map(|isa| WeightSums::count(isa, &shape, &values, map, encoder));
                let counted: Vec<WeightSums> = counted.collect();
                assert!(counted[0].values == want.values, "{weight:?} {}", encoder.name());
                assert!(counted.iter().all(|sums| *sums == counted[0]), "{weight:?} {}", encoder.name());
                let nonzeros: u64 = counted[0].filter_nonzeros.iter().sum();
                assert_eq!(nonzeros, counted[0].taps.iter().map(|tap| tap.nonzero).sum::<u64>());
            }
        }
    }
}
