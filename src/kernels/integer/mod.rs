//! Layers without weights in 8-bit networks, bit-exact with TFLite's reference kernels or as ONNX defines them.
//!
//! A quantised value is held as the integer `q - zero_point` in an f32. Zero is then 0.0, and every kernel that only moves
//! values works on it unchanged.

mod even;
mod fixed;

use std::ops::Range;

use self::even::{Even, EvenAdd, EvenMean, planes};
pub(super) use self::fixed::integer;
use self::fixed::{Add, Average, Quantize, Rescale, Resize, mean, softmax};
use super::exec::Exec;
use super::geometry::{Geometry, LANES};
use super::pixels::{Pixel, PixelOp, Source, for_each_pixel};
use super::pool::PoolShape;
use super::requantize::{Fixed31, Rounding};
use super::resize::Bilinear;
use super::simd::Simd;

/// Quantisation parameters of 8-bit integers: `real = scale * (q - zero_point)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Codes {
    /// The real value of one step of the code.
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

/// A kind of layer with its parameters. Values are `q - zero_point` unless said otherwise.
#[derive(Clone, Debug)]
pub enum Integer {
    /// Quantisation of floats; ties go to even with [`Rounding::Float32`], away from zero with the others.
    Quantize(Codes, Rounding),
    /// Dequantisation to floats.
    Dequantize(Codes),
    /// Requantisation to another scale.
    Rescale {
        /// Scale of the input, and of the result.
        scales: (f32, f32),
        /// Of the result.
        bounds: (i32, i32),
        /// Of the quotient.
        rounding: Rounding,
    },
    /// Sum of two values with separate scales.
    Add {
        /// Scales of the terms, and of the sum.
        scales: ([f32; 2], f32),
        /// Of the result, cut by the activation.
        bounds: (i32, i32),
        /// Of the sum.
        rounding: Rounding,
    },
    /// Mean of each window, over the codes themselves.
    AveragePool {
        /// The windows.
        shape: PoolShape,
        /// The input's, and the output's.
        codes: Codes,
        /// Of the result, cut by the activation.
        bounds: (i32, i32),
    },
    /// Mean over all pixels, requantised.
    Mean {
        /// Scale of the input, and of the result.
        scales: (f32, f32),
        /// Of the result.
        bounds: (i32, i32),
        /// Of the mean.
        rounding: Rounding,
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
        /// As in [`Bilinear::new`].
        align_corners: bool,
        /// The input's, and the output's.
        codes: Codes,
    },
}

impl Integer {
    /// Name in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Quantize(..) => "quantize",
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
            Self::Quantize(codes, Rounding::Float32) if yg.lanes == 1 => planes(exec, images, x, codes, y, yg),
            Self::Quantize(codes, Rounding::Float32) => {
                let op = Even { x, scales: (1.0, codes.scale), bounds: codes.bounds() };
                for_each_pixel(exec, images, &op, y, yg);
            }
            Self::Quantize(codes, _) => {
                let map = Quantize { scale: codes.scale, bounds: codes.bounds() };
                for_each_pixel(exec, images, &Map { x, map }, y, yg);
            }
            Self::Dequantize(codes) => for_each_pixel(exec, images, &Map { x, map: Dequantize(codes.scale) }, y, yg),
            Self::Rescale { scales, bounds, rounding: Rounding::Float32 } => {
                for_each_pixel(exec, images, &Even { x, scales, bounds }, y, yg);
            }
            Self::Rescale { scales, bounds, .. } => {
                let map = Rescale { fixed: Fixed31::new(ratio(scales)), bounds };
                for_each_pixel(exec, images, &Map { x, map }, y, yg);
            }
            Self::Add { scales, bounds, rounding: Rounding::Float32 } => {
                let op = EvenAdd { a: x, b: Source::new(inputs[1].0, inputs[1].1), scales, bounds };
                for_each_pixel(exec, images, &op, y, yg);
            }
            Self::Add { scales: ([a, b], sum), bounds, .. } => {
                let op = Add::new(x, Source::new(inputs[1].0, inputs[1].1), (a, b, sum), bounds);
                for_each_pixel(exec, images, &op, y, yg);
            }
            Self::AveragePool { shape, codes, bounds } => {
                for_each_pixel(exec, images, &Average { shape, codes, bounds, x }, y, yg);
            }
            Self::Mean { scales: (from, to), bounds, rounding: Rounding::Float32 } => {
                let pixels = x.geometry.h * x.geometry.w;
                let op = EvenMean { x, multiplier: from / (to * pixels as f32), bounds };
                for_each_pixel(exec, images, &op, y, yg);
            }
            Self::Mean { scales, bounds, .. } => mean(exec, images, x, (ratio(scales), bounds), y, yg),
            Self::Softmax { scale, to } => softmax(exec, images, x, (scale, to), y, yg),
            Self::Resize { align_corners, codes } => {
                let tables = Bilinear::new(x.geometry, yg, align_corners);
                for_each_pixel(exec, images, &Resize { tables, codes, x }, y, yg);
            }
        }
    }
}

/// Ratio of two scales.
fn ratio((from, to): (f32, f32)) -> f64 {
    f64::from(from) / f64::from(to)
}

/// A function of one value. Must be `#[inline(always)]`: closures are not compiled for the instruction set.
trait Lane: Sync {
    fn of(&self, x: f32) -> f32;
}

struct Dequantize(f32);

impl Lane for Dequantize {
    #[inline(always)]
    fn of(&self, x: f32) -> f32 {
        x * self.0
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

/// The exact sums of sixteen channels over a window: row by row in f32, which holds 2^24 / 255 values.
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

#[cfg(test)]
mod tests;
