//! How a layer is watched: all that layers and engines know of measuring.

use crate::graph::Node;
use crate::kernels::attention::Probabilities;
use crate::kernels::{Geometry, PackedCodes, Pool, Region};

/// Position of a buffer's values within the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Index in the batch of the buffer's image 0.
    pub image: usize,
    /// Row of the whole image that is the buffer's row 0.
    pub row: usize,
}

/// Watches the input of one layer while the layer runs. It reads values and can change none.
pub trait Watch: Sync {
    /// Observes `region` of image `image` in `x`, a buffer laid out as `geometry`, whose values are at `origin` in the batch.
    /// The calls of one run together cover every row of every block of every image exactly once; two calls with the same
    /// `worker` never overlap in time.
    fn look(&self, worker: usize, x: &[f32], geometry: &Geometry, image: usize, region: Region, origin: Origin);

    /// Whether it also accepts packed codes of 0 to 255, from layers that have such.
    fn takes_bytes(&self) -> bool {
        false
    }

    /// Observes all of `x`, whose values are at `origin` in the batch. Called only if [`Watch::takes_bytes`]; otherwise as
    /// [`Watch::look`].
    fn look_at_bytes(&self, _worker: usize, _x: PackedCodes<'_>, _origin: Origin) {
        unreachable!("packed codes go only to watchers that take them")
    }
}

/// Watches one layer of attention while it runs.
pub trait WatchRows: Sync {
    /// Observes the probabilities of some queries of heads that share their keys; `image` is a place in the batch. The calls of one run
    /// together cover each query of each head of each image once; two calls with the same `worker` never overlap in time.
    fn look_at_rows(&self, rows: &[Probabilities<'_>]);

    /// The layer has run on the first `images` images of `operands`, which are its queries, keys and values, and the threads of `pool`
    /// are free.
    fn end(&self, pool: &Pool, images: usize, operands: [(&[f32], &Geometry); 3]);
}

/// Chooses which layers are watched, and by whom.
pub trait Probe {
    /// The watcher of `node`, if it has one. Called once per run, before the layer starts.
    fn watch(&self, node: Node) -> Option<&dyn Watch>;

    /// The watcher of the output of `node`, if it has one; it is shown floats, never bytes.
    fn watch_output(&self, _: Node) -> Option<&dyn Watch> {
        None
    }

    /// The watcher of the second operand of a product of two activations, or of the keys of attention, if it has one.
    fn watch_second(&self, _: Node) -> Option<&dyn Watch> {
        None
    }

    /// The watcher of the values of attention, if it has one.
    fn watch_third(&self, _: Node) -> Option<&dyn Watch> {
        None
    }

    /// The watcher of the probabilities of attention, if it has one.
    fn watch_rows(&self, _: Node) -> Option<&dyn WatchRows> {
        None
    }

    /// The watcher of a recurrence's hidden values before their projection, if it has one.
    fn watch_inside(&self, _: Node) -> Option<&dyn Watch> {
        None
    }
}
