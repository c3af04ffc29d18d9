//! The native engine against the candle engine on every layer kind, and against itself on every level and split.

use std::sync::Arc;
use std::sync::Mutex;

use deadweight::engine::{CandleEngine, EngineOptions, Session};
use deadweight::graph::{Graph, Node, Params, Scope, passes};
use deadweight::kernels::{Activation, Geometry, Halo, Isa, LANES, Region};
use deadweight::layers::{Cell, Conv, ConvTranspose, Lstm, Pool, PoolKind, Recurrent, Shape, Slice, Subsample};
use deadweight::probe::{Origin, Probe, Watch};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

/// Deterministic images in -1..1.
pub fn images(count: usize) -> Vec<f32> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) as f32 / (1u64 << 31) as f32) - 1.0).collect()
}

/// Largest difference relative to the root mean square of `want`.
pub fn distance(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let square: f64 = want.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    let rms = (square / want.len().max(1) as f64).sqrt().max(1e-6);
    got.iter().zip(want).map(|(&g, &w)| (f64::from(g) - f64::from(w)).abs() / rms).fold(0.0, f64::max)
}

fn run_native(graph: &Graph, shape: Shape, x: &[f32], batch: usize, threads: usize, isa: Isa) -> Vec<f32> {
    let options = EngineOptions { isa, ..EngineOptions::new(threads) };
    let mut session = Session::new(Arc::new(graph.clone()), shape, batch, options).unwrap();
    x.chunks(batch * shape.elements()).flat_map(|chunk| session.run(chunk, None).unwrap()).collect()
}

#[test]
fn no_images_give_no_outputs() {
    let net = Scope::new(Params::Random(1));
    let x = net.input(3);
    let x = net.linear_steps(x, net.parameter("input", &[64, 3]), None, false);
    let weight = net.parameter("hidden", &[64, 16]);
    let y = net.lstm(
        x,
        Lstm { weight, bias: None, projection: None, reverse: false, clip: None, integer: None, rounding: [None; 2] },
    );
    let (graph, _) = net.finish(y).unwrap();
    let mut session = Session::new(Arc::new(graph), Shape::new(3, 1, 4), 2, EngineOptions::new(2)).unwrap();
    assert_eq!(session.run(&images(12), None).unwrap().len(), 16 * 4);
    assert!(session.run(&[], None).unwrap().is_empty());
}

fn activations() -> impl Strategy<Value = Activation> {
    prop::sample::select(vec![
        Activation::Identity,
        Activation::Relu,
        Activation::Relu6,
        Activation::LeakyRelu(0.1),
        Activation::HardSwish,
        Activation::HardSigmoid,
        Activation::Sigmoid,
        Activation::Silu,
        Activation::Tanh,
        Activation::Sqrt,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::QuickGelu,
    ])
}

fn halos(max: usize) -> impl Strategy<Value = Halo> {
    (0..=max, 0..=max, 0..=max, 0..=max).prop_map(|(top, bottom, left, right)| Halo { top, bottom, left, right })
}

fn convolution() -> impl Strategy<Value = Graph> {
    let extents = (1usize..40, 1usize..40, 1usize..5, 1usize..5, 1usize..4, 1usize..3);
    (extents, halos(3), 0usize..4, activations(), any::<u64>()).prop_map(
        |((c, k, r, s, stride, dilation), halo, grouping, activation, seed)| {
            let (c, k, groups) = match grouping {
                0 => (c, c, c),
                1 => (2 * c, 2 * k, 2),
                _ => (c, k, 1),
            };
            let net = Scope::new(Params::Random(seed));
            let x = net.input(c);
            let conv = Conv { kernel: (r, s), ..Conv::new(k, 1).stride(stride).dilation(dilation).groups(groups) };
            let y = net.at("conv").conv(x, conv.pad(halo.into()).bias(seed % 2 == 0));
            let y = net.activation(y, activation);
            net.finish(y).unwrap().0
        },
    )
}

fn block() -> impl Strategy<Value = Graph> {
    (1usize..40, activations(), activations(), any::<u64>()).prop_map(|(c, first, second, seed)| {
        let net = Scope::new(Params::Random(seed));
        let x = net.input(c);
        let x = net.at("stem").conv(x, Conv::new(24, 3).padding(1));
        let y = net.at("conv1").conv(x, Conv::new(24, 3).padding(1));
        let y = net.at("bn1").batch_norm(y, 1e-5);
        let y = net.activation(y, first);
        let y = net.at("conv2").conv(y, Conv::new(24, 3).padding(1));
        let y = net.at("bn2").batch_norm(y, 1e-5);
        let y = net.add(y, x);
        let y = net.activation(y, second);
        let gate = net.global_avg_pool(y);
        let gate = net.at("se").conv(gate, Conv::new(24, 1).bias(true));
        let gate = net.activation(gate, Activation::HardSigmoid);
        let y = net.mul(y, gate);
        let y = net.concat(&[y, x, y]);
        let y = net.subsample(y, Subsample { stride: 2, before: 3, after: 5 });
        let y = net.global_avg_pool(y);
        let y = net.at("fc").linear(y, 11, 1);
        let y = net.activation(y, second);
        net.finish(y).unwrap().0
    })
}

fn other_layers() -> impl Strategy<Value = Graph> {
    let pooling = (2usize..4, 1usize..4, halos(1), any::<bool>(), 0usize..3);
    (1usize..34, pooling, 1usize..4, any::<bool>(), 0usize..2, any::<u64>()).prop_map(
        |(c, (kernel, stride, padding, ceil, kind), up, align_corners, h_cut, seed)| {
            let kind = match kind {
                0 => PoolKind::Max,
                1 => PoolKind::Average { count_padding: true },
                _ => PoolKind::Average { count_padding: false },
            };
            let net = Scope::new(Params::Random(seed));
            let x = net.input(c);
            let y = net.pool(x, Pool { kind, kernel, stride, padding, ceil });
            let y = net.at("bn").batch_norm(y, 1e-3);
            let y = net.at("up").conv_transpose(y, ConvTranspose::new(7, up + 1, up));
            let y = net.at("resized").resize(y, x, align_corners);
            let y = net.at("mixed").conv(y, Conv::new(12, 1));
            let y = net.at("restored").pixel_unshuffle(net.pixel_shuffle(y, 2), 2);
            let cut = Halo { bottom: h_cut, ..Halo::default() };
            let whole = y;
            let part = |at: &str, start| net.at(at).slice(whole, Slice { start, channels: 5, cut });
            let y = net.sub(part("from", 1), part("to", 7));
            let y = net.concat(&[y, net.fill(y, 0.25), part("last", 2)]);
            net.finish(y).unwrap().0
        },
    )
}

/// Layers over sequences, in both directions.
fn sequences() -> impl Strategy<Value = Graph> {
    let projections = prop::option::of(1usize..30);
    let cells = prop::sample::select(vec![None, Some(Cell::Gru), Some(Cell::Tanh), Some(Cell::Relu)]);
    (1usize..20, 1usize..40, 1usize..20, 1usize..30, projections, cells, any::<u64>()).prop_map(
        |(c, hidden, next, out, projected, cell, seed)| {
            // An LSTM alone has a projection.
            let (gates, projected) = (cell.map_or(4, Cell::gates), projected.filter(|_| cell.is_none()));
            let net = Scope::new(Params::Random(seed));
            let mut x = net.input(c);
            for (layer, hidden) in [hidden, next].into_iter().enumerate() {
                let parts = [false, true].map(|reverse| {
                    let at = net.at(format!("layer{layer}.{reverse}"));
                    let input = at.parameter("weight_ih", &[gates * hidden, at.channels(x)]);
                    let y = at.linear_steps(x, input, Some(at.parameter("bias_ih", &[gates * hidden])), false);
                    let weight = at.parameter("weight_hh", &[gates * hidden, projected.unwrap_or(hidden)]);
                    let projection = projected.map(|outputs| at.parameter("weight_hr", &[outputs, hidden]));
                    let bias = Some(at.parameter("bias_hh", &[gates * hidden]));
                    match cell {
                        Some(cell) => at.recurrent(y, Recurrent { cell, weight, bias, reverse, rounding: None }),
                        None => at.lstm(
                            y,
                            Lstm { weight, bias, projection, reverse, clip: None, integer: None, rounding: [None; 2] },
                        ),
                    }
                });
                x = net.at(format!("layer{layer}")).concat(&parts);
            }
            let weight = net.parameter("decoder", &[out, net.channels(x)]);
            let x = net.relu(net.linear_steps(x, weight, None, false));
            net.finish(x).unwrap().0
        },
    )
}

fn input_channels(graph: &Graph) -> usize {
    graph.nodes[0].channels
}

fn check(graph: &Graph, h: usize, w: usize) -> Result<(), TestCaseError> {
    let shape = Shape::new(input_channels(graph), h, w);
    if graph.shapes(shape).is_err() {
        return Err(TestCaseError::reject("the input is smaller than a window"));
    }
    let x = images(3 * shape.elements());
    let candle = CandleEngine::new(graph, candle_core::Device::Cpu).unwrap();
    let want = candle.run(&x, shape, None).unwrap();
    let fused = passes::fuse_epilogue(&passes::fold_norm(graph));
    let got = run_native(&fused, shape, &x, 3, 2, Isa::best());
    prop_assert!(distance(&got, &want) < 2e-4, "native is {} from candle", distance(&got, &want));
    let unfused = run_native(graph, shape, &x, 3, 1, Isa::best());
    prop_assert!(distance(&unfused, &want) < 2e-4, "unfused is {} from candle", distance(&unfused, &want));
    for isa in Isa::available() {
        for (batch, threads) in [(1, 1), (2, 2), (3, 1)] {
            let again = run_native(&fused, shape, &x, batch, threads, isa);
            let same = again.iter().zip(&got).all(|(a, b)| a.to_bits() == b.to_bits());
            prop_assert!(same, "{} batch {batch} threads {threads}: other bits", isa.name());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn convolutions_agree(graph in convolution(), h in 1usize..18, w in 1usize..18) {
        check(&graph, h, w)?;
    }

    #[test]
    fn blocks_agree(graph in block(), h in 2usize..20, w in 2usize..20) {
        check(&graph, h, w)?;
    }

    #[test]
    fn pools_norms_and_resizes_agree(graph in other_layers(), h in 1usize..18, w in 1usize..18) {
        check(&graph, h, w)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn sequences_agree(graph in sequences(), steps in 1usize..12) {
        check(&graph, 1, steps)?;
    }
}

/// Records which rows of which blocks it was called with, and their values.
struct Rows(Mutex<Vec<Row>>);

/// Image, row of the whole image, block of channels, and the bits of the values there.
pub type Row = (usize, usize, usize, Vec<u32>);

impl Watch for Rows {
    fn look(&self, _: usize, x: &[f32], geometry: &Geometry, image: usize, region: Region, origin: Origin) {
        for (y, block) in region.rows.flat_map(|y| region.blocks.clone().map(move |block| (y, block))) {
            let channels = block * LANES..geometry.c.min((block + 1) * LANES);
            let row = channels.flat_map(|c| (0..geometry.w).map(move |column| (c, column)));
            let seen = row.map(|(c, column)| x[geometry.index(image, c, y, column)].to_bits()).collect();
            self.0.lock().unwrap().push((origin.image + image, origin.row + y, block, seen));
        }
    }
}

pub struct WatchAll {
    inputs: Vec<Rows>,
    outputs: Vec<Rows>,
}

impl WatchAll {
    /// Watches every node of `graph`.
    pub fn new(graph: &Graph) -> Self {
        let rows = || graph.handles().map(|_| Rows(Mutex::new(Vec::new()))).collect();
        Self { inputs: rows(), outputs: rows() }
    }

    /// For each node, the observed rows of its first input, in order, and those of its output.
    pub fn seen(self) -> [Vec<Vec<Row>>; 2] {
        let sorted = |rows: Rows| {
            let mut rows = rows.0.into_inner().unwrap();
            rows.sort();
            rows
        };
        [self.inputs, self.outputs].map(|nodes| nodes.into_iter().map(sorted).collect())
    }
}

impl Probe for WatchAll {
    fn watch(&self, node: Node) -> Option<&dyn Watch> {
        Some(&self.inputs[node.index()])
    }

    fn watch_output(&self, node: Node) -> Option<&dyn Watch> {
        Some(&self.outputs[node.index()])
    }
}

#[test]
fn a_probe_sees_every_row_once_and_changes_no_bit() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let graph = block().new_tree(&mut runner).unwrap().current();
    let graph = passes::fuse_epilogue(&passes::fold_norm(&graph));
    let shape = Shape::new(input_channels(&graph), 17, 15);
    let x = images(3 * shape.elements());
    let shapes = graph.shapes(shape).unwrap();
    let mut sights = Vec::new();
    for threads in [1, 2] {
        let mut session = Session::new(Arc::new(graph.clone()), shape, 3, EngineOptions::new(threads)).unwrap();
        let plain = session.run(&x, None).unwrap();
        let probe = WatchAll::new(&graph);
        let watched = session.run(&x, Some(&probe)).unwrap();
        assert!(plain.iter().zip(&watched).all(|(a, b)| a.to_bits() == b.to_bits()));
        let sorted = probe.seen();
        for node in graph.handles().skip(1) {
            let input = graph.def(node).inputs[0];
            for (value, seen) in [input, node].into_iter().zip(&sorted) {
                let Shape { c, h, .. } = shapes[value.index()];
                let places: Vec<_> = seen[node.index()].iter().map(|&(image, y, block, _)| (image, y, block)).collect();
                let rows = (0..3).flat_map(|image| (0..h).map(move |y| (image, y)));
                let blocks = c.div_ceil(LANES);
                let want: Vec<_> =
                    rows.flat_map(|(image, y)| (0..blocks).map(move |block| (image, y, block))).collect();
                assert_eq!(places, want, "{}", graph.def(node).name);
            }
        }
        sights.push(sorted);
    }
    assert_eq!(sights[0], sights[1]);
}
