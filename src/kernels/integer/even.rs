//! Layers of integers as ONNX defines them: by way of reals in f32, ties to even.

use super::{Lane, window};
use crate::kernels::geometry::{Geometry, LANES};
use crate::kernels::pixels::{Pixel, PixelOp, Source};
use crate::kernels::simd::Simd;

/// The code of `x * from` in the scale `to`, as ONNX defines it: in f32, ties to even.
pub(super) struct Even {
    pub scales: (f32, f32),
    pub bounds: (i32, i32),
}

impl Lane for Even {
    #[inline(always)]
    fn of(&self, x: f32) -> f32 {
        even(x * self.scales.0 / self.scales.1, self.bounds)
    }
}

/// The nearest integer within `bounds`, ties to even.
#[inline(always)]
pub(super) fn even(x: f32, (low, high): (i32, i32)) -> f32 {
    // Adding zero makes -0 into +0.
    x.round_ties_even().max(low as f32).min(high as f32) + 0.0
}

/// A sum as ONNX defines it: of the reals that the codes stand for, in f32, ties to even.
pub(super) struct EvenAdd<'a> {
    pub a: Source<'a>,
    pub b: Source<'a>,
    pub scales: ([f32; 2], f32),
    pub bounds: (i32, i32),
}

impl PixelOp for EvenAdd<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let [mut a, mut b] = [[0.0; LANES]; 2];
        s.store(&mut a, self.a.load(s, at));
        s.store(&mut b, self.b.load(s, at));
        let ([first, second], sum) = self.scales;
        for i in 0..LANES {
            a[i] = even((a[i] * first + b[i] * second) / sum, self.bounds);
        }
        s.load(&a)
    }
}

/// A mean in f32 from the exact sum, ties to even.
pub(super) struct EvenMean<'a> {
    pub x: Source<'a>,
    pub multiplier: f32,
    pub bounds: (i32, i32),
}

impl PixelOp for EvenMean<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let Geometry { h, w, .. } = *self.x.geometry;
        let sums = window(s, &self.x, at, 0..h, 0..w);
        s.load(&sums.map(|sum| even(sum as f32 * self.multiplier, self.bounds)))
    }
}
