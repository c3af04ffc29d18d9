//! Nodes that run together: networks at sizes on both sides of what decides on it, by every engine, to the bit as node by
//! node.

use std::sync::{Arc, Mutex};

use deadweight::engine::{Banded, CandleEngine, EngineOptions, Groups, Plan, Session};
use deadweight::graph::quantize::{observed, quantize, split_epilogue};
use deadweight::graph::{Graph, Node, NodeDef, Params, Scope, passes};
use deadweight::kernels::count::{CodeMap, Counter, Encoder, Sums};
use deadweight::kernels::{Activation, Cells, Geometry, Halo, Isa, Region};
use deadweight::layers::{Conv, Layer, Padding, Pool, PoolKind, Shape};
use deadweight::models;
use deadweight::probe::{Place, Probe, Watch};
use deadweight::tally::LayerShape;
use proptest::prelude::*;

use crate::engines::{WatchAll, distance, images};
use crate::naive;

/// Images that run together.
const IMAGES: usize = 2;

/// A layer of a random network. Where numbers contradict what it reads, it is left out.
#[derive(Clone, Debug)]
enum Kind {
    /// Of the `width`-th of some widths.
    Pointwise {
        width: usize,
        padding: usize,
    },
    Depthwise {
        side: usize,
        stride: usize,
        padding: usize,
    },
    /// 3 x 3, of all channels.
    Mixing {
        width: usize,
        stride: usize,
    },
    /// To the `other`-th value before it of the same shape.
    Add {
        other: usize,
    },
    Pool {
        kind: PoolKind,
        stride: usize,
    },
    Activation,
}

#[derive(Clone, Debug)]
struct Part {
    kind: Kind,
    /// What follows it.
    activation: Activation,
    /// Which value it reads, counted back from the last one.
    back: usize,
}

/// A random network.
#[derive(Clone, Debug)]
struct Network {
    /// Channels of the input.
    input: usize,
    /// Channels of most layers.
    wide: usize,
    size: (usize, usize),
    parts: Vec<Part>,
    /// Whether it ends in pooling and a fully connected layer.
    classifies: bool,
    /// The value that is its result, counted back from the last one.
    output: usize,
    seed: u64,
}

impl Network {
    /// The network, not yet folded or fused, and the shape of its input.
    fn graph(&self) -> (Graph, Shape) {
        let net = Scope::new(Params::Random(self.seed));
        let input = Shape::new(self.input, self.size.0, self.size.1);
        let mut values = vec![(net.input(self.input), input)];
        for (i, part) in self.parts.iter().enumerate() {
            let (x, shape) = values[values.len() - 1 - part.back.min(values.len() - 1)];
            let at = net.at(format!("part{i}"));
            let conv = |conv: Conv| {
                let halo = conv.halo(shape.h, shape.w);
                let size = |size: usize, around: usize, side: usize| {
                    (size + around).checked_sub(side).map(|rest| rest / conv.stride.0 + 1)
                };
                let h = size(shape.h, halo.top + halo.bottom, conv.kernel.0)?;
                let w = size(shape.w, halo.left + halo.right, conv.kernel.1)?;
                let y = Shape::new(conv.out_channels, h, w);
                Some((net.activation(at.conv(x, conv.bias(true)), part.activation), y))
            };
            let made = match part.kind {
                Kind::Pointwise { width, padding } => {
                    // The last two are just within and beyond what outweighs its weights.
                    let edge = (shape.h * shape.w / 4).saturating_sub(shape.c).clamp(1, 200);
                    let channels = [15, 16, 17, 24, self.wide, self.wide, edge, edge + 1][width];
                    conv(Conv::new(channels, 1).padding(padding))
                }
                Kind::Depthwise { side, stride, padding } if shape.c > 1 => {
                    let around = Conv::new(shape.c, side).stride(stride).groups(shape.c);
                    conv(if padding == 0 { around.pad(Padding::Same) } else { around.padding(padding - 1) })
                }
                Kind::Mixing { width, stride } => conv(Conv::new(width, 3).stride(stride).padding(1)),
                Kind::Add { other } => {
                    let alike: Vec<Node> = values.iter().rev().filter(|v| v.1 == shape).map(|v| v.0).collect();
                    let sum = net.add(x, alike[other % alike.len()]);
                    Some((net.activation(sum, part.activation), shape))
                }
                Kind::Pool { kind, stride } if shape.h > 2 && shape.w > 2 => {
                    let y = net.pool(x, Pool { kind, ..Pool::max(3, stride).padding(1) });
                    Some((y, Shape::new(shape.c, (shape.h - 1) / stride + 1, (shape.w - 1) / stride + 1)))
                }
                Kind::Activation => Some((net.activation(x, part.activation), shape)),
                Kind::Depthwise { .. } | Kind::Pool { .. } => None,
            };
            values.extend(made);
        }
        let mut output = values[values.len() - 1 - self.output.min(values.len() - 1)].0;
        if self.classifies {
            let pooled = net.global_avg_pool(output);
            output = net.at("classifier").linear(pooled, 10, 1);
        }
        (net.finish(output).unwrap().0, input)
    }
}

fn activations(bounds: bool) -> impl Strategy<Value = Activation> {
    let others = if bounds { Activation::Relu } else { Activation::HardSwish };
    let leaky = if bounds { Activation::Relu6 } else { Activation::LeakyRelu(0.1) };
    prop::sample::select(vec![
        Activation::Relu6,
        Activation::Relu6,
        Activation::Relu,
        Activation::Identity,
        others,
        leaky,
    ])
}

fn part(bounds: bool) -> impl Strategy<Value = Part> {
    let pooling = prop::sample::select(vec![
        PoolKind::Max,
        PoolKind::Average { count_padding: false },
        PoolKind::Average { count_padding: !bounds },
    ]);
    let padding = prop_oneof![15 => Just(0usize), 1 => Just(1usize)];
    let kind = prop_oneof![
        8 => (0usize..8, padding).prop_map(|(width, padding)| Kind::Pointwise { width, padding }),
        8 => (prop::sample::select(vec![3usize, 3, 3, 5]), 1usize..3, prop::sample::select(vec![2usize, 2, 2, 0, 1, 3]))
            .prop_map(|(side, stride, padding)| Kind::Depthwise { side, stride, padding }),
        1 => (prop::sample::select(vec![8usize, 16, 24]), 1usize..3).prop_map(|(width, stride)| Kind::Mixing { width, stride }),
        2 => (0usize..4).prop_map(|other| Kind::Add { other }),
        1 => (pooling, 1usize..3).prop_map(|(kind, stride)| Kind::Pool { kind, stride }),
        1 => Just(Kind::Activation),
    ];
    let back = prop_oneof![8 => Just(0usize), 1 => Just(1usize), 1 => 2usize..5];
    (kind, activations(bounds), back).prop_map(|(kind, activation, back)| Part { kind, activation, back })
}

/// Random layers, or the pattern of MobileNetV1 with some of them left out.
fn parts(bounds: bool) -> impl Strategy<Value = Vec<Part>> {
    let pattern =
        (prop::collection::vec((1usize..3, 0usize..8, any::<bool>()), 1..5), activations(bounds), any::<bool>())
            .prop_map(|(blocks, activation, begins)| {
                let layer = |kind| Part { kind, activation, back: 0 };
                let mut parts = Vec::new();
                if begins {
                    parts.push(layer(Kind::Pointwise { width: 4, padding: 0 }));
                }
                for (stride, width, stays) in blocks {
                    parts.push(layer(Kind::Depthwise { side: 3, stride: if stays { 1 } else { stride }, padding: 2 }));
                    parts.push(layer(Kind::Pointwise { width: if stays { 4 } else { width }, padding: 0 }));
                }
                parts
            });
    prop_oneof![1 => pattern, 2 => prop::collection::vec(part(bounds), 2..8)]
}

/// Values of `wide` channels just within and beyond the bytes that are left to the caches, or few rows.
fn sizes() -> impl Strategy<Value = (usize, (usize, usize))> {
    let cached = (prop::sample::select(vec![16usize, 17, 48, 64, 128, 256]), 0usize..2, 0usize..4).prop_map(
        |(wide, beyond, narrower)| {
            let values = 150_000 / wide;
            let h = values.isqrt() + narrower;
            (wide, (h, values / h + beyond))
        },
    );
    let few =
        (prop::sample::select(vec![16usize, 17, 33]), 10usize..15, 3usize..10).prop_map(|(wide, h, w)| (wide, (h, w)));
    prop_oneof![2 => cached, 1 => few]
}

fn networks(bounds: bool) -> impl Strategy<Value = Network> {
    // More than are kept in planes.
    let input = prop::sample::select(vec![9usize, 15, 16, 17, 24]);
    let output = prop_oneof![3 => Just(0usize), 1 => 1usize..4];
    (input, sizes(), parts(bounds), any::<bool>(), output, any::<u64>()).prop_map(
        |(input, (wide, size), parts, classifies, output, seed)| Network {
            input,
            wide,
            size,
            parts,
            classifies,
            output,
            seed,
        },
    )
}

fn session(graph: &Graph, shape: Shape, threads: usize) -> Session {
    Session::new(Arc::new(graph.clone()), shape, IMAGES, EngineOptions::new(threads)).unwrap()
}

fn is_same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// `graph` with one reader more of each value but the input's, after all others: none can run together.
fn apart(graph: &Graph, shape: Shape) -> Graph {
    let mut apart = graph.clone();
    for node in graph.handles().skip(1) {
        let layer = Layer::Activation(Activation::Identity);
        apart.nodes.push(NodeDef { layer, inputs: vec![node], ..graph.def(node).clone() });
    }
    let plan = Plan::new(&apart, shape, 1, true).unwrap();
    assert!(apart.handles().all(|node| !plan.groups.is_inner(node)), "node by node");
    apart
}

/// `graph` in integers, by the ranges of its values for `x`.
fn in_integers(graph: &Graph, shape: Shape, x: &[f32]) -> Graph {
    let split = split_epilogue(graph);
    let (observing, observers) = observed(&split);
    let probe = WatchAll::new(&observing);
    session(&observing, shape, 2).run(x, Some(&probe)).unwrap();
    let seen = probe.seen();
    let range = |node: &Node| {
        let values = || seen[node.index()].iter().flat_map(|row| row.3.iter().map(|&bits| f32::from_bits(bits)));
        (values().fold(0.0, f32::min), values().fold(0.0, f32::max))
    };
    quantize(&split, &observers.iter().map(range).collect::<Vec<_>>())
}

/// Counts what enters one layer: all that a full measurement does.
struct Count(Mutex<Counter>);

impl Watch for Count {
    fn look(&self, _: usize, x: &[f32], geometry: &Geometry, image: usize, region: Region, place: Place) {
        assert!(self.0.lock().unwrap().count(Isa::best(), x, geometry, image, region, place.row));
    }

    fn takes_bytes(&self) -> bool {
        self.0.lock().unwrap().takes_bytes()
    }

    fn look_at_bytes(&self, _: usize, x: Cells<'_>, place: Place) {
        self.0.lock().unwrap().count_cells(Isa::best(), x, place.row);
    }
}

/// Counts what enters each convolution.
struct Counts(Vec<Option<Count>>);

impl Counts {
    /// Codes in `map` of what the convolutions of `graph` read.
    fn new(graph: &Graph, input: Shape, map: CodeMap) -> Self {
        let shapes = graph.shapes(input).unwrap();
        let count = |node: Node| {
            let (def, y) = (graph.def(node), shapes[node.index()]);
            let (Layer::Conv(conv), x) = (&def.layer, shapes[def.inputs.first()?.index()]) else { return None };
            let Halo { top, bottom, left, right } = conv.halo(x.h, x.w);
            let shape = LayerShape {
                input: [x.c, x.h, x.w],
                output: [y.c, y.h, y.w],
                weight: [y.c, x.c / conv.groups, conv.kernel.0, conv.kernel.1],
                stride: conv.stride.into(),
                padding: [top, bottom, left, right],
                dilation: conv.dilation.into(),
                groups: conv.groups,
                features: false,
                transposed: false,
                channels_last: false,
            };
            let classes = Arc::new(shape.classes());
            Some(Count(Mutex::new(Counter::new(map, Encoder::Naf, shape.grouping(), classes, shape.channels()))))
        };
        Self(graph.handles().map(count).collect())
    }

    fn sums(self) -> Vec<Sums> {
        self.0.into_iter().flatten().map(|count| count.0.into_inner().unwrap().into_sums()).collect()
    }
}

impl Probe for Counts {
    fn watch(&self, node: Node) -> Option<&dyn Watch> {
        self.0[node.index()].as_ref().map(|count| count as &dyn Watch)
    }
}

/// Whether `groups` are a partition of `graph`, and no value but that of a last node is read outside its group.
fn is_partition(graph: &Graph, groups: &Groups) -> bool {
    let mut seen = vec![0; graph.nodes.len()];
    for last in graph.handles() {
        let nodes = groups.ending_at(last);
        nodes.iter().for_each(|node| seen[node.index()] += 1);
        assert_eq!(nodes.is_empty(), groups.is_inner(last));
        assert!(
            nodes.iter().all(|&node| groups.last_of(node) == last) && nodes.last().is_none_or(|&node| node == last)
        );
    }
    let reads = graph.handles().flat_map(|reader| graph.def(reader).inputs.iter().map(move |&read| (read, reader)));
    let mut reads = reads.filter(|&(read, _)| groups.is_inner(read));
    seen.iter().all(|&times| times == 1)
        && !groups.is_inner(graph.output())
        && reads.all(|(read, reader)| groups.last_of(read) == groups.last_of(reader))
}

/// All that holds of `graph` on our engine alone. Returns what it gives for `x`.
fn check(graph: &Graph, shape: Shape, x: &[f32], map: CodeMap) -> Result<Vec<f32>, TestCaseError> {
    let plan = Plan::new(graph, shape, IMAGES, true).unwrap();
    prop_assert!(is_partition(graph, &plan.groups));
    let apart = apart(graph, shape);
    let mut single = session(&apart, shape, 2);
    let want = single.run(x, None).unwrap();
    let watched = WatchAll::new(&apart);
    prop_assert!(is_same(&single.run(x, Some(&watched)).unwrap(), &want), "watched node by node: other bits");
    let mut rows = watched.seen();
    rows.truncate(graph.nodes.len());
    let counts = Counts::new(&apart, shape, map);
    prop_assert!(is_same(&single.run(x, Some(&counts)).unwrap(), &want), "counted node by node: other bits");
    let sums = counts.sums();
    for threads in [1, 2] {
        let mut together = session(graph, shape, threads);
        prop_assert!(is_same(&together.run(x, None).unwrap(), &want), "together, {threads} threads: other bits");
        let watched = WatchAll::new(graph);
        prop_assert!(is_same(&together.run(x, Some(&watched)).unwrap(), &want), "watched together: other bits");
        prop_assert!(watched.seen() == rows, "together, {threads} threads: other rows are seen");
        let counts = Counts::new(graph, shape, map);
        prop_assert!(is_same(&together.run(x, Some(&counts)).unwrap(), &want), "counted together: other bits");
        prop_assert!(counts.sums() == sums, "together, {threads} threads: other counts");
        let one = together.run(&x[..shape.elements()], None).unwrap();
        prop_assert!(is_same(&one, &want[..one.len()]), "an image alone: other bits");
    }
    let options = EngineOptions { memory: plan.bytes() / IMAGES / 3, ..EngineOptions::new(2) };
    if let Some(mut banded) = Banded::new(&Arc::new(graph.clone()), shape, &options).unwrap() {
        prop_assert!(is_same(&banded.run(x, None).unwrap(), &want), "in bands: other bits");
        let watched = WatchAll::new(graph);
        banded.run(&x[..shape.elements()], Some(&watched)).unwrap();
        rows.iter_mut().for_each(|rows| rows.retain(|row| row.0 == 0));
        prop_assert!(watched.seen() == rows, "in bands: other rows are seen");
    }
    Ok(want)
}

/// What plain loops give for each of the images `x`.
fn plain(graph: &Graph, shape: Shape, x: &[f32]) -> Vec<f32> {
    x.chunks(shape.elements()).flat_map(|image| naive::run(graph, shape, image)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn reals_are_those_of_plain_loops_and_candle_and_of_node_by_node(network in networks(false)) {
        let (graph, shape) = network.graph();
        let x = images(IMAGES * shape.elements());
        let want = plain(&graph, shape, &x);
        let candle = CandleEngine::new(&graph, candle_core::Device::Cpu).unwrap().run(&x, shape, None).unwrap();
        prop_assert!(distance(&candle, &want) < 2e-4, "candle is {} from plain loops", distance(&candle, &want));
        let fused = passes::fuse_epilogue(&passes::fold_norm(&graph));
        let got = check(&fused, shape, &x, CodeMap { scale: 64.0, lo: -2047, hi: 2047 })?;
        prop_assert!(distance(&got, &want) < 2e-4, "native is {} from plain loops", distance(&got, &want));
    }

    #[test]
    fn codes_of_8_bits_are_those_of_plain_loops_and_of_node_by_node(network in networks(true)) {
        let (graph, shape) = network.graph();
        let x = images(IMAGES * shape.elements());
        let fused = passes::fuse_epilogue(&passes::fold_norm(&graph));
        let graph = in_integers(&fused, shape, &x);
        let got = check(&graph, shape, &x, CodeMap { scale: 1.0, lo: -255, hi: 255 })?;
        prop_assert!(is_same(&got, &plain(&graph, shape, &x)), "other codes than plain loops");
    }
}

/// Each pointwise convolution of MobileNetV1 could end one group and begin the next.
#[test]
fn mobilenet_v1_runs_together_at_its_own_sizes() {
    let card = models::card("mobilenet_v1_1.0_224").unwrap();
    let (graph, _) = models::build(card, Params::Random(4)).unwrap();
    let fused = passes::fuse_epilogue(&passes::fold_norm(&graph));
    for side in [224, 160] {
        let shape = Shape::new(3, side, side);
        let x = images(IMAGES * shape.elements());
        let want = plain(&graph, shape, &x);
        let candle = CandleEngine::new(&graph, candle_core::Device::Cpu).unwrap().run(&x, shape, None).unwrap();
        assert!(distance(&candle, &want) < 2e-4, "candle is {} from plain loops", distance(&candle, &want));
        let plan = Plan::new(&fused, shape, 1, true).unwrap();
        assert!(fused.handles().filter(|&node| plan.groups.is_inner(node)).count() >= 3, "several run together");
        let got = check(&fused, shape, &x, CodeMap { scale: 64.0, lo: -2047, hi: 2047 }).unwrap();
        assert!(distance(&got, &want) < 2e-4, "native is {} from plain loops", distance(&got, &want));
        let integers = in_integers(&fused, shape, &x);
        let got = check(&integers, shape, &x, CodeMap { scale: 1.0, lo: -255, hi: 255 }).unwrap();
        assert!(is_same(&got, &plain(&integers, shape, &x)), "other codes than plain loops");
    }
}

/// A filter of one pixel that reads padding makes more rows than it reads, and none of the bands has them.
#[test]
fn padded_pointwise_convolutions_run_together_with_nothing() {
    let part = |kind| Part { kind, activation: Activation::Relu6, back: 0 };
    let filter = part(Kind::Depthwise { side: 3, stride: 1, padding: 2 });
    let pointwise = |padding| part(Kind::Pointwise { width: 1, padding });
    for parts in [vec![filter.clone(), pointwise(1)], vec![pointwise(1), filter, pointwise(0)]] {
        let size = (97, 98);
        let network = Network { input: 16, wide: 16, size, parts, classifies: false, output: 0, seed: 0 };
        let (graph, shape) = network.graph();
        let x = images(IMAGES * shape.elements());
        let fused = passes::fuse_epilogue(&graph);
        let got = check(&fused, shape, &x, CodeMap { scale: 64.0, lo: -2047, hi: 2047 }).unwrap();
        assert!(distance(&got, &plain(&graph, shape, &x)) < 2e-4);
    }
}

proptest! {
    #[test]
    fn whatever_is_wanted_is_made_a_partition(
        network in networks(false),
        wanted in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..4), 0..12),
        neighbours in prop::collection::vec((any::<prop::sample::Index>(), 2usize..4), 0..12),
    ) {
        let graph = passes::fuse_epilogue(&network.graph().0);
        let nodes: Vec<Node> = graph.handles().collect();
        let mut wanted: Vec<Vec<Node>> =
            wanted.iter().map(|group| group.iter().map(|index| nodes[index.index(nodes.len())]).collect()).collect();
        // Groups that can be made, too.
        for (first, count) in neighbours {
            let first = first.index(nodes.len());
            wanted.push(nodes[first..(first + count).min(nodes.len())].to_vec());
        }
        let groups = Groups::new(&graph, wanted.clone());
        prop_assert!(is_partition(&graph, &groups));
        // Nothing was made that nobody wanted.
        let made = graph.handles().map(|last| groups.ending_at(last)).filter(|nodes| nodes.len() > 1);
        prop_assert!(made.into_iter().all(|nodes| wanted.contains(&nodes)));
    }
}
