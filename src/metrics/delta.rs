//! Potentials of differences along rows (METRICS section 7, Diffy).

use super::{Allows, Compute, Fraction, Kind, Metric, Needs, Show, Subject, Value, Which};
use crate::tally::{ChangeProducts, Extra, Padding};

const BASE: Metric = Metric {
    unit: "ratio of bit products",
    source: "METRICS section 7 (Diffy)",
    needs: Needs::Extra(Extra::Delta),
    allows: Allows::Skipping,
    kind: Kind::Work,
    show: Show::Times,
    min_one: true,
    ..Metric::BASE
};

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
            potential(subject, |d| (d.d_terms, d.d), |subject| subject.bits(Which::Weights))
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
        compute: Compute::Layer(|subject| potential(subject, |d| (d.terms, d.both), |_| 1)),
        ..BASE
    },
];

/// Dense work over `cost` of the differences (its sum, and the MACs of which it is not nothing), each times `times`.
fn potential(
    subject: &Subject<'_>,
    cost: impl Fn(&ChangeProducts) -> (u128, u128),
    times: impl Fn(&Subject<'_>) -> u128,
) -> Option<Value> {
    // Significands of floats have no difference.
    if subject.codings[0].map.float.is_some() {
        return None;
    }
    let dense = subject.products?.dense;
    let (sum, costly) = cost(&subject.changes?);
    let [ba, bw] = Which::OF_MACS.map(|which| subject.bits(which));
    let of = |padding: Padding| {
        let dense = dense.of(padding);
        // One step at least for each MAC that would cost nothing.
        let least = if subject.options.min_one { dense.checked_sub(costly)? } else { 0 };
        Some(Fraction::new(dense * ba * bw, (sum + least) * times(subject)))
    };
    let [with, without] = Padding::BOTH.map(of);
    Some(Value::Work([with?, without?]))
}
