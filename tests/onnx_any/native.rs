//! One network by two engines: our layers on our kernels, and the file by rten. Weights and their gates are the same to the last
//! count; outputs agree within 1e-4 of the largest, all other metrics within 1e-3 (`trailing` within 1e-2).

use std::path::Path;

use deadweight::engine::{Backend, EngineOptions, Runner};
use deadweight::graph::{Graph, Params, Scope};
use deadweight::input::Preprocess;
use deadweight::kernels::Halo;
use deadweight::kernels::count::Encoder;
use deadweight::layers::{Cell, Lstm, Param, Recurrent, Shape, Slice};
use deadweight::measure::{MeasuredLayer, Settings};
use deadweight::metrics::{self, Cells, Options, Subject, Value, Which};
use deadweight::model::{LoadOptions, Model, OnnxBy};
use deadweight::tally::LayerTally;
use rten_onnx::onnx::{AttributeProto, ModelProto, NodeProto, TensorProto};

use super::{Counted, counted, file, program, sample, shape};

/// What differs between the metrics `native` and `other` of one row.
fn differing(row: &str, native: &Cells, other: &Cells, wrong: &mut Vec<String>) {
    for cell in native.iter() {
        let (name, which) = (cell.metric.name, cell.operand);
        let Some(value) = other.get(name, which) else {
            wrong.push(format!("{row}: {name} {which:?} is missing"));
            continue;
        };
        // Counts by place: those that are in another one.
        let apart = match (&cell.value, value) {
            (Value::Histogram(a), Value::Histogram(b)) | (Value::PerChannel(a), Value::PerChannel(b)) => {
                let of = |list: &[u64], place: usize| list.get(place).copied().unwrap_or(0);
                let moved: u64 = (0..a.len().max(b.len())).map(|place| of(a, place).abs_diff(of(b, place))).sum();
                moved as f64 / a.iter().sum::<u64>().max(1) as f64
            }
            (a, b) => {
                let (a, b) = (a.number().unwrap_or(0.0), b.number().unwrap_or(0.0));
                // Shares of next to nothing are compared as shares.
                if a == b { 0.0 } else { (a - b).abs() / a.abs().max(b.abs()).max(1e-2) }
            }
        };
        let allowed = match (which, name) {
            (Some(Which::Weights), _) => 0.0,
            // Zeros below the lowest set bit follow the last bit of a code, which is where roundings differ.
            (_, "trailing") => 1e-2,
            _ => 1e-3,
        };
        if apart > allowed {
            wrong.push(format!("{row}: {name} {which:?}: {:?} and {value:?}", cell.value));
        }
    }
}

/// What differs between the counts of both engines, whose layers may come in another order: they are told by their weights.
pub fn compare(name: &str, native: &Counted, other: &Counted) -> Vec<String> {
    let (all, mut wrong) = (metrics::all().collect::<Vec<_>>(), Vec::new());
    let options = Options { encoder: Encoder::Naf, min_one: false };
    assert_eq!(native.len(), other.len(), "{name}: rows");
    let weights = |(layer, tally): &(MeasuredLayer, LayerTally)| {
        let gates = tally.recurrent.as_ref().map(|recurrent| recurrent.gates.clone());
        (layer.kind, layer.gates, layer.codings[1], tally.weights.clone(), gates)
    };
    for own @ (layer, a) in native {
        let Some((theirs, b)) = other.iter().find(|theirs| weights(own) == weights(theirs)) else {
            wrong.push(format!("{name}: {} has other weights", layer.name));
            continue;
        };
        let row = format!("{name}: {}", theirs.name);
        let cells = |tally: &LayerTally, subject: Subject<'_>| Cells::of(&subject, &all, tally.images);
        let whole = [(layer, a), (theirs, b)].map(|(layer, tally)| {
            cells(tally, Subject::layer(tally, &layer.codings, options).with_outputs(layer.output.as_ref()))
        });
        differing(&row, &whole[0], &whole[1], &mut wrong);
        let (Some(own), Some(their)) = (&a.recurrent, &b.recurrent) else { continue };
        if own.steps.len() != their.steps.len() {
            wrong.push(format!("{row}: {} and {} steps", own.steps.len(), their.steps.len()));
        }
        for (step, (own, their)) in own.steps.iter().zip(&their.steps).enumerate() {
            let [own, their] = [(a, own, layer), (b, their, theirs)]
                .map(|(tally, steps, layer)| cells(tally, Subject::steps(steps, &layer.codings, options)));
            differing(&format!("{row}: step {step}"), &own, &their, &mut wrong);
        }
    }
    wrong
}

/// What differs between the outputs of both engines.
pub fn outputs(name: &str, native: &[f32], other: &[f32]) -> Vec<String> {
    assert_eq!(native.len(), other.len(), "{name}");
    let largest = native.iter().fold(0f32, |most, value| most.max(value.abs()));
    let apart = native.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    if apart <= 1e-4 * largest { vec![] } else { vec![format!("{name}: {apart} apart of {largest}")] }
}

/// The outputs and the counts of `model` for `images` by both engines: as layers of ours, and `file` as it is.
pub fn of_images(name: &str, path: &Path, images: usize) -> Vec<String> {
    let load = |onnx| Model::load(path.to_str().unwrap(), &LoadOptions { onnx, ..LoadOptions::default() }).unwrap();
    let (native, other) = (load(OnnxBy::Layers), load(OnnxBy::File));
    let program = other.program.clone().unwrap();
    let input = shape(&program);
    let values: Vec<f32> = (0..images as u64).flat_map(|n| sample(&program, n)).collect();
    let own = Backend::Native(EngineOptions::new(2));
    let theirs = super::backend(&program, 2, 1 << 30);
    let run = |model: &Model, backend: &Backend| {
        Runner::new(&model.graph, input, backend, images).unwrap().run(&values, None).unwrap()
    };
    let mut wrong = outputs(name, &run(&native, &own), &run(&other, &theirs));
    let settings = Settings::default();
    let count = |model: &Model, backend: &Backend| counted(model, backend, input, &values, &settings);
    wrong.extend(compare(name, &count(&native, &own), &count(&other, &theirs)));
    wrong
}

/// The only recurrence of `file`, and what it reads.
struct Recurrence<'a> {
    node: &'a NodeProto,
    constants: Vec<(&'a str, Vec<usize>, Vec<f32>)>,
}

impl Recurrence<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        let stated = |attribute: &&AttributeProto| attribute.name.as_deref() == Some(name);
        self.node.attribute.iter().find(stated)?.s.as_deref()
    }

    /// Constant `name`.
    fn constant(&self, name: &str) -> (&[usize], &[f32]) {
        let (_, dims, values) = self.constants.iter().find(|(known, ..)| *known == name).expect("it is a constant");
        (dims, values)
    }

    /// Blocks `order` of the gates of input `index`, direction `direction`; of biases those behind the first `skipped` blocks.
    fn gates(&self, index: usize, direction: usize, (order, hidden, skipped): (&[usize], usize, usize)) -> Param {
        let (dims, values) = self.constant(&self.node.input[index]);
        let columns = if dims.len() == 3 { dims[2] } else { 1 };
        let own = &values[direction * dims[1] * columns..][..dims[1] * columns];
        let block = |gate: &usize| &own[(skipped + gate) * hidden * columns..][..hidden * columns];
        let data: Vec<f32> = order.iter().flat_map(block).copied().collect();
        let mut shape = vec![order.len() * hidden];
        shape.extend((dims.len() == 3).then_some(columns));
        Param { shape, data: data.into() }
    }

    /// Its layers, of a sequence of `steps`; with a linear layer of the last step, if the file has a Gemm.
    fn graph(&self, steps: usize, last: Option<&NodeProto>) -> Graph {
        let node = self.node;
        let order: &[usize] = match node.op_type.as_deref() {
            Some("LSTM") => &[0, 2, 3, 1],
            Some("GRU") => &[1, 0, 2],
            _ => &[0],
        };
        let (dims, _) = self.constant(&node.input[2]);
        let (directions, hidden) = (dims[0], dims[2]);
        let net = Scope::new(Params::Random(0));
        let x = net.input(self.constant(&node.input[1]).0[2]);
        let cell = match node.op_type.as_deref() {
            Some("LSTM") => None,
            Some("GRU") => Some(Cell::Gru),
            _ => {
                let function = |attribute: &&AttributeProto| attribute.name.as_deref() == Some("activations");
                let relu = node.attribute.iter().find(function).is_some_and(|found| found.strings == ["Relu"]);
                Some(if relu { Cell::Relu } else { Cell::Tanh })
            }
        };
        let part = |direction: usize| {
            let reverse = direction == 1 || self.text("direction") == Some("reverse");
            let at = net.at(format!("rnn{direction}"));
            let of = |index, skipped| self.gates(index, direction, (order, hidden, skipped));
            let y = at.at("ih").linear_steps(x, of(1, 0), Some(of(3, 0)), false);
            let (weight, bias) = (of(2, 0), Some(of(3, order.len())));
            match cell {
                Some(cell) => at.at("hh").recurrent(y, Recurrent { cell, weight, bias, reverse, rounding: None }),
                None => at.at("hh").lstm(
                    y,
                    Lstm { weight, bias, projection: None, reverse, clip: None, integer: None, rounding: [None; 2] },
                ),
            }
        };
        let parts: Vec<_> = (0..directions).map(part).collect();
        let mut y = if directions == 1 { parts[0] } else { net.concat(&parts) };
        if let Some(gemm) = last {
            let cut = Halo { left: steps - 1, ..Halo::default() };
            y = net.at("last").slice(y, Slice { start: 0, channels: hidden, cut });
            let param = |index: usize| {
                let (dims, values) = self.constant(&gemm.input[index]);
                Param { shape: dims.to_vec(), data: values.into() }
            };
            y = net.at("out").linear_steps(y, param(1), Some(param(2)), false);
        }
        net.finish(y).unwrap().0
    }
}

/// The values of `tensor` in the file `path`, or beside it.
fn bytes_of(tensor: &TensorProto, path: &Path) -> Vec<u8> {
    if let Some(raw) = &tensor.raw_data {
        return raw.borrow().to_vec();
    }
    let entry = |key: &str| {
        let entry = tensor.external_data.iter().find(|entry| entry.key.as_deref() == Some(key));
        entry.and_then(|entry| entry.value.clone()).unwrap()
    };
    let [start, length] = ["offset", "length"].map(|key| entry(key).parse::<usize>().unwrap());
    std::fs::read(path.with_file_name(entry("location"))).unwrap()[start..start + length].to_vec()
}

/// The outputs and the counts of the file `path` whose one recurrence reads a sequence alone, by both engines.
pub fn of_sequence(name: &str, path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap();
    let parsed = ModelProto::parse_buf(&bytes).unwrap();
    let graph = parsed.graph.as_ref().unwrap();
    let is = |node: &&NodeProto, ops: &[&str]| ops.contains(&node.op_type.as_deref().unwrap_or_default());
    let node = graph.node.iter().find(|node| is(node, &["LSTM", "GRU", "RNN"])).unwrap();
    let constants = graph.initializer.iter().map(|tensor| {
        let values = bytes_of(tensor, path).as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect();
        (tensor.name.as_deref().unwrap(), tensor.dims.iter().map(|&extent| extent as usize).collect(), values)
    });
    let recurrence = Recurrence { node, constants: constants.collect() };
    let model =
        Model::load(path.to_str().unwrap(), &LoadOptions { onnx: OnnxBy::File, ..LoadOptions::default() }).unwrap();
    let program = model.program.clone().unwrap();
    let features = recurrence.constant(&node.input[1]).0[2];
    let flat: Vec<Vec<f32>> = (0..3).map(|n| sample(&program, n)).collect();
    let steps = flat[0].len() / features;
    // [T, I] as [I, T].
    let turned = |values: &[f32], columns: usize| -> Vec<f32> {
        (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns)).copied().collect()
    };
    let own: Vec<f32> = flat.iter().flat_map(|values| turned(values, features)).collect();
    let last = graph.node.iter().find(|node| is(node, &["Gemm"]));
    let native = model.with_graph(recurrence.graph(steps, last));
    let native = Model { preprocess: Preprocess::arrays([features, 1, steps]), ..native };
    let input = Shape::new(features, 1, steps);
    let backend = Backend::Native(EngineOptions::new(2));
    let theirs = super::backend(&program, 2, 1 << 30);
    let y = Runner::new(&native.graph, input, &backend, 3).unwrap().run(&own, None).unwrap();
    // [C, T] as [T, C].
    let y: Vec<f32> = y.chunks(y.len() / 3).flat_map(|y| turned(y, if last.is_some() { 1 } else { steps })).collect();
    let z = Runner::new(&model.graph, shape(&program), &theirs, 3).unwrap().run(&flat.concat(), None).unwrap();
    let mut wrong = outputs(name, &y, &z);
    let settings = Settings::default();
    let a = counted(&native, &backend, input, &own, &settings);
    let b = counted(&model, &theirs, shape(&program), &flat.concat(), &settings);
    wrong.extend(compare(name, &a, &b));
    wrong
}

#[test]
fn images_give_the_same_on_both_engines() {
    let onnx = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/onnx");
    let wrong =
        ["residual", "mobile", "mobile_hard"].map(|name| of_images(name, &onnx.join(format!("{name}.onnx")), 3));
    assert!(wrong.concat().is_empty(), "{}", wrong.concat().join("\n"));
}

#[test]
fn sequences_give_the_same_on_both_engines() {
    let names = ["lstm_alone", "gru1_forward", "gru1_reverse", "gru1_bidirectional", "rnn_tanh", "rnn_relu"];
    let wrong = names.map(|name| of_sequence(name, &file(&format!("{name}.onnx"))));
    assert!(wrong.concat().is_empty(), "{}", wrong.concat().join("\n"));
}

#[test]
fn gates_of_recurrences_are_named_as_ours() {
    let rows = |name: &str| -> Vec<(String, &str, Option<usize>)> {
        let program = program(name);
        let (model, backend) = (super::model(&program), super::backend(&program, 1, 1 << 30));
        let rows = counted(&model, &backend, shape(&program), &sample(&program, 0), &Settings::default());
        rows.into_iter().map(|(layer, _)| (layer.name, layer.kind, layer.gates)).collect()
    };
    let row = |name: &str, kind, gates| (format!("rnn.weight_{name}"), kind, gates);
    assert_eq!(rows("lstm_forward"), [row("ih", "linear", Some(4)), row("hh", "lstm", Some(4))]);
    assert_eq!(rows("gru1_forward"), [row("ih", "linear", Some(3)), row("hh", "gru", Some(3))]);
    assert_eq!(rows("rnn_relu"), [row("ih", "linear", Some(1)), row("hh", "rnn", Some(1))]);
    // The candidate reads other values than the gates.
    let (ih, hh) = (row("ih", "linear", None), row("hh", "linear", None));
    assert_eq!(rows("gru0_forward"), [ih, hh, row("hh_candidate", "linear", None)]);
}
