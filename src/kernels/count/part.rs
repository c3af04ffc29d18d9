//! The argument of one counting call: some rows of a tensor.

use std::ops::Range;

use super::source::{Strided, Values};
use crate::kernels::geometry::{Geometry, LANES, Region};
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

impl<'a> Image<'a> {
    /// Rows of a block of channels: in place, or of channels that lie apart gathered in `values`, zero-padded to whole pixels.
    fn rows(&self, block: usize, rows: Range<usize>, values: &'a mut Vec<f32>) -> Strided<'a> {
        let Self { x, geometry, image } = *self;
        if geometry.lanes == LANES {
            let first = geometry.at(image, block, rows.start, 0);
            return Strided { x: &x[first..], line: geometry.row_len(), pixel: LANES };
        }
        let line = geometry.w * LANES;
        values.clear();
        values.resize(rows.len() * line, 0.0);
        for (lane, channel) in (block * LANES..geometry.c.min((block + 1) * LANES)).enumerate() {
            for (row, to) in rows.clone().zip(values.chunks_exact_mut(line)) {
                let from = &x[geometry.index(image, channel, row, 0)..][..geometry.w];
                to.iter_mut().skip(lane).step_by(LANES).zip(from).for_each(|(to, &x)| *to = x);
            }
        }
        Strided { x: values, line, pixel: LANES }
    }
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
            Tensor::Floats(image) => Values::Floats(image.rows(block, rows, values)),
            Tensor::Bytes(codes) => Values::Bytes(codes.plane(block, rows.start)),
        }
    }
}
