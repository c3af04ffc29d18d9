//! Integer layers as ONNX defines them: through f32, ties to even.

use super::{Codes, window};
use crate::kernels::exec::Exec;
use crate::kernels::geometry::{Geometry, LANES};
use crate::kernels::isa::Kernel;
use crate::kernels::pixels::{Pixel, PixelOp, Source};
use crate::kernels::shared::Shared;
use crate::kernels::simd::Simd;

/// Rescaling as ONNX defines it: the code of `x * from` in the scale `to`, in f32, ties to even.
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

/// Quantises planar floats to planar codes.
pub(super) fn planes(exec: &Exec<'_>, images: usize, x: Source<'_>, codes: Codes, y: &mut [f32], yg: &Geometry) {
    let xg = x.geometry;
    assert!(xg.lanes == 1 && y.len() >= yg.len() && images <= yg.n.min(xg.n), "planar buffers hold the images");
    let y = Shared::new(y);
    exec.for_each_task(images * yg.c, |_, task| {
        let (image, channel) = (task / yg.c, task % yg.c);
        for row in 0..yg.h {
            let from = &x.data[xg.at(image, channel, row, 0)..][..yg.w];
            // SAFETY: each channel of each image belongs to one task.
            let to = unsafe { y.slice(yg.at(image, channel, row, 0), yg.w) };
            exec.isa.run(EvenRow { from, codes, to });
        }
    });
}

struct EvenRow<'a> {
    from: &'a [f32],
    codes: Codes,
    to: &'a mut [f32],
}

impl Kernel for EvenRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (scale, bounds) = (s.splat(self.codes.scale), self.codes.bounds());
        let (from, rest) = self.from.as_chunks::<LANES>();
        let (to, left) = self.to.as_chunks_mut::<LANES>();
        for (to, from) in to.iter_mut().zip(from) {
            s.store(to, even(s, s.div(s.load(from), scale), bounds));
        }
        let mut last = [0.0; LANES];
        last[..rest.len()].copy_from_slice(rest);
        let codes = even(s, s.div(s.load(&last), scale), bounds);
        s.store(&mut last, codes);
        left.copy_from_slice(&last[..left.len()]);
    }
}

/// The nearest integers within `bounds`, ties to even; the lower bound for NaN.
#[inline(always)]
fn even<S: Simd>(s: S, x: S::V, (low, high): (i32, i32)) -> S::V {
    let codes = s.min(s.max(s.round(x), s.splat(low as f32)), s.splat(high as f32));
    // Adding zero turns -0 into +0.
    s.add(codes, s.splat(0.0))
}

/// A sum as ONNX defines it: of the dequantised terms, in f32, ties to even.
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

    #[inline(always)]
    fn row<S: Simd>(&self, s: S, at: Pixel, to: &mut [[f32; LANES]]) -> bool {
        let (Some(a), Some(b)) = (self.a.row(at), self.b.row(at)) else { return false };
        // Zeros in padding lanes must sum to zero.
        if self.bounds.0 > 0 || self.bounds.1 < 0 {
            return false;
        }
        let ([first, second], sum) = self.scales;
        let (first, second, sum) = (s.splat(first), s.splat(second), s.splat(sum));
        for (to, (a, b)) in to.iter_mut().zip(a.iter().zip(b)) {
            let real = s.add(s.mul(s.load(a), first), s.mul(s.load(b), second));
            s.store(to, even(s, s.div(real, sum), self.bounds));
        }
        true
    }
}

/// A mean in f32 of the exact sum, ties to even.
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
        let mut floats = [0.0; LANES];
        for i in 0..LANES {
            floats[i] = sums[i] as f32;
        }
        even(s, s.mul(s.load(&floats), s.splat(self.multiplier)), self.bounds)
    }
}
