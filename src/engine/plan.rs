//! Shapes, layouts and buffers of one graph for one input size, fixed before anything runs.

use crate::Result;
use crate::graph::{Graph, Node};
use crate::kernels::{Geometry, Halo, Integer, LANES, Rounding};
use crate::layers::{Layer, Shape};

use super::fused::groups;
use super::groups::Groups;
use super::op;

/// Inputs of at most this many channels stay planar if convolutions read them: blocks would be mostly padding.
const PLANAR_CHANNELS: usize = 8;

/// Where a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In the buffer with this index.
    Buffer(usize),
    /// Never stored as a whole: its group computes and reads it a few rows at a time.
    Group,
    /// In the caller's output slice, into which it is computed directly.
    Output,
}

/// Where every value of a graph is stored.
///
/// Values whose lifetimes do not overlap share a buffer, if they have *equal* geometries: its halo and padding lanes are
/// zeroed once and never written after that. Values without halo and padding lanes share buffers whatever their extents.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Images at a time.
    pub batch: usize,
    /// Shape of each node's value for one image.
    pub shapes: Vec<Shape>,
    /// Layout of each node's value.
    pub geometries: Vec<Geometry>,
    /// Where each node's value is stored.
    pub storage: Vec<Storage>,
    /// Layout of each buffer, or the largest of its layouts.
    pub buffers: Vec<Geometry>,
    /// Which nodes run together.
    pub groups: Groups,
}

impl Plan {
    /// Plans `graph` for `batch` images of shape `input`; if `together`, nodes run as groups where that is faster.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] naming the first layer that cannot take its input.
    pub fn new(graph: &Graph, input: Shape, batch: usize, together: bool) -> Result<Self> {
        let shapes = graph.shapes(input)?;
        let groups = if together { groups(graph, &shapes) } else { Groups::single(graph) };
        let readers = graph.readers();
        let mut geometries: Vec<Geometry> = Vec::new();
        for node in graph.handles() {
            let Shape { c, h, w } = shapes[node.index()];
            let layers = || readers[node.index()].iter().map(|&reader| (reader, &graph.def(reader).layer));
            let halo = layers()
                .filter(|(reader, _)| graph.def(*reader).inputs[0] == node)
                .map(|(_, layer)| op::halo(layer, h, w))
                .fold(Halo::default(), Halo::union);
            let def = graph.def(node);
            // An input, or its codes.
            let starts = match def.layer {
                Layer::Input => true,
                _ => keeps_planes(&def.layer) && geometries[def.inputs[0].index()].lanes == 1 && node != graph.output(),
            };
            let pays = |layer: &Layer| matches!(layer, Layer::Conv(_) | Layer::Embedding(_)) || keeps_planes(layer);
            let planar = starts
                && c <= PLANAR_CHANNELS
                && layers().any(|(_, layer)| pays(layer))
                && layers().all(|(reader, layer)| reads_planar(layer, graph.def(reader).inputs[0] == node));
            let written_to_output = is_written_to_output(graph, &readers, node, w);
            let geometry = if planar || written_to_output {
                Geometry::planar(batch, c, h, w)
            } else {
                Geometry::blocked(batch, c, h, w)
            };
            geometries.push(geometry.with_halo(halo));
        }
        let (storage, buffers) = share(graph, &readers, &geometries, &groups);
        Ok(Self { batch, shapes, geometries, storage, buffers, groups })
    }

    /// The index of the buffer that holds the value of `node`.
    ///
    /// # Panics
    /// If no buffer does.
    pub fn buffer(&self, node: Node) -> usize {
        match self.storage[node.index()] {
            Storage::Buffer(buffer) => buffer,
            storage => panic!("the value of node {} is in no buffer: {storage:?}", node.index()),
        }
    }

    /// Bytes of all buffers.
    pub fn bytes(&self) -> usize {
        self.buffers.iter().map(|buffer| buffer.len() * size_of::<f32>()).sum()
    }
}

/// Whether `layer` turns planar tensors into planar ones.
fn keeps_planes(layer: &Layer) -> bool {
    matches!(layer, Layer::Integer(Integer::Quantize(_, Rounding::Float32)))
}

/// Whether `layer` can read a planar tensor, as its first input or (if not `first`) as another one.
fn reads_planar(layer: &Layer, first: bool) -> bool {
    match layer {
        Layer::Conv(conv) => first && conv.groups == 1,
        Layer::Sub | Layer::Fill(_) | Layer::Shuffle(_) | Layer::Slice(_) | Layer::Embedding(_) => true,
        Layer::Resize(_) => !first,
        Layer::Integer(Integer::Quantize(..)) => true,
        _ => false,
    }
}

/// Whether the value of `node`, `w` wide, is the output and can be computed directly into the caller's slice.
fn is_written_to_output(graph: &Graph, readers: &[Vec<Node>], node: Node, w: usize) -> bool {
    node == graph.output()
        && readers[node.index()].is_empty()
        && matches!(graph.def(node).layer, Layer::Resize(_))
        && w >= LANES
}

/// Whether every float of a buffer is a value: no halo and no padding lanes.
fn is_whole(geometry: &Geometry) -> bool {
    geometry.halo == Halo::default() && geometry.c.is_multiple_of(geometry.lanes)
}

/// Assigns a buffer to each value: a free one, or a new one.
fn share(
    graph: &Graph,
    readers: &[Vec<Node>],
    geometries: &[Geometry],
    groups: &Groups,
) -> (Vec<Storage>, Vec<Geometry>) {
    let end = graph.nodes.len();
    // A value lives until its last reader has run, with its group; the output, to the end.
    let last_use = |node: Node| {
        let read = readers[node.index()].iter().map(|&reader| groups.last_of(reader).index()).max();
        if node == graph.output() { end } else { read.unwrap_or(node.index()) }
    };
    let mut buffers: Vec<Geometry> = Vec::new();
    let mut free_after: Vec<usize> = Vec::new();
    let mut storage = Vec::with_capacity(end);
    for node in graph.handles() {
        let geometry = geometries[node.index()];
        if groups.is_inner(node) {
            storage.push(Storage::Group);
            continue;
        }
        if is_written_to_output(graph, readers, node, geometry.w) {
            storage.push(Storage::Output);
            continue;
        }
        // Of the free buffers that fit, the one nearest in size.
        let fits = |buffer: &Geometry| *buffer == geometry || is_whole(buffer) && is_whole(&geometry);
        let free = (0..buffers.len()).filter(|&slot| free_after[slot] < node.index() && fits(&buffers[slot]));
        let slot = free.min_by_key(|&slot| buffers[slot].len().abs_diff(geometry.len())).unwrap_or_else(|| {
            buffers.push(geometry);
            free_after.push(0);
            buffers.len() - 1
        });
        if buffers[slot].len() < geometry.len() {
            buffers[slot] = geometry;
        }
        free_after[slot] = last_use(node);
        storage.push(Storage::Buffer(slot));
    }
    (storage, buffers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Params, Scope};
    use crate::layers::Conv;

    #[test]
    fn values_without_halo_share_buffers_whatever_their_extents() {
        let net = Scope::new(Params::Random(0));
        let mut y = net.input(16);
        for (i, channels) in [64, 32, 48, 16, 64].into_iter().enumerate() {
            y = net.at(format!("conv{i}")).conv(y, Conv::new(channels, 1));
        }
        let (graph, _) = net.finish(y).unwrap();
        let plan = Plan::new(&graph, Shape::new(16, 9, 9), 2, true).unwrap();
        let sizes: Vec<usize> = plan.buffers.iter().map(|buffer| buffer.c).collect();
        assert_eq!(sizes, [32, 64]);
        let fits = |node: Node| plan.buffers[plan.buffer(node)].len() >= plan.geometries[node.index()].len();
        assert!(graph.handles().all(fits));
    }

    #[test]
    fn a_chain_needs_two_buffers_and_a_skip_outlives_it() {
        let net = Scope::new(Params::Random(0));
        let x = net.input(16);
        let start = net.at("start").conv(x, Conv::new(16, 3).padding(1));
        let mut y = start;
        for i in 0..6 {
            y = net.at(format!("conv{i}")).conv(y, Conv::new(16, 3).padding(1));
        }
        let y = net.add(y, start);
        let (graph, _) = net.finish(y).unwrap();
        let plan = Plan::new(&graph, Shape::new(16, 9, 9), 2, true).unwrap();
        // Of the 16x9x9 values with halo 1: the skip, and two that alternate. The sum has no halo.
        let with_halo = plan.buffers.iter().filter(|buffer| buffer.halo.top == 1).count();
        assert_eq!(with_halo, 3);
        let skip = plan.storage[start.index()];
        assert!((start.index() + 1..graph.nodes.len()).all(|node| plan.storage[node] != skip));
    }
}
