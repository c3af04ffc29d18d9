//! Which nodes run as one: inverted residuals whose wide values would not stay in the second-level cache.

use std::cmp::Reverse;

use super::groups::Groups;
use super::op::conv_shape;
use super::plan::Plan;
use crate::graph::{Graph, Node};
use crate::kernels::conv::inverted::{InvertedResidual, Look, Looker, Step, Wide, WideValues};
use crate::kernels::{Exec, Geometry, Halo, LANES, Share};
use crate::layers::{Conv, Layer, Shape};
use crate::probe::{Place, Probe, Watch};

/// Bytes of wide values that are left to the caches.
const CACHED: usize = 600_000;
/// Wide values for each weight at least: every band reads all weights.
const OUTWEIGHS: usize = 4;
/// Rows at least of wide bytes, which always pay: threads widen rows of one another.
const ROWS: usize = 12;

/// The convolution that `node` is.
fn conv(graph: &Graph, node: Node) -> Option<&Conv> {
    match &graph.def(node).layer {
        Layer::Conv(conv) => Some(conv),
        _ => None,
    }
}

/// Whether it mixes the channels of single pixels, and adds none.
fn is_pointwise(conv: &Conv) -> bool {
    // Of whatever size: a filter of one pixel needs no padding to keep it.
    conv.kernel == (1, 1) && conv.stride == (1, 1) && conv.groups == 1 && conv.halo(1, 1) == Halo::default()
}

/// What is asked for of the convolution `node`.
fn step<'a>(graph: &'a Graph, shapes: &[Shape], node: Node) -> Option<Step<'a>> {
    let (conv, shape) = (conv(graph, node)?, shapes[graph.def(node).inputs[0].index()]);
    Some(Step {
        shape: conv_shape(conv, shape.h, shape.w),
        weight: &conv.weight.data,
        bias: conv.bias_values.as_ref().map(|bias| &bias.data[..]),
        activation: conv.activation,
        requantize: conv.integer.as_ref().map(|integer| &*integer.requantize),
    })
}

/// Which nodes of `graph` run together where values have the extents `shapes`.
pub(super) fn groups(graph: &Graph, shapes: &[Shape]) -> Groups {
    let readers = graph.readers();
    // Read by one node alone, and that once, as its first input.
    let only_for = |node: Node, reader: Node| {
        node != graph.output() && readers[node.index()] == [reader] && graph.def(reader).inputs[0] == node
    };
    let channels = |node: Node| shapes[node.index()].c;
    let step = |node: Node| step(graph, shapes, node);
    let wanted = |last: Node| {
        if !is_pointwise(conv(graph, last)?) {
            return None;
        }
        let filter = graph.def(last).inputs[0];
        let depthwise = conv(graph, filter)?;
        let before = *graph.def(filter).inputs.first()?;
        let widens = conv(graph, before).is_some_and(is_pointwise)
            && graph.def(before).inputs.len() == 1
            && only_for(before, filter)
            && channels(graph.def(before).inputs[0]) >= LANES;
        let narrow = channels(last) + if widens { channels(graph.def(before).inputs[0]) } else { 0 };
        let Shape { c, h, w } = shapes[before.index()];
        let bytes = || {
            let widen = widens.then(|| step(before)).flatten();
            let steps = step(filter).zip(step(last));
            steps.is_some_and(|(filter, narrow)| {
                InvertedResidual::has_bytes(widen.as_ref(), &filter, &narrow, shapes[last.index()].w)
            })
        };
        let fits = depthwise.is_depthwise()
            && graph.def(filter).inputs.len() == 1
            && only_for(filter, last)
            && (c * h * w * size_of::<f32>() > CACHED && h * w > OUTWEIGHS * narrow || h >= ROWS && bytes())
            && InvertedResidual::fits(&conv_shape(depthwise, h, w), h);
        // What pays with the convolution that widens does without it, where another group ends in that.
        fits.then(|| [widens.then(|| vec![before, filter, last]), Some(vec![filter, last])].into_iter().flatten())
    };
    let mut wanted: Vec<Vec<Node>> = graph.handles().filter_map(wanted).flatten().collect();
    // In chains of depthwise and pointwise convolutions each pointwise one could end a group and begin the next. It is of the
    // one that keeps more values out of memory.
    let kept = |nodes: &Vec<Node>| nodes[..nodes.len() - 1].iter().map(|node| shapes[node.index()].elements()).sum();
    wanted.sort_by_key(|nodes| Reverse::<usize>(kept(nodes)));
    Groups::new(graph, wanted)
}

/// Nodes that run together, with their weights packed.
pub(super) struct Fused {
    widen: Option<Node>,
    filter: Node,
    last: Node,
    packed: InvertedResidual,
}

impl Fused {
    /// Packs `nodes`, a group of more than one.
    pub(super) fn prepare(graph: &Graph, plan: &Plan, nodes: &[Node]) -> Self {
        let (widen, filter, last) = match *nodes {
            [filter, last] => (None, filter, last),
            [widen, filter, last] => (Some(widen), filter, last),
            _ => unreachable!("two or three convolutions run together"),
        };
        let step = |node: Node| step(graph, &plan.shapes, node).expect("a group is of convolutions");
        let x = graph.def(nodes[0]).inputs[0];
        let (x, y) = (&plan.geometries[x.index()], &plan.geometries[last.index()]);
        let packed = InvertedResidual::new(widen.map(step).as_ref(), &step(filter), &step(last), x, y);
        Self { widen, filter, last, packed }
    }

    /// The node whose input they read.
    pub(super) fn first(&self) -> Node {
        self.widen.unwrap_or(self.filter)
    }

    /// Runs them; the watchers of `probe` see what each of the layers reads.
    pub(super) fn run(
        &self,
        exec: &Exec<'_>,
        images: usize,
        (x, xg): (&[f32], &Geometry),
        y: &mut [f32],
        residual: Option<(&[f32], &Geometry)>,
        probe: Option<&dyn Probe>,
    ) {
        let watch = |node: Node| probe.and_then(|probe| probe.watch(node));
        let (filtered, narrowed) = (watch(self.filter), watch(self.last));
        let look = |look: Look<'_>| {
            let watch: Option<&dyn Watch> = if look.wide == Wide::Filtered { filtered } else { narrowed };
            let place = Place { image: look.place.0, row: look.place.1 };
            if let Some(watch) = watch {
                match look.values {
                    WideValues::Reals(x, geometry, rows) => {
                        watch.look(look.worker, x, geometry, 0, geometry.rows(0..rows), place);
                    }
                    WideValues::Bytes(x) => watch.look_at_bytes(look.worker, x, place),
                }
            }
        };
        let first = watch(self.first());
        let show = |share: Share| {
            if let Some(watch) = first {
                super::session::show(share, watch, x, xg, (images, None));
            }
        };
        match probe {
            None => self.packed.run(exec, images, x, y, residual, None),
            Some(_) => {
                let exec = Exec { alongside: Some(&show), ..*exec };
                let takes_bytes = [filtered, narrowed].into_iter().flatten().all(Watch::takes_bytes);
                self.packed.run(&exec, images, x, y, residual, Some(&Looker { look: &look, takes_bytes }));
            }
        }
    }
}
