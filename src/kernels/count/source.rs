//! Where the values of lines come from.

use crate::kernels::cells::Plane;
use crate::kernels::geometry::LANES;

/// Values `[pixel][16]`.
#[derive(Clone, Copy)]
pub(super) enum Values<'a> {
    /// From the first pixel of the first line on, and how many there are from line to line.
    Reals(&'a [f32], usize),
    /// Codes of 0 to 255.
    Bytes(Plane<'a>),
}

/// Lines of values.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) values: Values<'a>,
    /// Pixels of each.
    pub(super) pixels: usize,
    /// Of each pixel's lanes, how many count; and of the last one's.
    pub(super) used: (usize, usize),
}

impl Source<'_> {
    /// The lines from line `line` on.
    pub(super) fn below(self, line: usize) -> Self {
        let values = match self.values {
            Values::Reals(x, row) => Values::Reals(&x[line * row..], row),
            Values::Bytes(plane) => Values::Bytes(plane.below(line)),
        };
        Self { values, ..self }
    }

    /// A pixel, and how many of its lanes count.
    #[inline(always)]
    pub(super) fn pixel(&self, line: usize, index: usize) -> ([f32; LANES], usize) {
        let pixel = match self.values {
            Values::Reals(x, row) => *x[line * row + index * LANES..].first_chunk().expect("the pixel is there"),
            Values::Bytes(plane) => plane.pixel(line, index).map(f32::from),
        };
        (pixel, if index + 1 == self.pixels { self.used.1 } else { self.used.0 })
    }

    /// Smallest and largest value of the first `lines` lines.
    #[inline(always)]
    pub(super) fn extremes(&self, lines: usize) -> [f32; 2] {
        let (mut low, mut high) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
        let mut add = |pixel: &[f32; LANES], used: usize| {
            // Lane by lane: a vector's work.
            for lane in 0..used {
                low[lane] = if pixel[lane] < low[lane] { pixel[lane] } else { low[lane] };
                high[lane] = if pixel[lane] > high[lane] { pixel[lane] } else { high[lane] };
            }
        };
        for line in 0..lines {
            for index in 0..self.pixels {
                match self.pixel(line, index) {
                    (pixel, LANES) => add(&pixel, LANES),
                    (pixel, used) => add(&pixel, used),
                }
            }
        }
        [low.into_iter().fold(f32::INFINITY, f32::min), high.into_iter().fold(f32::NEG_INFINITY, f32::max)]
    }
}
