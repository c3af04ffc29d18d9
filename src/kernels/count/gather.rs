//! Values that do not lie side by side, gathered for the counting pass.

use std::ops::Range;

use super::counter::Part;
use crate::kernels::geometry::LANES;

/// One row of some channels of a planar operand, in blocks.
pub(super) fn gather_channels(part: &Part<'_>, y: usize, channels: Range<usize>, values: &mut Vec<f32>) {
    let w = part.geometry.w;
    values.clear();
    values.resize(w * LANES, 0.0);
    for (lane, channel) in channels.enumerate() {
        let start = part.geometry.at(part.image, channel, y, 0);
        for (column, &value) in part.x[start..start + w].iter().enumerate() {
            values[column * LANES + lane] = value;
        }
    }
}

/// All features of an image in the order channel, row, column, filled up to pixels. Returns how many there are.
pub(super) fn gather_features(part: &Part<'_>, values: &mut Vec<f32>) -> usize {
    let geometry = part.geometry;
    values.clear();
    for c in 0..geometry.c {
        for y in 0..geometry.h {
            let start = geometry.index(part.image, c, y, 0);
            values.extend((0..geometry.w).map(|column| part.x[start + column * geometry.lanes]));
        }
    }
    let features = values.len();
    values.resize(features.next_multiple_of(LANES), 0.0);
    features
}

/// All channels of one column, filled up to pixels.
pub(super) fn gather_step(part: &Part<'_>, (y, column): (usize, usize), values: &mut Vec<f32>) {
    let geometry = part.geometry;
    values.clear();
    if geometry.lanes == LANES {
        for block in 0..geometry.blocks() {
            values.extend_from_slice(&part.x[geometry.at(part.image, block, y, column)..][..LANES]);
        }
        return;
    }
    values.extend((0..geometry.c).map(|c| part.x[geometry.index(part.image, c, y, column)]));
    values.resize(geometry.c.next_multiple_of(LANES), 0.0);
}
