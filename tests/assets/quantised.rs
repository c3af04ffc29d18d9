//! Quantised networks: the codes of TFLite's reference kernels, bit for bit.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use deadweight::engine::{Backend, EngineOptions};
use deadweight::format::NumberFormat;
use deadweight::hex::hex;
use deadweight::input::{Dataset, IGNORE, Preprocess, Truth, TruthSource};
use deadweight::kernels::{Codes, Integer, Pool};
use deadweight::layers::Layer;
use deadweight::measure::{Quiet, Settings, calibrate, measure, predict};
use deadweight::model::{LoadOptions, Model};
use deadweight::models::Task;
use deadweight::report::{Report, document};
use deadweight::task::classify::Accuracy;
use deadweight::task::segment::{Areas, class_map};
use sha2::{Digest, Sha256};

use super::{asset, json, stored};
use crate::tflite::build::{File, I8, I32, Number, Operator, Tensor};

fn load(path: &Path, card: Option<&str>) -> Model {
    let options = LoadOptions { arch: card.map(str::to_owned), ..LoadOptions::default() };
    Model::load(path.to_str().unwrap(), &options).unwrap()
}

fn native() -> Backend {
    Backend::Native(EngineOptions::new(2))
}

/// Quantisation parameters of the output.
fn output_codes(model: &Model) -> Codes {
    match &model.graph.def(model.graph.output()).layer {
        Layer::Integer(Integer::Dequantize(codes)) => *codes,
        other => panic!("ends in {}", other.kind()),
    }
}

/// Outputs as codes.
fn codes(model: &Model, data: &Dataset) -> Vec<Vec<f32>> {
    let Codes { scale, zero_point, .. } = output_codes(model);
    let mut all = Vec::new();
    predict(model, &native(), data, &Settings::default(), &Quiet, |_, output, _| {
        all.push(output.iter().map(|value| (value / scale).round() + zero_point as f32).collect());
        Ok(())
    })
    .unwrap();
    all
}

/// Runs a float network over the first `limit` inputs: its outputs are `want`, within 1e-3.
fn answered(model: &Model, backend: &Backend, data: &Dataset, limit: usize, want: &[f32]) -> Accuracy {
    let (mut all, mut accuracy) = (Vec::new(), Accuracy::default());
    let settings = Settings { limit: Some(limit), ..Settings::default() };
    predict(model, backend, data, &settings, &Quiet, |sample, output, _| {
        accuracy.add(output, sample.label.unwrap(), 0);
        all.extend_from_slice(output);
        Ok(())
    })
    .unwrap();
    let apart = all.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(all.len() == want.len() && apart < 1e-3, "{}: {apart} apart", model.card.name);
    accuracy
}

fn imagenet224() -> (Vec<PathBuf>, Vec<u32>) {
    let index = std::fs::read_to_string(asset("data/imagenet224/index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    let images = index["images"].as_array().unwrap();
    let path = |image: &serde_json::Value| asset("data/imagenet224").join(image["file"].as_str().unwrap());
    images.iter().map(|image| (path(image), image["label"].as_u64().unwrap() as u32)).unzip()
}

/// The first outputs are `want`, to the bit.
fn compare(name: &str, got: &[Vec<f32>], want: &[f32]) {
    let got: Vec<f32> = got.concat();
    let apart = got.iter().zip(want).filter(|(a, b)| a != b).count();
    let most = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart == 0 && got.len() >= want.len(), "{name}: {apart} of {} codes differ, by up to {most}", want.len());
}

#[test]
fn classifiers_of_tflite_give_the_codes_of_its_reference_kernels() {
    let (paths, labels) = imagenet224();
    let litert: serde_json::Value = serde_json::from_str(include_str!("../reference/tflite.json")).unwrap();
    for (name, data, reference) in [
        ("mobilenet_v1_0.25_128_quant", None, "first8"),
        ("mobilenet_v2_1.0_224_quant", Some(&paths), "first8"),
        ("resnet8-cifar10-int8", None, "first200"),
    ] {
        let model = load(&asset(&format!("quant/{name}.tflite")), None);
        let data = match data {
            Some(paths) => Dataset::open(paths, &model.preprocess).unwrap(),
            None if name.contains("cifar") => {
                Dataset::open(&[asset("data/cifar10-test-jpeg.safetensors")], &model.preprocess).unwrap()
            }
            None => Dataset::open(&[asset("data/imagenet128.safetensors")], &model.preprocess).unwrap(),
        };
        let all = codes(&model, &data);
        let (want, _) =
            stored(&format!("quant/{name}.ref.safetensors"), &format!("output_reference_kernels_{reference}"));
        compare(name, &all, &want);
        let mut accuracy = Accuracy::default();
        // The figures of CIFAR-10 are for its first 500 images.
        for (i, output) in all.iter().enumerate().take(500) {
            let label = data.load(i).unwrap().label.unwrap_or(labels[i.min(99)]);
            accuracy.add(output, label, model.label_offset(output.len()));
        }
        // For MobileNetV1 the optimised kernels, which the assets' figures are from, have the same codes.
        let figures = json(&format!("quant/{name}.ref.json"));
        let share = figures["top1"].as_f64().unwrap() * accuracy.labelled as f64;
        let want = litert["top1"][name].as_u64().unwrap_or(share.round() as u64);
        assert_eq!(accuracy.top1, want, "{name}");
        assert!((share - want as f64).abs() <= 0.01 * accuracy.labelled as f64, "{name}: {share} by other kernels");
    }
}

#[test]
fn maps_of_classes_are_those_of_tflites_reference_kernels() {
    let litert: serde_json::Value = serde_json::from_str(include_str!("../reference/tflite.json")).unwrap();
    let model = load(&asset("segment/deeplabv3-mnv2-0.5-pascal.tflite"), None);
    assert_eq!(model.card.task, Task::Segment);
    let figures = json("segment/deeplabv3-mnv2-0.5-pascal.ref.json");
    for image in ["bird", "voc23", "voc1"] {
        let data = Dataset::open(&[asset(&format!("data/segment/{image}.png"))], &model.preprocess).unwrap();
        let data = data.with_truths(TruthSource::Classes(asset("data/segment")));
        let output = codes(&model, &data).remove(0);
        let map = class_map(&output, 21);
        let digest = hex(Sha256::digest(&map));
        assert_eq!(litert["masks_sha256"][image], digest, "{image}");
        let Some(Truth::Classes(truth)) = data.load(0).unwrap().truth else { panic!("{image} has a map of classes") };
        let mut areas = Areas::default();
        areas.add(&map, &truth, IGNORE);
        for (class, want) in figures[image]["iou_quant"].as_object().unwrap() {
            let area = areas.classes[class.parse::<usize>().unwrap()];
            let (got, want) = (area.intersection as f64 / area.union() as f64, want.as_f64().unwrap());
            // The stored figures are from the optimised kernels.
            assert!((got - want).abs() < 0.04, "{image}: IoU of class {class} is {got}, stored {want}");
        }
    }
}

#[test]
fn a_float_network_of_tflite_gives_its_probabilities() {
    let name = "resnet8-cifar10-float";
    let folder = tempfile::tempdir().unwrap();
    let card = folder.path().join("card.toml");
    // Pixels go in as 0 to 255.
    let text = "name = \"resnet8\"\nfamily = \"tflite\"\ntask = \"classify\"\ndescription = \"\"\narch = {}\n\
                input = { channels = 3, size = [32, 32], mean = [0.0, 0.0, 0.0], std = [0.00392156862745098, \
                0.00392156862745098, 0.00392156862745098] }\n";
    std::fs::write(&card, text).unwrap();
    let model = load(&asset(&format!("quant/{name}.tflite")), card.to_str());
    let data = Dataset::open(&[asset("data/cifar10-test-jpeg.safetensors")], &model.preprocess).unwrap();
    let (want, shape) = stored(&format!("quant/{name}.ref.safetensors"), "output");
    for backend in [native(), Backend::Candle(candle_core::Device::Cpu, Arc::new(Pool::new(2)))] {
        let accuracy = answered(&model, &backend, &data, shape[0], &want);
        assert_eq!(accuracy.top1, 373, "{name}: 74.6 % of 500");
    }
}

/// The file that `name.graph.json` and `name.weights.safetensors` were extracted from.
fn rebuilt(name: &str) -> Vec<u8> {
    let graph = json(&format!("quant/{name}.graph.json"));
    let bytes = std::fs::read(asset(&format!("quant/{name}.weights.safetensors"))).unwrap();
    let constants = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let numbers = |value: &serde_json::Value| -> Vec<i32> {
        value.as_array().map_or(vec![], |list| list.iter().map(|v| v.as_i64().unwrap() as i32).collect())
    };
    let tensor = |value: &serde_json::Value| {
        let name = value["name"].as_str().unwrap().to_owned();
        let element = match value["dtype"].as_str().unwrap() {
            "INT8" => I8,
            "INT32" => I32,
            other => panic!("{name} is of {other}"),
        };
        Tensor {
            shape: numbers(&value["shape"]),
            element,
            data: constants.tensor(&name).map_or(vec![], |view| view.data().to_vec()),
            scales: value["scale"]
                .as_array()
                .map_or(vec![], |list| list.iter().map(|v| v.as_f64().unwrap() as f32).collect()),
            zero_points: numbers(&value["zero_point"]).into_iter().map(i64::from).collect(),
            name,
            ..Tensor::default()
        }
    };
    let operator = |value: &serde_json::Value| {
        let number = |key: &str| value[key].as_i64().unwrap_or(1) as i32;
        let word = |key: &str, words: &[&str]| {
            words.iter().position(|word| value[key].as_str() == Some(word)).unwrap_or(0) as i8
        };
        let padding = (0, Number::I8(word("Padding", &["SAME", "VALID"])));
        let activation = Number::I8(word("FusedActivationFunction", &["NONE", "RELU", "", "RELU6"]));
        let steps = vec![padding, (1, Number::I32(number("StrideW"))), (2, Number::I32(number("StrideH")))];
        let (code, options) = match value["op"].as_str().unwrap() {
            "ADD" => (0, vec![(0, activation)]),
            "CONV_2D" => (3, [steps, vec![(3, activation)]].concat()),
            "DEPTHWISE_CONV_2D" => (4, [steps, vec![(3, Number::I32(1)), (4, activation)]].concat()),
            "FULLY_CONNECTED" => (9, vec![(0, activation)]),
            "RESHAPE" => (22, vec![]),
            "PAD" => (34, vec![]),
            "TRANSPOSE" => (39, vec![]),
            "MEAN" => (40, vec![]),
            other => panic!("{other} has no place here"),
        };
        Operator { code, inputs: numbers(&value["inputs"]), outputs: numbers(&value["outputs"]), options }
    };
    let file = File {
        tensors: graph["tensors"].as_array().unwrap().iter().map(tensor).collect(),
        operators: graph["operators"].as_array().unwrap().iter().map(operator).collect(),
        inputs: numbers(&graph["inputs"]),
        outputs: numbers(&graph["outputs"]),
        ..File::default()
    };
    file.bytes()
}

#[test]
fn a_network_exported_from_pytorch_gives_the_codes_of_tflites_reference_kernels() {
    let name = "mobilenet_v2_quantized_1x3x224x224";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.tflite");
    std::fs::write(&path, rebuilt(name)).unwrap();
    let mut model = load(&path, Some("mobilenet_v2"));
    // The images are already cropped, and the references were computed on them as they are.
    model.card.input.remove("resize");
    model.preprocess = Preprocess::from_table(name, &model.card.input).unwrap();
    let (paths, labels) = imagenet224();
    let data = Dataset::open(&paths, &model.preprocess).unwrap();
    let all = codes(&model, &data);
    compare(name, &all, &stored(&format!("quant/{name}.ref.safetensors"), "output_reference_kernels_first8").0);
    let mut accuracy = Accuracy::default();
    all.iter().zip(&labels).for_each(|(output, &label)| accuracy.add(output, label, 0));
    // From LiteRT 2.3.0 with its reference kernels; the 77 in the assets are XNNPACK's.
    assert_eq!((accuracy.top1, accuracy.top5), (73, 95), "{name}");
}

#[test]
fn a_ternary_network_is_counted_in_its_three_values() {
    let name = "squeezenet-ternary-tinyimagenet";
    let mut model = load(&asset(&format!("quant/{name}.safetensors")), Some("squeezenet_ternary"));
    // The images are already cropped.
    model.card.input.remove("resize");
    model.preprocess = Preprocess::from_table(name, &model.card.input).unwrap();
    let data = Dataset::open(&[asset("data/tinyimagenet-val.safetensors")], &model.preprocess).unwrap();
    let (want, _) = stored(&format!("quant/{name}.ref.safetensors"), "logits");
    let accuracy = answered(&model, &native(), &data, usize::MAX, &want);
    assert_eq!((accuracy.top1, accuracy.top5), (139, 247), "34.75 and 61.75 % of 400");
    let settings = Settings { format: NumberFormat::Stored.into(), limit: Some(8), ..Settings::default() };
    let calibration = calibrate(&model, &native(), &data, &settings, &Quiet).unwrap();
    let measurement = measure(&model, &native(), &data, &calibration, &Quiet).unwrap();
    let document = document(&Report::new(&measurement));
    let layers = document["layers"].as_array().unwrap();
    let figures = json(&format!("quant/{name}.ref.json"));
    let shares = figures["zero_fraction_per_tensor"].as_object().unwrap();
    for (tensor, share) in shares {
        let named = |layer: &&serde_json::Value| format!("{}.weight", layer["name"].as_str().unwrap()) == *tensor;
        let layer = layers.iter().find(named).unwrap();
        let weights = &layer["weights"];
        let zeros = weights["zeros"]["value"].as_f64().unwrap();
        assert!((zeros - share.as_f64().unwrap()).abs() < 1e-6, "{tensor}");
        // A non-zero weight is one term and at most two bits wide; activations are floats.
        assert_eq!(weights["bits"]["value"], 2.0, "{tensor}");
        assert_eq!(weights["terms.naf.nonzero"]["value"], 1.0, "{tensor}");
        let widths = weights["width.histogram"]["counts"].as_array().unwrap();
        assert!(widths[3..].iter().all(|count| *count == 0), "{tensor}");
        assert_eq!(layer["activations"]["bits"]["value"], 16.0, "{tensor}");
    }
    assert_eq!((shares.len(), &layers[0]["weights"]["bits"]["value"]), (24, &16.0.into()));
}

#[test]
fn a_float_lstm_of_tflite_reads_images_row_by_row() {
    let name = "lstm-mnist-float";
    let model = load(&asset(&format!("quant/{name}.tflite")), None);
    let data = Dataset::open(&[asset("data/mnist-test.safetensors")], &model.preprocess).unwrap();
    let (want, _) = stored(&format!("quant/{name}.ref.safetensors"), "output");
    let accuracy = answered(&model, &native(), &data, usize::MAX, &want);
    assert_eq!(accuracy.top1, 488, "97.6 % of 500");
}

#[test]
fn an_lstm_of_integers_gives_the_codes_of_tflite() {
    let name = "lstm-mnist-int8";
    let model = load(&asset(&format!("quant/{name}.tflite")), None);
    let data = Dataset::open(&[asset("data/mnist-test.safetensors")], &model.preprocess).unwrap();
    let all = codes(&model, &data);
    compare(name, &all, &stored(&format!("quant/{name}.ref.safetensors"), "output").0);
    let mut accuracy = Accuracy::default();
    all.iter().enumerate().for_each(|(i, output)| accuracy.add(output, data.load(i).unwrap().label.unwrap(), 0));
    assert_eq!(accuracy.top1, 488, "97.6 % of 500");
    // Both products are counted, the hidden one by the codes of the step before.
    let settings = Settings { format: NumberFormat::Stored.into(), limit: Some(20), ..Settings::default() };
    let calibration = calibrate(&model, &native(), &data, &settings, &Quiet).unwrap();
    let measurement = measure(&model, &native(), &data, &calibration, &Quiet).unwrap();
    let document = document(&Report::new(&measurement));
    let layers = document["layers"].as_array().unwrap();
    let facts = layers
        .iter()
        .map(|layer| (layer["kind"].as_str().unwrap(), layer["metrics"]["macs.per_input"]["value"].as_f64().unwrap()));
    assert_eq!(facts.collect::<Vec<_>>(), [("linear", 62_720.0), ("lstm", 44_800.0), ("linear", 5_600.0)]);
    // The first of 28 steps reads zeros.
    let zeros = layers[1]["activations"]["zeros"]["value"].as_f64().unwrap();
    assert!(zeros > 1.0 / 28.0 && zeros < 0.5, "{zeros}");
}
