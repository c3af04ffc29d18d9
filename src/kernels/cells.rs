//! Codes of 0 to 255 in bytes, four to a cell: what the middle of an inverted residual of integers is.

use super::geometry::LANES;

/// Cells of sixteen bytes.
pub(super) const PIXEL: usize = LANES / 4;

/// Where the pixels of rows of bytes are: columns whose numbers agree modulo a stride lie side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Blocks of channels.
    pub(super) blocks: usize,
    /// The logarithm of the stride.
    pub(super) stride: u32,
    /// Columns of the frame before the first.
    pub(super) left: usize,
    /// Cells from row to row.
    row: usize,
    /// Cells from block to block.
    block: usize,
    /// Cells from the columns of one remainder to those of the next.
    remainder: usize,
    /// Cells from a column to the one a stride after it.
    step: usize,
}

impl Layout {
    /// `[row][block][column % stride][column / stride][16 channels]`, `columns` of each remainder in a row.
    pub(super) fn by_block(blocks: usize, stride: usize, columns: usize, left: usize) -> Self {
        let (remainder, step) = (columns * PIXEL, PIXEL);
        let block = stride * remainder;
        Self { blocks, stride: stride.ilog2(), left, row: blocks * block, block, remainder, step }
    }

    /// `[row][column][block][16 channels]`.
    pub(super) fn by_pixel(blocks: usize, columns: usize) -> Self {
        let step = blocks * PIXEL;
        Self { blocks, stride: 0, left: 0, row: columns * step, block: PIXEL, remainder: 0, step }
    }

    /// Cells from row to row.
    pub(super) fn row_len(&self) -> usize {
        self.row
    }

    /// The cell of column `column` of the frame, of a block of a row.
    #[inline(always)]
    pub(super) fn at(&self, row: usize, block: usize, column: usize) -> usize {
        let (remainder, place) = (column & ((1 << self.stride) - 1), column >> self.stride);
        row * self.row + block * self.block + remainder * self.remainder + place * self.step
    }
}

/// Rows of bytes, `[C, H, W]`. Bytes at and above `C` in the last block are zero.
#[derive(Clone, Copy, Debug)]
pub struct Cells<'a> {
    cells: &'a [i32],
    layout: Layout,
    /// Channels.
    pub c: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
}

impl<'a> Cells<'a> {
    /// The first `h` rows of `cells`.
    pub(super) fn new(cells: &'a [i32], layout: Layout, [c, h, w]: [usize; 3]) -> Self {
        Self { cells, layout, c, h, w }
    }

    /// The code of channel `c` at row `y`, column `x`.
    pub fn code(&self, c: usize, y: usize, x: usize) -> u8 {
        self.plane(c / LANES, y).pixel(0, x)[c % LANES]
    }

    /// Some rows of a block.
    pub(super) fn plane(&self, block: usize, row: usize) -> Plane<'a> {
        let at = |column: usize| self.layout.at(row, block, self.layout.left + column);
        let (first, odd) = (at(0), at(1).wrapping_sub(at(0)) as isize);
        Plane { cells: self.cells, first, row: self.layout.row, couple: at(2) - first, odd }
    }
}

/// Rows of a block of bytes.
#[derive(Clone, Copy)]
pub(super) struct Plane<'a> {
    cells: &'a [i32],
    /// The cell of the first pixel.
    first: usize,
    /// Cells from row to row.
    row: usize,
    /// From an even pixel to the next even one, and to the odd one beside it.
    pub(super) couple: usize,
    pub(super) odd: isize,
}

impl<'a> Plane<'a> {
    /// The rows from row `row` on.
    pub(super) fn below(self, row: usize) -> Self {
        Self { first: self.first + row * self.row, ..self }
    }

    /// Cells from row to row.
    pub(super) fn row_len(&self) -> usize {
        self.row
    }

    /// The same, with only each `step`-th row.
    pub(super) fn every(self, step: usize) -> Self {
        Self { row: self.row * step, ..self }
    }

    fn at(&self, row: usize, column: usize) -> usize {
        (self.first + row * self.row + column / 2 * self.couple).wrapping_add_signed((column % 2) as isize * self.odd)
    }

    /// The codes of a pixel.
    pub(super) fn pixel(&self, row: usize, column: usize) -> [u8; LANES] {
        let cells = &self.cells[self.at(row, column)..][..PIXEL];
        std::array::from_fn(|lane| cells[lane / 4].to_le_bytes()[lane % 4])
    }

    /// All cells, and which is the first of row 0, if every pixel of some rows of some columns is there.
    ///
    /// # Panics
    /// If one is not.
    pub(super) fn of(&self, rows: usize, columns: usize) -> (&'a [i32], usize) {
        let corners = (0..columns.min(2)).chain(columns.saturating_sub(2)..columns);
        let mut corners = corners.flat_map(|column| [self.at(0, column), self.at(rows - 1, column)]);
        assert!(corners.all(|at| at < self.cells.len() && at + PIXEL <= self.cells.len()), "pixels of rows");
        (self.cells, self.first)
    }
}
