//! GGUF files against llama.cpp's own package: values of every type, names and order of rows, the configuration, the vocabulary.
//! make_gguf.py made the files and the digests.

use std::path::{Path, PathBuf};

use deadweight::input::{Vocabulary, VocabularySource};
use deadweight::source::Directory;
use deadweight::weights::gguf::Gguf;
use deadweight::weights::{ModelFile, Weights};
use serde_json::Value;
use sha2::{Digest, Sha256};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/gguf").join(name)
}

fn open(path: &Path) -> Gguf {
    match deadweight::weights::open(path).unwrap() {
        ModelFile::Gguf(gguf) => gguf,
        _ => panic!("{} is no GGUF file", path.display()),
    }
}

fn reference(name: &str) -> Value {
    let mut all: Value = serde_json::from_str(include_str!("reference/gguf.json")).unwrap();
    all[name].take()
}

/// The first 16 digits of the digest of the values of `names`.
fn digest<'a>(weights: &Weights, names: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for name in names {
        weights.read_f32(name).unwrap().iter().for_each(|value| hash.update(value.to_le_bytes()));
    }
    hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `name` as stored: without the prefix that all names have.
fn stripped(name: &str) -> &str {
    name.strip_prefix("model.").unwrap_or(name)
}

fn vocabulary(directory: &Directory) -> Vocabulary {
    directory.vocabulary.as_ref().map(VocabularySource::open).unwrap().unwrap()
}

#[test]
fn blocks_of_every_type_have_the_values_of_llama_cpp() {
    let weights = Weights::open(file("blocks.gguf")).unwrap();
    let mut wrong = Vec::new();
    for name in ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"] {
        let (codes, values) = (format!("{name}.codes"), format!("{name}.values"));
        assert_eq!((weights.shape(&codes), weights.dtype(&codes)), (Some(&[2, 256][..]), Some(name)));
        if weights.read_f32(&codes).unwrap() != weights.read_f32(&values).unwrap() {
            wrong.push(name);
        }
        assert_eq!(weights.block_codes(&codes).is_none(), name.contains('F'), "{name}");
    }
    assert!(wrong.is_empty(), "other values: {wrong:?}");
}

#[test]
fn tensors_have_the_names_and_rows_of_the_converted_checkpoint() {
    for name in ["llama", "bert"] {
        let weights = Weights::open(file(&format!("{name}.gguf"))).unwrap();
        let want = reference(name);
        let want = want.as_object().unwrap();
        let mut names: Vec<&str> = want.keys().map(|name| stripped(name)).collect();
        names.sort_unstable();
        assert_eq!(weights.names().collect::<Vec<_>>(), names);
        for (name, want) in want {
            assert_eq!(Some(&*digest(&weights, [stripped(name)])), want.as_str(), "{name}");
        }
    }
}

#[test]
fn metadata_are_the_configuration_of_the_converted_checkpoint() {
    for name in ["llama", "bert"] {
        let directory = Directory::of_gguf(open(&file(&format!("{name}.gguf")))).unwrap();
        let text = std::fs::read_to_string(file(&format!("{name}.json"))).unwrap();
        let want: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(directory.config, Some(want), "{name}");
    }
}

#[test]
fn vocabularies_in_metadata_make_tokens() {
    let ids = |name: &str, text: &str| {
        let directory = Directory::of_gguf(open(&file(name))).unwrap();
        let vocabulary = vocabulary(&directory);
        let tokens = vocabulary.encode_whole("t", 1, text, None).unwrap();
        let names: Vec<u32> = tokens.iter().map(|token| token.id).collect();
        let mut decoder = vocabulary.decoder();
        (names.clone(), names.iter().map(|&id| decoder.push(id)).collect::<String>())
    };
    // <s>, the, a space, c, a, t, byte 0x0a.
    assert_eq!(ids("llama.gguf", "the cat\n"), (vec![1, 292, 259, 262, 260, 279, 13], "<s> the cat\n".into()));
    // [CLS], the, c, a, t, ing.
    assert_eq!(ids("bert.gguf", "The cating").0, [2, 61, 7, 35, 54, 62, 3]);
}

#[cfg(deadweight_fetched)]
mod fetched {
    use super::*;

    const NAME: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

    #[test]
    fn a_public_file_has_the_values_of_llama_cpp_and_the_codes_of_its_blocks() {
        let path = Path::new(env!("DEADWEIGHT_FETCHED_DIR")).join(NAME);
        let directory = Directory::of_gguf(open(&path)).unwrap();
        let weights = &directory.weights;
        let want = reference(NAME);
        for (layer, want) in want["layers"].as_object().unwrap() {
            let layer = stripped(layer);
            let names: Vec<&str> = weights
                .names()
                .filter(|name| *name == layer || name.strip_prefix(layer).is_some_and(|rest| rest.starts_with('.')))
                .collect();
            assert_eq!(Some(&*digest(weights, names)), want.as_str(), "{layer}");
        }
        let (mut counts, mut bits) = ([0_u64; 16], Vec::new());
        for name in weights.names().filter(|name| name.contains("_proj.")) {
            let codes = weights.block_codes(name).unwrap();
            bits.push((codes.bits(), codes.signed()));
            codes.codes().iter().for_each(|&code| counts[code as usize] += 1);
        }
        assert!(bits.len() == 210 && bits.iter().all(|of| *of == (4, false)), "{bits:?}");
        assert_eq!(serde_json::json!(counts), want["q4_1_codes"]);
        let config = directory.config.as_ref().unwrap();
        let want = serde_json::json!({"model_type": "llama", "hidden_size": 576, "num_hidden_layers": 30, "head_dim": 64,
            "num_attention_heads": 9, "num_key_value_heads": 3, "intermediate_size": 1536, "vocab_size": 49152,
            "rope_theta": 1e5, "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "max_position_embeddings": 8192});
        for (field, want) in want.as_object().unwrap() {
            assert_eq!(&config[field], want, "{field}");
        }
        assert_eq!(vocabulary(&directory).rows(), 49152);
    }
}
