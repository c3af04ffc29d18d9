//! The argument of one counting call: some rows of a tensor.

use super::classes::{Classes, Run};
use super::planar::Planes;
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

    /// Some rows of a block of channels that lie apart.
    pub(super) fn planes<'x>(&self, &Image { x, geometry, image }: &Image<'x>, block: usize, rows: Run) -> Planes<'x> {
        let first = geometry.at(image, block * LANES, rows.start - self.first, 0);
        Planes {
            x: &x[first..],
            row: rows.step * geometry.row_len(),
            plane: geometry.plane_len(),
            rows: rows.count,
            columns: geometry.w,
            channels: (geometry.c - block * LANES).min(LANES),
        }
    }

    /// All rows of this part, in batches of at most `most`.
    pub(super) fn batches(&self, classes: &Classes, most: usize) -> Vec<Batch> {
        let mut runs: Vec<(usize, Run)> =
            self.rows_of(classes).flat_map(|(class, run)| run.split(most).map(move |run| (class, run))).collect();
        runs.sort_unstable_by_key(|(_, run)| run.start);
        let mut batches: Vec<Batch> = Vec::new();
        for (class, run) in runs {
            match batches.last_mut() {
                Some(Batch { rows, classes }) if rows.is_followed_by(run) && rows.count + run.count <= most => {
                    (rows.count, rows.step) = (rows.count + run.count, 1);
                    classes.push((class, run.count));
                }
                _ => batches.push(Batch { rows: run, classes: vec![(class, run.count)] }),
            }
        }
        batches
    }
}

/// Rows that are counted together.
pub(super) struct Batch {
    pub(super) rows: Run,
    /// Classes, and how many of the rows are of each, in order.
    pub(super) classes: Vec<(usize, usize)>,
}
