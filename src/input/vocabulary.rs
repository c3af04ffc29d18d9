//! Vocabularies: from text to the token ids that a language model reads, and back.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::tokenizer::{Decoder, StoredVocabulary, Subwords};
use crate::{Error, Result};

/// Names of the unknown token, and of the end-of-line token.
const UNKNOWN: [&str; 4] = ["<unk>", "<UNK>", "[UNK]", "xxunk"];
const LINE_END: [&str; 3] = ["<eos>", "</s>", "[EOS]"];

/// A token of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its number.
    pub id: u32,
    /// Characters of the text that it covers, including the separator to the next token.
    pub chars: u32,
    /// The same, in bytes of UTF-8.
    pub bytes: u32,
}

impl Token {
    /// Token `id`, which covers nothing of the text.
    pub fn bare(id: u32) -> Self {
        Self { id, chars: 0, bytes: 0 }
    }

    /// Token `id`, which covers `part` of the text.
    pub fn covering(id: u32, part: &str) -> Self {
        Self { id, chars: part.chars().count() as u32, bytes: part.len() as u32 }
    }

    /// The same, with a separator of one byte behind it.
    fn separated(self) -> Self {
        Self { chars: self.chars + 1, bytes: self.bytes + 1, ..self }
    }

    /// The number of a token that is not to be predicted.
    pub const UNSCORED: u32 = u32::MAX;
}

/// Where the vocabulary of a network is.
#[derive(Clone, Debug)]
pub enum VocabularySource {
    /// In a file of its own.
    File(PathBuf),
    /// In the file of the network.
    Stored(Arc<StoredVocabulary>),
}

impl VocabularySource {
    /// Its file.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stored(stored) => stored.file.clone(),
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// As [`Vocabulary::open`] and [`Vocabulary::stored`].
    pub fn open(&self) -> Result<Vocabulary> {
        match self {
            Self::File(path) => Vocabulary::open(path),
            Self::Stored(stored) => Vocabulary::stored(stored),
        }
    }
}

/// The kind of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Every character.
    Characters,
    /// Separated by white space; if the vocabulary has an end-of-line token, it ends each line.
    Words,
}

/// Tokens and their ids.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    kind: Kind,
    /// The tokenizer, for tokens that are neither characters nor separated by white space.
    tokenizer: Option<Subwords>,
    ids: HashMap<String, u32>,
    names: HashMap<u32, String>,
    unknown: Option<u32>,
    line_end: Option<u32>,
    file: String,
}

impl Vocabulary {
    /// Reads `path`: a `tokenizer.json` of Hugging Face, `vocab.txt` of a WordPiece or `vocab.json` with `merges.txt` of a
    /// byte-level BPE (each with `tokenizer_config.json` and the like beside it), a JSON object from tokens to ids (or the first of its values that is
    /// one), a JSON list of tokens, or a text file with one token per line. If every token of several characters is in
    /// brackets, tokens are characters.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::Malformed`] if it has none of these forms.
    pub fn open(path: &Path) -> Result<Self> {
        let file = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| Error::io(path, source))?;
        let text = String::from_utf8(bytes).map_err(|_| Error::malformed(&file, "is not UTF-8 text"))?;
        match Subwords::of_files(path, &text)? {
            Some(subwords) => Ok(Self::of_subwords(&file, subwords)),
            None => Self::parse(&file, &text),
        }
    }

    /// The vocabulary that is stored with a network.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a kind of tokenizer that is not known; [`Error::Malformed`] if its parts contradict each other.
    pub fn stored(stored: &StoredVocabulary) -> Result<Self> {
        Ok(Self::of_subwords(&stored.file, Subwords::of_stored(stored)?))
    }

    fn of_subwords(file: &str, subwords: Subwords) -> Self {
        let ids: HashMap<String, u32> = subwords.tokenizer.get_vocab(true).into_iter().collect();
        let names = ids.iter().map(|(token, &id)| (id, token.clone())).collect();
        let (tokenizer, file) = (Some(subwords), file.to_owned());
        Self { kind: Kind::Words, tokenizer, unknown: None, line_end: None, ids, names, file }
    }

    /// Parses the vocabulary in `text`; `file` is its name in messages.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is no vocabulary.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let wrong = |detail: &str| Error::malformed(file, format!("is no vocabulary: {detail}"));
        let json = serde_json::from_str::<Value>(text);
        if let Ok(document) = &json
            && document["model"].is_object()
        {
            return Ok(Self::of_subwords(file, Subwords::of_document(file, document.clone())?));
        }
        let tokens: Vec<(String, u32)> = match json {
            Ok(value) => {
                let nested = |value: &Value| {
                    let inner = value.as_object()?.values().find(|inner| numbered(inner).is_some())?;
                    numbered(inner)
                };
                let tokens = numbered(&value).or_else(|| listed(&value)).or_else(|| nested(&value));
                tokens.ok_or_else(|| wrong("its JSON has neither tokens with numbers nor a list of tokens"))?
            }
            Err(_) => text.lines().enumerate().map(|(id, line)| (line.to_owned(), id as u32)).collect(),
        };
        if tokens.is_empty() {
            return Err(wrong("it is empty"));
        }
        let marked = |token: &str| token.len() > 2 && token.starts_with(['<', '[']) && token.ends_with(['>', ']']);
        let characters = tokens.iter().all(|(token, _)| token.chars().count() == 1 || marked(token));
        let kind = if characters { Kind::Characters } else { Kind::Words };
        let (mut ids, mut names) = (HashMap::new(), HashMap::new());
        for (token, id) in tokens {
            names.entry(id).or_insert_with(|| token.clone());
            if ids.insert(token.clone(), id).is_some() {
                return Err(wrong(&format!("it has {token:?} twice")));
            }
        }
        let first = |known: &[&str]| known.iter().find_map(|name| ids.get(*name).copied());
        let (unknown, line_end) = (first(&UNKNOWN), first(&LINE_END));
        Ok(Self { kind, tokenizer: None, unknown, line_end, ids, names, file: file.to_owned() })
    }

    /// The largest id plus one: the number of rows of the embedding.
    pub fn rows(&self) -> usize {
        self.names.keys().max().map_or(0, |&id| id as usize + 1)
    }

    /// The id of `token`.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it does not exist.
    pub fn id(&self, token: &str) -> Result<u32> {
        let missing = || Error::malformed(&self.file, format!("has no token {token:?}"));
        self.ids.get(token).copied().ok_or_else(missing)
    }

    /// The tokens of `text`, from the file `source`.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming the first character or word that is not in a vocabulary without an unknown token.
    pub fn encode(&self, source: &str, text: &str) -> Result<Vec<Token>> {
        self.encode_from(source, 1, text)
    }

    /// The same for `text` that starts at line `first` of `source`.
    ///
    /// # Errors
    /// As [`Vocabulary::encode`].
    pub fn encode_from(&self, source: &str, first: usize, text: &str) -> Result<Vec<Token>> {
        if let Some(subwords) = &self.tokenizer {
            return subwords.encode(source, text, None);
        }
        let id = |token: &str, line: usize| {
            self.ids.get(token).copied().or(self.unknown).ok_or_else(|| {
                let place = format!("{source}: line {}", first + line);
                Error::malformed(place, format!("{token:?} is not in {}, which has no <unk>", self.file))
            })
        };
        if self.kind == Kind::Characters {
            let mut line = 0;
            let mut buffer = [0; 4];
            return text
                .chars()
                .map(|c| {
                    let token = id(c.encode_utf8(&mut buffer), line).map(|id| Token {
                        id,
                        chars: 1,
                        bytes: c.len_utf8() as u32,
                    });
                    line += usize::from(c == '\n');
                    token
                })
                .collect();
        }
        let mut tokens = Vec::new();
        for (number, line) in text.lines().enumerate() {
            for word in line.split_whitespace() {
                tokens.push(Token::covering(id(word, number)?, word).separated());
            }
            if let Some(id) = self.line_end {
                // The separator of the last word is the end of the line.
                let end = Token::bare(id);
                tokens.push(if line.trim().is_empty() { end.separated() } else { end });
            }
        }
        Ok(tokens)
    }

    /// The tokens of a whole text that starts at line `first` of `source`: between the marks that its tokenizer sets, and no more
    /// than `length` of them, the marks included.
    ///
    /// # Errors
    /// As [`Vocabulary::encode`]; [`Error::Invalid`] for a length that only the marks fit.
    pub fn encode_whole(&self, source: &str, first: usize, text: &str, length: Option<usize>) -> Result<Vec<Token>> {
        if let Some(subwords) = &self.tokenizer {
            return subwords.encode(source, text, Some(length));
        }
        let mut tokens = self.encode_from(source, first, text)?;
        tokens.truncate(length.unwrap_or(usize::MAX));
        Ok(tokens)
    }

    /// The same of a text that is given by its words; with each token the word that it is the first of.
    ///
    /// # Errors
    /// As [`Vocabulary::encode_whole`].
    pub fn encode_words(
        &self,
        source: &str,
        first: usize,
        words: &[String],
        length: Option<usize>,
    ) -> Result<Vec<(Token, Option<usize>)>> {
        if let Some(subwords) = &self.tokenizer {
            return subwords.encode_words(source, words, length);
        }
        let mut tokens = Vec::new();
        for (word, text) in words.iter().enumerate() {
            let of_word = self.encode_from(source, first, text)?.into_iter().enumerate();
            tokens.extend(of_word.map(|(i, token)| (token, (i == 0).then_some(word))));
        }
        tokens.truncate(length.unwrap_or(usize::MAX));
        Ok(tokens)
    }

    /// The text that `id` appends; an id without a token is shown as a number.
    pub fn decode(&self, id: u32) -> String {
        if let Some(Subwords { tokenizer, .. }) = &self.tokenizer {
            // A token that is no text by itself is shown by its name.
            let shown = tokenizer.decode(&[id], false).ok().filter(|text| !text.is_empty());
            return shown.map_or_else(|| format!("<{id}>"), |text| format!("{text} "));
        }
        let name = self.names.get(&id).cloned().unwrap_or_else(|| format!("<{id}>"));
        match self.kind {
            Kind::Characters => name,
            Kind::Words if self.line_end == Some(id) => "\n".into(),
            Kind::Words => format!("{name} "),
        }
    }

    /// Turns tokens that follow each other into text.
    pub fn decoder(&self) -> Decoder<'_> {
        Decoder::new(self, self.tokenizer.as_ref())
    }

    /// Description of its tokens.
    pub fn describe(&self) -> String {
        let what = match (&self.tokenizer, self.kind) {
            (Some(_), _) => "tokens",
            (None, Kind::Characters) => "characters",
            (None, Kind::Words) => "words",
        };
        format!("{} {what}", self.ids.len())
    }
}

fn numbered(value: &Value) -> Option<Vec<(String, u32)>> {
    let entry = |(token, id): (&String, &Value)| Some((token.clone(), u32::try_from(id.as_u64()?).ok()?));
    value.as_object()?.iter().map(entry).collect()
}

fn listed(value: &Value) -> Option<Vec<(String, u32)>> {
    let entry = |(id, token): (usize, &Value)| Some((token.as_str()?.to_owned(), id as u32));
    value.as_array()?.iter().enumerate().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(vocabulary: &Vocabulary, text: &str) -> Vec<u32> {
        vocabulary.encode("t.txt", text).unwrap().into_iter().map(|token| token.id).collect()
    }

    #[test]
    fn characters_and_words_are_told_apart() {
        let characters = Vocabulary::parse("v.json", r#"{"a": 1, "b": 0, "\n": 2, "<PAD>": 3}"#).unwrap();
        assert_eq!((ids(&characters, "ab\na"), characters.rows()), (vec![1, 0, 2, 1], 4));
        assert_eq!(characters.decode(0) + &characters.decode(9), "b<9>");
        let words = Vocabulary::parse("v.txt", "the\ncat\n<unk>\n<eos>\n").unwrap();
        assert_eq!(ids(&words, "the  dog\n\ncat"), [0, 2, 3, 3, 1, 3]);
        let chars: u32 = words.encode("t", "the dog\n\ncat\n").unwrap().iter().map(|token| token.chars).sum();
        assert_eq!(chars, 13);
        assert_eq!([3, 1].map(|id| words.decode(id)).concat(), "\ncat ");
        let list = Vocabulary::parse("v.json", r#"["x", "y"]"#).unwrap();
        assert_eq!(ids(&list, "yx"), [1, 0]);
        let nested = Vocabulary::parse("v.json", r#"{"max": 4, "char2idx": {"x": 5}}"#).unwrap();
        assert_eq!((ids(&nested, "x"), nested.rows()), (vec![5], 6));
    }

    #[test]
    fn tokenizers_of_hugging_face_cut_and_number() {
        let json = r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
            "model": {"type": "WordLevel", "vocab": {"the": 0, "cat": 1, "<unk>": 2}, "unk_token": "<unk>"}}"#;
        let vocabulary = Vocabulary::parse("tokenizer.json", json).unwrap();
        let tokens = vocabulary.encode("t", "the  dog\ncat").unwrap();
        assert_eq!(tokens.iter().map(|token| (token.id, token.chars)).collect::<Vec<_>>(), [(0, 3), (2, 5), (1, 4)]);
        assert_eq!(
            (vocabulary.rows(), vocabulary.decode(1), vocabulary.describe()),
            (3, "cat ".into(), "3 tokens".into())
        );
        let broken = Vocabulary::parse("tokenizer.json", r#"{"model": {"type": "Sing"}}"#).unwrap_err();
        assert!(broken.to_string().starts_with("tokenizer.json: is no vocabulary"), "{broken}");
    }

    #[test]
    fn what_is_no_vocabulary_or_in_none_is_an_error_with_its_place() {
        let error = |text: &str| Vocabulary::parse("v.json", text).unwrap_err().to_string();
        assert!(error("").contains("it is empty") && error("{}").contains("empty"), "{}", error(""));
        assert!(error(r#"{"a": -1}"#).contains("neither"), "{}", error(r#"{"a": -1}"#));
        assert!(error("a\nb\na").contains("\"a\" twice"));
        let letters = Vocabulary::parse("v.json", r#"{"a": 0, "\n": 1}"#).unwrap();
        let error = letters.encode("t.txt", "aa\na?").unwrap_err().to_string();
        assert!(error.starts_with("t.txt: line 2: \"?\" is not in v.json"), "{error}");
        let error = letters.encode_from("t.txt", 7, "aa\na?").unwrap_err().to_string();
        assert!(error.starts_with("t.txt: line 8: "), "{error}");
        assert!(letters.id("<s>").unwrap_err().to_string().contains("no token \"<s>\""));
    }
}
