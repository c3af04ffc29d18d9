//! What the engine shows a watcher, against loops over what the layer reads.

use std::sync::Arc;

use deadweight::engine::{EngineOptions, Session};
use deadweight::format::NumberFormat;
use deadweight::graph::{Graph, Node, Params, Scope};
use deadweight::kernels::count::{Counter, Detail, Encoder, Range};
use deadweight::kernels::{Geometry, Isa, Region};
use deadweight::layers::{Cell, Conv, Layer, Lstm, Param, Recurrent, Shape};
use deadweight::probe::{Origin, Probe, Watch};
use deadweight::tally::LayerShape;

use super::brute_force::brute_force;
use super::macs_by_class;
use super::problem::{Layout, Problem};

struct Lock(std::sync::Mutex<Counter>);
impl Watch for Lock {
    fn look(&self, _: usize, x: &[f32], geometry: &Geometry, image: usize, region: Region, _: Origin) {
        assert!(self.0.lock().unwrap().count(Isa::best(), x, geometry, image, region, 0));
    }
}

/// Watches one node.
struct One<'a>(Node, &'a dyn Watch);

impl Probe for One<'_> {
    fn watch(&self, node: Node) -> Option<&dyn Watch> {
        (node == self.0).then_some(self.1)
    }
}

/// What a recurrence is shown are the hidden values that its steps read: those before the first, then its own.
#[test]
fn a_recurrence_is_counted_by_the_hidden_values_it_reads() {
    let runs = [(false, 5), (true, 5), (false, 1), (true, 1)];
    let cells = [None, Some(Cell::Gru), Some(Cell::Tanh), Some(Cell::Relu)];
    for (cell, (reverse, steps)) in cells.into_iter().flat_map(|cell| runs.map(|run| (cell, run))) {
        let (hidden, gates) = (21, cell.map_or(4, Cell::gates));
        let net = Scope::new(Params::Random(4));
        let x = net.input(3);
        let x = net.linear_steps(x, net.parameter("input", &[gates * hidden, 3]), None, false);
        let weight = net.parameter("hidden", &[gates * hidden, hidden]);
        let y = match cell {
            Some(cell) => net.recurrent(x, Recurrent { cell, weight, bias: None, reverse, rounding: None }),
            None => net.lstm(
                x,
                Lstm { weight, bias: None, projection: None, reverse, clip: None, integer: None, rounding: [None; 2] },
            ),
        };
        let (graph, _) = net.finish(y).unwrap();
        let map = NumberFormat::Fixed(12).code_map(Range { min: -1.0, max: 1.0 });
        let shape = LayerShape::steps(hidden, steps, gates * hidden);
        let counter = || {
            Counter::new(
                map,
                Detail::Codes(Encoder::Naf),
                shape.grouping(),
                Arc::new(shape.classes()),
                shape.channels(),
            )
        };
        let lock = Lock(std::sync::Mutex::new(counter()));
        let input = Shape::new(3, 1, steps);
        let mut session = Session::new(Arc::new(graph.clone()), input, 2, EngineOptions::new(2)).unwrap();
        session.carry_states();
        let x: Vec<f32> = (0..2 * 3 * steps).map(|i| (i as f32 * 0.37).sin() * 3.0).collect();
        let geometry = Geometry::blocked(2, hidden, 1, steps);
        let mut expected = counter();
        let mut before = [vec![0.0; hidden], vec![0.0; hidden]];
        for _ in 0..3 {
            let y = session.run(&x, Some(&One(graph.output(), &lock))).unwrap();
            let mut read = vec![0.0; geometry.len()];
            for image in 0..2 {
                let order: Vec<usize> = if reverse { (0..steps).rev().collect() } else { (0..steps).collect() };
                for t in order {
                    for c in 0..hidden {
                        read[geometry.index(image, c, 0, t)] = before[image][c];
                        before[image][c] = y[(image * hidden + c) * steps + t];
                    }
                }
                expected.count(Isa::best(), &read, &geometry, image, geometry.rows(0..1), 0);
            }
        }
        let (got, want) = (lock.0.into_inner().unwrap().into_sums(), expected.into_sums());
        assert!(want.values.codes.iter().filter(|&&count| count > 0).count() > 10 * steps, "the codes differ");
        assert!(got == want, "{cell:?}, reverse {reverse}, {steps} steps");
    }
}

/// What a projection is of is shown whole: where it changes nothing, these are the outputs.
#[test]
fn a_projection_is_counted_by_the_hidden_values_of_its_own_step() {
    struct Inside<'a>(&'a dyn Watch);
    impl Probe for Inside<'_> {
        fn watch(&self, _: Node) -> Option<&dyn Watch> {
            None
        }
        fn watch_inside(&self, node: Node) -> Option<&dyn Watch> {
            (node.index() == 1).then_some(self.0)
        }
    }
    let (hidden, steps) = (19, 4);
    let net = Scope::new(Params::Random(8));
    let x = net.input(4 * hidden);
    let identity = (0..hidden * hidden).map(|i| if i % (hidden + 1) == 0 { 1.0 } else { 0.0 });
    let projection = Some(Param { shape: vec![hidden, hidden], data: identity.collect() });
    let weight = net.parameter("hidden", &[4 * hidden, hidden]);
    let y = net.lstm(
        x,
        Lstm { weight, bias: None, projection, reverse: false, clip: None, integer: None, rounding: [None; 2] },
    );
    let (graph, _) = net.finish(y).unwrap();
    let map = NumberFormat::Fixed(12).code_map(Range { min: -1.0, max: 1.0 });
    let shape = LayerShape::steps(hidden, steps, hidden);
    let counter = || {
        Counter::new(map, Detail::Codes(Encoder::Naf), shape.grouping(), Arc::new(shape.classes()), shape.channels())
    };
    let lock = Lock(std::sync::Mutex::new(counter()));
    let mut session =
        Session::new(Arc::new(graph), Shape::new(4 * hidden, 1, steps), 2, EngineOptions::new(2)).unwrap();
    let x: Vec<f32> = (0..2 * 4 * hidden * steps).map(|i| (i as f32 * 0.37).sin() * 3.0).collect();
    let y = session.run(&x, Some(&Inside(&lock))).unwrap();
    let geometry = Geometry::blocked(2, hidden, 1, steps);
    let mut read = vec![0.0; geometry.len()];
    geometry.pack(&y, &mut read);
    let mut expected = counter();
    (0..2).for_each(|image| assert!(expected.count(Isa::best(), &read, &geometry, image, geometry.rows(0..1), 0)));
    assert!(lock.0.into_inner().unwrap().into_sums() == expected.into_sums());
}

/// The whole way: a graph run by the engine, watched, against the same counts made from the layer's input directly.
#[test]
fn a_watched_run_counts_what_the_layer_reads() {
    let net = Scope::new(Params::Random(3));
    let x = net.input(3);
    let y = net.at("conv").conv(x, Conv::new(20, 3).stride(2).padding(1));
    let (graph, _): (Graph, _) = net.finish(y).unwrap();
    let Layer::Conv(conv) = &graph.nodes[1].layer else { panic!("a convolution") };
    assert_eq!(conv.in_channels, 3);
    let shape = LayerShape {
        input: [3, 9, 11],
        output: [20, 5, 6],
        weight: [20, 3, 3, 3],
        stride: [2, 2],
        padding: [1; 4],
        dilation: [1, 1],
        groups: 1,
        features: false,
        channels_last: false,
        transposed: false,
    };
    let problem = Problem {
        shape,
        images: 2,
        format: NumberFormat::Int8.into(),
        encoder: Encoder::Naf,
        min_one: false,
        zeros: 40,
        signed: true,
        seed: 9,
    };
    let map = problem.map();
    let counter =
        Counter::new(map, Detail::Codes(Encoder::Naf), problem.shape.grouping(), Arc::new(problem.shape.classes()), 3);
    let lock = Lock(std::sync::Mutex::new(counter));
    let mut session = Session::new(Arc::new(graph.clone()), Shape::new(3, 9, 11), 2, EngineOptions::new(2)).unwrap();
    session.run(&problem.inputs(), Some(&One(graph.output(), &lock))).unwrap();
    let watched = problem.tally_of(&lock.0.into_inner().unwrap().into_sums(), 2);
    assert_eq!(watched, problem.tally(Layout::Blocked));
}

/// What a layer reads behind a shuffle of pixels is what the shuffle made: the whole way against loops over all MACs.
#[test]
fn inputs_made_by_shuffling_pixels_are_counted() {
    for up in [true, false] {
        let (c, h, w) = if up { (12, 5, 4) } else { (3, 10, 8) };
        let net = Scope::new(Params::Random(6));
        let x = net.input(c);
        let x = if up { net.pixel_shuffle(x, 2) } else { net.pixel_unshuffle(x, 2) };
        let shuffled = if up { [3, 10, 8] } else { [12, 5, 4] };
        let y = net.at("conv").conv(x, Conv::new(20, 3).padding(1));
        let (graph, _) = net.finish(y).unwrap();
        let shape = LayerShape {
            input: shuffled,
            output: [20, shuffled[1], shuffled[2]],
            weight: [20, shuffled[0], 3, 3],
            stride: [1, 1],
            padding: [1; 4],
            dilation: [1, 1],
            groups: 1,
            features: false,
            channels_last: false,
            transposed: false,
        };
        let (format, encoder) = (NumberFormat::Int8.into(), Encoder::Naf);
        let problem = Problem { shape, images: 2, format, encoder, min_one: false, zeros: 40, signed: true, seed: 11 };
        // The values that the layer shall read, put where the shuffle takes them from.
        let (read, area) = (problem.inputs(), h * w);
        let mut x = vec![0.0; read.len()];
        for (i, &value) in read.iter().enumerate() {
            let [channels, rows, columns] = shuffled;
            let (image, channel) = (i / (channels * rows * columns), i / (rows * columns) % channels);
            let (row, column) = (i / columns % rows, i % columns);
            let (from, y, z) = match up {
                true => (channel * 4 + row % 2 * 2 + column % 2, row / 2, column / 2),
                false => (channel / 4, row * 2 + channel % 4 / 2, column * 2 + channel % 2),
            };
            x[(image * c + from) * area + y * w + z] = value;
        }
        let map = problem.map();
        let classes = Arc::new(problem.shape.classes());
        let counter = Counter::new(map, Detail::Codes(encoder), problem.shape.grouping(), classes, shuffled[0]);
        let lock = Lock(std::sync::Mutex::new(counter));
        let mut session = Session::new(Arc::new(graph.clone()), Shape::new(c, h, w), 2, EngineOptions::new(2)).unwrap();
        session.run(&x, Some(&One(graph.output(), &lock))).unwrap();
        let watched = problem.tally_of(&lock.0.into_inner().unwrap().into_sums(), 2);
        assert_eq!(macs_by_class(&problem.metrics(&watched, false)), brute_force(&problem).0, "up {up}");
        assert_eq!(watched, problem.tally(Layout::Blocked), "up {up}");
    }
}
