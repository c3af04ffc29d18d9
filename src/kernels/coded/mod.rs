//! A matrix of small integers with scales, kept as it is: its elements become floats in registers, when they are multiplied.
//!
//! ```text
//! element = code * scale, or code * scale + minimum      one scale and one minimum for each group of columns of a row
//!
//! 16 rows are a block, lane = row; blocks are in sets of 4:
//!   set 0: | group 0: chunk of block 0, 1, 2, 3 | group 1: chunk of block 0, 1, 2, 3 | ...      set 1: ...
//!   chunk: | 16 scales | 16 minima, if there are any | codes |
//!   codes of 4 bits: words [column / 8][16], column c in the bits from 4 (c mod 8) on; codes of 8 bits: bytes [column][16]
//! ```
//! A product with one vector reads a set from its start to its end.

mod form;
#[cfg(test)]
pub(super) mod random;

use std::ops::Range;

pub use self::form::CodedForm;
use self::form::NIBBLES;
use crate::kernels::buffer::Buffer;
use crate::kernels::geometry::LANES;
use crate::kernels::isa::{Isa, Kernel};
use crate::kernels::simd::Simd;
use crate::kernels::tile::{SECOND, prefetch, unrolled};

/// Blocks of a set.
pub(super) const SET: usize = 4;
/// Most columns of a group.
const MOST_COLUMNS: usize = 32;
/// How far ahead a product with one vector prefetches, in words.
const AHEAD: usize = 1024;

/// A matrix of codes.
pub struct CodedMatrix {
    words: Buffer<i32>,
    rows: usize,
    columns: usize,
    form: CodedForm,
}

impl CodedMatrix {
    /// A matrix of `rows` rows of `columns` columns. `read(row, group, codes)` gives the scale and minimum of a group, and
    /// its codes.
    ///
    /// # Panics
    /// If the columns are no whole groups, or groups are not of 16 or 32 columns.
    pub fn new(
        (rows, columns): (usize, usize),
        form: CodedForm,
        mut read: impl FnMut(usize, usize, &mut [i8]) -> [f32; 2],
    ) -> Self {
        assert!([LANES, MOST_COLUMNS].contains(&form.group) && columns.is_multiple_of(form.group), "whole groups");
        let blocks = rows.div_ceil(LANES);
        let words = Buffer::zeroed(blocks * (columns / form.group) * form.words());
        let mut matrix = Self { words, rows, columns, form };
        for block in 0..blocks {
            for group in 0..columns / form.group {
                let at = matrix.at(block, group);
                let chunk = &mut matrix.words[at..at + form.words()];
                for lane in 0..LANES {
                    let (row, mut codes) = (block * LANES + lane, [0; MOST_COLUMNS]);
                    let codes = &mut codes[..form.group];
                    // Rows beyond the last are zero.
                    let scales = if row < rows { read(row, group, codes) } else { [0.0; 2] };
                    form.pack(chunk, lane, scales, codes);
                }
            }
        }
        matrix
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Blocks of rows.
    pub(super) fn blocks(&self) -> usize {
        self.rows.div_ceil(LANES)
    }

    /// First word of the chunk of group `group` of block `block`.
    fn at(&self, block: usize, group: usize) -> usize {
        let (first, groups) = (block / SET * SET, self.columns / self.form.group);
        let in_set = SET.min(self.blocks() - first);
        (first * groups + group * in_set + block - first) * self.form.words()
    }

    /// The chunk of group `group` of block `block`.
    fn chunk(&self, block: usize, group: usize) -> &[i32] {
        &self.words[self.at(block, group)..][..self.form.words()]
    }

    /// Sixteen columns of row `row`, from column `16 * part` on.
    ///
    /// # Panics
    /// If the matrix does not have them.
    pub(super) fn part_of_row(&self, row: usize, part: usize) -> [f32; LANES] {
        assert!(row < self.rows && (part + 1) * LANES <= self.columns, "a row of the matrix");
        let (form, lane) = (self.form, row % LANES);
        let (group, first) = (part * LANES / form.group, part * LANES % form.group);
        let chunk = self.chunk(row / LANES, group);
        let scale = form.scale(chunk, 0, lane);
        let minimum = form.minimum.then(|| form.scale(chunk, 1, lane));
        std::array::from_fn(|i| {
            let code = f32::from(form.code(chunk, lane, first + i));
            minimum.map_or(code * scale, |minimum| code.mul_add(scale, minimum))
        })
    }

    /// All elements, row-major.
    pub fn to_floats(&self) -> Vec<f32> {
        let parts = self.columns / LANES;
        (0..self.rows * parts).flat_map(|at| self.part_of_row(at / parts, at % parts)).collect()
    }

    /// All codes, row-major.
    pub fn codes(&self) -> Vec<f32> {
        let (form, groups) = (self.form, self.columns / self.form.group);
        let mut codes = Vec::with_capacity(self.rows * self.columns);
        for (row, group) in (0..self.rows).flat_map(|row| (0..groups).map(move |group| (row, group))) {
            let chunk = self.chunk(row / LANES, group);
            codes.extend((0..form.group).map(|column| f32::from(form.code(chunk, row % LANES, column))));
        }
        codes
    }

    /// The rows of `blocks` as `[column][block][16]` into `to`; rows beyond the last are zero.
    ///
    /// # Panics
    /// If the matrix does not have these blocks, or `to` does not hold them.
    pub(super) fn panel(&self, isa: Isa, blocks: Range<usize>, to: &mut [f32]) {
        assert!(
            blocks.end <= self.blocks() && to.len() >= self.columns * blocks.len() * LANES,
            "a panel and its place"
        );
        isa.run(Panel { matrix: self, blocks, to });
    }

    /// `sums[b]` plus, in the order of the columns, each of `x` times its column of block `first + b`.
    ///
    /// # Safety
    /// `x` must be valid for reading one float for each column; the matrix has the blocks, all of one set.
    #[inline(always)]
    pub(super) unsafe fn accumulate<S: Simd, const B: usize>(
        &self,
        s: S,
        x: *const f32,
        first: usize,
        sums: [S::V; B],
    ) -> [S::V; B] {
        let mut sums = Sums { x, sums };
        // SAFETY: the caller's.
        unsafe { self.walk::<S, _, B, true>(s, first, &mut sums) };
        sums.sums
    }

    /// Shows `to` all columns of `B` blocks from `first` on.
    ///
    /// # Safety
    /// The matrix has the blocks, all of one set; `to` takes each of its columns.
    #[inline(always)]
    unsafe fn walk<S: Simd, T: Columns<S, B>, const B: usize, const PREFETCH: bool>(
        &self,
        s: S,
        first: usize,
        to: &mut T,
    ) {
        let form = self.form;
        let step = self.at(first / SET * SET, 1) - self.at(first / SET * SET, 0);
        let mut chunks = self.words[self.at(first, 0)..].as_ptr();
        for column in (0..self.columns).step_by(form.group) {
            // SAFETY: the chunks of a group are `step` words behind those of the group before; the caller vouches for the
            // blocks and the columns.
            unsafe {
                if PREFETCH {
                    for line in (0..B * form.words()).step_by(LANES) {
                        prefetch::<_, SECOND>(chunks.wrapping_add(AHEAD + line));
                    }
                }
                match (form.nibbles, form.minimum) {
                    (true, true) => group::<S, T, B, true, true>(s, form, chunks, column, to),
                    (true, false) => group::<S, T, B, true, false>(s, form, chunks, column, to),
                    (false, true) => group::<S, T, B, false, true>(s, form, chunks, column, to),
                    (false, false) => group::<S, T, B, false, false>(s, form, chunks, column, to),
                }
            }
            chunks = chunks.wrapping_add(step);
        }
    }
}

impl std::fmt::Debug for CodedMatrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} x {} of {:?}", self.rows, self.columns, self.form)
    }
}

/// What is done with the columns of `B` blocks.
trait Columns<S: Simd, const B: usize> {
    /// Takes column `column`.
    ///
    /// # Safety
    /// The column is one of those that it has room for.
    unsafe fn take(&mut self, s: S, column: usize, elements: [S::V; B]);
}

/// Shows `to` the columns of a group, whose chunks begin at `chunks`; the first is column `column` of the matrix.
///
/// # Safety
/// `B` chunks of the form, with these codes, are readable from `chunks` on; `to` takes the columns.
#[inline(always)]
unsafe fn group<S: Simd, T: Columns<S, B>, const B: usize, const NIBBLE: bool, const MINIMUM: bool>(
    s: S,
    form: CodedForm,
    chunks: *const i32,
    column: usize,
    to: &mut T,
) {
    let (mut scales, mut minima) = ([s.splat(0.0); B], [s.splat(0.0); B]);
    let read = |chunk: *const i32| {
        // SAFETY: the caller vouches for the chunks, which begin with scales.
        unsafe { if form.halves { s.load_halves(chunk.cast()) } else { s.load_ptr(chunk.cast()) } }
    };
    let element = |code: S::V, scale: S::V, minimum: S::V| {
        if MINIMUM { s.fma(code, scale, minimum) } else { s.mul(code, scale) }
    };
    let step = form.words();
    unrolled!(b < B, {
        let chunk = chunks.wrapping_add(b * step);
        scales[b] = read(chunk);
        if MINIMUM {
            minima[b] = read(chunk.wrapping_add(form.scale_words()));
        }
    });
    let codes = chunks.wrapping_add(form.header_words());
    let mut elements = scales;
    if NIBBLE {
        for word in 0..form.group / NIBBLES {
            let mut words = [s.splat_int(0); B];
            unrolled!(b < B, {
                // SAFETY: the caller vouches for the chunks.
                words[b] = unsafe { s.load_int(codes.add(b * step + word * LANES)) };
            });
            unrolled!(k < NIBBLES, {
                unrolled!(b < B, {
                    if k > 0 {
                        words[b] = s.next_nibbles(words[b]);
                    }
                    let code = if MINIMUM { s.low_nibbles::<0>(words[b]) } else { s.low_nibbles::<-8>(words[b]) };
                    elements[b] = element(code, scales[b], minima[b]);
                });
                // SAFETY: the caller vouches for the columns.
                unsafe { to.take(s, column + word * NIBBLES + k, elements) };
            });
        }
    } else {
        for at in 0..form.group {
            // SAFETY: the caller vouches for the chunks and the columns.
            unsafe {
                unrolled!(b < B, {
                    let code = s.load_bytes(codes.add(b * step).cast::<i8>().add(at * LANES));
                    elements[b] = element(code, scales[b], minima[b]);
                });
                to.take(s, column + at, elements);
            }
        }
    }
}

/// Adds to each sum a column times its element of a vector.
struct Sums<S: Simd, const B: usize> {
    x: *const f32,
    sums: [S::V; B],
}

impl<S: Simd, const B: usize> Columns<S, B> for Sums<S, B> {
    #[inline(always)]
    unsafe fn take(&mut self, s: S, column: usize, elements: [S::V; B]) {
        // SAFETY: the caller's.
        let x = s.splat(unsafe { *self.x.add(column) });
        unrolled!(b < B, {
            self.sums[b] = s.fma(x, elements[b], self.sums[b]);
        });
    }
}

/// Stores each column, `width` floats after the one before.
struct Stored {
    to: *mut f32,
    width: usize,
}

impl<S: Simd, const B: usize> Columns<S, B> for Stored {
    #[inline(always)]
    unsafe fn take(&mut self, s: S, column: usize, elements: [S::V; B]) {
        unrolled!(b < B, {
            // SAFETY: the caller's.
            unsafe { s.store_ptr(self.to.add(column * self.width + b * LANES), elements[b]) };
        });
    }
}

struct Panel<'a> {
    matrix: &'a CodedMatrix,
    blocks: Range<usize>,
    to: &'a mut [f32],
}

impl Kernel for Panel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.blocks.len() * LANES;
        let mut block = self.blocks.start;
        while block < self.blocks.end {
            let to = self.to[(block - self.blocks.start) * LANES..].as_mut_ptr();
            let mut stored = Stored { to, width };
            // SAFETY: the matrix has the blocks, of one set, and `to` a place for each of their columns (asserted by `panel`).
            unsafe {
                if block.is_multiple_of(2) && block + 2 <= self.blocks.end {
                    self.matrix.walk::<S, _, 2, false>(s, block, &mut stored);
                    block += 2;
                } else {
                    self.matrix.walk::<S, _, 1, false>(s, block, &mut stored);
                    block += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
