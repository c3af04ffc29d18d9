//! The onnx engine: outputs and the five classes of work of small graphs against ONNX Runtime and a count of every MAC.

mod carry;
#[cfg(deadweight_cases)]
mod cases;
#[cfg(deadweight_fetched)]
mod fetched;
mod files;
#[cfg(target_os = "linux")]
mod memory;
mod native;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use deadweight::Error;
use deadweight::engine::onnx::{InputExtents, OnnxOptions};
use deadweight::engine::{Backend, OnnxProgram, Runner};
use deadweight::input::{Preprocess, sample_shape};
use deadweight::kernels::Pool;
use deadweight::layers::Shape;
use deadweight::measure::{Calibration, MeasuredLayer, Settings};
use deadweight::model::{LoadOptions, Model};
use deadweight::tally::{LayerTally, Padding, Products};
use deadweight::weights::onnx::OnnxFile;
use serde_json::Value as Json;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/onnx_any").join(name)
}

fn program_of(name: &str, options: &OnnxOptions) -> Result<Arc<OnnxProgram>, Error> {
    let bytes = std::fs::read(file(&format!("{name}.onnx"))).unwrap();
    let file = OnnxFile::from_bytes(name, &bytes)?;
    OnnxProgram::load(file, options).map(Arc::new)
}

fn program(name: &str) -> Arc<OnnxProgram> {
    program_of(name, &OnnxOptions::default()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn backend(program: &Arc<OnnxProgram>, threads: usize, memory: usize) -> Backend {
    Backend::Onnx(Arc::clone(program), Arc::new(Pool::new(threads)), memory)
}

fn shape(program: &OnnxProgram) -> Shape {
    let inputs: Vec<_> = program.inputs().cloned().collect();
    let [c, h, w] = sample_shape(&inputs);
    Shape::new(c, h, w)
}

/// Sample `n` of make_onnx_any.py, as the graph's inputs take it.
fn sample(program: &OnnxProgram, n: u64) -> Vec<f32> {
    let value = |i: u64| ((i * 2_654_435_761 + n * 40503) % (1 << 32)) >> 13;
    let mut i = 0;
    let mut next = || {
        i += 1;
        (value(i - 1) % 17) as f32 / 16.0 - 0.5
    };
    let mut values = Vec::new();
    for input in program.inputs() {
        for _ in 0..input.elements() {
            let value = next();
            values.push(match input.dtype.name() {
                "integer" => (value * 16.0).abs(),
                "bool" => f32::from(u8::from(value > 0.0)),
                _ => value,
            });
        }
    }
    values
}

fn stored() -> BTreeMap<String, Json> {
    let all: BTreeMap<String, Json> = serde_json::from_str(include_str!("../reference/onnx_any.json")).unwrap();
    all.into_iter().filter(|(name, _)| name != "versions").collect()
}

fn floats(list: &Json) -> Vec<f32> {
    list.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

/// A model of the layers that `program` measures.
fn model(program: &OnnxProgram) -> Model {
    let Shape { c, h, w } = shape(program);
    let preprocess = Preprocess::arrays([c, h, w]);
    let model = Model::load("digits", &LoadOptions::default()).unwrap();
    Model { graph: Arc::clone(program.graph()), preprocess, ..model }
}

/// Layers and their counts.
type Counted = Vec<(MeasuredLayer, LayerTally)>;

/// The layers of `model` and their counts over `images` of shape `input`.
fn counted(model: &Model, backend: &Backend, input: Shape, images: &[f32], settings: &Settings) -> Counted {
    let samples = images.len() / input.elements();
    let calibration = Calibration::of_images(model, backend, input, images, settings).unwrap();
    let counted = calibration.probe(model, backend, input, samples).unwrap();
    Runner::new(&model.graph, input, backend, samples).unwrap().run(images, Some(&counted)).unwrap();
    counted.end_run(backend.pool(), samples);
    let tallies = counted.into_tallies(model, backend.pool(), samples as u64);
    calibration.layers.into_iter().zip(tallies).collect()
}

/// Names and counts of all layers over the first samples.
fn counts(program: &Arc<OnnxProgram>, threads: usize, memory: usize, samples: usize) -> Vec<(String, LayerTally)> {
    let images: Vec<f32> = (0..samples as u64).flat_map(|n| sample(program, n)).collect();
    counts_of(program, threads, memory, &images)
}

/// The same for the samples `images`.
fn counts_of(program: &Arc<OnnxProgram>, threads: usize, memory: usize, images: &[f32]) -> Vec<(String, LayerTally)> {
    let (model, backend) = (model(program), backend(program, threads, memory));
    let settings = if model.stores_integers() {
        Settings { format: deadweight::format::NumberFormat::Stored.into(), ..Settings::default() }
    } else {
        Settings::default()
    };
    let counted = counted(&model, &backend, shape(program), images, &settings);
    counted.into_iter().map(|(layer, tally)| (layer.name, tally)).collect()
}

/// Dense count, then padding, both zero, activation zero, weight zero, effectual.
fn classes(tally: &LayerTally) -> [u128; 6] {
    let products = Products::of(tally);
    let [dense, inside] = Padding::BOTH.map(|padding| products.dense.of(padding));
    let (live, weights, both) = (products.a, products.w.of(Padding::Without), products.both);
    [dense, dense - inside, inside + both - weights - live, weights - both, live - both, both]
}

/// Whether the program says that products of 8-bit integers saturate on this CPU: ONNX Runtime's outputs were made on one with VNNI.
fn saturates(program: &OnnxProgram) -> bool {
    let says = program.notes().iter().any(|note| note.contains("VNNI"));
    #[cfg(target_arch = "x86_64")]
    assert!(!says || !std::arch::is_x86_feature_detected!("avx512vnni"), "{:?}", program.notes());
    says
}

#[test]
fn outputs_are_those_of_onnx_runtime() {
    let mut wrong = Vec::new();
    for (name, stored) in stored() {
        let program = program(&name);
        if saturates(&program) {
            continue;
        }
        let mut runner = Runner::new(program.graph(), shape(&program), &backend(&program, 2, 1 << 30), 2).unwrap();
        let images: Vec<f32> = (0..2).flat_map(|n| sample(&program, n)).collect();
        let got = runner.run(&images, None).unwrap_or_else(|error| panic!("{name}: {error}"));
        let want: Vec<f32> = stored["outputs"].as_array().unwrap().iter().flat_map(floats).collect();
        let largest = want.iter().fold(0f32, |most, value| most.max(value.abs()));
        let apart = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // Integers are exact: the sums, and their rounding.
        let allowed = match &name[..] {
            "qlinear" => 0.0,
            // The hidden values of two sequences are quantised together here, and by ONNX Runtime one by one.
            "dynamic_lstm_bidirectional" => 2e-3 * largest,
            _ => 1e-4 * largest,
        };
        if apart > allowed || got.len() != want.len() {
            wrong.push(format!("{name}: {apart} apart of {largest}, {} and {} values", got.len(), want.len()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn classes_of_work_are_those_of_every_mac_counted_alone() {
    let mut wrong = Vec::new();
    for (name, stored) in stored() {
        let program = program(&name);
        let want: BTreeMap<String, Vec<u128>> = serde_json::from_value(stored["classes"].clone()).unwrap();
        if want.is_empty() {
            continue;
        }
        let got: BTreeMap<String, Vec<u128>> = counts(&program, 2, 1 << 30, 2)
            .iter()
            .map(|(name, tally)| (name.clone(), classes(tally).to_vec()))
            .collect();
        if got != want {
            wrong.push(format!("{name}:\n  got  {got:?}\n  want {want:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn counts_depend_on_neither_threads_nor_memory() {
    for name in [
        "conv",
        "matmul",
        "lstm_bidirectional",
        "gru0_bidirectional",
        "qdq",
        "heads",
        "qdq_pair",
        "dynamic_lstm_reverse",
    ] {
        let program = program(name);
        let want = counts(&program, 1, 1 << 30, 2);
        for (threads, memory) in [(2, 1 << 30), (3, 1 << 30), (2, 1)] {
            assert!(counts(&program, threads, memory, 2) == want, "{name}: {threads} threads, {memory} bytes");
        }
    }
}

#[test]
fn operators_that_cannot_be_run_are_all_listed() {
    let error = program_of("unsupported", &OnnxOptions::default()).err().unwrap();
    assert_eq!(error.exit_code(), 4);
    let text = error.to_string();
    for part in ["Det (2 times)", "Hardmax", "Resize with mode cubic"] {
        assert!(text.contains(part), "{text}");
    }
    let error = program_of("conv3d", &OnnxOptions::default()).err().unwrap();
    assert!(error.exit_code() == 4 && error.to_string().contains("Conv over 3 dimensions"), "{error}");
}

#[test]
fn what_multiplies_and_is_not_measured_is_named() {
    let inside = program("branches").notes();
    assert!(inside.len() == 1 && inside[0].contains("hidden") && inside[0].contains("choice"), "{inside:?}");
    // Of two images, at 4·3 places: 6 filters of 36 values, and 9 of 6.
    let batch = program("batch");
    assert_eq!(batch.macs(), 2 * 4 * 3 * (6 * 36 + 9 * 6));
    let note = "Conv unmeasured multiplies and is not measured (80.00 % of the MACs): it reads several images at once";
    assert!(batch.notes().len() == 1 && batch.notes()[0].starts_with(note), "{:?}", batch.notes());
    for name in stored().keys().filter(|name| !["batch", "branches"].contains(&name.as_str())) {
        let program = program(name);
        assert!(saturates(&program) || program.notes().is_empty(), "{name}: {:?}", program.notes());
    }
    assert!(!program("nothing").multiplies());
}

#[test]
fn extents_that_contradict_the_file_are_refused() {
    let shapes = |name: Option<&str>, shape: &[usize]| {
        let shapes = vec![(name.map(str::to_owned), shape.to_vec())];
        let options = OnnxOptions { extents: InputExtents { shapes, size: None }, ..OnnxOptions::default() };
        program_of("conv", &options).map(|_| ()).map_err(|error| (error.exit_code(), error.to_string()))
    };
    assert_eq!(shapes(Some("x"), &[1, 3, 9, 11]), Ok(()));
    let (code, text) = shapes(None, &[1, 3, 8, 8]).unwrap_err();
    assert!(code == 2 && text.contains("--shape x=1x3x8x8") && text.contains("1x3x9x11"), "{text}");
    let (_, text) = shapes(Some("z"), &[1, 3, 9, 11]).unwrap_err();
    assert!(text.contains("inputs of conv are x"), "{text}");
}
