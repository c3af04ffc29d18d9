//! Potentials of differences along rows (Diffy).

use super::potentials::{self, Costs, potential};
use super::{Compute, Metric, Needs, Subject, Which};
use crate::tally::{ChangeProducts, Extra};

const BASE: Metric =
    Metric { source: "Diffy", needs: Needs::Extra(Extra::Delta), ..potentials::BASE };

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "delta.Ae",
        heading: "delta\nAe",
        definition: "dense work over work left if only terms of d take time, the difference of an activation's code to that of its \
                     left neighbour in the row, a stride apart; the first of a row (as many as the stride) are taken raw, and \
                     values of fully connected layers, which have no neighbours",
        formula: "Σ Ba·Bw / Σ cost, cost = terms(d)·Bw",
        example: "a row 7 8 8 of fixed16 codes, read by one tap of stride 1: d = 7 1 0 has 2 + 1 + 0 terms (7 = 8 − 1), the codes \
                  have 2 + 1 + 1; 3·16·16 / (3·16) = 16 where Ae is 12",
        compute: Compute::Layer(|subject| {
            let sums = differences(subject)?;
            potential(subject, |costs| work(costs, sums.d_terms, sums.d) * costs.bw)
        }),
        ..BASE
    },
    Metric {
        name: "delta.We+Ae",
        heading: "delta\nWe+Ae",
        definition: "dense work over work left if only terms of weights and of d take time, the difference of an activation's code \
                     to that of its left neighbour in the row, a stride apart; the first of a row are taken raw",
        formula: "Σ Ba·Bw / Σ cost, cost = terms(d)·terms(w)",
        example: "a row 7 8 8 of fixed16 codes and one weight of code 3 (2 terms): (2 + 1 + 0)·2 = 6 of 3·16·16; 768 / 6 = 128",
        compute: Compute::Layer(|subject| {
            let sums = differences(subject)?;
            potential(subject, |costs| work(costs, sums.terms, sums.both))
        }),
        ..BASE
    },
];

/// The sums over MACs of the differences; none of floats, whose significands have no difference.
fn differences(subject: &Subject<'_>) -> Option<ChangeProducts> {
    subject.changes.filter(|_| subject.codings[Which::Activations as usize].map.float.is_none())
}

/// `terms` of `nonzero` MACs, and a step for each of the others where all MACs cost at least one.
fn work(costs: &Costs<'_>, terms: u128, nonzero: u128) -> u128 {
    // A file that was made up may count more than there are MACs.
    costs.at_least(terms, costs.dense().saturating_sub(nonzero))
}
