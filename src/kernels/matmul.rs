//! The product of two activations, head by head.

use super::exec::Exec;
use super::geometry::{Geometry, LANES};
use super::pixels::{Pixel, PixelOp, Source, for_each_pixel};
use super::simd::Simd;

struct Heads<'a> {
    inner: usize,
    /// Columns of the second operand: channels of a head of the output.
    columns: usize,
    /// Channels of the output.
    channels: usize,
    a: Source<'a>,
    b: Source<'a>,
}

impl PixelOp for Heads<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let mut sum = s.splat(0.0);
        // Head and column of each channel; padding lanes repeat the last.
        let places: [(usize, usize); LANES] = std::array::from_fn(|lane| {
            let channel = (at.block * LANES + lane).min(self.channels - 1);
            (channel / self.columns * self.inner, channel % self.columns)
        });
        for k in 0..self.inner {
            let a: [f32; LANES] = places.map(|(first, _)| self.a.channel(at.image, first + k, at.y, at.x));
            let b: [f32; LANES] = places.map(|(first, column)| self.b.channel(at.image, first + k, at.y, column));
            sum = s.fma(s.load(&a), s.load(&b), sum);
        }
        sum
    }
}

/// `y[head·N + n, m] = Σ_k a[head·K + k, m] · b[head·K + k, n]`, summed in the order of k, with K channels a head.
pub fn matmul(
    exec: &Exec<'_>,
    images: usize,
    inner: usize,
    a: (&[f32], &Geometry),
    b: (&[f32], &Geometry),
    y: &mut [f32],
    yg: &Geometry,
) {
    let (columns, channels) = (b.1.w, yg.c);
    let heads = Heads { inner, columns, channels, a: Source::new(a.0, a.1), b: Source::new(b.0, b.1) };
    for_each_pixel(exec, images, &heads, y, yg);
}
