//! Counts of weights: made once a layer, not once an input.

use super::{ExtraSums, LayerShape, RecurrentSums};
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

/// What the codes of one filter add up to, where filters have scales of their own: what the real values' moments are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilterCodes {
    /// The bits of its scale, an f32.
    pub scale: u32,
    /// Sum of its codes.
    pub sum: i64,
    /// Sum of their squares.
    pub squares: u64,
}

/// Counts of one layer's weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightSums {
    /// `[channel][R][S]`: sums over the filters of the channel's group.
    pub taps: Vec<TapSums>,
    /// Non-zero codes of each filter.
    pub filter_nonzeros: Vec<u64>,
    /// Codes of each filter, where filters have scales of their own; else nothing.
    pub filter_codes: Vec<FilterCodes>,
    /// The values, wherever they stand.
    pub values: ValueSums,
    /// On-demand counts; none of a gate.
    pub extra: ExtraSums,
}

impl WeightSums {
    /// Counts `weight`, `[K, C/groups, R, S]` as `shape` says, in the codes of one of `maps`, or of one for each filter.
    ///
    /// A group of 16 is 16 consecutive input channels of one filter at one tap, of 64 (256) those at 4 (16) consecutive
    /// columns; of a fully connected layer, consecutive features of one output.
    ///
    /// # Panics
    /// If there is not one weight for each place, or not one map or one for each filter of the same codes.
    pub fn count(isa: Isa, shape: &LayerShape, weight: &[f32], maps: &[CodeMap], encoder: Encoder) -> Self {
        let mut sums = Self::without_codes(isa, shape, weight, maps, encoder);
        sums.values.codes = code_counts(weight, maps);
        sums
    }

    /// [`WeightSums::count`], except how often each code is seen: [`code_counts`].
    ///
    /// # Panics
    /// As [`WeightSums::count`].
    pub fn without_codes(isa: Isa, shape: &LayerShape, weight: &[f32], maps: &[CodeMap], encoder: Encoder) -> Self {
        let [filters, inputs, rows, columns] = shape.weight;
        let taps = rows * columns;
        assert_eq!(weight.len(), filters * inputs * taps, "a weight for each place");
        assert!([1, filters].contains(&maps.len()), "a map, or one for each filter");
        let codes = |map: &CodeMap| (map.lo, map.hi, map.float);
        assert!(maps.iter().all(|map| codes(map) == codes(&maps[0])), "scales alone differ");
        let mut map_of = maps.iter().cycle();
        let mut sums = Self {
            taps: Vec::with_capacity(shape.channels() * taps),
            filter_nonzeros: Vec::with_capacity(filters),
            filter_codes: Vec::new(),
            values: ValueSums::new(0),
            extra: ExtraSums::default(),
        };
        // Filters that meet the same channels stand side by side.
        for filters in weight.chunks((shape.filters() * inputs * taps).max(1)) {
            let mut same = FilterSums::new(inputs, taps, encoder);
            for filter in filters.chunks(inputs * taps) {
                let map = *map_of.next().expect("maps without end");
                sums.filter_nonzeros.push(same.add(isa, filter, map, &mut sums.values));
                if maps.len() > 1 {
                    sums.filter_codes.push(FilterCodes::of(filter, map));
                }
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

/// How often each code of `weight` is seen, whose filters are coded by one of `maps`, or by one each.
pub fn code_counts(weight: &[f32], maps: &[CodeMap]) -> Vec<u64> {
    let mut counts = vec![0; maps[0].codes()];
    for (filter, map) in weight.chunks(weight.len().div_ceil(maps.len()).max(1)).zip(maps) {
        filter.iter().for_each(|&x| counts[(map.code(x) - map.lo) as usize] += 1);
    }
    counts
}

impl FilterCodes {
    fn of(filter: &[f32], map: CodeMap) -> Self {
        let none = Self { scale: map.scale.to_bits(), ..Self::default() };
        filter.iter().fold(none, |sums, &x| {
            let code = i64::from(map.code(x));
            Self { sum: sums.sum + code, squares: sums.squares + code.unsigned_abs().pow(2), ..sums }
        })
    }
}

/// The weights of each of `gates` gates, `[H, C]` of `[G·H, C]`, with their maps: one for all, or one a row.
fn gates_of<'a>(
    weight: &'a [f32],
    maps: &'a [CodeMap],
    gates: usize,
) -> impl Iterator<Item = (&'a [f32], &'a [CodeMap])> {
    let maps = maps.chunks(maps.len().div_ceil(gates)).cycle();
    weight.chunks((weight.len() / gates).max(1)).zip(maps)
}

impl RecurrentSums {
    /// Counts the `gates` gates of `weight`, `[G·H, C]` as `shape` says, as [`WeightSums::without_codes`] does; no step yet.
    pub fn without_codes(
        isa: Isa,
        (shape, gates): (&LayerShape, usize),
        weight: &[f32],
        maps: &[CodeMap],
        encoder: Encoder,
    ) -> Self {
        let gate = Self::gate(shape, gates);
        let gates = gates_of(weight, maps, gates);
        let gates = gates.map(|(part, maps)| WeightSums::without_codes(isa, &gate, part, maps, encoder));
        Self { gates: gates.collect(), buckets: Buckets::default(), steps: Vec::new() }
    }

    /// [`code_counts`] of each of `gates` gates.
    pub fn code_counts(weight: &[f32], maps: &[CodeMap], gates: usize) -> Vec<Vec<u64>> {
        gates_of(weight, maps, gates).map(|(part, maps)| code_counts(part, maps)).collect()
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
    use crate::kernels::FLOAT_TYPES;
    use crate::kernels::count::{Classes, Grouping, count_reference};

    #[test]
    fn filters_of_scales_of_their_own_add_up_to_what_each_alone_is() {
        let value = |i: usize| (i * 37 % 101) as f32 / 50.0 - 1.0;
        let [filters, inputs, taps] = [6, 21, 4];
        let weights: Vec<f32> = (0..filters * inputs * taps).map(value).collect();
        let maps: Vec<CodeMap> = (1..=filters).map(|filter| CodeMap::linear(30.0 * filter as f32, -127, 127)).collect();
        let linear = LayerShape::linear([inputs, 1, 1], filters);
        let shape = LayerShape { weight: [filters, inputs, 2, 2], features: false, ..linear };
        let isa = Isa::best();
        let sums = WeightSums::count(isa, &shape, &weights, &maps, Encoder::Naf);
        let (mut values, mut taps_of_all) = (ValueSums::new(255), vec![TapSums::default(); inputs * taps]);
        for (index, (filter, map)) in weights.chunks(inputs * taps).zip(&maps).enumerate() {
            let one = LayerShape { weight: [1, inputs, 2, 2], ..shape.clone() };
            let alone = WeightSums::count(isa, &one, filter, &[*map], Encoder::Naf);
            values.merge(&alone.values);
            for (all, tap) in taps_of_all.iter_mut().zip(&alone.taps) {
                *all = TapSums {
                    nonzero: all.nonzero + tap.nonzero,
                    width: all.width + tap.width,
                    terms: all.terms + tap.terms,
                    g16: all.g16 + tap.g16,
                    g16_zero: all.g16_zero + tap.g16_zero,
                };
            }
            let codes = filter.iter().map(|x| i64::from(map.code(*x)));
            let (sum, squares) = codes.fold((0, 0), |(sum, squares), code| (sum + code, squares + code * code));
            let want = FilterCodes { scale: map.scale.to_bits(), sum, squares: squares as u64 };
            assert_eq!((sums.filter_codes[index], sums.filter_nonzeros[index]), (want, alone.filter_nonzeros[0]));
            assert!(alone.filter_codes.is_empty());
        }
        assert!(sums.values == values && sums.taps == taps_of_all);
        assert!(sums.values.saturated > 0);
    }

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
            // A scale at which some saturate, and bytes; floats, some of them too large.
            let integers = [(29_000.0, -32_767, 32_767), (100.0, -127, 127)];
            let integers = integers.map(|(scale, lo, hi)| CodeMap::linear(scale * 1.2, lo, hi));
            let maps = integers.into_iter().chain(FLOAT_TYPES.map(|of| CodeMap::float(60_000.0, of)));
            for (encoder, map) in maps.flat_map(|map| Encoder::ALL.map(|encoder| (encoder, map))) {
                let want = count_reference(map, encoder, grouping, &classes, weight, &values);
                let counted =
                    Isa::available().into_iter().map(|isa| WeightSums::count(isa, &shape, &values, &[map], encoder));
                let counted: Vec<WeightSums> = counted.collect();
                assert!(counted[0].values == want.values, "{weight:?} {}", encoder.name());
                assert!(counted.iter().all(|sums| *sums == counted[0]), "{weight:?} {}", encoder.name());
                let nonzeros: u64 = counted[0].filter_nonzeros.iter().sum();
                assert_eq!(nonzeros, counted[0].taps.iter().map(|tap| tap.nonzero).sum::<u64>());
            }
        }
    }
}
