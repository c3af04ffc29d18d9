//! Tokens taken as generated one at a time (`measure --decode`): rows of their own that add up to those of the whole, and what a
//! token costs in both phases.

use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;

use crate::binary::{fail, succeed, text};
use crate::hf;

/// Sequences and tokens of each.
const COUNT: usize = 3;
const STEPS: usize = 19;

/// Writes the stored network `name` and some sequences of tokens.
fn written(name: &str, folder: &Path) {
    hf::stored()[name].write(folder, 1);
    let bytes: Vec<u8> =
        (0..(COUNT * STEPS) as i64).flat_map(|i| ((11 * i * i + 3 * i + 5) % 60).to_le_bytes()).collect();
    let view = TensorView::new(Dtype::I64, vec![COUNT, STEPS], &bytes).unwrap();
    safetensors::serialize_to_file([("ids", view)], None, &folder.join("ids.safetensors")).unwrap();
}

/// The document of a measurement with `more` flags.
fn measured(folder: &Path, more: &[&str]) -> Value {
    let ids = folder.join("ids.safetensors");
    let args = [&["measure", text(folder), text(&ids), "--metrics", "attention", "--format", "json"], more].concat();
    serde_json::from_slice(&succeed(&args)).unwrap()
}

/// Numerator and denominator of `metric` of the row `name`, without masked pairs.
fn sums(document: &Value, name: &str, metric: &str) -> [u64; 2] {
    let rows = document["layers"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no row {name}"));
    ["numerator", "denominator"].map(|of| row["metrics"][metric]["without_padding"][of].as_u64().unwrap())
}

#[test]
fn rows_of_both_phases_add_up_to_the_whole() {
    for name in ["llama", "mistral", "gpt2"] {
        let folder = tempfile::tempdir().unwrap();
        written(name, folder.path());
        let whole = measured(folder.path(), &[]);
        assert!(whole["data"].get("phases").is_none());
        let rows = whole["layers"].as_array().unwrap().iter().filter_map(|row| row["name"].as_str());
        let rows: Vec<&str> = rows.filter(|name| name.ends_with(".qk") || name.ends_with(".pv")).collect();
        assert_eq!(rows.len(), 4, "two layers of two products");
        for generated in [1, 5, 40] {
            let apart = measured(folder.path(), &["--decode", &generated.to_string()]);
            for row in &rows {
                for metric in ["macs.effectual", "potential.W+A", "potential.Ae", "potential.We+Ae", "attention.dead"] {
                    let decode = sums(&apart, &format!("{row}.decode"), metric);
                    let prefill = sums(&apart, row, metric);
                    let both: Vec<u64> = prefill.iter().zip(decode).map(|(a, b)| a + b).collect();
                    assert_eq!(both, sums(&whole, row, metric), "{name} {row} {metric}, {generated} generated");
                }
                let generated = generated.min(STEPS - 1);
                let visible = |query: usize| if name == "mistral" { (query + 1).min(4) } else { query + 1 };
                let pairs: usize = (STEPS - generated..STEPS).map(visible).sum();
                // Four heads of eight features.
                let macs = sums(&apart, &format!("{row}.decode"), "macs.effectual")[1];
                assert_eq!(macs as usize, COUNT * 32 * pairs, "{name} {row}");
            }
        }
    }
}

#[test]
fn a_token_costs_what_the_extents_say() {
    let folder = tempfile::tempdir().unwrap();
    written("llama", folder.path());
    let phases = &measured(folder.path(), &["--decode", "4"])["data"]["phases"];
    // Two layers of 32 features, 4 heads and 2 key heads of 8, and as many features between as the config says; 60 tokens, fixed16.
    let config: Value = serde_json::from_slice(&std::fs::read(folder.path().join("config.json")).unwrap()).unwrap();
    let size = |field: &str| config[field].as_u64().unwrap() as usize;
    let (hidden, inner, tokens) = (size("hidden_size"), size("intermediate_size"), size("vocab_size"));
    let of_layer = hidden * 32 + 2 * hidden * 16 + 32 * hidden + 3 * hidden * inner;
    let weights = 2 * of_layer + tokens * hidden;
    let activations = 2 * (3 * hidden + 32 + 2 * hidden + inner) + hidden;
    let cost = |pairs: usize, keys: usize, count: usize, passes: usize| {
        let attention = 2 * 2 * 32 * pairs;
        let bits = [weights * passes, activations * count, 2 * 2 * 16 * keys].map(|words| 16.0 * words as f64);
        let [weights_moved, moved, cache] = bits.map(|bits| bits / count as f64);
        ((weights * count + attention) as f64 / count as f64, weights_moved, moved, cache)
    };
    let first = STEPS - 4;
    let read: usize = (0..first).map(|query| query + 1).sum();
    let generated: usize = (first..STEPS).map(|query| query + 1).sum();
    for (phase, count, want) in
        [("prefill", first, cost(read, first, first, 1)), ("decode", 4, cost(generated, generated, 4, 4))]
    {
        let got = |field: &str| phases[phase][field].as_f64().unwrap();
        assert_eq!(phases[phase]["tokens"], COUNT * count, "{phase}");
        assert_eq!((got("macs"), got("weights"), got("activations"), got("cache")), want, "{phase}");
    }
}

#[test]
fn nothing_depends_on_how_the_run_is_made() {
    let folder = tempfile::tempdir().unwrap();
    written("llama", folder.path());
    let (path, ids) = (text(folder.path()), folder.path().join("ids.safetensors"));
    let file = |name: &str, more: &[&str]| {
        let file = folder.path().join(name);
        let args =
            [&["measure", path, text(&ids), "--decode", "6", "--calibrate", "2", "-o", text(&file)], more].concat();
        succeed(&args);
        file
    };
    let whole = file("whole.dwm", &["--threads", "1", "--batch-size", "1"]);
    let bytes = std::fs::read(&whole).unwrap();
    assert!(bytes == std::fs::read(file("other.dwm", &["--threads", "2", "--batch-size", "3"])).unwrap());
    let from = ["--calibration", text(&whole)];
    let parts =
        ["1/2", "2/2"].map(|part| file(&format!("{}.dwm", &part[..1]), &[&from[..], &["--shard", part]].concat()));
    let merged = folder.path().join("merged.dwm");
    succeed(&["merge", text(&parts[1]), text(&parts[0]), "-o", text(&merged)]);
    assert!(bytes == std::fs::read(&merged).unwrap());
}

#[test]
fn what_cannot_decode_is_told() {
    let folder = tempfile::tempdir().unwrap();
    written("bert", folder.path());
    let ids = folder.path().join("ids.safetensors");
    let (code, said) = fail(&["measure", text(folder.path()), text(&ids), "--decode", "3"]);
    assert!(code == 2 && said.contains("--decode") && said.contains("causal"), "{code}: {said}");
}
