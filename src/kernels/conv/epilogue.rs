//! What happens to a sum before it is stored: residual, activation, clearing of the filling lanes.

use std::ops::Range;

use super::Job;
use crate::kernels::activation::Activation;
use crate::kernels::geometry::LANES;
use crate::kernels::isa::{Isa, Kernel};
use crate::kernels::simd::Simd;
use crate::kernels::tile::unrolled;

impl Job<'_> {
    /// The activation as bounds, where it is nothing else: tiles apply these as they store.
    fn bounds(&self) -> Option<(f32, f32)> {
        match self.activation {
            Activation::Identity => Some((f32::NEG_INFINITY, f32::INFINITY)),
            Activation::Relu => Some((0.0, f32::INFINITY)),
            Activation::Relu6 => Some((0.0, 6.0)),
            _ => None,
        }
    }

    /// Adds the residual to `sums[b][p]`, the value of pixel `x + p` of row `y` and block `first + b`, bounds and
    /// stores it. Activations that are more than bounds are left to [`Job::finish`].
    ///
    /// # Safety
    /// The pixels and blocks lie in the output, and no other thread writes them.
    #[inline(always)]
    pub(super) unsafe fn store<S: Simd, const P: usize, const B: usize>(
        &self,
        s: S,
        sums: [[S::V; P]; B],
        image: usize,
        first: usize,
        y: usize,
        x: usize,
    ) {
        debug_assert!(image < self.images && first + B <= self.yg.blocks() && y < self.yg.h && x + P <= self.yg.w);
        let (low, high) = self.bounds().unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let (low, high) = (s.splat(low), s.splat(high));
        let plane = self.yg.plane_len();
        let to = self.y.at(self.yg.at(image, first, y, x));
        // SAFETY: the caller vouches for the output; the residual has its shape and its buffer holds it (asserted).
        unsafe {
            if let Some((residual, geometry)) = self.residual {
                let from = residual.as_ptr().add(geometry.at(image, first, y, x));
                for b in 0..B {
                    unrolled!(p < P, {
                        let sum = s.add(sums[b][p], s.load_ptr(from.add(b * geometry.plane_len() + p * LANES)));
                        s.store_ptr(to.add(b * plane + p * LANES), s.min(high, s.max(low, sum)));
                    });
                }
            } else {
                for b in 0..B {
                    unrolled!(p < P, {
                        s.store_ptr(to.add(b * plane + p * LANES), s.min(high, s.max(low, sums[b][p])));
                    });
                }
            }
        }
    }

    /// Applies an activation that is more than bounds to stored sums, which are still in cache.
    ///
    /// # Safety
    /// The area lies in the output, and no other thread writes it.
    pub(super) unsafe fn finish(&self, isa: Isa, area: Area) {
        if self.bounds().is_none() {
            isa.run(Finish { job: self, area });
        }
    }
}

/// Some pixels of some blocks of one image.
pub(super) struct Area {
    pub(super) image: usize,
    pub(super) blocks: Range<usize>,
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

struct Finish<'a> {
    job: &'a Job<'a>,
    area: Area,
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { job, area } = self;
        let activation = job.activation;
        let width = area.columns.len() * LANES;
        for block in area.blocks {
            let filling = LANES.min(job.yg.c - block * LANES)..LANES;
            for row in area.rows.clone() {
                // SAFETY: `finish` was told that the area lies in the output and is this thread's.
                let pixels = unsafe { job.y.slice(job.yg.at(area.image, block, row, area.columns.start), width) };
                for pixel in pixels.chunks_exact_mut(LANES) {
                    let value = activation.apply(s, s.load(pixel));
                    s.store(pixel, value);
                    if !activation.keeps_zero() {
                        pixel[filling.clone()].fill(0.0);
                    }
                }
            }
        }
    }
}
