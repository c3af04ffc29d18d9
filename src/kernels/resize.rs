//! Bilinear resize, with and without aligned corners.

use std::ops::Range;

use super::exec::Exec;
use super::geometry::{Geometry, Halo, LANES};
use super::isa::Kernel;
use super::pixels::{Pixel, PixelOp, Source, for_each_pixel};
use super::scratch::with_scratch;
use super::shared::Shared;
use super::simd::Simd;

/// For each output row (or column): the two input rows that it interpolates, and the weight of the second.
type Table = Vec<(usize, usize, f32)>;

/// A bilinear resize with its tables.
pub struct Bilinear {
    rows: Table,
    columns: Table,
}

/// Tasks for each thread: enough to share evenly.
const TASKS: usize = 4;

/// PyTorch's source coordinates: `i * (in - 1) / (out - 1)` with aligned corners, else `(i + 0.5) * in / out - 0.5`, at least
/// 0.
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
    /// From `x` to `y`, which have the same images and channels.
    pub fn new(x: &Geometry, y: &Geometry, align_corners: bool) -> Self {
        let (rows, columns) = (table(x.h, y.h, align_corners), table(x.w, y.w, align_corners));
        Self { rows, columns }
    }

    /// The two rows and two columns that a pixel interpolates, with the weight of the second of each.
    #[inline(always)]
    pub(super) fn neighbours(&self, y: usize, x: usize) -> [(usize, usize, f32); 2] {
        [self.rows[y], self.columns[x]]
    }

    /// Resizes the first `images` images, to blocks or, if a row has sixteen pixels, to planes without halo.
    pub fn run(&self, exec: &Exec<'_>, images: usize, x: (&[f32], &Geometry), y: &mut [f32], yg: &Geometry) {
        let op = Op { tables: self, x: Source::new(x.0, x.1) };
        if yg.lanes == LANES {
            return for_each_pixel(exec, images, &op, y, yg);
        }
        assert!(yg.w >= LANES && yg.halo == Halo::default(), "planes of whole vectors");
        let y = Shared::new(y);
        let bands = (TASKS * exec.pool.threads()).div_ceil(images).min(yg.h);
        exec.for_each_task(images * bands, |_, task| {
            let (image, band) = (task / bands, task % bands);
            let rows = yg.h * band / bands..yg.h * (band + 1) / bands;
            with_scratch(2 * LANES * yg.w, |wide| {
                exec.isa.run(Planes { op: &op, image, rows, y, yg, wide });
            });
        });
    }
}

/// Some rows of all planes of an image. Rows of the input are resized horizontally once, to `[upper,
/// lower][channel][column]`, and all output rows between two of them are interpolated from these.
struct Planes<'a> {
    op: &'a Op<'a>,
    image: usize,
    rows: Range<usize>,
    y: Shared<'a>,
    yg: &'a Geometry,
    wide: &'a mut [f32],
}

impl Kernel for Planes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { op, image, rows, y, yg, wide } = self;
        let (h, w) = (yg.h, yg.w);
        let (upper, lower) = wide[..2 * LANES * w].split_at_mut(LANES * w);
        for block in 0..yg.c.div_ceil(LANES) {
            let mut between = None;
            for row in rows.clone() {
                let (top, bottom, down) = op.tables.rows[row];
                if between != Some((top, bottom)) {
                    op.widen(s, Pixel { image, block, y: top, x: 0 }, upper);
                    op.widen(s, Pixel { image, block, y: bottom, x: 0 }, lower);
                    between = Some((top, bottom));
                }
                for lane in 0..LANES.min(yg.c - block * LANES) {
                    let channel = image * yg.c + block * LANES + lane;
                    // SAFETY: each row of each channel of each image belongs to one task.
                    let to = unsafe { y.slice((channel * h + row) * w, w) };
                    let (upper, lower) = (&upper[lane * w..][..w], &lower[lane * w..][..w]);
                    for start in (0..w).step_by(LANES) {
                        // The last pixels of a row are computed together with some pixels before them.
                        let start = start.min(w - LANES);
                        let value = Op::between(s, s.load(&upper[start..]), s.load(&lower[start..]), down);
                        s.store(&mut to[start..], value);
                    }
                }
            }
        }
    }
}

impl Op<'_> {
    #[inline(always)]
    fn between<S: Simd>(s: S, a: S::V, b: S::V, t: f32) -> S::V {
        s.fma(s.sub(b, a), s.splat(t), a)
    }

    /// A row of sixteen input channels, resized to the width of the output.
    #[inline(always)]
    fn widen<S: Simd>(&self, s: S, at: Pixel, to: &mut [f32]) {
        let w = self.tables.columns.len();
        for start in (0..w).step_by(LANES) {
            let start = start.min(w - LANES);
            let mut pixels = [s.splat(0.0); LANES];
            for (pixel, &(left, right, across)) in pixels.iter_mut().zip(&self.tables.columns[start..]) {
                let [left, right] = [self.x.load(s, Pixel { x: left, ..at }), self.x.load(s, Pixel { x: right, ..at })];
                *pixel = Self::between(s, left, right, across);
            }
            let columns = s.transpose(pixels);
            for lane in 0..LANES {
                s.store(&mut to[lane * w + start..], columns[lane]);
            }
        }
    }
}

struct Op<'a> {
    tables: &'a Bilinear,
    x: Source<'a>,
}

impl PixelOp for Op<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let [(top, bottom, down), (left, right, across)] = self.tables.neighbours(at.y, at.x);
        let load = |y: usize, x: usize| self.x.load(s, Pixel { y, x, ..at });
        let upper = Self::between(s, load(top, left), load(top, right), across);
        let lower = Self::between(s, load(bottom, left), load(bottom, right), across);
        Self::between(s, upper, lower, down)
    }
}
