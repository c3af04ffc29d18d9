//! How many groups of each size have which width.

use super::code::MAX_WIDTH;
use super::lines::PIXELS;
use super::sums::WidthHistogram;

/// Rows of a table: more than there are widths, so that indexing by a width needs no bounds check.
const ROWS: usize = 32;

/// Counts of groups by width. Neighbouring groups have separate counters, so that increments do not depend on each other.
#[derive(Clone)]
pub(super) struct GroupCounts {
    of_16: [[u32; PIXELS[2]]; ROWS],
    of_64: [[u32; PIXELS[2] / PIXELS[1]]; ROWS],
    of_256: [u32; ROWS],
}

impl Default for GroupCounts {
    fn default() -> Self {
        Self { of_16: [[0; _]; ROWS], of_64: [[0; _]; ROWS], of_256: [0; ROWS] }
    }
}

impl GroupCounts {
    /// Counter of groups of 16 of this width, for the `index`-th of sixteen pixels.
    #[inline(always)]
    pub(super) fn of_16(&mut self, index: usize, width: u8) -> &mut u32 {
        &mut self.of_16[usize::from(width) % ROWS][index]
    }

    /// Counter of groups of 64, for the `index`-th of four.
    #[inline(always)]
    pub(super) fn of_64(&mut self, index: usize, width: u8) -> &mut u32 {
        &mut self.of_64[usize::from(width) % ROWS][index]
    }

    /// Counter of groups of 256.
    #[inline(always)]
    pub(super) fn of_256(&mut self, width: u8) -> &mut u32 {
        &mut self.of_256[usize::from(width) % ROWS]
    }

    /// Applies `change` to the counter of each group in a line, given the widths per pixel.
    pub(super) fn of_line(&mut self, widths: [&[u8]; 3], mut change: impl FnMut(&mut u32)) {
        for pixel in 0..widths[0].len() {
            change(self.of_16(pixel % PIXELS[2], widths[0][pixel]));
            if pixel.is_multiple_of(PIXELS[1]) {
                change(self.of_64(pixel % PIXELS[2] / PIXELS[1], widths[1][pixel]));
            }
            if pixel.is_multiple_of(PIXELS[2]) {
                change(self.of_256(widths[2][pixel]));
            }
        }
    }

    /// Moves the counts to `to`.
    pub(super) fn drain_into(&mut self, to: &mut [WidthHistogram; 3]) {
        self.add_to(to);
        *self = Self::default();
    }

    /// Adds the counts to `to`.
    pub(super) fn add_to(&self, to: &mut [WidthHistogram; 3]) {
        for width in 0..=MAX_WIDTH {
            to[0][width] += self.of_16[width].iter().copied().map(u64::from).sum::<u64>();
            to[1][width] += self.of_64[width].iter().copied().map(u64::from).sum::<u64>();
            to[2][width] += u64::from(self.of_256[width]);
        }
    }
}
