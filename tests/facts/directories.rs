//! Directories with a `config.json`, and cards whose class names do not match the number of classes.

use std::path::Path;

use deadweight::engine::{EngineOptions, Session};
use deadweight::layers::Shape;
use deadweight::model::Model;
use deadweight::models;
use serde_json::{Value, json};

use super::build::{network, tensors, write};
use super::{deadweight, digits, digits_of, image, load, write_card};
use crate::binary::text;

fn directory(config: &Value, weights: &[super::Tensor]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    write(&folder.path().join("model.safetensors"), weights);
    folder
}

/// timm's config of the built-in classifier's network.
fn timm(changes: &[(&str, Value)]) -> Value {
    let mut config = json!({
        "architecture": "digits", "num_classes": 10, "global_pool": "avg",
        "pretrained_cfg": {"input_size": [1, 32, 32], "interpolation": "bilinear", "crop_pct": 1.0, "crop_mode": "squash",
            "mean": [0.3054], "std": [0.3228]},
    });
    for (field, value) in changes {
        match field.strip_prefix("pretrained_cfg.") {
            Some(field) => config["pretrained_cfg"][field] = value.clone(),
            None => config[*field] = value.clone(),
        }
    }
    config
}

/// Fields that are set, exit code, message.
type Case<'a> = (&'a [(&'a str, Value)], i32, &'a str);

#[test]
fn what_a_directory_says_is_obeyed_or_refused() {
    let folder = directory(&timm(&[]), &digits());
    let photo = image(folder.path(), (50, 40));
    let plain = super::DIGITS;
    let (code, as_told, said) = deadweight(&["run", text(folder.path()), text(&photo), "--top", "10"]);
    assert_eq!((code, said.as_str()), (0, ""));
    // The card itself resizes to the same size.
    let (_, by_card, _) = deadweight(&["run", plain, text(&photo), "--arch", "digits", "--top", "10"]);
    assert_eq!(as_told, by_card);

    let cases: &[Case<'_>] = &[
        (&[("pretrained_cfg.crop_mode", json!("center"))], 0, ""),
        (&[("pretrained_cfg.test_crop_pct", json!(0.5))], 0, "test_crop_pct 0.5 is not"),
        (&[("label_names", json!(["a", "b"]))], 0, "label_names do not name each of the 10 classes"),
        (
            &[("pretrained_cfg.crop_mode", json!("tile"))],
            4,
            "config.json: pretrained_cfg.crop_mode tile is not supported",
        ),
        (&[("global_pool", json!("max"))], 4, "config.json: global_pool \"max\" is not supported"),
        (&[("model_args", json!({"act_layer": "gelu"}))], 4, "model_args.act_layer"),
        (&[("architecture", json!("convnext_atto"))], 4, "architecture convnext_atto is not supported"),
        (&[("num_classes", json!(12))], 1, "config.json: is of 12 classes, the weights are of 10"),
        (&[("pretrained_cfg.mean", json!("grey"))], 1, "config.json: pretrained_cfg.mean"),
    ];
    for (changes, code, want) in cases {
        std::fs::write(folder.path().join("config.json"), timm(changes).to_string()).unwrap();
        let (got, _, said) = deadweight(&["run", text(folder.path()), text(&photo)]);
        assert!(
            got == *code && said.contains(want) && (*code != 4 || said.contains("hint: ")),
            "{changes:?}: {got}, {said}"
        );
        assert_eq!(said.is_empty(), want.is_empty(), "{changes:?}: {said}");
    }
    for (config, hint) in [
        (json!({"model_type": "t5", "architectures": ["X"]}), "known are resnet, "),
        (json!({"model_type": "resnet", "hidden_act": "gelu"}), "networks are built with hidden_act relu"),
    ] {
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let (code, _, said) = deadweight(&["run", text(folder.path()), text(&photo)]);
        assert!(code == 4 && said.contains(hint) && said.contains("config.json: "), "{config}: {code}, {said}");
    }
}

#[test]
fn a_card_agrees_with_the_directory_or_is_an_error() {
    let card = models::card("tf_mobilenetv3_small_075").unwrap();
    let config = json!({
        "architecture": card.name, "num_classes": 1000,
        "pretrained_cfg": {"input_size": [3, 64, 64], "interpolation": "bilinear", "crop_pct": 0.875, "mean": [0.5], "std": [0.5]},
    });
    let folder = directory(&config, &tensors(&network(card)));
    let photo = image(folder.path(), (70, 80));
    let (code, _, said) = deadweight(&["run", text(folder.path()), text(&photo), "--arch", "mobilenetv3_small_075"]);
    assert!(code == 2 && said.contains("which is of tf_mobilenetv3_small_075"), "{code}: {said}");
    assert!(said.contains("padding: not stated, \"same\"") && said.contains("name the weights file itself"), "{said}");
    // The remedy that the error names.
    let weights = folder.path().join("model.safetensors");
    assert_eq!(deadweight(&["run", text(&weights), text(&photo), "--arch", "mobilenetv3_small_075"]).0, 0);

    // The same network: the directory's preprocessing counts, which is logged and reported.
    let line = ["run", text(folder.path()), text(&photo), "--format", "json"];
    let (_, alone, _) = deadweight(&line);
    let (code, both, said) = deadweight(&[&line[..], &["--arch", &card.name]].concat());
    assert!(code == 0 && said.contains("center crop 64x64") && said.contains("center crop 224x224"), "{code}: {said}");
    let [alone, both]: [Value; 2] = [alone, both].map(|text| serde_json::from_str(&text).unwrap());
    assert_eq!(alone["inputs"], both["inputs"]);
    assert!(both["model"]["notes"][0].as_str().unwrap().contains("not as --arch"), "{}", both["model"]);

    // A file that holds its network.
    let onnx = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/onnx/mobile.onnx");
    let error = load(Path::new(onnx), Some("scenes")).err().unwrap();
    assert!(error.exit_code() == 2 && error.to_string().contains("gives one value per class"), "{error}");

    // What cannot be built is ignored, with a note.
    std::fs::write(folder.path().join("config.json"), r#"{"architecture": "convnext_atto"}"#).unwrap();
    let (code, _, said) = deadweight(&["run", text(folder.path()), text(&photo), "--arch", &card.name]);
    assert!(
        code == 0 && said.contains("convnext_atto is not supported; the network and its input are those of"),
        "{said}"
    );
}

/// The logits of `model` for a computed image.
fn logits(model: &Model) -> Vec<f32> {
    let shape = Shape::new(3, 64, 48);
    let value = |i: usize| ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0;
    let x: Vec<f32> = (0..shape.elements()).map(value).collect();
    Session::new(model.graph.clone(), shape, 1, EngineOptions::new(1)).unwrap().run(&x, None).unwrap()
}

#[test]
fn segmentation_models_are_built_as_their_arguments_say() {
    let published = models::card("smp_deeplabv3plus_mobilenet_v2").unwrap();
    let config = |stride: usize, rates: [usize; 3]| {
        json!({
            "_model_class": "DeepLabV3Plus", "encoder_name": "mobilenet_v2", "encoder_depth": 5, "encoder_weights": null,
            "encoder_output_stride": stride, "decoder_channels": 256, "decoder_atrous_rates": rates,
            "decoder_aspp_separable": true, "decoder_aspp_dropout": 0.5, "in_channels": 3, "classes": 5, "activation": null,
            "upsampling": 4, "aux_params": null,
        })
    };
    let mut five = published.clone();
    five.arch.insert("classes".into(), 5.into());
    let folder = directory(&config(16, [12, 24, 36]), &tensors(&network(&five)));
    let weights = folder.path().join("model.safetensors");
    let mine = folder.path().join("mine.toml");
    let by_card = |stride: i64, rates: [i64; 3]| {
        let arch = [("output_stride", stride.into()), ("rates", rates.to_vec().into())];
        write_card(&mine, &published.name, "[]", &arch);
        load(&weights, mine.to_str()).unwrap()
    };
    let mut seen = Vec::new();
    for (stride, rates) in [(16, [12, 24, 36]), (8, [12, 24, 36]), (16, [1, 2, 3])] {
        std::fs::write(folder.path().join("config.json"), config(stride, rates).to_string()).unwrap();
        let model = load(folder.path(), None).unwrap();
        assert_eq!(model.card.name, published.name);
        assert!(model.notes.len() == 1 && model.notes[0].contains("has no preprocessing"), "{:?}", model.notes);
        assert_eq!(model.class_name(3), "class 3");
        let got = logits(&model);
        assert_eq!(got, logits(&by_card(stride as i64, rates.map(|rate| rate as i64))), "{stride} {rates:?}");
        assert!(!seen.contains(&got), "{stride} {rates:?} changes nothing");
        seen.push(got);
        let with_card = load(folder.path(), Some(&published.name));
        match (stride, rates) {
            (16, [12, 24, 36]) => assert_eq!(logits(&with_card.unwrap()), seen[0]),
            _ => assert!(with_card.err().unwrap().to_string().contains("contradicts")),
        }
    }
}

#[test]
fn names_for_another_number_of_classes_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (weights, card) = (folder.path().join("w.safetensors"), folder.path().join("card.toml"));
    let names = |classes: usize, labels: Value| {
        write(&weights, &digits_of(classes));
        write_card(&card, "digits", &labels.to_string(), &[]);
        let model = load(&weights, card.to_str()).unwrap();
        let noted = model.notes.iter().any(|note| note.contains("classes are shown by number"));
        ([0, 1, 2].map(|class| model.class_name(class)), noted)
    };
    let number = [0, 1, 2].map(|class| format!("class {class}"));
    let named = |names: [&str; 3]| names.map(str::to_owned);
    assert_eq!(names(3, json!(["cat", "dog", "cow"])), (named(["cat", "dog", "cow"]), false));
    assert_eq!(names(3, json!("cifar10")), (number.clone(), true));
    // Only for ImageNet is one class more than the names a background class.
    assert_eq!(names(11, json!("cifar10")), (number.clone(), true));
    assert_eq!(names(1001, json!("imagenet1k")), (named(["background", "tench", "goldfish"]), false));
    assert_eq!(names(1000, json!("imagenet1k")).0[0], "tench");
    assert_eq!(names(1000, json!("imagenet1001")), (number, true));

    write(&weights, &digits_of(3));
    let photo = image(folder.path(), (32, 32));
    let line = ["run", text(&weights), text(&photo), "--arch", "digits", "--format", "json"];
    let (code, out, said) = deadweight(&line);
    assert!(code == 0 && said.contains("has 3 classes, card digits names 10"), "{code}: {said}");
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(out["model"]["notes"].as_array().unwrap().len(), 1);
    let (_, out, _) = deadweight(&["measure", text(&weights), text(&photo), "--arch", "digits", "--format", "json"]);
    let out: Value = serde_json::from_str(&out).unwrap();
    assert!(out["notes"][0].as_str().unwrap().contains("has 3 classes"), "{}", out["notes"]);
}
