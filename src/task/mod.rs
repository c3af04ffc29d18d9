//! What an output means, and how good it is.

use serde::{Deserialize, Serialize};

pub mod answer;
pub mod classify;
pub mod language;
pub mod restore;
pub mod segment;

use classify::Accuracy;
use language::Likelihood;
use restore::Fidelity;
use segment::Areas;

/// How good the answers to some inputs were, by what was asked. Parts add in any order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Quality {
    /// Of classes of images.
    Classify(Accuracy),
    /// Of classes of pixels.
    Segment(Areas),
    /// Of images.
    Restore(Fidelity),
    /// Of the next tokens of texts.
    Language(Likelihood),
    /// Of what has no truths.
    None,
}

impl Quality {
    /// Adds the answers of another part of the data.
    ///
    /// # Panics
    /// If the two are of different tasks.
    pub fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Classify(sum), Self::Classify(other)) => sum.merge(other),
            (Self::Segment(sum), Self::Segment(other)) => sum.merge(other),
            (Self::Restore(sum), Self::Restore(other)) => sum.merge(other),
            (Self::Language(sum), Self::Language(other)) => sum.merge(other),
            (Self::None, Self::None) => {}
            _ => panic!("qualities of one task"),
        }
    }
}
