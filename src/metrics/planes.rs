//! Bit columns of groups of 16, each beside its expected value for independent bits.

use super::{Compute, Fraction, Metric, Needs, Operand, Value};
use crate::kernels::count::GROUP_SIZES;
use crate::tally::Extra;

const BASE: Metric = Metric {
    unit: "fraction of bit columns",
    source: "BitWave",
    needs: Needs::Extra(Extra::Planes),
    ..Metric::SHARE
};

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "planes",
        heading: "zero\nplanes",
        definition: "bit positions, sign included, at which all members of a group of 16 have 0 in sign-magnitude",
        formula: "Σ over groups (B − ones(OR of |q|) − (1 if any q < 0)) / (B·groups)",
        example: "fixed8, one group of 4, 6 and zeros: the OR is 110, two of 8 positions are used; 6 / 8",
        compute: Compute::Operand(|operand| share(operand, operand.coding.bits, 0)),
        ..BASE
    },
    Metric {
        name: "planes.chance",
        heading: "zero pl.\nchance",
        definition: "the same if bits were independent, as many ones at each position as the layer has",
        formula: "Σ over groups and positions (1 − ones at the position / n)^members; columns that are expected, in whole ones",
        example: "a position at which half of the bits are ones: 2^−16 of the groups of 16",
        compute: Compute::Operand(|operand| {
            let sign = |code: i32, bit: u32| match bit + 1 == operand.coding.bits && operand.coding.map.lo < 0 {
                true => code < 0,
                false => code.unsigned_abs() >> bit & 1 == 1,
            };
            chance(operand, operand.coding.bits, sign, |ones, members| (1.0 - ones).powi(members))
        }),
        ..BASE
    },
    Metric {
        name: "planes.tc",
        heading: "equal\nplanes",
        definition: "bit positions at which all members of a group of 16 are equal, in two's complement of as many bits as all codes \
                     need",
        formula: "Σ over groups (word − ones(OR of q XOR AND of q)) / (word·groups)",
        example: "fixed8, one group of 16 codes −1 and −2: they differ in the lowest bit alone; 7 / 8",
        compute: Compute::Operand(|operand| share(operand, operand.coding.word(), 1)),
        ..BASE
    },
    Metric {
        name: "planes.tc.chance",
        heading: "equal pl.\nchance",
        definition: "the same if bits were independent, as many ones at each position as the layer has",
        formula: "Σ over groups and positions p^members + (1 − p)^members, p = ones at the position / n; in whole columns",
        example: "a position at which half of the bits are ones: 2·2^−16 of the groups of 16",
        compute: Compute::Operand(|operand| {
            let bit = |code: i32, bit: u32| code >> bit & 1 == 1;
            let equal = |ones: f64, members| ones.powi(members) + (1.0 - ones).powi(members);
            chance(operand, operand.coding.word(), bit, equal)
        }),
        ..BASE
    },
];

const MOST: usize = GROUP_SIZES[0];

/// Groups by members, from 1.
fn groups<'a>(operand: &'a Operand<'_>) -> Option<&'a [u64]> {
    operand.extra(Extra::Planes)?.get(..MOST)
}

/// How many groups there are.
fn count(groups: &[u64]) -> u128 {
    groups.iter().map(|&count| u128::from(count)).sum()
}

/// Columns that are no plane: those of ones in sign-magnitude (0), those that differ in two's complement (1).
fn share(operand: &Operand<'_>, positions: u32, which: usize) -> Option<Value> {
    let columns = u128::from(positions) * count(groups(operand)?);
    let others = u128::from(*operand.extra(Extra::Planes)?.get(MOST + which)?);
    Some(Value::Ratio(Fraction::new(columns.checked_sub(others)?, columns)))
}

/// Expected planes where the bits of `is_one` at each of `positions` are independent; `of` is the chance of one column, of the
/// share of ones at the position and the members of the group.
fn chance(
    operand: &Operand<'_>,
    positions: u32,
    is_one: impl Fn(i32, u32) -> bool,
    of: impl Fn(f64, i32) -> f64,
) -> Option<Value> {
    let (n, groups) = (operand.elements() as f64, groups(operand)?);
    let mut expected = 0.0;
    for position in 0..positions {
        let ones = operand.sum(|code| is_one(code, position).into())? as f64 / n.max(1.0);
        for (members, count) in (1..).zip(groups) {
            expected += *count as f64 * of(ones, members);
        }
    }
    let columns = u128::from(positions) * count(groups);
    Some(Value::Ratio(Fraction::new(expected.round() as u128, columns)))
}
