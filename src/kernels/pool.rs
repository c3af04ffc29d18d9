//! Max, average and global average pooling, and the weighted mean over a sequence.

use super::activation::exp;
use super::exec::Exec;
use super::geometry::{Geometry, Halo, LANES};
use super::isa::Kernel;
use super::pixels::{Pixel, PixelOp, Source, for_each_pixel};
use super::shared::Shared;
use super::simd::Simd;

/// Square windows; those that reach beyond the tensor are clipped to it.
#[derive(Clone, Copy, Debug)]
pub struct PoolShape {
    /// Rows and columns of a window.
    pub kernel: usize,
    /// Stride of the windows.
    pub stride: usize,
    /// Around the input.
    pub padding: Halo,
}

impl PoolShape {
    /// The rows of the tensor in row `p` of windows, for a tensor of `size` rows.
    #[inline(always)]
    pub(super) fn clip(&self, p: usize, before: usize, size: usize) -> std::ops::Range<usize> {
        let start = p * self.stride;
        start.saturating_sub(before)..(start + self.kernel).saturating_sub(before).min(size)
    }

    /// Number of rows of window row `p` in the padded tensor: the divisor of a mean that counts padding.
    #[inline(always)]
    fn padded(&self, p: usize, before: usize, size: usize, after: usize) -> usize {
        let start = p * self.stride;
        (start + self.kernel).min(before + size + after) - start
    }
}

struct Max<'a>(PoolShape, Source<'a>);

impl PixelOp for Max<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let Self(shape, x) = self;
        let mut max = s.splat(f32::NEG_INFINITY);
        // A comparison would lose a NaN; `v - v` is zero unless v is NaN (or infinite, which is as wrong).
        let mut poison = s.splat(0.0);
        for row in shape.clip(at.y, shape.padding.top, x.geometry.h) {
            for column in shape.clip(at.x, shape.padding.left, x.geometry.w) {
                let value = x.load(s, Pixel { y: row, x: column, ..at });
                max = s.max(value, max);
                poison = s.add(poison, s.sub(value, value));
            }
        }
        s.add(max, poison)
    }
}

/// The largest value of each window; padding is never the largest.
pub fn max(exec: &Exec<'_>, images: usize, shape: &PoolShape, x: (&[f32], &Geometry), y: &mut [f32], yg: &Geometry) {
    for_each_pixel(exec, images, &Max(*shape, Source::new(x.0, x.1)), y, yg);
}

struct Average<'a> {
    shape: PoolShape,
    count_padding: bool,
    x: Source<'a>,
}

impl PixelOp for Average<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let Self { shape, x, .. } = self;
        let (p, g) = (shape.padding, x.geometry);
        let rows = shape.clip(at.y, p.top, g.h);
        let columns = shape.clip(at.x, p.left, g.w);
        let cells = if self.count_padding {
            shape.padded(at.y, p.top, g.h, p.bottom) * shape.padded(at.x, p.left, g.w, p.right)
        } else {
            rows.len() * columns.len()
        };
        let mut sum = s.splat(0.0);
        for row in rows {
            for column in columns.clone() {
                sum = s.add(sum, x.load(s, Pixel { y: row, x: column, ..at }));
            }
        }
        s.div(sum, s.splat(cells as f32))
    }
}

/// The mean of each window: over its pixels in the tensor, or with `count_padding` over its pixels in the padded tensor.
pub fn average(
    exec: &Exec<'_>,
    images: usize,
    shape: &PoolShape,
    count_padding: bool,
    x: (&[f32], &Geometry),
    y: &mut [f32],
    yg: &Geometry,
) {
    for_each_pixel(exec, images, &Average { shape: *shape, count_padding, x: Source::new(x.0, x.1) }, y, yg);
}

/// The mean of each channel, `[N, C, 1, 1]`. The columns of a row alternate between four sums, so that the order is fixed.
pub fn global_average(exec: &Exec<'_>, images: usize, x: (&[f32], &Geometry), y: &mut [f32], yg: &Geometry) {
    let x = Source::new(x.0, x.1);
    assert!(y.len() >= yg.len() && (yg.c, yg.h, yg.w) == (x.geometry.c, 1, 1), "one value per channel");
    let y = Shared::new(y);
    let blocks = yg.blocks();
    exec.for_each_task(images * blocks, |_, task| {
        let (image, block) = (task / blocks, task % blocks);
        // SAFETY: each block of each image belongs to one task.
        let to = unsafe { y.slice(yg.at(image, block, 0, 0), LANES) };
        exec.isa.run(Global { x, image, block, to });
    });
}

struct Weighted<'a> {
    x: Source<'a>,
    scores: Source<'a>,
}

impl PixelOp for Weighted<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let score = |t: usize| self.scores.channel(at.image, 0, 0, t);
        let steps = self.x.geometry.w;
        let highest = (0..steps).map(score).fold(f32::NEG_INFINITY, f32::max);
        let (mut sum, mut total) = (s.splat(0.0), s.splat(0.0));
        for t in 0..steps {
            let share = exp(s, s.splat(score(t) - highest));
            total = s.add(total, share);
            sum = s.fma(self.x.load(s, Pixel { x: t, ..at }), share, sum);
        }
        s.div(sum, total)
    }
}

/// The mean over the columns of `x`, weighted by the softmax of `scores`: `[N, C, 1, 1]`.
pub fn weighted_mean(
    exec: &Exec<'_>,
    images: usize,
    x: (&[f32], &Geometry),
    scores: (&[f32], &Geometry),
    y: &mut [f32],
    yg: &Geometry,
) {
    let op = Weighted { x: Source::new(x.0, x.1), scores: Source::new(scores.0, scores.1) };
    for_each_pixel(exec, images, &op, y, yg);
}

struct Global<'a> {
    x: Source<'a>,
    image: usize,
    block: usize,
    to: &'a mut [f32],
}

impl Kernel for Global<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let g = self.x.geometry;
        let mut sums = [s.splat(0.0); 4];
        for y in 0..g.h {
            let at = g.at(self.image, self.block, y, 0);
            let row = &self.x.data[at..at + g.w * LANES];
            for pixels in row.chunks(4 * LANES) {
                for (sum, pixel) in sums.iter_mut().zip(pixels.chunks_exact(LANES)) {
                    *sum = s.add(*sum, s.load(pixel));
                }
            }
        }
        let sum = s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]));
        s.store(self.to, s.div(sum, s.splat((g.h * g.w) as f32)));
    }
}
