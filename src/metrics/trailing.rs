//! Zero bits at the lower end of codes, and widths trimmed at both ends.

use super::{Compute, Fraction, Metric, Needs, Value};
use crate::tally::Extra;

const BASE: Metric = Metric {
    unit: "bits",
    source: "this project",
    needs: Needs::Full,
    ..Metric::MEAN
};

/// Of on-demand counts of groups.
const COUNTED: Metric = Metric { needs: Needs::Extra(Extra::Trailing), ..BASE };

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "trailing",
        heading: "trailing\nzeros",
        definition: "mean zero bits below the lowest set bit of a value other than zero",
        formula: "Σ over q ≠ 0 trailing zeros(|q|) / n(q ≠ 0)",
        example: "codes 0, 4 and −6: 4 has 2, 6 has 1; 3 / 2",
        compute: Compute::Operand(|operand| {
            Some(Value::Ratio(Fraction::new(operand.sum(trailing)?, operand.nonzeros())))
        }),
        ..BASE
    },
    Metric {
        name: "trailing.g16",
        heading: "g16\ntrailing",
        definition: "mean zero bits below the lowest bit that any member of a group of 16 has set, of groups that are not all zero",
        formula: "Σ over groups trailing zeros(OR of |q|) / groups(any q ≠ 0)",
        example: "a group of 4, 12 and zeros has 2, a group of 4, 6 and zeros has 1: 3 / 2",
        compute: Compute::Operand(|operand| {
            let [groups, bits] = operand.extra(Extra::Trailing)?.try_into().ok()?;
            let (groups, bits): (u64, u64) = (groups, bits);
            Some(Value::Ratio(Fraction::new(bits, groups)))
        }),
        ..COUNTED
    },
    Metric {
        name: "trimmed",
        heading: "trimmed\nwidth",
        definition: "mean width of a value trimmed at both ends: its width less the zero bits below its lowest set bit",
        formula: "Σ (width(q) − trailing zeros(|q|)) / n",
        example: "codes 0, 4 and −6: widths 0, 3 and 4, so 0 + 1 + 3 = 4; 4 / 3",
        compute: Compute::Operand(|operand| {
            let sum = operand.sum(|code| u64::from(operand.coding.map.width(code)) - trailing(code))?;
            Some(Value::Ratio(Fraction::new(sum, operand.elements())))
        }),
        ..BASE
    },
    Metric {
        name: "trimmed.g16",
        heading: "trimmed\ng16 width",
        definition: "mean width of groups of 16 trimmed at both ends: their width less the zero bits that all members have at the \
                     lower end",
        formula: "Σ over groups (width − trailing zeros(OR of |q|)) / groups",
        example: "a group of 4, 12 and zeros: 4 − 2 = 2",
        compute: Compute::Operand(|operand| {
            let bits = *operand.extra(Extra::Trailing)?.get(1)?;
            let widths = &operand.values?.group_widths[0];
            let groups: u128 = widths.iter().map(|&count| u128::from(count)).sum();
            let sum: u128 = (0..).zip(widths).map(|(width, &count)| width * u128::from(count)).sum();
            Some(Value::Ratio(Fraction::new(sum.checked_sub(bits.into())?, groups)))
        }),
        ..COUNTED
    },
];

/// Zero bits below the lowest set bit; none of zero.
fn trailing(code: i32) -> u64 {
    if code == 0 { 0 } else { code.trailing_zeros().into() }
}
