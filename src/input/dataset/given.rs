//! Inputs from memory.

use sha2::{Digest, Sha256};

use super::{Dataset, Item};
use crate::input::preprocess::Preprocess;
use crate::input::sample::Sample;
use crate::input::tokens::TokenInputs;
use crate::{Error, Result};

/// An input as the network reads it.
#[derive(Clone, Debug)]
pub struct Given {
    /// `[C, H, W]`.
    pub shape: [usize; 3],
    /// The values.
    pub values: Vec<f32>,
    /// Its class, if it is known.
    pub label: Option<u32>,
}

impl Dataset {
    /// The inputs `given`, of the model whose preprocessing is `preprocess`, which is not applied to them.
    pub fn given(given: Vec<Given>, preprocess: &Preprocess) -> Self {
        let items = (0..given.len()).map(Item::Given).collect();
        Self { items, given, ..Self::empty(preprocess) }
    }

    /// Sequences of token numbers below `rows`, each read by itself; of a network that `predicts` the next token, scored.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty sequence, and for a number that is no token.
    pub fn sequences(sequences: &[Vec<u32>], rows: usize, predicts: bool, preprocess: &Preprocess) -> Result<Self> {
        for (index, sequence) in sequences.iter().enumerate() {
            if sequence.is_empty() {
                return Err(Error::invalid(format!("sequence {index}"), "holds no token"));
            }
            if let Some(id) = sequence.iter().find(|id| **id as usize >= rows) {
                let detail = format!("{id} is no token: they are 0 to {}", rows.saturating_sub(1));
                return Err(Error::invalid(format!("sequence {index}"), detail));
            }
        }
        Ok(Self { tokens: Some(TokenInputs::of_sequences(sequences, predicts)), ..Self::empty(preprocess) })
    }

    /// Whether its inputs are token numbers.
    pub fn is_of_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// Input `index` of those from memory.
    pub(super) fn given_sample(&self, place: usize, index: usize) -> Sample {
        let Given { shape, values, label } = self.given[index].clone();
        let mut hasher = Sha256::new();
        shape.iter().for_each(|extent| hasher.update((*extent as u64).to_le_bytes()));
        values.iter().for_each(|value| hasher.update(value.to_le_bytes()));
        let [_, h, w] = shape;
        let (id, size, digest) = (format!("inputs[{index}]"), [h, w], hasher.finalize().into());
        Sample { place, id, digest, label, values, shape, size, truth: None, turned: false }
    }
}
