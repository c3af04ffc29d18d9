//! Language models and taggers through the program: scores, continuations, wrong vocabularies and texts.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Output;

use deadweight::graph::Params;
use deadweight::layers::Layer;
use deadweight::models::{self, Card};
use safetensors::tensor::{Dtype, TensorView};

use crate::binary;

const LANGUAGE: &str = r#"name = "letters"
family = "rnn"
task = "language"
description = "a small one"
naming = "pytorch"
input = { steps = 8 }
arch = { vocabulary = 5, embedding = 6, hidden = [9] }
"#;

const TAG: &str = r#"name = "marks"
family = "rnn"
task = "tag"
description = "a small one"
naming = "g2pm"
input = { steps = 8 }
arch = { vocabulary = 5, embedding = 6, hidden = [9], bidirectional = true, tagger = 4, classes = 3, begin = "a" }
"#;

/// A folder with a card, random weights for it, a vocabulary of five letters and a text.
struct Place(tempfile::TempDir);

impl Place {
    fn new(card: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("card.toml", card);
        let (graph, _) = models::build(&Card::parse("card.toml", card).unwrap(), Params::Random(2)).unwrap();
        let mut tensors = HashMap::new();
        for def in &graph.nodes {
            let mut add = |name: String, param: &deadweight::layers::Param| {
                let bytes: Vec<u8> = param.data.iter().flat_map(|v| v.to_le_bytes()).collect();
                tensors.insert(name, (param.shape.clone(), bytes));
            };
            let bias_name = || def.name.replace("weight", "bias");
            match &def.layer {
                Layer::Embedding(embedding) => add(format!("{}.weight", def.name), &embedding.table),
                Layer::Lstm(lstm) => {
                    add(def.name.clone(), &lstm.weight);
                    lstm.bias.iter().for_each(|bias| add(bias_name(), bias));
                }
                Layer::Linear(linear) if def.name.contains("weight_ih") => {
                    add(def.name.clone(), &linear.weight);
                    linear.bias.iter().for_each(|bias| add(bias_name(), bias));
                }
                Layer::Linear(linear) => {
                    add(format!("{}.weight", def.name), &linear.weight);
                    linear.bias.iter().for_each(|bias| add(format!("{}.bias", def.name), bias));
                }
                _ => {}
            }
        }
        let views = tensors
            .iter()
            .map(|(name, (shape, bytes))| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
        std::fs::write(place.path("w.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
        place.write("v.json", r#"{"a": 0, "b": 1, "c": 2, " ": 3, "\n": 4}"#);
        place.write("t.txt", &"abc cab\nbca ".repeat(20));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn run(&self, verb: &str, more: &[&str]) -> Output {
        let mut command = binary::deadweight();
        command.current_dir(self.0.path()).args([verb, "w.safetensors", "--arch", "card.toml"]);
        command.args(more).output().unwrap()
    }

    fn told(&self, verb: &str, more: &[&str]) -> String {
        let output = self.run(verb, more);
        assert!(output.status.success(), "{more:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn refused(&self, verb: &str, more: &[&str], code: i32, words: &[&str]) {
        let output = self.run(verb, more);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{more:?}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{more:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn texts_are_scored_measured_and_gone_on_with() {
    let place = Place::new(LANGUAGE);
    let scored = place.told("run", &["t.txt", "--vocab", "v.json"]);
    assert!(scored.contains("perplexity") && scored.contains("bits a character") && scored.contains("of 239 tokens"));
    let json: serde_json::Value =
        serde_json::from_str(&place.told("run", &["t.txt", "--vocab", "v.json", "--format", "json"])).unwrap();
    assert_eq!(json["quality"]["characters"], 239);
    assert_eq!(json["inputs"].as_array().unwrap().len(), 4);
    let measured: serde_json::Value = serde_json::from_str(
        &place.told("measure", &["t.txt", "--vocab", "v.json", "--format", "json", "--steps", "100", "--streams", "2"]),
    )
    .unwrap();
    assert_eq!(measured["data"]["preprocessing"], "segments of 100 of 5 characters in 2 streams");
    let names: Vec<&str> =
        measured["layers"].as_array().unwrap().iter().map(|layer| layer["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["rnn.weight_ih_l0", "rnn.weight_hh_l0", "decoder"]);
    assert_eq!(measured["layers"][1]["metrics"]["macs"]["value"], 2 * 119 * 36 * 9);
    assert_eq!(measured["layers"][1]["kind"], "lstm");
    let go_on = |more: &[&str]| {
        place.told("run", &[&["--vocab", "v.json", "--prompt", "ab", "--max-tokens", "30"], more].concat())
    };
    let first = go_on(&["--seed", "1"]);
    assert!(first.starts_with("ab") && first.ends_with('\n') && first.chars().count() == 33, "{first:?}");
    assert_eq!(first, go_on(&["--seed", "1"]));
    assert_ne!(first, go_on(&["--seed", "2"]));
    assert_eq!(go_on(&["--temperature", "0"]), go_on(&["--top-k", "1", "--seed", "9"]));
    // Words, and one that is unknown.
    place.write("v.txt", "abc\nbca\n<unk>\n<eos>\n");
    let words = place.told("run", &["t.txt", "--vocab", "v.txt"]);
    assert!(words.contains("perplexity"), "{words}");
}

#[test]
fn lines_are_tagged() {
    let place = Place::new(TAG);
    place.write("t.txt", "abc\n\nca\n");
    let told = place.told("run", &["t.txt", "--vocab", "v.json"]);
    let lines: Vec<usize> = told.lines().map(|line| line.split(": ").nth(1).unwrap().split(' ').count()).collect();
    assert_eq!(lines, [4, 3], "{told}");
    assert!(place.told("measure", &["t.txt", "--vocab", "v.json"]).contains("2 inputs\n"));
    place.write("t.txt", "abc\n\nca\nc?\n");
    place.refused("run", &["t.txt", "--vocab", "v.json"], 1, &["t.txt: line 4", "\"?\""]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let place = Place::new(LANGUAGE);
    place.refused("run", &["t.txt"], 2, &["--vocab", "is missing"]);
    place.refused("run", &["--vocab", "v.json"], 2, &["INPUT", "give files of text"]);
    place.write("large.json", r#"{"a": 0, "b": 7}"#);
    place.refused("measure", &["t.txt", "--vocab", "large.json"], 4, &["large.json", "8 tokens", "has 5"]);
    place.write("other.json", r#"{"a": 0, "b": 1}"#);
    place.refused("measure", &["t.txt", "--vocab", "other.json"], 1, &["t.txt: line 1", "\"c\"", "<unk>"]);
    place.write("broken.json", "{\"a\": -3}");
    place.refused("measure", &["t.txt", "--vocab", "broken.json"], 1, &["broken.json", "no vocabulary"]);
    place.write("empty.txt", "");
    place.refused("measure", &["empty.txt", "--vocab", "v.json"], 1, &["empty.txt", "too short"]);
    place.refused("run", &["empty.txt", "--vocab", "v.json"], 1, &["empty.txt", "too short"]);
    std::fs::write(place.path("latin.txt"), [0xe9, 0x20]).unwrap();
    place.refused("run", &["latin.txt", "--vocab", "v.json"], 1, &["latin.txt", "UTF-8"]);
    place.refused("run", &["none.txt", "--vocab", "v.json"], 3, &["none.txt", "not found"]);
    place.refused("run", &["--vocab", "v.json", "--prompt", ""], 2, &["--prompt", "at least one"]);
    place.refused("run", &["--vocab", "v.json", "--prompt", "xyz"], 1, &["--prompt", "\"x\""]);
    place.refused("run", &["t.txt", "--vocab", "v.json", "--temperature", "0.5"], 2, &["--prompt"]);
    place.refused("measure", &["t.txt", "--vocab", "v.json", "--backend", "candle"], 4, &["candle", "native"]);
    place.refused("run", &["t.txt", "--vocab", "v.json", "--sigma", "5"], 2, &["--sigma", "restore"]);
    let digits = binary::deadweight().args(["run", "digits", "--prompt", "a"]).output().unwrap();
    assert_eq!(digits.status.code(), Some(2), "{}", text(&digits.stderr));
}
