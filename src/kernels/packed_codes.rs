//! Codes of 0 to 255 as bytes, four to a 32-bit word: the layout of activations inside an 8-bit inverted residual.
//!
//! ```text
//! one pixel of a block, 16 channels in 4 words:   [c0 c1 c2 c3] [c4 c5 c6 c7] [c8 .. c11] [c12 .. c15]
//!
//! one block of a row, stride 2:   x0 x2 x4 ...  |  x1 x3 x5 ...     columns of one remainder are contiguous,
//!                                 remainder 0   |  remainder 1      so that a strided window reads without gaps
//! ```

use super::geometry::LANES;

/// Words of one pixel of sixteen channels.
pub(super) const PIXEL_WORDS: usize = LANES / 4;

/// Where the pixels of packed rows are. Columns with the same remainder modulo a stride are contiguous.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Blocks of channels.
    pub(super) blocks: usize,
    /// Binary logarithm of the stride.
    pub(super) stride: u32,
    /// Halo columns before the first column of the tensor.
    pub(super) left: usize,
    /// Stride between rows, in words.
    row: usize,
    /// Stride between channel blocks, in words.
    block: usize,
    /// Stride between the columns of one remainder and those of the next, in words.
    remainder: usize,
    /// Stride between two columns of the same remainder, in words.
    step: usize,
}

impl Layout {
    /// `[row][block][column % stride][column / stride][16 channels]`, with `columns` of each remainder in a row.
    pub(super) fn by_block(blocks: usize, stride: usize, columns: usize, left: usize) -> Self {
        let (remainder, step) = (columns * PIXEL_WORDS, PIXEL_WORDS);
        let block = stride * remainder;
        Self { blocks, stride: stride.ilog2(), left, row: blocks * block, block, remainder, step }
    }

    /// `[row][column][block][16 channels]`.
    pub(super) fn by_pixel(blocks: usize, columns: usize) -> Self {
        let step = blocks * PIXEL_WORDS;
        Self { blocks, stride: 0, left: 0, row: columns * step, block: PIXEL_WORDS, remainder: 0, step }
    }

    /// Stride between rows, in words.
    pub(super) fn row_len(&self) -> usize {
        self.row
    }

    /// Index of the first word of column `column` (counted from the halo) of a block of a row.
    #[inline(always)]
    pub(super) fn at(&self, row: usize, block: usize, column: usize) -> usize {
        let (remainder, index) = (column & ((1 << self.stride) - 1), column >> self.stride);
        row * self.row + block * self.block + remainder * self.remainder + index * self.step
    }
}

/// Packed rows of codes, `[C, H, W]`. Bytes at and above `C` in the last block are zero.
#[derive(Clone, Copy, Debug)]
pub struct PackedCodes<'a> {
    words: &'a [i32],
    layout: Layout,
    /// Channels.
    pub c: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
}

impl<'a> PackedCodes<'a> {
    /// The first `h` rows of `words`.
    pub(super) fn new(words: &'a [i32], layout: Layout, [c, h, w]: [usize; 3]) -> Self {
        Self { words, layout, c, h, w }
    }

    /// The code of channel `c` at row `y`, column `x`.
    pub fn code(&self, c: usize, y: usize, x: usize) -> u8 {
        self.plane(c / LANES, y).pixel(0, x)[c % LANES]
    }

    /// The rows of one block from `row` on.
    pub(super) fn plane(&self, block: usize, row: usize) -> Plane<'a> {
        let at = |column: usize| self.layout.at(row, block, self.layout.left + column);
        let (first, odd) = (at(0), at(1).wrapping_sub(at(0)) as isize);
        Plane { words: self.words, first, row: self.layout.row, pair_stride: at(2) - first, odd }
    }
}

/// Rows of one channel block of codes.
#[derive(Clone, Copy)]
pub(super) struct Plane<'a> {
    words: &'a [i32],
    /// Index of the first word of the first pixel.
    first: usize,
    /// Stride between rows, in words.
    row: usize,
    /// Stride from an even pixel to the next even one, and from an even pixel to the odd one after it, in words.
    pub(super) pair_stride: usize,
    pub(super) odd: isize,
}

impl<'a> Plane<'a> {
    /// The rows from `row` on.
    pub(super) fn below(self, row: usize) -> Self {
        Self { first: self.first + row * self.row, ..self }
    }

    /// Stride between rows, in words.
    pub(super) fn row_len(&self) -> usize {
        self.row
    }

    fn at(&self, row: usize, column: usize) -> usize {
        (self.first + row * self.row + column / 2 * self.pair_stride)
            .wrapping_add_signed((column % 2) as isize * self.odd)
    }

    /// The codes of a pixel.
    pub(super) fn pixel(&self, row: usize, column: usize) -> [u8; LANES] {
        let words = &self.words[self.at(row, column)..][..PIXEL_WORDS];
        std::array::from_fn(|lane| words[lane / 4].to_le_bytes()[lane % 4])
    }

    /// All words, and the index of the first word of row 0, once it is checked that every pixel of `rows` x `columns` exists.
    ///
    /// # Panics
    /// If one does not.
    pub(super) fn range(&self, rows: usize, columns: usize) -> (&'a [i32], usize) {
        let corners = (0..columns.min(2)).chain(columns.saturating_sub(2)..columns);
        let mut corners = corners.flat_map(|column| [self.at(0, column), self.at(rows - 1, column)]);
        assert!(
            corners.all(|at| at < self.words.len() && at + PIXEL_WORDS <= self.words.len()),
            "the rows hold every pixel"
        );
        (self.words, self.first)
    }
}
