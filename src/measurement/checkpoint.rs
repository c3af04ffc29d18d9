//! Checkpoints: the state of a run, from which it can be resumed.

use std::ops::Range;

use super::{Measurement, Provenance};
use crate::tally::{InputCounts, Spread};
use crate::{Error, Result};

/// Of a stream of steps, the codes of the last one, and how many there were.
pub type Stream = (Vec<i32>, u64);

/// The state of a run: the counts so far, and the recurrent states that the next input starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The counts so far.
    pub measurement: Measurement,
    /// The next input, by its place in the listing.
    pub next: usize,
    /// The run's inputs, by their places in the listing.
    pub inputs: Range<usize>,
    /// States of recurrent layers, where inputs go on from one another.
    pub states: Vec<Vec<f32>>,
    /// Of each layer that has sequences, one a stream: codes of the last step, and how many steps there were.
    pub sequences: Vec<Option<Vec<Stream>>>,
    /// Of each stream of a text, the counts of the layers in the block of segments that is not complete; empty between blocks.
    pub open: Vec<Vec<InputCounts>>,
}

impl Checkpoint {
    /// Checks that it is of the run of `inputs` that `facts` say the provenance of, and that keeps the ratios of `spread` by
    /// input, of as many streams as `open`.
    ///
    /// # Errors
    /// [`Error::Invalid`] saying in what the two differ.
    pub fn check(
        &self,
        facts: &Provenance,
        inputs: &Range<usize>,
        spread: &Spread,
        open: &[Vec<InputCounts>],
    ) -> Result<()> {
        let other =
            |difference: String| Err(Error::invalid("--checkpoint", format!("is of another run: {difference}")));
        if let Some(difference) = facts.difference(&self.measurement.provenance) {
            return other(difference);
        }
        if self.measurement.spread.ratios != spread.ratios || self.open.len() != open.len() {
            return other("its per-input ratios or its streams are others".into());
        }
        if self.inputs != *inputs || !(inputs.start..=inputs.end).contains(&self.next) {
            return other(format!("its inputs are {:?}, not {inputs:?}", self.inputs));
        }
        Ok(())
    }
}
