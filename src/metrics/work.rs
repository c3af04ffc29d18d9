//! MACs by class.

use super::{Allows, Compute, Fraction, Kind, Metric, Show, Subject, Value};
use crate::tally::{Padding, Products};

const BASE: Metric = Metric { unit: "fraction of MACs", source: "after Nikolić 2019", show: Show::Percent, kind: Kind::Work, ..Metric::BASE };

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "macs.per_input",
        kind: Kind::Number,
        heading: "MACs\n/input",
        definition: "multiply-accumulates of one input",
        formula: "macs / inputs",
        unit: "MACs per input",
        show: Show::Count,
        example: "2 filters of 4 weights = 8",
        compute: Compute::Pooled(|value, inputs| match value("macs")? {
            Value::Count(macs) => Some(Value::Derived(macs.checked_div(inputs.into())? as f64)),
            _ => None,
        }),
        ..BASE
    },
    Metric {
        name: "macs",
        kind: Kind::Count,
        heading: "MACs",
        definition: "multiply-accumulates of all inputs, padding included",
        formula: "convolution: N·K·P·Q·(C/groups)·R·S; transposed: N·C·H·W·(K/groups)·R·S",
        unit: "MACs",
        show: Show::Count,
        example: "2 filters of 4 weights = 8",
        compute: Compute::Layer(|subject| Some(Value::Count(subject.products?.dense.of(Padding::With)))),
        ..BASE
    },
    Metric {
        name: "macs.padding",
        heading: "padding\nMACs",
        definition: "MACs whose activation is read from outside the tensor",
        formula: "MACs(padding) / MACs",
        allows: Allows::Skipping,
        example: "a linear layer reads nothing outside: 0 / 8 = 0",
        compute: Compute::Layer(|subject| {
            let dense = subject.products?.dense;
            share(subject, |_, padding| dense.of(padding) - dense.of(Padding::Without))
        }),
        ..BASE
    },
    Metric {
        name: "macs.zero_both",
        heading: "both\nzero",
        definition: "MACs of a zero activation inside the tensor and a zero weight",
        formula: "MACs(a = 0, w = 0) / MACs",
        allows: Allows::Skipping,
        example: "0·0 in the second filter: 1 / 8 = 0.125",
        compute: Compute::Layer(|subject| {
            share(subject, |sums, _| sums.dense.of(Padding::Without) + sums.both - sums.w.of(Padding::Without) - sums.a)
        }),
        ..BASE
    },
    Metric {
        name: "macs.zero_activation",
        heading: "act zero\nMACs",
        definition: "MACs of a zero activation inside the tensor and a non-zero weight",
        formula: "MACs(a = 0, w ≠ 0) / MACs",
        allows: Allows::Skipping,
        example: "0·1 in the first filter: 1 / 8 = 0.125",
        compute: Compute::Layer(|subject| share(subject, |sums, _| sums.w.of(Padding::Without) - sums.both)),
        ..BASE
    },
    Metric {
        name: "macs.zero_weight",
        heading: "wt zero\nMACs",
        definition: "MACs of a non-zero activation and a zero weight",
        formula: "MACs(a ≠ 0, w = 0) / MACs",
        allows: Allows::Skipping,
        example: "3·0 and −5·0: 2 / 8 = 0.25",
        compute: Compute::Layer(|subject| share(subject, |sums, _| sums.a - sums.both)),
        ..BASE
    },
    Metric {
        name: "macs.effectual",
        heading: "effectual\nMACs",
        definition: "MACs of two non-zero operands",
        formula: "MACs(a ≠ 0, w ≠ 0) / MACs",
        example: "−5·−2, 7·15, 3·4 and 7·−1: 4 / 8 = 0.5",
        compute: Compute::Layer(|subject| share(subject, |sums, _| sums.both)),
        ..BASE
    },
];

/// `part` of the dense MACs, with padding and without.
fn share(subject: &Subject<'_>, part: impl Fn(&Products, Padding) -> u128) -> Option<Value> {
    let sums = subject.products?;
    let of = |padding| Fraction::new(part(&sums, padding), sums.dense.of(padding));
    Some(Value::Work(Padding::BOTH.map(of)))
}
