//! A convolution of one pixel by filters that are kept as codes: the product of a matrix and a vector, bound by the bytes of the
//! matrix.

use std::ops::Range;

use super::Job;
use super::epilogue::Output;
use crate::kernels::coded::{CodedMatrix, SET};
use crate::kernels::geometry::{Geometry, LANES};
use crate::kernels::isa::Kernel;
use crate::kernels::simd::Simd;

/// Whether the channels of an image laid out as `x` are contiguous: it is one pixel without a halo.
pub(super) fn is_vector(x: &Geometry) -> bool {
    x.plane_len() == LANES
}

/// Some blocks of filters of one image, which [`is_vector`].
pub(super) struct Product<'a> {
    pub(super) matrix: &'a CodedMatrix,
    pub(super) job: &'a Job<'a>,
    pub(super) image: usize,
    pub(super) blocks: Range<usize>,
}

impl Kernel for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let output = self.job.output(s, self.image);
        let mut block = self.blocks.start;
        while block < self.blocks.end {
            let whole = block.is_multiple_of(SET) && block + SET <= self.blocks.end;
            block += match whole && S::REGISTERS >= 32 {
                true => self.blocks::<S, SET>(s, block, &output),
                false => self.blocks::<S, 1>(s, block, &output),
            };
        }
    }
}

impl Product<'_> {
    /// `B` blocks of one set from `first` on. Returns their number.
    #[inline(always)]
    fn blocks<S: Simd, const B: usize>(&self, s: S, first: usize, output: &Output<S>) -> usize {
        let Self { matrix, job, image, .. } = *self;
        let mut sums = [s.splat(0.0); B];
        for b in 0..B {
            sums[b] = s.load(&job.bias[(first + b) * LANES..]);
        }
        let x = &job.x[job.xg.at(image, 0, 0, 0)..][..matrix.columns()];
        // SAFETY: `x` has a float for each column, and the blocks are of one set of the matrix, whose rows are the filters; the
        // pixel is in the output and this task's.
        unsafe {
            let sums = matrix.accumulate(s, x.as_ptr(), first, sums);
            output.store::<1, B>(s, sums.map(|sum| [sum]), first, 0, 0);
        }
        B
    }
}
