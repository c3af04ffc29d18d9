//! What a call of the counter is shown.

use super::classes::{Classes, Run};
use super::source::{Strided, Values};
use crate::kernels::cells::Cells;
use crate::kernels::geometry::{Geometry, LANES, Region};

/// An image of a batch.
#[derive(Clone, Copy)]
pub(super) struct Image<'a> {
    pub(super) x: &'a [f32],
    pub(super) geometry: &'a Geometry,
    pub(super) image: usize,
}

/// Where values are.
#[derive(Clone, Copy)]
pub(super) enum Tensor<'a> {
    Reals(Image<'a>),
    Bytes(Cells<'a>),
}

/// Part of one image.
pub(super) struct Part<'a> {
    pub(super) tensor: Tensor<'a>,
    pub(super) region: Region,
    /// Row of the whole image that row 0 is.
    pub(super) first: usize,
}

impl Part<'_> {
    /// Image, row and block of its first values.
    pub(super) fn place(&self) -> [usize; 3] {
        let image = match self.tensor {
            Tensor::Reals(Image { image, .. }) => image,
            Tensor::Bytes(_) => 0,
        };
        [image, self.first + self.region.rows.start, self.region.blocks.start]
    }

    pub(super) fn columns(&self) -> usize {
        match self.tensor {
            Tensor::Reals(Image { geometry, .. }) => geometry.w,
            Tensor::Bytes(cells) => cells.w,
        }
    }

    /// The values of some rows of a block.
    #[inline(always)]
    pub(super) fn values(&self, block: usize, rows: Run) -> Values<'_> {
        let row = rows.start - self.first;
        match self.tensor {
            Tensor::Reals(Image { x, geometry, image }) => {
                let x = &x[geometry.at(image, block, row, 0)..];
                Values::Reals(Strided { x, line: rows.step * geometry.row_len(), pixel: LANES })
            }
            Tensor::Bytes(cells) => Values::Bytes(cells.plane(block, row).every(rows.step)),
        }
    }

    /// The rows that are here, by class of `classes`, in runs.
    pub(super) fn rows_of(&self, classes: &Classes) -> impl Iterator<Item = (usize, Run)> {
        let here = self.first + self.region.rows.start..self.first + self.region.rows.end;
        let runs = classes.runs.iter().enumerate().flat_map(|(class, runs)| runs.iter().map(move |run| (class, run)));
        runs.map(move |(class, run)| (class, run.within(here.clone()))).filter(|(_, run)| run.count > 0)
    }
}
