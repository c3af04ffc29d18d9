//! Counts of one input alone, or of a few that are taken together: what metrics of single inputs are functions of.

use std::ops::AddAssign;

use super::{ActivationSums, LayerShape, Products, WeightSums};
use crate::kernels::count::{InputSums, ReadSums};

/// What one layer has of one input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InputCounts {
    /// Sums over the MACs.
    pub products: Products,
    /// Sums over the values that enter.
    pub values: InputSums,
}

/// Integers of one.
pub const INPUT_INTEGERS: usize = Products::INTEGERS + InputSums::INTEGERS;

impl Products {
    /// The sums of one input in a layer of extents `shape`, as far as they do not depend on its values.
    pub fn of_weights(shape: &LayerShape, weights: &WeightSums) -> Self {
        let mut none = ActivationSums::new(shape, 0);
        let [rows, columns] = shape.classes();
        none.windows = shape.windows() as u64;
        let visits = rows.visits.iter().flat_map(|row| columns.visits.iter().map(move |column| row * column));
        none.inside = visits.collect();
        Self::new(shape, &none, weights)
    }

    /// The same sums, with those of values that add up to `read` over the taps of a layer of `filters` filters a channel.
    pub fn with_values(self, filters: u64, read: &ReadSums) -> Self {
        let each = |sum: u64| u128::from(sum) * u128::from(filters);
        Self {
            a: each(read.nonzero),
            both: read.both.into(),
            a_width: each(read.width),
            a_g16: each(read.groups[0]),
            a_g64: each(read.groups[1]),
            a_g256: each(read.groups[2]),
            a_g16_zero: each(read.zero_groups[0]),
            a_g64_zero: each(read.zero_groups[1]),
            a_g256_zero: each(read.zero_groups[2]),
            a_terms: each(read.terms),
            terms: read.terms_terms.into(),
            a_g16_w: read.g16_w.into(),
            a_g16_zero_w: read.g16_zero_w.into(),
            a_g16_both: read.g16_both.into(),
            a_terms_w: read.terms_w.into(),
            ..self
        }
    }
}

impl Products {
    /// Whether no class of MACs is larger than those that hold it.
    pub fn is_possible(&self) -> bool {
        // MACs, and those of a non-zero weight: all, and those inside the tensor.
        let ([all, inside], [all_w, inside_w]) = (self.dense.both(), self.w.both());
        let (a, both) = (self.a, self.both);
        inside <= all
            && inside_w <= inside
            && all_w.checked_sub(inside_w).is_some_and(|outside| outside <= all - inside)
            && a <= inside
            && both <= a.min(inside_w)
            && a - both <= inside - inside_w
    }
}

impl AddAssign<&Self> for InputCounts {
    fn add_assign(&mut self, other: &Self) {
        self.products += &other.products;
        self.values += other.values;
    }
}

impl InputCounts {
    /// Its integers, [`INPUT_INTEGERS`] of them.
    pub fn integers(&self) -> Vec<u128> {
        self.products.integers().into_iter().chain(self.values.integers().map(u128::from)).collect()
    }

    /// The counts of which `integers` are [`Self::integers`]; none of integers that no input has.
    pub fn from_integers(integers: &[u128]) -> Option<Self> {
        let (products, values) = integers.split_at_checked(Products::INTEGERS)?;
        let values: Vec<u64> = values.iter().map(|&value| value.try_into().ok()).collect::<Option<_>>()?;
        let values = InputSums::from_integers(values.try_into().ok()?);
        let products = Products::from_integers(products)?;
        let fits = products.is_possible()
            && u128::from(values.nonzeros) + u128::from(values.natural_zeros) <= values.elements.into();
        fits.then_some(Self { products, values })
    }
}
