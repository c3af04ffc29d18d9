//! The TFLite files of `cases/wrong`: the interpreter's output, or a refusal.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use deadweight::engine::{Backend, EngineOptions, Session};
use deadweight::format::NumberFormat;
use deadweight::input::Dataset;
use deadweight::measure::{Quiet, Settings, calibrate, measure};
use deadweight::metrics::Value;
use deadweight::model::{LoadOptions, Model};
use deadweight::report::Report;

use super::asset;

fn case(name: &str) -> PathBuf {
    Path::new(env!("DEADWEIGHT_ASSETS_DIR")).join("../cases/wrong/tflite-dynamic-range").join(name)
}

fn read(path: &Path) -> deadweight::Result<Model> {
    Model::load(path.to_str().unwrap(), &LoadOptions::default())
}

fn native() -> Backend {
    Backend::Native(EngineOptions::new(2))
}

fn outputs(model: &Model, values: &[f32]) -> Vec<f32> {
    let mut session = Session::new(model.graph.clone(), model.input_shape(), 1, EngineOptions::new(2)).unwrap();
    session.run(values, None).unwrap()
}

fn assert_near(got: &[f32], want: &[f32], allowed: f32) {
    let apart = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart <= allowed && got.len() == want.len(), "{apart} apart: {got:?} and {want:?}");
}

#[test]
fn floats_and_halves_give_what_the_interpreter_gives_and_bytes_among_floats_are_refused() {
    let expected: serde_json::Value = serde_json::from_slice(&std::fs::read(case("expected.json")).unwrap()).unwrap();
    let expected = |key: &str| -> Vec<f32> {
        expected[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
    };
    let model = read(&case("float.tflite")).unwrap();
    let data = Dataset::open(&[case("input.png")], &model.preprocess).unwrap();
    let got = outputs(&model, &data.load(0).unwrap().values);
    assert_near(&got, &expected("float"), 1e-6);
    // The bytes of the other file are near, but different numbers.
    let apart = got.iter().zip(expected("dynamic")).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart > 1e-4, "{apart}");
    let Err(error) = read(&case("dynamic.tflite")) else { panic!("bytes among floats are read") };
    let said = format!("{error}; {}", error.hint().unwrap());
    assert_eq!(error.exit_code(), 4, "{said}");
    assert!(said.contains("dynamic.tflite: CONV_2D") && said.contains("representative data set"), "{said}");

    // Input of 64 x 64 pixels: LiteRT 2.3.0's output for pixel values i * 37 % 256, with its reference kernels.
    let model = read(&case("float16.tflite")).unwrap();
    let pixel = |c: usize, place: usize| ((place * 3 + c) * 37 % 256) as f32 / 255.0;
    let image: Vec<f32> = (0..3).flat_map(|c| (0..64 * 64).map(move |place| pixel(c, place))).collect();
    let want = [
        -0.004_357_237,
        -0.006_635_976,
        -0.010_935_221,
        -0.013_014_82,
        0.027_151_646,
        -0.008_521_317,
        0.002_172_644_3,
        -0.006_292_231_4,
        0.004_779_204,
        0.013_521_792,
    ];
    assert_near(&outputs(&model, &image), &want, 1e-6);
}

/// The last layer of the LSTM reads all hidden values of all steps, in the file's order step by step.
#[test]
fn groups_of_features_are_those_of_the_file() {
    let model = read(&asset("quant/lstm-mnist-int8.tflite")).unwrap();
    let data = Dataset::open(&[asset("data/mnist-test.safetensors")], &model.preprocess).unwrap();
    let settings = Settings { format: NumberFormat::Stored.into(), limit: Some(1), ..Settings::default() };
    let calibration = calibrate(&model, &native(), &data, &settings, &Quiet).unwrap();
    let measurement = measure(&model, &native(), &data, &calibration, &Quiet).unwrap();
    let report = Report::new(&measurement);
    // The layer's input codes, from a run that ends before it.
    let last = report.layers().last().unwrap();
    let def = model.graph.nodes.iter().position(|def| def.name == last.layer).unwrap();
    let mut graph = (*model.graph).clone();
    graph.output = Some(graph.nodes[def].inputs[0]);
    let mut session = Session::new(Arc::new(graph), model.input_shape(), 1, EngineOptions::new(2)).unwrap();
    let codes = session.run(&data.load(0).unwrap().values, None).unwrap();
    let steps = 28;
    let hidden = codes.len() / steps;
    let by_step: Vec<i32> = (0..codes.len()).map(|i| codes[i % hidden * steps + i / hidden] as i32).collect();
    let width = |group: &[i32]| {
        let most = group.iter().map(|code| 32 - code.unsigned_abs().leading_zeros()).max().unwrap_or(0);
        u128::from(most + u32::from(group.iter().any(|&code| code < 0)))
    };
    let number = |name: &str| last.cells.get(name, None).and_then(Value::number).unwrap();
    let filters = number("macs") as usize / codes.len();
    let work: u128 = by_step.chunks(16).map(|group| width(group) * (group.len() * filters * 8) as u128).sum();
    let Some(Value::Work([with, _])) = last.cells.get("potential.Ap.g16", None) else { panic!("a potential") };
    assert_eq!((hidden, with.denominator), (20, work));
}
