//! Values of two operands that meet in MACs: sums over the first ones times sums over the second ones.

use super::lines::Value;
use super::{Modes, Products};
use crate::kernels::count::GROUP_SIZES;

/// Sums over the values of one key, or the running sums of such over keys.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Second {
    pub(super) nonzero: u64,
    pub(super) width: u64,
    pub(super) terms: u64,
    pub(super) g16: u64,
    pub(super) g16_zero: u64,
}

impl Second {
    pub(super) fn of(value: &Value) -> Self {
        let Value { nonzero, width, terms, groups, zeros } = *value;
        Self { nonzero, width, terms, g16: groups[0], g16_zero: zeros[0] }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            nonzero: self.nonzero + other.nonzero,
            width: self.width + other.width,
            terms: self.terms + other.terms,
            g16: self.g16 + other.g16,
            g16_zero: self.g16_zero + other.g16_zero,
        }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self {
            nonzero: self.nonzero - other.nonzero,
            width: self.width - other.width,
            terms: self.terms - other.terms,
            g16: self.g16 - other.g16,
            g16_zero: self.g16_zero - other.g16_zero,
        }
    }
}

/// Sums over values of a first operand that meet the same seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct First {
    pub(super) values: u64,
    pub(super) nonzero: u64,
    pub(super) width: u64,
    pub(super) terms: u64,
    pub(super) groups: [u64; 3],
    pub(super) zeros: [u64; 3],
    /// Of those that are not zero, widths of the groups of 16 that hold them.
    pub(super) nonzero_g16: u64,
}

impl First {
    pub(super) fn add(&mut self, value: &Value) {
        self.values += 1;
        self.nonzero += value.nonzero;
        self.width += value.width;
        self.terms += value.terms;
        for size in 0..GROUP_SIZES.len() {
            self.groups[size] += value.groups[size];
            self.zeros[size] += value.zeros[size];
        }
        self.nonzero_g16 += value.nonzero * value.groups[0];
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.values += other.values;
        self.nonzero += other.nonzero;
        self.width += other.width;
        self.terms += other.terms;
        for size in 0..GROUP_SIZES.len() {
            self.groups[size] += other.groups[size];
            self.zeros[size] += other.zeros[size];
        }
        self.nonzero_g16 += other.nonzero_g16;
    }
}

/// Adds the MACs of a first operand's values, each with seconds that add up to `seen`, `count` of them, where there are `all` and
/// `every` with those that are masked.
pub(super) fn add(to: &mut Products, first: &First, (seen, count): (Second, u64), (every, all): (Second, u64)) {
    let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
    let modes = |all: u64, inside: u64| Modes::new(product(first.values, all), product(first.values, inside));
    let First { nonzero, width, terms, groups, zeros, nonzero_g16, .. } = *first;
    *to += &Products {
        dense: modes(all, count),
        a: product(nonzero, count),
        w: modes(every.nonzero, seen.nonzero),
        both: product(nonzero, seen.nonzero),
        a_width: product(width, count),
        a_g16: product(groups[0], count),
        a_g64: product(groups[1], count),
        a_g256: product(groups[2], count),
        a_g16_zero: product(zeros[0], count),
        a_g64_zero: product(zeros[1], count),
        a_g256_zero: product(zeros[2], count),
        a_terms: product(terms, count),
        w_width: modes(every.width, seen.width),
        w_g16: modes(every.g16, seen.g16),
        w_g16_zero: modes(every.g16_zero, seen.g16_zero),
        w_terms: modes(every.terms, seen.terms),
        terms: product(terms, seen.terms),
        a_g16_w: product(groups[0], seen.nonzero),
        a_g16_zero_w: product(zeros[0], seen.nonzero),
        a_g16_both: product(nonzero_g16, seen.nonzero),
        a_terms_w: product(terms, seen.nonzero),
    };
}
