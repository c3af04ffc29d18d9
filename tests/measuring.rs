//! The measurement as a whole: the same bytes for any batch, thread count, level, order and split; the same from candle.

use std::sync::Arc;

use deadweight::engine::{Backend, EngineOptions, Plan};
use deadweight::input::{Cut, Dataset};
use deadweight::kernels::{Isa, Pool};
use deadweight::measure::{
    Calibration, Measurement, Quiet, Settings, Statistics, calibrate, calibrate_and_measure, measure,
};
use deadweight::model::{LoadOptions, Model};
use deadweight::report;
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

fn json(model: &Model, calibration: &Calibration, measurement: &Measurement) -> String {
    let document = report::document(model, "native", calibration, measurement);
    serde_json::to_string_pretty(&document).unwrap()
}

fn measured(model: &Model, backend: &Backend, batch: usize) -> String {
    let calibration = calibrate(model, backend, &data(model), &settings(batch), &Quiet).unwrap();
    let measurement = measure(model, backend, &data(model), &calibration, &Quiet).unwrap();
    json(model, &calibration, &measurement)
}

#[test]
fn the_document_is_the_same_for_any_batch_thread_count_and_level() {
    let model = model();
    let want = measured(&model, &native(1, Isa::best()), 1);
    assert!(want.contains("\"schema\": \"deadweight/measure/1\"") && want.contains("\"note\": \"built-in demo\""));
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
        let (both, counts) = calibrate_and_measure(model, &backend, data, &settings, &Quiet).unwrap();
        assert!(measurement == counts && json(model, &calibration, &measurement) == json(model, &both, &counts));
    };
    check(&model(), &data(&model()));
    // A text goes on with states: those that calibration left are not those that counting starts from.
    let verses = Model::load("verses", &LoadOptions::default()).unwrap();
    check(&verses, &verses.builtin_text(&Cut::Streams { streams: 2, steps: 16 }).unwrap().unwrap());
}

#[test]
fn values_alone_tell_less_and_nothing_else() {
    let model = model();
    let document = |statistics: Statistics, isa: Isa| -> serde_json::Value {
        let (backend, settings) = (native(2, isa), Settings { statistics, ..settings(8) });
        let calibration = calibrate(&model, &backend, &data(&model), &settings, &Quiet).unwrap();
        let measurement = measure(&model, &backend, &data(&model), &calibration, &Quiet).unwrap();
        serde_json::from_str(&json(&model, &calibration, &measurement)).unwrap()
    };
    let full = document(Statistics::Full, Isa::best());
    for isa in Isa::available() {
        let mut values = document(Statistics::Values, isa);
        assert_eq!(values["format"].as_object_mut().unwrap().remove("statistics"), Some("values".into()));
        assert!(values["network"]["potentials"].get("Ae").is_none());
        assert!(values["network"]["activations"].get("terms").is_none());
        told_by(&values, &full, "document");
    }
}

/// Asserts that all of `part` is in `whole`, but for means that only the codes tell.
fn told_by(part: &serde_json::Value, whole: &serde_json::Value, place: &str) {
    use serde_json::Value;
    match (part, whole) {
        (Value::Object(parts), Value::Object(_)) => {
            parts.iter().for_each(|(name, part)| told_by(part, &whole[name], &format!("{place}.{name}")));
        }
        (Value::Array(parts), Value::Array(all)) => {
            assert_eq!(parts.len(), all.len(), "{place}");
            parts
                .iter()
                .zip(all)
                .enumerate()
                .for_each(|(i, (part, whole))| told_by(part, whole, &format!("{place}[{i}]")));
        }
        (Value::Null, _) if place.ends_with("mean_width") => {}
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
    let want = json(&model, &calibration, &of(&all));
    let mut shuffled = all.clone();
    (1..all.len()).for_each(|i| shuffled.swap(i, i * 7919 % (i + 1)));
    assert_ne!(shuffled, all);
    assert_eq!(json(&model, &calibration, &of(&shuffled)), want);
    for cut in [1, 13, 31] {
        let mut merged = of(&shuffled[cut..]);
        merged.merge(&of(&shuffled[..cut]));
        assert_eq!(json(&model, &calibration, &merged), want, "cut at {cut}");
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
    // What is planned for all of them at once is more than runs together.
    let all = Plan::new(&model.graph, model.input_shape(), 9, true).unwrap();
    assert!(all.bytes() > 32 << 20, "{} bytes", all.bytes());
    let data = Dataset::open(&[folder.path().to_owned()], &model.preprocess).unwrap();
    let documents = [1, 9].map(|batch| {
        let backend = native(2, Isa::best());
        let calibration = calibrate(&model, &backend, &data, &settings(batch), &Quiet).unwrap();
        json(&model, &calibration, &measure(&model, &backend, &data, &calibration, &Quiet).unwrap())
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
        report::document(&model, "any", &calibration, &measurement)
    });
    assert_eq!(a.data.inputs_sha256, b.data.inputs_sha256);
    for (a, b) in a.layers.iter().zip(&b.layers) {
        assert_eq!((a.macs.dense, a.macs.padding), (b.macs.dense, b.macs.padding), "{}", a.name);
        assert_eq!(a.activations.elements, b.activations.elements, "{}", a.name);
        assert_eq!(
            serde_json::to_string(&a.weights).unwrap(),
            serde_json::to_string(&b.weights).unwrap(),
            "{}",
            a.name
        );
        // Sums in another order round to a neighbouring code here and there.
        let apart = a.macs.effectual.abs_diff(b.macs.effectual) as f64 / a.macs.dense as f64;
        assert!(apart < 1e-3, "{}: effectual MACs are {apart} of all apart", a.name);
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

/// Layers that read one tensor share its counts: what is told of each is what it is told when it is measured alone.
#[test]
fn layers_that_read_one_tensor_are_told_as_if_alone() {
    let model = model();
    let tallies = |layers: Option<&str>| {
        let layers = layers.map(|layers| regex::Regex::new(layers).unwrap());
        let (backend, settings) = (native(2, Isa::best()), Settings { layers, ..settings(8) });
        let calibration = calibrate(&model, &backend, &data(&model), &settings, &Quiet).unwrap();
        let measurement = measure(&model, &backend, &data(&model), &calibration, &Quiet).unwrap();
        let names = calibration.layers.into_iter().map(|layer| layer.name);
        names.zip(measurement.layers).collect::<std::collections::BTreeMap<_, _>>()
    };
    let all = tallies(None);
    assert!(all.contains_key("layer2.0.downsample.0"), "reads what layer2.0.conv1 does");
    for (name, tally) in &all {
        let alone = tallies(Some(&format!("^{}$", regex::escape(name))));
        assert!(alone[name] == *tally, "{name}: other counts");
    }
}

/// Unfolded, the layers before a norm are measured as the checkpoint has them; the answers stay the same.
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
    assert_ne!(a.layers[0].weights, b.layers[0].weights);
}

#[test]
fn an_lstm_is_told_by_gate_and_step_whatever_the_segments() {
    let model = Model::load("verses", &LoadOptions::default()).unwrap();
    let backend = native(2, Isa::best());
    let of = |steps: usize, streams: usize| {
        let cut = Cut::Streams { streams, steps };
        let data = model.builtin_text(&cut).unwrap().unwrap();
        // Ranges of all segments: how many a text has depends on their length.
        let settings = Settings { calibrate: 100_000, ..Settings::default() };
        let calibration = calibrate(&model, &backend, &data, &settings, &Quiet).unwrap();
        let measurement = measure(&model, &backend, &data, &calibration, &Quiet).unwrap();
        report::document(&model, "native", &calibration, &measurement)
    };
    let document = of(64, 2);
    let recurrent: Vec<_> = document.layers.iter().filter(|layer| layer.recurrent.is_some()).collect();
    let kinds: Vec<&str> = recurrent.iter().map(|layer| layer.kind.as_str()).collect();
    assert!(kinds.len() >= 2 && kinds.chunks(2).all(|pair| pair == ["linear", "lstm"]), "{kinds:?}");
    for layer in &recurrent {
        let told = layer.recurrent.as_ref().unwrap();
        assert_eq!(told.gates.iter().map(|gate| gate.gate).collect::<String>(), "ifgo");
        let sum = |of: &dyn Fn(&report::document::Gate) -> u128| told.gates.iter().map(of).sum::<u128>();
        let macs = layer.macs;
        assert_eq!(sum(&|gate| gate.macs.dense.into()), macs.dense.into(), "{}", layer.name);
        assert_eq!(sum(&|gate| gate.macs.effectual.into()), macs.effectual.into());
        assert_eq!(sum(&|gate| gate.macs.zero_both.into()), macs.zero_both.into());
        assert_eq!(sum(&|gate| gate.weights.zeros.into()), layer.weights.zeros.into());
        // The layer's width is that of its widest gate, other costs add.
        for (name, all) in layer.potentials.0.iter().filter(|(name, _)| !["Wp.layer", "Wp+Ap"].contains(name)) {
            let work = |gate: &report::document::Gate| gate.potentials.get(name).unwrap().with_padding.work;
            assert_eq!(sum(&work), all.with_padding.work, "{}: {name}", layer.name);
        }
        let steps = &told.steps;
        assert_eq!(steps.iter().map(|step| step.first).take(4).collect::<Vec<_>>(), [0, 1, 2, 4]);
        assert_eq!(steps.iter().map(|step| step.values).sum::<u64>(), layer.activations.elements);
        assert_eq!(steps.iter().map(|step| step.zeros).sum::<u64>(), layer.activations.zeros);
        assert_eq!(
            steps.iter().map(|step| step.terms).sum::<u64>(),
            layer.activations.terms.as_ref().unwrap().naf.terms
        );
        let features = layer.shape.weight[1] as u64;
        assert_eq!((steps[0].steps, steps[0].temporal.compared), (2, 0), "two streams begin");
        assert_eq!(told.temporal.compared, layer.activations.elements - 2 * features);
        assert_eq!(steps.iter().map(|step| step.temporal.equal).sum::<u64>(), told.temporal.equal);
        assert!(told.temporal.equal > 0 && told.temporal.equal < told.temporal.compared);
    }
    // Hidden values begin with zeros.
    let hidden = recurrent[1].recurrent.as_ref().unwrap();
    assert_eq!(hidden.steps[0].zeros, hidden.steps[0].values);
    let other = |steps: usize| {
        let document = of(steps, 2);
        serde_json::to_string(&document.layers.iter().map(|layer| &layer.recurrent).collect::<Vec<_>>()).unwrap()
    };
    assert_eq!(other(64), other(17));
}
