//! Fused groups: networks at sizes on both sides of the fusion thresholds, by every engine, with the same bits as node by
//! node.

mod network;

use std::sync::{Arc, Mutex};

use deadweight::engine::{Banded, CandleEngine, EngineOptions, Groups, Plan, Session};
use deadweight::graph::quantize::{observed, quantize, split_epilogue};
use deadweight::graph::{Graph, Node, NodeDef, Params, passes};
use deadweight::kernels::count::{CodeMap, Counter, Detail, Encoder, Sums};
use deadweight::kernels::{Activation, Geometry, Halo, Isa, PackedCodes, Region};
use deadweight::layers::{Layer, Shape};
use deadweight::models;
use deadweight::probe::{Origin, Probe, Watch};
use deadweight::tally::LayerShape;
use proptest::prelude::*;

use self::network::{Kind, Network, Part, networks};
use crate::engines::{WatchAll, distance, images};
use crate::naive;

/// Number of images that run together.
const IMAGES: usize = 2;

fn session(graph: &Graph, shape: Shape, threads: usize) -> Session {
    Session::new(Arc::new(graph.clone()), shape, IMAGES, EngineOptions::new(threads)).unwrap()
}

fn is_same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// `graph` with an additional reader of each value but the input's, after all other nodes: no nodes can be fused.
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

/// `graph` in integers, with the ranges of its values for `x`.
fn in_integers(graph: &Graph, shape: Shape, x: &[f32]) -> Graph {
    let split = split_epilogue(graph);
    let (observing, observers) = observed(&split);
    let probe = WatchAll::new(&observing);
    session(&observing, shape, 2).run(x, Some(&probe)).unwrap();
    let [seen, _] = probe.seen();
    let range = |node: &Node| {
        let values = || seen[node.index()].iter().flat_map(|row| row.3.iter().map(|&bits| f32::from_bits(bits)));
        (values().fold(0.0, f32::min), values().fold(0.0, f32::max))
    };
    quantize(&split, &observers.iter().map(range).collect::<Vec<_>>())
}

/// Counts the input of one layer, as a full measurement does.
struct Count(Mutex<Counter>);

impl Watch for Count {
    fn look(&self, _: usize, x: &[f32], geometry: &Geometry, image: usize, region: Region, origin: Origin) {
        assert!(self.0.lock().unwrap().count(Isa::best(), x, geometry, image, region, origin.row));
    }

    fn takes_bytes(&self) -> bool {
        self.0.lock().unwrap().takes_bytes()
    }

    fn look_at_bytes(&self, _: usize, x: PackedCodes<'_>, origin: Origin) {
        self.0.lock().unwrap().count_packed(Isa::best(), x, origin.row);
    }
}

/// Counts the input of each convolution.
struct Counts(Vec<Option<Count>>);

impl Counts {
    /// Codes by `map` of the inputs of the convolutions of `graph`.
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
            Some(Count(Mutex::new(Counter::new(
                map,
                Detail::Codes(Encoder::Naf),
                shape.grouping(),
                classes,
                shape.channels(),
            ))))
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

/// Whether `groups` is a partition of `graph`, with only the values of last nodes read outside their groups.
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

/// Checks all properties of `graph` on the native engine alone. Returns the output for `x`.
fn check(graph: &Graph, shape: Shape, x: &[f32], map: CodeMap) -> Result<Vec<f32>, TestCaseError> {
    let plan = Plan::new(graph, shape, IMAGES, true).unwrap();
    prop_assert!(is_partition(graph, &plan.groups));
    let apart = apart(graph, shape);
    let mut single = session(&apart, shape, 2);
    let want = single.run(x, None).unwrap();
    let watched = WatchAll::new(&apart);
    prop_assert!(is_same(&single.run(x, Some(&watched)).unwrap(), &want), "watched node by node: other bits");
    let mut rows = watched.seen();
    rows.iter_mut().for_each(|nodes| nodes.truncate(graph.nodes.len()));
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
        rows.iter_mut().flatten().for_each(|rows| rows.retain(|row| row.0 == 0));
        prop_assert!(watched.seen() == rows, "in bands: other rows are seen");
    }
    Ok(want)
}

/// The output of plain loops for each of the images `x`.
fn plain(graph: &Graph, shape: Shape, x: &[f32]) -> Vec<f32> {
    x.chunks(shape.elements()).flat_map(|image| naive::run(graph, shape, image)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn floats_are_those_of_plain_loops_and_candle_and_of_node_by_node(network in networks(false)) {
        let (graph, shape) = network.graph();
        let x = images(IMAGES * shape.elements());
        let want = plain(&graph, shape, &x);
        let candle = CandleEngine::new(&graph, candle_core::Device::Cpu).unwrap().run(&x, shape, None).unwrap();
        prop_assert!(distance(&candle, &want) < 2e-4, "candle is {} from plain loops", distance(&candle, &want));
        let fused = passes::fuse_epilogue(&passes::fold_norm(&graph));
        let got = check(&fused, shape, &x, CodeMap::linear(64.0, -2047, 2047))?;
        prop_assert!(distance(&got, &want) < 2e-4, "native is {} from plain loops", distance(&got, &want));
    }

    #[test]
    fn codes_of_8_bits_are_those_of_plain_loops_and_of_node_by_node(network in networks(true)) {
        let (graph, shape) = network.graph();
        let x = images(IMAGES * shape.elements());
        let fused = passes::fuse_epilogue(&passes::fold_norm(&graph));
        let graph = in_integers(&fused, shape, &x);
        let got = check(&graph, shape, &x, CodeMap::linear(1.0, -255, 255))?;
        prop_assert!(is_same(&got, &plain(&graph, shape, &x)), "other codes than plain loops");
    }
}

/// Each pointwise convolution of MobileNetV1 could end one group and start the next.
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
        let got = check(&fused, shape, &x, CodeMap::linear(64.0, -2047, 2047)).unwrap();
        assert!(distance(&got, &want) < 2e-4, "native is {} from plain loops", distance(&got, &want));
        let integers = in_integers(&fused, shape, &x);
        let got = check(&integers, shape, &x, CodeMap::linear(1.0, -255, 255)).unwrap();
        assert!(is_same(&got, &plain(&integers, shape, &x)), "other codes than plain loops");
    }
}

/// A pointwise convolution with padding has more rows than its input, which no band provides.
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
        let got = check(&fused, shape, &x, CodeMap::linear(64.0, -2047, 2047)).unwrap();
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
        // Some groups that can be made, too.
        for (first, count) in neighbours {
            let first = first.index(nodes.len());
            wanted.push(nodes[first..(first + count).min(nodes.len())].to_vec());
        }
        let groups = Groups::new(&graph, wanted.clone());
        prop_assert!(is_partition(&graph, &groups));
        // No group was made that was not wanted.
        let made = graph.handles().map(|last| groups.ending_at(last)).filter(|nodes| nodes.len() > 1);
        prop_assert!(made.into_iter().all(|nodes| wanted.contains(&nodes)));
    }
}
