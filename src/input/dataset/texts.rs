//! Data sets of texts and of token numbers.

use std::path::{Path, PathBuf};

use super::Dataset;
use crate::input::arrays;
use crate::input::preprocess::Preprocess;
use crate::input::tokens::{Cut, TokenInputs};
use crate::input::vocabulary::Vocabulary;
use crate::{Error, Result};

impl Dataset {
    /// The text files `paths`, split into inputs as `cut` says.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a path that does not exist, [`Error::Malformed`] for a file that is no text, has a token
    /// outside the vocabulary, or is too short.
    pub fn text(paths: &[PathBuf], vocabulary: &Vocabulary, cut: &Cut, preprocess: &Preprocess) -> Result<Self> {
        Ok(Self { tokens: Some(TokenInputs::open(paths, vocabulary, cut)?), ..Self::empty(preprocess) })
    }

    /// The token numbers in the file of one array `path`, `[N, T]` or `[T]`, below `rows`: N streams, or lines, as `cut` says.
    ///
    /// # Errors
    /// [`Error::Malformed`] for numbers that are no tokens and for other extents; those of reading.
    pub fn ids(path: &Path, rows: usize, cut: &Cut, preprocess: &Preprocess) -> Result<Self> {
        let (name, mut arrays) = (path.display().to_string(), arrays::open(path)?);
        let (Some(array), true) = (arrays.pop(), arrays.is_empty()) else {
            return Err(Error::malformed(name, "must hold one array of token numbers"));
        };
        let (1..=2, Some(&length)) = (array.shape.len(), array.shape.last()) else {
            return Err(Error::malformed(name, format!("is {:?}, token numbers are [N, T] or [T]", array.shape)));
        };
        let ids = array.counts(u32::try_from(rows.max(1) - 1).unwrap_or(u32::MAX))?;
        Ok(Self { tokens: Some(TokenInputs::of_ids(&name, &ids, length, cut)?), ..Self::empty(preprocess) })
    }

    /// `texts`, each with its name, split into inputs as `cut` says.
    ///
    /// # Errors
    /// As [`Dataset::text`].
    pub fn texts(
        texts: Vec<(String, String)>,
        vocabulary: &Vocabulary,
        cut: &Cut,
        preprocess: &Preprocess,
    ) -> Result<Self> {
        Ok(Self { tokens: Some(TokenInputs::new(&texts, vocabulary, cut)?), ..Self::empty(preprocess) })
    }

    /// The text `text`, split into inputs as `cut` says.
    ///
    /// # Errors
    /// As [`Dataset::text`].
    pub fn embedded_text(text: &str, vocabulary: &Vocabulary, cut: &Cut, preprocess: &Preprocess) -> Result<Self> {
        Self::texts(vec![("built-in".to_owned(), text.to_owned())], vocabulary, cut, preprocess)
    }

    /// The longest text: its name and its number of tokens. `None` of other inputs.
    pub fn longest_text(&self) -> Option<(String, usize)> {
        self.tokens.as_ref()?.longest()
    }
}
