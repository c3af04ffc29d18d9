//! Outputs that the ReLU behind a layer sets to zero: the MACs spent on them.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::kernels::{Geometry, LANES, Region};
use crate::probe::{Origin, Watch};
use crate::tally::{LayerShape, OutputMacs};

/// Adds up the MACs of outputs that are not above zero, all and those inside the tensor.
pub(super) struct Zeroed {
    each: OutputMacs,
    macs: [AtomicU64; 2],
}

impl Zeroed {
    /// Of a layer of extents `shape`.
    pub(super) fn new(shape: &LayerShape) -> Self {
        Self { each: OutputMacs::new(shape), macs: Default::default() }
    }

    /// The MACs.
    pub(super) fn macs(&self) -> [u64; 2] {
        self.macs.each_ref().map(|macs| macs.load(Ordering::Relaxed))
    }
}

impl Watch for Zeroed {
    fn look(&self, _: usize, y: &[f32], geometry: &Geometry, image: usize, region: Region, origin: Origin) {
        let mut sums = [0; 2];
        for channel in region.blocks.start * LANES..(region.blocks.end * LANES).min(geometry.c) {
            for row in region.rows.clone() {
                let values = y[geometry.index(image, channel, row, 0)..].iter().step_by(geometry.lanes);
                for (column, _) in values.take(geometry.w).enumerate().filter(|(_, value)| **value <= 0.0) {
                    let macs = self.each.at(origin.row + row, column);
                    sums.iter_mut().zip(macs).for_each(|(sum, macs)| *sum += macs);
                }
            }
        }
        self.macs.iter().zip(sums).for_each(|(macs, sum)| _ = macs.fetch_add(sum, Ordering::Relaxed));
    }
}
