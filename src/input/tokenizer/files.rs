//! Tokenizers from the files of a Hugging Face directory: `tokenizer.json`, or `vocab.txt` or `vocab.json` with `merges.txt` and
//! `tokenizer_config.json` beside them.

use std::path::Path;

use serde_json::{Value, json};

use super::document::{self, Added, Words};
use crate::{Error, Result};

/// Fields of `tokenizer_config.json` that name special tokens.
const SPECIAL: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
/// The marks of a WordPiece vocabulary: unknown, before a text, after it, padding, masked.
const WORD_PIECE: [&str; 5] = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"];
/// Those of RoBERTa, of a vocabulary in JSON.
const ROBERTA: [&str; 5] = ["<unk>", "<s>", "</s>", "<pad>", "<mask>"];
const END_OF_TEXT: &str = "<|endoftext|>";

/// A file beside the vocabulary, as JSON; null if there is none.
fn beside(vocabulary: &Path, name: &str) -> Result<Value> {
    let path = vocabulary.with_file_name(name);
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Value::Null),
        read => read.map_err(|error| Error::io(&path, error))?,
    };
    let wrong = |error| Error::malformed(path.display().to_string(), format!("no valid JSON: {error}"));
    serde_json::from_slice(&bytes).map_err(wrong)
}

/// The text of a token that a configuration has as itself or as an object.
fn content(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token["content"].as_str())
}

/// The document of the tokenizer whose vocabulary is `text`, read from `path`; `None` if it is a vocabulary of characters or
/// words.
///
/// # Errors
/// [`Error::Unsupported`] for a class of tokenizers that is not known; [`Error::Malformed`] for files that are damaged.
pub(super) fn document(path: &Path, text: &str) -> Result<Option<Value>> {
    let json: Option<Value> = serde_json::from_str(text).ok();
    let config = || beside(path, "tokenizer_config.json");
    match json {
        // It is complete: transformers drops marks that the configuration beside it asks for.
        Some(document) if document["model"].is_object() => Ok(Some(document)),
        Some(Value::Object(vocab)) => {
            let merges = path.with_file_name("merges.txt");
            if !merges.is_file() || !vocab.values().all(Value::is_u64) {
                return Ok(None);
            }
            let bytes = std::fs::read(&merges).map_err(|error| Error::io(&merges, error))?;
            let shown = merges.display().to_string();
            let text = String::from_utf8(bytes).map_err(|_| Error::malformed(&shown, "is not UTF-8 text"))?;
            let pairs = pairs(&shown, &text)?;
            let context = Context::new(path, config()?, vocab.into())?;
            context.byte_level(document::merges(pairs)).map(Some)
        }
        Some(_) => Ok(None),
        None => {
            let tokens: Vec<&str> = text.lines().collect();
            if !WORD_PIECE[..3].iter().all(|mark| tokens.contains(mark)) {
                return Ok(None);
            }
            let numbered = tokens.iter().enumerate().map(|(id, token)| (*token, id as u32));
            Context::new(path, config()?, document::numbered(numbered))?.word_piece().map(Some)
        }
    }
}

/// The pairs in the lines of `merges.txt`.
fn pairs<'a>(file: &str, text: &'a str) -> Result<Vec<(&'a str, &'a str)>> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty() && !line.starts_with("#version"));
    let pair = |(number, line): (usize, &'a str)| {
        let wrong = || Error::malformed(format!("{file}: line {number}"), format!("{line:?} is no pair of tokens"));
        line.split_once(' ').ok_or_else(wrong)
    };
    lines.map(pair).collect()
}

/// A vocabulary with what its configuration says.
struct Context<'a> {
    path: &'a Path,
    config: Value,
    vocab: Value,
    /// Tokens that were added to the vocabulary, by name.
    appended: Value,
    /// `model_type` of the network.
    network: Value,
}

impl<'a> Context<'a> {
    fn new(path: &'a Path, mut config: Value, vocab: Value) -> Result<Self> {
        let map = beside(path, "special_tokens_map.json")?;
        if !config.is_object() {
            config = json!({});
        }
        for field in SPECIAL.into_iter().filter(|field| !map[*field].is_null()) {
            if config[field].is_null() {
                config[field] = map[field].clone();
            }
        }
        let appended = beside(path, "added_tokens.json")?;
        let network = beside(path, "config.json")?["model_type"].take();
        Ok(Self { path, config, vocab, appended, network })
    }

    fn id(&self, token: &str) -> Option<u32> {
        let id = self.vocab[token].as_u64().or_else(|| self.appended[token].as_u64());
        let decoder = || {
            let mut tokens = self.config["added_tokens_decoder"].as_object()?.iter();
            tokens.find(|(_, added)| content(added) == Some(token))?.0.parse().ok()
        };
        id.and_then(|id| u32::try_from(id).ok()).or_else(decoder)
    }

    /// The token of the configuration's field `name`, else `default`, with its number.
    fn mark<'b>(&'b self, name: &str, default: &'b str) -> Result<(&'b str, u32)> {
        let token = content(&self.config[name]).unwrap_or(default);
        let missing = || Error::malformed(self.path.display().to_string(), format!("has no token {token:?} ({name})"));
        Ok((token, self.id(token).ok_or_else(missing)?))
    }

    /// The special tokens: those of the configuration, and of `defaults` those that the vocabulary has.
    fn added(&self, defaults: &[&str]) -> Vec<Added> {
        let special = |name: &&str| {
            let token = &self.config[*name];
            Some(Added { fields: token.clone(), ..Added::new(content(token)?, self.id(content(token)?)?, true) })
        };
        let decoder =
            self.config["added_tokens_decoder"].as_object().into_iter().flatten().filter_map(|(id, token)| {
                Some(Added { fields: token.clone(), ..Added::new(content(token)?, id.parse().ok()?, false) })
            });
        let appended = self.appended.as_object().into_iter().flatten();
        let appended = appended.filter_map(|(token, _)| Some(Added::new(token, self.id(token)?, false)));
        let defaults = defaults.iter().filter_map(|token| Some(Added::new(token, self.id(token)?, true)));
        let listed = self.config["additional_special_tokens"].as_array().into_iter().flatten();
        let listed = listed.filter_map(|token| Some(Added::new(content(token)?, self.id(content(token)?)?, true)));
        decoder.chain(SPECIAL.iter().filter_map(special)).chain(listed).chain(defaults).chain(appended).collect()
    }

    /// The class of tokenizers, without the ending of its fast version.
    fn class(&self) -> Option<&str> {
        let class = self.config["tokenizer_class"].as_str()?;
        Some(class.strip_suffix("Fast").unwrap_or(class))
    }

    fn refused(&self, class: &str, known: &str) -> Error {
        let place = self.path.with_file_name("tokenizer_config.json");
        let hint = format!("known are {known}; any tokenizer is read from a tokenizer.json");
        Error::unsupported(format!("{}: tokenizer_class {class}", place.display()), hint)
    }

    fn word_piece(self) -> Result<Value> {
        if let Some(class) = self.class()
            && ![
                "BertTokenizer",
                "DistilBertTokenizer",
                "ElectraTokenizer",
                "MobileBertTokenizer",
                "PreTrainedTokenizer",
            ]
            .contains(&class)
        {
            return Err(
                self.refused(class, "BertTokenizer, DistilBertTokenizer, ElectraTokenizer, MobileBertTokenizer")
            );
        }
        let (unknown, _) = self.mark("unk_token", WORD_PIECE[0])?;
        let (begin, end) = (self.mark("cls_token", WORD_PIECE[1])?, self.mark("sep_token", WORD_PIECE[2])?);
        let post = document::template(Some(begin), Some(end));
        let added = self.added(&WORD_PIECE);
        Ok(document::word_piece(self.vocab.clone(), unknown, added, &self.config, post))
    }

    fn byte_level(self, merges: Value) -> Result<Value> {
        let class = self.class().unwrap_or(match self.network.as_str() {
            Some("roberta") => "RobertaTokenizer",
            Some("qwen2" | "qwen3") => "Qwen2Tokenizer",
            _ => "GPT2Tokenizer",
        });
        let prefix = self.config["add_prefix_space"].as_bool().unwrap_or(false);
        let (words, post, defaults) = match class {
            "RobertaTokenizer" => {
                let (end, begin) = (self.mark("sep_token", ROBERTA[2])?, self.mark("cls_token", ROBERTA[1])?);
                let post = json!({"type": "RobertaProcessing", "sep": [end.0, end.1], "cls": [begin.0, begin.1],
                    "trim_offsets": true, "add_prefix_space": prefix});
                (Words::Gpt2, post, &ROBERTA[..])
            }
            "GPT2Tokenizer" | "PreTrainedTokenizer" | "Qwen2Tokenizer" => {
                let wants = |flag: &str| self.config[flag].as_bool().unwrap_or(false);
                let mark = |flag: &str, name: &str| wants(flag).then(|| self.mark(name, END_OF_TEXT)).transpose();
                let (begin, end) = (mark("add_bos_token", "bos_token")?, mark("add_eos_token", "eos_token")?);
                let words = if class == "Qwen2Tokenizer" { Words::Qwen2 } else { Words::Gpt2 };
                (words, document::template(begin, end), &[END_OF_TEXT][..])
            }
            class => return Err(self.refused(class, "GPT2Tokenizer, RobertaTokenizer, Qwen2Tokenizer")),
        };
        let added = self.added(defaults);
        Ok(document::byte_level((self.vocab.clone(), merges), added, (words, prefix), post))
    }
}
