//! Token numbers of a thousand lines, equal to transformers' for every tokenizer among the assets. make_tokens.py stored them.

use deadweight::input::Vocabulary;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::asset;
use crate::tokenizers::{byte_level, byte_levels, reference};

fn lines() -> Vec<String> {
    let mut texts = Vec::new();
    for (name, count) in [("wikitext2-valid.txt", 800), ("shakespeare-10k.txt", 200)] {
        let text = std::fs::read_to_string(asset("data/text").join(name)).unwrap();
        let found = text.split('\n').filter(|line| !line.trim().is_empty());
        texts.extend(found.take(count).map(str::to_owned));
    }
    texts.extend(reference()["own"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()));
    texts
}

fn check(name: &str, vocabulary: &Vocabulary, texts: &[String], wrong: &mut Vec<String>) {
    let want = &reference()["of"][name];
    let (mut total, mut hash) = (0, Sha256::new());
    for text in texts {
        let tokens = vocabulary.encode_whole("t", 1, text, None).unwrap();
        total += tokens.len();
        tokens.iter().for_each(|token| hash.update(token.id.to_le_bytes()));
        hash.update((tokens.len() as u32).to_le_bytes());
    }
    let got = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    if json!(got) != want["sha256"] {
        let first = vocabulary.encode_whole("t", 1, &texts[0], None).unwrap();
        let first: Vec<u32> = first.iter().take(16).map(|token| token.id).collect();
        wrong.push(format!("{name}: {total} tokens, {first:?} first; want {} and {}", want["tokens"], want["first"]));
    }
}

#[test]
fn tokens_are_those_of_transformers() {
    let texts = lines();
    assert_eq!(json!(texts.len()), reference()["lines"]);
    let mut wrong = Vec::new();
    for name in ["all-MiniLM-L6-v2", "glass-llama-en", "rxnmapper-albert", "splade-bert-tiny", "stories260k-llama"] {
        let path = asset("nlp").join(name).join("tokenizer.json");
        check(name, &Vocabulary::open(&path).unwrap(), &texts, &mut wrong);
    }
    for (name, config) in byte_levels() {
        let folder = byte_level(&config);
        check(name, &Vocabulary::open(&folder.path().join("vocab.json")).unwrap(), &texts, &mut wrong);
    }
    let cased = json!({"tokenizer_class": "BertTokenizer", "do_lower_case": false, "tokenize_chinese_chars": false});
    for (name, config) in [("wordpiece", json!({})), ("wordpiece-cased", cased)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vocab.txt");
        std::fs::copy(asset("nlp/all-MiniLM-L6-v2/vocab.txt"), &path).unwrap();
        std::fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
        check(name, &Vocabulary::open(&path).unwrap(), &texts, &mut wrong);
    }
    #[cfg(deadweight_fetched)]
    {
        let name = "SmolLM2-135M-Instruct.Q4_1.gguf";
        let path = std::path::Path::new(env!("DEADWEIGHT_FETCHED_DIR")).join(name);
        let deadweight::weights::ModelFile::Gguf(file) = deadweight::weights::open(&path).unwrap() else {
            panic!("{name} is no GGUF file")
        };
        let stored = deadweight::source::Directory::of_gguf(file).unwrap().vocabulary.unwrap();
        check(name, &stored.open().unwrap(), &texts, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
