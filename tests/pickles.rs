//! PyTorch checkpoints of every kind, compared bit for bit with what PyTorch reads from them.

use std::path::{Path, PathBuf};

use deadweight::weights::Weights;
use deadweight::{Error, error::exit};
use serde_json::Value;

/// The folder with the checkpoints that `make_pickles.py` made.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/pickles")
}

/// Names and shapes of the checkpoints that can be read: `expected.json`.
fn expected() -> serde_json::Map<String, Value> {
    let text = std::fs::read_to_string(folder().join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// PyTorch's result, as lines `name shape bits`.
fn wanted(all: &serde_json::Map<String, Value>, file: &str) -> Vec<String> {
    match &all[file] {
        Value::String(same) => wanted(all, same),
        Value::Object(tensors) => {
            let mut lines: Vec<String> =
                tensors.iter().map(|(name, tensor)| format!("{name} {} {}", tensor["shape"], tensor["bits"])).collect();
            lines.sort();
            lines
        }
        other => panic!("{file}: {other}"),
    }
}

fn got(weights: &Weights) -> Vec<String> {
    let line = |name: &str| {
        let bits: Vec<u32> = weights.read_f32(name).unwrap().iter().map(|value| value.to_bits()).collect();
        format!("{name} {} {}", Value::from(weights.shape(name).unwrap()), Value::from(bits))
    };
    let mut lines: Vec<String> = weights.names().map(line).collect();
    lines.sort();
    lines
}

#[test]
fn every_checkpoint_reads_as_in_pytorch() {
    let all = expected();
    let mut failures = Vec::new();
    for file in all.keys() {
        match Weights::open(folder().join(file)) {
            Err(error) => failures.push(format!("{file}: {error}")),
            Ok(weights) => {
                let (got, wanted) = (got(&weights), wanted(&all, file));
                if got != wanted {
                    failures.push(format!("{file}:\n  got  {got:?}\n  want {wanted:?}"));
                }
            }
        }
    }
    assert!(all.len() >= 31, "only {} checkpoints", all.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn dtypes_have_the_names_of_safetensors() {
    let weights = Weights::open(folder().join("dtypes-legacy.pt")).unwrap();
    let cases = [("f32", "F32"), ("f64", "F64"), ("f16", "F16"), ("bf16", "BF16"), ("i8", "I8"), ("u8", "U8")];
    for (name, dtype) in cases.into_iter().chain([("i16", "I16"), ("i32", "I32"), ("i64", "I64"), ("bool", "BOOL")]) {
        assert_eq!(weights.dtype(name), Some(dtype), "{name}");
    }
    assert_eq!(weights.dtype("none"), None);
    assert_eq!(weights.read_f32("none").unwrap_err().to_string(), format!("{}: none: missing", weights.source()));
}

#[test]
fn a_call_in_a_pickle_is_not_made() {
    Weights::open(folder().join("dangerous.pt")).unwrap();
    assert!(!Path::new("pickle-executed").exists());
}

#[test]
fn what_is_not_read_says_which_tensor() {
    let complex = Weights::open(folder().join("unsupported-complex.pt")).unwrap();
    assert_eq!(&*complex.read_f32("w").unwrap(), [1.0]);
    let error = complex.read_f32("c").unwrap_err();
    assert_eq!(error.exit_code(), exit::UNSUPPORTED);
    assert!(error.to_string().contains("unsupported-complex.pt: c: dtype ComplexFloatStorage"), "{error}");

    let error = Weights::open(folder().join("unsupported-sparse.pt")).unwrap_err();
    assert_eq!(error.exit_code(), exit::UNSUPPORTED);
    assert!(
        error.to_string().contains(": s: a sparse tensor of torch.sparse_csr, torch.sparse_coo is read"),
        "{error}"
    );

    for (file, words) in [
        ("unsupported-huge.pt", "a sparse [1048576, 1048576] of 1 values is larger than any network needs"),
        ("unsupported-outside.pt", "an index outside [2, 2]"),
    ] {
        let error = Weights::open(folder().join(file)).unwrap_err().to_string();
        assert!(error.contains(&format!(": s: {words}")) && error.contains(file), "{error}");
    }

    let nan = Weights::open(folder().join("nan.pt")).unwrap();
    assert_eq!(nan.read_or_note("a").len(), 1);
    nan.check_read().unwrap();
    assert!(nan.read_or_note("w").is_empty());
    assert_eq!(nan.read_or_note("a").len(), 1);
    let error = nan.check_read().unwrap_err();
    assert_eq!(error.exit_code(), exit::NOT_FINITE);
    assert!(matches!(&error, Error::NotFinite { place, .. } if place.ends_with("nan.pt: w")), "{error}");
    nan.check_read().unwrap();
}

#[test]
fn a_storage_that_is_a_view_of_another() {
    use crate::hostile::build::{legacy, named, tensor};
    let plain = String::from_utf8(named("w", &tensor("2", "0", &["1"], &["1"]))).unwrap();
    // Storage `v` is one element of storage `0`, from its second.
    let pickle = plain.replace("I2\ntQ", "I2\n(S'v'\nI1\nI1\nttQ");
    let mut bytes = legacy(pickle.as_bytes());
    let end = bytes.len();
    bytes[end - 8..].copy_from_slice(&[1_f32.to_le_bytes(), 2_f32.to_le_bytes()].concat());
    let weights = Weights::from_bytes("file", bytes).unwrap();
    assert_eq!(&*weights.read_f32("w").unwrap(), [2.0]);
}
