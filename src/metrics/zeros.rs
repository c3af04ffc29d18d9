//! Zeros of an operand, and codes by sign.

use super::{Allows, Compute, Fraction, Kind, Metric, Needs, Operand, Show, Value};

const BASE: Metric = Metric { unit: "fraction of values", show: Show::Percent, kind: Kind::Ratio, ..Metric::BASE };

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "zeros",
        heading: "zero",
        definition: "values whose code is zero, natural and rounded together",
        formula: "n(q = 0) / n",
        allows: Allows::Skipping,
        example: "a 1/4 = 0.25, w 3/8 = 0.375",
        compute: Compute::Operand(|operand| share(operand, operand.elements() - operand.nonzeros())),
        ..BASE
    },
    Metric {
        name: "zeros.natural",
        heading: "natural\nzero",
        definition: "real values of exactly 0",
        formula: "n(x = 0) / n",
        allows: Allows::Skipping,
        example: "a 1/4 = 0.25, w 3/8 = 0.375",
        compute: Compute::Operand(|operand| share(operand, operand.natural_zeros()?)),
        ..BASE
    },
    Metric {
        name: "zeros.rounded",
        heading: "rounded\nzero",
        definition: "values other than 0 whose code is zero",
        formula: "n(x ≠ 0, q = 0) / n",
        allows: Allows::Skipping,
        example: "a 0/4 = 0, w 0/8 = 0",
        compute: Compute::Operand(|operand| {
            share(operand, operand.elements() - operand.nonzeros() - operand.natural_zeros()?)
        }),
        ..BASE
    },
    Metric {
        name: "negative",
        heading: "negative",
        definition: "values whose code is negative",
        formula: "n(q < 0) / n",
        needs: Needs::Full,
        example: "a 1/4 = 0.25, w 2/8 = 0.25",
        compute: Compute::Operand(|operand| share(operand, operand.sum(|code| u64::from(code < 0))?)),
        ..BASE
    },
    Metric {
        name: "saturated",
        heading: "saturated",
        definition: "values beyond the calibrated range, or a float's largest value, whose code is the nearest there is",
        formula: "n(|x·scale| rounds beyond the codes) / n",
        source: "after Nikolić 2019",
        example: "a 0/4 = 0, w 0/8 = 0",
        compute: Compute::Operand(|operand| share(operand, operand.saturated()?)),
        ..BASE
    },
    Metric {
        name: "raw.zeros",
        heading: "raw\nzero",
        definition: "codes that are 0 as a quantised network stores them, before the zero point is taken off",
        formula: "n(q_stored = 0) / n",
        source: "after Nikolić 2019",
        needs: Needs::Full,
        example: "stored 0, 128, 130 of zero point 128: 1/3 = 0.3333",
        compute: Compute::Operand(|operand| {
            let zero_point = operand.coding.stored?.zero_point;
            share(operand, operand.sum(|code| u64::from(code + zero_point == 0))?)
        }),
        ..BASE
    },
];

fn share(operand: &Operand<'_>, part: impl Into<u128>) -> Option<Value> {
    Some(Value::Ratio(Fraction::new(part, operand.elements())))
}
