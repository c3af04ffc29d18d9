//! Weights that a filter has more than once (UCNN).

use super::{Compute, Fraction, Metric, Needs, Value};
use crate::tally::Extra;

pub(super) const METRICS: &[Metric] = &[Metric {
    name: "repetition",
    heading: "distinct",
    definition: "different weights other than zero of a filter, over its weights: what is left to multiply where products by equal \
                 weights are one",
    formula: "Σ over filters distinct non-zero codes / Σ over filters weights",
    unit: "fraction of weights",
    source: "UCNN",
    needs: Needs::Extra(Extra::Repetition),
    example: "a filter of codes 3 3 0 −1: 3 and −1 are distinct, 2 / 4",
    compute: Compute::Operand(|operand| {
        let distinct = *operand.extra(Extra::Repetition)?.first()?;
        Some(Value::Ratio(Fraction::new(distinct, operand.elements())))
    }),
    ..Metric::SHARE
}];
