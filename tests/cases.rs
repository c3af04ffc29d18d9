//! Checkpoints and ONNX files as other programs write them (`DEADWEIGHT_CASES` names their folder): the answers of PyTorch, and
//! measurements whose counts add up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;

use crate::binary::{fail, succeed, text};

/// Largest difference allowed, relative to the largest magnitude of the reference.
const TOLERANCE: f64 = 1e-4;

fn case(name: &str) -> PathBuf {
    Path::new(env!("DEADWEIGHT_CASES_DIR")).join(name)
}

fn wanted() -> BTreeMap<String, Value> {
    serde_json::from_slice(&std::fs::read(case("want.json")).unwrap()).unwrap()
}

/// The images of the case `name` as it reads them, in a file `path`: fed as they are, 224 by 224, less the mean, over the deviation.
fn prepared(name: &str, path: &Path) {
    let grey = name == "timm-resnet18";
    let mut values: Vec<f32> = vec![];
    for image in ["0.png", "1.png"] {
        let image = image::open(case("images").join(image)).unwrap().to_rgb8();
        let pixels = |plane: Vec<u8>, mean: f32, std: f32| {
            plane.into_iter().map(move |pixel| (f32::from(pixel) / 255.0 - mean) / std)
        };
        if grey {
            // Pillow's conversion of colour to grey.
            let grey = image.pixels().map(|p| {
                let [r, g, b] = p.0.map(u32::from);
                ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
            });
            values.extend(pixels(grey.collect(), 0.5, 0.25));
            continue;
        }
        for (channel, (mean, std)) in [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)].into_iter().enumerate() {
            values.extend(pixels(image.pixels().map(|p| p.0[channel]).collect(), mean, std));
        }
    }
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let shape = vec![2, if grey { 1 } else { 3 }, 224, 224];
    let view = TensorView::new(Dtype::F32, shape, &bytes).unwrap();
    safetensors::serialize_to_file([("images", view)], None, path).unwrap();
}

fn measured(line: &[&str]) -> Value {
    serde_json::from_slice(&succeed(&[&["measure"], line, &["--format", "json"]].concat())).unwrap()
}

/// Every layer's MACs are those of its classes, with padding and without, and the network's are those of its layers.
fn check_counts(name: &str, document: &Value) {
    let classes = ["padding", "zero_both", "zero_activation", "zero_weight", "effectual"];
    let mut all = 0;
    for layer in document["layers"].as_array().unwrap() {
        let metrics = &layer["metrics"];
        let Some(macs) = metrics["macs"]["value"].as_u64() else { continue };
        let count = |class: &str| metrics[&format!("macs.{class}")]["with_padding"]["numerator"].as_u64().unwrap();
        assert_eq!(classes.into_iter().map(count).sum::<u64>(), macs, "{name}: {}", layer["name"]);
        for potential in ["W", "A", "W+A", "Ap", "Ap.g16", "Ae", "We+Ae"] {
            let Some(times) = metrics[&format!("potential.{potential}")]["with_padding"]["value"].as_f64() else {
                continue;
            };
            assert!(times >= 1.0, "{name}: {}: {potential} {times}", layer["name"]);
        }
        all += macs;
    }
    assert!(all > 0, "{name}: no layer multiplies");
    assert_eq!(document["network"]["metrics"]["macs"]["value"].as_u64(), Some(all), "{name}");
}

#[test]
fn checkpoints_answer_as_pytorch_does_and_are_measured() {
    let (folder, want) = (tempfile::tempdir().unwrap(), wanted());
    let saved = folder.path().join("out.safetensors");
    let images = [
        "resnet18-channels-removed.pth",
        "resnet18-backbone.pth",
        "timm-resnet18",
        "timm-wide_resnet50_2",
        "timm-resnext50_32x4d",
        "timm-seresnet50",
        "timm-efficientnet_b0",
    ];
    for name in images {
        let (file, inputs) = (case(name), folder.path().join("images.safetensors"));
        prepared(name, &inputs);
        let arch: &[&str] = if name.ends_with(".pth") { &["--arch", "resnet"] } else { &[] };
        let line = [&[text(&file), text(&inputs)], arch].concat();
        succeed(&[&["run"], &line[..], &["--save-outputs", text(&saved)]].concat());
        let bytes = std::fs::read(&saved).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let output = tensors.tensor("output").unwrap();
        let got: Vec<f32> = output.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        let rows = want[name.strip_suffix(".pth").unwrap_or(name)].as_array().unwrap();
        assert_eq!(output.shape()[0], rows.len(), "{name}");
        for (row, want) in got.chunks(output.shape()[1]).zip(rows) {
            let want: Vec<f64> = want.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
            let largest = want.iter().fold(0f64, |largest, value| largest.max(value.abs()));
            let apart = row.iter().zip(&want).map(|(got, want)| (f64::from(*got) - want).abs()).fold(0.0, f64::max);
            assert!(apart <= TOLERANCE * largest, "{name}: {apart} apart of {largest}");
        }
        check_counts(name, &measured(&line));
    }
}

#[test]
fn language_models_of_any_size_have_the_perplexity_of_pytorch_and_are_measured() {
    for (name, want) in wanted().into_iter().filter(|(_, want)| want["perplexity"].is_f64()) {
        let file =
            ["pt", "safetensors"].map(|end| format!("{name}.{end}")).into_iter().find(|file| case(file).exists());
        let name = file.unwrap_or_else(|| panic!("{name} has no file"));
        let [file, of_text, vocabulary] = [&name, "text.txt", "vocab.txt"].map(case);
        let document = measured(&[text(&file), text(&of_text), "--vocab", text(&vocabulary)]);
        let (got, want) = (document["data"]["quality"]["perplexity"].as_f64(), want["perplexity"].as_f64().unwrap());
        let got = got.unwrap_or_else(|| panic!("{name}: no perplexity: {}", document["data"]));
        assert!((got / want - 1.0).abs() <= TOLERANCE, "{name}: {got}, PyTorch {want}");
        check_counts(&name, &document);
    }
}

#[test]
fn exported_graphs_are_measured() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["resnet18", "mobilenet_v3_small", "convnext_tiny", "deeplabv3", "lstm"] {
        let bytes = std::fs::read(case(&format!("{name}.onnx.ref.safetensors"))).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let inputs = folder.path().join(format!("{name}.safetensors"));
        safetensors::serialize_to_file([("input", tensors.tensor("input").unwrap())], None, &inputs).unwrap();
        for backend in ["auto", "onnx"] {
            let file = case(&format!("{name}.onnx"));
            check_counts(name, &measured(&[text(&file), text(&inputs), "--backend", backend]));
        }
    }
}

#[test]
fn sequences_beyond_the_positions_name_the_flag_that_cuts_them() {
    let folder = tempfile::tempdir().unwrap();
    let ids = folder.path().join("ids.safetensors");
    let bytes: Vec<u8> = (0..513i64).flat_map(|id| (id + 3).to_le_bytes()).collect();
    let view = TensorView::new(Dtype::I64, vec![1, 513], &bytes).unwrap();
    safetensors::serialize_to_file([("ids", view)], None, &ids).unwrap();
    // Two of the table's 512 rows are before the first token.
    let model = case("hf-roberta");
    let (code, said) = fail(&["run", text(&model), text(&ids)]);
    assert!(code == 4 && said.contains("513 tokens") && said.contains("give --context 510"), "{code}: {said}");
    succeed(&["run", text(&model), text(&ids), "--context", "510"]);
}
