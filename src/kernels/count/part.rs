//! The argument of one counting call: some rows of a tensor.

use super::classes::{Classes, Run};
use super::source::{Strided, Values};
use crate::kernels::geometry::{Geometry, LANES, Region};
use crate::kernels::packed_codes::PackedCodes;

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

    /// The values of some rows of a block.
    #[inline(always)]
    pub(super) fn values(&self, block: usize, rows: Run) -> Values<'_> {
        let row = rows.start - self.first;
        match self.tensor {
            Tensor::Floats(Image { x, geometry, image }) => {
                let x = &x[geometry.at(image, block, row, 0)..];
                Values::Floats(Strided { x, line: rows.step * geometry.row_len(), pixel: LANES })
            }
            Tensor::Bytes(codes) => Values::Bytes(codes.plane(block, row).every(rows.step)),
        }
    }

    /// The rows of this part in each class of `classes`, as runs.
    pub(super) fn rows_of(&self, classes: &Classes) -> impl Iterator<Item = (usize, Run)> {
        let here = self.first + self.region.rows.start..self.first + self.region.rows.end;
        let runs = classes.runs.iter().enumerate().flat_map(|(class, runs)| runs.iter().map(move |run| (class, run)));
        runs.map(move |(class, run)| (class, run.within(here.clone()))).filter(|(_, run)| run.count > 0)
    }
}
