//! Making sequences of pixels, numbering steps, and taking one of them.

use super::exec::Exec;
use super::geometry::{Geometry, LANES};
use super::pixels::{Pixel, PixelOp, Source, for_each_pixel};
use super::simd::Simd;

struct Numbers<'a> {
    /// Of each step of each image.
    numbers: &'a [f32],
    steps: usize,
}

impl PixelOp for Numbers<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        s.splat(self.numbers[at.image * self.steps + at.x])
    }
}

/// Numbers the steps of each image from `first` plus its count in `counts` on, which is moved on. Steps whose value is `skip` are
/// not counted, and have the number before `first`.
pub fn positions(
    exec: &Exec<'_>,
    images: usize,
    (first, skip): (usize, Option<u32>),
    x: (&[f32], &Geometry),
    (y, yg): (&mut [f32], &Geometry),
    counts: &mut [f32],
) {
    let x = Source::new(x.0, x.1);
    let mut numbers = Vec::with_capacity(images * yg.w);
    for image in 0..images {
        for step in 0..yg.w {
            if skip.is_some_and(|skip| x.channel(image, 0, 0, step) == skip as f32) {
                numbers.push(first as f32 - 1.0);
                continue;
            }
            numbers.push(first as f32 + counts[image]);
            counts[image] += 1.0;
        }
    }
    for_each_pixel(exec, images, &Numbers { numbers: &numbers, steps: yg.w }, y, yg);
}

struct Tokens<'a> {
    /// Learned steps, each zero-padded to whole blocks.
    before: &'a [f32],
    count: usize,
    blocks: usize,
    x: Source<'a>,
}

impl PixelOp for Tokens<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        match at.x.checked_sub(self.count) {
            None => s.load(&self.before[(at.x * self.blocks + at.block) * LANES..]),
            Some(pixel) => {
                let w = self.x.geometry.w;
                self.x.load(s, Pixel { y: pixel / w, x: pixel % w, ..at })
            }
        }
    }
}

/// The steps `before`, each zero-padded to whole blocks, then the pixels of `x` row by row.
pub fn tokens(exec: &Exec<'_>, images: usize, before: &[f32], x: (&[f32], &Geometry), y: &mut [f32], yg: &Geometry) {
    let blocks = yg.blocks();
    let count = before.len() / (blocks * LANES);
    for_each_pixel(exec, images, &Tokens { before, count, blocks, x: Source::new(x.0, x.1) }, y, yg);
}

struct Column<'a>(Source<'a>, usize);

impl PixelOp for Column<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        self.0.load(s, Pixel { x: self.1, ..at })
    }
}

/// Column `column` of `x`.
pub fn column(exec: &Exec<'_>, images: usize, column: usize, x: (&[f32], &Geometry), y: &mut [f32], yg: &Geometry) {
    for_each_pixel(exec, images, &Column(Source::new(x.0, x.1), column), y, yg);
}
