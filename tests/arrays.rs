//! Arrays in and out: `run --save-outputs`, inputs that are prepared already, and flags in place of a card's preprocessing.

use std::path::{Path, PathBuf};

use deadweight::input::{Dataset, npy_header};
use deadweight::model::Model;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;

use crate::binary::{self, fail, succeed, text};

/// The tensor `output` of a safetensors file: its extents and values; and the names of the inputs.
fn output(path: &Path) -> (Vec<usize>, Vec<f32>, Vec<String>) {
    let bytes = std::fs::read(path).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let names = serde_json::from_str(&metadata.metadata().as_ref().unwrap()["inputs"]).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor("output").unwrap();
    (view.shape().to_vec(), view.data().as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect(), names)
}

/// What `deadweight run ARGS` saves.
fn outputs(folder: &Path, args: &[&str]) -> (Vec<usize>, Vec<f32>, Vec<String>) {
    let path = folder.join("out.safetensors");
    succeed(&[&["run"], args, &["--save-outputs", text(&path)]].concat());
    output(&path)
}

/// The built-in data of the model `name`, and its inputs' extents `[N, C, H, W]` and values one after the other.
fn builtin(name: &str) -> (Model, [usize; 4], Vec<f32>) {
    let model = Model::load(name, &Default::default()).unwrap();
    let data: Dataset = model.builtin_data().unwrap().unwrap();
    let samples: Vec<_> = (0..data.len()).map(|place| data.load(place).unwrap()).collect();
    let [c, h, w] = samples[0].shape;
    (model, [samples.len(), c, h, w], samples.into_iter().flat_map(|sample| sample.values).collect())
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn npy(path: PathBuf, descr: &str, shape: &[usize], data: &[u8]) -> PathBuf {
    std::fs::write(&path, [&npy_header(descr, shape), data].concat()).unwrap();
    path
}

#[test]
fn outputs_are_saved_for_every_task() {
    let folder = tempfile::tempdir().unwrap();
    let (shape, values, names) = outputs(folder.path(), &["digits", "--batch-size", "5"]);
    assert_eq!((shape.as_slice(), names.len(), names[0].as_str()), (&[32, 10][..], 32, "built-in[0]"));
    let document: Value = serde_json::from_slice(&succeed(&["run", "digits", "--format", "json"])).unwrap();
    for (row, input) in values.chunks(10).zip(document["inputs"].as_array().unwrap()) {
        let best = (0..10).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
        assert_eq!(input["top"][0]["class"], best, "{input}");
    }
    // The other engine's are close, other threads' and batches' the same.
    let again = outputs(folder.path(), &["digits", "--threads", "1", "--batch-size", "1"]);
    assert_eq!(again.1, values);
    let candle = outputs(folder.path(), &["digits", "--backend", "candle"]);
    assert!(candle.1.iter().zip(&values).all(|(a, b)| (a - b).abs() <= 1e-4 * b.abs().max(1.0)));
    let (shape, _, _) = outputs(folder.path(), &["scenes", "--save", text(folder.path())]);
    assert_eq!((shape.len(), shape[0]), (4, 8));
    let (model, [n, c, h, w], _) = builtin("photos");
    let saved = outputs(folder.path(), &["photos", "--save", text(folder.path())]);
    assert_eq!(saved.0, [n, c, h, w], "{}", model.card.name);
    let (shape, _, names) = outputs(folder.path(), &["verses", "--steps", "50"]);
    let tokens: usize = shape[0];
    assert!(shape[1] > 20 && tokens > 2000 && names.len() == tokens, "{shape:?}");
    assert!(names[0].starts_with("tokens 0 to 49, step 0") && names[50].starts_with("tokens 50 to 99, step 0"));
    // Segments of another length: the same rows.
    assert_eq!(outputs(folder.path(), &["verses", "--steps", "7"]).0, shape);
    let error = fail(&["run", "digits", "--save-outputs", "logits.csv"]);
    assert!(error.0 == 2 && error.1.contains("must end in .safetensors or .npz"), "{error:?}");
}

#[test]
fn nothing_is_left_of_a_run_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.png"), "no image").unwrap();
    let out = folder.path().join("out.npz");
    fail(&["run", "digits", text(&folder.path().join("a.png")), "--save-outputs", text(&out)]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    #[cfg(target_os = "linux")]
    {
        // A device that is always full: one error, which names it.
        let full = folder.path().join("full.npz");
        std::os::unix::fs::symlink("/dev/full", &full).unwrap();
        let output = binary::deadweight().args(["run", "digits", "--save-outputs", text(&full)]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && said.contains("full.npz: No space left"), "{said}");
        assert_eq!(said.trim().lines().count(), 1, "{said}");
    }
}

#[test]
fn prepared_inputs_give_the_outputs_of_their_images() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["digits", "scenes", "photos"] {
        let (_, shape, values) = builtin(name);
        let [n, c, h, w] = shape;
        let saving = ["--save", text(folder.path())];
        let saving = if name == "digits" { &[][..] } else { &saving };
        let want = outputs(folder.path(), &[&[name], saving].concat()).1;
        let first = npy(path("first.npy"), "<f4", &shape, &bytes(&values));
        let image = |image: &[f32]| (0..h * w * c).map(|i| image[i % c * h * w + i / c]).collect::<Vec<_>>();
        let turned: Vec<f32> = values.chunks(c * h * w).flat_map(image).collect();
        let last = npy(path("last.npy"), "<f4", &[n, h, w, c], &bytes(&turned));
        let data = bytes(&values);
        let view = TensorView::new(Dtype::F32, shape.to_vec(), &data).unwrap();
        let tensors = path("x.safetensors");
        std::fs::write(&tensors, safetensors::serialize([("images", view)], None).unwrap()).unwrap();
        for (file, more) in [(&first, &[][..]), (&last, &["--layout", "nhwc"]), (&tensors, &[])] {
            let got = outputs(folder.path(), &[&[name, text(file)], saving, more].concat());
            assert!(got.1 == want, "{name}: {}", file.display());
            assert_eq!(got.2[1], format!("{}[1]", file.display()));
        }
        // An archive that the program itself wrote is read back.
        let archive = path("out.npz");
        succeed(&[&["run", name], saving, &["--save-outputs", text(&archive)]].concat());
        if name == "photos" {
            // An image in, an image out: the output of the output.
            let twice = outputs(folder.path(), &[&[name, text(&archive)], saving].concat()).1;
            let once = npy(path("once.npy"), "<f4", &shape, &bytes(&want));
            assert_eq!(outputs(folder.path(), &[&[name, text(&once)], saving].concat()).1, twice);
        }
    }
}

/// Pixels as bytes, as numbers of 0 to 255 and as numbers of another range are the same image; flags that change numbers are
/// recorded.
#[test]
fn pixels_of_arrays_are_pixels_of_images_and_flags_are_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let model = Model::load("digits", &Default::default()).unwrap();
    let (h, w) = model.preprocess.size();
    let c = model.preprocess.channels();
    let pixels: Vec<u8> = (0..2 * c * h * w).map(|i| (i * 37 % 256) as u8).collect();
    let shape = [2, c, h, w];
    let whole: Vec<f32> = pixels.iter().map(|&pixel| pixel.into()).collect();
    let bytes_file = npy(folder.path().join("bytes.npy"), "|u1", &shape, &pixels);
    let numbers = npy(folder.path().join("numbers.npy"), "<f4", &shape, &bytes(&whole));
    let measure = |args: &[&str]| -> Value {
        serde_json::from_slice(&succeed(&[&["measure", "digits"], args, &["--format", "json"]].concat())).unwrap()
    };
    let of_bytes = measure(&[text(&bytes_file)]);
    let of_numbers = measure(&[text(&numbers), "--range", "0..255"]);
    assert_eq!(of_bytes["layers"], of_numbers["layers"]);
    let options = |document: &Value| document["options"].clone();
    assert_eq!((&options(&of_numbers)["range"], options(&of_bytes).get("range")), (&"0..255".into(), None));
    let flags = ["--range", "0..255", "--mean", "3", "--std", "200.5", "--input-size", &format!("{h}x{w}")];
    let stated = measure(&[&[text(&numbers)], &flags[..]].concat());
    let options = options(&stated);
    let recorded = ["range", "mean", "std", "input_size"].map(|name| options[name].as_str().unwrap().to_owned());
    assert_eq!(recorded, ["0..255", "3", "200.5", &format!("{h}x{w}")]);
    assert_ne!(stated["layers"], of_numbers["layers"]);
    // The same of images.
    let of_images = measure(&[&[text(&bytes_file)], &flags[..]].concat());
    assert_eq!(of_images["layers"], stated["layers"]);
    let error = fail(&["measure", "digits", text(&numbers), "--mean", "3"]);
    assert!(error.0 == 2 && error.1.contains("--mean") && error.1.contains("--range"), "{error:?}");
    let error = fail(&["measure", "verses", "--range", "0..1"]);
    assert!(error.0 == 2 && error.1.contains("--range: is of networks that read images"), "{error:?}");
}

#[test]
fn random_inputs_are_said_to_be_random() {
    for name in ["digits", "verses"] {
        let run = |seed: &str| -> Value {
            let args = ["measure", name, "--random-inputs", "3", "--seed", seed, "--format", "json"];
            serde_json::from_slice(&succeed(&args)).unwrap()
        };
        let (first, again, other) = (run("1"), run("1"), run("2"));
        assert_eq!(first, again, "{name}");
        assert_ne!(first["layers"], other["layers"], "{name}");
        assert_eq!(
            (first["data"]["inputs"].as_u64(), first["options"]["random_inputs"].as_str()),
            (Some(3), Some("3"))
        );
        let notes = first["notes"].to_string();
        assert!(notes.contains("the inputs are random numbers"), "{name}: {notes}");
    }
    assert_eq!(fail(&["run", "digits", "x.png", "--random-inputs", "1"]).0, 2);
}

/// Token numbers in rows are streams: a text's own numbers give its own perplexity.
#[test]
fn token_numbers_are_read_as_streams() {
    let folder = tempfile::tempdir().unwrap();
    let model = Model::load("verses", &Default::default()).unwrap();
    let vocabulary = model.builtin_vocabulary().unwrap().unwrap();
    let words = include_str!("../models/demo/verses_text.txt");
    let ids: Vec<i64> = vocabulary.encode("text", words).unwrap().iter().map(|token| token.id.into()).collect();
    let length = ids.len() / 2;
    let data: Vec<u8> = ids[..2 * length].iter().flat_map(|id| id.to_le_bytes()).collect();
    let file = npy(folder.path().join("ids.npy"), "<i8", &[2, length], &data);
    let quality = |args: &[&str]| -> Value {
        let args = [&["run", "verses"], args, &["--format", "json"]].concat();
        let document: Value = serde_json::from_slice(&succeed(&args)).unwrap();
        document["quality"]["perplexity"].clone()
    };
    assert_eq!(quality(&[text(&file)]), quality(&["--streams", "2"]));
    let wrong = npy(folder.path().join("wrong.npy"), "<i8", &[1, 1], &(-1i64).to_le_bytes());
    let error = fail(&["run", "verses", text(&wrong)]);
    assert!(error.0 == 1 && error.1.contains("wrong.npy: holds -1, must hold numbers of 0 to"), "{error:?}");
}
