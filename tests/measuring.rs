//! The measurement as a whole: the same bytes for any batch, thread count, level, order and split; the same from candle.

use std::sync::Arc;

use deadweight::engine::{Backend, EngineOptions};
use deadweight::input::Dataset;
use deadweight::kernels::{Isa, Pool};
use deadweight::measure::{Calibration, Measurement, Quiet, Settings, calibrate, measure};
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
