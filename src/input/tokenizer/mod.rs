//! Tokenizers of Hugging Face: texts as tokens between the marks that the tokenizer sets, and back.

mod decoder;
mod document;
mod files;
mod stored;

use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value;
use tokenizers::{Encoding, InputSequence, PostProcessor, Tokenizer, TruncationDirection};

pub use self::decoder::Decoder;
pub use self::stored::StoredVocabulary;
use super::vocabulary::Token;
use crate::{Error, Result};

/// A tokenizer, and the file that it was read from.
#[derive(Clone, Debug)]
pub(super) struct Subwords {
    pub tokenizer: Box<Tokenizer>,
    /// The same for words that stand alone, once it was needed.
    words: OnceLock<Box<Tokenizer>>,
    file: String,
}

impl Subwords {
    /// The tokenizer whose vocabulary is `text`, read from `path`, with the files beside it; `None` if it is a vocabulary of
    /// characters or words.
    pub fn of_files(path: &Path, text: &str) -> Result<Option<Self>> {
        let document = files::document(path, text)?;
        document.map(|document| Self::of_document(&path.display().to_string(), document)).transpose()
    }

    /// The tokenizer that is stored with a network.
    pub fn of_stored(stored: &StoredVocabulary) -> Result<Self> {
        Self::of_document(&stored.file, stored.document()?)
    }

    /// The tokenizer of a `tokenizer.json`, called `file` in messages.
    pub fn of_document(file: &str, mut document: Value) -> Result<Self> {
        // These are of training: inputs are as long as they are.
        document["truncation"] = Value::Null;
        document["padding"] = Value::Null;
        let tokenizer = Tokenizer::from_bytes(serde_json::to_vec(&document).unwrap_or_default());
        let tokenizer = tokenizer.map_err(|error| Error::malformed(file, format!("is no vocabulary: {error}")))?;
        Ok(Self { tokenizer: Box::new(tokenizer), words: OnceLock::new(), file: file.to_owned() })
    }

    /// The tokens of `text` from `source`; with its marks and at most `length` tokens, if they are `whole`.
    pub fn encode(&self, source: &str, text: &str, whole: Option<Option<usize>>) -> Result<Vec<Token>> {
        let encoding = match whole {
            None => self.tokenizer.encode(text, false).map_err(|error| self.failed(source, &error))?,
            Some(length) => self.whole(&self.tokenizer, source, text.into(), length)?,
        };
        Ok(tokens(&encoding, text))
    }

    /// The tokens of a text of `words` from `source` with its marks, at most `length`; with each the word that it is the first of.
    pub fn encode_words(
        &self,
        source: &str,
        words: &[String],
        length: Option<usize>,
    ) -> Result<Vec<(Token, Option<usize>)>> {
        let encoding = self.whole(self.of_words()?, source, words.into(), length)?;
        let mut before = None;
        let tokens = encoding.get_ids().iter().zip(encoding.get_word_ids()).map(|(&id, &word)| {
            let begins = word.filter(|_| word != before).map(|word| word as usize);
            before = word.or(before);
            (Token::bare(id), begins)
        });
        Ok(tokens.collect())
    }

    /// The tokenizer of words that stand alone: a byte-level one sets a space before each, as there is within a text (as transformers
    /// demands of such).
    fn of_words(&self) -> Result<&Tokenizer> {
        if let Some(made) = self.words.get() {
            return Ok(made);
        }
        let failed = |error: &dyn std::fmt::Display| Error::malformed(&self.file, format!("is no vocabulary: {error}"));
        let mut document = serde_json::to_value(&*self.tokenizer).map_err(|error| failed(&error))?;
        if document["pre_tokenizer"]["type"] == "ByteLevel" {
            document["pre_tokenizer"]["add_prefix_space"] = true.into();
        }
        let made = Tokenizer::from_bytes(serde_json::to_vec(&document).unwrap_or_default());
        let made = made.map_err(|error| failed(&error))?;
        Ok(self.words.get_or_init(|| Box::new(made)))
    }

    /// `input` by `tokenizer` with its marks, at most `length` tokens.
    fn whole(
        &self,
        tokenizer: &Tokenizer,
        source: &str,
        input: InputSequence<'_>,
        length: Option<usize>,
    ) -> Result<Encoding> {
        let failed = |error: tokenizers::Error| self.failed(source, &error);
        let Some(length) = length else { return tokenizer.encode(input, true).map_err(failed) };
        let marks = tokenizer.get_post_processor().map_or(0, |post| post.added_tokens(false));
        let Some(room) = length.checked_sub(marks).filter(|room| *room > 0) else {
            let detail = format!("is no more than the {marks} marks that {} sets", self.file);
            return Err(Error::invalid(format!("--context {length}"), detail));
        };
        let mut encoding = tokenizer.encode(input, false).map_err(failed)?;
        encoding.truncate(room, 0, TruncationDirection::Right);
        tokenizer.post_process(encoding, None, true).map_err(failed)
    }

    fn failed(&self, source: &str, error: &tokenizers::Error) -> Error {
        Error::malformed(source, format!("by {}: {error}", self.file))
    }
}

/// The tokens of `encoding`, with the characters of `text` that each covers; the separator before a token belongs to it.
fn tokens(encoding: &Encoding, text: &str) -> Vec<Token> {
    let mut end = 0;
    let covered = |(&id, &(_, to)): (&u32, &(usize, usize))| {
        let part = text.get(end..to.max(end)).unwrap_or_default();
        end = to.max(end);
        Token::covering(id, part)
    };
    encoding.get_ids().iter().zip(encoding.get_offsets()).map(covered).collect()
}
