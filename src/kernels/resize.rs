//! Bilinear resize with both conventions for corners.

use super::exec::Exec;
use super::geometry::Geometry;
use super::pixels::{Pixel, PixelOp, Source, for_each_pixel};
use super::simd::Simd;

/// For each output row (or column): the two it lies between, and how far it is towards the second.
type Table = Vec<(usize, usize, f32)>;

/// A bilinear resize with its tables.
pub struct Bilinear {
    rows: Table,
    columns: Table,
}

/// PyTorch's source coordinates: `i * (in - 1) / (out - 1)` with aligned corners, else `(i + 0.5) * in / out - 0.5`, not
/// below 0.
fn table(input: usize, output: usize, align_corners: bool) -> Table {
    (0..output)
        .map(|i| {
            let at = if align_corners {
                if output > 1 { i as f32 * ((input - 1) as f32 / (output - 1) as f32) } else { 0.0 }
            } else {
                ((i as f32 + 0.5) * (input as f32 / output as f32) - 0.5).max(0.0)
            };
            let first = (at as usize).min(input - 1);
            (first, (first + 1).min(input - 1), at - first as f32)
        })
        .collect()
}

impl Bilinear {
    /// From `x` to `y`, of the same images and channels.
    pub fn new(x: &Geometry, y: &Geometry, align_corners: bool) -> Self {
        Self { rows: table(x.h, y.h, align_corners), columns: table(x.w, y.w, align_corners) }
    }

    /// The rows and the columns that a pixel lies between, and how far it is towards the second of each.
    #[inline(always)]
    pub(super) fn place(&self, y: usize, x: usize) -> [(usize, usize, f32); 2] {
        [self.rows[y], self.columns[x]]
    }

    /// Resizes the first `images` images.
    pub fn run(&self, exec: &Exec<'_>, images: usize, x: (&[f32], &Geometry), y: &mut [f32], yg: &Geometry) {
        for_each_pixel(exec, images, &Op { tables: self, x: Source::new(x.0, x.1) }, y, yg);
    }
}

struct Op<'a> {
    tables: &'a Bilinear,
    x: Source<'a>,
}

impl PixelOp for Op<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let [(top, bottom, down), (left, right, across)] = self.tables.place(at.y, at.x);
        let load = |y: usize, x: usize| self.x.load(s, Pixel { y, x, ..at });
        let between = |a: S::V, b: S::V, t: f32| s.fma(s.sub(b, a), s.splat(t), a);
        let upper = between(load(top, left), load(top, right), across);
        let lower = between(load(bottom, left), load(bottom, right), across);
        between(upper, lower, down)
    }
}
