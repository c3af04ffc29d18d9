//! Gathers values that are not contiguous for the counting pass.

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
