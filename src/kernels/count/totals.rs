//! What the codes of lines along a reduction add up to.

use super::positions::total;
use super::sums::Totals;
use crate::kernels::simd::Simd;

/// What codes add up to, lane by lane.
pub(super) struct LaneSum<S: Simd> {
    ones: S::I,
    sum: S::I,
    /// The lower halves of squares, and the upper ones.
    squares: [S::I; 2],
}

impl<S: Simd> LaneSum<S> {
    /// Blocks of a strip whose sums no lane overflows.
    pub(super) const BLOCKS: usize = 1024;

    /// Nothing yet.
    #[inline(always)]
    pub(super) fn new(s: S) -> Self {
        Self { ones: s.splat_int(0), sum: s.splat_int(0), squares: [s.splat_int(0); 2] }
    }

    /// Adds codes of these magnitudes.
    #[inline(always)]
    pub(super) fn add(&mut self, s: S, code: S::I, magnitude: S::I) {
        let square = s.dot2(magnitude, magnitude, s.splat_int(0));
        self.ones = s.add_int(self.ones, s.ones_halves(magnitude));
        self.sum = s.add_int(self.sum, code);
        self.squares[0] = s.add_int(self.squares[0], s.and(square, s.splat_int(0xffff)));
        self.squares[1] = s.add_int(self.squares[1], s.upper(square));
    }

    /// Adds all lanes to `totals`.
    #[inline(always)]
    pub(super) fn add_to(&self, s: S, totals: &mut Totals) {
        totals.ones += total(s, self.ones);
        totals.sum += s.to_ints(self.sum).into_iter().map(i64::from).sum::<i64>();
        totals.squares += u128::from(total(s, self.squares[0])) + (u128::from(total(s, self.squares[1])) << 16);
    }
}
