//! Traffic: bits of an operand, each value once, as schemes of compression code it.

use super::entropy::information_of_codes;
use super::{Allows, Compute, Fraction, Kind, Metric, Needs, Operand, Show, Value};
use crate::kernels::count::GROUP_SIZES;
use crate::kernels::count::extra::traffic::TRAFFIC;
use crate::tally::Extra;

const BASE: Metric = Metric {
    unit: "bits per dense bit",
    source: "after Nikolić 2019",
    allows: Allows::Compression,
    show: Show::Percent,
    kind: Kind::Ratio,
    ..Metric::BASE
};

/// Of on-demand counts.
const COUNTED: Metric = Metric { needs: Needs::Extra(Extra::Traffic), ..BASE };

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "traffic.dense",
        heading: "dense\ntraffic",
        definition: "bits of all values at the baseline width, what the other schemes are compared with",
        formula: "n·B / (n·B)",
        example: "16 values of fixed16: 256 / 256",
        compute: Compute::Operand(|operand| ratio(operand, |n, bits| Some(n * bits))),
        ..BASE
    },
    Metric {
        name: "traffic.layer",
        heading: "layer\ntraffic",
        definition: "bits of all values at the width of their layer, which is stored once in 4 bits",
        formula: "(4 + n·p) / (n·B)",
        source: "Proteus",
        example: "16 values of fixed16, a 3 and zeros: p = 2; (4 + 16·2) / 256 = 36 / 256",
        compute: Compute::Operand(|operand| {
            let width = u128::from(operand.width_of_all()?);
            ratio(operand, |n, _| Some(4 + n * width))
        }),
        ..BASE
    },
    Metric {
        name: "traffic.group",
        heading: "group\ntraffic",
        definition: "bits of all values at the width of their group of 16, which is stored for each group in log2 B bits (rounded up)",
        formula: "Σ over groups (members·width + ⌈log2 B⌉) / (n·B)",
        source: "Dynamic Stripes, DPRed",
        example: "16 channels of fixed16, a 3 and zeros, are one group: (16·2 + 4) / 256 = 36 / 256",
        compute: Compute::Operand(|operand| {
            let [values, groups, ..] = counts(operand)?;
            ratio(operand, |_, bits| Some(values + groups * index(bits)))
        }),
        ..COUNTED
    },
    Metric {
        name: "traffic.shapeshifter",
        heading: "shape-\nshifter",
        definition: "bits of the values other than zero at the width of their group of 16, with a mask of 16 bits and the width for \
                     each group",
        formula: "Σ over groups (non-zeros·width + 16 + ⌈log2 B⌉) / (n·B)",
        source: "ShapeShifter",
        example: "16 channels of fixed16, a 3 and zeros, are one group: (1·2 + 16 + 4) / 256 = 22 / 256",
        compute: Compute::Operand(|operand| {
            let [_, groups, of_nonzeros, ..] = counts(operand)?;
            ratio(operand, |_, bits| Some(of_nonzeros + groups * (MASK + index(bits))))
        }),
        ..COUNTED
    },
    Metric {
        name: "traffic.zvc",
        heading: "zvc\ntraffic",
        definition: "bits of the values other than zero, with a mask of a bit for each value",
        formula: "(n + B·n(q ≠ 0)) / (n·B)",
        source: "Rhu 2018",
        example: "16 values of fixed16, a 3 and zeros: (16 + 16·1) / 256 = 32 / 256",
        compute: Compute::Operand(|operand| {
            let nonzeros = u128::from(operand.nonzeros());
            ratio(operand, |n, bits| Some(n + bits * nonzeros))
        }),
        ..BASE
    },
    Metric {
        name: "traffic.rlc",
        heading: "rlc\ntraffic",
        definition: "bits of the values other than zero, each with 4 bits for the run of zeros before it, and as many for each full \
                     run of 16 zeros; in the order channel, row, column of an image, a step's features or a filter",
        formula: "(B + 4)·(n(q ≠ 0) + full runs) / (n·B)",
        source: "SCNN",
        example: "40 values of fixed16, a 3 and then zeros: one value and two full runs of 16 of the 39 zeros; 20·3 / 640",
        compute: Compute::Operand(|operand| {
            let [_, _, _, runs, _] = counts(operand)?;
            let nonzeros = u128::from(operand.nonzeros());
            ratio(operand, |_, bits| Some((bits + 4) * (nonzeros + runs)))
        }),
        ..COUNTED
    },
    Metric {
        name: "traffic.delta",
        heading: "delta\ntraffic",
        definition: "bits of the differences to the left neighbour in the row, the first of a row raw, coded as by ShapeShifter",
        formula: "Σ over groups (non-zero differences·width of differences + 16 + ⌈log2 B⌉) / (n·B)",
        source: "Diffy",
        example: "a row 5 5 6 of one channel of fixed16 has differences 5 0 1, each a group: (3 + 0 + 1 + 3·(16 + 4)) / 48 = 64 / 48",
        compute: Compute::Operand(|operand| {
            let [_, groups, _, _, of_changes] = counts(operand)?;
            ratio(operand, |_, bits| Some(of_changes + groups * (MASK + index(bits))))
        }),
        ..COUNTED
    },
    Metric {
        name: "traffic.entropy",
        heading: "entropy\ntraffic",
        definition: "bits of the values at the Shannon entropy of their layer's codes, in whole bits (rounded up): the bound of a code \
                     without memory",
        formula: "⌈Σ over codes n(q)·log2(n / n(q))⌉ / (n·B)",
        needs: Needs::Full,
        example: "16 values of fixed16, a 3 and zeros: 1·log2(16) + 15·log2(16 / 15) = 5.40, so 6 / 256",
        compute: Compute::Operand(|operand| {
            let bits = information_of_codes(operand)?;
            ratio(operand, |_, _| Some(bits.ceil() as u128))
        }),
        ..BASE
    },
];

/// Bits of the mask of a group.
const MASK: u128 = GROUP_SIZES[0] as u128;

/// Bits that store a width of up to `bits`.
fn index(bits: u128) -> u128 {
    bits.next_power_of_two().trailing_zeros().into()
}

fn counts(operand: &Operand<'_>) -> Option<[u128; TRAFFIC]> {
    let counts: [u64; TRAFFIC] = operand.extra(Extra::Traffic)?.try_into().ok()?;
    Some(counts.map(u128::from))
}

/// Coded bits, of the values and their baseline width, over dense bits; none of floating-point types, whose codes are not all that
/// is stored.
fn ratio(operand: &Operand<'_>, coded: impl Fn(u128, u128) -> Option<u128>) -> Option<Value> {
    if operand.coding.map.float.is_some() {
        return None;
    }
    let (n, bits) = (u128::from(operand.values?.elements), u128::from(operand.coding.bits));
    Some(Value::Ratio(Fraction::new(coded(n, bits)?, n * bits)))
}
