//! Measurements as a whole: the same bytes for any batch, thread count, level, order and split; the same counts from candle.

use std::sync::Arc;

use deadweight::engine::{Backend, EngineOptions, Plan};
use deadweight::input::{Cut, Dataset};
use deadweight::kernels::{Isa, Pool};
use deadweight::measure::{Quiet, Settings, calibrate, calibrate_and_measure, measure};
use deadweight::measurement::Measurement;
use deadweight::metrics::{Value, Which};
use deadweight::model::{LoadOptions, Model};
use deadweight::report::{self, Part, Report, Scope};
use deadweight::tally::Statistics;
use deadweight::task::Quality;

fn model() -> Model {
    Model::load("digits", &LoadOptions::default()).unwrap()
}

fn data(model: &Model) -> Dataset {
    model.builtin_data().unwrap().unwrap()
}

fn native(threads: usize, isa: Isa) -> Backend {
    Backend::Native(EngineOptions { isa, ..EngineOptions::new(threads) })
}

fn settings(batch: usize) -> Settings {
    Settings { batch, calibrate: 8, ..Settings::default() }
}

fn json(measurement: &Measurement) -> String {
    report::to_json(&report::document(&Report::new(measurement)))
}

fn measured(model: &Model, backend: &Backend, batch: usize) -> String {
    let calibration = calibrate(model, backend, &data(model), &settings(batch), &Quiet).unwrap();
    let measurement = measure(model, backend, &data(model), &calibration, &Quiet).unwrap();
    json(&measurement)
}

#[test]
fn the_document_is_the_same_for_any_batch_thread_count_and_level() {
    let model = model();
    let want = measured(&model, &native(1, Isa::best()), 1);
    assert!(want.contains("\"schema\": \"deadweight/measure/2\"") && want.contains("\"note\": \"built-in demo\""));
    for isa in Isa::available() {
        for (threads, batch) in [(1, 3), (2, 1), (2, 8), (2, 32)] {
            let got = measured(&model, &native(threads, isa), batch);
            assert!(got == want, "{}, {threads} threads, batch {batch}: another document", isa.name());
        }
    }
}

#[test]
fn one_preparation_serves_calibration_and_measurement() {
    let check = |model: &Model, data: &Dataset| {
        let (backend, settings) = (native(2, Isa::best()), settings(3));
        let calibration = calibrate(model, &backend, data, &settings, &Quiet).unwrap();
        let measurement = measure(model, &backend, data, &calibration, &Quiet).unwrap();
        let (_, counts) = calibrate_and_measure(model, &backend, data, &settings, &Quiet).unwrap();
        assert!(measurement == counts && json(&measurement) == json(&counts));
    };
    check(&model(), &data(&model()));
    // A text carries states: those left by calibration are not the initial ones of counting.
    let verses = Model::load("verses", &LoadOptions::default()).unwrap();
    check(&verses, &verses.builtin_text(&Cut::Streams { streams: 2, steps: 16 }).unwrap().unwrap());
}

#[test]
fn level_values_has_fewer_fields_and_the_same_values() {
    let model = model();
    let document = |statistics: Statistics, isa: Isa| -> serde_json::Value {
        let (backend, settings) = (native(2, isa), Settings { statistics, ..settings(8) });
        let calibration = calibrate(&model, &backend, &data(&model), &settings, &Quiet).unwrap();
        let measurement = measure(&model, &backend, &data(&model), &calibration, &Quiet).unwrap();
        serde_json::from_str(&json(&measurement)).unwrap()
    };
    let full = document(Statistics::Full, Isa::best());
    for isa in Isa::available() {
        let mut terms = document(Statistics::Terms, isa);
        assert_eq!(terms["format"].as_object_mut().unwrap().remove("statistics"), Some("terms".into()));
        let [of_terms, of_full] = [&terms, &full].map(|document| &document["network"]["metrics"]);
        assert!(of_terms["potential.W+A+Ae"] == of_full["potential.W+A+Ae"] && !of_full["potential.W+A+Ae"].is_null());
        let layers = [&terms, &full].map(|document| document["layers"][0]["activations"].clone());
        for name in ["mean", "std", "zero_bits", "width", "terms", "terms.popcount"] {
            assert!(layers[0][name] == layers[1][name] && !layers[0][name].is_null(), "{name}");
        }
        assert!(layers[0].get("entropy").is_none() && layers[1].get("entropy").is_some());
        is_part_of(&terms, &full, "document");
        let mut values = document(Statistics::Values, isa);
        assert_eq!(values["format"].as_object_mut().unwrap().remove("statistics"), Some("values".into()));
        assert!(values["network"]["metrics"].get("potential.Ae").is_none());
        assert!(values["network"]["activations"].get("terms").is_none());
        is_part_of(&values, &full, "document");
    }
}

/// Asserts that all of `part` is in `whole`, except means that need the codes.
fn is_part_of(part: &serde_json::Value, whole: &serde_json::Value, place: &str) {
    use serde_json::Value;
    match (part, whole) {
        (Value::Object(parts), Value::Object(_)) => {
            parts.iter().for_each(|(name, part)| is_part_of(part, &whole[name], &format!("{place}.{name}")));
        }
        (Value::Array(parts), Value::Array(all)) => {
            assert_eq!(parts.len(), all.len(), "{place}");
            parts
                .iter()
                .zip(all)
                .enumerate()
                .for_each(|(i, (part, whole))| is_part_of(part, whole, &format!("{place}[{i}]")));
        }
        _ => assert_eq!(part, whole, "{place}"),
    }
}

#[test]
fn shuffled_and_split_inputs_merge_to_the_same_document() {
    let model = model();
    let backend = native(2, Isa::best());
    let calibration = calibrate(&model, &backend, &data(&model), &settings(4), &Quiet).unwrap();
    let of =
        |indices: &[usize]| measure(&model, &backend, &data(&model).select(indices), &calibration, &Quiet).unwrap();
    let all: Vec<usize> = (0..data(&model).len()).collect();
    let want = json(&of(&all));
    let mut shuffled = all.clone();
    (1..all.len()).for_each(|i| shuffled.swap(i, i * 7919 % (i + 1)));
    assert_ne!(shuffled, all);
    assert_eq!(json(&of(&shuffled)), want);
    for cut in [1, 13, 31] {
        let mut merged = of(&shuffled[cut..]);
        merged.add(&of(&shuffled[..cut]), "the other part").unwrap();
        assert_eq!(json(&merged), want, "cut at {cut}");
    }
}

#[test]
fn inputs_that_do_not_fit_run_in_parts_and_give_the_same_document() {
    let model = Model::load("mobilenetv2_100", &LoadOptions { random: Some(5), ..LoadOptions::default() }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for i in 0..9 {
        let pixel = |x: u32, y: u32| image::Rgb([x, y, x * y].map(|value| ((value * (i + 1)) >> 3) as u8));
        image::RgbImage::from_fn(224, 224, pixel).save(folder.path().join(format!("{i}.png"))).unwrap();
    }
    // Planned for all of them at once, which is more than run together.
    let all = Plan::new(&model.graph, model.input_shape(), 9, true).unwrap();
    assert!(all.bytes() > 32 << 20, "{} bytes", all.bytes());
    let data = Dataset::open(&[folder.path().to_owned()], &model.preprocess).unwrap();
    let documents = [1, 9].map(|batch| {
        let backend = native(2, Isa::best());
        let calibration = calibrate(&model, &backend, &data, &settings(batch), &Quiet).unwrap();
        json(&measure(&model, &backend, &data, &calibration, &Quiet).unwrap())
    });
    assert!(documents[0] == documents[1], "another document");
}

#[test]
fn candle_measures_what_the_native_engine_measures() {
    let model = model();
    let candle = Backend::Candle(candle_core::Device::Cpu, Arc::new(Pool::new(1)));
    let backend = native(2, Isa::best());
    let calibration = calibrate(&model, &backend, &data(&model), &settings(8), &Quiet).unwrap();
    let [a, b] = [&backend, &candle].map(|backend| {
        let measurement = measure(&model, backend, &data(&model), &calibration, &Quiet).unwrap();
        Report::new(&measurement)
    });
    assert_eq!(a.inputs_sha256, b.inputs_sha256);
    for (a, b) in a.layers().zip(b.layers()) {
        for metric in ["macs", "macs.padding"] {
            assert_eq!(a.cells.get(metric, None), b.cells.get(metric, None), "{}: {metric}", a.layer);
        }
        let elements = |scope: &Scope| scope.cells.get("elements", Some(Which::Activations)).cloned();
        assert_eq!(elements(a), elements(b), "{}", a.layer);
        let weights = |scope: &Scope| {
            let cells = scope.cells.iter().filter(|cell| cell.operand == Some(Which::Weights));
            cells.map(|cell| (cell.metric.name, cell.value.clone())).collect::<Vec<_>>()
        };
        assert_eq!(weights(a), weights(b), "{}", a.layer);
        // Sums in another order sometimes round to a neighbouring code.
        let effectual = |scope: &Scope| scope.cells.get("macs.effectual", None).unwrap().number().unwrap();
        let apart = (effectual(a) - effectual(b)).abs();
        assert!(apart < 1e-3, "{}: effectual MACs are {apart} of all apart", a.layer);
    }
}

#[test]
fn a_limit_and_a_choice_of_layers_are_kept() {
    let model = model();
    let backend = native(1, Isa::best());
    let layers = Some(regex::Regex::new("^layer2").unwrap());
    let settings = Settings { limit: Some(5), layers, ..settings(2) };
    let calibration = calibrate(&model, &backend, &data(&model), &settings, &Quiet).unwrap();
    let measurement = measure(&model, &backend, &data(&model), &calibration, &Quiet).unwrap();
    assert_eq!((measurement.inputs, calibration.inputs), (5, 5));
    let names: Vec<&str> = calibration.layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names, ["layer2.0.downsample.0", "layer2.0.conv1", "layer2.0.conv2"]);
    let none = Settings { layers: Some(regex::Regex::new("nothing").unwrap()), ..settings };
    let error = calibrate(&model, &backend, &data(&model), &none, &Quiet).unwrap_err();
    assert!(error.to_string().contains("layer2.0.conv1"), "{error}");
}

/// Layers that read one tensor share its counts: each is reported as if it were measured alone.
#[test]
fn layers_that_read_one_tensor_are_reported_as_if_alone() {
    let model = model();
    let tallies = |layers: Option<&str>| {
        let layers = layers.map(|layers| regex::Regex::new(layers).unwrap());
        let (backend, settings) = (native(2, Isa::best()), Settings { layers, ..settings(8) });
        let calibration = calibrate(&model, &backend, &data(&model), &settings, &Quiet).unwrap();
        let measurement = measure(&model, &backend, &data(&model), &calibration, &Quiet).unwrap();
        let layers = measurement.layers.into_iter().map(|layer| (layer.name, layer.tally));
        layers.collect::<std::collections::BTreeMap<_, _>>()
    };
    let all = tallies(None);
    assert!(all.contains_key("layer2.0.downsample.0"), "reads what layer2.0.conv1 does");
    for (name, tally) in &all {
        let alone = tallies(Some(&format!("^{}$", regex::escape(name))));
        assert!(alone[name] == *tally, "{name}: other counts");
    }
}

/// Without folding, the layers before a norm are measured as stored; the outputs stay the same.
#[test]
fn unfolded_networks_answer_the_same() {
    let folded = model();
    let unfolded = Model::load("digits", &LoadOptions { no_fold: true, ..LoadOptions::default() }).unwrap();
    assert!(unfolded.graph.nodes.len() > folded.graph.nodes.len());
    let backend = native(2, Isa::best());
    let [a, b] = [&folded, &unfolded].map(|model| {
        let calibration = calibrate(model, &backend, &data(model), &settings(8), &Quiet).unwrap();
        measure(model, &backend, &data(model), &calibration, &Quiet).unwrap()
    });
    assert_eq!(a.quality, b.quality);
    assert!(matches!(&a.quality, Quality::Classify(accuracy) if accuracy.top1 >= 30), "{:?}", a.quality);
    assert_ne!(a.layers[0].tally.weights, b.layers[0].tally.weights);
}

#[test]
fn an_lstm_is_reported_by_gate_and_step_for_any_segments() {
    let model = Model::load("verses", &LoadOptions::default()).unwrap();
    reported_by_gate_and_step(&model, "lstm", "ifgo");
}

#[test]
fn a_gru_and_a_plain_rnn_are_reported_by_gate_and_step_for_any_segments() {
    for (cell, kind, gates) in [("gru", "gru", "rzn"), ("rnn_tanh", "rnn", "h"), ("rnn_relu", "rnn", "h")] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("card.toml");
        let arch = format!("arch = {{ cell = \"{cell}\", vocabulary = 63, embedding = 9, hidden = [21, 17] }}");
        let card =
            "name = \"small\"\nfamily = \"rnn\"\ntask = \"language\"\ndescription = \"\"\ninput = { steps = 64 }\n";
        std::fs::write(&path, format!("{card}{arch}\n")).unwrap();
        let options = LoadOptions { random: Some(3), ..LoadOptions::default() };
        reported_by_gate_and_step(&Model::load(path.to_str().unwrap(), &options).unwrap(), kind, gates);
    }
}

/// Checks what is reported of `model`, with layers of `kind`, over the built-in text.
fn reported_by_gate_and_step(model: &Model, kind: &str, gates_of_kind: &str) {
    let backend = native(2, Isa::best());
    let of = |steps: usize, streams: usize| {
        let cut = Cut::Streams { streams, steps };
        let data = deadweight::builtin::find("verses").unwrap().text(&cut, &model.preprocess).unwrap();
        // Ranges over all segments: how many a text has depends on their length.
        let settings = Settings { calibrate: 100_000, ..Settings::default() };
        let calibration = calibrate(model, &backend, &data, &settings, &Quiet).unwrap();
        let measurement = measure(model, &backend, &data, &calibration, &Quiet).unwrap();
        let stored = Measurement::from_bytes("run.dwm", &measurement.to_bytes()).unwrap();
        assert_eq!(stored, measurement);
        let read = Report::from_json("run.json", &json(&measurement)).unwrap();
        assert_eq!(report::to_json(&report::document(&read)), json(&measurement));
        Report::new(&measurement)
    };
    let report = of(64, 2);
    let number = |scope: &Scope, name: &str, operand: Option<Which>| match scope.cells.get(name, operand) {
        Some(Value::Count(count)) => *count,
        Some(Value::Ratio(ratio)) => ratio.numerator,
        // MACs by class, and the work of the potentials.
        Some(Value::Work([with, _])) if name.starts_with("potential") => with.denominator,
        Some(Value::Work([with, _])) => with.numerator,
        other => panic!("{name}: {other:?}"),
    };
    let activations = Some(Which::Activations);
    let of_layer = |index: usize| report.scopes.iter().filter(move |scope| scope.index == Some(index));
    let recurrent: Vec<usize> = (0..report.layers().count()).filter(|&i| of_layer(i).count() > 1).collect();
    let kinds: Vec<&str> = recurrent.iter().map(|&i| of_layer(i).next().unwrap().kind.as_str()).collect();
    assert!(kinds.len() >= 2 && kinds.chunks(2).all(|pair| pair == ["linear", kind]), "{kinds:?}");
    for &index in &recurrent {
        let layer = of_layer(index).next().unwrap();
        let gates: Vec<&Scope> = of_layer(index).filter(|scope| matches!(scope.part, Part::Gate(_))).collect();
        let steps: Vec<&Scope> = of_layer(index).filter(|scope| matches!(scope.part, Part::Steps(..))).collect();
        assert_eq!(gates.iter().map(|gate| gate.part.name()).collect::<String>(), gates_of_kind);
        let sum =
            |of: &[&Scope], name: &str, operand| of.iter().map(|scope| number(scope, name, operand)).sum::<u128>();
        for name in ["macs", "macs.effectual", "macs.zero_both"] {
            assert_eq!(sum(&gates, name, None), number(layer, name, None), "{}: {name}", layer.layer);
        }
        let weights = Some(Which::Weights);
        assert_eq!(sum(&gates, "zeros", weights), number(layer, "zeros", weights));
        // The width of the layer is that of its widest gate; other costs add.
        let potentials = layer.cells.iter().map(|cell| cell.metric.name).filter(|name| name.starts_with("potential."));
        for name in potentials.filter(|name| !["potential.Wp.layer", "potential.Wp+Ap"].contains(name)) {
            assert_eq!(sum(&gates, name, None), number(layer, name, None), "{}: {name}", layer.layer);
        }
        // All gates read the same activations.
        for gate in &gates {
            assert_eq!(gate.cells.get("zeros", activations), layer.cells.get("zeros", activations));
        }
        assert_eq!(steps.iter().map(|step| step.part.name()).take(4).collect::<Vec<_>>(), ["0", "1", "2-3", "4-7"]);
        for name in ["elements", "zeros", "terms"] {
            assert_eq!(sum(&steps, name, activations), number(layer, name, activations), "{}: {name}", layer.layer);
        }
        let compared = |scope: &Scope| match scope.cells.get("temporal", None) {
            Some(Value::Ratio(ratio)) => ratio.denominator,
            other => panic!("{other:?}"),
        };
        let features = layer.shape.as_ref().unwrap().weight[1] as u128;
        assert_eq!((number(steps[0], "steps", None), compared(steps[0])), (2, 0), "two streams begin");
        assert_eq!(compared(layer), number(layer, "elements", activations) - 2 * features);
        let equal = number(layer, "temporal", None);
        assert_eq!(sum(&steps, "temporal", None), equal);
        assert!(equal < compared(layer) && (equal > 0 || kind != "lstm"));
    }
    // Hidden values start as zeros.
    let first = of_layer(recurrent[1]).find(|scope| scope.part == Part::Steps(0, 0)).unwrap();
    assert_eq!(number(first, "zeros", activations), number(first, "elements", activations));
    let other = |steps: usize| {
        let report = of(steps, 2);
        let parts = report.scopes.iter().filter(|scope| matches!(scope.part, Part::Gate(_) | Part::Steps(..)));
        // The number of inputs in a text depends on the segments.
        let cells = parts.flat_map(|scope| scope.cells.iter()).filter(|cell| cell.metric.name != "macs.per_input");
        cells.map(|cell| (cell.metric.name, cell.operand, cell.value.clone())).collect::<Vec<_>>()
    };
    assert_eq!(other(64), other(17));
}
