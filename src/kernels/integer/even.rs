//! Layers of integers as ONNX defines them: by way of reals in f32, ties to even.

use super::window;
use crate::kernels::geometry::{Geometry, LANES};
use crate::kernels::pixels::{Pixel, PixelOp, Source};
use crate::kernels::simd::Simd;

/// The code of `x * from` in the scale `to`, as ONNX defines it: in f32, ties to even.
pub(super) struct Even<'a> {
    pub x: Source<'a>,
    pub scales: (f32, f32),
    pub bounds: (i32, i32),
}

impl PixelOp for Even<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let (from, to) = self.scales;
        even(s, s.div(s.mul(self.x.load(s, at), s.splat(from)), s.splat(to)), self.bounds)
    }
}

/// The nearest integers within `bounds`, ties to even; the lower bound for NaN.
#[inline(always)]
fn even<S: Simd>(s: S, x: S::V, (low, high): (i32, i32)) -> S::V {
    let codes = s.min(s.max(s.round(x), s.splat(low as f32)), s.splat(high as f32));
    // Adding zero makes -0 into +0.
    s.add(codes, s.splat(0.0))
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
        let ([first, second], sum) = self.scales;
        let a = s.mul(self.a.load(s, at), s.splat(first));
        let b = s.mul(self.b.load(s, at), s.splat(second));
        even(s, s.div(s.add(a, b), s.splat(sum)), self.bounds)
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
        let mut reals = [0.0; LANES];
        for i in 0..LANES {
            reals[i] = sums[i] as f32;
        }
        even(s, s.mul(s.load(&reals), s.splat(self.multiplier)), self.bounds)
    }
}
