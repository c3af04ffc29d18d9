//! Tokenizers from vocabularies in several files against transformers, whose numbers make_tokens.py stored; where they are wrong.

use std::path::Path;

use deadweight::input::Vocabulary;
use serde_json::{Value, json};

pub(crate) fn reference() -> Value {
    serde_json::from_str(include_str!("reference/tokens.json")).unwrap()
}

/// A folder with the vocabulary of byte-level BPE and `config` as its `tokenizer_config.json`.
pub(crate) fn byte_level(config: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/tokens");
    for name in ["vocab.json", "merges.txt"] {
        std::fs::copy(stored.join(name), folder.path().join(name)).unwrap();
    }
    std::fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    folder
}

/// Classes of transformers with what make_tokens.py configured.
pub(crate) fn byte_levels() -> [(&'static str, Value); 4] {
    [
        ("bpe-gpt2", json!({"tokenizer_class": "GPT2Tokenizer"})),
        (
            "bpe-gpt2-bos",
            json!({"tokenizer_class": "GPT2Tokenizer", "add_bos_token": true, "bos_token": "<|endoftext|>"}),
        ),
        ("bpe-roberta", json!({"tokenizer_class": "RobertaTokenizer", "add_prefix_space": true})),
        ("bpe-qwen2", json!({"tokenizer_class": "Qwen2Tokenizer"})),
    ]
}

fn ids(vocabulary: &Vocabulary, text: &str) -> Vec<u32> {
    vocabulary.encode_whole("t", 1, text, None).unwrap().into_iter().map(|token| token.id).collect()
}

#[test]
fn vocabularies_with_merges_give_the_tokens_of_transformers() {
    let reference = reference();
    let texts: Vec<&str> = reference["own"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    for (name, config) in byte_levels() {
        let folder = byte_level(&config);
        let vocabulary = Vocabulary::open(&folder.path().join("vocab.json")).unwrap();
        for (text, want) in texts.iter().zip(reference["of"][name]["own"].as_array().unwrap()) {
            assert_eq!(json!(ids(&vocabulary, text)), *want, "{name}: {text:?}");
        }
    }
}

#[test]
fn texts_are_cut_off_within_their_marks_and_read_back() {
    let folder = byte_level(&json!({"tokenizer_class": "RobertaTokenizer"}));
    let vocabulary = Vocabulary::open(&folder.path().join("vocab.json")).unwrap();
    let text = "The caf\u{e9} was \u{1f600} open.";
    let whole = ids(&vocabulary, text);
    let cut: Vec<u32> = vocabulary.encode_whole("t", 1, text, Some(5)).unwrap().iter().map(|token| token.id).collect();
    assert_eq!((cut.len(), &cut[..4], cut[4]), (5, &whole[..4], 2));
    assert_eq!(vocabulary.encode_whole("t", 1, text, Some(99)).unwrap().len(), whole.len());
    let refused = vocabulary.encode_whole("t", 1, text, Some(2)).unwrap_err();
    assert!(refused.to_string().starts_with("--context 2: is no more than the 2 marks"), "{refused}");
    let mut decoder = vocabulary.decoder();
    let back: String = whole[1..whole.len() - 1].iter().map(|&id| decoder.push(id)).collect();
    assert_eq!(back, text);
}

#[test]
fn a_tokenizer_of_one_file_has_its_own_marks_and_no_truncation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let words = json!({"type": "WordLevel", "vocab": {"<s>": 0, "the": 1, "<unk>": 2}, "unk_token": "<unk>"});
    let truncation = json!({"max_length": 1, "strategy": "LongestFirst", "stride": 0, "direction": "Right"});
    let template = json!({"type": "TemplateProcessing", "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}});
    let config = json!({"add_bos_token": true, "add_eos_token": true, "bos_token": "<s>", "eos_token": "<s>"});
    std::fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    for (post, want) in [(template, vec![0, 1, 1, 2]), (Value::Null, vec![1, 1, 2])] {
        let document = json!({"version": "1.0", "truncation": truncation, "padding": null, "added_tokens": [],
            "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": post, "decoder": null,
            "model": words});
        std::fs::write(&path, document.to_string()).unwrap();
        assert_eq!(ids(&Vocabulary::open(&path).unwrap(), "the the cat"), want);
    }
}

#[test]
fn files_that_make_no_tokenizer_are_named() {
    let error = |config: Value, change: &dyn Fn(&Path)| {
        let folder = byte_level(&config);
        change(folder.path());
        Vocabulary::open(&folder.path().join("vocab.json")).unwrap_err()
    };
    let refused = error(json!({"tokenizer_class": "CLIPTokenizer"}), &|_| {});
    assert!(refused.exit_code() == 4 && refused.to_string().contains("tokenizer_class CLIPTokenizer"), "{refused}");
    let merges = |text: &'static str| move |folder: &Path| std::fs::write(folder.join("merges.txt"), text).unwrap();
    let broken = error(json!({}), &merges("#version: 0.2\na b\nab\n")).to_string();
    assert!(broken.contains("merges.txt: line 3: \"ab\" is no pair of tokens"), "{broken}");
    let beyond = error(json!({}), &merges("a \u{3b1}\n")).to_string();
    assert!(beyond.contains("vocab.json: is no vocabulary"), "{beyond}");
    let config = |folder: &Path| std::fs::write(folder.join("tokenizer_config.json"), "{").unwrap();
    let broken = error(json!({}), &config).to_string();
    assert!(broken.contains("tokenizer_config.json: no valid JSON"), "{broken}");
    let missing = error(json!({"tokenizer_class": "RobertaTokenizer", "cls_token": "[X]"}), &|_| {}).to_string();
    assert!(missing.contains("vocab.json: has no token \"[X]\" (cls_token)"), "{missing}");
}

#[test]
fn words_have_the_tokens_and_places_of_transformers() {
    let reference: Value = serde_json::from_str(include_str!("reference/words.json")).unwrap();
    let texts: Vec<Vec<String>> = serde_json::from_value(reference["texts"].clone()).unwrap();
    let pieces: Vec<String> = serde_json::from_value(reference["pieces"].clone()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("vocab.txt"), pieces.join("\n")).unwrap();
    let mut vocabularies = vec![("wordpiece", Vocabulary::open(&folder.path().join("vocab.txt")).unwrap())];
    for (name, config) in byte_levels().into_iter().filter(|(name, _)| *name != "bpe-gpt2-bos") {
        // Whatever the files say of a space before a text, words have one.
        let config = json!({ "tokenizer_class": config["tokenizer_class"] });
        vocabularies.push((name, Vocabulary::open(&byte_level(&config).path().join("vocab.json")).unwrap()));
    }
    for (name, vocabulary) in vocabularies {
        // Numbers of tokens, and of the words that they begin; -100 for others.
        let read = |words: &[String], length: Option<usize>| {
            let tokens = vocabulary.encode_words("t", 1, words, length).unwrap();
            let ids: Vec<u32> = tokens.iter().map(|(token, _)| token.id).collect();
            let begins = tokens.iter().map(|(_, word)| word.map_or(-100, |word| word as i64));
            json!([ids, begins.collect::<Vec<_>>()])
        };
        let want = &reference["of"][name];
        for (words, want) in texts.iter().zip(want["whole"].as_array().unwrap()) {
            assert_eq!(read(words, None), *want, "{name}: {words:?}");
        }
        assert_eq!(read(&texts[texts.len() - 1], Some(6)), want["six"], "{name}");
    }
}
