//! Values of two operands that meet in MACs: sums over the first ones times sums over the second ones.

use super::{Modes, Products};
use crate::kernels::Isa;
use crate::kernels::count::{Met, PositionSums, meet};

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
    /// Lane `lane` of `sums`.
    pub(super) fn of(sums: &PositionSums, lane: usize) -> Self {
        let PositionSums { nonzero, width, terms, g16, g16_zero, .. } = sums;
        let [nonzero, width, terms, g16, g16_zero] =
            [nonzero, width, terms, g16, g16_zero].map(|lanes| u64::from(lanes[lane]));
        Self { nonzero, width, terms, g16, g16_zero }
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

/// Sums over all positions of a first operand.
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
    pub(super) fn of(positions: &[PositionSums]) -> Self {
        let mut all = Self::default();
        for sums in positions {
            let total = |lanes: &[u32]| lanes.iter().copied().map(u64::from).sum::<u64>();
            all.values += total(&sums.seen);
            all.nonzero += total(&sums.nonzero);
            all.width += total(&sums.width);
            all.terms += total(&sums.terms);
            all.nonzero_g16 += total(&sums.nonzero_g16);
            for size in 0..3 {
                all.groups[size] += sums.groups.width[size];
                all.zeros[size] += sums.groups.zero[size];
            }
        }
        all
    }
}

/// Adds the MACs of a first operand's lines, which add up to `first`, each with `count` lines of a second that add up to `seen`, where
/// there are `all` that add up to `every` with those that are masked.
pub(super) fn add(
    to: &mut Products,
    isa: Isa,
    first: &[PositionSums],
    (seen, count): (&[PositionSums], u64),
    (every, all): (&[PositionSums], u64),
) {
    let inside = meet(isa, first, seen);
    let Met { both, terms_terms, terms_w, g16_w, g16_zero_w, g16_both, .. } = inside;
    let every = if std::ptr::eq(seen, every) { inside } else { meet(isa, first, every) };
    let modes = |of: fn(&Met) -> u64| Modes::new(of(&every).into(), of(&inside).into());
    let First { values, nonzero, width, terms, groups, zeros, .. } = First::of(first);
    let each = |sum: u64| u128::from(sum) * u128::from(count);
    *to += &Products {
        dense: Modes::new(u128::from(values) * u128::from(all), each(values)),
        a: each(nonzero),
        w: modes(|met| met.nonzero),
        both: both.into(),
        a_width: each(width),
        a_g16: each(groups[0]),
        a_g64: each(groups[1]),
        a_g256: each(groups[2]),
        a_g16_zero: each(zeros[0]),
        a_g64_zero: each(zeros[1]),
        a_g256_zero: each(zeros[2]),
        a_terms: each(terms),
        w_width: modes(|met| met.width),
        w_g16: modes(|met| met.g16),
        w_g16_zero: modes(|met| met.g16_zero),
        w_terms: modes(|met| met.terms),
        terms: terms_terms.into(),
        a_g16_w: g16_w.into(),
        a_g16_zero_w: g16_zero_w.into(),
        a_g16_both: g16_both.into(),
        a_terms_w: terms_w.into(),
    };
}

/// Adds `times` masked MACs with each of `count` seconds that add up to `masked`.
pub(super) fn add_masked(to: &mut Products, times: u64, masked: Second, count: u64) {
    let modes = |sum: u64| Modes::new(u128::from(times) * u128::from(sum), 0);
    let Second { nonzero, width, terms, g16, g16_zero } = masked;
    *to += &Products {
        dense: modes(count),
        w: modes(nonzero),
        w_width: modes(width),
        w_g16: modes(g16),
        w_g16_zero: modes(g16_zero),
        w_terms: modes(terms),
        ..Products::default()
    };
}
