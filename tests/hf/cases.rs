//! Directories as transformers writes them, in the folder of `DEADWEIGHT_CASES`: their outputs in its `want.json`.

use std::path::PathBuf;

use deadweight::layers::Shape;
use deadweight::model::{LoadOptions, Model};
use serde_json::Value;

use super::{CLOSE, apart, outputs};

fn folder() -> PathBuf {
    PathBuf::from(env!("DEADWEIGHT_CASES_DIR"))
}

/// The image `i` of the folder with a mean and deviation of a half, `[3, 224, 224]`.
fn image(i: usize) -> Vec<f32> {
    let pixels = image::open(folder().join(format!("images/{i}.png"))).unwrap().to_rgb8();
    let plane =
        |c: usize| pixels.pixels().map(move |pixel| (f32::from(pixel[c]) / 255.0 - 0.5) / 0.5).collect::<Vec<_>>();
    (0..3).flat_map(plane).collect()
}

#[test]
fn directories_answer_as_transformers_does() {
    let want: Value = serde_json::from_slice(&std::fs::read(folder().join("want.json")).unwrap()).unwrap();
    let ids: Vec<f32> = serde_json::from_value(want["ids"].clone()).unwrap();
    let mut wrong = Vec::new();
    for name in ["bert", "distilbert", "roberta", "gpt2", "llama", "qwen2", "vit"] {
        let directory = folder().join(format!("hf-{name}"));
        let model = Model::load(directory.to_str().unwrap(), &LoadOptions::default()).unwrap();
        let want: Vec<Vec<f32>> = serde_json::from_value(want[format!("hf-{name}")].clone()).unwrap();
        let inputs: Vec<(Vec<f32>, Shape)> = match name {
            "vit" => (0..2).map(|i| (image(i), Shape::new(3, 224, 224))).collect(),
            _ => vec![(ids.clone(), Shape::new(1, 1, ids.len()))],
        };
        for (i, (x, shape)) in inputs.iter().enumerate() {
            for (engine, got) in outputs(&model, x, *shape) {
                let want = if name == "vit" { &want[i..i + 1] } else { &want[..] };
                let rows: Vec<usize> = (0..want.len()).collect();
                let apart = apart(&got, &rows, want);
                if apart.is_nan() || apart > CLOSE {
                    wrong.push(format!("{name} by {engine}: {apart} apart"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
