//! Products of two activations, run and measured: one set of counts for any batch, threads, level and split, the same from a file, and
//! that of what a probe is shown.

use std::sync::{Arc, Mutex};

use deadweight::engine::{Backend, EngineOptions, Runner, Session};
use deadweight::graph::{Graph, Node, Params, Scope};
use deadweight::input::Dataset;
use deadweight::kernels::count::Encoder;
use deadweight::kernels::{Geometry, Halo, Isa, LANES, Region};
use deadweight::layers::{Conv, Layer, MatMul, Shape, Slice};
use deadweight::measure::{Quiet, Settings, calibrate, measure};
use deadweight::measurement::Measurement;
use deadweight::metrics::Which;
use deadweight::model::{LoadOptions, Model};
use deadweight::probe::{Origin, Probe, Watch};
use deadweight::report::Report;
use deadweight::tally::{LayerShape, PairSpec, Statistics};

const HEADS: usize = 3;
const INNER: usize = 20;
const STEPS: usize = 32;

/// A digit's columns as steps of a sequence; the product of two projections of it, head by head; classes.
fn graph() -> Graph {
    let net = Scope::new(Params::Random(7));
    let channels = HEADS * INNER;
    let x = net.input(1);
    let x = net.at("project").conv(x, Conv { kernel: (STEPS, 1), ..Conv::new(2 * channels, 1) });
    let x = net.at("relu").relu(x);
    let part = |start: usize| net.slice(x, Slice { start, channels, cut: Halo::default() });
    let (queries, keys) = (part(0), part(channels));
    let scores = net.at("qk").matmul(queries, keys, HEADS, STEPS);
    let y = net.at("classes").linear(scores, 10, STEPS);
    net.finish(y).unwrap().0
}

fn model() -> Model {
    Model::load("digits", &LoadOptions::default()).unwrap().with_graph(graph())
}

fn data(model: &Model) -> Dataset {
    model.builtin_data().unwrap().unwrap()
}

fn native(threads: usize, isa: Isa) -> Backend {
    Backend::Native(EngineOptions { isa, ..EngineOptions::new(threads) })
}

fn settings(batch: usize, shard: Option<(usize, usize)>) -> Settings {
    Settings { batch, shard, calibrate: 4, limit: Some(9), ..Settings::default() }
}

fn measured(model: &Model, backend: &Backend, settings: &Settings) -> Measurement {
    let calibration = calibrate(model, backend, &data(model), settings, &Quiet).unwrap();
    measure(model, backend, &data(model), &calibration, &Quiet).unwrap()
}

#[test]
fn counts_do_not_depend_on_how_a_run_is_made() {
    let model = model();
    let whole = measured(&model, &native(1, Isa::best()), &settings(1, None));
    let layer = whole.layers.iter().find(|layer| layer.name == "qk").unwrap();
    assert_eq!((&layer.kind[..], layer.tally.images), ("matmul", 9));
    let report = Report::new(&whole);
    let row = report.layers().find(|scope| scope.layer == "qk").unwrap();
    let number = |name: &str, which: Option<Which>| row.cells.get(name, which).and_then(|value| value.number());
    assert_eq!(number("macs.per_input", None), Some((HEADS * INNER * STEPS * STEPS) as f64));
    // A ReLU comes before both operands.
    let zeros = [Which::Activations, Which::Weights].map(|which| number("zeros", Some(which)).unwrap());
    assert!(zeros.iter().all(|share| (0.2..0.8).contains(share)), "{zeros:?}");
    assert!(number("potential.W+A", None) > number("potential.A", None));
    for isa in Isa::available() {
        for (threads, batch) in [(2, 4), (2, 9)] {
            let got = measured(&model, &native(threads, isa), &settings(batch, None));
            assert!(got == whole, "{}, {threads} threads, batch {batch}: other counts", isa.name());
        }
    }
    let parts = (1..=3).map(|part| measured(&model, &native(2, Isa::best()), &settings(2, Some((part, 3)))));
    let merged = parts.reduce(|mut all, part| {
        all.add(&part, "the other part").unwrap();
        all
    });
    assert!(merged.unwrap() == whole, "parts add up to the whole");
    let read = Measurement::from_bytes("run.dwm", &whole.to_bytes()).unwrap();
    assert!(read == whole, "a file holds all of it");
}

/// Keeps both operands of one node whole, `[image][channels, steps]`.
struct Operands {
    node: Node,
    seen: [Seen; 2],
}

/// Keeps the operand that it watches, `[image][channels, steps]`.
#[derive(Default)]
pub struct Seen(pub Mutex<Vec<Vec<f32>>>);

impl Watch for Seen {
    fn look(&self, _: usize, x: &[f32], geometry: &Geometry, image: usize, region: Region, origin: Origin) {
        let mut images = self.0.lock().unwrap();
        let place = origin.image + image;
        let length = images.len().max(place + 1);
        images.resize(length, vec![]);
        images[place].resize(geometry.c * geometry.w, f32::NAN);
        for channel in region.blocks.start * LANES..(region.blocks.end * LANES).min(geometry.c) {
            for step in 0..geometry.w {
                images[place][channel * geometry.w + step] = x[geometry.index(image, channel, 0, step)];
            }
        }
    }
}

impl Probe for Operands {
    fn watch(&self, node: Node) -> Option<&dyn Watch> {
        (node == self.node).then_some(&self.seen[0] as &dyn Watch)
    }

    fn watch_second(&self, node: Node) -> Option<&dyn Watch> {
        (node == self.node).then_some(&self.seen[1] as &dyn Watch)
    }
}

#[test]
fn what_is_counted_is_what_a_probe_is_shown_and_what_is_computed_is_its_product() {
    let model = model();
    let graph = &model.graph;
    let node = graph.handles().find(|node| graph.def(*node).name == "qk").unwrap();
    let samples: Vec<Vec<f32>> = (0..9).map(|i| data(&model).load(i).unwrap().values).collect();
    let full = Settings { statistics: Statistics::Full, ..settings(3, None) };
    let whole = measured(&model, &native(2, Isa::best()), &full);
    let layer = whole.layers.iter().find(|layer| layer.name == "qk").unwrap();

    // The same graph that ends at the product.
    let ended = Arc::new(Graph { output: Some(node), nodes: graph.nodes[..=node.index()].to_vec() });
    let (input, images) = (Shape::new(1, STEPS, STEPS), samples.concat());
    let probe = Operands { node, seen: Default::default() };
    let mut session = Session::new(Arc::clone(&ended), input, 9, EngineOptions::new(2)).unwrap();
    let scores = session.run(&images, Some(&probe)).unwrap();
    let Operands { seen: [a, b], .. } = probe;
    let (a, b) = (a.0.into_inner().unwrap(), b.0.into_inner().unwrap());
    let maps = layer.codings.map(|coding| coding.map);
    let shape = LayerShape::steps(INNER, STEPS, STEPS);
    let (encoder, keeps_codes) = (Encoder::default(), [true; 2]);
    let spec = PairSpec { shape, heads: HEADS, maps, encoder, has_terms: true, keeps_codes };
    let counted = a.iter().zip(&b).map(|(a, b)| spec.count(Isa::SCALAR, [a, b]).unwrap());
    let sums = counted.reduce(|mut all, one| {
        all.merge(&one);
        all
    });
    let sums = sums.unwrap();
    assert_eq!(layer.tally.pairs, Some(sums.products));
    assert!(layer.tally.activations == sums.activations && layer.tally.weights == sums.weights);

    let Layer::MatMul(MatMul { heads, inner }) = ended.def(node).layer else { panic!("a product") };
    for (image, scores) in scores.chunks(HEADS * STEPS * STEPS).enumerate() {
        for (place, score) in scores.iter().enumerate() {
            let (head, key, query) = (place / STEPS / STEPS, place / STEPS % STEPS, place % STEPS);
            assert!(head < heads);
            let at = |x: &[Vec<f32>], k: usize, step: usize| x[image][(head * inner + k) * STEPS + step];
            let want = (0..inner).fold(0.0f32, |sum, k| at(&a, k, query).mul_add(at(&b, k, key), sum));
            assert_eq!(score.to_bits(), want.to_bits(), "image {image}, head {head}, key {key}, query {query}");
        }
    }

    let pool = native(2, Isa::best()).pool().clone();
    let candle = Backend::Candle(candle_core::Device::Cpu, pool);
    let other = Runner::new(&ended, input, &candle, 9).unwrap().run(&images, None).unwrap();
    let most = scores.iter().fold(0.0f32, |most, score| most.max(score.abs()));
    let apart = scores.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(apart <= 1e-5 * most, "candle differs by {apart} of {most}");
}
