//! What a measurement gives, and how its parts merge.

use crate::input::InputDigest;
use crate::tally::LayerTally;
use crate::task::Quality;

/// Counts of all layers over some inputs. Measurements of one calibration merge in any order and split.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// One tally a layer of the calibration.
    pub layers: Vec<LayerTally>,
    /// Inputs counted.
    pub inputs: u64,
    /// Inputs left out because they could not be decoded.
    pub skipped: u64,
    /// Digest of the inputs.
    pub digest: InputDigest,
    /// How good the answers were.
    pub quality: Quality,
    /// How the inputs were made, in words.
    pub preprocessing: String,
    /// What was chosen where inputs left a choice, in words.
    pub notes: Vec<String>,
}

impl Measurement {
    /// Adds what was counted over other inputs.
    ///
    /// # Panics
    /// If the two are not of one calibration.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.layers.len(), other.layers.len(), "measurements of one calibration");
        self.layers.iter_mut().zip(&other.layers).for_each(|(tally, other)| tally.merge(other));
        self.inputs += other.inputs;
        self.skipped += other.skipped;
        self.digest.merge(&other.digest);
        self.quality.merge(&other.quality);
    }
}
