//! The layout of an activation tensor in its buffer: channels in blocks of lanes, rows padded by a halo.

use std::ops::Range;

/// Channels in one block; the same on every instruction set, so that sums have one order everywhere.
pub const LANES: usize = 16;
/// Bytes of a cache line, and of a block's lanes.
pub const LINE: usize = LANES * size_of::<f32>();

/// Zero pixels around each plane, so that convolutions read their padding instead of branching.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Halo {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the left.
    pub left: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Halo {
    /// The smallest halo that contains both.
    pub fn union(self, other: Self) -> Self {
        Self {
            top: self.top.max(other.top),
            bottom: self.bottom.max(other.bottom),
            left: self.left.max(other.left),
            right: self.right.max(other.right),
        }
    }
}

/// Layout of a tensor `[N, C, H, W]` in a flat `f32` buffer:
/// `[N][ceil(C / lanes)][top + H + bottom][left + W + right][lanes]`.
///
/// `lanes` is [`LANES`] (blocked) or 1 (planar: network inputs of few channels). In every buffer between layers the halo is
/// zero, and so are the padding lanes (those at and above `C` in the last block).
///
/// ```text
/// one plane (block of 16 channels):       one pixel of a block with C = 19:
///   0 0 0 0 0 0     top                     block 0:  c0 c1 ... c15
///   0 x x x x 0     row 0                   block 1:  c16 c17 c18 0 ... 0
///   0 x x x x 0     row 1                                         └ padding lanes
///   0 0 0 0 0 0     bottom
///   └left    └right
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// Images.
    pub n: usize,
    /// Channels.
    pub c: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Channels per block: 16 or 1.
    pub lanes: usize,
    /// The zeros around each plane.
    pub halo: Halo,
}

/// Part of an image: some rows of some blocks of sixteen channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// The rows.
    pub rows: Range<usize>,
    /// The blocks, of [`LANES`] channels, in planar tensors too.
    pub blocks: Range<usize>,
}

impl Geometry {
    /// Some rows of all channels.
    pub fn rows(&self, rows: Range<usize>) -> Region {
        Region { rows, blocks: 0..self.c.div_ceil(LANES) }
    }

    /// A blocked tensor without halo.
    pub fn blocked(n: usize, c: usize, h: usize, w: usize) -> Self {
        Self { n, c, h, w, lanes: LANES, halo: Halo::default() }
    }

    /// A planar (NCHW) tensor without halo.
    pub fn planar(n: usize, c: usize, h: usize, w: usize) -> Self {
        Self { lanes: 1, ..Self::blocked(n, c, h, w) }
    }

    /// The same tensor with another halo.
    pub fn with_halo(self, halo: Halo) -> Self {
        Self { halo, ..self }
    }

    /// Channel blocks, of which the last may be partly padding.
    pub fn blocks(&self) -> usize {
        self.c.div_ceil(self.lanes)
    }

    /// Row stride in floats.
    #[inline]
    pub fn row_len(&self) -> usize {
        (self.halo.left + self.w + self.halo.right) * self.lanes
    }

    /// Channel block stride in floats.
    #[inline]
    pub fn plane_len(&self) -> usize {
        (self.halo.top + self.h + self.halo.bottom) * self.row_len()
    }

    /// Image stride in floats.
    #[inline]
    pub fn image_len(&self) -> usize {
        self.blocks() * self.plane_len()
    }

    /// Length of the whole buffer in floats.
    pub fn len(&self) -> usize {
        self.n * self.image_len()
    }

    /// True for a tensor without elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Elements of the tensor itself, without halo and padding lanes.
    pub fn elements(&self) -> usize {
        self.n * self.c * self.h * self.w
    }

    /// Index of lane 0 of block `cb` of image `n` at row `y`, column `x` of the tensor (halo not counted).
    #[inline]
    pub fn at(&self, n: usize, cb: usize, y: usize, x: usize) -> usize {
        n * self.image_len()
            + cb * self.plane_len()
            + (y + self.halo.top) * self.row_len()
            + (x + self.halo.left) * self.lanes
    }

    /// Index of channel `c` of image `n` at row `y`, column `x`.
    #[inline]
    pub fn index(&self, n: usize, c: usize, y: usize, x: usize) -> usize {
        self.at(n, c / self.lanes, y, x) + c % self.lanes
    }

    /// Copies an NCHW tensor of this shape into `to`, which has this layout. Halo and padding lanes stay as they are.
    pub fn pack(&self, from: &[f32], to: &mut [f32]) {
        assert_eq!(from.len(), self.elements(), "NCHW elements");
        let mut from = from.iter();
        for n in 0..self.n {
            for c in 0..self.c {
                for y in 0..self.h {
                    let at = self.index(n, c, y, 0);
                    for (x, value) in from.by_ref().take(self.w).enumerate() {
                        to[at + x * self.lanes] = *value;
                    }
                }
            }
        }
    }

    /// The tensor in `from`, which has this layout, as NCHW.
    pub fn unpack(&self, from: &[f32]) -> Vec<f32> {
        let mut to = Vec::with_capacity(self.elements());
        for n in 0..self.n {
            for c in 0..self.c {
                for y in 0..self.h {
                    let at = self.index(n, c, y, 0);
                    to.extend((0..self.w).map(|x| from[at + x * self.lanes]));
                }
            }
        }
        to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pack_then_unpack_is_the_identity() {
        for lanes in [1, LANES] {
            let halo = Halo { top: 1, bottom: 2, left: 3, right: 0 };
            let geometry = Geometry { n: 2, c: 19, h: 3, w: 5, lanes, halo };
            let values: Vec<f32> = (0..geometry.elements()).map(|i| i as f32 + 1.0).collect();
            let mut buffer = vec![0.0; geometry.len()];
            geometry.pack(&values, &mut buffer);
            assert_eq!(geometry.unpack(&buffer), values);
            assert_eq!(buffer.iter().filter(|&&v| v != 0.0).count(), values.len());
        }
    }
}
