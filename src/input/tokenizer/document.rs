//! Parts of a `tokenizer.json`, which the `tokenizers` crate reads: what other files say is written in that form.

use serde_json::{Map, Value, json};

/// Of Llama 3: words with the character before them, up to three digits, runs of marks, white space.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Of Qwen2: the same with single digits.
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// How a byte-level BPE cuts a text into words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Words {
    /// As GPT-2: words, numbers and marks, each with the space before it.
    Gpt2,
    /// The same, with digits on their own.
    Digits,
    /// As Llama 3.
    Llama3,
    /// As Qwen2, after Unicode's composition (NFC).
    Qwen2,
}

/// A special token: its text, how it is matched in a text, its number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Added {
    pub content: String,
    pub id: u32,
    /// Its fields, where a file has them.
    pub fields: Value,
    pub special: bool,
}

impl Added {
    pub fn new(content: &str, id: u32, special: bool) -> Self {
        Self { content: content.to_owned(), id, fields: Value::Null, special }
    }

    fn document(&self) -> Value {
        let flag = |name: &str| self.fields[name].as_bool().unwrap_or(false);
        json!({
            "id": self.id,
            "content": self.content,
            "single_word": flag("single_word"),
            "lstrip": flag("lstrip"),
            "rstrip": flag("rstrip"),
            "normalized": flag("normalized"),
            "special": self.fields["special"].as_bool().unwrap_or(self.special),
        })
    }
}

/// A whole document; `parts` are its normalizer, pre_tokenizer, post_processor, decoder and model.
pub(super) fn document(mut added: Vec<Added>, parts: [Value; 5]) -> Value {
    // The reader numbers them in this order.
    added.sort_by_key(|token| token.id);
    added.dedup_by_key(|token| token.id);
    let added: Vec<Value> = added.iter().map(Added::document).collect();
    let [normalizer, pre_tokenizer, post_processor, decoder, model] = parts;
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": post_processor,
        "decoder": decoder,
        "model": model,
    })
}

/// Tokens with their numbers as an object.
pub(super) fn numbered<'a>(tokens: impl IntoIterator<Item = (&'a str, u32)>) -> Value {
    tokens.into_iter().map(|(token, id)| (token.to_owned(), id.into())).collect::<Map<_, _>>().into()
}

/// Pairs of tokens that become one, the most important first.
pub(super) fn merges<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    pairs.into_iter().map(|(left, right)| json!([left, right])).collect()
}

/// A byte-level BPE of `vocab` and `merges`, after which `post` is processed.
pub(super) fn byte_level(
    (vocab, merges): (Value, Value),
    added: Vec<Added>,
    (words, prefix_space): (Words, bool),
    post: Value,
) -> Value {
    let bytes = |regex: bool| json!({"type": "ByteLevel", "add_prefix_space": prefix_space, "trim_offsets": true, "use_regex": regex});
    let sequence = |first: Value, regex: bool| json!({"type": "Sequence", "pretokenizers": [first, bytes(regex)]});
    let split =
        |regex: &str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
    let pre_tokenizer = match words {
        Words::Gpt2 => bytes(true),
        Words::Digits => sequence(json!({"type": "Digits", "individual_digits": true}), true),
        Words::Llama3 => sequence(split(LLAMA3), false),
        Words::Qwen2 => sequence(split(QWEN2), false),
    };
    let normalizer = if words == Words::Qwen2 { json!({"type": "NFC"}) } else { Value::Null };
    let model = json!({
        "type": "BPE",
        "dropout": null,
        "unk_token": null,
        "continuing_subword_prefix": "",
        "end_of_word_suffix": "",
        "fuse_unk": false,
        "byte_fallback": false,
        // Words that are tokens of Llama 3 stay whole, whatever merges make of them.
        "ignore_merges": words == Words::Llama3,
        "vocab": vocab,
        "merges": merges,
    });
    let decoder = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
    document(added, [normalizer, pre_tokenizer, post, decoder, model])
}

/// A WordPiece of `vocab` with the settings of `tokenizer_config.json`, between `begin` and `end`.
pub(super) fn word_piece(vocab: Value, unknown: &str, added: Vec<Added>, config: &Value, post: Value) -> Value {
    let flag = |name: &str| config[name].as_bool().unwrap_or(true);
    let normalizer = json!({
        "type": "BertNormalizer",
        "clean_text": true,
        "handle_chinese_chars": flag("tokenize_chinese_chars"),
        "strip_accents": config["strip_accents"],
        "lowercase": flag("do_lower_case"),
    });
    let model = json!({
        "type": "WordPiece",
        "unk_token": unknown,
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": vocab,
    });
    let decoder = json!({"type": "WordPiece", "prefix": "##", "cleanup": true});
    document(added, [normalizer, json!({"type": "BertPreTokenizer"}), post, decoder, model])
}

/// The post-processor that puts a text between `begin` and `end`; null for neither.
pub(super) fn template(begin: Option<(&str, u32)>, end: Option<(&str, u32)>) -> Value {
    if begin.is_none() && end.is_none() {
        return Value::Null;
    }
    let special = |token: Option<(&str, u32)>, kind: u32| {
        token.map(|(token, _)| json!({"SpecialToken": {"id": token, "type_id": kind}}))
    };
    let text = |name: &str, kind: u32| Some(json!({"Sequence": {"id": name, "type_id": kind}}));
    let single: Vec<Value> = [special(begin, 0), text("A", 0), special(end, 0)].into_iter().flatten().collect();
    let second = [text("B", 1), special(end, 1)].into_iter().flatten();
    let pair: Vec<Value> = single.iter().cloned().chain(second).collect();
    let tokens: Map<String, Value> = [begin, end]
        .into_iter()
        .flatten()
        .map(|(token, id)| (token.to_owned(), json!({"id": token, "ids": [id], "tokens": [token]})))
        .collect();
    json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens})
}
