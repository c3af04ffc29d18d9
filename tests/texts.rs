//! Language models and taggers through the program: scores, generation, wrong vocabularies and texts.

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

/// A temporary folder with a card, random weights for it, a vocabulary of five letters and a text.
struct Workspace(tempfile::TempDir);

impl Workspace {
    fn new(card: &str) -> Self {
        let workspace = Self(tempfile::tempdir().unwrap());
        workspace.write("card.toml", card);
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
        std::fs::write(workspace.path("w.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
        workspace.write("v.json", r#"{"a": 0, "b": 1, "c": 2, " ": 3, "\n": 4}"#);
        workspace.write("t.txt", &"abc cab\nbca ".repeat(20));
        workspace
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

    fn printed(&self, verb: &str, more: &[&str]) -> String {
        let output = self.run(verb, more);
        assert!(output.status.success(), "{more:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn refused(&self, verb: &str, more: &[&str], code: i32, parts: &[&str]) {
        let output = self.run(verb, more);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{more:?}: {said}");
        assert!(parts.iter().all(|word| said.contains(word)), "{more:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn texts_are_scored_measured_and_continued() {
    let workspace = Workspace::new(LANGUAGE);
    let scored = workspace.printed("run", &["t.txt", "--vocab", "v.json"]);
    assert!(scored.contains("perplexity") && scored.contains("bits a character") && scored.contains("of 239 tokens"));
    let json: serde_json::Value =
        serde_json::from_str(&workspace.printed("run", &["t.txt", "--vocab", "v.json", "--format", "json"])).unwrap();
    assert_eq!(json["quality"]["characters"], 239);
    assert_eq!(json["inputs"].as_array().unwrap().len(), 4);
    let measured: serde_json::Value =
        serde_json::from_str(&workspace.printed(
            "measure",
            &["t.txt", "--vocab", "v.json", "--format", "json", "--steps", "100", "--streams", "2"],
        ))
        .unwrap();
    assert_eq!(measured["data"]["preprocessing"], "segments of 100 of 5 characters in 2 streams");
    let names: Vec<&str> =
        measured["layers"].as_array().unwrap().iter().map(|layer| layer["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["rnn.weight_ih_l0", "rnn.weight_hh_l0", "decoder"]);
    assert_eq!(measured["layers"][1]["metrics"]["macs"]["value"], 2 * 119 * 36 * 9);
    assert_eq!(measured["layers"][1]["kind"], "lstm");
    let go_on = |more: &[&str]| {
        workspace.printed("run", &[&["--vocab", "v.json", "--prompt", "ab", "--max-tokens", "30"], more].concat())
    };
    let first = go_on(&["--seed", "1", "--temperature", "1"]);
    assert!(first.starts_with("ab") && first.ends_with('\n') && first.chars().count() == 33, "{first:?}");
    assert_eq!(first, go_on(&["--seed", "1", "--top-p", "1"]));
    assert_ne!(first, go_on(&["--seed", "2", "--top-p", "1"]));
    // Greedy, unless something asks for sampling.
    assert_eq!(go_on(&[]), go_on(&["--top-k", "1", "--seed", "9"]));
    assert_eq!(go_on(&["--temperature", "0"]), go_on(&["--top-p", "1e-9", "--seed", "9"]));
    // Words, and one that is unknown.
    workspace.write("v.txt", "abc\nbca\n<unk>\n<eos>\n");
    let parts = workspace.printed("run", &["t.txt", "--vocab", "v.txt"]);
    assert!(parts.contains("perplexity"), "{parts}");
}

#[test]
fn texts_are_split_into_windows_lines_paragraphs_and_records() {
    let workspace = Workspace::new(LANGUAGE);
    let run = |file: &str, more: &[&str]| -> serde_json::Value {
        let printed = workspace.printed("run", &[&[file, "--vocab", "v.json", "--format", "json"], more].concat());
        serde_json::from_str(&printed).unwrap()
    };
    let of = |file: &str, more: &[&str]| {
        let run = run(file, more);
        (run["inputs"].as_array().unwrap().len(), run["quality"]["tokens"].as_u64().unwrap())
    };
    // 240 characters: windows of 100, 100 and 40 predict all but their first.
    assert_eq!(of("t.txt", &["--split", "window", "--context", "100"]), (3, 99 + 99 + 39));
    assert_eq!(of("t.txt", &["--context", "100", "--stride", "50"]), (4, 239));
    assert_eq!(of("t.txt", &["--context", "240"]), (1, 239));
    workspace.write("lines.txt", "abc\nca\n\nbb\n");
    assert_eq!(of("lines.txt", &["--split", "line"]), (3, 2 + 1 + 1));
    assert_eq!(of("lines.txt", &["--split", "paragraph"]), (2, 5 + 1));
    assert_eq!(of("lines.txt", &["--split", "paragraph", "--context", "4"]), (2, 3 + 1));
    workspace.write("r.jsonl", "{\"text\": \"abc\", \"body\": \"ab\"}\n{\"text\": \"ca\", \"body\": \"bbbb\"}\n");
    assert_eq!(of("r.jsonl", &["--split", "line"]), (2, 2 + 1));
    assert_eq!(of("r.jsonl", &["--split", "window", "--field", "body", "--context", "3"]), (2, 1 + 2));
    // A network without a state carried over is scored alike by one window and by one segment.
    let whole = run("t.txt", &["--steps", "239"]);
    assert_eq!(run("t.txt", &["--context", "240"])["quality"], whole["quality"]);
    let measured =
        workspace.printed("measure", &["r.jsonl", "--vocab", "v.json", "--split", "line", "--format", "json"]);
    let measured: serde_json::Value = serde_json::from_str(&measured).unwrap();
    assert_eq!(measured["data"]["preprocessing"], "lines of 5 characters");
    let refused = |more: &[&str], parts: &[&str]| {
        workspace.refused("run", &[&["t.txt", "--vocab", "v.json"], more].concat(), 2, parts);
    };
    refused(&["--context", "9", "--stride", "10"], &["--stride 10", "windows of 9"]);
    refused(&["--split", "line", "--stride", "10"], &["--stride", "--split window"]);
    workspace.refused("run", &["r.jsonl", "--vocab", "v.json", "--field", "title"], 1, &["r.jsonl: line 1", "title"]);
    let tagger = Workspace::new(TAG);
    tagger.refused("run", &["t.txt", "--vocab", "v.json", "--split", "line"], 2, &["--split", "marks"]);
}

#[test]
fn lines_are_tagged() {
    let workspace = Workspace::new(TAG);
    workspace.write("t.txt", "abc\n\nca\n");
    let printed = workspace.printed("run", &["t.txt", "--vocab", "v.json"]);
    let lines: Vec<usize> = printed.lines().map(|line| line.split(": ").nth(1).unwrap().split(' ').count()).collect();
    assert_eq!(lines, [4, 3], "{printed}");
    assert!(workspace.printed("measure", &["t.txt", "--vocab", "v.json"]).contains("2 inputs\n"));
    workspace.write("t.txt", "abc\n\nca\nc?\n");
    workspace.refused("run", &["t.txt", "--vocab", "v.json"], 1, &["t.txt: line 4", "\"?\""]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let workspace = Workspace::new(LANGUAGE);
    workspace.refused("run", &["t.txt"], 2, &["--vocab", "is missing"]);
    workspace.refused("run", &["--vocab", "v.json"], 2, &["INPUT", "give files of text"]);
    workspace.write("large.json", r#"{"a": 0, "b": 7}"#);
    workspace.refused("measure", &["t.txt", "--vocab", "large.json"], 4, &["large.json", "8 tokens", "has 5"]);
    workspace.write("other.json", r#"{"a": 0, "b": 1}"#);
    workspace.refused("measure", &["t.txt", "--vocab", "other.json"], 1, &["t.txt: line 1", "\"c\"", "<unk>"]);
    workspace.write("broken.json", "{\"a\": -3}");
    workspace.refused("measure", &["t.txt", "--vocab", "broken.json"], 1, &["broken.json", "no vocabulary"]);
    workspace.write("empty.txt", "");
    workspace.refused("measure", &["empty.txt", "--vocab", "v.json"], 1, &["empty.txt", "too short"]);
    workspace.refused("run", &["empty.txt", "--vocab", "v.json"], 1, &["empty.txt", "too short"]);
    std::fs::write(workspace.path("latin.txt"), [0xe9, 0x20]).unwrap();
    workspace.refused("run", &["latin.txt", "--vocab", "v.json"], 1, &["latin.txt", "UTF-8"]);
    workspace.refused("run", &["none.txt", "--vocab", "v.json"], 3, &["none.txt", "not found"]);
    workspace.refused("run", &["--vocab", "v.json", "--prompt", ""], 2, &["--prompt", "at least one"]);
    workspace.refused("run", &["--vocab", "v.json", "--prompt", "xyz"], 1, &["--prompt", "\"x\""]);
    workspace.refused("run", &["t.txt", "--vocab", "v.json", "--temperature", "0.5"], 2, &["--prompt"]);
    workspace.refused("measure", &["t.txt", "--vocab", "v.json", "--backend", "candle"], 4, &["candle", "native"]);
    workspace.refused("run", &["t.txt", "--vocab", "v.json", "--sigma", "5"], 2, &["--sigma", "restore"]);
    let digits = binary::deadweight().args(["run", "digits", "--prompt", "a"]).output().unwrap();
    assert_eq!(digits.status.code(), Some(2), "{}", text(&digits.stderr));
}
