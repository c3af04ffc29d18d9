//! From tokens that follow each other to text.

use tokenizers::step_decode_stream;

use super::Subwords;
use crate::input::vocabulary::Vocabulary;

/// Turns tokens that follow each other into text.
pub struct Decoder<'a> {
    vocabulary: &'a Vocabulary,
    /// A tokenizer whose tokens depend on those before them: they may be parts of a character, and the space before the first
    /// word stands for nothing.
    subwords: Option<&'a Subwords>,
    /// What the next step needs of the tokens so far, and the text that was returned of it.
    ids: Vec<u32>,
    prefix: String,
    prefix_end: usize,
}

impl<'a> Decoder<'a> {
    pub(in crate::input) fn new(vocabulary: &'a Vocabulary, subwords: Option<&'a Subwords>) -> Self {
        let subwords = subwords.filter(|subwords| subwords.tokenizer.get_decoder().is_some());
        Self { vocabulary, subwords, ids: Vec::new(), prefix: String::new(), prefix_end: 0 }
    }

    /// The text that `id` appends to that of the tokens before it; empty while a character is not complete.
    pub fn push(&mut self, id: u32) -> String {
        let Some(subwords) = self.subwords else { return self.vocabulary.decode(id) };
        let Self { ids, prefix, prefix_end, .. } = self;
        let text = step_decode_stream(&subwords.tokenizer, vec![id], false, ids, prefix, prefix_end);
        text.ok().flatten().unwrap_or_default()
    }
}
