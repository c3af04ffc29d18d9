//! Sums by position of a reduction, and the sums over MACs that two operands give there: at each position, every value of the one
//! meets every value of the other.

use super::sums::GroupSums;
use crate::kernels::geometry::LANES;
use crate::kernels::isa::{Isa, Kernel};
use crate::kernels::simd::Simd;

/// Sums over lines of what sixteen positions of a reduction hold, position by position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PositionSums {
    /// Lines that have the position.
    pub seen: [u32; LANES],
    /// Codes other than zero.
    pub nonzero: [u32; LANES],
    /// Widths.
    pub width: [u32; LANES],
    /// Terms.
    pub terms: [u32; LANES],
    /// Widths of the groups of 16 that hold the position.
    pub g16: [u32; LANES],
    /// Groups of 16 that hold the position and are all zero.
    pub g16_zero: [u32; LANES],
    /// Where the code is not zero, widths of the groups of 16.
    pub nonzero_g16: [u32; LANES],
    /// Over all values at these positions, the widths of the groups that hold each, and how many are in a group that is all zero.
    pub groups: GroupSums,
}

impl PositionSums {
    /// Adds the sums of other lines.
    pub fn add(&mut self, other: &Self) {
        self.change(other, u32::wrapping_add);
        self.groups.add(&other.groups);
    }

    /// Takes out the sums of lines that were added.
    pub fn subtract(&mut self, other: &Self) {
        self.change(other, u32::wrapping_sub);
        self.groups.subtract(&other.groups);
    }

    fn change(&mut self, other: &Self, by: impl Fn(u32, u32) -> u32) {
        let pairs = [
            (&mut self.seen, &other.seen),
            (&mut self.nonzero, &other.nonzero),
            (&mut self.width, &other.width),
            (&mut self.terms, &other.terms),
            (&mut self.g16, &other.g16),
            (&mut self.g16_zero, &other.g16_zero),
            (&mut self.nonzero_g16, &other.nonzero_g16),
        ];
        for (own, other) in pairs {
            own.iter_mut().zip(other).for_each(|(own, other)| *own = by(*own, *other));
        }
    }
}

/// Sums over the pairs of a value of a first operand and one of a second at the same position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// nonzero(b).
    pub nonzero: u64,
    /// width(b).
    pub width: u64,
    /// terms(b).
    pub terms: u64,
    /// Width of the group of 16 that holds b.
    pub g16: u64,
    /// 1 where that is all zero.
    pub g16_zero: u64,
    /// nonzero(a)·nonzero(b).
    pub both: u64,
    /// terms(a)·terms(b).
    pub terms_terms: u64,
    /// terms(a)·nonzero(b).
    pub terms_w: u64,
    /// Width of a's group of 16, where b is not zero.
    pub g16_w: u64,
    /// 1 where that is all zero, and b is not.
    pub g16_zero_w: u64,
    /// Width of a's group of 16, where neither is zero.
    pub g16_both: u64,
}

/// What lines that add up to `a` and lines that add up to `b` give, where each of the ones meets each of the others.
pub fn meet(isa: Isa, a: &[PositionSums], b: &[PositionSums]) -> Met {
    isa.run(Meeting { a, b })
}

struct Meeting<'a> {
    a: &'a [PositionSums],
    b: &'a [PositionSums],
}

/// Plain loops over sixteen lanes, which the compiler vectorises at every level.
impl Kernel for Meeting<'_> {
    type Output = Met;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Met {
        let mut sums = [[0_u64; LANES]; 11];
        for (a, b) in self.a.iter().zip(self.b) {
            let products = [
                (&a.seen, &b.nonzero),
                (&a.seen, &b.width),
                (&a.seen, &b.terms),
                (&a.seen, &b.g16),
                (&a.seen, &b.g16_zero),
                (&a.nonzero, &b.nonzero),
                (&a.terms, &b.terms),
                (&a.terms, &b.nonzero),
                (&a.g16, &b.nonzero),
                (&a.g16_zero, &b.nonzero),
                (&a.nonzero_g16, &b.nonzero),
            ];
            for (sums, (a, b)) in sums.iter_mut().zip(products) {
                for lane in 0..LANES {
                    sums[lane] += u64::from(a[lane]) * u64::from(b[lane]);
                }
            }
        }
        let [nonzero, width, terms, g16, g16_zero, both, terms_terms, terms_w, g16_w, g16_zero_w, g16_both] =
            sums.map(|lanes| lanes.iter().sum());
        Met { nonzero, width, terms, g16, g16_zero, both, terms_terms, terms_w, g16_w, g16_zero_w, g16_both }
    }
}

/// The sum of the lanes.
#[inline(always)]
pub(super) fn total<S: Simd>(s: S, lanes: S::I) -> u64 {
    s.to_ints(lanes).into_iter().map(|lane| u64::from(lane as u32)).sum()
}

/// Sums as lanes.
#[inline(always)]
pub(super) fn load<S: Simd>(s: S, lanes: &[u32; LANES]) -> S::I {
    s.of_ints(lanes.map(|lane| lane as i32))
}

/// Lanes as sums.
#[inline(always)]
pub(super) fn store<S: Simd>(s: S, lanes: S::I) -> [u32; LANES] {
    s.to_ints(lanes).map(|lane| lane as u32)
}
