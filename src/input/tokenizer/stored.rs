//! Tokenizers that are stored in a file with their network: the metadata of a GGUF file.
//!
//! `tokenizer.ggml.model` is `llama` (SentencePiece's BPE, whose merges follow from the scores of its tokens), `gpt2`
//! (byte-level BPE, which `tokenizer.ggml.pre` says how to cut into words), or `bert` (WordPiece, whose tokens at the start of a
//! word are marked in place of those within).

use std::collections::HashMap;

use serde_json::{Value, json};

use super::document::{self, Added, Words};
use crate::{Error, Result};

/// Kinds of tokens, as llama.cpp numbers them.
const NORMAL: i64 = 1;
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// How `tokenizer.ggml.pre` cuts a text into words.
const PRE: [(&str, Words); 21] = [
    ("gpt-2", Words::Gpt2),
    ("phi-2", Words::Gpt2),
    ("mpt", Words::Gpt2),
    ("olmo", Words::Gpt2),
    ("roberta-bpe", Words::Gpt2),
    ("jina-es", Words::Gpt2),
    ("jina-de", Words::Gpt2),
    ("jina-v2-code", Words::Gpt2),
    ("exaone", Words::Gpt2),
    ("smollm", Words::Digits),
    ("starcoder", Words::Digits),
    ("refact", Words::Digits),
    ("codeshell", Words::Digits),
    ("command-r", Words::Digits),
    ("llama-bpe", Words::Llama3),
    ("llama3", Words::Llama3),
    ("smaug-bpe", Words::Llama3),
    ("dbrx", Words::Llama3),
    ("qwen2", Words::Qwen2),
    ("deepseek-r1-qwen", Words::Qwen2),
    ("megrez", Words::Qwen2),
];

/// The start of a word: of SentencePiece, and of llama.cpp's WordPiece.
const WORD: char = '\u{2581}';

/// A vocabulary with what its file says about it.
#[derive(Clone, Debug, Default)]
pub struct StoredVocabulary {
    /// The file, as in messages.
    pub file: String,
    /// `llama`, `gpt2` or `bert`.
    pub model: String,
    /// How texts are cut into words, of `gpt2`.
    pub pre: Option<String>,
    /// Tokens, by number.
    pub tokens: Vec<String>,
    /// Kinds of the tokens, as llama.cpp numbers them; empty: all normal.
    pub kinds: Vec<i64>,
    /// Scores of the tokens, of `llama`.
    pub scores: Vec<f64>,
    /// Pairs of tokens that become one, separated by a space, of `gpt2`.
    pub merges: Vec<String>,
    /// Token before a text.
    pub begin: Option<u32>,
    /// Token after a text.
    pub end: Option<u32>,
    /// Token of what no other covers.
    pub unknown: Option<u32>,
    /// Whether texts begin with that token; by default as the model does.
    pub add_begin: Option<bool>,
    /// Whether texts end with that token.
    pub add_end: Option<bool>,
    /// Whether a space is put before a text; by default as the model does.
    pub space_before: Option<bool>,
}

impl StoredVocabulary {
    fn wrong(&self, field: &str, detail: impl Into<String>) -> Error {
        Error::malformed(format!("{}: tokenizer.ggml.{field}", self.file), detail)
    }

    /// The document of its tokenizer.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a model or a way to cut words that is not known; [`Error::Malformed`] for fields that
    /// contradict each other.
    pub(super) fn document(&self) -> Result<Value> {
        if self.tokens.is_empty() {
            return Err(self.wrong("tokens", "is empty"));
        }
        let lists = [("token_type", self.kinds.len()), ("scores", self.scores.len())];
        if let Some((field, length)) = lists.iter().find(|(_, length)| ![0, self.tokens.len()].contains(length)) {
            return Err(self.wrong(field, format!("has {length} values for {} tokens", self.tokens.len())));
        }
        match self.model.as_str() {
            "llama" => self.sentence_piece(),
            "gpt2" => self.byte_level(),
            "bert" => self.word_piece(),
            model => {
                let what = format!("{}: tokenizer.ggml.model {model}", self.file);
                Err(Error::unsupported(what, "read are llama, gpt2, bert; or name a tokenizer.json with --vocab"))
            }
        }
    }

    fn kind(&self, id: usize) -> i64 {
        self.kinds.get(id).copied().unwrap_or(NORMAL)
    }

    fn vocab(&self) -> Result<Value> {
        let numbered =
            document::numbered(self.tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id as u32)));
        match numbered.as_object().is_some_and(|tokens| tokens.len() == self.tokens.len()) {
            true => Ok(numbered),
            false => Err(self.wrong("tokens", "has a token twice")),
        }
    }

    /// Tokens that are matched in a text as they are.
    fn added(&self) -> Vec<Added> {
        let special = |kind: i64| [UNKNOWN, CONTROL].contains(&kind);
        let tokens = self.tokens.iter().enumerate();
        let kinds = tokens.map(|(id, token)| (token, id as u32, self.kind(id)));
        let matched = kinds.filter(|(_, _, kind)| special(*kind) || *kind == USER_DEFINED);
        matched.map(|(token, id, kind)| Added::new(token, id, special(kind))).collect()
    }

    /// The token `id` with its text.
    fn token(&self, field: &str, id: Option<u32>) -> Result<(&str, u32)> {
        let id = id.ok_or_else(|| self.wrong(field, "is missing"))?;
        let token = self.tokens.get(id as usize);
        let token = token.ok_or_else(|| self.wrong(field, format!("is {id} of {} tokens", self.tokens.len())))?;
        Ok((token, id))
    }

    /// The post-processor: marks by default as the model has them, `begins` and `ends`.
    fn marks(&self, begins: bool, ends: bool) -> Result<Value> {
        let mark = |wanted: bool, field: &str, id: Option<u32>| wanted.then(|| self.token(field, id)).transpose();
        let begin = mark(self.add_begin.unwrap_or(begins), "bos_token_id", self.begin)?;
        let end = mark(self.add_end.unwrap_or(ends), "eos_token_id", self.end)?;
        Ok(document::template(begin, end))
    }

    fn sentence_piece(&self) -> Result<Value> {
        let vocab = self.vocab()?;
        if self.scores.is_empty() {
            return Err(self.wrong("scores", "is missing"));
        }
        let merges = self.merges_of_scores();
        let unknown = self.token("unknown_token_id", self.unknown.or(Some(0)))?.0;
        let model = json!({
            "type": "BPE",
            "dropout": null,
            "unk_token": unknown,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": true,
            "byte_fallback": self.tokens.iter().any(|token| token == "<0x00>"),
            "ignore_merges": false,
            "vocab": vocab,
            "merges": document::merges(merges),
        });
        let word = WORD.to_string();
        let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": word});
        let spaced = self.space_before.unwrap_or(true);
        let normalizer = match spaced {
            true => json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": word}, replace]}),
            false => replace,
        };
        let mut decoders = vec![
            json!({"type": "Replace", "pattern": {"String": word}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if spaced {
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let decoder = json!({"type": "Sequence", "decoders": decoders});
        Ok(document::document(self.added(), [normalizer, Value::Null, self.marks(true, false)?, decoder, model]))
    }

    /// Pairs of tokens whose text is a token: that with the highest score first, among equals the one with longer parts.
    fn merges_of_scores(&self) -> Vec<(&str, &str)> {
        let normal = |id: usize| [NORMAL, USER_DEFINED].contains(&self.kind(id));
        let tokens = self.tokens.iter().enumerate().filter(|(id, _)| normal(*id));
        let ids: HashMap<&str, usize> = tokens.clone().map(|(id, token)| (token.as_str(), id)).collect();
        let mut merges: Vec<(f64, [usize; 2], [&str; 2])> = Vec::new();
        for (id, token) in tokens {
            let cuts = token.char_indices().skip(1).map(|(at, _)| token.split_at(at));
            let known = cuts.filter_map(|(left, right)| Some(([*ids.get(left)?, *ids.get(right)?], [left, right])));
            let mut known: Vec<([usize; 2], [&str; 2])> = known.collect();
            known.sort_by_key(|(ids, _)| *ids);
            let length = |text: &str| text.chars().count();
            merges.extend(known.into_iter().map(|(_, pair)| (self.scores[id], pair.map(length), pair)));
        }
        merges.sort_by(|(a, first, _), (b, second, _)| b.total_cmp(a).then(second.cmp(first)));
        merges.into_iter().map(|(_, _, [left, right])| (left, right)).collect()
    }

    fn byte_level(&self) -> Result<Value> {
        let pre = self.pre.as_deref().unwrap_or("gpt-2");
        let Some(&(_, words)) = PRE.iter().find(|(known, _)| *known == pre) else {
            let known: Vec<&str> = PRE.iter().map(|(known, _)| *known).collect();
            let hint = format!("known are {}; or name a tokenizer.json with --vocab", known.join(", "));
            return Err(Error::unsupported(format!("{}: tokenizer.ggml.pre {pre}", self.file), hint));
        };
        let pair = |merge: &'_ String| merge.split_once(' ').map(|(left, right)| (left.to_owned(), right.to_owned()));
        let pairs: Option<Vec<(String, String)>> = self.merges.iter().map(pair).collect();
        let pairs = pairs.filter(|pairs| !pairs.is_empty()).ok_or_else(|| self.wrong("merges", "has no pairs"))?;
        let merges = document::merges(pairs.iter().map(|(left, right)| (left.as_str(), right.as_str())));
        let marks = self.marks(words == Words::Llama3, false)?;
        let space = self.space_before.unwrap_or(false);
        Ok(document::byte_level((self.vocab()?, merges), self.added(), (words, space), marks))
    }

    fn word_piece(&self) -> Result<Value> {
        let is_mark = |token: &str| token.starts_with('[') && token.ends_with(']');
        let piece = |token: &String| match token.strip_prefix(WORD) {
            _ if is_mark(token) => token.clone(),
            Some(start) => start.to_owned(),
            None => format!("##{token}"),
        };
        let plain = Self { tokens: self.tokens.iter().map(piece).collect(), ..self.clone() };
        let named = |mark: &str| plain.tokens.iter().position(|token| token == mark).map(|id| id as u32);
        let marks = Self {
            unknown: plain.unknown.or_else(|| named("[UNK]")),
            begin: plain.begin.or_else(|| named("[CLS]")),
            end: plain.end.or_else(|| named("[SEP]")),
            ..plain.clone()
        };
        let unknown = marks.token("unknown_token_id", marks.unknown)?.0;
        // The file does not say whether texts are to be in lower case; its tokens do.
        let upper = |token: &&String| !is_mark(token) && token.chars().any(char::is_uppercase);
        let config = json!({"do_lower_case": !plain.tokens.iter().any(|token| upper(&token)), "strip_accents": null});
        Ok(document::word_piece(plain.vocab()?, unknown, plain.added(), &config, marks.marks(true, true)?))
    }
}

#[cfg(test)]
#[path = "stored_tests.rs"]
mod tests;
