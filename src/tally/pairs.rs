//! Counts of products of two activations. Sums over their MACs are products of sums over one head of one input, and not of sums
//! over all: they are kept as they are.

use std::sync::Arc;

use super::{ActivationSums, ExtraSums, InputCounts, LayerShape, Products, TapSums, WeightSums};
use crate::kernels::count::{CodeMap, Counter, Detail, Encoder, InputSums, TERMS, Totals, ValueSums, WIDTH};
use crate::kernels::{Geometry, Isa};

/// How a product is counted.
#[derive(Clone, Debug)]
pub struct PairSpec {
    /// One head, as a fully connected layer whose weights are the second operand.
    pub shape: LayerShape,
    /// Heads of an input.
    pub heads: usize,
    /// The maps to codes of both operands.
    pub maps: [CodeMap; 2],
    /// The encoder of terms.
    pub encoder: Encoder,
    /// Whether terms of the first operand are counted; those of the second are.
    pub has_terms: bool,
    /// Whether codes of the first and of the second operand are counted.
    pub keeps_codes: [bool; 2],
}

/// Counts of both operands over some inputs, and their sums over MACs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairSums {
    /// Of the first operand.
    pub activations: ActivationSums,
    /// Of the second.
    pub weights: WeightSums,
    /// Over MACs.
    pub products: Products,
}

impl PairSpec {
    /// No counts yet.
    fn none(&self) -> PairSums {
        let values = |which: usize| {
            let has_terms = self.has_terms || which == 1;
            let codes = if self.keeps_codes[which] { self.maps[which].codes() } else { 0 };
            ValueSums::new(codes).with_totals(has_terms && !self.keeps_codes[which])
        };
        PairSums {
            activations: ActivationSums { values: values(0), ..ActivationSums::new(&self.shape, 0) },
            weights: WeightSums { values: values(1), ..WeightSums::none(&self.shape, 0) },
            products: Products::default(),
        }
    }

    /// Counts one input: the first operand `[heads·K, M]`, the second `[heads·K, N]`. None if one of them holds NaN or infinity.
    ///
    /// # Panics
    /// If they are of other extents.
    pub fn count(&self, isa: Isa, [a, b]: [&[f32]; 2]) -> Option<PairSums> {
        let Self { shape, heads, maps, encoder, has_terms, keeps_codes } = self;
        let [columns, inner, ..] = shape.weight;
        let rows = shape.input[2];
        assert_eq!((a.len(), b.len()), (heads * inner * rows, heads * inner * columns), "whole operands");
        if !b.iter().all(|x| x.is_finite()) {
            return None;
        }
        let geometry = Geometry::blocked(1, inner, 1, rows);
        let classes = Arc::new(shape.classes());
        let mut sums = self.none();
        let mut buffer = vec![0.0; geometry.len()];
        for (a, b) in a.chunks(inner * rows).zip(b.chunks(inner * columns)) {
            geometry.pack(a, &mut buffer);
            let detail = match (has_terms, keeps_codes[0]) {
                (false, _) => Detail::Values,
                (true, false) => Detail::Terms(*encoder),
                (true, true) => Detail::Codes(*encoder),
            };
            let mut counter = Counter::new(maps[0], detail, shape.grouping(), Arc::clone(&classes), inner);
            if !counter.count(isa, &buffer, &geometry, 0, geometry.rows(0..1), 0) {
                return None;
            }
            let mut head = self.none();
            let counted = counter.into_sums();
            head.activations.add(shape, 1, &counted);
            // A column is a filter.
            let filters: Vec<f32> = (0..columns).flat_map(|n| b.iter().skip(n).step_by(columns).copied()).collect();
            head.weights = match keeps_codes[1] {
                true => WeightSums::count(isa, shape, &filters, &maps[1..], *encoder),
                false => WeightSums::without_codes(isa, shape, &filters, &maps[1..], *encoder),
            };
            if !keeps_codes[1] {
                let codes = b.iter().map(|&x| maps[1].code(x));
                head.weights.values.totals = Some(Totals::of(codes, maps[1], *encoder));
            }
            head.products = Products::new(shape, &head.activations, &head.weights);
            sums.merge(&head);
        }
        Some(sums)
    }
}

impl PairSums {
    /// Adds the counts of other heads or inputs.
    ///
    /// # Panics
    /// If they are of another product.
    pub fn merge(&mut self, other: &Self) {
        self.activations.merge(&other.activations);
        self.weights.merge(&other.weights);
        self.products += &other.products;
    }

    /// What these are for one input.
    pub fn of_input(&self) -> InputCounts {
        let values = &self.activations.values;
        // Each value is read once by every filter.
        let sum = |which: usize| self.activations.taps.iter().map(|tap| tap[which]).sum::<u64>();
        let widths = values.group_widths.map(|groups| groups.iter().zip(0..).map(|(count, width)| count * width).sum());
        InputCounts {
            products: self.products,
            values: InputSums {
                elements: values.elements,
                nonzeros: self.activations.channel_nonzeros.iter().sum(),
                widths: sum(WIDTH),
                terms: sum(TERMS),
                natural_zeros: values.natural_zeros,
                saturated: values.saturated,
                group_widths: widths,
                groups: values.group_widths.map(|groups| groups.iter().sum()),
            },
        }
    }
}

impl WeightSums {
    /// Nothing yet, of the second operand of a product of two activations, which has `codes` codes.
    pub fn none(shape: &LayerShape, codes: usize) -> Self {
        Self {
            taps: vec![TapSums::default(); shape.channels() * shape.taps()],
            filter_nonzeros: vec![0; shape.weight[0]],
            filter_codes: Vec::new(),
            values: ValueSums::new(codes),
            extra: ExtraSums::default(),
        }
    }

    /// Adds the counts of the second operand of other heads or inputs.
    ///
    /// # Panics
    /// If they are of another product.
    pub(super) fn merge(&mut self, other: &Self) {
        assert_eq!(self.taps.len(), other.taps.len(), "sums of one product");
        for (own, other) in self.taps.iter_mut().zip(&other.taps) {
            own.nonzero += other.nonzero;
            own.width += other.width;
            own.terms += other.terms;
            own.g16 += other.g16;
            own.g16_zero += other.g16_zero;
        }
        self.filter_nonzeros.iter_mut().zip(&other.filter_nonzeros).for_each(|(own, other)| *own += other);
        self.values.merge(&other.values);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Width of a group of codes.
    fn group(codes: impl Iterator<Item = i32>) -> u128 {
        let codes: Vec<i32> = codes.collect();
        let most = codes.iter().map(|code| code.unsigned_abs()).max().unwrap_or(0);
        u128::from(u32::BITS - most.leading_zeros()) + u128::from(codes.iter().any(|code| *code < 0))
    }

    /// The sums over all MACs, one after the other, in the order of [`Products::integers`].
    fn brute_force(spec: &PairSpec, a: &[f32], b: &[f32]) -> Vec<u128> {
        let [columns, inner, ..] = spec.shape.weight;
        let rows = spec.shape.input[2];
        let codes = |x: &[f32], map: &CodeMap| x.iter().map(|&x| map.code(x)).collect::<Vec<i32>>();
        let (a, b) = (codes(a, &spec.maps[0]), codes(b, &spec.maps[1]));
        let mut all = vec![0; Products::INTEGERS];
        for head in 0..spec.heads {
            let of_a = |k: usize, m: usize| a[(head * inner + k) * rows + m];
            let of_b = |k: usize, n: usize| b[(head * inner + k) * columns + n];
            let group_of = |size: usize, k: usize| k / size * size..(k / size * size + size).min(inner);
            for (m, n, k) in (0..rows).flat_map(|m| (0..columns).flat_map(move |n| (0..inner).map(move |k| (m, n, k))))
            {
                let (a, b) = (of_a(k, m), of_b(k, n));
                let nonzero = [u128::from(a != 0), u128::from(b != 0)];
                let width = [spec.maps[0].width(a), spec.maps[1].width(b)].map(u128::from);
                let terms = [a, b].map(|code| u128::from(spec.encoder.terms(code.unsigned_abs() as u16)));
                let terms = [terms[0] * u128::from(spec.has_terms), terms[1]];
                let [g16, g64, g256] = [16, 64, 256].map(|size| group(group_of(size, k).map(|k| of_a(k, m))));
                let zero = [g16, g64, g256].map(|width| u128::from(width == 0));
                let w_g16 = group(group_of(16, k).map(|k| of_b(k, n)));
                let w_zero = u128::from(w_g16 == 0);
                let (na, nb) = (nonzero[0], nonzero[1]);
                let own = [
                    [1, 1].to_vec(),
                    vec![na],
                    vec![nb, nb],
                    vec![na * nb, width[0], g16, g64, g256, zero[0], zero[1], zero[2], terms[0]],
                    vec![width[1], width[1], w_g16, w_g16, w_zero, w_zero, terms[1], terms[1]],
                    vec![terms[0] * terms[1], g16 * nb, zero[0] * nb, g16 * na * nb, terms[0] * nb],
                ];
                all.iter_mut().zip(own.concat()).for_each(|(all, own)| *all += own);
            }
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// Every sum is that of a loop over all MACs, on every level, and inputs add.
        #[test]
        fn sums_are_those_of_a_loop_over_macs(
            (heads, inner, rows, columns) in (1usize..4, 1usize..70, 1usize..9, 1usize..9),
            has_terms: bool,
            zeros in 0u32..4,
            seed: u32,
        ) {
            let value = |i: usize| {
                let mixed = (i as u32).wrapping_add(seed).wrapping_mul(2_654_435_761) >> 8;
                if mixed % 4 < zeros { 0.0 } else { (mixed & 0xffff) as f32 / 32768.0 - 1.0 }
            };
            let a: Vec<f32> = (0..heads * inner * rows).map(value).collect();
            let b: Vec<f32> = (0..heads * inner * columns).map(|i| value(i + 77_777)).collect();
            let shape = LayerShape::steps(inner, rows, columns);
            let maps = [CodeMap::linear(200.0, -127, 127), CodeMap::linear(30_000.0, -32_767, 32_767)];
            let spec = PairSpec { shape, heads, maps, encoder: Encoder::Naf, has_terms, keeps_codes: [has_terms, true] };
            let sums = spec.count(Isa::SCALAR, [&a, &b]).unwrap();
            prop_assert_eq!(sums.products.integers(), brute_force(&spec, &a, &b));
            prop_assert_eq!(sums.activations.values.elements, a.len() as u64);
            prop_assert_eq!(sums.weights.values.elements, b.len() as u64);
            for isa in Isa::available() {
                prop_assert!(spec.count(isa, [&a, &b]).unwrap() == sums);
            }
            let mut twice = sums.clone();
            twice.merge(&sums);
            let doubled: Vec<u128> = sums.products.integers().iter().map(|sum| 2 * sum).collect();
            prop_assert_eq!(twice.products.integers(), doubled);
            prop_assert!(sums.products.is_possible());
            let counts = sums.of_input();
            prop_assert_eq!(InputCounts::from_integers(&counts.integers()), Some(counts));
        }
    }

    #[test]
    fn what_is_not_finite_is_not_counted() {
        let shape = LayerShape::steps(2, 1, 1);
        let maps = [CodeMap::linear(1.0, -127, 127); 2];
        let spec = PairSpec { shape, heads: 1, maps, encoder: Encoder::Naf, has_terms: true, keeps_codes: [true; 2] };
        let (fine, bad) = ([1.0, 2.0], [1.0, f32::NAN]);
        assert!(spec.count(Isa::best(), [&fine, &fine]).is_some());
        assert!(spec.count(Isa::best(), [&fine, &bad]).is_none() && spec.count(Isa::best(), [&bad, &fine]).is_none());
    }
}
