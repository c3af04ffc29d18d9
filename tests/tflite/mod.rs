//! TFLite files: supported ones, and the errors for unsupported ones.

pub mod build;
mod dead;
mod oracle;
mod stated;

use std::path::Path;
use std::process::Output;

use build::{F32, File, I8, I32, Number, Operator, Tensor};
use proptest::prelude::*;

use crate::binary;

fn constant(name: &str, shape: &[i32], values: &[i8], scales: &[f32]) -> Tensor {
    Tensor {
        name: name.into(),
        shape: shape.to_vec(),
        element: I8,
        data: values.iter().map(|&v| v as u8).collect(),
        scales: scales.to_vec(),
        zero_points: vec![0; scales.len()],
        ..Tensor::default()
    }
}

fn value(name: &str, shape: &[i32], scale: f32, zero_point: i64) -> Tensor {
    Tensor {
        name: name.into(),
        shape: shape.to_vec(),
        element: I8,
        data: vec![],
        scales: vec![scale],
        zero_points: vec![zero_point],
        ..Tensor::default()
    }
}

fn integers(name: &str, values: &[i32]) -> Tensor {
    let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Tensor { name: name.into(), shape: vec![values.len() as i32], element: I32, data, ..Tensor::default() }
}

/// A padded 3x3 convolution from [1, 4, 4, 3] to two channels, with a fused ReLU6.
fn small() -> File {
    let weights: Vec<i8> = (0..54).map(|i| (i * 37 % 255 - 127) as i8).collect();
    File {
        tensors: vec![
            value("image", &[1, 4, 4, 3], 1.0 / 255.0, -128),
            constant("conv", &[2, 3, 3, 3], &weights, &[0.01, 0.02]),
            integers("bias", &[100, -100]),
            value("out", &[1, 4, 4, 2], 0.05, -128),
        ],
        operators: vec![Operator {
            code: 3,
            inputs: vec![0, 1, 2],
            outputs: vec![3],
            options: vec![(1, Number::I32(1)), (2, Number::I32(1)), (3, Number::I8(3))],
        }],
        inputs: vec![0],
        outputs: vec![3],
        ..File::default()
    }
}

fn deadweight(folder: &Path, args: &[&str]) -> Output {
    binary::deadweight().args(args).current_dir(folder).output().unwrap()
}

/// Writes the file and a picture next to it, runs, and returns the exit code, the output and the log.
fn run(bytes: &[u8], args: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("net.tflite"), bytes).unwrap();
    let image = image::RgbImage::from_fn(4, 4, |x, y| image::Rgb([x as u8 * 60, y as u8 * 60, 128]));
    image.save(folder.path().join("image.png")).unwrap();
    let output = deadweight(folder.path(), args);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_small_network_is_measured_in_the_codes_it_stores() {
    let (code, out, err) =
        run(&small().bytes(), &["measure", "net.tflite", "image.png", "--statistics", "full", "--format", "json"]);
    assert_eq!(code, Some(0), "{err}");
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["format"]["name"], "stored");
    let layer = &document["layers"][0];
    // Codes are pixels - 128: minus the zero point they are pixels; a stored code is 0 if the pixel is 128.
    let a = &layer["activations"];
    assert_eq!((a["elements"]["value"].as_u64(), a["bits"]["value"].as_f64()), (Some(48), Some(8.0)));
    assert_eq!(a["zeros"]["numerator"], 8, "x = 0 in one channel, y = 0 in another, four each");
    assert_eq!(a["raw.zeros"]["numerator"], 16, "the third channel is 128 everywhere");
    assert_eq!(a["zero_point"]["value"], -128.0);
    assert!((a["max"]["value"].as_f64().unwrap() - 180.0 / 255.0).abs() < 1e-6, "{a}");
    let w = &layer["weights"];
    assert_eq!(w["zeros"]["numerator"], 1);
    assert!(w.get("scale").is_none() && w.get("mean").is_none(), "filters have scales of their own");
    assert_eq!(layer["metrics"]["macs"]["value"], 16 * 54);
    let (_, csv, _) =
        run(&small().bytes(), &["measure", "net.tflite", "image.png", "--statistics", "full", "--format", "csv"]);
    assert!(csv.contains("conv,0,,conv,activations,raw.zeros,,") && csv.contains(",16,48,"), "{csv}");
    let columns = ["measure", "net.tflite", "image.png", "--columns", "a.zeros,a.raw.zeros"];
    let (_, table, _) = run(&small().bytes(), &columns);
    assert!(table.contains("16.7%") && table.contains("33.3%"), "{table}");
    // Other figures are of the dequantised values.
    let args = ["measure", "net.tflite", "image.png", "--format", "json", "--number-format", "fixed16"];
    let (code, out, err) = run(&small().bytes(), &args);
    assert_eq!(code, Some(0), "{err}");
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    let a = &document["layers"][0]["activations"];
    assert_eq!(a["scale"]["value"], 32768.0, "the largest real is 180 / 255");
    assert_eq!((a["zeros"]["numerator"].as_u64(), a.get("raw.zeros")), (Some(8), None));
}

#[test]
fn a_card_of_a_file_needs_its_input_only() {
    let folder = tempfile::tempdir().unwrap();
    let card = "labels = [\"paper\", \"ink\"]\n\n[input]\nchannels = 3\nsize = [4, 4]\nmean = [0.0, 0.0, 0.0]\nstd = [1.0, 1.0, 1.0]\n";
    std::fs::write(folder.path().join("net.tflite"), small().bytes()).unwrap();
    std::fs::write(folder.path().join("mine.toml"), card).unwrap();
    let image = image::RgbImage::from_fn(4, 4, |x, y| image::Rgb([x as u8 * 60, y as u8 * 60, 128]));
    image.save(folder.path().join("image.png")).unwrap();
    let run = |args: &[&str]| {
        let output = deadweight(folder.path(), args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = run(&["run", "net.tflite", "image.png", "--arch", "mine.toml"]);
    assert!(text.contains("paper") || text.contains("ink"), "{text}");
    // The card that the program makes of the file says the same of its inputs.
    let printed = run(&["models", "show", "net.tflite", "--card"]);
    assert!(!printed.contains("family") && printed.contains("[input]"), "{printed}");
    std::fs::write(folder.path().join("printed.toml"), &printed).unwrap();
    let with = |args: &[&str]| {
        run(&[&["measure", "net.tflite", "image.png", "--statistics", "full", "--format", "csv"], args].concat())
    };
    let layers =
        |text: &str| text.lines().filter(|line| line.contains(",conv,")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(layers(&with(&["--arch", "printed.toml"])), layers(&with(&[])));
    assert!(!layers(&with(&[])).is_empty());
    let wrong = deadweight(folder.path(), &["measure", "mine.toml", "image.png"]);
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(wrong.status.code() == Some(3) && said.contains("mine"), "{said}");
}

#[test]
fn what_cannot_be_imported_is_named_in_the_error() {
    let changed = |change: fn(&mut File)| {
        let mut file = small();
        change(&mut file);
        file.bytes()
    };
    let whole = small().bytes();
    let cases: Vec<(Vec<u8>, i32, &str)> = vec![
        (changed(|f| f.operators[0].code = 98), 4, "LEAKY_RELU"),
        (changed(|f| f.operators[0].code = 4096), 4, "operator number 4096"),
        (changed(|f| f.operators[0].code = 32), 4, "custom operator"),
        (changed(|f| f.operators[0].inputs[1] = 9), 1, "CONV_2D reads tensor 9"),
        (changed(|f| f.operators[0].inputs.truncate(1)), 1, "CONV_2D has no input 1"),
        (changed(|f| f.operators[0].options[2].1 = Number::I8(5)), 4, "fused activation number 5"),
        (changed(|f| f.operators[0].options[0].1 = Number::I32(0)), 4, "a step of 0"),
        (changed(|f| f.operators[0].options[0].1 = Number::I32(-3)), 1, "a stride, step or window of -3"),
        (changed(|f| f.tensors[1].scales.truncate(1)), 1, "conv: 1 scales and 2 zero points"),
        (changed(|f| f.tensors[1].shape = vec![2, 3, 3, 2]), 1, "conv: 54 bytes"),
        (changed(|f| f.tensors[1].shape = vec![3, 2, 3, 3]), 1, "conv: 3 filters, 2 scales and 2 biases"),
        (changed(|f| f.tensors[0].shape = vec![1, 4, 4, 4]), 1, "conv: filters [2, 3, 3, 3] over [4, 4, 4]"),
        (changed(|f| f.tensors[0].shape = vec![4, 12]), 1, "image: an input of shape [4, 12]"),
        (changed(|f| f.tensors[0].shape = vec![1, 4, -4, 3]), 1, "image: its shape is [1, 4, -4, 3]"),
        (changed(|f| f.tensors[0].element = 17), 4, "image: type number 17"),
        (changed(|f| f.tensors[0].zero_points = vec![300]), 1, "zero point 300"),
        (changed(|f| f.tensors[3].scales = vec![f32::NAN]), 1, "out: 1 scales"),
        (changed(|f| f.outputs = vec![]), 4, "0 outputs"),
        (changed(|f| f.outputs = vec![2]), 1, "bias: is read, and no operator before made it"),
        (changed(|f| f.tensors[1].element = F32), 1, "conv: 54 bytes, its shape [2, 3, 3, 3] needs 216"),
        (whole[..whole.len() / 2].to_vec(), 1, "truncated or damaged"),
        (whole[..8].to_vec(), 1, "truncated or damaged"),
    ];
    for (bytes, want, words) in cases {
        let (code, _, err) = run(&bytes, &["measure", "net.tflite", "image.png"]);
        assert!(code == Some(want) && err.contains(words) && err.contains("net.tflite"), "{words}: {code:?} {err}");
    }
    let (code, _, err) = run(&whole, &["run", "net.tflite", "image.png", "--backend", "candle"]);
    assert!(code == Some(4) && err.contains("8-bit integers by the candle engine"), "{code:?} {err}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn damage_is_an_error_and_no_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(), cuts in any::<bool>()) {
        let mut bytes = small().bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.tflite");
        std::fs::write(&path, &bytes).unwrap();
        // A damaged file may still be a network, possibly a large one; anything else is an error.
        let _ = deadweight::model::Model::load(path.to_str().unwrap(), &Default::default());
    }
}
