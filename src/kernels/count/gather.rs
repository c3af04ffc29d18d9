//! Gathers values that are not contiguous for the counting pass.

use std::ops::Range;

use super::part::{Grouping, Image};
use super::source::Strided;
use crate::kernels::geometry::LANES;

/// All features of an image in the order of `grouping`, zero-padded to whole pixels. Returns their number.
pub(super) fn gather_features(image: &Image<'_>, grouping: Grouping, values: &mut Vec<f32>) -> usize {
    let geometry = image.geometry;
    values.clear();
    if grouping == Grouping::FeaturesOfPixels {
        for (y, column) in (0..geometry.h).flat_map(|y| (0..geometry.w).map(move |column| (y, column))) {
            values.extend((0..geometry.c).map(|c| image.x[geometry.index(image.image, c, y, column)]));
        }
    } else {
        for (c, y) in (0..geometry.c).flat_map(|c| (0..geometry.h).map(move |y| (c, y))) {
            let start = geometry.index(image.image, c, y, 0);
            values.extend((0..geometry.w).map(|column| image.x[start + column * geometry.lanes]));
        }
    }
    let features = values.len();
    values.resize(features.next_multiple_of(LANES), 0.0);
    features
}

/// Rows of a block of channels: in place, or of channels that lie apart gathered in `values`, zero-padded to whole pixels.
pub(super) fn rows_of<'a>(
    image: &Image<'a>,
    block: usize,
    rows: Range<usize>,
    values: &'a mut Vec<f32>,
) -> Strided<'a> {
    let Image { x, geometry, image } = *image;
    if geometry.lanes == LANES {
        return Strided { x: &x[geometry.at(image, block, rows.start, 0)..], line: geometry.row_len(), pixel: LANES };
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

/// All channels of each column of row `y`, zero-padded to whole pixels: in place, or gathered in `values`.
pub(super) fn steps_of<'a>(image: &Image<'a>, y: usize, values: &'a mut Vec<f32>) -> Strided<'a> {
    let Image { x, geometry, image } = *image;
    if geometry.lanes == LANES {
        return Strided { x: &x[geometry.at(image, 0, y, 0)..], line: LANES, pixel: geometry.plane_len() };
    }
    let filled = geometry.c.next_multiple_of(LANES);
    values.clear();
    for column in 0..geometry.w {
        values.extend((0..geometry.c).map(|c| x[geometry.index(image, c, y, column)]));
        values.resize((column + 1) * filled, 0.0);
    }
    Strided { x: values, line: filled, pixel: LANES }
}
