//! Widths of values and of groups of them.

use super::{Compute, Fraction, Kind, Metric, Needs, Operand, Show, Value};
use crate::kernels::count::MAX_WIDTH;

const BASE: Metric = Metric { unit: "bits", source: "after Nikolić 2019", ..Metric::MEAN };

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "width.layer",
        kind: Kind::Number,
        heading: "layer\nwidth",
        definition: "width p of the layer: that of all its values as one group, or what a precision file states",
        formula: "bits of max |q|, + 1 if any q < 0",
        source: "Stripes, Proteus",
        show: Show::Count,
        example: "7 has 3 bits, 15 has 4, and both operands a sign: a 4, w 5",
        compute: Compute::Operand(|operand| Some(Value::Derived(operand.width_of_all()?.into()))),
        ..BASE
    },
    Metric {
        name: "width",
        heading: "value\nwidth",
        definition: "mean width of a value: bits of its magnitude, and one for the sign of a negative (not of a float)",
        formula: "Σ width(q) / n",
        needs: Needs::Terms,
        example: "a (0 + 2 + 4 + 3)/4 = 2.25, w (1 + 0 + 3 + 4 + 0 + 3 + 0 + 2)/8 = 1.625",
        compute: Compute::Operand(|operand| {
            Some(Value::Ratio(Fraction::new(operand.widths()?, operand.elements())))
        }),
        ..BASE
    },
    Metric {
        name: "width.histogram",
        kind: Kind::Histogram,
        heading: "values\nby width",
        definition: "values by width, from 0",
        formula: "n(width(q) = parameter)",
        unit: "values",
        needs: Needs::Full,
        example: "from width 0: a 1 0 1 1 1, w 3 1 1 2 1",
        compute: Compute::Operand(|operand| {
            let mut counts = vec![0; MAX_WIDTH + 1];
            let width = |code: i32| usize::from(operand.coding.map.width(code));
            operand.codes()?.for_each(|(code, count)| counts[width(code)] += count);
            Some(Value::Histogram(counts))
        }),
        ..BASE
    },
    Metric {
        name: "width.g16",
        heading: "g16\nwidth",
        definition: "mean width of groups of 16: consecutive channels at one position, or features",
        formula: "Σ over groups (bits of max |q|, + 1 if any q < 0) / groups",
        source: "Dynamic Stripes, ShapeShifter",
        example: "a 4, w (5 + 4)/2 = 4.5",
        compute: Compute::Operand(|operand| mean(operand, 0)),
        ..BASE
    },
    Metric {
        name: "width.g16.histogram",
        kind: Kind::Histogram,
        heading: "g16 by\nwidth",
        definition: "groups of 16 by width, from 0",
        formula: "groups(width = parameter)",
        unit: "groups",
        example: "from width 0: a 0 0 0 0 1, w 0 0 0 0 1 1",
        compute: Compute::Operand(|operand| histogram(operand, 0)),
        ..BASE
    },
    Metric {
        name: "width.g64",
        heading: "g64\nwidth",
        definition: "mean width of groups of 64: groups of 16 over 4 consecutive columns, or 64 features",
        formula: "as width.g16",
        example: "a 4, w (5 + 4)/2 = 4.5",
        compute: Compute::Operand(|operand| mean(operand, 1)),
        ..BASE
    },
    Metric {
        name: "width.g64.histogram",
        kind: Kind::Histogram,
        heading: "g64 by\nwidth",
        definition: "groups of 64 by width, from 0",
        formula: "groups(width = parameter)",
        unit: "groups",
        example: "from width 0: a 0 0 0 0 1, w 0 0 0 0 1 1",
        compute: Compute::Operand(|operand| histogram(operand, 1)),
        ..BASE
    },
    Metric {
        name: "width.g256",
        heading: "g256\nwidth",
        definition: "mean width of groups of 256: groups of 16 over 16 consecutive columns, or 256 features",
        formula: "as width.g16",
        example: "a 4, w (5 + 4)/2 = 4.5",
        compute: Compute::Operand(|operand| mean(operand, 2)),
        ..BASE
    },
    Metric {
        name: "width.g256.histogram",
        kind: Kind::Histogram,
        heading: "g256 by\nwidth",
        definition: "groups of 256 by width, from 0",
        formula: "groups(width = parameter)",
        unit: "groups",
        example: "from width 0: a 0 0 0 0 1, w 0 0 0 0 1 1",
        compute: Compute::Operand(|operand| histogram(operand, 2)),
        ..BASE
    },
];

/// Mean width of the groups of one of the sizes.
fn mean(operand: &Operand<'_>, size: usize) -> Option<Value> {
    let [widths, groups] = operand.group_widths(size)?;
    Some(Value::Ratio(Fraction::new(widths, groups)))
}

fn histogram(operand: &Operand<'_>, size: usize) -> Option<Value> {
    Some(Value::Histogram(operand.values?.group_widths[size].to_vec()))
}
