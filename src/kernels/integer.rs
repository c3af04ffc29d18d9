//! Layers of 8-bit networks that multiply no weights, to the bit as TFLite's reference kernels compute them.
//!
//! A quantised value is held as the integer `q - zero_point` in an f32: zero is zero, and every kernel that only moves
//! values serves it as it is.

use std::ops::Range;

use super::exec::Exec;
use super::geometry::{Geometry, LANES};
use super::pixels::{Pixel, PixelOp, Source, for_each_pixel};
use super::pool::PoolShape;
use super::requantize::Fixed31;
use super::resize::Bilinear;
use super::shared::Shared;
use super::simd::Simd;

/// How 8-bit integers stand for reals: `real = scale * (q - zero_point)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Codes {
    /// Reals a code.
    pub scale: f32,
    /// The code of zero.
    pub zero_point: i32,
    /// Whether codes are -128..=127 or 0..=255.
    pub signed: bool,
}

impl Codes {
    /// Smallest and largest code.
    pub fn range(self) -> (i32, i32) {
        if self.signed { (-128, 127) } else { (0, 255) }
    }

    /// Smallest and largest `q - zero_point`.
    pub fn bounds(self) -> (i32, i32) {
        let (low, high) = self.range();
        (low - self.zero_point, high - self.zero_point)
    }
}

/// A kind of layer and its numbers. Values are `q - zero_point` unless said otherwise.
#[derive(Clone, Debug)]
pub enum Integer {
    /// Codes of reals, ties away from zero.
    Quantize(Codes),
    /// Reals of codes.
    Dequantize(Codes),
    /// Codes in another scale.
    Rescale {
        /// From scale to scale.
        multiplier: f64,
        /// Of the result.
        bounds: (i32, i32),
    },
    /// Sum of two values of scales of their own.
    Add {
        /// Scales of the terms, and of the sum.
        scales: ([f32; 2], f32),
        /// Of the result, cut by the activation.
        bounds: (i32, i32),
    },
    /// Mean of each window, of the codes themselves.
    AveragePool {
        /// The windows.
        shape: PoolShape,
        /// The input's, and the output's.
        codes: Codes,
        /// Of the result, cut by the activation.
        bounds: (i32, i32),
    },
    /// Mean over all pixels, in another scale.
    Mean {
        /// From scale to scale.
        multiplier: f64,
        /// Of the result.
        bounds: (i32, i32),
    },
    /// Softmax over all channels of each pixel.
    Softmax {
        /// Scale of the input, times beta.
        scale: f32,
        /// Of the result.
        to: Codes,
    },
    /// Bilinear resize to the rows and columns of the second input.
    Resize {
        /// As [`Bilinear::new`] has it.
        align_corners: bool,
        /// The input's, and the output's.
        codes: Codes,
    },
}

impl Integer {
    /// Name in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Quantize(_) => "quantize",
            Self::Dequantize(_) => "dequantize",
            Self::Rescale { .. } => "rescale",
            Self::Add { .. } => "add",
            Self::AveragePool { .. } => "avg_pool",
            Self::Mean { .. } => "mean",
            Self::Softmax { .. } => "softmax",
            Self::Resize { .. } => "resize",
        }
    }

    /// Computes the first `images` images of `y` from `inputs`.
    pub fn run(&self, exec: &Exec<'_>, images: usize, inputs: &[(&[f32], &Geometry)], y: &mut [f32], yg: &Geometry) {
        let x = Source::new(inputs[0].0, inputs[0].1);
        match *self {
            Self::Quantize(codes) => {
                let map = Quantize { scale: codes.scale, bounds: codes.bounds() };
                for_each_pixel(exec, images, &Map { x, map }, y, yg);
            }
            Self::Dequantize(codes) => for_each_pixel(exec, images, &Map { x, map: Dequantize(codes.scale) }, y, yg),
            Self::Rescale { multiplier, bounds } => {
                let map = Rescale { fixed: Fixed31::new(multiplier), bounds };
                for_each_pixel(exec, images, &Map { x, map }, y, yg);
            }
            Self::Add { scales: ([a, b], sum), bounds } => {
                let larger = f64::from(2.0 * a.max(b));
                let op = Add {
                    a: x,
                    b: Source::new(inputs[1].0, inputs[1].1),
                    terms: [a, b].map(|scale| Fixed31::new(f64::from(scale) / larger)),
                    sum: Fixed31::new(larger / f64::from((1 << ADD_SHIFT) as f32 * sum)),
                    bounds,
                };
                for_each_pixel(exec, images, &op, y, yg);
            }
            Self::AveragePool { shape, codes, bounds } => {
                for_each_pixel(exec, images, &Average { shape, codes, bounds, x }, y, yg);
            }
            Self::Mean { multiplier, bounds } => mean(exec, images, x, (multiplier, bounds), y, yg),
            Self::Softmax { scale, to } => softmax(exec, images, x, (scale, to), y, yg),
            Self::Resize { align_corners, codes } => {
                let tables = Bilinear::new(x.geometry, yg, align_corners);
                for_each_pixel(exec, images, &Resize { tables, codes, x }, y, yg);
            }
        }
    }
}

/// A function of one value. Must be `#[inline(always)]`: closures are not compiled for the level.
trait Lane: Sync {
    fn of(&self, x: f32) -> f32;
}

struct Quantize {
    scale: f32,
    bounds: (i32, i32),
}

impl Lane for Quantize {
    #[inline(always)]
    fn of(&self, x: f32) -> f32 {
        /// The largest below a half: what is just below a tie does not become one.
        const HALF: f32 = 0.499_999_97;
        let quotient = x / self.scale;
        let rounded = (quotient.abs() + HALF).trunc().copysign(quotient);
        // Adding zero makes -0 into +0.
        rounded.max(self.bounds.0 as f32).min(self.bounds.1 as f32) + 0.0
    }
}

struct Dequantize(f32);

impl Lane for Dequantize {
    #[inline(always)]
    fn of(&self, x: f32) -> f32 {
        x * self.0
    }
}

struct Rescale {
    fixed: Fixed31,
    bounds: (i32, i32),
}

impl Lane for Rescale {
    #[inline(always)]
    fn of(&self, x: f32) -> f32 {
        self.fixed.apply(integer(x)).clamp(self.bounds.0, self.bounds.1) as f32
    }
}

struct Map<'a, F> {
    x: Source<'a>,
    map: F,
}

impl<F: Lane> PixelOp for Map<'_, F> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let mut lanes = [0.0; LANES];
        s.store(&mut lanes, self.x.load(s, at));
        for lane in &mut lanes {
            *lane = self.map.of(*lane);
        }
        s.load(&lanes)
    }
}

/// A code, held as a real, without the checks of a cast: below 2^22 its bits are those of the sum's.
#[inline(always)]
fn integer(x: f32) -> i32 {
    const MAGIC: f32 = 12_582_912.0;
    (x + MAGIC).to_bits() as i32 - MAGIC.to_bits() as i32
}

/// Bits that terms are shifted up before they meet.
const ADD_SHIFT: u32 = 20;

struct Add<'a> {
    a: Source<'a>,
    b: Source<'a>,
    terms: [Fixed31; 2],
    sum: Fixed31,
    bounds: (i32, i32),
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

struct Average<'a> {
    shape: PoolShape,
    codes: Codes,
    bounds: (i32, i32),
    x: Source<'a>,
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

/// The exact sums of sixteen channels over a window: a row at a time in f32, which holds 2^24 / 255 values.
#[inline(always)]
fn window<S: Simd>(s: S, x: &Source<'_>, at: Pixel, rows: Range<usize>, columns: Range<usize>) -> [i64; LANES] {
    let mut sums = [0; LANES];
    for y in rows {
        let mut row = s.splat(0.0);
        for column in columns.clone() {
            row = s.add(row, x.load(s, Pixel { y, x: column, ..at }));
        }
        let mut lanes = [0.0; LANES];
        s.store(&mut lanes, row);
        sums.iter_mut().zip(lanes).for_each(|(sum, lane)| *sum += lane as i64);
    }
    sums
}

/// The quotient to the nearest, ties away from zero.
fn rounded(sum: i64, count: i64) -> i64 {
    (if sum > 0 { sum + count / 2 } else { sum - count / 2 }) / count
}

/// The mean of each channel, `[N, C, 1, 1]`: the sum times a multiplier that divides by the number of pixels.
fn mean(
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

struct Mean<'a> {
    x: Source<'a>,
    fixed: Fixed31,
    bounds: (i32, i32),
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
fn softmax(exec: &Exec<'_>, images: usize, x: Source<'_>, (scale, to): (f32, Codes), y: &mut [f32], yg: &Geometry) {
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

struct Resize<'a> {
    tables: Bilinear,
    codes: Codes,
    x: Source<'a>,
}

impl PixelOp for Resize<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let [(top, bottom, down), (left, right, across)] = self.tables.place(at.y, at.x);
        let zero = self.codes.zero_point as f32;
        let load = |y: usize, x: usize| {
            let mut lanes = [0.0; LANES];
            s.store(&mut lanes, self.x.load(s, Pixel { y, x, ..at }));
            lanes.map(|lane| lane + zero)
        };
        let corners = [load(top, left), load(bottom, left), load(top, right), load(bottom, right)];
        let shares = [(1.0 - down, 1.0 - across), (down, 1.0 - across), (1.0 - down, across), (down, across)];
        s.load(&std::array::from_fn::<f32, LANES, _>(|i| {
            let terms: [f32; 4] = std::array::from_fn(|k| corners[k][i] * shares[k].0 * shares[k].1);
            (terms[0] + terms[1] + terms[2] + terms[3] + 0.5).floor() - zero
        }))
    }
}

/// Softmax of reals over the channels of each pixel, after multiplying by `beta`.
pub fn softmax_of_reals(
    exec: &Exec<'_>,
    images: usize,
    beta: f32,
    (x, g): (&[f32], &Geometry),
    y: &mut [f32],
    yg: &Geometry,
) {
    let x = Source::new(x, g);
    let y = Shared::new(y);
    exec.for_each_task(images * g.h, |_, task| {
        let (image, row) = (task / g.h, task % g.h);
        for column in 0..g.w {
            let value = |c: usize| x.channel(image, c, row, column);
            let highest = (0..g.c).map(value).fold(f32::NEG_INFINITY, f32::max);
            let exponential = |c: usize| ((value(c) - highest) * beta).exp();
            let total: f32 = (0..g.c).map(exponential).sum();
            for c in 0..g.c {
                // SAFETY: each row of each image belongs to one task.
                unsafe { y.slice(yg.index(image, c, row, column), 1)[0] = exponential(c) / total };
            }
        }
    });
}

#[cfg(test)]
#[path = "integer_tests.rs"]
mod tests;
