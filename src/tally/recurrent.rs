//! Counts of the products of a recurrent layer beyond those of any layer: by gate, and over the steps of sequences.

use super::{LayerShape, WeightSums};
use crate::kernels::count::sequence::{Buckets, StepSums};

/// Names of the gates of an LSTM, a GRU and a plain RNN, in the order of the rows of their stacked matrices.
pub const GATES: [&[&str]; 3] = [&["i", "f", "g", "o"], &["r", "z", "n"], &["h"]];

/// The names of `count` stacked gates, if a kind of recurrent layer has as many.
pub fn gate_names(count: usize) -> Option<&'static [&'static str]> {
    GATES.into_iter().find(|names| names.len() == count)
}

/// Counts of one product of a recurrent layer, of the inputs or of the hidden values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecurrentSums {
    /// Weights of the gates, in the order of [`GATES`].
    pub gates: Vec<WeightSums>,
    /// Which steps are counted together.
    pub buckets: Buckets,
    /// Counts of activations, by bucket of steps.
    pub steps: Vec<StepSums>,
}

impl RecurrentSums {
    /// The layer that one gate is, of the layer that all `gates` are.
    pub fn gate(shape: &LayerShape, gates: usize) -> LayerShape {
        let mut gate = shape.clone();
        gate.weight[0] /= gates;
        gate.output[0] /= gates;
        gate
    }

    pub(super) fn add(&mut self, steps: &[StepSums]) {
        if self.steps.len() < steps.len() {
            self.steps.resize(steps.len(), StepSums::default());
        }
        self.steps.iter_mut().zip(steps).for_each(|(own, other)| own.merge(other));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        assert_eq!(self.gates, other.gates, "tallies of one set of weights");
        assert_eq!(self.buckets, other.buckets, "tallies of the same steps");
        self.add(&other.steps);
    }
}
