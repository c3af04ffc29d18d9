//! Checkpoints: where a run stands, so that it can go on after whatever ended it.

use std::ops::Range;

use super::{Measurement, Provenance};
use crate::tally::{InputCounts, Spread};
use crate::{Error, Result};

/// Of a stream of steps, the codes of the last one, and how many there were.
pub type Stream = (Vec<i32>, u64);

/// A run on its way: the counts so far, and what the next input goes on from.
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
    /// Of each stream of a text, what the layers have of the block of segments that is not full; nothing between blocks.
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
            return other("other ratios are kept by input, or of other streams".into());
        }
        if self.inputs != *inputs || !(inputs.start..=inputs.end).contains(&self.next) {
            return other(format!("its inputs are {:?}, not {inputs:?}", self.inputs));
        }
        Ok(())
    }
}
