//! What is told of an LSTM's products beyond other layers: gates, steps, and what stays from step to step (METRICS
//! sections 1 and 7).

use super::{macs, potentials, ratio, weights};
use crate::format::Coding;
use crate::kernels::count::sequence::{StepSums, first_step};
use crate::report::document::{Gate, Recurrent, Step, Temporal};
use crate::tally::{LayerTally, RecurrentSums};

/// Gates in the order of the weights.
const GATES: [&str; 4] = ["i", "f", "g", "o"];

/// Gates, steps and changes of `tally`, if it is of a product of an LSTM.
pub fn recurrent(tally: &LayerTally, codings: &[Coding; 2], min_one: bool) -> Option<Recurrent> {
    let sums = tally.recurrent.as_ref()?;
    let gates = GATES.iter().zip(&sums.gates).map(|(&gate, sums)| {
        // All gates read the same operand.
        let one = LayerTally {
            shape: RecurrentSums::gate(&tally.shape),
            weights: sums.clone(),
            recurrent: None,
            ..tally.clone()
        };
        let (macs, weights) = (macs(&one), weights(&one, &codings[1]));
        Gate { gate, macs, weights, potentials: potentials(&one, codings.map(|coding| coding.bits), min_one) }
    });
    let mut all = StepSums::default();
    sums.steps.iter().for_each(|step| all.merge(step));
    let steps = sums.steps.iter().enumerate().map(|(bucket, sums)| {
        let zeros = sums.values - sums.nonzero;
        Step {
            first: first_step(bucket),
            steps: sums.steps,
            values: sums.values,
            zeros,
            zero_share: ratio(zeros.into(), sums.values.into()),
            terms: sums.terms,
            terms_per_value: ratio(sums.terms.into(), sums.values.into()),
            temporal: temporal(sums),
        }
    });
    Some(Recurrent { gates: gates.collect(), temporal: temporal(&all), steps: steps.collect() })
}

fn temporal(sums: &StepSums) -> Temporal {
    let compared = sums.compared;
    Temporal {
        compared,
        equal: sums.equal,
        equal_share: ratio(sums.equal.into(), compared.into()),
        change_terms: sums.change_terms,
        change_terms_per_value: ratio(sums.change_terms.into(), compared.into()),
    }
}
