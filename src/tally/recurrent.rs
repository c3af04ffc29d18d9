//! Counts of an LSTM's products beyond those of any layer: by gate, and over the steps of sequences.

use super::{LayerShape, WeightSums};
use crate::kernels::count::sequence::{Buckets, StepSums};

/// Counts of one product of an LSTM, of the inputs or of the hidden values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecurrentSums {
    /// Weights of the gates i, f, g, o.
    pub gates: Vec<WeightSums>,
    /// Which steps are counted together.
    pub buckets: Buckets,
    /// Counts of activations, by bucket of steps.
    pub steps: Vec<StepSums>,
}

impl RecurrentSums {
    /// The layer that one gate is, of the layer that all four are.
    pub fn gate(shape: &LayerShape) -> LayerShape {
        let mut gate = shape.clone();
        gate.weight[0] /= 4;
        gate.output[0] /= 4;
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
