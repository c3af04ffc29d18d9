//! Where the values of lines are read from.

use super::range::{LaneRanges, Range};
use crate::kernels::geometry::LANES;
use crate::kernels::packed_codes::Plane;

/// Values, sixteen per pixel.
#[derive(Clone, Copy)]
pub(super) enum Values<'a> {
    /// Floats, starting at the first pixel of the first line.
    Floats(Strided<'a>),
    /// Codes of 0 to 255.
    Bytes(Plane<'a>),
}

/// Floats, with the strides between lines and between pixels.
#[derive(Clone, Copy)]
pub(super) struct Strided<'a> {
    pub(super) x: &'a [f32],
    pub(super) line: usize,
    pub(super) pixel: usize,
}

/// Lines of values.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) values: Values<'a>,
    /// Pixels of a line.
    pub(super) pixels: usize,
    /// How many lanes count in each pixel, and in the last one.
    pub(super) used: (usize, usize),
}

impl Source<'_> {
    /// The lines from `line` on.
    pub(super) fn below(self, line: usize) -> Self {
        let values = match self.values {
            Values::Floats(floats) => Values::Floats(Strided { x: &floats.x[line * floats.line..], ..floats }),
            Values::Bytes(plane) => Values::Bytes(plane.below(line)),
        };
        Self { values, ..self }
    }

    /// A pixel, and how many of its lanes count.
    #[inline(always)]
    pub(super) fn pixel(&self, line: usize, index: usize) -> ([f32; LANES], usize) {
        let pixel = match self.values {
            Values::Floats(Strided { x, line: from_line, pixel }) => {
                *x[line * from_line + index * pixel..].first_chunk().expect("the pixel is there")
            }
            Values::Bytes(plane) => plane.pixel(line, index).map(f32::from),
        };
        (pixel, if index + 1 == self.pixels { self.used.1 } else { self.used.0 })
    }

    /// Where its bytes lie, once it is checked that `lines` lines of pixels exist.
    pub(super) fn raw(&self, lines: usize) -> Raw {
        assert!(lines > 0 && self.pixels > 0, "lines of pixels");
        // Floats and packed words have four bytes each.
        match self.values {
            Values::Floats(Strided { x, line, pixel }) => {
                assert!(x.len() >= (lines - 1) * line + (self.pixels - 1) * pixel + LANES, "lines of pixels");
                Raw { x: x.as_ptr().cast(), line: 4 * line, pair: 8 * pixel, odd: 4 * pixel as isize }
            }
            Values::Bytes(plane) => {
                let (words, first) = plane.range(lines, self.pixels);
                let (line, pair, odd) = (4 * plane.row_len(), 4 * plane.pair_stride, 4 * plane.odd);
                Raw { x: words.as_ptr().wrapping_add(first).cast(), line, pair, odd }
            }
        }
    }

    /// Smallest and largest value of the first `lines` lines.
    pub(super) fn extremes(&self, lines: usize) -> [f32; 2] {
        let mut lanes = LaneRanges::default();
        for (line, index) in (0..lines).flat_map(|line| (0..self.pixels).map(move |index| (line, index))) {
            match self.pixel(line, index) {
                (pixel, LANES) => lanes.add(&pixel, LANES),
                (pixel, used) => lanes.add(&pixel, used),
            }
        }
        let Range { min, max } = lanes.all();
        [min, max]
    }
}

/// Lines of pixels as bytes, of which all that there are may be read.
#[derive(Clone, Copy)]
pub(super) struct Raw {
    /// The first pixel.
    pub(super) x: *const u8,
    /// Bytes from a line to the next.
    pub(super) line: usize,
    /// From an even pixel to the next even one.
    pub(super) pair: usize,
    /// From an even pixel to the odd one after it.
    pub(super) odd: isize,
}
