//! Outputs of layers, counted as an operand: they are stored for the layers behind (METRICS section 6).

use super::layers::MeasuredLayer;
use super::record::{Accumulate, PerWorker};
use super::zeroed::Zeroed;
use crate::format::Stored;
use crate::graph::{Graph, Node};
use crate::kernels::{Geometry, Region};
use crate::layers::{Layer, Operand, Shape};
use crate::probe::{Origin, Watch};
use crate::tally::LayerShape;

/// The node whose value is the output of `layer`: its own, or the activation that alone reads it. None where the output stays
/// inside a recurrence or attention.
pub(super) fn output_node(graph: &Graph, layer: &MeasuredLayer) -> Option<Node> {
    let node = layer.node;
    let stays = match &graph.def(node).layer {
        Layer::Attention(_) => true,
        other => other.recurrence().is_some_and(|recurrence| recurrence.projection.is_some()),
    };
    if stays && !layer.inside {
        return None;
    }
    Some(match graph.readers()[node.index()][..] {
        [reader] if node != graph.output() && matches!(graph.def(reader).layer, Layer::Activation(_)) => reader,
        _ => node,
    })
}

/// The [`LayerShape::reader`] of the output of `layer`, where the values of `graph` have the extents `shapes`.
pub(super) fn reader(graph: &Graph, shapes: &[Shape], layer: &MeasuredLayer) -> Option<LayerShape> {
    let Shape { c, h, w } = shapes[output_node(graph, layer)?.index()];
    let of = &graph.def(layer.node).layer;
    let features = matches!(of, Layer::Linear(_) | Layer::Lstm(_) | Layer::Recurrent(_) | Layer::Attention(_));
    Some(LayerShape::reader([c, h, w], features))
}

/// What the network stores the value of `node` as.
pub(super) fn stored_output(graph: &Graph, node: Node) -> Option<Stored> {
    let def = graph.def(node);
    if let Layer::Operand(Operand { dynamic: true, .. }) = def.layer {
        // Codes of 0 to 255, or -128 to 127, less a zero point of theirs.
        return Some(Stored { scale: None, zero_point: 0, range: (-255, 255), bits: 8 });
    }
    let codes = def.codes?;
    Some(Stored { scale: Some(codes.scale), zero_point: codes.zero_point, range: codes.range(), bits: 8 })
}

/// Watches the output of a node.
pub(super) struct OutputWatcher<T> {
    /// MACs of outputs that a ReLU sets to zero.
    pub zeroed: Option<Zeroed>,
    /// The values.
    pub values: Option<PerWorker<T>>,
}

impl<T> OutputWatcher<T> {
    /// A watcher that watches nothing yet.
    pub fn none() -> Self {
        Self { zeroed: None, values: None }
    }

    /// Whether it watches anything.
    pub fn is_watched(&self) -> bool {
        self.zeroed.is_some() || self.values.is_some()
    }
}

impl<T: Accumulate> Watch for OutputWatcher<T> {
    fn look(&self, worker: usize, y: &[f32], geometry: &Geometry, image: usize, region: Region, origin: Origin) {
        if let Some(zeroed) = &self.zeroed {
            zeroed.look(worker, y, geometry, image, region.clone(), origin);
        }
        if let Some(values) = &self.values {
            values.look(worker, y, geometry, image, region, origin);
        }
    }
}
