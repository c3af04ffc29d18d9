//! The argument of one counting call: some rows of a tensor.

use std::ops::Range;

use super::gather::rows_of;
use super::source::Values;
use crate::kernels::geometry::{Geometry, Region};
use crate::kernels::packed_codes::PackedCodes;

/// How the values of an image are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// 16 channels at one position; 4 and 16 columns of these.
    Channels,
    /// 16, 64, 256 features of an image in the order channel, row, column.
    Features,
    /// The same in the order row, column, channel.
    FeaturesOfPixels,
    /// 16, 64, 256 channels of each step of a sequence, which is a row of columns.
    Steps,
}

/// An image of a batch.
#[derive(Clone, Copy)]
pub(super) struct Image<'a> {
    pub(super) x: &'a [f32],
    pub(super) geometry: &'a Geometry,
    pub(super) image: usize,
}

/// The values of a tensor.
#[derive(Clone, Copy)]
pub(super) enum Tensor<'a> {
    Floats(Image<'a>),
    Bytes(PackedCodes<'a>),
}

/// Part of one image.
pub(super) struct Part<'a> {
    pub(super) tensor: Tensor<'a>,
    pub(super) region: Region,
    /// Index of row 0 in the whole image.
    pub(super) first: usize,
}

impl Part<'_> {
    /// Image, row and block of its first value.
    pub(super) fn place(&self) -> [usize; 3] {
        let image = match self.tensor {
            Tensor::Floats(Image { image, .. }) => image,
            Tensor::Bytes(_) => 0,
        };
        [image, self.first + self.region.rows.start, self.region.blocks.start]
    }

    pub(super) fn columns(&self) -> usize {
        match self.tensor {
            Tensor::Floats(Image { geometry, .. }) => geometry.w,
            Tensor::Bytes(codes) => codes.w,
        }
    }

    /// Its rows, by their indices in the whole image.
    pub(super) fn rows(&self) -> Range<usize> {
        self.first + self.region.rows.start..self.first + self.region.rows.end
    }

    /// The values of some rows of a block: in place, or gathered in `values`.
    #[inline(always)]
    pub(super) fn values<'v>(&'v self, block: usize, rows: Range<usize>, values: &'v mut Vec<f32>) -> Values<'v> {
        let rows = rows.start - self.first..rows.end - self.first;
        match self.tensor {
            Tensor::Floats(image) => Values::Floats(rows_of(&image, block, rows, values)),
            Tensor::Bytes(codes) => Values::Bytes(codes.plane(block, rows.start)),
        }
    }
}
