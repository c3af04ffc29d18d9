//! How a model reads texts: in which parts, with how many tokens at most; and the inputs that are built in.

use super::Model;
use crate::Result;
use crate::builtin::{self, Builtin};
use crate::input::{Cut, Dataset, Vocabulary};
use crate::layers::Layer;

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
