//! Classification: logits within 1e-3 of PyTorch's, accuracies equal.

use std::path::PathBuf;

use deadweight::engine::{Backend, EngineOptions, Runner};
use deadweight::input::{Dataset, Preprocess};
use deadweight::kernels::Pool;
use deadweight::measure::{Quiet, Settings, predict};
use deadweight::model::Model;
use deadweight::task::classify::{Accuracy, top_k};

use super::{asset, load, stored};

/// Largest difference of a logit from PyTorch's.
const TOLERANCE: f32 = 1e-3;

fn native() -> Backend {
    Backend::Native(EngineOptions::new(2))
}

fn candle() -> Backend {
    Backend::Candle(candle_core::Device::Cpu, std::sync::Arc::new(Pool::new(2)))
}

/// Logits of the first `limit` inputs, one after the other.
fn logits(model: &Model, backend: &Backend, data: &Dataset, limit: usize) -> Vec<Vec<f32>> {
    let mut all = Vec::new();
    let settings = Settings { limit: Some(limit), ..Settings::default() };
    predict(model, backend, data, &settings, &Quiet, |_, logits, _| {
        all.push(logits.to_vec());
        Ok(())
    })
    .unwrap();
    all
}

fn best(logits: &[f32]) -> usize {
    top_k(logits, 1)[0].0
}

/// Each row within the tolerance, with the same argmax.
fn compare(what: &str, got: &[Vec<f32>], want: &[f32], classes: usize) {
    assert_eq!(got.len() * classes, want.len(), "{what}");
    let mut wrong = Vec::new();
    for (i, (got, want)) in got.iter().zip(want.chunks(classes)).enumerate() {
        let apart = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        if apart.is_nan() || apart > TOLERANCE || best(got) != best(want) {
            wrong.push(format!("{what} input {i}: {apart} apart, class {} and {}", best(got), best(want)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn cifar_networks_equal_pytorch_and_reach_their_accuracy() {
    for (name, card, top1) in [
        ("resnet20-cifar10", "resnet20-cifar", 1627),
        ("resnet56-cifar10", "resnet56-cifar", 1663),
        ("resnet20-distiller-dense", "resnet20-distiller", 1633),
        ("resnet20-distiller-zero-layers", "resnet20-distiller", 1659),
    ] {
        let model = load(&format!("classify/{name}.safetensors"), card);
        let reference = format!("classify/{name}.ref.safetensors");
        let data = Dataset::open(&[asset("data/cifar10-test-jpeg.safetensors")], &model.preprocess).unwrap();
        let (inputs, shape) = stored(&reference, "input");
        let values: Vec<f32> = (0..shape[0]).flat_map(|i| data.load(i).unwrap().values).collect();
        let apart = values.iter().zip(&inputs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-6, "{name}: preprocessing is {apart} apart");
        let all = logits(&model, &native(), &data, usize::MAX);
        compare(name, &all[..16], &stored(&reference, "logits").0, 10);
        let predicted: Vec<usize> = stored(&reference, "pred_all").0.iter().map(|&class| class as usize).collect();
        let other = all.iter().zip(&predicted).filter(|(logits, class)| best(logits) != **class).count();
        assert_eq!(other, 0, "{name}: {other} of {} images are of another class than PyTorch's", predicted.len());
        let mut accuracy = Accuracy::default();
        for (i, logits) in all.iter().enumerate() {
            accuracy.add(logits, data.load(i).unwrap().label.unwrap(), 0);
        }
        assert_eq!((accuracy.labelled, accuracy.top1), (2000, top1), "{name}");
        let lossless = Dataset::open(&[asset("data/cifar10-lossless20.safetensors")], &model.preprocess).unwrap();
        let reference = stored(&reference, "lossless20_logits").0;
        compare(name, &logits(&model, &native(), &lossless, 20), &reference, 10);
        compare(name, &logits(&model, &candle(), &lossless, 20), &reference, 10);
    }
}

#[test]
fn imagenet_networks_equal_pytorch_and_reach_their_accuracy() {
    let index = std::fs::read_to_string(asset("data/imagenet224/index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    let images = index["images"].as_array().unwrap();
    let paths: Vec<PathBuf> =
        images.iter().map(|image| asset("data/imagenet224").join(image["file"].as_str().unwrap())).collect();
    let labels: Vec<u32> = images.iter().map(|image| image["label"].as_u64().unwrap() as u32).collect();
    for (name, card, [top1, top5]) in [
        ("mobilenetv1-0.25-imagenet", "mobilenetv1-0.25-retinaface", [58, 80]),
        ("mobilenetv2-1.0-imagenet-folded", "mobilenet_v2", [82, 98]),
    ] {
        let mut model = load(&format!("classify/{name}.safetensors"), card);
        // The images are already cropped, and the references were computed on them as they are.
        model.card.input.remove("resize");
        model.preprocess = Preprocess::from_table(card, &model.card.input).unwrap();
        let reference = format!("classify/{name}.ref.safetensors");
        let data = Dataset::open(&paths, &model.preprocess).unwrap();
        let (inputs, shape) = stored(&reference, "input_first2");
        let values: Vec<f32> = (0..shape[0]).flat_map(|i| data.load(i).unwrap().values).collect();
        let apart = values.iter().zip(&inputs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-6, "{name}: preprocessing is {apart} apart");
        let all = logits(&model, &native(), &data, usize::MAX);
        let want = stored(&reference, "logits").0;
        compare(name, &all, &want, 1000);
        compare(name, &logits(&model, &candle(), &data, 2), &want[..2000], 1000);
        let mut accuracy = Accuracy::default();
        all.iter().zip(&labels).for_each(|(logits, &label)| accuracy.add(logits, label, 0));
        assert_eq!((accuracy.top1, accuracy.top5), (top1, top5), "{name}");
    }
    let name = "resnet50-thin-opennsfw";
    let model = load(&format!("classify/{name}.safetensors"), name);
    let reference = format!("classify/{name}.ref.safetensors");
    let data = Dataset::open(&paths[..40], &model.preprocess).unwrap();
    let all = logits(&model, &native(), &data, usize::MAX);
    compare(name, &all, &stored(&reference, "logits").0, 2);
    let unsafe_share: Vec<f64> =
        all.iter().map(|logits| top_k(logits, 2).iter().find(|t| t.0 == 1).unwrap().2).collect();
    let want = stored(&reference, "prob_onnxruntime").0;
    let apart = unsafe_share.iter().zip(want.chunks(2)).map(|(got, want)| (got - f64::from(want[1])).abs());
    assert!(apart.fold(0.0, f64::max) < 1e-5, "{name}: probabilities are not those of ONNX Runtime");
}

#[test]
fn an_onnx_network_equals_onnx_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let card = folder.path().join("flowers.toml");
    let text = r#"
        name = "flowers"
        family = "mobilenet_v2"
        task = "classify"
        description = "five flowers, pixels from -1 to 1"
        labels = ["daisy", "dandelion", "roses", "sunflowers", "tulips"]
        arch = {}
        input = { channels = 3, size = [128, 128], mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5] }
    "#;
    std::fs::write(&card, text).unwrap();
    let model = load("classify/mobilenetv2-0.35-flowers.onnx", card.to_str().unwrap());
    assert_eq!((model.folded, model.gives_probabilities()), (Some(true), true));
    let reference = "classify/mobilenetv2-0.35-flowers.ref.safetensors";
    let (inputs, shape) = stored(reference, "input");
    assert_eq!(shape, [3, 3, 128, 128]);
    for backend in [native(), candle()] {
        let mut runner = Runner::new(&model.graph, model.input_shape(), &backend, 3).unwrap();
        let outputs = runner.run(&inputs, None).unwrap();
        let rows: Vec<Vec<f32>> = outputs.chunks(5).map(<[f32]>::to_vec).collect();
        compare("flowers", &rows, &stored(reference, "prob").0, 5);
        assert_eq!(model.class_name(best(&rows[0])), "daisy");
        assert_eq!(model.class_name(best(&rows[2])), "sunflowers");
        let data = Dataset::open(&[asset("data/imagenet128.safetensors")], &model.preprocess).unwrap();
        compare("flowers", &logits(&model, &backend, &data, 20), &stored(reference, "prob20").0, 5);
    }
}
