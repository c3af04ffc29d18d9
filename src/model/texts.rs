//! How a model reads texts: in which parts, with how many tokens at most; and the inputs that are built in.

use std::path::{Path, PathBuf};

use super::Model;
use crate::builtin::{self, Builtin};
use crate::input::{Cut, Dataset, Split, Vocabulary, VocabularySource};
use crate::layers::Layer;
use crate::models::Task;
use crate::{Error, Result};

/// Tokens of a window where the network has no fewer positions.
const CONTEXT: usize = 512;
/// Tokens of a segment of a stream.
const STEPS: usize = 64;

impl Model {
    /// The built-in inputs for it, if any: images, or a text, in segments of 64 tokens for a network that carries a state, else in
    /// windows of [`Model::context`].
    ///
    /// # Errors
    /// None that a released binary can meet.
    pub fn builtin_data(&self) -> Option<Result<Dataset>> {
        let builtin = builtin::find(&self.card.name)?;
        let cut = match self.has_sequences() {
            true => Cut::Streams { streams: 1, steps: STEPS },
            false => Cut::Contexts { length: self.context(), stride: self.context(), field: None },
        };
        Some(builtin.images(&self.preprocess).unwrap_or_else(|| builtin.text(&cut, &self.preprocess)))
    }

    /// The built-in text for it, if any, split as `cut` says.
    ///
    /// # Errors
    /// As [`Dataset::text`].
    pub fn builtin_text(&self, cut: &Cut) -> Option<Result<Dataset>> {
        builtin::find(&self.card.name).map(|builtin| builtin.text(cut, &self.preprocess))
    }

    /// The built-in vocabulary for it, if any.
    ///
    /// # Errors
    /// None that a released binary can meet.
    pub fn builtin_vocabulary(&self) -> Option<Result<Vocabulary>> {
        builtin::find(&self.card.name).map(Builtin::vocabulary)
    }

    /// The vocabulary by which it reads texts: that in `named`, else the one beside or among its weights, or the built-in one.
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is none; [`Error::Shape`] for one of more tokens than the network has; those of reading.
    pub fn open_vocabulary(&self, named: Option<&Path>) -> Result<Vocabulary> {
        if let (None, Some(vocabulary)) = (named, self.builtin_vocabulary()) {
            return vocabulary;
        }
        let named = named.map(|path| VocabularySource::File(path.to_owned()));
        let Some(source) = named.or_else(|| self.vocabulary.clone()) else {
            let detail = format!(
                "is missing: {} reads texts, and neither tokenizer.json, vocab.json nor vocab.txt is beside its weights",
                self.card.name
            );
            return Err(Error::invalid("--vocab", detail));
        };
        let vocabulary = source.open()?;
        let rows = self.embedding_rows().unwrap_or(0);
        if vocabulary.rows() > rows {
            let detail =
                format!("numbers {} tokens, the embedding of {} has {rows}", vocabulary.rows(), self.card.name);
            return Err(Error::shape(source.name(), detail));
        }
        Ok(vocabulary)
    }

    /// How it splits texts where the user does not say: windows or lines as its card states, a stream for a recurrent network of
    /// language, windows of [`Model::context`] for one with attention, else lines.
    pub fn default_cut(&self) -> Cut {
        let mark = |name: &str| self.card.arch.get(name).and_then(|token| token.as_str()).map(str::to_owned);
        let predicts = self.card.task == Task::Language;
        match self.window() {
            Some(length) => Cut::Windows { length, mark: mark("begin").unwrap_or_default() },
            None if self.has_sequences() && predicts => Cut::Streams { streams: 1, steps: STEPS },
            None if self.has_sequences() => Cut::Lines { begin: mark("begin"), end: mark("end") },
            None if predicts => Cut::Contexts { length: self.context(), stride: self.context(), field: None },
            None => Cut::Texts { split: Split::Line, length: self.positions(), field: None, predicts, labels: None },
        }
    }

    /// The text files `paths`, split by default.
    ///
    /// # Errors
    /// As [`Dataset::text`].
    pub fn texts(&self, paths: &[PathBuf]) -> Result<Dataset> {
        Dataset::text(paths, &self.open_vocabulary(None)?, &self.default_cut(), &self.preprocess)
    }

    /// `texts`, each read by itself.
    ///
    /// # Errors
    /// As [`Dataset::text`].
    pub fn of_texts(&self, texts: Vec<String>) -> Result<Dataset> {
        let named = texts.into_iter().enumerate().map(|(index, text)| (format!("text {index}"), text)).collect();
        Dataset::texts(named, &self.open_vocabulary(None)?, &self.default_cut(), &self.preprocess)
    }

    /// Number of tokens from which the next one is predicted, if it reads windows of a text: recurrent networks may. A window of
    /// attention is another.
    pub fn window(&self) -> Option<usize> {
        let recurrent = Some(&self.card).filter(|card| card.family == "rnn");
        let window = recurrent.and_then(|card| card.arch.get("window")?.as_integer());
        window.and_then(|window| usize::try_from(window).ok()).filter(|window| (1..=4096).contains(window))
    }

    /// Tokens that it has positions for, if there is a limit.
    pub fn positions(&self) -> Option<usize> {
        let limit = |layer: &Layer| match layer {
            Layer::Positions(positions) => Some(positions.limit),
            Layer::Rotary(rotary) => Some(rotary.limit),
            _ => None,
        };
        self.graph.nodes.iter().filter_map(|def| limit(&def.layer)).min()
    }

    /// Tokens of a window of a text where nothing else is said: 512, or its positions if they are fewer.
    pub fn context(&self) -> usize {
        self.positions().unwrap_or(CONTEXT).min(CONTEXT)
    }

    /// Number of rows of its embedding, if it reads tokens.
    pub fn embedding_rows(&self) -> Option<usize> {
        self.graph.nodes.iter().find_map(|def| match &def.layer {
            // Others are of positions.
            Layer::Embedding(embedding) if def.inputs[0].index() == 0 => Some(embedding.rows()),
            _ => None,
        })
    }
}
