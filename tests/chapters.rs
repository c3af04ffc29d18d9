//! The built-in transformer: transformers' logits, score and text (`reference/make_chapters.py`), and what its positions bound.

use std::sync::Arc;

use deadweight::engine::{CandleEngine, EngineOptions, Session};
use deadweight::layers::Shape;
use deadweight::model::{LoadOptions, Model};
use serde::Deserialize;
use serde_json::Value;

use crate::binary::{fail, succeed, text};
use crate::naive;

/// Largest difference of a logit, relative to the largest one: f32 sums in another order, four decimals stored.
const CLOSE: f32 = 1e-4;
/// Largest difference of a score, in bits a character.
const SCORE: f64 = 1e-5;

#[derive(Deserialize)]
struct Reference {
    tokens: u64,
    right: u64,
    bits_per_character: f64,
    prompt: String,
    after: String,
    /// By character, then by character that is next.
    logits: Vec<Vec<f32>>,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("reference/chapters.json")).unwrap()
}

fn document(args: &[&str]) -> Value {
    serde_json::from_slice(&succeed(&[args, &["--format", "json"]].concat())).unwrap()
}

#[test]
fn its_logits_are_those_of_transformers_by_every_engine() {
    let Reference { logits, .. } = reference();
    let model = Model::load("chapters", &LoadOptions::default()).unwrap();
    let ids = model.builtin_data().unwrap().unwrap().load(0).unwrap().values;
    assert_eq!((ids.len(), model.positions(), logits.len(), logits[0].len()), (128, Some(128), 16, 63));
    let (steps, ids) = (logits.len(), &ids[..logits.len()]);
    let shape = Shape::new(1, 1, steps);
    let graph = Arc::clone(&model.graph);
    let native = Session::new(graph, shape, 1, EngineOptions::new(2)).unwrap().run(ids, None).unwrap();
    let candle = CandleEngine::new(&model.graph, candle_core::Device::Cpu).unwrap().run(ids, shape, None).unwrap();
    let plain = naive::run(&model.graph, shape, ids);
    let largest = logits.iter().flatten().fold(0.0f32, |most, logit| most.max(logit.abs()));
    for (engine, got) in [("native", native), ("candle", candle), ("plain loops", plain)] {
        let differences = logits
            .iter()
            .enumerate()
            .flat_map(|(step, row)| row.iter().enumerate().map(move |(class, want)| (class * steps + step, want)));
        let apart = differences.map(|(at, want)| (got[at] - want).abs()).fold(0.0, f32::max);
        assert!(apart < CLOSE * largest, "{engine}: {apart} of {largest}");
    }
}

#[test]
fn its_score_and_its_text_are_those_of_transformers() {
    let Reference { tokens, right, bits_per_character, prompt, after, .. } = reference();
    for verb in ["run", "measure"] {
        let document = document(&[verb, "chapters"]);
        let quality = document.get("quality").unwrap_or(&document["data"]["quality"]);
        let apart = (quality["bits_per_character"].as_f64().unwrap() - bits_per_character).abs();
        assert!(apart < SCORE, "{verb}: {apart} bits");
        assert_eq!((&quality["tokens"], &quality["accuracy"]["numerator"]), (&tokens.into(), &right.into()), "{verb}");
    }
    let count = after.chars().count().to_string();
    let said = succeed(&["run", "chapters", "--prompt", &prompt, "--max-tokens", &count]);
    assert_eq!(String::from_utf8(said).unwrap(), format!("{prompt}{after}\n"));
}

#[test]
fn no_more_is_read_and_generated_than_it_has_positions_for() {
    let said = succeed(&["run", "chapters", "--prompt", "And"]);
    assert_eq!(String::from_utf8(said).unwrap().trim_end_matches('\n').chars().count(), 128);
    let long = "a".repeat(128);
    for (args, code, words) in [
        (&["--prompt", "And", "--max-tokens", "126"][..], 2, ["--max-tokens 126", "give at most 125"]),
        (&["--prompt", &long], 4, ["--prompt: has 128 tokens", "128 positions"]),
        (&["--context", "129"], 4, ["has 129 tokens", "give --context 128"]),
    ] {
        let (got, said) = fail(&[&["run", "chapters"], args].concat());
        assert!(got == code && words.iter().all(|word| said.contains(word)), "{args:?}: {got}: {said}");
    }
}

#[test]
fn a_file_with_its_text_is_measured_as_the_built_in_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text.txt");
    std::fs::write(&file, include_str!("../models/demo/verses_text.txt")).unwrap();
    let [built_in, of_file] = [&["measure", "chapters"][..], &["measure", "chapters", text(&file)]].map(document);
    assert_eq!(built_in["model"]["note"], "built-in demo");
    assert_eq!(built_in["data"]["preprocessing"], "windows of 128 of 63 characters");
    assert!(built_in["layers"] == of_file["layers"] && built_in["network"] == of_file["network"]);
}

#[test]
fn a_note_says_which_metrics_the_network_lacks_for_its_products_of_activations() {
    let notes = |args: &[&str]| document(&[&["measure", "chapters"], args].concat())["notes"].clone();
    for (asked, names) in [("planes,attention.dead", "planes"), ("o.zeros", "outputs")] {
        let said = notes(&["--metrics", asked]);
        let note = said.as_array().unwrap().iter().filter_map(Value::as_str).find(|note| note.contains("not counted"));
        let note = note.unwrap_or_else(|| panic!("no note among {said}"));
        assert!(note.contains(&format!(": {names};")) && note.ends_with(" and 7 others"), "{note}");
    }
    // Where all layers have what was asked for, there is nothing to say.
    for others in [
        &["--metrics", "attention.dead"][..],
        &["--metrics", "planes", "--layers", "proj|head"],
        &["--metrics", "o.zeros", "--layers", "pv|proj"],
    ] {
        assert!(!notes(others).to_string().contains("not counted"), "{others:?}");
    }
}
