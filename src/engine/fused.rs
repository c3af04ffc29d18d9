//! Which nodes run as one: inverted residuals whose wide values would not stay in the second-level cache.

use super::op::conv_shape;
use super::plan::Plan;
use crate::graph::{Graph, Node};
use crate::kernels::conv::inverted::{InvertedResidual, Look, Looker, Step, Wide, WideValues};
use crate::kernels::{Exec, Geometry, LANES, Share};
use crate::layers::{Conv, Layer, Shape};
use crate::probe::{Place, Probe, Watch};

/// Bytes of wide values that are left to the caches.
const CACHED: usize = 600_000;
/// Wide values for each weight at least: every band reads all weights.
const OUTWEIGHS: usize = 4;
/// Rows at least of wide bytes, which always pay: threads widen rows of one another.
const ROWS: usize = 12;

/// The nodes that run when the last of them does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The convolution that widens, if there is one.
    pub widen: Option<Node>,
    /// The depthwise convolution.
    pub filter: Node,
}

impl Chain {
    /// The node whose input the chain reads.
    pub fn first(&self) -> Node {
        self.widen.unwrap_or(self.filter)
    }

    /// The nodes whose values nobody keeps.
    pub fn inner(&self) -> impl Iterator<Item = Node> {
        [self.widen, Some(self.filter)].into_iter().flatten()
    }
}

/// The convolution that `node` is.
fn conv(graph: &Graph, node: Node) -> Option<&Conv> {
    match &graph.def(node).layer {
        Layer::Conv(conv) => Some(conv),
        _ => None,
    }
}

/// Whether it mixes the channels of single pixels.
fn is_pointwise(conv: &Conv) -> bool {
    conv.kernel == (1, 1) && conv.stride == (1, 1) && conv.groups == 1
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

/// For each node the chain that it ends, if it ends one; values have the extents `shapes`.
pub(super) fn chains(graph: &Graph, shapes: &[Shape]) -> Vec<Option<Chain>> {
    let readers = graph.readers();
    // Read by one node alone, and that once, as its first input.
    let only_for = |node: Node, reader: Node| {
        node != graph.output() && readers[node.index()] == [reader] && graph.def(reader).inputs[0] == node
    };
    let chain = |last: Node| {
        if !is_pointwise(conv(graph, last)?) {
            return None;
        }
        let filter = graph.def(last).inputs[0];
        let depthwise = conv(graph, filter)?;
        let before = *graph.def(filter).inputs.first()?;
        let channels = |node: Node| shapes[node.index()].c;
        let widens = conv(graph, before).is_some_and(is_pointwise)
            && graph.def(before).inputs.len() == 1
            && only_for(before, filter)
            && channels(graph.def(before).inputs[0]) >= LANES;
        let narrow = channels(last) + if widens { channels(graph.def(before).inputs[0]) } else { 0 };
        let Shape { c, h, w } = shapes[before.index()];
        let step = |node: Node| step(graph, shapes, node);
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
        fits.then_some(Chain { widen: widens.then_some(before), filter })
    };
    graph.handles().map(chain).collect()
}

/// A chain with its weights packed.
pub(super) struct Fused {
    chain: Chain,
    packed: InvertedResidual,
}

impl Fused {
    /// Packs the chain that ends at `last`.
    pub(super) fn prepare(graph: &Graph, plan: &Plan, chain: Chain, last: Node) -> Self {
        let step = |node: Node| step(graph, &plan.shapes, node).expect("a chain is of convolutions");
        let x = graph.def(chain.first()).inputs[0];
        let (x, y) = (&plan.geometries[x.index()], &plan.geometries[last.index()]);
        let packed = InvertedResidual::new(chain.widen.map(step).as_ref(), &step(chain.filter), &step(last), x, y);
        Self { chain, packed }
    }

    /// Runs the chain, whose last node is `last`; the watchers of `probe` see what each of its layers reads.
    pub(super) fn run(
        &self,
        exec: &Exec<'_>,
        images: usize,
        (x, xg): (&[f32], &Geometry),
        y: &mut [f32],
        residual: Option<(&[f32], &Geometry)>,
        (probe, last): (Option<&dyn Probe>, Node),
    ) {
        let watch = |node: Node| probe.and_then(|probe| probe.watch(node));
        let (filtered, narrowed) = (watch(self.chain.filter), watch(last));
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
        let first = watch(self.chain.first());
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
