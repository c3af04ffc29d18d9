//! Which nodes run as one: inverted residuals whose intermediate activations would not stay in the second-level cache.

use std::cmp::Reverse;

use super::groups::Groups;
use super::op::conv_shape;
use super::plan::Plan;
use crate::graph::{Graph, Node};
use crate::kernels::conv::inverted::{Intermediate, IntermediateValues, InvertedResidual, Observed, Observer, Stage};
use crate::kernels::conv::sums_could_wrap;
use crate::kernels::{Exec, Geometry, Halo, LANES, Share};
use crate::layers::{Conv, Layer, Shape};
use crate::probe::{Origin, Probe, Watch};

/// Bytes of intermediate activations that are left to the caches, without fusion.
const CACHED: usize = 600_000;
/// Fewest intermediate values per weight: every band reads all weights.
const OUTWEIGHS: usize = 4;
/// Fewest rows for which bytes always pay off; with fewer, threads would compute too many rows twice.
const ROWS: usize = 12;

/// The convolution at `node`.
fn conv(graph: &Graph, node: Node) -> Option<&Conv> {
    match &graph.def(node).layer {
        Layer::Conv(conv) => Some(conv),
        _ => None,
    }
}

/// Whether it mixes the channels of single pixels, and adds no padding.
fn is_pointwise(conv: &Conv) -> bool {
    // For any size: a filter of one pixel needs no padding to keep it.
    conv.kernel == (1, 1) && conv.stride == (1, 1) && conv.groups == 1 && conv.halo(1, 1) == Halo::default()
}

/// The parameters of the convolution at `node`.
fn stage<'a>(graph: &'a Graph, shapes: &[Shape], node: Node) -> Option<Stage<'a>> {
    let (conv, shape) = (conv(graph, node)?, shapes[graph.def(node).inputs[0].index()]);
    Some(Stage {
        shape: conv_shape(conv, shape.h, shape.w),
        weight: &conv.weight.data,
        bias: conv.bias_values.as_ref().map(|bias| &bias.data[..]),
        activation: conv.activation,
        requantize: conv.integer.as_ref().map(|integer| &*integer.requantize),
    })
}

/// Which nodes of `graph` run together, for values of the extents `shapes`.
pub(super) fn groups(graph: &Graph, shapes: &[Shape]) -> Groups {
    let readers = graph.readers();
    // Read by that node alone, once, as its first input.
    let only_for = |node: Node, reader: Node| {
        node != graph.output() && readers[node.index()] == [reader] && graph.def(reader).inputs[0] == node
    };
    let channels = |node: Node| shapes[node.index()].c;
    let stage = |node: Node| stage(graph, shapes, node);
    let wanted = |last: Node| {
        if !is_pointwise(conv(graph, last)?) {
            return None;
        }
        let depthwise = graph.def(last).inputs[0];
        let depthwise_conv = conv(graph, depthwise)?;
        let before = *graph.def(depthwise).inputs.first()?;
        let expands = conv(graph, before).is_some_and(is_pointwise)
            && graph.def(before).inputs.len() == 1
            && only_for(before, depthwise)
            && channels(graph.def(before).inputs[0]) >= LANES;
        let weights_per_channel = channels(last) + if expands { channels(graph.def(before).inputs[0]) } else { 0 };
        let Shape { c, h, w } = shapes[before.index()];
        let bytes = || {
            let expand = expands.then(|| stage(before)).flatten();
            let stages = stage(depthwise).zip(stage(last));
            stages.is_some_and(|(depthwise, project)| {
                InvertedResidual::has_bytes(expand.as_ref(), &depthwise, &project, shapes[last.index()].w)
            })
        };
        // Sums that could wrap are looked at where their layer runs by itself.
        let wraps = |node: Node| {
            conv(graph, node).is_some_and(|conv| {
                let integer = conv.integer.as_ref();
                integer.is_some_and(|integer| sums_could_wrap(&conv.weight.data, &integer.requantize))
            })
        };
        let fits = depthwise_conv.is_depthwise()
            && graph.def(depthwise).inputs.len() == 1
            && only_for(depthwise, last)
            && (c * h * w * size_of::<f32>() > CACHED && h * w > OUTWEIGHS * weights_per_channel
                || h >= ROWS && bytes())
            && InvertedResidual::fits(&conv_shape(depthwise_conv, h, w), h)
            && ![last, depthwise].into_iter().any(wraps);
        // A group that pays off with the expanding convolution also does without it, where another group ends in that
        // convolution.
        fits.then(|| {
            [(expands && !wraps(before)).then(|| vec![before, depthwise, last]), Some(vec![depthwise, last])]
                .into_iter()
                .flatten()
        })
    };
    let mut wanted: Vec<Vec<Node>> = graph.handles().filter_map(wanted).flatten().collect();
    // In a chain of depthwise and pointwise convolutions, each pointwise one could end a group or start the next. The group
    // that keeps more values out of memory gets it.
    let kept = |nodes: &Vec<Node>| nodes[..nodes.len() - 1].iter().map(|node| shapes[node.index()].elements()).sum();
    wanted.sort_by_key(|nodes| Reverse::<usize>(kept(nodes)));
    Groups::new(graph, wanted)
}

/// Nodes that run together, with their weights packed.
pub(super) struct Fused {
    expand: Option<Node>,
    depthwise: Node,
    last: Node,
    packed: InvertedResidual,
}

impl Fused {
    /// Packs `nodes`, a group of more than one.
    pub(super) fn prepare(graph: &Graph, plan: &Plan, nodes: &[Node]) -> Self {
        let (expand, depthwise, last) = match *nodes {
            [depthwise, last] => (None, depthwise, last),
            [expand, depthwise, last] => (Some(expand), depthwise, last),
            _ => unreachable!("two or three convolutions run together"),
        };
        let stage = |node: Node| stage(graph, &plan.shapes, node).expect("a group is of convolutions");
        let x = graph.def(nodes[0]).inputs[0];
        let (x, y) = (&plan.geometries[x.index()], &plan.geometries[last.index()]);
        let packed = InvertedResidual::new(expand.map(stage).as_ref(), &stage(depthwise), &stage(last), x, y);
        Self { expand, depthwise, last, packed }
    }

    /// The node whose input they read.
    pub(super) fn first(&self) -> Node {
        self.expand.unwrap_or(self.depthwise)
    }

    /// Runs them; the watchers of `probe` observe the input of each layer.
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
        // What one reads is the output of the one before it.
        let output = |node: Option<Node>| node.and_then(|node| probe?.watch_output(node));
        let of_depthwise = [watch(self.depthwise), output(self.expand)];
        let of_project = [watch(self.last), output(Some(self.depthwise))];
        let observe = |rows: Observed<'_>| {
            let watchers: [Option<&dyn Watch>; 2] =
                if rows.stage == Intermediate::Expanded { of_depthwise } else { of_project };
            let origin = Origin { image: rows.origin.0, row: rows.origin.1 };
            for watch in watchers.into_iter().flatten() {
                match rows.values {
                    IntermediateValues::Floats(x, geometry, count) => {
                        watch.look(rows.worker, x, geometry, 0, geometry.rows(0..count), origin);
                    }
                    IntermediateValues::Bytes(x) => watch.look_at_bytes(rows.worker, x, origin),
                }
            }
        };
        let first = watch(self.first());
        let show = |share: Share| {
            if let Some(watch) = first {
                super::show::show(share, watch, x, xg, (images, None));
            }
        };
        match probe {
            None => self.packed.run(exec, images, x, y, residual, None),
            Some(_) => {
                let exec = Exec { alongside: Some(&show), ..*exec };
                let watchers = [of_depthwise, of_project];
                let takes_bytes = watchers.as_flattened().iter().flatten().all(|watch| watch.takes_bytes());
                self.packed.run(&exec, images, x, y, residual, Some(&Observer { call: &observe, takes_bytes }));
            }
        }
    }
}
