//! Files from users whose inputs once gave a wrong answer without a warning: `cases/wrong` next to the assets.

use std::path::PathBuf;
use std::process::Output;

use serde_json::{Value, json};

use super::asset;
use crate::binary;

fn case(name: &str) -> PathBuf {
    asset("../cases/wrong").join(name)
}

fn run(line: &[&str], folder: &str) -> Output {
    let mut command = binary::deadweight();
    command.current_dir(case(folder)).args(line).output().unwrap()
}

fn json(line: &[&str], folder: &str) -> (Value, String) {
    let output = run(&[line, &["--format", "json"]].concat(), folder);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{line:?}: {said}");
    (serde_json::from_slice(&output.stdout).unwrap(), said)
}

#[test]
fn an_object_is_found_by_one_channel() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let line = ["run", "tiny.onnx", "tiny.png", "--truth", "tinytruth", "--save", out];
    let (run, _) = json(&line, "binary-segmentation");
    assert_eq!(run["quality"]["mean_iou"], 1.0);
    let classes = json!([
        { "class": 0, "name": "background", "pixels": 32, "share": 0.5 },
        { "class": 1, "name": "object", "pixels": 32, "share": 0.5 },
    ]);
    assert_eq!(run["inputs"][0]["classes"], classes);
    let (measured, _) = json(&["measure", "tiny.onnx", "tiny.png", "--truth", "tinytruth"], "binary-segmentation");
    assert_eq!(measured["data"]["quality"]["mean_iou"], 1.0);
}

#[test]
fn parts_of_images_are_errors() {
    let network = "../class-folders/brightness.onnx";
    let entries = std::fs::read_dir(case("truncated-jpeg")).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    let of = |start: &str| names.iter().filter(|name| name.starts_with(start)).cloned().collect::<Vec<_>>();
    let (whole, parts) = (of("whole"), [of("cut"), of("hole")].concat());
    assert_eq!((whole.len(), parts.len()), (5, 11));
    for name in whole {
        assert!(run(&["run", network, &name], "truncated-jpeg").status.success(), "{name}");
    }
    for name in parts {
        let output = run(&["run", network, &name], "truncated-jpeg");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && said.contains(&format!("error: {name}: ")), "{name}: {said}");
        assert!(output.stdout.is_empty(), "{name}");
    }
    let (measured, said) = json(&["measure", network, "photos", "--skip-bad"], "truncated-jpeg");
    assert_eq!((&measured["data"]["inputs"], &measured["data"]["skipped"]), (&json!(1), &json!(1)));
    assert!(said.contains("skipped: photos/cut50.jpg"), "{said}");
}

#[test]
fn photographs_are_whole() {
    for folder in ["data/imagenet-jpeg", "data/photos"] {
        for entry in std::fs::read_dir(asset(folder)).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let pixels = deadweight::input::decode(&path.display().to_string(), &bytes).unwrap();
            let plain = image::load_from_memory(&bytes).unwrap().into_rgb8();
            assert_eq!(pixels.with_channels(3).data, plain.into_raw(), "{}", path.display());
        }
    }
}

/// The quality of `count` answers, all right.
fn all_right(count: u64) -> Value {
    let all = json!({ "value": 1.0, "numerator": count, "denominator": count });
    json!({ "labelled": count, "top1": all, "top5": all })
}

#[test]
fn folders_are_classes_by_their_numbers() {
    for (folder, count) in [("numbers", 12), ("two-digits", 12), ("tsv", 1)] {
        let (run, said) = json(&["run", "brightness.onnx", folder], "class-folders");
        assert_eq!(run["quality"], all_right(count), "{folder}");
        assert_eq!(said.contains("named by the numbers of classes"), count == 12, "{said}");
    }
    // Three of the classes.
    let folder = tempfile::tempdir().unwrap();
    for class in ["2", "5", "7"] {
        std::fs::create_dir(folder.path().join(class)).unwrap();
        let image = case("class-folders/numbers").join(class).join("a.png");
        std::fs::copy(image, folder.path().join(class).join("a.png")).unwrap();
    }
    let (run, _) = json(&["run", "brightness.onnx", folder.path().to_str().unwrap()], "class-folders");
    assert_eq!(run["quality"], all_right(3));
}

#[test]
fn probabilities_in_256ths_are_printed_unchanged() {
    let network = asset("quant/mobilenet_v1_0.25_128_quant.tflite");
    let photo = asset("data/photos/cat_720p.jpg");
    let (run, _) = json(&["run", network.to_str().unwrap(), photo.to_str().unwrap(), "--top", "1001"], ".");
    let top = run["inputs"][0]["top"].as_array().unwrap();
    let shares: Vec<f64> = top.iter().map(|answer| answer["probability"].as_f64().unwrap() * 256.0).collect();
    assert_eq!(shares.len(), 1001);
    assert!(shares.iter().all(|share| share.fract() == 0.0), "{shares:?}");
    assert!(shares.iter().sum::<f64>() < 256.0, "they are not normalised again");
}
