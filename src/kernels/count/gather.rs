//! Values that do not lie side by side, gathered for the counting pass.

use super::part::Image;
use crate::kernels::geometry::LANES;

/// All features of an image in the order channel, row, column, filled up to pixels. Returns how many there are.
pub(super) fn gather_features(image: &Image<'_>, values: &mut Vec<f32>) -> usize {
    let geometry = image.geometry;
    values.clear();
    for c in 0..geometry.c {
        for y in 0..geometry.h {
            let start = geometry.index(image.image, c, y, 0);
            values.extend((0..geometry.w).map(|column| image.x[start + column * geometry.lanes]));
        }
    }
    let features = values.len();
    values.resize(features.next_multiple_of(LANES), 0.0);
    features
}

/// All channels of one column, filled up to pixels.
pub(super) fn gather_step(image: &Image<'_>, (y, column): (usize, usize), values: &mut Vec<f32>) {
    let geometry = image.geometry;
    values.clear();
    if geometry.lanes == LANES {
        for block in 0..geometry.blocks() {
            values.extend_from_slice(&image.x[geometry.at(image.image, block, y, column)..][..LANES]);
        }
        return;
    }
    values.extend((0..geometry.c).map(|c| image.x[geometry.index(image.image, c, y, column)]));
    values.resize(geometry.c.next_multiple_of(LANES), 0.0);
}
