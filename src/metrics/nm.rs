//! Structured sparsity: blocks along the reduction with few non-zeros (`nm`).

use super::{Compute, Fraction, Metric, Needs, Operand, Value};
use crate::tally::Extra;

const BASE: Metric = Metric {
    unit: "fraction of blocks",
    source: "Mishra 2021",
    needs: Needs::Extra(Extra::Blocks),
    ..Metric::SHARE
};

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "nm.2of4",
        heading: "2 of 4",
        definition: "whole aligned blocks of 4 along the reduction (input channels of a group at one position or tap, or features) \
                     with at most 2 values other than zero",
        formula: "blocks of 4(non-zeros ≤ 2) / blocks of 4",
        example: "channels 1 0 0 2, 3 1 0 5 and 7 (a block of its own that is not whole) at one position: 1 / 2",
        compute: Compute::Operand(|operand| share(operand, 0)),
        ..BASE
    },
    Metric {
        name: "nm.2of4.chance",
        heading: "2 of 4\nchance",
        definition: "the same if zeros were independent, as many as the layer has",
        formula: "P(at most 2 of 4 non-zero), each with n(q ≠ 0) / n; blocks that are expected, in whole ones",
        example: "half of the values zero: (1 + 4 + 6) / 16 = 11 / 16",
        compute: Compute::Operand(|operand| chance(operand, 0)),
        ..BASE
    },
    Metric {
        name: "nm.4of8",
        heading: "4 of 8",
        definition: "whole aligned blocks of 8 along the reduction with at most 4 values other than zero",
        formula: "blocks of 8(non-zeros ≤ 4) / blocks of 8",
        example: "channels 1 0 0 2 3 1 0 0 at one position: 4 non-zeros, 1 / 1",
        compute: Compute::Operand(|operand| share(operand, 1)),
        ..BASE
    },
    Metric {
        name: "nm.4of8.chance",
        heading: "4 of 8\nchance",
        definition: "the same if zeros were independent, as many as the layer has",
        formula: "P(at most 4 of 8 non-zero), each with n(q ≠ 0) / n; blocks that are expected, in whole ones",
        example: "half of the values zero: (1 + 8 + 28 + 56 + 70) / 256 = 163 / 256",
        compute: Compute::Operand(|operand| chance(operand, 1)),
        ..BASE
    },
];

/// Blocks of size 4 (0) or 8 (1), and those with few non-zeros.
fn blocks(operand: &Operand<'_>, size: usize) -> Option<[u64; 2]> {
    operand.extra(Extra::Blocks)?.as_chunks().0.get(size).copied()
}

fn share(operand: &Operand<'_>, size: usize) -> Option<Value> {
    let [blocks, few] = blocks(operand, size)?;
    Some(Value::Ratio(Fraction::new(few, blocks)))
}

fn chance(operand: &Operand<'_>, size: usize) -> Option<Value> {
    let [blocks, _] = blocks(operand, size)?;
    let members = 4_i32 << size;
    let density = if operand.elements() == 0 { 0.0 } else { operand.nonzeros() as f64 / operand.elements() as f64 };
    // Binomial coefficients one from the other.
    let mut ways = 1.0;
    let mut few = 0.0;
    for nonzeros in 0..=members / 2 {
        few += ways * density.powi(nonzeros) * (1.0 - density).powi(members - nonzeros);
        ways *= f64::from(members - nonzeros) / f64::from(nonzeros + 1);
    }
    Some(Value::Ratio(Fraction::new((blocks as f64 * few).round() as u128, blocks)))
}
