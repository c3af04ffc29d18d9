//! Counts of the operand that stays: once a layer, not once an input.

use super::{LayerShape, RecurrentSums};
use crate::kernels::count::{CodeMap, Encoder, MAX_WIDTH, ValueSums, bits, width};

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
    pub fn count(shape: &LayerShape, weight: &[f32], map: CodeMap, encoder: Encoder) -> Self {
        let [filters, inputs, rows, columns] = shape.weight;
        let mut sums = Self {
            taps: vec![TapSums::default(); shape.channels() * rows * columns],
            filter_nonzeros: vec![0; filters],
            values: ValueSums::new(map.codes()),
        };
        let at = |filter: usize, input: usize, r: usize, s: usize| ((filter * inputs + input) * rows + r) * columns + s;
        for filter in 0..filters {
            let first_channel = filter / shape.filters() * inputs;
            for r in 0..rows {
                // Bits and sign of each group of 16, `[channel group][column]`, which the wider groups are made of.
                let mut groups = vec![(0, false); inputs.div_ceil(16) * columns];
                for s in 0..columns {
                    for (group, start) in (0..inputs).step_by(16).enumerate() {
                        let members = start..(start + 16).min(inputs);
                        let codes = members.clone().map(|input| map.code(weight[at(filter, input, r, s)]));
                        let (most, negative) = codes.fold((0, false), |(most, negative), code| {
                            (most.max(bits(code.unsigned_abs() as u16)), negative || code < 0)
                        });
                        groups[group * columns + s] = (most, negative);
                        let g16 = u64::from(most) + u64::from(negative);
                        for input in members {
                            let x = weight[at(filter, input, r, s)];
                            let code = map.code(x);
                            let tap = &mut sums.taps[((first_channel + input) * rows + r) * columns + s];
                            tap.nonzero += u64::from(code != 0);
                            tap.width += u64::from(width(code));
                            tap.terms += u64::from(encoder.terms(code.unsigned_abs() as u16));
                            tap.g16 += g16;
                            tap.g16_zero += u64::from(g16 == 0);
                            sums.filter_nonzeros[filter] += u64::from(code != 0);
                            sums.values.add(map, x);
                        }
                    }
                }
                sums.values.add_groups(&groups, if shape.features { groups.len() } else { columns });
            }
        }
        sums
    }
}

impl RecurrentSums {
    /// Counts the gates of `weight`, `[4·H, C]` as `shape` says; no step yet.
    pub fn count(shape: &LayerShape, weight: &[f32], map: CodeMap, encoder: Encoder) -> Self {
        let gate = Self::gate(shape);
        let gates = weight.chunks((weight.len() / 4).max(1)).map(|part| WeightSums::count(&gate, part, map, encoder));
        Self { gates: gates.collect(), steps: Vec::new() }
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
