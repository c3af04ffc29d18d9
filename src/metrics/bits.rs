//! Bits of the codes that are zero.

use super::{Compute, Fraction, Metric, Needs, Operand, Value};
use crate::kernels::count::ones_twos_complement;

const BASE: Metric = Metric {
    unit: "fraction of bits",
    needs: Needs::Full,
    ..Metric::SHARE
};

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "zero_bits",
        heading: "zero\nbits",
        definition: "zero bits of all bits, in sign-magnitude",
        formula: "1 − Σ popcount(|q|) / (B·n)",
        needs: Needs::Terms,
        example: "a 1 − 7/64 = 0.8906, w 1 − 8/128 = 0.9375",
        compute: Compute::Operand(|operand| {
            Some(zero_bits(operand, operand.ones()?, operand.coding.bits))
        }),
        ..BASE
    },
    Metric {
        name: "zero_bits.tc",
        heading: "zero bits\n2's c.",
        definition: "zero bits of all bits, in two's complement of as many bits as all codes need",
        formula: "1 − Σ ones(q) / (word·n)",
        example: "a 1 − 20/64 = 0.6875, w 1 − 37/128 = 0.7109",
        compute: Compute::Operand(|operand| {
            let word = operand.coding.word();
            let ones = operand.sum(|code| ones_twos_complement(code, word).into())?;
            Some(zero_bits(operand, ones, word))
        }),
        ..BASE
    },
    Metric {
        name: "raw.zero_bits",
        heading: "raw zero\nbits",
        definition: "zero bits of the codes as a quantised network stores them, before the zero point is taken off",
        formula: "1 − Σ ones(q_stored) / (bits·n)",
        source: "after Nikolić 2019",
        example: "stored 0, 128, 130 of 8 bits have 3 ones: 1 − 3/24 = 0.875",
        compute: Compute::Operand(|operand| {
            let stored = operand.coding.stored?;
            let ones = |code: i32| ones_twos_complement(code + stored.zero_point, stored.bits).into();
            Some(zero_bits(operand, operand.sum(ones)?, stored.bits))
        }),
        ..BASE
    },
];

fn zero_bits(operand: &Operand<'_>, ones: u128, word: u32) -> Value {
    let all = u128::from(operand.elements()) * u128::from(word);
    Value::Ratio(Fraction::new(all - ones, all))
}
