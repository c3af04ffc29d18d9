//! How a group of codes lies in a chunk: written and read one row at a time.

use half::f16;

use crate::kernels::geometry::LANES;

/// Codes of 4 bits in a word.
pub(super) const NIBBLES: usize = 8;

/// How the elements of a matrix are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodedForm {
    /// Columns that share a scale: 16 or 32.
    pub group: usize,
    /// Whether codes have 4 bits: 0..=15 with a minimum, else -8..=7. Others have 8: -128..=127.
    pub nibbles: bool,
    /// Whether a minimum is added. The product of a code and a scale must then be exact in f32.
    pub minimum: bool,
    /// Whether scales and minima are half floats.
    pub halves: bool,
}

impl CodedForm {
    /// Words of sixteen scales.
    pub(super) fn scale_words(self) -> usize {
        if self.halves { LANES / 2 } else { LANES }
    }

    /// Words of a chunk before its codes.
    pub(super) fn header_words(self) -> usize {
        self.scale_words() * if self.minimum { 2 } else { 1 }
    }

    /// Words of a chunk.
    pub(super) fn words(self) -> usize {
        self.header_words() + self.group * LANES / if self.nibbles { NIBBLES } else { 4 }
    }

    /// The smallest code.
    pub(super) fn first(self) -> i32 {
        match (self.nibbles, self.minimum) {
            (true, true) => 0,
            (true, false) => -8,
            (false, _) => -128,
        }
    }

    /// Writes the scale and minimum `[scale, minimum]`, and the codes of a group of the row in lane `lane` of `chunk`.
    pub(super) fn pack(self, chunk: &mut [i32], lane: usize, scales: [f32; 2], codes: &[i8]) {
        for (which, scale) in scales.into_iter().take(if self.minimum { 2 } else { 1 }).enumerate() {
            let header = &mut chunk[which * self.scale_words()..];
            if self.halves {
                header[lane / 2] |= i32::from(f16::from_f32(scale).to_bits()) << (lane % 2 * 16);
            } else {
                header[lane] = scale.to_bits().cast_signed();
            }
        }
        let packed = &mut chunk[self.header_words()..];
        for (column, &code) in codes.iter().enumerate() {
            if self.nibbles {
                let nibble = i32::from(code) - self.first();
                packed[column / NIBBLES * LANES + lane] |= nibble << (column % NIBBLES * 4);
            } else {
                packed[column * LANES / 4 + lane / 4] |= i32::from(code.cast_unsigned()) << (lane % 4 * 8);
            }
        }
    }

    /// The scale (`which` 0) or minimum (1) of the row in lane `lane` of `chunk`.
    pub(super) fn scale(self, chunk: &[i32], which: usize, lane: usize) -> f32 {
        let header = &chunk[which * self.scale_words()..];
        match self.halves {
            true => f16::from_bits((header[lane / 2] >> (lane % 2 * 16)) as u16).to_f32(),
            false => f32::from_bits(header[lane].cast_unsigned()),
        }
    }

    /// The code of column `column` of a group of the row in lane `lane` of `chunk`.
    pub(super) fn code(self, chunk: &[i32], lane: usize, column: usize) -> i8 {
        let packed = &chunk[self.header_words()..];
        match self.nibbles {
            true => (packed[column / NIBBLES * LANES + lane] >> (column % NIBBLES * 4) & 15) as i8 + self.first() as i8,
            false => (packed[column * LANES / 4 + lane / 4] >> (lane % 4 * 8)) as i8,
        }
    }
}
