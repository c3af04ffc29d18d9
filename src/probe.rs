//! How a layer is watched: all that layers and engines know of measuring.

use crate::graph::Node;
use crate::kernels::{Cells, Geometry, Region};

/// Where a buffer that is part of a batch has its values from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The image of the batch that its image 0 is.
    pub image: usize,
    /// The row of whole images that its row 0 is.
    pub row: usize,
}

/// Watches the operand that enters one layer while the layer runs. It sees values and can change none.
pub trait Watch: Sync {
    /// Looks at `region` of image `image` in `x`, a buffer laid out as `geometry` says, which is at `place`. The calls of one run
    /// together cover every row of every block of every image exactly once; two calls with one `worker` never overlap in time.
    fn look(&self, worker: usize, x: &[f32], geometry: &Geometry, image: usize, region: Region, place: Place);

    /// Whether it looks at codes of 0 to 255 in bytes as well, where a layer has such.
    fn takes_bytes(&self) -> bool {
        false
    }

    /// Looks at all of `x`, which is at `place`. Called only if it takes bytes; as [`Watch::look`] otherwise.
    fn look_at_bytes(&self, _worker: usize, _x: Cells<'_>, _place: Place) {
        unreachable!("nobody shows bytes to who does not take them")
    }
}

/// Chooses which layers are watched, and by whom.
pub trait Probe {
    /// The watcher of `node`, if it has one. Asked once a run, before the layer starts.
    fn watch(&self, node: Node) -> Option<&dyn Watch>;

    /// The watcher of what the projection of a recurrence is of, if it has one.
    fn watch_inside(&self, _: Node) -> Option<&dyn Watch> {
        None
    }
}
