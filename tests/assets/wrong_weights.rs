//! Files whose weights, `config.json` or names once gave a wrong answer without a warning: each against the output of
//! PyTorch, timm or torchvision, or refused.

use std::path::PathBuf;

use deadweight::engine::{Backend, EngineOptions};
use deadweight::input::Dataset;
use deadweight::layers::Layer;
use deadweight::measure::{Quiet, Settings, predict};
use deadweight::model::{LoadOptions, Model};
use deadweight::models::{Card, build};
use deadweight::{Error, graph::Params};

use super::asset;
use crate::facts::build::{network, tensors, write};

fn case(name: &str) -> PathBuf {
    asset("../cases/wrong").join(name)
}

fn load(file: &str, arch: Option<&str>) -> Result<Model, Error> {
    let options = LoadOptions { arch: arch.map(str::to_owned), ..LoadOptions::default() };
    Model::load(case(file).to_str().unwrap(), &options)
}

/// The network's output for one image.
fn logits(model: &Model, image: &str) -> Vec<f32> {
    let data = Dataset::open(&[case(image)], &model.preprocess).unwrap();
    let backend = Backend::Native(EngineOptions::new(2));
    let mut logits = Vec::new();
    let keep = |_: &_, output: &[f32], _| {
        logits.extend_from_slice(output);
        Ok(())
    };
    predict(model, &backend, &data, &Settings::default(), &Quiet, keep).unwrap();
    logits
}

fn expected(file: &str, key: Option<&str>) -> Vec<f64> {
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(case(file)).unwrap()).unwrap();
    let list = key.map_or(&json, |key| &json[key]);
    list.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

fn assert_near(got: &[f32], want: &[f64], what: &str) {
    let largest = want.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let apart = got.iter().zip(want).map(|(got, want)| (f64::from(*got) - want).abs()).fold(0.0, f64::max);
    assert!(got.len() == want.len() && apart < 1e-4 * largest, "{what}: {apart} apart: {got:?}, want {want:?}");
}

#[test]
fn timm_configurations_are_obeyed() {
    for folder in ["timm-config/squash", "timm-config/current-plain"] {
        let model = load(folder, None).unwrap();
        assert_eq!(model.notes, [""; 0], "{folder}");
        let want = expected(&format!("{folder}/expected.json"), None);
        assert_near(&logits(&model, "timm-config/input.png"), &want, folder);
    }
}

#[test]
fn a_card_that_contradicts_the_directory_is_an_error() {
    // The weights of that folder are not stored.
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(case("config-contradicts-arch/dir/config.json"), folder.path().join("config.json")).unwrap();
    let mut card = deadweight::models::card("tf_mobilenetv3_small_100").unwrap().clone();
    card.arch.insert("classes".into(), 10.into());
    write(&folder.path().join("model.safetensors"), &tensors(&network(&card)));
    let load = |arch: Option<&str>| {
        let options = LoadOptions { arch: arch.map(str::to_owned), ..LoadOptions::default() };
        Model::load(folder.path().to_str().unwrap(), &options)
    };
    let error = load(Some("mobilenetv3_small_100")).err().unwrap();
    let text = error.to_string();
    assert_eq!(error.exit_code(), 2, "{text}");
    assert!(text.contains("which is of tf_mobilenetv3_small_100") && text.contains("leave --arch away"), "{text}");
    let [alone, named] = [None, Some("tf_mobilenetv3_small_100")].map(|arch| load(arch).unwrap());
    assert_eq!(alone.card.arch["padding"].as_str(), Some("same"));
    let image = "config-contradicts-arch/photo.png";
    assert_eq!(logits(&alone, image), logits(&named, image));
}

#[test]
fn networks_of_segmentation_models_pytorch_are_those_of_their_arguments() {
    for (folder, stride, dilations) in [("rates", 2, [6, 12, 18]), ("stride8", 4, [12, 24, 36])] {
        let text = std::fs::read(case(&format!("config-contradicts-arch/{folder}/config.json"))).unwrap();
        let card = deadweight::models::from_config(&serde_json::from_slice(&text).unwrap()).unwrap();
        let dilation = |card: &Card, name: &str| {
            let (graph, _) = build(card, Params::Declared).unwrap();
            match &graph.nodes.iter().find(|def| def.name == name).unwrap().layer {
                Layer::Conv(conv) => conv.dilation.0,
                layer => panic!("{name} is {}", layer.kind()),
            }
        };
        assert_eq!(dilation(&card, "encoder.layer4.1.conv2"), stride, "{folder}");
        for (i, want) in dilations.into_iter().enumerate() {
            assert_eq!(dilation(&card, &format!("decoder.aspp.0.convs.{}.0.0", i + 1)), want, "{folder}");
        }
    }
}

#[test]
fn averaged_weights_are_taken_with_a_note() {
    for file in ["averaged-model.pth", "tv-reference-ema.pth"] {
        let model = load(&format!("checkpoint-wrappers/{file}"), Some("resnet20-cifar")).unwrap();
        assert!(model.notes.iter().any(|note| note.contains("averaged")), "{file}: {:?}", model.notes);
        let want = expected("checkpoint-wrappers/expected.json", Some("averaged"));
        assert_near(&logits(&model, "checkpoint-wrappers/input.png"), &want, file);
    }
}

#[test]
fn archives_read_alike_whatever_their_members_are_called() {
    let folder = "zip-name-of-21-letters";
    let mut files: Vec<String> = std::fs::read_dir(case(folder))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.ends_with(".pth"))
        .collect();
    files.sort();
    assert!(files.len() >= 7, "{files:?}");
    let logits = |file: &str| {
        let model = load(&format!("{folder}/{file}"), Some("resnet20-cifar")).unwrap();
        logits(&model, "checkpoint-wrappers/input.png")
    };
    let want = logits("model_best_checkpoin.pth");
    for file in files {
        assert_eq!(logits(&file), want, "{file}");
    }
}

#[test]
fn what_is_not_supported_keeps_its_exit_code_and_hint() {
    for (folder, what) in
        [("bert", "architectures other than a class that ends in"), ("convnext", "architecture convnext_atto")]
    {
        let error = load(&format!("exit-codes/{folder}"), None).err().unwrap();
        assert_eq!(error.exit_code(), 4, "{error}");
        assert!(error.to_string().contains(what) && error.hint().is_some(), "{error}");
    }
}

#[test]
fn classes_are_shown_by_number_if_names_do_not_match() {
    let model = load("finetuned-head/three.pth", Some("resnet20-cifar")).unwrap();
    assert_eq!([0, 1, 2].map(|class| model.class_name(class)), ["class 0", "class 1", "class 2"]);
    assert!(model.notes.iter().any(|note| note.contains("3 classes")), "{:?}", model.notes);
    for (name, classes) in [("grey", 10), ("sequential", 3)] {
        let card = case(&format!("finetuned-head/{name}.toml"));
        let model = load(&format!("finetuned-head/{name}.pth"), card.to_str()).unwrap();
        assert_eq!(model.class_name(classes - 1), format!("class {}", classes - 1), "{name}");
        assert_eq!(logits(&model, "finetuned-head/input.png").len(), classes, "{name}");
    }
}
