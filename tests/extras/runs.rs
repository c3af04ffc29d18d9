//! Runs that count what was asked for: the same bytes of any engine, batch, split; files and flags.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use deadweight::engine::{Backend, EngineOptions, Plan, Runner, Session};
use deadweight::format::NumberFormat;
use deadweight::graph::{Graph, Node};
use deadweight::input::{Cut, Dataset};
use deadweight::kernels::count::Range;
use deadweight::kernels::{Activation, Geometry, Region};
use deadweight::layers::{Layer, Shape};
use deadweight::measure::{Quiet, Settings, calibrate_and_measure};
use deadweight::measurement::Measurement;
use deadweight::metrics::{Value, Which};
use deadweight::model::{LoadOptions, Model};
use deadweight::models::Task;
use deadweight::probe::{Origin, Probe, Watch};
use deadweight::report::Report;
use deadweight::tally::{Extra, LayerShape, Statistics};

use super::{Volumes, compare, expected};
use crate::binary::{fail, succeed, text};

pub(super) fn load(name: &str) -> (Model, Dataset) {
    let model = Model::load(name, &LoadOptions::default()).unwrap();
    let data = match model.card.task {
        Task::Language => model.builtin_text(&Cut::Streams { streams: 2, steps: 16 }),
        _ => model.builtin_data(),
    };
    let data = data.unwrap().unwrap();
    (model, data)
}

pub(super) fn measured(name: &str, options: EngineOptions, batch: usize) -> Measurement {
    measured_of(name, options, batch, 5)
}

fn measured_of(name: &str, options: EngineOptions, batch: usize, limit: usize) -> Measurement {
    let (model, data) = load(name);
    let settings = Settings {
        batch,
        limit: Some(limit),
        extra: Extra::ALL.to_vec(),
        statistics: Statistics::Full,
        ..Settings::default()
    };
    calibrate_and_measure(&model, &Backend::Native(options), &data, &settings, &Quiet).unwrap().1
}

/// Keeps all that every node reads first, and gives, `[N, C, H, W]`.
pub(super) struct Keep {
    nodes: Vec<Kept>,
    outputs: Vec<Kept>,
}

impl Keep {
    /// What `node` gives, image by image.
    fn given(&self, node: Node) -> Vec<f32> {
        self.outputs[node.index()].0.lock().unwrap().values().copied().collect()
    }

    /// What `node` reads, image by image.
    pub(super) fn read(&self, node: Node) -> Vec<f32> {
        self.nodes[node.index()].0.lock().unwrap().values().copied().collect()
    }

    /// What the nodes of `model` read and give for `images` of `input`.
    pub(super) fn of(model: &Model, input: Shape, images: &[f32]) -> Self {
        let none = || model.graph.nodes.iter().map(|_| Kept::default()).collect();
        let keep = Self { nodes: none(), outputs: none() };
        let batch = images.len() / input.elements();
        let mut session = Session::new(Arc::clone(&model.graph), input, batch, EngineOptions::new(2)).unwrap();
        session.run(images, Some(&keep)).unwrap();
        keep
    }
}

#[derive(Default)]
struct Kept(Mutex<BTreeMap<[usize; 4], f32>>);

impl Watch for Kept {
    fn look(&self, _: usize, x: &[f32], geometry: &Geometry, image: usize, region: Region, origin: Origin) {
        let mut kept = self.0.lock().unwrap();
        for channel in region.blocks.start * 16..(region.blocks.end * 16).min(geometry.c) {
            for (row, column) in region.rows.clone().flat_map(|row| (0..geometry.w).map(move |column| (row, column))) {
                let value = x[geometry.index(image, channel, row, column)];
                assert!(kept.insert([origin.image + image, channel, origin.row + row, column], value).is_none());
            }
        }
    }
}

impl Probe for Keep {
    fn watch(&self, node: Node) -> Option<&dyn Watch> {
        Some(&self.nodes[node.index()])
    }

    fn watch_output(&self, node: Node) -> Option<&dyn Watch> {
        Some(&self.outputs[node.index()])
    }
}

#[test]
fn what_layers_read_is_counted_whole() {
    let (model, data) = load("digits");
    let measurement = measured("digits", EngineOptions::new(2), 2);
    let samples: Vec<f32> = (0..5).flat_map(|i| data.load(i).unwrap().values.clone()).collect();
    let keep = Keep::of(&model, model.input_shape(), &samples);
    let report = Report::new(&measurement);
    for (layer, scope) in measurement.layers.iter().zip(report.layers()) {
        let node = model.graph.handles().find(|&node| model.graph.def(node).name == layer.name).unwrap();
        let codes: Vec<i32> = keep.read(node).into_iter().map(|x| layer.codings[0].map.code(x)).collect();
        let volumes = Volumes::of_activations(&layer.tally.shape, 5, &codes);
        let expected = expected(&volumes, &layer.codings[0]);
        compare(&scope.cells, Which::Activations, &expected).unwrap();
    }
}

/// Of convolutions, fully connected layers and recurrences, the last of which writes what the caller is handed.
#[test]
fn outputs_of_layers_are_counted_whole() {
    // Of the text the first segment of both streams.
    for (name, inputs) in [("digits", 5), ("verses", 2)] {
        let (model, data) = load(name);
        let measurement = measured_of(name, EngineOptions::new(2), 2, inputs);
        let samples: Vec<f32> = (0..inputs).flat_map(|i| data.load(i).unwrap().values.clone()).collect();
        let [c, h, w] = data.load(0).unwrap().shape;
        let keep = Keep::of(&model, Shape::new(c, h, w), &samples);
        for (layer, scope) in measurement.layers.iter().zip(Report::new(&measurement).layers()) {
            let node = model.graph.handles().find(|&node| model.graph.def(node).name == layer.name).unwrap();
            let (coding, given) = (layer.output.unwrap(), keep.given(node));
            // Calibrated on all of it.
            assert_eq!(coding.map, NumberFormat::default().code_map(Range::of(&given)), "{name} {}", layer.name);
            let codes: Vec<i32> = given.iter().map(|&y| coding.map.code(y)).collect();
            let [_, rows, columns] = layer.tally.shape.output;
            let extents = [codes.len() / (inputs * rows * columns), rows, columns];
            let reader = LayerShape::reader(extents, layer.tally.shape.features);
            let volumes = Volumes::of_activations(&reader, inputs, &codes);
            compare(&scope.cells, Which::Outputs, &expected(&volumes, &coding)).unwrap();
            super::invariants(&scope.cells, Which::Outputs).unwrap();
        }
    }
}

/// Whether a ReLU of its own follows `node`, and no sum is before it.
fn ends_in_relu(graph: &Graph, node: Node) -> bool {
    let def = graph.def(node);
    let relu = match &def.layer {
        Layer::Conv(conv) => matches!(conv.activation, Activation::Relu | Activation::Relu6),
        Layer::Linear(linear) => matches!(linear.activation, Activation::Relu | Activation::Relu6),
        _ => false,
    };
    relu && def.inputs.len() == 1
}

/// MACs of output `[n, k, p, q]`, and those inside the tensor, one by one.
fn macs_of(shape: &LayerShape, [_, _, p, q]: [usize; 4]) -> [u128; 2] {
    let [_, channels, r, s] = shape.weight;
    let mut macs = [0, 0];
    for (tap_row, tap_column) in (0..r).flat_map(|r| (0..s).map(move |s| (r, s))) {
        let y = (p * shape.stride[0] + tap_row * shape.dilation[0]).checked_sub(shape.padding[0]);
        let x = (q * shape.stride[1] + tap_column * shape.dilation[1]).checked_sub(shape.padding[2]);
        let inside = shape.features || y.is_some_and(|y| y < shape.input[1]) && x.is_some_and(|x| x < shape.input[2]);
        macs[0] += channels as u128;
        macs[1] += if inside { channels as u128 } else { 0 };
    }
    macs
}

#[test]
fn macs_of_zeroed_outputs_equal_loops() {
    let mut relus = 0;
    for name in ["digits", "scenes"] {
        let (model, data) = load(name);
        let measurement = measured(name, EngineOptions::new(2), 2);
        let samples: Vec<f32> = (0..5).flat_map(|i| data.load(i).unwrap().values.clone()).collect();
        let [c, h, w] = data.load(0).unwrap().shape;
        let keep = Keep::of(&model, Shape::new(c, h, w), &samples);
        for (layer, scope) in measurement.layers.iter().zip(Report::new(&measurement).layers()) {
            let node = model.graph.handles().find(|&node| model.graph.def(node).name == layer.name).unwrap();
            let follows = ends_in_relu(&model.graph, node);
            relus += usize::from(follows);
            let mut want = [0, 0];
            for (place, _) in keep.outputs[node.index()].0.lock().unwrap().iter().filter(|(_, y)| follows && **y <= 0.0)
            {
                let macs = macs_of(&layer.tally.shape, *place);
                want = [want[0] + macs[0], want[1] + macs[1]];
            }
            assert!(!follows || want[1] > 0, "{name} {}: some outputs are zero", layer.name);
            assert_eq!(super::modes(&scope.cells, "output").map(|(macs, _)| macs), want, "{name} {}", layer.name);
        }
    }
    assert!(relus >= 2, "{relus} layers end in a ReLU");
}

/// Of nodes that run together, too.
#[test]
fn what_nodes_give_is_what_their_readers_read() {
    let random = LoadOptions { random: Some(5), ..LoadOptions::default() };
    let model = Model::load("mobilenetv2_100", &random).unwrap();
    let input = Shape::new(3, 96, 96);
    let plan = Plan::new(&model.graph, input, 1, true).unwrap();
    assert!(model.graph.handles().any(|node| plan.groups.is_inner(node)), "some run together");
    let images: Vec<f32> = (0..input.elements()).map(|i| (i as f32 * 0.37).sin()).collect();
    let keep = Keep::of(&model, input, &images);
    let mut compared = 0;
    for node in model.graph.handles().skip(1) {
        let read = keep.nodes[node.index()].0.lock().unwrap();
        let from = model.graph.def(node).inputs[0];
        if from.index() > 0 && !read.is_empty() {
            assert!(*read == *keep.outputs[from.index()].0.lock().unwrap(), "{}", model.graph.def(node).name);
            compared += 1;
        }
    }
    assert!(compared > 40, "{compared}");
}

#[test]
fn no_count_depends_on_how_the_run_goes() {
    for name in ["digits", "verses", "photos"] {
        let want = measured(name, EngineOptions::new(1), 1).to_bytes();
        let (model, _) = load(name);
        let bytes =
            match Runner::new(&model.graph, model.input_shape(), &Backend::Native(EngineOptions::new(1)), 1).unwrap() {
                Runner::Native(session) => session.plan().bytes(),
                _ => panic!("{name} fits"),
            };
        for (threads, batch, memory) in [(2, 4, EngineOptions::MEMORY), (2, 3, bytes / 3), (1, 8, bytes / 2)] {
            let got = measured(name, EngineOptions { memory, ..EngineOptions::new(threads) }, batch);
            assert!(got.to_bytes() == want, "{name}: {threads} threads, batch {batch}, {memory} bytes");
        }
    }
}

#[test]
fn the_other_engine_counts_the_same() {
    let (model, data) = load("digits");
    let settings =
        Settings { limit: Some(3), extra: Extra::ALL.to_vec(), statistics: Statistics::Full, ..Settings::default() };
    let of = |backend: Backend| calibrate_and_measure(&model, &backend, &data, &settings, &Quiet).unwrap().1;
    let native = of(Backend::Native(EngineOptions::new(2)));
    let candle = of(Backend::Candle(candle_core::Device::Cpu, EngineOptions::new(1).pool));
    // The image itself is the same to the bit.
    for extra in Extra::ALL.into_iter().filter(|extra| *extra != Extra::Output) {
        let [native, candle] = [&native, &candle].map(|run| run.layers[0].tally.activations.extra.get(extra));
        assert_eq!(native, candle, "{}", extra.name());
    }
    assert!(native.layers[0].tally.weights == candle.layers[0].tally.weights);
    let groups = |counts: &[u64]| counts[..16].iter().sum::<u64>();
    for (native, candle) in native.layers.iter().zip(&candle.layers) {
        let [native, candle] =
            [native, candle].map(|layer| layer.tally.activations.extra.get(Extra::Planes).map(groups));
        assert_eq!(native, candle);
    }
    let values = |run: &Measurement| {
        run.layers.iter().map(|layer| layer.tally.outputs.as_ref().unwrap().values.elements).collect::<Vec<_>>()
    };
    assert_eq!(values(&native), values(&candle));
}

#[test]
fn files_shards_and_checkpoints_keep_what_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for run in [&["digits"][..], &["verses", "--streams", "3", "--steps", "16"], &["digits", "--quantize", "int8"]] {
        let run = [run, &["--limit", "9", "--metrics", "all"]].concat();
        let whole = path("whole.dwm");
        succeed(&[&["measure"], &run[..], &["-o", text(&whole)]].concat());
        let at_once = succeed(&[&["measure"], &run[..], &["--format", "json"]].concat());
        assert!(succeed(&["report", text(&whole), "--format", "json"]) == at_once, "{run:?}");
        let parts = [path("1.dwm"), path("2.dwm")];
        for (i, part) in parts.iter().enumerate() {
            let shard = format!("{}/2", i + 1);
            succeed(&[&["measure"], &run[..], &["--shard", &shard, "-o", text(part)]].concat());
        }
        let merged = path("merged.dwm");
        succeed(&["merge", text(&parts[1]), text(&parts[0]), "-o", text(&merged)]);
        assert!(std::fs::read(&merged).unwrap() == std::fs::read(&whole).unwrap(), "{run:?}: merged");
        let (saved, file) = (path("saved"), path("saving.dwm"));
        let saving = ["--checkpoint", text(&saved), "--checkpoint-every", "2", "-o", text(&file)];
        succeed(&[&["measure"], &run[..], &saving].concat());
        assert!(std::fs::read(&file).unwrap() == std::fs::read(&whole).unwrap(), "{run:?}: saved on the way");
    }
}

#[test]
fn nothing_is_counted_that_nobody_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (plain, some) = (path("plain.dwm"), path("some.dwm"));
    succeed(&["measure", "digits", "--limit", "2", "--statistics", "full", "-o", text(&plain)]);
    assert!(!String::from_utf8_lossy(&std::fs::read(&plain).unwrap()).contains("extra"));
    // Asking raises the level.
    succeed(&[
        "measure",
        "digits",
        "--limit",
        "2",
        "--statistics",
        "values",
        "--metrics",
        "planes,a.traffic.rlc",
        "-o",
        text(&some),
    ]);
    let measurement = Measurement::load(&some).unwrap();
    assert_eq!(measurement.provenance.format.extra, ["traffic", "planes"]);
    assert_eq!(measurement.provenance.format.statistics, "full");
    let report = Report::new(&measurement);
    let has = |name: &str| matches!(report.network().cells.get(name, Some(Which::Activations)), Some(Value::Ratio(_)));
    assert!(has("planes") && has("planes.tc.chance") && has("traffic.delta") && !has("nm.2of4"));
    let plain_report = Report::new(&Measurement::load(&plain).unwrap());
    let cells = &plain_report.network().cells;
    assert!(
        cells.get("traffic.zvc", Some(Which::Weights)).is_some() && cells.get("planes", Some(Which::Weights)).is_none()
    );
    let (_, message) = fail(&["report", text(&plain), "--columns", "w.repetition"]);
    assert!(message.contains("was not counted; measure again with --metrics w.repetition"), "{message}");
    // A column asks too.
    let table = succeed(&["measure", "digits", "--limit", "2", "--columns", "delta.Ae,w.repetition,a.nm.2of4"]);
    let table = String::from_utf8(table).unwrap();
    let network = table.lines().find(|line| line.trim_start().starts_with("network")).unwrap().to_owned();
    assert!(!network.contains('-'), "{table}");
    let (_, message) = fail(&["merge", text(&plain), text(&some), "-o", text(&path("out.dwm"))]);
    assert!(message.contains("its list of on-demand counts (--metrics) is traffic, planes, not none"), "{message}");
    let (_, message) = fail(&["measure", "digits", "--metrics", "plains"]);
    assert!(message.contains("is no metric and no group of them"), "{message}");
    let (_, message) = fail(&["report", text(&some), "--columns", "o.traffic.zvc"]);
    assert!(message.contains("was not counted; measure again with --metrics o.traffic.zvc"), "{message}");
    let (_, message) = fail(&["measure", "digits", "--metrics", "o.planes"]);
    assert!(message.contains("is no metric and no group of them"), "{message}");
    let ranges = ["--limit", "2", "--calibration", text(&plain)];
    let (_, message) = fail(&[&["measure", "digits", "--metrics", "o.traffic.zvc"][..], &ranges].concat());
    assert!(message.contains("it has no ranges of outputs; make it with the same --metrics"), "{message}");
    succeed(&[&["measure", "digits", "--metrics", "a.traffic,planes"][..], &ranges].concat());
    for (name, of_outputs) in
        [("traffic", true), ("all", true), ("o.zeros", true), ("a.traffic.rlc", false), ("planes", false)]
    {
        assert_eq!(deadweight::metrics::select(name).of_outputs, of_outputs, "{name}");
    }
    for (name, want) in
        [("n:m", "nm.2of4"), ("delta", "delta.We+Ae"), ("trailing", "trailing.g16"), ("W+A", "potential.W+A")]
    {
        assert!(deadweight::metrics::select(name).metrics.iter().any(|metric| metric.name == want), "{name}");
    }
    assert_eq!(deadweight::metrics::select("all").metrics.len(), deadweight::metrics::all().count());
}
