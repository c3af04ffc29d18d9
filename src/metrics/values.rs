//! The values of an operand and the numbers they are in.

use super::{Compute, Kind, Metric, Show, Value};

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "elements",
        heading: "values",
        definition: "values, each stored element once",
        formula: "n",
        unit: "values",
        example: "a 4, w 8",
        compute: Compute::Operand(|operand| Some(Value::Count(operand.elements().into()))),
        ..Metric::BASE
    },
    Metric {
        name: "bits",
        kind: Kind::Number,
        heading: "bits",
        definition: "baseline width B of the number format, sign included, or bits of a float's significand; of a network the largest",
        formula: "B",
        unit: "bits",
        source: "after Nikolić 2019",
        example: "a 16, w 16",
        compute: Compute::Operand(|operand| operand.values.map(|_| Value::Most(operand.coding.bits.into()))),
        ..Metric::BASE
    },
    Metric {
        name: "signed",
        kind: Kind::Number,
        heading: "signed",
        definition: "1 where codes can be negative, 0 where they cannot",
        formula: "lowest code < 0",
        unit: "yes or no",
        source: "after Nikolić 2019",
        example: "a 1, w 1",
        compute: Compute::Operand(|operand| {
            operand.values.map(|_| Value::Derived(f64::from(u8::from(operand.coding.map.lo < 0))))
        }),
        ..Metric::BASE
    },
    Metric {
        name: "scale",
        kind: Kind::Number,
        heading: "scale",
        definition: "codes are real values times this, rounded; absent where filters have scales of their own, and of floats",
        formula: "q = round(x·scale)",
        unit: "codes per unit",
        source: "after Nikolić 2019",
        show: Show::Real,
        example: "a 1, w 1",
        compute: Compute::Operand(|operand| operand.values.and(operand.scale()).map(Value::Derived)),
        ..Metric::BASE
    },
    Metric {
        name: "zero_point",
        kind: Kind::Number,
        heading: "zero\npoint",
        definition: "the stored code of zero, where the network stores codes",
        formula: "q − zero_point is what multiplies",
        unit: "code",
        source: "after Nikolić 2019",
        show: Show::Real,
        example: "a network of u8 whose 0.0 is 128 = 128",
        compute: Compute::Operand(|operand| {
            let stored = operand.values.and(operand.coding.stored)?;
            Some(Value::Derived(stored.zero_point.into()))
        }),
        ..Metric::BASE
    },
];
