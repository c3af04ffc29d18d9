//! What an output means, and its quality.

use serde::{Deserialize, Serialize};

pub mod answer;
pub mod classify;
pub mod embed;
pub mod labels;
pub mod language;
pub mod restore;
pub mod segment;

use classify::Accuracy;
use embed::Nearness;
use labels::Labelling;
use language::Likelihood;
use restore::Fidelity;
use segment::Areas;

/// Quality of the outputs for some inputs, by task. Parts add in any order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Quality {
    /// Classification of images.
    Classify(Accuracy),
    /// Classification of pixels.
    Segment(Areas),
    /// Restoration of images.
    Restore(Fidelity),
    /// Prediction of the next token.
    Language(Likelihood),
    /// Classification of texts, or of their words.
    Label(Labelling),
    /// Embedding.
    Embed(Nearness),
    /// Without truths.
    None,
}

impl Quality {
    /// Adds another part of the data.
    ///
    /// # Panics
    /// If the two are of different tasks.
    pub fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Classify(sum), Self::Classify(other)) => sum.merge(other),
            (Self::Segment(sum), Self::Segment(other)) => sum.merge(other),
            (Self::Restore(sum), Self::Restore(other)) => sum.merge(other),
            (Self::Language(sum), Self::Language(other)) => sum.merge(other),
            (Self::Label(sum), Self::Label(other)) => sum.merge(other),
            (Self::Embed(sum), Self::Embed(other)) => sum.merge(other),
            (Self::None, Self::None) => {}
            _ => panic!("qualities of one task"),
        }
    }
}
