//! Integer layers, bit-exact with TFLite's reference kernels.

use super::{Codes, Lane, window};
use crate::kernels::exec::Exec;
use crate::kernels::geometry::{Geometry, LANES};
use crate::kernels::pixels::{Pixel, PixelOp, Source, for_each_pixel};
use crate::kernels::pool::PoolShape;
use crate::kernels::requantize::Fixed31;
use crate::kernels::resize::Bilinear;
use crate::kernels::shared::Shared;
use crate::kernels::simd::Simd;

/// Quantisation of floats, ties away from zero.
pub(super) struct Quantize {
    pub scale: f32,
    pub bounds: (i32, i32),
}

impl Lane for Quantize {
    #[inline(always)]
    fn of(&self, x: f32) -> f32 {
        /// The largest float below a half, so that a value just below a tie does not become one.
        const HALF: f32 = 0.499_999_97;
        let quotient = x / self.scale;
        let rounded = (quotient.abs() + HALF).trunc().copysign(quotient);
        // Adding zero turns -0 into +0.
        rounded.max(self.bounds.0 as f32).min(self.bounds.1 as f32) + 0.0
    }
}

pub(super) struct Rescale {
    pub fixed: Fixed31,
    pub bounds: (i32, i32),
}

impl Lane for Rescale {
    #[inline(always)]
    fn of(&self, x: f32) -> f32 {
        self.fixed.apply(integer(x)).clamp(self.bounds.0, self.bounds.1) as f32
    }
}

/// The integer of a code that is held as a float, without the checks of a cast; exact for magnitudes below 2^22.
#[inline(always)]
pub(in crate::kernels) fn integer(x: f32) -> i32 {
    const MAGIC: f32 = 12_582_912.0;
    (x + MAGIC).to_bits() as i32 - MAGIC.to_bits() as i32
}

/// Left shift of the terms before they are added.
const ADD_SHIFT: u32 = 20;

pub(super) struct Add<'a> {
    a: Source<'a>,
    b: Source<'a>,
    terms: [Fixed31; 2],
    sum: Fixed31,
    bounds: (i32, i32),
}

impl<'a> Add<'a> {
    /// Adds terms of scales `first` and `second` to a sum of scale `sum`.
    pub fn new(a: Source<'a>, b: Source<'a>, (first, second, sum): (f32, f32, f32), bounds: (i32, i32)) -> Self {
        let larger = f64::from(2.0 * first.max(second));
        Self {
            a,
            b,
            terms: [first, second].map(|scale| Fixed31::new(f64::from(scale) / larger)),
            sum: Fixed31::new(larger / f64::from((1 << ADD_SHIFT) as f32 * sum)),
            bounds,
        }
    }
}

impl PixelOp for Add<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let [mut a, mut b] = [[0.0; LANES]; 2];
        s.store(&mut a, self.a.load(s, at));
        s.store(&mut b, self.b.load(s, at));
        let [first, second] = self.terms;
        for i in 0..LANES {
            let sum = first.apply(integer(a[i]) << ADD_SHIFT).wrapping_add(second.apply(integer(b[i]) << ADD_SHIFT));
            a[i] = self.sum.apply(sum).max(self.bounds.0).min(self.bounds.1) as f32;
        }
        s.load(&a)
    }
}

pub(super) struct Average<'a> {
    pub shape: PoolShape,
    pub codes: Codes,
    pub bounds: (i32, i32),
    pub x: Source<'a>,
}

impl PixelOp for Average<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let Self { shape, codes, bounds, x } = self;
        let rows = shape.clip(at.y, shape.padding.top, x.geometry.h);
        let columns = shape.clip(at.x, shape.padding.left, x.geometry.w);
        let cells = (rows.len() * columns.len()) as i64;
        let sums = window(s, x, at, rows, columns);
        s.load(&sums.map(|sum| {
            let sum = sum + cells * i64::from(codes.zero_point);
            (rounded(sum, cells) as i32 - codes.zero_point).clamp(bounds.0, bounds.1) as f32
        }))
    }
}

/// The quotient, rounded to nearest, ties away from zero.
pub(super) fn rounded(sum: i64, count: i64) -> i64 {
    (if sum > 0 { sum + count / 2 } else { sum - count / 2 }) / count
}

/// The mean of each channel, `[N, C, 1, 1]`: the sum times a multiplier that includes the division by the number of pixels.
pub(super) fn mean(
    exec: &Exec<'_>,
    images: usize,
    x: Source<'_>,
    (multiplier, (low, high)): (f64, (i32, i32)),
    y: &mut [f32],
    yg: &Geometry,
) {
    let (pixels, fixed) = ((x.geometry.h * x.geometry.w) as i64, Fixed31::new(multiplier));
    let shift = (63 - pixels.leading_zeros() as i32).min(32).min(31 + fixed.shift);
    let mantissa = ((i64::from(fixed.mantissa) << shift) / pixels) as i32;
    let fixed = Fixed31 { mantissa, shift: fixed.shift - shift };
    for_each_pixel(exec, images, &Mean { x, fixed, bounds: (low, high) }, y, yg);
}

pub(super) struct Mean<'a> {
    pub x: Source<'a>,
    pub fixed: Fixed31,
    pub bounds: (i32, i32),
}

impl PixelOp for Mean<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let Geometry { h, w, .. } = *self.x.geometry;
        let mean = |sum: i64| {
            let sum = sum.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
            self.fixed.apply(sum).clamp(self.bounds.0, self.bounds.1) as f32
        };
        s.load(&window(s, &self.x, at, 0..h, 0..w).map(mean))
    }
}

/// Softmax over the channels of each pixel, by a table of the 256 exponentials in f32.
pub(super) fn softmax(
    exec: &Exec<'_>,
    images: usize,
    x: Source<'_>,
    (scale, to): (f32, Codes),
    y: &mut [f32],
    yg: &Geometry,
) {
    let g = x.geometry;
    let table: [f32; 256] = std::array::from_fn(|difference| (-scale * difference as f32).exp());
    let inner = Shared::new(y);
    exec.for_each_task(images * g.h, |_, task| {
        let (image, row) = (task / g.h, task % g.h);
        for column in 0..g.w {
            let code = |c: usize| x.channel(image, c, row, column) as i32;
            let highest = (0..g.c).map(code).max().unwrap_or(0);
            let exponential = |c: usize| table[(highest - code(c)).clamp(0, 255) as usize];
            let total: f32 = (0..g.c).map(exponential).sum();
            let inverse = 1.0 / (total * to.scale);
            for c in 0..g.c {
                let (low, high) = to.bounds();
                let share = (exponential(c) * inverse + 0.5).floor() as i32;
                // SAFETY: each row of each image belongs to one task.
                let cell = unsafe { inner.slice(yg.index(image, c, row, column), 1) };
                cell[0] = share.clamp(low, high) as f32;
            }
        }
    });
}

pub(super) struct Resize<'a> {
    pub tables: Bilinear,
    pub codes: Codes,
    pub x: Source<'a>,
}

impl PixelOp for Resize<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let [(top, bottom, down), (left, right, across)] = self.tables.neighbours(at.y, at.x);
        let zero = self.codes.zero_point as f32;
        let mut corners = [[0.0; LANES]; 4];
        for (lanes, (y, x)) in corners.iter_mut().zip([(top, left), (bottom, left), (top, right), (bottom, right)]) {
            s.store(lanes, s.add(self.x.load(s, Pixel { y, x, ..at }), s.splat(zero)));
        }
        let shares = [(1.0 - down, 1.0 - across), (down, 1.0 - across), (1.0 - down, across), (down, across)];
        s.load(&std::array::from_fn::<f32, LANES, _>(|i| {
            let terms: [f32; 4] = std::array::from_fn(|k| corners[k][i] * shares[k].0 * shares[k].1);
            (terms[0] + terms[1] + terms[2] + terms[3] + 0.5).floor() - zero
        }))
    }
}
