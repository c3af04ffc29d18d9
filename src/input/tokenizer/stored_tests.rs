//! Vocabularies of GGUF files.

use super::super::Subwords;
use super::*;

fn stored(model: &str, tokens: &[&str]) -> StoredVocabulary {
    let tokens = tokens.iter().map(|token| (*token).to_owned()).collect();
    StoredVocabulary { file: "x.gguf".into(), model: model.into(), tokens, ..StoredVocabulary::default() }
}

fn ids(stored: &StoredVocabulary, text: &str) -> Vec<u32> {
    let subwords = Subwords::of_stored(stored).unwrap_or_else(|error| panic!("{error}"));
    subwords.encode("t", text, Some(None)).unwrap().into_iter().map(|token| token.id).collect()
}

#[test]
fn sentence_piece_merges_by_score_and_falls_back_to_bytes() {
    let mut vocabulary = stored(
        "llama",
        &["<unk>", "<s>", "</s>", "<0x00>", "<0xC3>", "<0xA9>", "\u{2581}", "a", "b", "ab", "\u{2581}a", "bb"],
    );
    vocabulary.kinds = vec![2, 3, 3, 6, 6, 6, 1, 1, 1, 1, 1, 1];
    vocabulary.scores = vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -9.0, -9.0, -9.0, -1.0, -2.0, -1.0];
    (vocabulary.begin, vocabulary.end, vocabulary.unknown) = (Some(1), Some(2), Some(0));
    // ab is the best pair; then the space is left alone.
    assert_eq!(ids(&vocabulary, "ab"), [1, 6, 9]);
    // Of equal scores the first in the vocabulary wins: ab before bb.
    assert_eq!(ids(&vocabulary, "abb"), [1, 6, 9, 8]);
    assert_eq!(ids(&vocabulary, "\u{e9} a"), [1, 6, 4, 5, 10]);
    assert_eq!(ids(&vocabulary, "a</s>"), [1, 10, 2]);
    vocabulary.space_before = Some(false);
    (vocabulary.add_begin, vocabulary.add_end) = (Some(false), Some(true));
    assert_eq!(ids(&vocabulary, "ab"), [9, 2]);
}

#[test]
fn word_pieces_are_marked_at_the_start_of_words() {
    let tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "\u{2581}play", "ing", "\u{2581}!"];
    let mut vocabulary = stored("bert", &tokens);
    assert_eq!(ids(&vocabulary, "Playing playing!ing"), [2, 4, 5, 4, 5, 6, 1, 3]);
    vocabulary.tokens.push("\u{2581}Play".into());
    assert_eq!(ids(&vocabulary, "Playing play"), [2, 7, 5, 4, 3]);
}

#[test]
fn bytes_are_cut_into_words_as_pre_says() {
    let mut vocabulary = stored("gpt2", &["1", "2", "a", "\u{120}", "12", "\u{120}a", "<|x|>"]);
    vocabulary.merges = vec!["1 2".into(), "\u{120} a".into()];
    vocabulary.kinds = vec![1, 1, 1, 1, 1, 1, 3];
    vocabulary.begin = Some(6);
    assert_eq!(ids(&vocabulary, "12 a<|x|>a"), [4, 5, 6, 2]);
    vocabulary.pre = Some("smollm".into());
    assert_eq!(ids(&vocabulary, "12 a"), [0, 1, 5]);
    vocabulary.pre = Some("llama-bpe".into());
    assert_eq!(ids(&vocabulary, "12 a"), [6, 4, 5]);
    vocabulary.add_begin = Some(false);
    assert_eq!(ids(&vocabulary, "12 a"), [4, 5]);
}

#[test]
fn vocabularies_that_contradict_themselves_are_named() {
    let error = |stored: &StoredVocabulary| stored.document().unwrap_err();
    let cases = [
        (stored("llama", &[]), "x.gguf: tokenizer.ggml.tokens: is empty"),
        (stored("llama", &["a"]), "x.gguf: tokenizer.ggml.scores: is missing"),
        (stored("gpt2", &["a"]), "x.gguf: tokenizer.ggml.merges: has no pairs"),
        (stored("gpt2", &["a", "a"]), "x.gguf: tokenizer.ggml.merges: has no pairs"),
        (
            StoredVocabulary { scores: vec![1.0, 2.0], ..stored("llama", &["a"]) },
            "x.gguf: tokenizer.ggml.scores: has 2 values for 1 tokens",
        ),
        (stored("bert", &["a"]), "x.gguf: tokenizer.ggml.unknown_token_id: is missing"),
        (
            StoredVocabulary { scores: vec![1.0; 2], unknown: Some(7), ..stored("llama", &["a", "b"]) },
            "x.gguf: tokenizer.ggml.unknown_token_id: is 7 of 2 tokens",
        ),
        (
            StoredVocabulary { scores: vec![1.0; 2], ..stored("llama", &["a", "a"]) },
            "x.gguf: tokenizer.ggml.tokens: has a token twice",
        ),
    ];
    for (vocabulary, want) in cases {
        assert_eq!(error(&vocabulary).to_string(), want);
    }
    let refused = error(&stored("t5", &["a"]));
    assert_eq!(
        (refused.exit_code(), refused.to_string()),
        (4, "x.gguf: tokenizer.ggml.model t5 is not supported".into())
    );
    let refused = error(&StoredVocabulary { pre: Some("odd".into()), ..stored("gpt2", &["a"]) });
    assert!(refused.exit_code() == 4 && refused.to_string().contains("tokenizer.ggml.pre odd"), "{refused}");
}
